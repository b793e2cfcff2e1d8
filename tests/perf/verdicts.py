#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What tools/bench has measured beside the targets of the project: verdicts.py JSON

Prints one line for each target of whose rows there are any in the JSON of the bench (and of
secgw.py), and adds them to it. docs/performance.md says how they are judged.
"""

import json
import sys

AT_MOST, AT_LEAST = "at most", "at least"
ESP, UDP, ESP6, UDP6, MANY = range(5)  # enum bench_stream
# What the gateway may add to the ports, cycles, and how many the cipher alone takes on the
# machine that these were set for
CYCLES = {("out", "64"): 122, ("in", "64"): 117, ("out", "1420"): 388, ("in", "1420"): 383,
          ("out", "imix"): 175, ("in", "imix"): 175}
CIPHER_THERE = {("out", "64"): 78, ("in", "64"): 71, ("out", "1420"): 342, ("in", "1420"): 335}
SHARES = {"64": 0.63, "1420": 0.88}  # of the cipher in what is added
LEAST, FLOOR = 1, 3  # of sorted values, from 0, as measure.c has it
SPREAD = (0.1, 0.5, 0.9)  # of all turns, for people to see how steady the machine was


def percentile(values, p):
    """As the bench has it."""
    values = sorted(values)
    return values[int(p * (len(values) - 1) + 0.5)]


class Known:
    """A value, and between which two it is."""

    def __init__(self, value, low=None, high=None):
        self.value = value
        self.low = value if low is None else low
        self.high = value if high is None else high

    @classmethod
    def floor(cls, values):
        """What the CPU takes while it is nobody else's: bench_floor()."""
        values = sorted(values)
        high = values[min(FLOOR, len(values) - 1)]
        return cls(high, values[min(LEAST, len(values) - 1)], high)

    def __add__(self, other):
        return Known(self.value + other.value, self.low + other.low, self.high + other.high)

    def __sub__(self, other):
        return Known(self.value - other.value, self.low - other.high, self.high - other.low)

    def __truediv__(self, other):
        return Known(self.value / other.value, self.low / other.high, self.high / other.low)


class Verdict:
    """What is judged, all the values that it is of, and where it should be."""

    def __init__(self, what, known, values, limit, target):
        self.what, self.known, self.limit, self.target = what, known, limit, target
        self.values = len(values)
        self.spread = [percentile(values, p) for p in SPREAD]

    def is_met(self):
        """One value decides: three runs in a row are to say the same."""
        return (self.known.value <= self.target) == (self.limit == AT_MOST) or \
            self.known.value == self.target

    def is_sure(self):
        """Else a run may have it on the other side."""
        return not self.known.low < self.target < self.known.high

    def text(self):
        return ("met" if self.is_met() else "missed") + ("" if self.is_sure() else " ~")

    def as_json(self):
        """For machines."""
        numbers = {"target": self.target, "value": self.known.value, "low": self.known.low,
                   "high": self.known.high, **dict(zip(("p10", "median", "p90"), self.spread))}
        return {"what": self.what, "limit": self.limit,
                **{name: round(n, 3) for name, n in numbers.items()}, "ratio": self.ratio(),
                "values": self.values, "verdict": "met" if self.is_met() else "missed",
                "sure": self.is_sure()}

    def ratio(self):
        """Of what was measured to the target."""
        return round(self.known.value / self.target, 3) if self.target else None

    def line(self):
        """For people."""
        digits = 2 if self.target < 10 and self.target % 1 else 0
        ratio = f"{self.ratio():5.2f}" if self.target else f"{'':5}"
        numbers = (self.target, self.known.value, *self.spread)
        return (f"{self.what:56} {self.limit:8} " +
                " ".join(f"{n:7.{digits}f}" for n in numbers) +
                f" {ratio}  {self.text()}")


class Turns:
    """What compare.c has measured window by window, of one kind, direction and size.

    All that is asked for is (what is known, the same turn by turn).
    """

    def __init__(self, turns):
        # where others had the CPU for a whole window there is a 0
        self.turns = [t for t in turns if all(t["gw"] + t["ports"] + t["raw"])]

    def floor(self, what, i=0):
        """Of the gateway, the ports or the cipher."""
        return Known.floor([t[what][i] for t in self.turns])

    def added(self, stream=ESP):
        """What the gateway adds to the ports."""
        return (self.floor("gw", stream) - self.floor("ports", stream),
                [t["gw"][stream] - t["ports"][stream] for t in self.turns])

    def raw_share(self):
        """The cipher alone of what the gateway adds."""
        known, turns = self.added()
        return (self.floor("raw") / known,
                [t["raw"][0] / added for t, added in zip(self.turns, turns) if added > 0])

    def more(self, than, stream):
        """What a stream costs more than another of the same turns."""
        (known, turns), (known_than, turns_than) = self.added(stream), self.added(than)
        return known - known_than, [a - b for a, b in zip(turns, turns_than)]

    def scaling(self, what="gw"):
        """Two workers' packets for a second of CPU time of each, over those of either alone."""
        alone = self.floor(what, 0) + self.floor(what, 1)
        return (alone / self.floor(what, 2),
                [(t[what][0] + t[what][1]) / t[what][2] for t in self.turns])


