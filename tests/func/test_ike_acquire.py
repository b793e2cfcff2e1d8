# SPDX-License-Identifier: BSD-3-Clause
"""Packets that want an SA: whom the gateway asks for, when, and how often."""

import bisect
import re
import time

import esp
from fake_charon import CPU_NONE, Child, sa_id
from gw import FAR4, HOST4
from ike_case import LIVE_S, IkeTest
from netns import wait_for

FLOWS = 32  # of so many, some land on each worker
OTHER_NET, OTHER = "10.3.0.0/24", "10.3.0.2"
LATE_S = 0.6  # a tick, and a machine with other things to do
BUDGET = 256  # acquires in a second, app/control/ike_acquire.c


class Acquires(IkeTest):
    """Two workers."""

    def asked(self):
        """All acquires until now: (reqid, worker or CPU_NONE), sorted."""
        return sorted((m.reqid, m.cpu) for _, kind, m in self.charon.pending()
                      if kind == "acquire")

    def wait_asked(self, *wanted):
        """Exactly these, and no more."""
        got = []

        def there():
            got.extend(self.asked())
            return len(got) >= len(wanted)

        wait_for("acquires", there, LIVE_S)
        self.assertEqual(sorted(got), sorted(wanted))

    def test_workers(self):
        """The fallback carries all while each worker asks for its own, once."""
        child = self.child(Child(1))
        child.trap(self.charon)
        fallback = child.bring_up(self.charon)
        with self.expect(encap=3 * FLOWS):
            for _ in range(3):
                self.assertEqual(self.assert_out(FLOWS), {fallback.from_gw.spi: FLOWS})
        self.wait_asked((1, 0), (1, 1))
        self.assertEqual(self.acquires(), {(1, 0): 1, (1, 1): 1})
        first = child.bring_up(self.charon, cpu=0)
        self.assertEqual(self.acquires(), {(1, 1): 1})
        self.assertEqual(set(self.assert_out(FLOWS)), {fallback.from_gw.spi, first.from_gw.spi})
        second = child.bring_up(self.charon, cpu=1)
        self.assertEqual(self.acquires(), {})
        self.assertEqual(set(self.assert_out(FLOWS)), {first.from_gw.spi, second.from_gw.spi})
        self.assertEqual([self.sa(p.from_gw)["worker"] for p in (first, second)], [0, 1])
        self.assertEqual(self.asked(), [])

    def test_not_wanted(self):
        """No SA for a worker where the policy, or charon, has none; nor where none is missing."""
        plain = self.child(Child(2, pcpu=False))
        plain.trap(self.charon)
        plain.bring_up(self.charon)
        self.assert_out(FLOWS)
        self.charon.do("FLUSH", what=3)
        self.charon.close()
        self.charon = self.new_charon(pcpu=False).start()
        child = self.child(Child(3))
        child.trap(self.charon)
        child.bring_up(self.charon)
        self.assert_out(FLOWS)
        self.assert_stopped(reason="no_policy", far=OTHER)
        self.assertEqual((self.asked(), self.acquires()), ([], {}))

    def test_dead_peer(self):
        """Nobody answers: asked after 0, 1, 3, 7 s, for each worker, and no more."""
        without = self.child(Child(4, ((f"{HOST4}/32", OTHER_NET),)))
        without.trap(self.charon)
        child = self.child(Child(5))
        child.trap(self.charon)
        child.bring_up(self.charon)
        sent, refused = set(), 0
        began = time.monotonic()
        before = self.w.gateway.counters()["drop.no_out_sa"]
        while time.monotonic() - began < 8:
            sent |= self.send(8)
            refused += len(self.send(1, far=OTHER))
            self.charon.poll(0.02)
        self.assertTrue(self.receive(len(sent))[0] == sent, "not the packets that were sent")
        wait_for("drops", lambda: self.w.gateway.counters()["drop.no_out_sa"] == before + refused)
        times = {}
        for when, kind, m in self.charon.events:
            self.assertEqual(kind, "acquire")
            times.setdefault((m.reqid, m.cpu), []).append(when)
        self.assertEqual(set(times), {(4, CPU_NONE), (5, 0), (5, 1)})
        for who, when in times.items():
            gaps = [b - a for a, b in zip([began, *when], when)]
            self.assertEqual(len(when), 4, (who, gaps))
            for gap, least in zip(gaps, (0, 1, 2, 4)):
                self.assertTrue(least - 0.01 <= gap < least + LATE_S, (who, gaps))
        self.assertEqual(self.acquires(), {who: 4 for who in times})
        for row in self.w.gateway.show("ike")["acquires"]:
            self.assertTrue(5 < row["next_s"] <= 8, row)

    def test_again(self):
        """An SA that came and went: the next packet asks at once; not so when that goes on."""
        child = self.child(Child(6, pcpu=False))
        child.trap(self.charon)
        for wait in 0.0, 0.0, 1.0, 2.0:
            gone, got = time.monotonic(), []
            while not got:
                self.send(1)
                time.sleep(0.02)
                got = self.asked()
            self.assertEqual(got, [(6, CPU_NONE)])
            self.assertLess(wait - 0.01, time.monotonic() - gone)
            self.assertLess(time.monotonic() - gone, wait + 0.9)
            pair = child.bring_up(self.charon, policies=False)
            self.assert_out(1)
            child.take_down(self.charon, pair, policies=False)
        self.assertEqual(self.acquires(), {})

    def test_large(self):
        """A packet too large for any tunnel asks as well; there is no MTU yet to tell of."""
        child = self.child(Child(7))
        child.trap(self.charon)
        with self.expect(drop_no_out_sa=1):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, bytes(1470), df=True))
        self.wait_asked((7, CPU_NONE))

    def test_away(self):
        """While charon is away nobody is asked; when it is back the next packet asks at once."""
        child = self.child(Child(8))
        child.trap(self.charon)
        self.assert_stopped(1)
        self.wait_asked((8, CPU_NONE))
        self.charon.close()
        wait_for("gone", lambda: not self.ike()["connected"])
        before = self.count("acquires"), self.count("acquires_unsent")
        self.assert_stopped()
        self.charon.connect().hello()
        self.assert_stopped(1)
        child.trap(self.charon)
        self.assertEqual(self.asked(), [])  # it has not said all yet
        self.charon.do("SYNC_END")
        self.assertEqual((self.count("acquires"), self.count("acquires_unsent")), before)
        self.assert_stopped(1)
        self.wait_asked((8, CPU_NONE))

    def test_refused(self):
        """An SA that the gateway does not take answers no acquire."""
        child = self.child(Child(9))
        child.trap(self.charon)
        self.assert_stopped(1)
        self.wait_asked((9, CPU_NONE))
        pair = child.new_pair(self.charon)
        fields = child.sa_add(pair.from_gw, False, enc_alg=12)
        self.assertNotEqual(self.charon.status("SA_ADD", **fields), 0)
        self.assertEqual(self.acquires(), {(9, CPU_NONE): 1})
        self.assert_stopped(1)
        self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))


