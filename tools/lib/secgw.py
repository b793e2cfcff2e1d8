#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The gateway beside DPDK's own example ipsec-secgw: processes in turn on the same CPU.

usage: secgw.py BUILD [--quick] [--rounds N] [--json FILE] [--no-hugepages]

tools/bench calls it, and docs/performance.md says how it measures. ipsec-secgw is built
of the Debian source package of the DPDK that is installed, in build/secgw/.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_ports import (HOST_MAC, KEY, PAIRS, PEER_MAC, QUEUES, SPI, Shared, is_right,
                         write_frames)
from debsrc import Unavailable, fetch
from gateway import config_file_text, free_hugepages_mb
from netns import Failed, Namespace, close_all, exit_on_signals, run, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(TOP, "build", "secgw")

TARGET = {"64": 1.8, "1420": 1.25}
WINDOWS = 12  # of a program's turn; the one in which it woke up does not count
LEAST, FLOOR = 1, 3  # of sorted windows, from 0, as tests/perf/measure.c has it
SETTLED, SETTLED_CYCLES = 0.03, 2.0  # so much less may the least but one be
STARTS = 3  # of all programs: where its memory comes to lie is worth cycles to each of them
SETTLE_STARTS = 9  # at most, until it is so
START_S = 20.0
TURN_S = 5.0  # at most: others may have the CPU

# name, options of ipsec-secgw, crypto device, what the SA's line has more
MODES = (
    ("legacy, aesni_gcm", [], "crypto_aesni_gcm", ""),
    ("legacy, aesni_mb", [], "crypto_aesni_mb", ""),
    ("-l, aesni_gcm", ["-l"], "crypto_aesni_gcm", ""),
    ("-l, aesni_mb", ["-l"], "crypto_aesni_mb", ""),
    ("-l, cpu-crypto aesni_gcm", ["-l"], "crypto_aesni_gcm", " type cpu-crypto"),
    ("-l, cpu-crypto aesni_mb", ["-l"], "crypto_aesni_mb", " type cpu-crypto"),
)


# ipsec-secgw: its source, and what is built of it

def installed_version():
    """The version of DPDK's source package here."""
    done = run("dpkg-query", "-W", "-f", "${source:Version}", "libdpdk-dev", check=False)
    if done.returncode != 0:
        raise Unavailable("DPDK is not of a Debian package here")
    return done.stdout.strip()


def secgw_binary():
    """ipsec-secgw of the DPDK that is installed; built if it is not there yet."""
    version = installed_version()
    final = os.path.join(CACHE, re.sub(r"[^\w.+~-]", "_", version))
    binary = os.path.join(final, "examples", "ipsec-secgw", "build", "ipsec-secgw-shared")
    if os.path.exists(binary):
        return binary, version
    print(f"ipsec-secgw of dpdk {version}: fetching the source, building ...", flush=True)
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as new:
        archive, _ = fetch(new, "dpdk", version)
        run("tar", "-xf", archive, "-C", new, "--strip-components=1", "--wildcards",
            "*/examples/ipsec-secgw", "*/examples/common")
        example = os.path.join(new, "examples", "ipsec-secgw")
        # It insists on ports that check checksums; with this it believes what comes.
        patch(os.path.join(example, "ipsec-secgw.c"),
              r"(\.offloads = )RTE_ETH_RX_OFFLOAD_CHECKSUM,", r"\g<1>0,")
        done = run("make", "-C", example, check=False, timeout=900)
        if done.returncode != 0:
            raise Unavailable(f"it does not build:\n{done.stdout[-2000:]}")
        shutil.rmtree(final, ignore_errors=True)
        os.makedirs(final)
        shutil.move(os.path.join(new, "examples"), final)
    return binary, version


