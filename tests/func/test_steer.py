# SPDX-License-Identifier: BSD-3-Clause
"""SAs that change their worker under traffic, and where the packets of an SA land."""

import contextlib
import itertools
import json
import random
import struct
import threading
import time

import esp
from gw import DEFAULT_PORTS, FAR4, HOST4, SOFT_PORTS, GatewayTest, Tunnel, World, nonzero
from netns import Failed, wait_for

WORKERS = 4
WINDOW = 128  # packets that may be under way in each direction: fewer than any ring holds
BURST = 16
PAUSE_S = 0.002
FLOWS = 24
MOVES = 60
BETWEEN = 32  # packets each way from move to move, at least
SETTLE_S = 60.0
STALL_S = 20.0


def numbered(src, dst, sport, dport, number):
    """An inner packet with a number of its own."""
    return esp.udp_packet(src, dst, sport, dport, struct.pack("!I", number))


def number_of(packet):
    """The number of an inner packet."""
    return struct.unpack_from("!I", packet.body, 8)[0]


class Traffic(threading.Thread):
    """Numbered packets both ways until it is told to stop; all that the gateway sends meanwhile.

    Paced by what arrives, so nothing is lost for want of room in the kernel's TAPs.
    """

    def __init__(self, world, tunnel):
        super().__init__(daemon=True)
        self.world = world
        self.tunnel = tunnel
        self.over = threading.Event()
        self.failure = None
        self.sent_out = self.sent_in = 0
        self.esp = []  # that came out of the wan, in order
        self.clear = []  # the same of the lan
        self.seconds = 0.0

    def run(self):
        try:
            began = time.monotonic()
            while not self.over.is_set():
                self._burst()
                self.collect()
                time.sleep(PAUSE_S)
            self.seconds = time.monotonic() - began
        except Exception as err:  # pylint: disable=broad-exception-caught
            self.failure = err  # for finish()

    def _burst(self):
        for _ in range(BURST):
            if self.sent_out - len(self.esp) < WINDOW:
                n = self.sent_out
                self.world.lan.send(numbered(HOST4, FAR4, 20000 + n % FLOWS, 9, n))
                self.sent_out += 1
            if self.sent_in - len(self.clear) < WINDOW:
                n = self.sent_in
                sas = self.tunnel.to_gw
                self.world.wan.send(sas[n % len(sas)].seal(
                    numbered(FAR4, HOST4, 53, 30000 + n % len(sas), n)))
                self.sent_in += 1

    def collect(self):
        """What has arrived since."""
        self.esp.extend(p for p in self.world.wan.drain() if p.is_esp)
        self.clear.extend(p for p in self.world.lan.drain() if p.src == FAR4)

    def go_on(self, count):
        """Until so many more have arrived, each way. False: they do not."""
        goal = len(self.esp) + count, len(self.clear) + count
        with contextlib.suppress(Failed):
            return wait_for("traffic", lambda: len(self.esp) >= goal[0]
                            and len(self.clear) >= goal[1], STALL_S)
        return False

    def all_there(self):
        """Has everything arrived that was sent?"""
        self.collect()
        return len(self.esp) >= self.sent_out and len(self.clear) >= self.sent_in

    def finish(self):
        """Stop, and wait for what is under way; the caller sees what is missing."""
        self.over.set()
        self.join()
        if self.failure is not None:
            raise self.failure
        with contextlib.suppress(Failed):
            wait_for("all packets", self.all_there, STALL_S)