class Places(IkeTest):
    """Four workers, and a charon whose machine has two CPUs."""

    WORKERS = 4

    def workers(self, way):
        """Of all SAs that the peer asked for: {worker: SPIs}, without those that are superseded."""
        found = {}
        for row in self.w.gateway.show("sa"):
            if row["dir"] == way and row["cpu"] is not None and row["worker"] is not None:
                found.setdefault(row["worker"], []).append(row["spi"])
        return found

    def worker_of(self, way, sa):
        """[The worker of an SA]; []: none uses it."""
        return [w for w, spis in self.workers(way).items() if sa.spi in spis]

    def test_renewed_in_any_order(self):
        """charon numbers all but two of the peer's SAs 0: which one is renewed shows at its end."""
        child = self.child(Child(1))
        child.trap(self.charon)
        child.bring_up(self.charon)
        pairs = [child.bring_up(self.charon, cpu=cpu, initiator=False)
                 for cpu in (1, 0, 0, 0)]
        for pair in pairs:
            self.assert_in(pair)
        for number in (2, 0, 3, 1, 2):
            old = pairs[number]
            worker = {way: wait_for("its worker", lambda w=way, s=sa: self.worker_of(w, s),
                                    LIVE_S)[0]
                      for way, sa in (("in", old.to_gw), ("out", old.from_gw))}
            pairs[number] = new = child.bring_up(
                self.charon, cpu=int(number == 0), initiator=number % 2 == 0)
            self.assert_in(new)
            child.take_down(self.charon, old)
            for way, sa in ("in", new.to_gw), ("out", new.from_gw):
                wait_for("one for each worker", lambda w=way: sorted(
                    len(spis) for spis in self.workers(w).values()) == [1] * 4, LIVE_S)
                self.assertIn(sa.spi, self.workers(way)[worker[way]], (way, number))
            for pair in pairs:
                self.assert_in(pair)
        self.assertEqual(set(self.assert_out(64)), {p.from_gw.spi for p in pairs})


