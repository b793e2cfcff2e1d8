#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draw what tools/bench has measured, from its JSON: plot.py JSON DIRECTORY

Makes size-out.svg and size-in.svg (throughput by frame size: cipher alone, the gateway
without its ports and with them), workers-*.svg (one worker and two), peer-*.svg (beside
ipsec-secgw), handoff.svg and burst.svg (cycles by burst) and sas.svg (cycles by number of
SAs). A picture whose rows were not measured is not made.
"""

import json
import math
import os
import statistics
import sys

RIGHT, HEIGHT = 480, 400  # of them, where the lines are; their names stand right of it
LEFT, TOP, BOTTOM = 64, 48, 52
LETTER = 7.2  # how wide one is, at most on average
COLOURS = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e5ea2", "#777777"]
FONT = 'font-family="sans-serif" font-size="12"'


def nice_step(most, steps=6):
    """1, 2 or 5 times a power of ten, so that about so many steps reach to most."""
    rough = most / steps
    power = 10 ** math.floor(math.log10(rough))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= rough)


def escape(text):
    """For XML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Chart:
    """Lines over points that stand at even distances."""

    def __init__(self, title, x_label, y_label, points):
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.points = points
        self.lines = []

    def add(self, name, values):
        """A value for each point, None where there is none."""
        if any(v is not None for v in values):
            self.lines.append((name, values))

    def x_of(self, i):
        """Of the i-th point."""
        return LEFT + (RIGHT - LEFT) * (i + 0.5) / len(self.points)

    def width(self):
        """Of all, with the names of the lines, or the title where it is longer."""
        names = RIGHT + 46 + LETTER * max(len(name) for name, _ in self.lines)
        return math.ceil(max(names, LEFT + 1.1 * LETTER * len(self.title)))

    def svg(self):
        """The picture."""
        width = self.width()
        most = max(v for _, values in self.lines for v in values if v is not None)
        step = nice_step(most)
        top = step * math.ceil(most / step)

        def y_of(value):
            return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
               f'viewBox="0 0 {width} {HEIGHT}">',
               f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
               f'<text x="{LEFT}" y="24" {FONT} font-weight="bold">{escape(self.title)}</text>',
               f'<text x="{LEFT}" y="{TOP - 8}" {FONT}>{escape(self.y_label)}</text>',
               f'<text x="{RIGHT}" y="{HEIGHT - 12}" {FONT} text-anchor="end">'
               f'{escape(self.x_label)}</text>']
        for i in range(round(top / step) + 1):
            y = y_of(i * step)
            out.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#dddddd"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" {FONT} text-anchor="end">'
                       f'{i * step:,g}</text>')
        for i, point in enumerate(self.points):
            out.append(f'<text x="{self.x_of(i):.1f}" y="{HEIGHT - BOTTOM + 18}" {FONT} '
                       f'text-anchor="middle">{escape(str(point))}</text>')
        for k, (name, values) in enumerate(self.lines):
            out += self.line(k, name, values, y_of)
        return "\n".join(out + ["</svg>", ""])

    def line(self, k, name, values, y_of):
        """One of them, with its name."""
        colour = COLOURS[k % len(COLOURS)]
        dots = [(self.x_of(i), y_of(v)) for i, v in enumerate(values) if v is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        y = TOP + 16 * k
        return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
                *(f'<circle cx="{x:.1f}" cy="{y0:.1f}" r="3" fill="{colour}"/>'
                  for x, y0 in dots),
                f'<path d="M{RIGHT + 12} {y}h16" stroke="{colour}" stroke-width="2"/>',
                f'<text x="{RIGHT + 34}" y="{y + 4}" {FONT}>{escape(name)}</text>']


def gbps(cycles, size, tsc_hz):
    """What so many cycles for a frame are; None: not measured."""
    return size * 8 * tsc_hz / cycles / 1e9 if cycles else None


def rows_of(data, key="size", **want):
    """Rows that differ in one thing only, by it: all else is as usual, or as wanted."""
    usual = {"algo": data.get("algo"), "encap": True, "outer": 4, "workers": 1, "tunnels": 1,
             "flows": 1, "burst": 32, "window": 0}
    want = {k: v for k, v in {**usual, **want}.items() if k != key}
    return {int(row[key]): row for row in data.get("rows", [])
            if row["size"] != "imix" and all(row[k] == v for k, v in want.items())}


def machine(data):
    """What has to stand at each picture."""
    v = data["ipsec_mb"]
    return f'{data["algo"]}, UDP, intel-ipsec-mb {v >> 16}.{v >> 8 & 255}.{v & 255}'


