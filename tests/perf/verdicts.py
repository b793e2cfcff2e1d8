#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What tools/bench has measured beside the targets of the project: verdicts.py JSON

Prints one line for each target of whose rows there are any in the JSON of the bench (and of
secgw.py), and adds them to it. docs/performance.md says how they are judged.
"""

import json
import statistics
import sys

AT_MOST, AT_LEAST = "at most", "at least"
WAYS = ("out", "in")
# Cycles that the cipher alone takes on the machine that the targets were set for
CIPHER_THERE = {("out", "64"): 78, ("in", "64"): 71, ("out", "1420"): 342, ("in", "1420"): 335}
ESP, UDP, ESP6, UDP6, MANY = range(5)  # enum bench_stream
QUIET = 0.1  # what the bench calls quiet, and the targets for cycles are set in
SPREAD = 0.1  # and 1 - this: the tenths that are left out at both ends
BLOCK = 3  # turns one after the other: their median is one value; hardly a verdict changes so


def percentile(values, p):
    """As the bench has it."""
    values = sorted(values)
    return values[int(p * (len(values) - 1) + 0.5)]


class Verdict:
    """Values of a kind, and where their median, or their quiet value, should be."""

    def __init__(self, what, values, limit, target, spread=None, quiet=False):
        self.what, self.limit, self.target, self.quiet = what, limit, target, quiet
        self.values = len(values)
        self.median = statistics.median(values)
        self.low, self.high = spread or (percentile(values, SPREAD),
                                         percentile(values, 1 - SPREAD))
        self.value = percentile(values, QUIET) if quiet else self.median
        # where another run may have what is judged
        self.around = (percentile(values, QUIET / 2), percentile(values, QUIET * 2)) if quiet \
            else (self.low, self.high)

    def is_met(self):
        """One value decides: three runs in a row are to say the same."""
        return (self.value <= self.target) == (self.limit == AT_MOST) or \
            self.value == self.target

    def is_sure(self):
        """Where the target is within the spread, a run may have it on the other side."""
        return not self.around[0] < self.target < self.around[1]

    def text(self):
        return ("met" if self.is_met() else "missed") + ("" if self.is_sure() else " ~")

    def as_json(self):
        """For machines."""
        return {"what": self.what, "limit": self.limit, "target": self.target,
                "judged": "quiet" if self.quiet else "median", "value": round(self.value, 3),
                "median": round(self.median, 3), "p10": round(self.low, 3),
                "p90": round(self.high, 3), "ratio": self.ratio(), "values": self.values,
                "verdict": "met" if self.is_met() else "missed", "sure": self.is_sure()}

    def ratio(self):
        """Of what was measured to the target."""
        return round(self.value / self.target, 3) if self.target else None

    def line(self):
        """For people."""
        digits = 2 if self.target < 10 and self.target % 1 else 0
        ratio = f"{self.ratio():5.2f}" if self.target else f"{'':5}"
        numbers = (self.target, self.value, self.low, self.median, self.high)
        return (f"{self.what:56} {self.limit:8} " +
                " ".join(f"{n:7.{digits}f}" for n in numbers) +
                f" {ratio}  {self.text()}")


def blocks(turns):
    """Of values turn by turn the median of each block of them, the last, short one left out."""
    whole = range(0, len(turns) - BLOCK + 1, BLOCK)
    return [statistics.median(turns[i:i + BLOCK]) for i in whole] or turns


class Turns:
    """What compare.c has measured window by window."""

    def __init__(self, data):
        self.turns = {(c["kind"], c["dir"], c["size"]): c["turns"]
                      for c in data.get("compare", [])}

    def added(self, way, size, stream, kind="kinds"):
        """What the gateway adds to the ports: (cycles, cipher alone), of whole turns."""
        for turn in self.turns.get((kind, way, size), []):
            gw, ports = turn["gw"], turn["ports"]
            if all(gw) and all(ports) and stream < len(gw) and turn["raw"][0]:
                yield gw[stream] - ports[stream], turn["raw"][0]

    def cycles(self, way, size, stream=ESP):
        """The same without the cipher."""
        return [added for added, _ in self.added(way, size, stream)]

    def raw_share(self, way, size):
        """The cipher alone of what the gateway adds."""
        return [raw / added for added, raw in self.added(way, size, ESP) if added > 0]

    def more(self, way, size, than, stream):
        """What a stream costs more than another of the same turn."""
        pairs = zip(self.cycles(way, size, stream), self.cycles(way, size, than))
        return [a - b for a, b in pairs]

    def checksums(self, way, size):
        """What UDP costs more over IPv6 where the port makes its checksums."""
        streams = [self.added(way, size, stream, "checksums") for stream in (0, 1)]
        return [b - a for (a, _), (b, _) in zip(*streams)]

    def raw(self, way, size):
        """The cipher alone."""
        return [raw for _, raw in self.added(way, size, ESP)]

    def scaling(self, way, size, what="gw"):
        """Two workers' packets for a second of CPU time of each, over those of either alone."""
        return [(t[what][0] + t[what][1]) / t[what][2]
                for t in self.turns.get(("workers", way, size), []) if all(t[what])]


