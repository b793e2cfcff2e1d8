# SPDX-License-Identifier: BSD-3-Clause
"""charon comes back, another charon comes, the gateway is another one: what goes on then."""

import errno
import signal
import time

import esp
from fake_charon import CPU_NONE, Child, sa_id
from gw import FAR4, HOST4
from ike_case import LIVE_S, IkeTest
from netns import wait_for

OTHER_NET, OTHER = "10.3.0.0/24", "10.3.0.2"


class Resync(IkeTest):
    """The gateway stays, charon comes again."""

    def wait_alone(self):
        """Until the gateway knows that charon is gone."""
        wait_for("charon gone", lambda: not self.ike()["connected"], LIVE_S)

    def say(self, child, *pairs, status=0):
        """A child with some of its pairs, as after each HELLO."""
        child.trap(self.charon)
        for pair in pairs:
            child.trap(self.charon, pair.to_gw.spi)
            child.add(self.charon, pair, True, replayed=True)
            sa = pair.from_gw
            self.assertEqual(self.charon.status("SA_KEEP", sa=sa_id(sa.spi, sa.dst)), status)

    def rows(self, *pairs):
        """What "show sa" says of pairs, but for what is of this moment."""
        return [{k: v for k, v in self.sa(sa).items() if k not in ("age_s", "pps", "bps", "cycles")}
                for pair in pairs for sa in (pair.to_gw, pair.from_gw)]

    def test_same(self):
        """What is said again stays, with counters and window; the rest is gone at SYNC_END."""
        kept, lost = Child(1), Child(2, (("10.1.0.0/24", OTHER_NET),))
        self.child(kept, lost)
        for child in (kept, lost):
            child.trap(self.charon)
        stays, goes = kept.bring_up(self.charon), kept.bring_up(self.charon, cpu=0)
        other = lost.bring_up(self.charon)
        self.assert_out(16)
        self.assert_out(2, far=OTHER)
        old = stays.to_gw.seal(esp.udp_packet(FAR4, HOST4, 1, 2))
        self.w.wan.send(old)
        self.w.lan.receive(lambda p: p.src == FAR4)
        self.assert_in(goes)
        rows = self.rows(stays)
        counts = {n: self.count(n) for n in ("sas_added", "policies_added")}
        stale, replayed = self.count("sas_stale"), self.count("sas_replayed")
        self.charon.close()
        self.wait_alone()
        self.charon.connect()
        epoch = self.charon.epoch
        self.charon.hello()
        self.assertEqual(self.charon.epoch, epoch)
        self.say(kept, stays)
        self.assertEqual(self.rows(stays), rows)
        self.assert_out(16)  # until the end of it all of them are used
        self.assert_out(2, far=OTHER)
        rows = self.rows(stays)
        self.assertFalse(self.ike()["in_sync"])
        self.charon.do("SYNC_END")
        self.wait_gone(*(sa for p in (goes, other) for sa in (p.to_gw, p.from_gw)))
        self.assertEqual(self.rows(stays), rows)
        self.assertEqual({n: self.count(n) for n in counts}, counts)
        self.assertEqual(self.count("sas_stale"), stale + 4)
        self.assertEqual(self.count("sas_replayed"), replayed + 2)
        with self.expect(drop_esp_replayed=1):
            self.w.wan.send(old)
        self.assert_both(stays)
        self.assert_stopped(reason="no_policy", far=OTHER)
        self.assertEqual((self.ike()["tunnels"], self.ike()["policies"]), (1, 4))

    def test_nothing(self):
        """A charon that says nothing has nothing: all goes, and nothing leaves in clear."""
        child = self.child(Child(3))
        child.trap(self.charon)
        pair = child.bring_up(self.charon)
        self.assert_both(pair)
        self.charon.close()
        self.wait_alone()
        self.charon.start()
        self.assert_stopped(reason="no_policy")
        with self.expect(drop_no_sa=1):
            self.w.wan.send(pair.to_gw.seal(esp.udp_packet(FAR4, HOST4, 1, 2)))
        facts = self.ike()
        self.assertEqual([facts[k] for k in ("policies", "sas_in", "sas_out")], [0, 0, 0])

    def test_keep_unknown(self):
        """ENOENT; for one that is there and was said already it is no error, and counts nothing."""
        child = self.child(Child(4))
        pair = child.new_pair(self.charon)
        for sa in (pair.to_gw, pair.from_gw):
            self.assertEqual(self.charon.status("SA_KEEP", sa=sa_id(sa.spi, sa.dst)), errno.ENOENT)
        self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))
        replayed = self.count("sas_replayed")
        pair = child.bring_up(self.charon)
        for sa in (pair.to_gw, pair.from_gw):
            self.charon.do("SA_KEEP", sa=sa_id(sa.spi, sa.dst))
        self.assertEqual(self.count("sas_replayed"), replayed)

    def test_broken_resync(self):
        """A connection that breaks before SYNC_END: all is there for the next one."""
        child = self.child(Child(5))
        child.trap(self.charon)
        pairs = [child.bring_up(self.charon), child.bring_up(self.charon, cpu=1)]
        rows = self.rows(*pairs)
        for said in ((), pairs[:1], pairs[1:]):
            self.charon.close()
            self.wait_alone()
            self.charon.connect().hello()
            self.say(child, *said)
        self.charon.close()
        self.wait_alone()
        self.charon.connect().hello()
        self.say(child, *pairs)
        self.charon.do("SYNC_END")
        self.assertEqual(self.rows(*pairs), rows)
        self.assertEqual(self.ike()["policies"], 6)
        self.assertEqual(set(self.assert_out(32)), {p.from_gw.spi for p in pairs})

    def another(self):
        """Another run of charon comes, which knows nothing of the one before."""
        self.charon.close()
        self.wait_alone()
        self.assertLess(self.ike()["since_s"], 60)
        self.charon = self.new_charon()
        self.charon.connect().hello()

    def replace(self, before, after):
        """A tunnel of one charon goes to the next, that has another reqid for it perhaps."""
        self.child(before, after)
        before.trap(self.charon)
        old = before.bring_up(self.charon)
        self.assert_both(old)
        self.another()
        after.trap(self.charon)
        sa = old.from_gw
        self.assertEqual(self.charon.status("SA_KEEP", sa=sa_id(sa.spi, sa.dst)), errno.ENOENT)
        self.charon.do("SYNC_END")
        self.assertEqual(self.ike()["sas_stale_now"], 2)
        self.assertTrue(0 < self.ike()["stale_left_s"] <= 60)
        self.assertEqual(self.sa(old.to_gw)["ike"], "(gone)")
        self.assert_both(old)
        self.assertEqual(self.charon.acquire(after).cpu, CPU_NONE)
        self.assert_both(old)
        new = after.bring_up(self.charon)
        self.assert_both(new)
        self.wait_gone(old.from_gw)
        self.assert_both(new)
        wait_for("one tunnel", lambda: self.ike()["tunnels"] == 1, LIVE_S)
        self.assertEqual(self.ike()["policies"], 4)
        self.assert_peer_goes_on(old)
        # the name is that of the first one, for graphs and scripts
        facts = self.w.gateway.show(f"tunnel ike-{before.reqid}")["tunnel"]
        self.assertEqual((facts["reqid"], facts["ike"]), (after.reqid, "net"))

    def assert_peer_goes_on(self, old):
        """A peer that does not know yet may still send on the old SA."""
        self.assertEqual(self.sa(old.to_gw)["ike"], "(gone)")
        self.assertEqual(self.ike()["sas_stale_now"], 1)
        self.assert_in(old)

    def test_another(self):
        """SAs of a charon that is gone carry packets until its successor has its own."""
        self.replace(Child(6), Child(6))

    def test_another_reqid(self):
        """Likewise where the next one numbers its children otherwise."""
        self.replace(Child(7), Child(70))

    def test_another_by_peer(self):
        """The peer comes before any trap is there: its SAs carry both ways at once."""
        before, after = Child(8), Child(8)
        self.child(before, after)
        old = before.bring_up(self.charon)
        self.assert_both(old)
        self.another()
        self.charon.do("SYNC_END")
        self.assert_both(old)
        new = after.bring_up(self.charon, initiator=False)
        self.assert_both(new)
        self.wait_gone(old.from_gw)
        self.assert_both(new)
        self.assert_peer_goes_on(old)

    def test_zz_end(self):
        self.stop_and_check()


