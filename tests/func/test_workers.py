# SPDX-License-Identifier: BSD-3-Clause
"""Workers and SAs: the wrong queue, more workers than SAs or queues, more SAs than workers."""

import time
import unittest

import esp
from gw import FAR4, HOST4, SOFT_PORTS, GatewayTest, Tunnel, World, mac_of
from netns import wait_for

FLOWS = 240


class Workers(GatewayTest):
    """What all of these have in common. Not a test by itself."""

    FULL_SET = (0, 1, "any")

    next_port = 10000

    def send_out(self, flows=FLOWS):
        """Many clear flows from the lan; returns packets by SPI of what came out of the wan.

        New flows each time: the kernel's TAP sends a flow to the queue that its
        last answer came from.
        """
        by_spi = {}
        Workers.next_port += flows
        for i in range(flows):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, self.next_port + i, 9, b"%d" % i))
        seen = set()
        for _ in range(flows):
            packet = self.w.wan.receive_esp()
            seen.add(esp.parse(self.t.receive(packet)).body[8:])
            by_spi[packet.spi] = by_spi.get(packet.spi, 0) + 1
        self.assertEqual(seen, {b"%d" % i for i in range(flows)})
        return by_spi

    def send_in(self, sas, packets=FLOWS, ports=FLOWS):
        """ESP from many source ports, so for all queues; all of it must come out of the lan."""
        for i in range(packets):
            sa = sas[i % len(sas)]
            inner = esp.udp_packet(FAR4, HOST4, 53, 1024 + i, b"%d" % i)
            self.w.wan.send(sa.seal(inner, sport=50000 + i % ports))
        seen = {self.w.lan.receive(lambda p: p.src == FAR4).body[8:] for _ in range(packets)}
        self.assertEqual(seen, {b"%d" % i for i in range(packets)})

    def per_worker(self, name):
        """A counter by worker."""
        rows = {r["name"]: r for r in self.w.gateway.show("stats")["counters"]}
        return [rows[name][f"w{i}"] for i in range(self.w.workers)]

    def out_spi(self, pcpu):
        """The gateway's outbound SPI of a CPU."""
        return self.t.from_gw[self.t.pcpus.index(pcpu)].spi


class TwoWorkers(Workers):
    """Two workers, two queues, a pair each, and the fallback."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=cls.FULL_SET)
        return World([cls.t], ports=SOFT_PORTS)

    def test_a_wrong_queue(self):
        """R12: ESP for one SA on all queues. Handed over, and nothing is lost.

        The first test: seconds of it, and the SA would follow where most of it lands.
        """
        before = self.per_worker("handed_off_esp"), self.per_worker("decap")
        with self.expect(rx=FLOWS, decap=FLOWS):
            self.send_in(self.t.to_gw[:1])
        handed = [a - b for a, b in zip(self.per_worker("handed_off_esp"), before[0])]
        decap = [a - b for a, b in zip(self.per_worker("decap"), before[1])]
        self.assertEqual(handed[0], 0)
        self.assertGreater(handed[1], 0)
        self.assertEqual(decap, [FLOWS, 0])

    def test_own_sas(self):
        """Each worker encrypts what it polled, on its own SA; nobody uses the fallback."""
        by_spi = self.send_out()
        self.assertEqual(set(by_spi), {self.out_spi(0), self.out_spi(1)})
        by_worker = {s["spi"]: s["worker"] for s in self.w.gateway.show("sa") if s["dir"] == "out"}
        self.assertEqual([by_worker[self.out_spi(i)] for i in (0, 1)], [0, 1])
        self.assertEqual(sum(self.per_worker("handed_off_fallback")), 0)

    def test_all_sas(self):
        """The peer may use any SA of the group at any time, the fallback too."""
        with self.expect(decap=FLOWS):
            self.send_in(self.t.to_gw)
        used = {s["spi"] for s in self.w.gateway.show("sa") if s["dir"] == "in" and s["packets"]}
        self.assertEqual(used, {sa.spi for sa in self.t.to_gw})

    def test_zz_end(self):
        self.stop_and_check()


class FallbackOnly(Workers):
    """A peer that knows nothing of CPUs: one pair for both workers."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=("any",))
        return World([cls.t])

    def test_out(self):
        """R4: who has no SA of its own hands over to who has the fallback; no number twice."""
        with self.expect(encap=FLOWS):
            self.assertEqual(set(self.send_out()), {self.out_spi("any")})
        self.assertGreater(sum(self.per_worker("handed_off_fallback")), 0)

    def test_in(self):
        with self.expect(decap=FLOWS):
            self.send_in(self.t.to_gw)

    def test_zz_end(self):
        self.stop_and_check()