def patch(path, what, by):
    """Replace the one place in a file."""
    with open(path, encoding="utf-8") as f:
        text, n = re.subn(what, by, f.read())
    if n != 1:
        raise Unavailable(f"{os.path.basename(path)} is not as expected: {n} x {what}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


# Programs

class Program:
    """A process that is stopped but for its turns."""

    MEMORY_MB = 96

    def __init__(self, bench, name, row):
        self.name = name
        self.bench = bench
        self.row = row
        self.samples = []
        self.turns = []  # the median of each; None: nothing came
        self.process = None
        self.directory = tempfile.mkdtemp(dir=bench.directory)
        self.shared = Shared(os.path.join(self.directory, "shared"))
        self.log_path = os.path.join(self.directory, "log")
        self.file_prefix = f"secgw-{os.getpid()}-{os.path.basename(self.directory)}"
        self.right = self.wrong = 0

    def environment(self):
        """For the program to get our ports."""
        return dict(os.environ, LD_PRELOAD=self.bench.ports,
                    BENCH_PORTS_SHARED=self.shared.path, BENCH_PORTS_FRAMES=self.bench.frames)

    def eal(self, workers=1):
        """EAL's arguments: worker 0 where all others have theirs, too."""
        cpus = self.bench.cpus
        lcores = [f"0@{cpus[-1]}"] + [f"{i + 1}@{cpus[i]}" for i in range(workers)]
        memory = ["--in-memory"] if self.bench.hugepages else ["--no-huge", "--no-shconf"]
        return ["--lcores", ",".join(lcores), *memory, "-m", str(self.MEMORY_MB), "--no-pci",
                "--no-telemetry", "--file-prefix", self.file_prefix]

    def devices(self):
        """Port 0 is the LAN, port 1 the WAN."""
        lan, wan = ("in", "out") if self.row.way == "out" else ("out", "in")
        return ["--vdev", f"net_null_{lan}", "--vdev", f"net_null_{wan}"]

    def command(self, workers):
        """What to run."""
        raise NotImplementedError

    def start(self, workers=1):
        """Start it, see that packets come out, and stop it until its turn."""
        with open(self.log_path, "ab") as log:
            self.process = self.bench.namespace.start(*self.command(workers), stdout=log,
                                                      stderr=log, env=self.environment())
        self.begun()
        wait_for(f"packets of {self.name}", self.has_packets, START_S)
        self.begun()

    def begun(self):
        """What there is to do for packets to find their way."""

    def log(self):
        """What it has said."""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-1500:]

    def has_packets(self):
        """Do packets come out?"""
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return sum(self.shared.counts()) > 2

    def pause(self):
        """No turn."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Its turn."""
        self.process.send_signal(signal.SIGCONT)

    def turn(self):
        """Run for some windows, and note what a packet cost in each."""
        self.resume()
        before = self.shared.counts()
        deadline = time.monotonic() + TURN_S
        while time.monotonic() < deadline:
            time.sleep(0.004)
            if max(n - b for n, b in zip(self.shared.counts(), before)) > WINDOWS + 1:
                break
        self.pause()
        hz = self.shared.tsc_hz()
        new = []
        for q, (b, n) in enumerate(zip(before, self.shared.counts())):
            points = [self.shared.sample(q, i) for i in range(b + 1, n)]
            for p, o in zip(points, points[1:]):
                new.append((o[0] - p[0]) * hz / 1e9 / (o[2] - p[2]))
        self.samples += new
        self.turns.append(statistics.median(new) if new else None)

    def check(self):
        """Are they the right packets that come out?"""
        self.shared.capture(1)
        self.resume()
        with contextlib.suppress(Failed):
            wait_for("frames", lambda: max(self.shared.queue(q)[1] for q in range(QUEUES)) >= 200)
        self.shared.capture(0)
        self.pause()
        for frame in self.shared.frames():
            if frame[12:14] != b"\x08\0":
                continue  # of the kernel, by the gateway's TAPs
            ok = is_right(frame, self.row.way, self.row.size, self.row.esn)
            self.right += ok
            self.wrong += not ok

    def duplicates(self, seconds):
        """(packets, pairs seen again) of those that go out meanwhile."""
        self.shared.capture(1)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and \
                max(self.shared.queue(q)[2] for q in range(QUEUES)) < PAIRS:
            time.sleep(0.01)
        self.shared.capture(0)
        time.sleep(0.05)
        queues = [p for p in self.shared.pairs() if p]
        pairs = [x for p in queues for x in p]
        return len(pairs), len(pairs) - len(set(pairs)), len(queues)

    def floors(self):
        """The least values, by which verdicts.py judges."""
        return sorted(self.samples)[:FLOOR + 1]

    def least(self):
        """What it takes where the CPU is nobody else's: the fourth least of all windows."""
        return self.floors()[-1] if self.samples else 0

    def go_on(self, before):
        """With what one of the same name has found out before it, if there was one."""
        if before is not None:
            self.samples, self.turns = before.samples, before.turns
            self.right, self.wrong = before.right, before.wrong

    def is_settled(self):
        """More windows would not change that."""
        values = self.floors()
        return len(values) > FLOOR and \
            values[FLOOR] - values[LEAST] <= min(SETTLED_CYCLES, SETTLED * values[FLOOR])

    def median(self):
        """Of all windows."""
        return statistics.median(self.samples) if self.samples else 0

    def close(self):
        """End it."""
        if self.shared.map.closed:
            return
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(3)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        shutil.rmtree(f"/var/run/dpdk/{self.file_prefix}", ignore_errors=True)
        self.shared.map.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Ports(Program):
    """The ports alone."""

    def command(self, workers):
        return [self.bench.portio, *self.eal(), "--vdev", "net_null_in",
                "--vdev", "net_null_out"]