class Storm(IkeTest):
    """Sixteen workers and a hundred tunnels to a peer that is dead: 1,600 SAs are wanted."""

    WORKERS = 16
    TUNNELS = 100
    SECONDS = 4
    CONFIG = {"max_sas": 1024}

    def rss_kb(self):
        """Memory of the gateway's own, in kB."""
        with open(f"/proc/{self.w.gateway.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^RssAnon:\s+(\d+)", f.read(), re.M).group(1))

    def far(self, i):
        """A host behind a tunnel."""
        return f"10.{100 + i}.0.2"

    def most_in_a_second(self, times):
        """The most events in any second."""
        return max(bisect.bisect_left(times, start + 1) - i for i, start in enumerate(times))

    def test_bounded(self):
        """So many acquires in a second, not more; memory stays; the console answers."""
        for i in range(self.TUNNELS):
            child = self.child(Child(i + 1, (("10.1.0.0/24", f"10.{100 + i}.0.0/24"),)))
            child.trap(self.charon)
            child.bring_up(self.charon, policies=False)
        packets = [esp.udp_packet(HOST4, self.far(i), 1024 + flow, 9)
                   for flow in range(64) for i in range(self.TUNNELS)]
        memory, slowest, late, n = [], 0, 0, 0
        began = taken = time.monotonic()
        while time.monotonic() - began < self.SECONDS:
            for k in range(n, n + 200):
                self.w.lan.send(packets[k % len(packets)])
            n += 200
            self.charon.take_all()
            asked = time.monotonic()
            late, taken = max(late, asked - taken), asked
            self.acquires()
            slowest = max(slowest, time.monotonic() - asked)
            memory.append(self.rss_kb())
            self.look_at_rest()
        self.at_rest()
        took = time.monotonic() - began
        late = max(late, time.monotonic() - taken)
        self.charon.take_all()
        times = [when for when, kind, _ in self.charon.events if kind == "acquire"]
        pairs = {(m.reqid, m.cpu) for _, _, m in self.charon.events}
        # a window of the gateway's begins with an acquire of its own: two may meet in one of ours,
        # and more where we have not looked for so long
        self.assertLessEqual(self.most_in_a_second(times), (2 + int(late)) * BUDGET)
        self.assertLessEqual(len(times), BUDGET * (took + 1))
        self.assertGreater(len(pairs), BUDGET)
        self.assertTrue(set(self.acquires()) == pairs, "pending is what was asked for")
        self.assertLess(slowest, 1.0)
        self.assertLess(memory[-1] - memory[len(memory) // 4], 2048, memory)
        self.assertGreater(self.count("acquires_unsent"), 0)