def of_kinds(way, size, turns):
    """Of tunnels of all kinds in one gateway."""
    at = f"{way} {size}"
    yield f"{at}, all-in minus ports: cycles", turns.added(), AT_MOST, CYCLES[way, size]
    if size not in SHARES:
        return
    yield f"{at}, cipher alone / (all-in - ports)", turns.raw_share(), AT_LEAST, SHARES[size]
    both = "IPv6, both in UDP" + (", CPU's checksum" if way == "out" else "")
    for what, than, stream in (("UDP", ESP, UDP), ("IPv6", ESP, ESP6), (both, UDP, UDP6)):
        yield f"{at}, {what}: cycles more", turns.more(than, stream), AT_MOST, 12
    if size == "64":
        yield f"{at}, 64 tunnels x 64 flows: cycles more", turns.more(UDP, MANY), AT_MOST, 60


def of_comparison(kind, way, size, turns):
    """What, (what is known, turn by turn), limit, target."""
    if kind == "kinds":
        yield from of_kinds(way, size, turns)
    elif kind == "checksums":
        yield (f"{way} {size}, IPv6, both in UDP, NIC's checksum: cycles more", turns.more(0, 1),
               AT_MOST, 12)
    elif kind == "workers":
        yield f"{way} {size}, two workers / one", turns.scaling(), AT_LEAST, 1.95


def of_handoff(h):
    """As of_comparison()."""
    own, receiver, owner = (Known.floor(h[part]) for part in ("own_gw", "receiver_gw", "owner_gw"))
    yield (f"hand-off, bursts of {h['burst']}: cycles more", (receiver + owner - own, h["more_gw"]),
           AT_MOST, h["limit"])


def of_peer(r):
    """As of_comparison()."""
    ports, gateway, secgw = (Known.floor(r[f"{of}_floors"]) for of in ("ports", "gateway", "secgw"))
    yield (f"{r['dir']} {r['size']}, ipsec-secgw / gateway",
           ((secgw - ports) / (gateway - ports), r["turns"]), AT_LEAST, r["target"])


def of_one(what, value, target):
    """As of_comparison(), of what is the same each time."""
    yield what, (Known(value), [value]), AT_MOST, target


def comparisons(data):
    """(kind, way, size) to what was measured."""
    of_all = {(c["kind"], c["dir"], c["size"]): Turns(c["turns"]) for c in data.get("compare", [])}
    return {key: turns for key, turns in of_all.items() if turns.turns}


def lines_of(data):
    """All that there are values for."""
    for key, turns in comparisons(data).items():
        yield from of_comparison(*key, turns)
    for h in data.get("handoff", []):
        if "limit" in h and h["more_gw"]:
            yield from of_handoff(h)
    for r in data.get("secgw", {}).get("rows", []):
        if r["target"] and r["turns"] and not r["esn"]:
            yield from of_peer(r)
    if data.get("load", {}).get("sas"):
        yield from of_one("memory for an SA, bytes", data["load"]["sa_bytes"], 4096)
    rows = data.get("rows", []) + data.get("compare", [])
    for what, key in (("pairs of SPI and sequence number sent twice", "duplicates"),
                      ("wrong packets of those looked at", "wrong")):
        if rows:
            yield from of_one(what, sum(r[key] for r in rows), 0)


def print_table(found, data):
    """For people."""
    print(f"\n{'':56} {'':8} {'target':>7} {'judged':>7} {'10 %':>7} {'50 %':>7} {'90 %':>7} "
          f"{'ratio':>5}")
    for v in found:
        print(v.line())
    print("judged: the least that the CPU takes, of many windows the fourth least; 10, 50, 90 %: "
          "turn by turn; ~: least\nvalues of this run are on both sides of the target, so another "
          "run may say otherwise")
    measured = comparisons(data)
    alone = [f"{way} {size} {measured['kinds', way, size].floor('raw').value:.0f} ({there})"
             for (way, size), there in CIPHER_THERE.items() if ("kinds", way, size) in measured]
    both = [f"{way} {size} {turns.scaling('raw')[0].value:.2f}"
            for (kind, way, size), turns in measured.items() if kind == "workers"]
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
    found = [Verdict(what, *measured, limit, target)
             for what, measured, limit, target in lines_of(data)]
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