class Moves(GatewayTest):
    """Four workers, three pairs and the fallback: "sa move" all the time."""

    PCPUS = (0, 1, 2, "any")
    PORTS = SOFT_PORTS
    FLOWS_IN_ORDER = False  # a worker that gets an SA overtakes what it gave to others
    INBOUND_IN_ORDER = True

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=cls.PCPUS)
        return World([cls.t], workers=WORKERS, ports=cls.PORTS)

    def owner(self, direction, sa):
        """The worker that has an SA; None: nobody."""
        return next(s["worker"] for s in self.w.gateway.show("sa")
                    if (s["dir"], s["spi"]) == (direction, sa.spi))

    def assert_esp(self, packets):
        """Every number of every SA once, none missing, in order; what is in them, once."""
        numbers = {}
        inner = []
        for packet in packets:
            numbers.setdefault(packet.spi, []).append(packet.seq)
            inner.append(esp.parse(self.t.receive(packet)))
        last = {s["spi"]: s["seq"] for s in self.w.gateway.show("sa") if s["dir"] == "out"}
        for spi, seen in numbers.items():
            self.assertEqual(seen, list(range(seen[0], seen[0] + len(seen))), f"SA {spi:#x}")
            self.assertEqual(seen[-1], last[spi], f"SA {spi:#x}")
        self.assertEqual(set(numbers), {sa.spi for sa in self.t.from_gw})
        self.assert_numbers(inner)
        if self.FLOWS_IN_ORDER:
            self.assert_order(inner, lambda p: p.sport)

    def assert_numbers(self, packets):
        """Each number once, none missing."""
        self.assertEqual(sorted(number_of(p) for p in packets), list(range(len(packets))))

    def assert_order(self, packets, group):
        """In order within each group."""
        by_group = {}
        for packet in packets:
            by_group.setdefault(group(packet), []).append(number_of(packet))
        for name, seen in by_group.items():
            self.assertEqual(seen, sorted(seen), f"flow or SA {name}")

    def move_all(self, moves, traffic):
        """Each direction in turn, any SA to any worker; where each has been."""
        been = {}
        pick = random.Random(1)
        for i in range(moves):
            direction, sas = (("in", self.t.to_gw), ("out", self.t.from_gw))[i % 2]
            sa = sas[i // 2 % len(sas)]
            to = pick.randrange(WORKERS)
            self.w.gateway.console(f"sa move t4 {direction} {sa.spi:#x} {to}")
            self.assertEqual(self.owner(direction, sa), to)
            been.setdefault((direction, sa.spi), set()).add(to)
            if not traffic.go_on(BETWEEN):
                break
        return been

    def test_under_traffic(self):
        """Nothing is lost, no number comes twice, nothing is out of order, nothing is dropped."""
        before = self.at_rest()
        traffic = Traffic(self.w, self.t)
        traffic.start()
        try:
            been = self.move_all(MOVES, traffic)
        finally:
            traffic.finish()
        after = self.at_rest()
        delta = {k: after[k] - before[k] for k in after}
        print(f"# {MOVES} moves, {traffic.sent_out} packets out and {traffic.sent_in} in "
              f"{traffic.seconds:.1f} s, parked {delta.get('parked')}")
        self.assertEqual({k: v for k, v in delta.items() if v and k.startswith("drop.")}, {})
        self.assertEqual((len(traffic.esp), len(traffic.clear)),
                         (traffic.sent_out, traffic.sent_in), nonzero(delta))
        self.assertEqual((delta["encap"], delta["decap"]), (traffic.sent_out, traffic.sent_in))
        self.assert_esp(traffic.esp)
        self.assert_numbers(traffic.clear)
        if self.INBOUND_IN_ORDER:
            self.assert_order(traffic.clear, lambda p: p.dport)
        self.assertEqual(len(been), 2 * len(self.PCPUS))
        for (direction, spi), workers in been.items():
            self.assertGreater(len(workers), 1, f"{direction} {spi:#x}")

    def test_refused(self):
        """There are four workers: a sentence, and all stays as it is."""
        where = [self.owner(d, sa) for d, sas in (("in", self.t.to_gw), ("out", self.t.from_gw))
                 for sa in sas]
        for direction, sas in (("in", self.t.to_gw), ("out", self.t.from_gw)):
            for line, sentence in (
                    (f"sa move t4 {direction} {sas[0].spi:#x} 4",
                     "error: there is no worker 4: there are workers 0 to 3"),
                    (f"sa move t4 {direction} 0x777 1",
                     f"error: tunnel \"t4\" has no {direction}bound SA 0x00000777; "
                     "show tunnel t4")):
                done = self.w.gateway.attach(line)
                self.assertEqual((done.returncode, done.stdout.strip()), (1, sentence))
        self.assertEqual(where, [self.owner(d, sa)
                                 for d, sas in (("in", self.t.to_gw), ("out", self.t.from_gw))
                                 for sa in sas])

    def test_zz_end(self):
        self.stop_and_check()


class MovesOfPairs(Moves):
    """A pair for each worker: they change places, and nobody is ever without."""

    PCPUS = (0, 1, 2, 3)
    FLOWS_IN_ORDER = True


class MovesOfRules(Moves):
    """The TAP's program leads packets to another queue than those that still wait in one."""

    PORTS = DEFAULT_PORTS
    INBOUND_IN_ORDER = False


class Steer(GatewayTest):
    """What all of these have in common. Not a test by itself."""

    def steer(self):
        """show steer: the "sas" table by SPI, all else as it is."""
        doc = self.w.gateway.show("steer")
        return {**doc, "sas": {row["spi"]: row for row in doc["sas"]},
                "ports": {row["port"]: row for row in doc["ports"]}}

    def send_in(self, sa, count=40):
        """Packets of one SA; all of them come out of the lan."""
        for i in range(count):
            self.w.wan.send(sa.seal(numbered(FAR4, HOST4, 53, 9, i)))
        for i in range(count):
            packet = self.w.lan.receive(lambda p: p.src == FAR4)
            self.assertEqual(number_of(packet), i)

    def until(self, sa, what, probe):
        """Traffic on an SA until show steer's row of it is as it should be; all of show steer."""
        def there():
            self.send_in(sa)
            doc = self.steer()
            return doc if probe(doc["sas"][sa.spi]) else None

        return wait_for(what, there, SETTLE_S)

    def verified(self, sa):
        """Traffic until its SA is seen to be where it lands."""
        return self.until(sa, f"SA {sa.spi:#x} verified", lambda row: row["state"] == "verified")

    def move(self, sa, to):
        """Away from where it is."""
        self.w.gateway.console(f"sa move t4 in {sa.spi:#x} {to}")

    def assert_port(self, doc, name, method):
        """A method, and why those before it are not used."""
        self.assertEqual(doc["ports"][name]["method"], method)
        why = {row["method"]: row["why"] for row in doc["why_not"] if row["port"] == name}
        methods = ["flow", "tap", "rss", "soft"]
        for word, sentence in why.items():
            self.assertLess(methods.index(word), methods.index(method))
            self.assertRegex(sentence, r"^\w.*[^.]$")
        return why

    def assert_efficiency(self, doc):
        """Shares of one hundred, and the sums of the workers."""
        for row in (doc["steer"], *doc["workers"]):
            total = row["owned"] + row["foreign"]
            if total == 0:
                self.assertIsNone(row["efficiency_percent"])
            else:
                self.assertAlmostEqual(row["efficiency_percent"], 100 * row["owned"] / total,
                                       delta=0.1)
        for name in ("owned", "foreign"):
            self.assertEqual(doc["steer"][name], sum(w[name] for w in doc["workers"]))
        self.assertEqual(sum(w["handed_off"] for w in doc["workers"]),
                         sum(w["handed_in"] for w in doc["workers"]))
        self.assertEqual({w["dropped"] for w in doc["workers"]}, {0})


class Soft(Steer):
    """The kernel chooses the queue: an SA follows its packets."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=(0, 1))
        return World([cls.t], ports=SOFT_PORTS)

    def test_1_text(self):
        """Before any packet: the words that a user reads."""
        text = self.w.gateway.console("show steer")
        self.assertRegex(text, r"(?m)^wan +soft +2 +2 ")
        self.assertRegex(text, r"(?m)^efficiency +-$")
        self.assertIn("\"steer rebalance\" would do:", text)
        for sa in self.t.to_gw:
            self.assertRegex(text, rf"(?m)^t4 +0x{sa.spi:08x} +wan +udp {sa.src} port {sa.sport} "
                                   rf"-> {sa.dst} port 4500 .* not yet seen ")
        doc = self.steer()
        self.assertEqual(self.assert_port(doc, "wan", "soft"), {})
        self.assertEqual(doc["ports"]["wan"]["queues"], 2)
        self.assertEqual(set(doc["sas"]), {sa.spi for sa in self.t.to_gw})

    def test_2_follows(self):
        """Foreign counts where it lands wrong, for two seconds; then it is where it lands."""
        sa = self.t.to_gw[0]
        self.verified(sa)
        home = self.steer()["sas"][sa.spi]["worker"]
        with self.expect():
            self.move(sa, 1 - home)
            before = self.steer()
            doc = self.until(sa, "followed", lambda row: row["worker"] == home)
        was, now = before["sas"][sa.spi], doc["sas"][sa.spi]
        self.assertEqual(was["worker"], 1 - home)
        self.assertGreater(now["foreign"], was["foreign"])
        self.assertEqual(doc["ports"]["wan"]["moved"], before["ports"]["wan"]["moved"] + 1)
        doc = self.verified(sa)
        self.send_in(sa)
        after = self.steer()["sas"][sa.spi]
        self.assertEqual(after["foreign"], doc["sas"][sa.spi]["foreign"])
        self.assertEqual(after["worker"], home)
        self.assert_efficiency(self.steer())

    def test_3_rebalance(self):
        """Moved again within ten seconds it stays, until somebody says: now."""
        sa = self.t.to_gw[0]
        home = self.verified(sa)["sas"][sa.spi]["worker"]
        self.move(sa, 1 - home)
        # it follows by itself the first time only, and is left alone then
        self.until(sa, "followed", lambda row: row["worker"] == home)
        self.move(sa, 1 - home)
        doc = self.until(sa, "astray", lambda row: row["state"] == "astray")
        self.assertEqual(doc["sas"][sa.spi]["worker"], 1 - home)
        text = self.w.gateway.console("show steer")
        self.assertRegex(text, rf"(?m)^t4 +0x{sa.spi:08x} .* astray ")
        plan = {row["port"]: row for row in doc["rebalance"]}
        self.assertEqual(plan["wan"], {"port": "wan", "entries": 0, "moves": 1, "stay": 0})
        done = json.loads(self.w.gateway.console("steer rebalance json"))
        self.assertEqual(done, doc["rebalance"])
        doc = self.steer()
        self.assertEqual(doc["sas"][sa.spi]["worker"], home)
        self.assertEqual({row["moves"] for row in doc["rebalance"]}, {0})
        foreign = doc["sas"][sa.spi]["foreign"]
        self.send_in(sa)
        self.assertEqual(self.steer()["sas"][sa.spi]["foreign"], foreign)

    def test_zz_end(self):
        self.stop_and_check()


class Auto(Steer):
    """The TAP's own program, where the kernel takes it: packets follow their SA."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=(0, 1))
        return World([cls.t])

    def setUp(self):
        super().setUp()
        doc = self.steer()
        if doc["ports"]["wan"]["method"] == "soft":
            self.skipTest(f"no method works here: {doc['why_not']}")

    def test_1_port(self):
        """The method, and why not that before it."""
        doc = self.steer()
        for name in ("lan", "wan"):
            self.assertEqual(list(self.assert_port(doc, name, "tap")), ["flow"])
        for i, sa in enumerate(self.t.to_gw):
            self.assertIn(f"SPI 0x{sa.spi:08x} -> queue {i}", doc["sas"][sa.spi]["how"])

    def test_2_verified(self):
        """Wherever it is moved to, its packets land there; none is foreign."""
        for sa, to in itertools.product(self.t.to_gw, (0, 1, 0)):
            self.move(sa, to)
            with self.expect(handed_off_esp=0):
                doc = self.verified(sa)
            self.assertEqual(doc["sas"][sa.spi]["worker"], to)
            self.assertEqual(doc["sas"][sa.spi]["foreign"], 0)
        self.assertEqual(doc["steer"]["efficiency_percent"], 100)
        self.assertEqual(doc["ports"]["wan"]["moved"], 0)
        self.assert_efficiency(doc)

    def test_zz_end(self):
        self.stop_and_check()