def plot_size(data, way):
    """Throughput by size: where the cycles of a packet go."""
    rows = rows_of(data, dir=way)
    if len(rows) < 2:
        return None
    sizes = sorted(rows)
    chart = Chart(f"One worker, {way}: {machine(data)}", "frame, bytes",
                  "Gbit/s of inner frames, quiet cycles", sizes)
    for name, key in (("cipher alone", "raw_quiet"), ("gateway less ports", "minus_ports_quiet"),
                      ("gateway, all-in", "all_in_quiet")):
        chart.add(name, [gbps(rows[s][key], s, data["tsc_hz"]) for s in sizes])
    return chart


def plot_workers(data, way):
    """One worker and two, by wall time."""
    one = rows_of(data, dir=way)
    two = rows_of(data, dir=way, workers=2)
    sizes = sorted(set(one) & set(two))
    if len(sizes) < 2:
        return None
    chart = Chart(f"One worker and two, {way}: {machine(data)}", "frame, bytes",
                  "Mpps, wall time, median", sizes)
    for name, rows in (("one worker", one), ("two workers", two)):
        chart.add(name, [rows[s]["pps_median"] / 1e6 for s in sizes])
    return chart


def plot_peer(data, way):
    """Beside DPDK's ipsec-secgw, in plain ESP, less the same ports."""
    rows = {int(r["size"]): r for r in data.get("secgw", {}).get("rows", [])
            if r["dir"] == way and not r["esn"] and str(r["size"]).isdigit() and r["mode"]}
    if len(rows) < 2:
        return None
    sizes = sorted(rows)
    chart = Chart(f"One worker, {way}, beside ipsec-secgw: aes128gcm16", "frame, bytes",
                  "Gbit/s of inner frames, least cycles less ports", sizes)
    for name, key in (("gateway", "gateway_least"), ("ipsec-secgw", "secgw_least")):
        chart.add(name, [gbps(rows[s][key] - rows[s]["ports_least"], s,
                              data["secgw"]["tsc_hz"]) for s in sizes])
    return chart


def plot_bursts(data):
    """What the gateway adds to the ports, by burst: of windows side by side."""
    turns = {c["dir"]: c["turns"] for c in data.get("compare", []) if c["kind"] == "bursts"}
    if not turns:
        return None
    n = len(turns["out"][0]["gw"])
    chart = Chart(f"By burst, 64 bytes: {machine(data)}", "packets that a call of receive gives",
                  "cycles for a packet, median", [2 ** i for i in range(n)])
    for way in ("out", "in"):
        chart.add(f"gateway less ports, {way}",
                  [statistics.median(t["gw"][i] - t["ports"][i] for t in turns[way])
                   for i in range(n)])
    # hardly different
    chart.add("ports alone", [statistics.median(t["ports"][i] for w in turns for t in turns[w])
                              for i in range(n)])
    return chart


def plot_sas(data):
    """What the gateway adds to the ports, by number of SAs."""
    ways = {way: rows_of(data, "tunnels", dir=way, size="64") for way in ("out", "in")}
    points = sorted(set(ways["out"]) & set(ways["in"]))
    if len(points) < 2:
        return None
    chart = Chart(f"By number of SAs, 64 bytes: {machine(data)}",
                  "SAs of a direction, one flow each, in random order",
                  "cycles for a packet, quiet", [f"{p:,}" for p in points])
    for way, rows in ways.items():
        chart.add(f"gateway less ports, {way}", [rows[p]["minus_ports_quiet"] for p in points])
    chart.add("ports alone", [(ways["out"][p]["ports_quiet"] + ways["in"][p]["ports_quiet"]) / 2
                              for p in points])
    return chart


def plot_handoff(data):
    """What a packet on the wrong queue costs more, by burst."""
    rows = sorted(data.get("handoff", []), key=lambda r: r["burst"])
    if len(rows) < 2:
        return None
    chart = Chart("ESP that lands on the wrong worker, 64 bytes, UDP", "burst",
                  "cycles for a packet, median", [r["burst"] for r in rows])
    chart.add("landed right", [r["own_gw_median"] for r in rows])
    chart.add("more, handed off", [r["more_gw_median"] for r in rows])
    return chart


def main():
    """JSON to pictures."""
    if len(sys.argv) != 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as f:
        data = json.load(f)
    os.makedirs(sys.argv[2], exist_ok=True)
    charts = {"handoff": plot_handoff(data), "burst": plot_bursts(data), "sas": plot_sas(data)}
    for way in ("out", "in"):
        charts["size-" + way] = plot_size(data, way)
        charts["workers-" + way] = plot_workers(data, way)
        charts["peer-" + way] = plot_peer(data, way)
    for name, chart in charts.items():
        if chart is None:
            continue
        path = os.path.join(sys.argv[2], name + ".svg")
        with open(path, "w", encoding="utf-8") as f:
            f.write(chart.svg())
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