class OurGateway(Program):
    """dpdk-pcpu-gw."""

    def command(self, workers):
        row = self.row
        lan, wan = ("in", "out") if row.way == "out" else ("out", "in")
        # a pair for "any": one SA for all workers
        pair = {way: {"spi": SPI[way], "key": KEY[way].hex()} for way in ("out", "in")}
        if workers == 1:
            pair = {"pcpu": 0, **pair}
        config = {
            "workers": workers, "console": "", "allow_iv_reuse": True, "mbufs": 8191,
            "ports": [
                {"name": "lan", "device": f"net_null_{lan}", "addresses": ["10.1.0.1/16"]},
                {"name": "wan", "device": f"net_null_{wan}", "addresses": ["192.0.2.1/24"]}],
            "tunnels": [{
                "name": "t0", "local": "192.0.2.1", "remote": "192.0.2.2",
                "algo": "aes128gcm16", "esn": row.esn, "replay_window": 0,
                "selectors": [{"local": "10.1.0.0/16", "remote": "10.100.0.0/24"}],
                "sas": [pair]}]}
        path = os.path.join(self.directory, "gw.conf")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write(config_file_text(config))
        return [self.bench.gateway, *self.eal(workers), "--", "-c", path]

    def begun(self):
        for device, address, mac in (("lan", "10.1.0.10", HOST_MAC),
                                     ("wan", "192.0.2.2", PEER_MAC)):
            wait_for(f"interface {device}", lambda d=device: self.neighbour(d, address, mac), 30)

    def has_packets(self):
        # again and again: a request (NTF_USE) that the gateway made before makes of a permanent
        # neighbour one that has to be found, with Linux 5.16 and later
        if not super().has_packets():
            self.begun()
            return False
        return True

    def neighbour(self, device, address, mac):
        """One that the kernel never asks for; false: there is no such interface yet."""
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return self.bench.namespace.ip("neigh", "replace", address, "lladdr", mac, "nud",
                                       "permanent", "dev", device, check=False).returncode == 0