def cycles_of(turns):
    """What counts when nothing else runs on the machine: the value of each turn by itself."""
    for way, size, cycles in (("out", "64", 122), ("in", "64", 117), ("out", "1420", 388),
                              ("in", "1420", 383), ("out", "imix", 175), ("in", "imix", 175)):
        values = turns.cycles(way, size)
        if values:
            yield Verdict(f"{way} {size}, all-in minus ports, quiet cycles", values, AT_MOST,
                          cycles, quiet=True)


def of_turns(turns):
    """Of the bench's own turns: what, the values of all, limit, target."""
    for size, share in (("64", 0.63), ("1420", 0.88)):
        for way in WAYS:
            yield (f"{way} {size}, cipher alone / (all-in - ports)", turns.raw_share(way, size),
                   AT_LEAST, share)
    for size in ("64", "1420"):
        for way in WAYS:
            for what, than, stream in (("UDP", ESP, UDP), ("IPv6", ESP, ESP6)):
                yield (f"{way} {size}, {what}: cycles more", turns.more(way, size, than, stream),
                       AT_MOST, 12)
            both = "IPv6, both in UDP"
            if way == "out":
                yield (f"{way} {size}, {both}, NIC's checksum: cycles more",
                       turns.checksums(way, size), AT_MOST, 12)
                both += ", CPU's checksum"
            yield (f"{way} {size}, {both}: cycles more", turns.more(way, size, UDP, UDP6),
                   AT_MOST, 12)
    for way in WAYS:
        yield (f"{way} 64, 64 tunnels x 64 flows: cycles more", turns.more(way, "64", UDP, MANY),
               AT_MOST, 60)
    for size in ("64", "1420"):
        for way in WAYS:
            yield f"{way} {size}, two workers / one", turns.scaling(way, size), AT_LEAST, 1.95


def verdicts_of(data):
    """All that there are values for."""
    turns = Turns(data)
    found = list(cycles_of(turns))
    found += [Verdict(what, blocks(values), limit, target)
              for what, values, limit, target in of_turns(turns) if values]
    for h in data.get("handoff", []):
        if "limit" in h:
            found.append(Verdict(f"hand-off, bursts of {h['burst']}: cycles more",
                                 [h["more_gw_median"]], AT_MOST, h["limit"],
                                 (h["more_gw_p10"], h["more_gw_p90"])))
    for r in data.get("secgw", {}).get("rows", []):
        if r["target"] and r["turns"] and not r["esn"]:
            found.append(Verdict(f"{r['dir']} {r['size']}, ipsec-secgw / gateway",
                                 blocks(r["turns"]), AT_LEAST, r["target"]))
    if data.get("load", {}).get("sas"):
        found.append(Verdict("memory for an SA, bytes", [data["load"]["sa_bytes"]], AT_MOST, 4096))
    rows = data.get("rows", []) + data.get("compare", [])
    for what, key in (("pairs of SPI and sequence number sent twice", "duplicates"),
                      ("wrong packets of those looked at", "wrong")):
        if rows:
            found.append(Verdict(what, [sum(r[key] for r in rows)], AT_MOST, 0))
    return found


def print_table(found, data):
    """For people."""
    print(f"\n{'':56} {'':8} {'target':>7} {'judged':>7} {'10 %':>7} {'50 %':>7} {'90 %':>7} "
          f"{'ratio':>5}")
    for v in found:
        print(v.line())
    print("judged: quiet cycles by 10 %, all else by 50 %; ~: the target is so near (5 to 20 %, "
          "10 to 90 %) that another run may say otherwise")
    turns = Turns(data)
    alone = [f"{way} {size} {statistics.median(values):.0f} ({there})"
             for (way, size), there in CIPHER_THERE.items() if (values := turns.raw(way, size))]
    both = [f"{way} {size} {statistics.median(values):.2f}" for size in ("64", "1420")
            for way in WAYS if (values := turns.scaling(way, size, "raw"))]
    if alone:
        print(f"\nthe cipher alone, cycles here (on the targets' machine): {', '.join(alone)}")
    if both:
        print(f"the cipher alone on two CPUs / on one: {', '.join(both)} (well below 2: they share "
              "a core, or others have them)")


def main():
    """From JSON into JSON."""
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as f:
        data = json.load(f)
    found = verdicts_of(data)
    if not found:
        return 0
    print_table(found, data)
    data["verdicts"] = [v.as_json() for v in found]
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1)
        f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