class FourWorkers(Workers):
    """Four workers and a peer with two pairs."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=cls.FULL_SET)
        return World([cls.t], workers=4)

    def test_out(self):
        """Workers without a pair use the fallback."""
        with self.expect(encap=FLOWS):
            by_spi = self.send_out()
        self.assertEqual(set(by_spi), {self.out_spi(c) for c in self.FULL_SET})

    def test_in(self):
        with self.expect(decap=FLOWS):
            self.send_in(self.t.to_gw)

    def test_zz_end(self):
        self.stop_and_check()


class OneWorker(Workers):
    """One worker, and a peer with four pairs (R2)."""

    PCPUS = (0, 1, 2, 3, "any")

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=cls.PCPUS)
        return World([cls.t], workers=1)

    def test_out(self):
        with self.expect(encap=FLOWS, handed_off=0):
            self.assertEqual(set(self.send_out()), {self.out_spi(0)})

    def test_in(self):
        """R3: every inbound SA is there."""
        with self.expect(decap=FLOWS, handed_off=0):
            self.send_in(self.t.to_gw)

    def test_zz_end(self):
        self.stop_and_check()


class SingleQueue(Workers):
    """A device with one queue and two workers: they share the work by hand-off."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=cls.FULL_SET)
        ports = [{"name": "lan", "device": "net_af_packet0,iface=klan",
                  "addresses": ["10.1.0.1/24", "fd01::1/64"]},
                 {"name": "wan", "device": "net_af_packet1,iface=kwan",
                  "addresses": ["192.0.2.1/24", "2001:db8:ffff::1/64"]}]
        w = World([cls.t], ports=ports, wires=("tlan", "twan"))
        for near, far in (("klan", "tlan"), ("kwan", "twan")):
            w.namespace.ip("link", "add", near, "type", "veth", "peer", "name", far)
            w.namespace.sysctl(f"net.ipv6.conf.{near}.disable_ipv6", 1)
            # the kernel sees what the gateway sees, and must not answer, too
            w.namespace.sysctl(f"net.ipv4.conf.{near}.rp_filter", 1)
            w.namespace.sysctl(f"net.ipv4.conf.{near}.arp_ignore", 8)
            w.namespace.ip("link", "set", near, "up")
            w.namespace.ip("link", "set", far, "up")
        return w

    def setUp(self):
        super().setUp()
        for wire, near in ((self.w.lan, "klan"), (self.w.wan, "kwan")):
            wire.port_mac = mac_of(self.w.namespace, near)

    def test_says_so(self):
        for port in self.w.gateway.show("ports"):
            self.assertEqual((port["rx_queues"], port["tx_queues"]), (1, 1))
            self.assertIn("hand-off", port["note"])

    def test_out(self):
        """Clear flows are spread over all workers, each on its own SA."""
        with self.expect(encap=FLOWS):
            by_spi = self.send_out()
        self.assertEqual(set(by_spi), {self.out_spi(0), self.out_spi(1)})
        self.assertGreater(sum(self.per_worker("handed_off_spread")), 0)

    def test_in(self):
        with self.expect(decap=FLOWS):
            self.send_in(self.t.to_gw)
        self.assertGreater(min(self.per_worker("decap")), 0)

    def test_stays(self):
        """All land on worker 0: an SA of worker 1 does not follow, or there would be one worker."""
        rows = {}

        def judged():
            # one source port: an SA that goes from port to port is not judged
            self.send_in(self.t.to_gw[:2], 80, ports=1)
            rows.update({s["spi"]: s for s in self.w.gateway.show("steer")["sas"]})
            return rows[self.t.to_gw[0].spi]["state"] == "verified"

        wait_for("an SA that is judged", judged)
        began = time.monotonic()
        while time.monotonic() - began < 4:
            judged()
        own, other = (rows[sa.spi] for sa in self.t.to_gw[:2])
        self.assertEqual((own["worker"], own["foreign"]), (0, 0))
        self.assertEqual((other["worker"], other["state"]), (1, "not yet seen"))
        self.assertEqual(other["foreign"], other["packets"])
        doc = self.w.gateway.show("steer")
        self.assertEqual({r["moves"] for r in doc["rebalance"]}, {0})
        self.assertEqual({p["moved"] for p in doc["ports"]}, {0})

    def test_zz_end(self):
        self.stop_and_check()


class Load(Workers):
    """Bursts beyond what a test can follow one by one: everything is somewhere."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=cls.FULL_SET)
        return World([cls.t])

    def test_both_directions(self):
        """Interleaved, with errors in between; all of it accounted for, no number twice."""
        out = [esp.udp_packet(HOST4, FAR4, 1024 + i % 64, 53, bytes(i % 1200)) for i in range(2000)]
        back = [self.t.to_gw[i % 3].seal(esp.udp_packet(FAR4, HOST4, 53, 9, bytes(i % 1200)),
                                         sport=50000 + i % 64) for i in range(2000)]
        bad = bytearray(back[7])
        bad[-1] ^= 1
        before = self.w.gateway.counters()
        for i, (a, b) in enumerate(zip(out, back)):
            self.w.lan.send(a)
            self.w.wan.send(b)
            if i % 100 == 0:
                self.w.wan.send(bytes(bad))
        got = []

        def settled():
            got.extend(p for p in self.w.wan.drain() if p.is_esp)
            now = self.w.gateway.counters()
            ended = now["encap"] + now["decap"] - before["encap"] - before["decap"]
            drops = sum(now[k] - before[k] for k in now if k.startswith("drop."))
            return ended + drops >= 4020 - self.lost()

        wait_for("all packets", settled)
        got.extend(p for p in self.w.wan.drain() if p.is_esp)
        for packet in sorted(got, key=lambda p: (p.spi, p.seq)):
            self.t.receive(packet)

    def lost(self):
        """What the kernel's side of the TAPs dropped before the gateway could see it."""
        return sum(int(self.w.namespace.run(
            "cat", f"/sys/class/net/{i}/statistics/tx_dropped").stdout)
            for i in self.w.interfaces)

    def test_zz_end(self):
        self.stop_and_check()


if __name__ == "__main__":
    unittest.main()