class Restart(IkeTest):
    """The gateway is started again, and charon says what it has: no key of ours lives twice."""

    @classmethod
    def world(cls):
        return None

    def setUp(self):
        self.w = self.new_world()
        self.addCleanup(self.w.close)
        self.w.start()
        super().setUp()

    def restart(self, how):
        """End it in the middle of traffic, note all that it has sent, and start it again."""
        self.send(300)
        if how == signal.SIGKILL:
            self.w.gateway.kill()
        else:
            self.assert_good_end(self.w, self.w.gateway.stop(how))
        self.look_at_rest()
        self.assertTrue(self.charon.is_closed())
        self.w.gateway.clean()
        self.w.start()

    def again(self, how):
        """Twice: a start, what charon says then, and what becomes of it."""
        child = self.child(Child(1))
        child.trap(self.charon)
        pair = child.bring_up(self.charon)
        self.assert_both(pair)
        epochs = {self.charon.epoch}
        for _ in range(2):
            self.restart(how)
            self.charon.connect().hello()
            self.assertNotIn(self.charon.epoch, epochs)
            epochs.add(self.charon.epoch)
            self.say_again(child, pair)
            self.assert_in(pair, 4)
            self.assert_stopped()
            self.wait_acquire(child)
            new = child.bring_up(self.charon)
            self.assert_both(new)
            self.assertNotIn(pair.from_gw.spi, {s["spi"] for s in self.w.gateway.show("sa")})
            child.untrap(self.charon, pair.to_gw.spi)
            self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))
            self.assert_both(new)
            pair = new
        self.assertGreater(len(self.sent), 16)
        self.assert_good_end(self.w, self.w.gateway.stop())

    def test_old_packets(self):
        """What came before the restart does not come in again afterwards."""
        child = self.child(Child(2))
        child.trap(self.charon)
        pair = child.bring_up(self.charon)
        old = [pair.to_gw.seal(esp.udp_packet(FAR4, HOST4, 9, 7)) for _ in range(4)]
        for packet in old:
            self.w.wan.send(packet)
            self.w.lan.receive(lambda p: p.src == FAR4)
        self.restart(signal.SIGTERM)
        self.charon.connect().hello()
        self.say_again(child, pair)
        with self.expect(drop_esp_replayed=len(old)):
            for packet in old:
                self.w.wan.send(packet)
        self.assert_in(pair, 4)
        self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))
        self.assert_good_end(self.w, self.w.gateway.stop())
        with open(self.w.config["state_file"], encoding="ascii") as f:
            self.assertNotIn("ike", f.read(), "it is forgotten with its SA")

    def wait_acquire(self, child):
        """charon has a second to renew SAs by itself; then packets ask for one."""
        def asked():
            self.send()
            return self.charon.pending()

        (_, _, acquire), = wait_for("an acquire", asked, LIVE_S)
        self.assertEqual((acquire.reqid, acquire.cpu), (child.reqid, CPU_NONE))
        self.assertGreater(time.monotonic() - self.synced, 0.95)

    def say_again(self, child, pair):
        """Inbound SAs are taken, outbound ones never: their IVs would come twice."""
        for spi in (0, pair.to_gw.spi):
            child.trap(self.charon, spi)
        child.add(self.charon, pair, True, replayed=True)
        out = child.sa_add(pair.from_gw, False, replayed=True)
        self.assertEqual(self.charon.status("SA_ADD", **out), errno.EINVAL)
        ref = sa_id(pair.from_gw.spi, pair.from_gw.dst)
        self.assertEqual(self.charon.status("SA_KEEP", sa=ref), errno.ENOENT)
        key = child.sa_add(pair.from_gw, False, enc_key=pair.to_gw.key)
        self.assertEqual(self.charon.status("SA_ADD", **key), errno.EEXIST)
        self.synced = time.monotonic()
        self.charon.do("SYNC_END")
        facts = self.ike()
        self.assertEqual((facts["sas_in"], facts["sas_out"], facts["policies"]), (1, 0, 4))

    def test_sigterm(self):
        self.again(signal.SIGTERM)

    def test_sigkill(self):
        self.again(signal.SIGKILL)