class Secgw(Program):
    """ipsec-secgw in one of its modes."""

    MEMORY_MB = 320  # its two routing tables take 64 each

    def __init__(self, bench, mode, row):
        self.mode = mode
        super().__init__(bench, mode[0], row)

    def command(self, workers):
        _, options, device, sa_more = self.mode
        net = {"out": "10.100.0.0/24", "in": "10.1.0.0/16"}
        ends = {"out": ("192.0.2.1", "192.0.2.2"), "in": ("192.0.2.2", "192.0.2.1")}
        lines = []
        for way in ("out", "in"):
            lines.append(f"sp ipv4 {way} esp protect {SPI[way]} pri 1 dst {net[way]} "
                         "sport 0:65535 dport 0:65535\n")
            lines.append(f"sa {way} {SPI[way]} aead_algo aes-128-gcm aead_key "
                         f"{KEY[way].hex(':')} mode ipv4-tunnel src {ends[way][0]} "
                         f"dst {ends[way][1]}{sa_more}\n")
        lines += ["rt ipv4 dst 10.1.0.0/16 port 0\n", "rt ipv4 dst 10.100.0.0/24 port 1\n",
                  "rt ipv4 dst 192.0.2.0/24 port 1\n",
                  f"neigh port 0 {HOST_MAC}\n", f"neigh port 1 {PEER_MAC}\n"]
        path = os.path.join(self.directory, "secgw.cfg")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(lines)
        queues = ",".join(f"({p},{w},{w + 1})" for p in (0, 1) for w in range(workers))
        crypto = [a for i in range(workers) for a in ("--vdev", f"{device}{i}")]
        return [self.bench.secgw, *self.eal(workers), *self.devices(), *crypto, "--", "-p", "3",
                "-u", "2", "-s", "8191", *options, *(["-e"] if self.row.esn else []),
                "-f", path, f"--config={queues}"]


# Measuring

class Row:
    """What is measured."""

    def __init__(self, way, size, esn):
        self.way, self.size, self.esn = way, size, esn
        self.ports = self.gateway = None
        self.modes = []
        self.skipped = []

    def name(self):
        """In one word or two."""
        return f"{self.way} {self.size}{' esn' if self.esn else ''}"

    def added(self, program, how):
        """Cycles all-in minus ports."""
        return getattr(program, how)() - getattr(self.ports, how)()

    def best(self):
        """The mode of ipsec-secgw that adds least."""
        return min(self.modes, key=lambda m: self.added(m, "least"), default=None)

    def ratio(self):
        """Of what the best mode adds to what the gateway adds."""
        best, ours = self.best(), self.added(self.gateway, "least")
        return self.added(best, "least") / ours if best is not None and ours > 0 else 0

    def ratios(self):
        """The same, turn by turn."""
        best = self.best()
        turns = zip(self.ports.turns, self.gateway.turns, best.turns) if best else ()
        return [(s - p) / (g - p) for p, g, s in turns if p and g and s and g > p]

    def part(self, part):
        """Of the sorted ratios of all turns."""
        ratios = sorted(self.ratios())
        return ratios[int(part * (len(ratios) - 1) + 0.5)] if ratios else 0


