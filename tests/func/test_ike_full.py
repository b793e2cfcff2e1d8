# SPDX-License-Identifier: BSD-3-Clause
"""A gateway with little room for what charon brings: it says so, and what there is goes on."""

import errno

from fake_charon import Child, Refused, sa_id
from ike_case import LIVE_S, IkeTest
from netns import wait_for

SAS, TUNNELS = 16, 4


class Full(IkeTest):
    """Room for four tunnels and sixteen inbound SAs."""

    CONFIG = {"max_sas": SAS, "ike_tunnels": TUNNELS}

    def net(self, i):
        """A child with a net of its own."""
        return Child(i + 1, (("10.1.0.0/24", f"10.{20 + i}.0.0/24"),))

    def used(self):
        """What is there of each kind."""
        facts = self.ike()
        return [facts[k] for k in ("tunnels", "policies", "sas_in", "sas_out", "spis")]

    def refused(self, what, *args, **how):
        """ENOSPC, and nothing of it is there."""
        before = self.used()
        with self.assertRaises(Refused) as caught:
            what(*args, **how)
        self.assertEqual(caught.exception.errno, errno.ENOSPC)
        return before

    def test_tunnels(self):
        """One too many, by a policy as by an SA; there is room once another one has gone."""
        children = [self.child(self.net(i)) for i in range(TUNNELS + 1)]
        pairs = [c.bring_up(self.charon) for c in children[:TUNNELS]]
        before = self.refused(children[-1].trap, self.charon)
        self.assertEqual(self.used(), before)
        pair = children[-1].new_pair(self.charon)
        self.refused(children[-1].add, self.charon, pair, True)
        self.refused(children[-1].add, self.charon, pair, False)
        self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))
        self.assertEqual(self.used(), before)
        for i, pair in enumerate(pairs):
            self.assertEqual(self.assert_out(2, far=f"10.{20 + i}.0.2"), {pair.from_gw.spi: 2})
        children[0].take_down(self.charon, pairs[0])
        pair = children[-1].bring_up(self.charon)
        self.assertEqual(self.assert_out(2, far=f"10.{20 + TUNNELS}.0.2"), {pair.from_gw.spi: 2})

    def test_places(self):
        """Tunnels come and go in the same places: what one had is no other's."""
        for i in range(40):
            child = self.child(self.net(i))
            child.trap(self.charon)
            self.assert_stopped(1, far=f"10.{20 + i}.0.2")
            self.charon.acquire(child)
            pair = child.bring_up(self.charon)
            self.assertEqual(self.assert_out(2, far=f"10.{20 + i}.0.2"), {pair.from_gw.spi: 2})
            child.take_down(self.charon, pair)
            child.untrap(self.charon)
        wait_for("nothing left", lambda: self.used() == [0, 0, 0, 0, 0], LIVE_S)

    def test_sas(self):
        """An inbound SA too many; those that are there go on, and one that goes makes room."""
        child = self.child(self.net(0))
        pairs = []
        while self.ike()["sas_in"] < SAS:
            pairs.append(child.bring_up(self.charon))
        for _ in range(3):
            pair = child.new_pair(self.charon)
            before = self.refused(child.add, self.charon, pair, True)
            self.assertEqual(self.used(), before)
            self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))
        self.assertEqual(set(self.assert_out(4, far="10.20.0.2")), {pairs[-1].from_gw.spi})
        child.take_down(self.charon, pairs.pop(0))
        pair = child.bring_up(self.charon)
        self.assertEqual(set(self.assert_out(4, far="10.20.0.2")), {pair.from_gw.spi})

    def test_zz_end(self):
        self.stop_and_check()
