# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways and two charons, and a NAT before one of them."""

from lab import WORKERS, pause
from nat import Nat
from test_gateways import GatewayTest

LOOKS_S = 2.5  # the gateway looks at what came once a second


class Behind(GatewayTest):
    """b is behind a NAT, so it is b that begins."""

    def up_behind(self, sas, **how):
        """All SAs are there: the world, and the NAT. Nothing of IKE is to come by itself."""
        w = self.world(connection={"dpd_delay": "0s"}, **how).start(charons=False)
        nat = Nat(w.net, "wb", "br0")
        self.addCleanup(nat.close)
        for side in w.sides.values():
            side.start_charon()
        sender = w.send("b", flows=32)
        self.eventually("all SAs", lambda: len(w.a.charon.children()) == sas, world=w)
        # and a has seen where their packets come from
        self.eventually("packets of all", lambda: self.used(w.a) >= max(1, sas - 1), world=w)
        pause(LOOKS_S)
        sender.end(1.0)
        self.assertEqual(self.remote_port(w.a), nat.ports[4500])
        return w, nat

    @staticmethod
    def remote_port(side):
        """That charon has of its peer."""
        return int(side.charon.list_sas()[0]["remote-port"])

    @staticmethod
    def used(side):
        """How many inbound SAs packets have come on; the fallback does not count beside others."""
        ways = [s for s in side.gateway.show("sa") if s["dir"] == "in"]
        own = [s for s in ways if s["cpu"] is not None] or ways
        return sum(s["packets"] > 0 for s in own)

    @staticmethod
    def told(side):
        """How often a gateway has told charon."""
        return next(r["count"] for r in side.gateway.show("ike")["counts"]
                    if r["name"] == "mappings")

    def more(self, sender, world, count=50):
        """Packets arrive, so many more than until now."""
        before = sender.came()
        self.eventually("packets", lambda: sender.came() >= before + count, world=world)

    def test_one_pair(self):
        """Of a child that is one pair of SAs."""
        self.check(1, "no")

    def test_per_cpu(self):
        """Of SAs for each worker, all on IKE's port."""
        self.check(1 + WORKERS, "yes")

    def test_own_ports(self):
        """SAs with ports of their own say nothing of IKE's: charon stays, and packets come."""
        w, nat = self.up_behind(1 + WORKERS, child={"per_cpu_sas": "encap"})
        port, before = nat.ports[4500], set(nat.ports)
        back = w.send("b", flows=32, rate=200)
        self.more(back, w)
        pause(LOOKS_S)
        nat.reboot()
        self.more(back, w)
        pause(LOOKS_S)
        self.assertTrue(set(nat.ports) <= before - {500, 4500}, nat.ports)
        self.assertEqual((self.told(w.a), self.remote_port(w.a)), (0, port))
        report = back.end()
        self.assert_complete(report, w)

    def check(self, sas, per_cpu):
        """The NAT forgets: packets of ESP alone show where b is, and what a sends gets there."""
        w, nat = self.up_behind(sas, child={"per_cpu_sas": per_cpu})
        self.assertEqual(self.told(w.a), 0)
        old, port = self.spis(w.a), nat.ports[4500]
        there = w.send("a", flows=32, rate=200)
        self.more(there, w)
        nat.reboot()
        refused = nat.refused
        self.eventually("packets at a port that is nobody's",
                        lambda: nat.refused > refused + 50, world=w)
        self.assertEqual(nat.ports, {})
        self.assertEqual(self.told(w.a), 0)
        back = w.send("b", flows=32, rate=200)
        self.eventually("b's new port", lambda: nat.ports.get(4500) == self.remote_port(w.a),
                        world=w)
        self.assertNotEqual(nat.ports[4500], port)
        self.assertGreater(self.told(w.a), 0)
        self.assertEqual(self.told(w.b), 0)
        self.more(there, w)
        self.eventually("the end of all old SAs", lambda: not old & self.spis(w.a), world=w)
        for sender in (there, back):
            self.more(sender, w)
        # from the other side nothing was lost
        report = back.end()
        self.assert_complete(report, w)
        there.end(1.0)
        self.assert_agree(w)
        self.assert_no_iv_twice(w)