class Bench:
    """Where all is, and what was measured."""

    def __init__(self, build, directory, hugepages):
        perf = os.path.join(build, "tests", "perf")
        self.ports = os.path.join(perf, "bench_ports.so")
        self.portio = os.path.join(perf, "portio")
        self.gateway = os.path.join(build, "app", "dpdk-pcpu-gw")
        self.secgw, self.version = secgw_binary()
        self.directory = directory
        self.frames = os.path.join(directory, "frames")
        self.cpus = sorted(os.sched_getaffinity(0))
        self.hugepages = hugepages
        self.tsc_hz = 0
        self.namespace = Namespace(f"secgw-{os.getpid()}")

    def measure(self, row, modes, rounds):
        """A row: until what all programs take is known."""
        write_frames(self.frames, row.way, row.size, row.esn)
        found = {}
        for start in range(SETTLE_STARTS):
            if start >= STARTS and all(program.is_settled() for program in found.values()):
                break
            again = [m for m in modes if start == 0 or m[0] in found]
            found |= self.measure_start(row, again, rounds // STARTS + 1, found)
        row.ports, row.gateway = found.pop("ports"), found.pop("gateway")
        row.modes = [p for p in found.values() if p.samples and p.right > p.wrong]
        row.skipped += [(p.name, f"{p.wrong} of {p.right + p.wrong} packets are wrong")
                        for p in found.values() if p not in row.modes]

    def measure_start(self, row, modes, rounds, before):
        """All programs up, one of them running at a time, forwards and backwards: by name."""
        programs = [Ports(self, "ports", row), OurGateway(self, "gateway", row)]
        programs += [Secgw(self, m, row) for m in modes]
        live = []
        try:
            for program in programs:
                program.go_on(before.get(program.name))
                try:
                    program.start()
                    program.pause()
                except Failed as e:
                    if not isinstance(program, Secgw):
                        raise
                    program.close()
                    row.skipped.append((program.name, str(e).strip().splitlines()[0]))
                    continue
                live.append(program)
                if program.name != "ports":
                    program.check()
            for i in range(rounds):
                for program in live if i % 2 == 0 else reversed(live):
                    program.turn()
            self.tsc_hz = live[0].shared.tsc_hz()
        finally:
            for program in programs:
                program.close()
        return {program.name: program for program in live}

    def count_duplicates(self, modes, seconds=2):
        """One SA on two lcores: (name, packets, pairs seen again, lcores that sent)."""
        row = Row("out", "64", False)
        write_frames(self.frames, row.way, row.size, row.esn)
        found = []
        for program in [OurGateway(self, "gateway", row)] + [Secgw(self, m, row) for m in modes]:
            try:
                program.start(workers=2)
                found.append((program.name, *program.duplicates(seconds)))
            except Failed as e:
                found.append((program.name, 0, 0, 0))
                print(f"secgw: {e}", file=sys.stderr)
            finally:
                program.close()
        return found


def print_table(bench, rows, duplicates):
    """For people."""
    print(f"\nbeside ipsec-secgw of dpdk {bench.version}, its fastest mode: processes in turn on "
          "one CPU, the same ports;\nTSC cycles of CPU time for a packet, aes128gcm16, plain "
          f"ESP, IPv4, one SA, {'hugepages' if bench.hugepages else 'no hugepages'}; least: the "
          "fourth least window;\nratio: all-in minus ports, of the least and turn by turn\n")
    print(f"{'':12} {'ports':>6} {'gateway':>15} {'secgw':>15} {'ratio':>6} {'turn by turn':>20} "
          f"{'target':>6}  wrong/checked")
    print(f"{'':12} {'least':>6} {'least':>7} {'median':>7} {'least':>7} {'median':>7} "
          f"{'least':>6} {'10 %':>6} {'median':>6} {'90 %':>6} {'':>6}  gateway, secgw: mode")
    for row in rows:
        best = row.best()
        if best is None:
            print(f"{row.name():12} no mode of ipsec-secgw works: {row.skipped[:1]}")
            continue
        target = f"{TARGET[row.size]:.2f}" if row.size in TARGET else ""
        print(f"{row.name():12} {row.ports.least():6.0f} {row.gateway.least():7.0f} "
              f"{row.gateway.median():7.0f} {best.least():7.0f} {best.median():7.0f} "
              f"{row.ratio():6.2f} {row.part(0.1):6.2f} {row.part(0.5):6.2f} "
              f"{row.part(0.9):6.2f} {target:>6}  "
              f"{row.gateway.wrong}/{row.gateway.wrong + row.gateway.right}, "
              f"{best.wrong}/{best.wrong + best.right}: {best.name}")
    print("\nwhat its modes add to the ports, least/median:")
    for row in rows:
        print(f"{row.name():12} " + "; ".join(
            f"{m.name} {row.added(m, 'least'):.0f}/{row.added(m, 'median'):.0f}"
            for m in row.modes))
        for name, why in row.skipped:
            print(f"{'':12} not {name}: {why}")
    if duplicates:
        print("\none SA on two lcores, (SPI, sequence number) of packets captured one after the "
              "other:")
    for name, packets, again, lcores in duplicates:
        share = f"{100 * again / packets:.3f} %" if packets else "nothing came"
        print(f"{name}: {again} of {packets} had been sent before: {share}; {lcores} lcores sent")


def row_json(row):
    """A row for machines."""
    best = row.best()
    data = {"dir": row.way, "size": row.size, "esn": row.esn,
            "mode": best.name if best else None, "ratio": round(row.ratio(), 3),
            "target": TARGET.get(row.size), "turns": [round(r, 3) for r in row.ratios()],
            "skipped": [{"mode": n, "why": w} for n, w in row.skipped]}
    for name, program in (("ports", row.ports), ("gateway", row.gateway), ("secgw", best)):
        if program is not None:
            data[f"{name}_floors"] = [round(v, 2) for v in program.floors()]
    for how in ("least", "median"):
        data[f"ports_{how}"] = round(getattr(row.ports, how)(), 1)
        data[f"gateway_{how}"] = round(getattr(row.gateway, how)(), 1)
        data[f"secgw_{how}"] = round(getattr(best, how)(), 1) if best else None
        data[f"modes_minus_ports_{how}"] = {m.name: round(row.added(m, how), 1)
                                            for m in row.modes}
    for key, program in (("gateway", row.gateway), ("secgw", best)):
        if program is not None:
            data[f"{key}_checked"] = program.right + program.wrong
            data[f"{key}_wrong"] = program.wrong
    return data


def as_json(bench, rows, duplicates):
    """For machines."""
    return {"dpdk": bench.version, "hugepages": bench.hugepages, "tsc_hz": bench.tsc_hz,
            "rows": [row_json(r) for r in rows],
            "one_sa_two_lcores": [{"program": n, "packets": p, "repeated": a, "lcores": c}
                                  for n, p, a, c in duplicates]}


def add_to_json(path, value):
    """Beside what the bench itself has written there, if it has."""
    data = {}
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as f:
        data = json.load(f)
    data["secgw"] = value
    with open(path, "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1)
        f.write("\n")


def compare(options, directory):
    """All of it; its value for JSON."""
    need = 2 * Program.MEMORY_MB + len(MODES) * Secgw.MEMORY_MB
    hugepages = not options.no_hugepages and free_hugepages_mb() >= need
    bench = Bench(options.build, directory, hugepages)
    cells = [(way, size, False) for way in ("out", "in")
             for size in (("64", "1420") if options.quick else ("64", "512", "1420", "imix"))]
    if not options.quick:
        # outbound only: inbound it takes no packet with ESN and replay window 0
        cells += [("out", size, True) for size in ("64", "1420")]
    rows = [Row(*cell) for cell in cells]
    # aesni_mb is seldom the fastest, and not by much: no time for it in a quick look
    modes = MODES[::2] if options.quick else MODES
    for row in rows:
        bench.measure(row, modes, options.rounds or (25 if options.quick else 40))
    duplicates = []
    if not options.quick and len(bench.cpus) > 1:
        # legacy; the library; the library with calls that wait for the cipher
        duplicates = bench.count_duplicates([MODES[0], MODES[2], MODES[4]])
    print_table(bench, rows, duplicates)
    return as_json(bench, rows, duplicates)


def main():
    """0 as well where there is nothing to compare with: it says why."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", help="a build directory with -Dbench=true")
    parser.add_argument("--quick", action="store_true", help="64 and 1420 bytes only")
    parser.add_argument("--rounds", type=int, help="turns of each program in a row")
    parser.add_argument("--json", help="the file to add to")
    parser.add_argument("--no-hugepages", action="store_true", help="even where there are enough")
    options = parser.parse_args()
    exit_on_signals()
    directory = tempfile.mkdtemp(prefix="gw-secgw-")
    try:
        value = compare(options, directory)
    except Unavailable as e:
        print(f"\nnot compared with ipsec-secgw: {e}")
        value = {"skipped": str(e)}
    except Failed as e:
        print(f"secgw: {e}", file=sys.stderr)
        return 1
    finally:
        close_all()
        shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        add_to_json(options.json, value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
