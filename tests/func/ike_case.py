# SPDX-License-Identifier: BSD-3-Clause
"""What tests of the gateway's end of IKE have in common."""

import os

import esp
from fake_charon import CPU_NONE, FakeCharon, N
from gw import FAR4, FAR6, HOST4, HOST6, PEER4, PEER6, GatewayTest, World
from netns import wait_for

HOSTS = {4: (HOST4, FAR4), 6: (HOST6, FAR6)}
# With these, what no policy stops would be on the wire, for all to see
ROUTES = [{"to": "0.0.0.0/0", "via": PEER4}, {"to": "::/0", "via": PEER6}]
ALL = N["IKE_FLUSH_SAS"] | N["IKE_FLUSH_POLICIES"]
LIVE_S = 5.0  # within this the gateway has done what it does four times a second


class IkeTest(GatewayTest):
    """A gateway with a charon that is a test. Each test begins with nothing."""

    WORKERS = 2
    CONFIG = {}

    @classmethod
    def new_world(cls):
        """A gateway that has a socket for charon."""
        w = World(workers=cls.WORKERS, routes=ROUTES, **cls.CONFIG)
        w.config["ike_socket"] = os.path.join(w.directory, "ike.sock")
        cls.sent = set()  # (SPI, IV) of all ESP so far
        return w

    @classmethod
    def world(cls):
        return cls.new_world()

    def setUp(self):
        super().setUp()
        self.children = []
        self.clear_is_right = False
        self.next_port = 1024
        self.charon = self.new_charon().start()

    def new_charon(self, **how):
        """One that ends with the test."""
        charon = FakeCharon(self.w.config["ike_socket"], **how)
        self.addCleanup(charon.close)
        return charon

    def child(self, *child):
        """Children of the test: their receivers are asked."""
        self.children.extend(child)
        return child[0]

    def tearDown(self):
        self.look_at_rest()
        if self.w.gateway.process.poll() is None:
            self.charon.close()
            self.new_charon(generation=self.charon.generation).start().do("FLUSH", what=ALL)
        super().tearDown()
        keys = [k for c in self.children for k in c.keys()]
        self.assert_unknown(keys, self.w.gateway.log())

    def look_at_rest(self):
        """All that still waits on the outer wire: nothing in clear, no IV twice."""
        for packet in self.w.wan.drain():
            if packet.is_esp:
                self.note(packet)
            elif not self.clear_is_right:
                self.fail(f"in clear: {packet}")

    def assert_unknown(self, keys, text):
        """None of the keys, nor a longer part of one, is in a text."""
        for key in keys:
            for part in (key[:16], key[-24:-8]):
                self.assertNotIn(part, text.lower(), "key material in the output")

    # what the gateway says

    def ike(self):
        """The facts of "show ike"."""
        return self.w.gateway.show("ike")["ike"]

    def ike_state(self):
        """The same, but for what grows by itself."""
        return {k: v for k, v in self.ike().items() if k not in ("since_s", "stale_left_s")}

    def count(self, name):
        """A counter of "show ike"."""
        return next(r["count"] for r in self.w.gateway.show("ike")["counts"] if r["name"] == name)

    def acquires(self):
        """What "show ike" has of acquires: {(reqid, worker or CPU_NONE): tries}."""
        return {(r["reqid"], CPU_NONE if r["cpu"] is None else r["cpu"]): r["tries"]
                for r in self.w.gateway.show("ike")["acquires"]}

    def sa(self, sa):
        """The row of "show sa" of an SA; None: there is none."""
        return next((r for r in self.w.gateway.show("sa") if r["spi"] == sa.spi), None)

    def wait_gone(self, *sas):
        """Until SAs are gone."""
        wait_for("SAs gone", lambda: not any(self.sa(s) for s in sas), LIVE_S)

    # traffic

    def note(self, packet):
        """An ESP packet from the gateway: no (SPI, IV) leaves twice."""
        pair = (packet.spi, packet.esp[8:16])
        self.assertNotIn(pair, self.sent, "an IV for the second time")
        self.sent.add(pair)

    def send(self, flows=1, family=4, far=None):
        """Clear packets of new flows to the gateway; their payloads."""
        src, dst = HOSTS[family]
        self.next_port += flows
        texts = {b"%d" % (self.next_port + i) for i in range(flows)}
        for text in sorted(texts):
            self.w.lan.send(esp.udp_packet(src, far or dst, int(text), 9, text))
        return texts

    def receive(self, count):
        """ESP packets from the gateway, opened: (payloads, how many by SPI)."""
        receivers = {p.from_gw.spi: p.receiver for c in self.children for p in c.pairs}
        texts, by_spi = set(), {}
        for _ in range(count):
            packet = self.w.wan.receive_esp()
            self.note(packet)
            texts.add(esp.parse(receivers[packet.spi].receive(packet)).body[8:])
            by_spi[packet.spi] = by_spi.get(packet.spi, 0) + 1
        return texts, by_spi

    def assert_out(self, flows=1, **how):
        """Packets of new flows come out encrypted, all of them; how many by SPI."""
        sent = self.send(flows, **how)
        texts, by_spi = self.receive(flows)
        self.assertEqual(texts, sent)
        return by_spi

    def assert_in(self, pair, count=1, family=4):
        """What the peer sends on a pair comes out in clear."""
        dst, src = HOSTS[family]
        texts = {b"%d" % i for i in range(count)}
        for text in sorted(texts):
            self.w.wan.send(pair.to_gw.seal(esp.udp_packet(src, dst, 9, 7, text)))
        self.assertEqual({self.w.lan.receive(lambda p: p.src == src).body[8:]
                          for _ in range(count)}, texts)

    def assert_both(self, pair, family=4):
        """A pair carries packets in both directions."""
        self.assertEqual(set(self.assert_out(4, family=family)), {pair.from_gw.spi})
        self.assert_in(pair, 4, family)

    def assert_stopped(self, count=4, reason="no_out_sa", **how):
        """Nothing leaves: neither encrypted nor in clear; what is dropped says why."""
        with self.expect(**{f"drop_{reason}": count}):
            self.send(count, **how)
        self.assertEqual(self.w.wan.drain(), [])
