# SPDX-License-Identifier: BSD-3-Clause
"""Tunnels, policies and SAs by IKE: a Python program in charon's place."""

import errno
import socket
import time

import esp
from fake_charon import CPU_NONE, Child, N, addr, sa_id, text_of, ts
from gw import FAR4, FAR6, HOST4, HOST6, PEER4, PEER6, WAN4, WAN6
from ike_case import LIVE_S, IkeTest
from netns import wait_for

SPIS = 4096  # GW_IKE_MAX_SPIS
FLOWS = 32  # of so many, some land on each worker


class Sas(IkeTest):
    """SAs and the packets that want them."""

    def test_on_demand(self):
        """A trap, a packet, an acquire, a pair: and traffic both ways."""
        child = self.child(Child(1))
        child.trap(self.charon)
        self.assert_stopped(1)
        acquire = self.charon.acquire(child)
        self.assertEqual((acquire.cpu, acquire.proto), (CPU_NONE, 17))
        self.assertEqual([text_of(a)[0] for a in (acquire.src, acquire.dst)], [HOST4, FAR4])
        self.assertEqual(text_of(acquire.dst)[1], 9)
        self.assertEqual(self.acquires(), {(1, CPU_NONE): 1})
        pair = child.bring_up(self.charon)
        self.assertEqual(self.acquires(), {})
        self.assert_both(pair)

    def test_algorithms(self):
        """Each that can be negotiated, with and without ESN, in UDP and not."""
        for i, algo in enumerate(("aes128gcm16", "aes192gcm16", "aes256gcm16", "aes128gcm12",
                                  "aes256gcm8", "chacha20poly1305")):
            with self.subTest(algo=algo):
                child = self.child(Child(100 + i, algo=algo, esn=i % 2 == 0, encap=i % 3 != 0))
                pair = child.bring_up(self.charon)
                self.assert_both(pair)
                row = self.sa(pair.to_gw)
                self.assertEqual((row["algo"], row["esn"]), (algo, i % 2 == 0))
                child.take_down(self.charon, pair)
        self.assertEqual((self.ike()["sas_in"], self.ike()["tunnels"]), (0, 0))

    def test_ip6(self):
        """IPv6 outside; both inside."""
        nets = (("10.1.0.0/24", "10.2.0.0/24"), ("fd01::/64", "fd02::/64"))
        child = self.child(Child(2, nets, local=WAN6, remote=PEER6))
        child.trap(self.charon)
        self.assert_stopped(1, family=6)
        acquire = self.charon.acquire(child)
        self.assertEqual([text_of(a)[0] for a in (acquire.src, acquire.dst)], [HOST6, FAR6])
        pair = child.bring_up(self.charon)
        for family in (4, 6):
            self.assert_both(pair, family=family)

    def test_rekey(self):
        """A new pair takes over, the old one still receives, then it goes; nothing is lost."""
        child = self.child(Child(3))
        old = child.bring_up(self.charon)
        self.assert_both(old)
        port = self.sa(old.from_gw)["encap_sport"]
        new = child.bring_up(self.charon)
        self.assert_in(old)
        self.assert_both(new)
        self.assertEqual(self.sa(new.from_gw)["encap_sport"], port)
        child.take_down(self.charon, old)
        self.assert_both(new)
        with self.expect(drop_no_sa=1):
            self.w.wan.send(old.to_gw.seal(esp.udp_packet(FAR4, HOST4, 1, 2)))

    def test_query(self):
        """Bytes and packets of an SA are what it has carried."""
        child = self.child(Child(4))
        pair = child.bring_up(self.charon)
        self.assert_both(pair)
        size = len(esp.udp_packet(HOST4, FAR4, 1, 2, b"1025"))
        for sa, bytes_ in ((pair.from_gw, 4 * size), (pair.to_gw, 4 * (size - 3))):
            reply = self.charon.do("SA_QUERY", sa=sa_id(sa.spi, sa.dst))
            self.assertEqual((reply.packets, reply.bytes, reply.idle_s), (4, bytes_, 0))
        other = sa_id(pair.to_gw.spi, FAR4)
        self.assertEqual(self.charon.status("SA_QUERY", sa=other), errno.ENOENT)

    def test_update(self):
        """The peer of an inbound SA may move; an outbound SA stays, and says so."""
        child = self.child(Child(5))
        pair = child.bring_up(self.charon)
        sa = pair.to_gw
        moved = {"sa": sa_id(sa.spi, sa.dst), "new_src": addr("192.0.2.77", 61000),
                 "new_dst": addr(sa.dst, 4500), "flags": N["IKE_SA_ENCAP"]}
        self.charon.do("SA_UPDATE", **moved)
        sa.src, sa.sport = "192.0.2.77", 61000
        self.assert_in(pair)
        for port, shown in ((61001, 61001), (0, 4500)):  # the port alone; any: shown as ours
            self.charon.do("SA_UPDATE", **{**moved, "new_src": addr("192.0.2.77", port)})
            self.assertEqual(self.sa(sa)["encap_sport"], shown)
        out = {"sa": sa_id(pair.from_gw.spi, pair.from_gw.dst), "flags": N["IKE_SA_ENCAP"],
               "new_src": addr(pair.from_gw.src, 4500)}
        self.assertEqual(self.charon.status(
            "SA_UPDATE", new_dst=addr("192.0.2.77", 61000), **out), errno.ENOTSUP)
        self.charon.do("SA_UPDATE", new_dst=addr(pair.from_gw.dst, 4500), **out)
        self.assertEqual(self.charon.status(
            "SA_UPDATE", **{**moved, "sa": sa_id(0x12345678, sa.dst)}), errno.ENOENT)
        self.assert_both(pair)

    def test_equal_keys(self):
        """A key that a running SA has is refused, whatever the SPI and direction."""
        child = self.child(Child(6))
        pair = child.bring_up(self.charon)
        for key in (pair.from_gw.key, pair.to_gw.key):
            for inbound in (False, True):
                other = child.new_pair(self.charon)
                sa = other.to_gw if inbound else other.from_gw
                fields = child.sa_add(sa, inbound, enc_key=key)
                self.assertEqual(self.charon.status("SA_ADD", **fields), errno.EEXIST)
        for inbound in (False, True):
            fields = child.sa_add(pair.to_gw if inbound else pair.from_gw, inbound)
            self.assertEqual(self.charon.status("SA_ADD", **fields), errno.EEXIST)
        self.assert_both(pair)

    def test_used_key(self):
        """An outbound key does not come back, also where its SA is gone: its IVs would."""
        child = self.child(Child(9))
        pair = child.bring_up(self.charon)
        self.assert_both(pair)
        other = child.bring_up(self.charon, policies=False)
        self.charon.do("SA_DEL", sa=sa_id(pair.from_gw.spi, pair.from_gw.dst))
        again = child.new_pair(self.charon).from_gw
        fields = child.sa_add(again, False, enc_key=pair.from_gw.key)
        self.assertEqual(self.charon.status("SA_ADD", **fields), errno.EEXIST)
        self.assert_both(other)

    def test_two_children(self):
        """Each has its own SAs; the end of one is none of the other."""
        one = self.child(Child(7))
        two = self.child(Child(8, (("10.1.0.0/24", "10.3.0.0/24"),)))
        first, second = (c.bring_up(self.charon) for c in (one, two))
        self.assert_both(first)
        self.assertEqual(set(self.assert_out(4, far="10.3.0.2")), {second.from_gw.spi})
        one.take_down(self.charon, first)
        self.assert_stopped(reason="no_policy")
        self.assertEqual(set(self.assert_out(4, far="10.3.0.2")), {second.from_gw.spi})


class Spis(IkeTest):
    """SPIs that the gateway gives out."""

    def allocate(self, count):
        """So many, all different."""
        peers = {"src": addr("192.0.2.2"), "dst": addr("192.0.2.1"), "proto": 50}
        spis = {socket.ntohl(self.charon.do("ALLOC_SPI", **peers).spi) for _ in range(count)}
        self.assertEqual(len(spis), count)
        return spis

    def give_back(self, spi):
        """The status."""
        return self.charon.status("SA_DEL", sa=sa_id(spi, "192.0.2.1"))

    def test_unused(self):
        """One that came to nothing is given back, once; one in use is not counted."""
        spi, = self.allocate(1)
        self.assertEqual(self.ike()["spis"], 1)
        self.assertEqual(self.give_back(spi), 0)
        self.assertEqual(self.give_back(spi), errno.ENOENT)
        self.assertEqual(self.ike()["spis"], 0)
        child = self.child(Child(1))
        pair = child.bring_up(self.charon)
        self.assertEqual(self.ike()["spis"], 0)
        child.take_down(self.charon, pair)
        self.assertEqual(self.give_back(pair.to_gw.spi), errno.ENOENT)

    def test_many(self):
        """All differ, of those in use as well, until there is no room; and then again."""
        child = self.child(Child(1))
        used = {child.bring_up(self.charon).to_gw.spi for _ in range(4)}
        spis = self.allocate(1000)
        for spi in list(spis)[::2]:
            self.assertEqual(self.give_back(spi), 0)
            spis.remove(spi)
        more = self.allocate(SPIS - 500)
        self.assertFalse(spis & more or used & (spis | more))
        spis |= more
        self.assertTrue(all(0xc0000000 <= spi <= 0xcfffffff for spi in spis))
        self.assertEqual(self.ike()["spis"], SPIS)
        status = self.charon.status("ALLOC_SPI", src=addr("192.0.2.2"), dst=addr("192.0.2.1"),
                                    proto=50)
        self.assertEqual(status, errno.ENOSPC)
        self.assertEqual(self.give_back(spis.pop()), 0)
        spis |= self.allocate(1)
        for spi in spis:
            self.assertEqual(self.give_back(spi), 0)
        self.assertEqual(self.ike()["spis"], 0)


class Policies(IkeTest):
    """What is protected, what passes, what is dropped."""

    def test_narrow_trap(self):
        """A trap for a part of what an SA has: it brings the SA for that part."""
        wide = self.child(Child(20, (("10.1.0.0/24", "10.0.0.0/8"),)))
        narrow = self.child(Child(21))
        pair = wide.bring_up(self.charon)
        narrow.trap(self.charon)
        self.assert_stopped()
        self.assertEqual(self.charon.acquire(narrow).cpu, CPU_NONE)
        self.assertEqual(set(self.assert_out(4, far="10.3.0.2")), {pair.from_gw.spi})
        own = narrow.bring_up(self.charon)
        self.assert_both(own)

    def test_multiset(self):
        """Two equal ones: one deletion leaves one, the second none, the third finds none."""
        child = self.child(Child(1))
        pair = child.bring_up(self.charon)
        child.trap(self.charon, pair.to_gw.spi)
        self.assertEqual(self.ike()["policies"], 4)
        child.untrap(self.charon, pair.to_gw.spi)
        self.assert_both(pair)
        child.untrap(self.charon, pair.to_gw.spi)
        self.assert_stopped(reason="no_policy")
        for fields in child.policies(pair.to_gw.spi):
            self.assertEqual(self.charon.status("POL_DEL", **fields), errno.ENOENT)
        child.trap(self.charon, pair.to_gw.spi)
        self.assert_both(pair)

    def test_unknown(self):
        """ENOENT for one that differs in anything but its addresses; nothing goes."""
        child = self.child(Child(2))
        pair = child.bring_up(self.charon)
        there = next(child.policies(pair.to_gw.spi))
        for change in ({"spi": socket.htonl(0x1234)}, {"reqid": 3}, {"if_id": 1}, {"prio": 2},
                       {"dir": 1 - there["dir"]}, {"src_ts": ts("10.2.0.0/25")},
                       {"type": N["IKE_DROP"]}, {"manual_prio": 7}):
            status = self.charon.status("POL_DEL", **{**there, **change})
            self.assertEqual(status, errno.ENOENT, change)
        self.assertEqual(self.ike()["policies"], 2)
        self.charon.do("POL_DEL", **{**there, "src": addr("192.0.2.99")})
        self.assertEqual(self.ike()["policies"], 1)

    def shunt(self, kind, prio, far):
        """A child for the policies of a shunt: what is not protected."""
        child = Child(0, (("10.1.0.0/24", far),), pcpu=False)
        how = {"type": N[f"IKE_{kind}"], "prio": N[f"IKE_PRIO_{prio}"]}
        child.trap(self.charon, **how)
        return lambda: child.untrap(self.charon, **how)

    def test_shunts(self):
        """Holes in a tunnel: one passes, one drops, until they go."""
        child = self.child(Child(3))
        pair = child.bring_up(self.charon)
        passed, dropped = "10.2.0.8", "10.2.0.9"
        self.shunt("PASS", "PASS", f"{passed}/32")
        away = self.shunt("DROP", "PASS", f"{dropped}/32")
        self.clear_is_right = True
        self.send(far=passed)
        self.w.wan.receive(lambda p: p.dst == passed)
        self.w.wan.send(esp.udp_packet(passed, HOST4, 1, 2))
        self.w.lan.receive(lambda p: p.src == passed)
        self.assert_stopped(reason="policy", far=dropped)
        with self.expect(drop_clear=1):
            self.w.wan.send(esp.udp_packet(FAR4, HOST4, 1, 2))
        self.assert_both(pair)
        away()
        self.assert_out(4, far=dropped)
        self.clear_is_right = False

    def test_drop_behind(self):
        """A drop policy of the last class is for what nothing else is for."""
        self.shunt("DROP", "DROP", "10.2.0.0/16")
        child = self.child(Child(4))
        pair = child.bring_up(self.charon)
        self.assert_both(pair)
        self.assert_stopped(reason="policy", far="10.2.1.1")
        child.take_down(self.charon, pair)
        self.assert_stopped(reason="policy")

    def test_selectors(self):
        """Several of one child, of both families, on one pair; others are none of it."""
        child = self.child(Child(5, (("10.1.0.0/24", "10.2.0.0/24"), ("fd01::/64", "fd02::/64"),
                                     ("10.1.0.0/24", "10.3.0.0/24"))))
        pair = child.bring_up(self.charon)
        for family, far in ((4, FAR4), (6, FAR6), (4, "10.3.0.7")):
            self.assertEqual(set(self.assert_out(2, family=family, far=far)), {pair.from_gw.spi})
        for src, dst in ((FAR4, HOST4), (FAR6, HOST6), ("10.3.0.7", HOST4)):
            self.w.wan.send(pair.to_gw.seal(esp.udp_packet(src, dst, 1, 2)))
            self.w.lan.receive(lambda p, s=src: p.src == s)
        self.assert_stopped(reason="no_policy", far="10.4.0.7")
        with self.expect(drop_esp_selector=1):
            self.w.wan.send(pair.to_gw.seal(esp.udp_packet("10.4.0.7", HOST4, 1, 2)))

    def test_ports(self):
        """Selectors of a protocol and a port."""
        child = self.child(Child(6))
        pair = child.bring_up(self.charon, policies=False)
        ends = ts("10.1.0.0/24", 17), ts("10.2.0.0/24", 17, (9, 9))
        fields = {"src_ts": ends[0], "dst_ts": ends[1]}
        for policy in child.policies(pair.to_gw.spi):
            if policy["dir"] == N["IKE_OUT"]:
                self.charon.do("POL_ADD", **{**policy, **fields})
        self.assert_out(4)
        with self.expect(drop_no_policy=1):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 9, 10))

    def test_everything(self):
        """Selectors that all packets match: what is for the gateway itself comes in as before."""
        child = self.child(Child(8, (("0.0.0.0/0", "0.0.0.0/0"),)))
        child.trap(self.charon)
        pair = child.bring_up(self.charon)
        self.assert_both(pair)
        self.assert_out(2, far="198.51.100.7")
        with self.expect(punted=2):
            self.w.wan.send(esp.udp_packet(PEER4, WAN4, 500, 500, bytes(28)))
            self.w.wan.send(esp.udp_packet(PEER4, WAN4, 4500, 4500, bytes(32)))
        self.clear_is_right = True  # the kernel says that nobody listens there

    def test_no_leak(self):
        """The last policy, or SA, goes under traffic: what leaves is encrypted or nothing."""
        for what in ("policy first", "SA first", "flush"):
            child = self.child(Child(7))
            pair = child.bring_up(self.charon)
            self.send(100)
            if what == "policy first":
                child.untrap(self.charon, pair.to_gw.spi)
            elif what == "flush":
                self.charon.do("FLUSH", what=N["IKE_FLUSH_POLICIES"])
            self.send(100)
            for sa in (pair.to_gw, pair.from_gw):
                self.charon.do("SA_DEL", sa=sa_id(sa.spi, sa.dst))
            self.send(100)
            if what == "SA first":
                child.untrap(self.charon, pair.to_gw.spi)
            self.send(100)
            self.at_rest()
            self.look_at_rest()
            self.assertEqual((self.ike()["tunnels"], self.ike()["policies"]), (0, 0))


class Lifetimes(IkeTest):
    """Limits, and SAs that wait until the peer is ready."""

    def assert_expires(self, before, count):
        """So many of each kind, and nothing else was said."""
        after = self.count("expires_soft"), self.count("expires_hard")
        self.assertEqual(after, (before[0] + count, before[1] + count))
        self.assertEqual(self.charon.pending(), [])

    def test_packets(self):
        """Soft once, hard once, each at its packet; then the SA carries nothing."""
        child = self.child(Child(1, pcpu=False, soft_packets=4, hard_packets=8))
        before = self.count("expires_soft"), self.count("expires_hard")
        pair = child.bring_up(self.charon)
        self.assert_out(3)
        self.assertEqual(self.charon.pending(), [])
        self.assert_out(2)
        self.assertFalse(self.charon.expire(pair.from_gw))
        self.assert_out(3)
        self.assertTrue(self.charon.expire(pair.from_gw))
        self.assert_stopped(reason="esp_expired")
        for _ in range(2):
            self.assert_in(pair, 4)
            self.charon.expire(pair.to_gw)
        with self.expect(drop_esp_expired=1):
            self.w.wan.send(pair.to_gw.seal(esp.udp_packet(FAR4, HOST4, 1, 2)))
        self.assert_expires(before, 2)

    def test_bytes(self):
        """Of inner packets; no packet goes beyond the hard limit."""
        size = len(esp.udp_packet(HOST4, FAR4, 1, 2, b"1025"))
        child = self.child(Child(2, pcpu=False, soft_bytes=3 * size, hard_bytes=6 * size))
        before = self.count("expires_soft"), self.count("expires_hard")
        pair = child.bring_up(self.charon)
        self.assert_out(3)
        self.assertFalse(self.charon.expire(pair.from_gw))
        with self.expect(encap=3, drop_esp_expired=5):
            self.send(8)
        self.assertTrue(self.charon.expire(pair.from_gw))
        self.assert_expires(before, 1)

    def test_successor(self):
        """An SA at its end: its successor takes over at once; so does the fallback."""
        child = self.child(Child(3))
        fallback = child.bring_up(self.charon)
        pairs = [child.bring_up(self.charon, cpu=w, hard_packets=1) for w in range(self.WORKERS)]
        self.assertEqual(set(self.what_leaves(FLOWS)), {p.from_gw.spi for p in pairs})
        for pair in pairs:
            self.assertTrue(self.charon.expire(pair.from_gw))
            child.take_down(self.charon, pair)
        self.assertEqual(set(self.assert_out(4)), {fallback.from_gw.spi})

    def what_leaves(self, flows):
        """New flows, of which some packets are dropped for the end of an SA."""
        self.send(flows)
        wait_for("packets", lambda: self.w.unbalanced() is None)
        self.at_rest()
        by_spi = {}
        for packet in self.w.wan.drain():
            self.note(packet)
            by_spi[packet.spi] = by_spi.get(packet.spi, 0) + 1
        return by_spi

    def test_outlived(self):
        """charon ends SAs that are too old; where it is gone, the gateway does."""
        child = self.child(Child(8))
        pair = child.bring_up(self.charon, soft_s=1, hard_s=1)
        self.assert_both(pair)
        time.sleep(1.5)
        self.assert_both(pair)
        self.charon.close()
        self.wait_gone(pair.to_gw, pair.from_gw)
        self.assert_stopped()

    def test_hung(self):
        """charon is connected, and does nothing at all: SAs end all the same."""
        pair = self.child(Child(8)).bring_up(self.charon, soft_s=1, hard_s=1)
        self.assert_both(pair)
        self.wait_gone(pair.to_gw, pair.from_gw)
        self.assert_stopped()
        log = self.w.gateway.log()
        for sa in (pair.to_gw, pair.from_gw):
            self.assertIn(f"SA {sa.spi:#010x} is removed: it is at the end of its lifetime", log)

    def test_numbers(self):
        """32-bit sequence numbers: with three quarters used, charon is told to renew."""
        child = self.child(Child(9, esn=False))
        pair = child.bring_up(self.charon)
        before = self.count("expires_hard")
        for seq in (0xBFFFFFFB, 0xBFFFFFFD):
            self.assertEqual(self.charon.pending(), [])
            self.w.wan.send(pair.to_gw.wrap(pair.to_gw.esp(esp.udp_packet(FAR4, HOST4, 9, 7), seq)))
            self.w.lan.receive(lambda p: p.src == FAR4)
            row = self.detail(pair.to_gw)["limits"][0]
            self.assertEqual(row["seq_left"], 0xFFFFFFFF - seq)
        self.assertFalse(self.charon.expire(pair.to_gw))
        self.assertEqual(self.count("expires_hard"), before)

    def detail(self, sa):
        """What "show sa" says of one."""
        return self.w.gateway.show(f"sa 0x{sa.spi:x}")

    def test_limits(self):
        """show sa SPI: what is left of an SA."""
        child = self.child(Child(10, soft_packets=10, hard_packets=20, soft_bytes=1000,
                                 hard_bytes=2000, soft_s=100, hard_s=200))
        pair = child.bring_up(self.charon)
        self.assert_out(2)
        size = len(esp.udp_packet(HOST4, FAR4, 1, 2, b"1025"))
        row = self.detail(pair.from_gw)["limits"][0]
        self.assertEqual([row[f"{k}_left_{of}"] for k in ("soft", "hard")
                          for of in ("packets", "bytes")],
                         [8, 1000 - 2 * size, 18, 2000 - 2 * size])
        self.assertTrue(95 <= row["soft_left_s"] <= 100 and 195 <= row["hard_left_s"] <= 200)
        self.assertEqual((row["seq_left"], row["state"]), (2**64 - 1 - 2, "in use"))
        held = self.held_pair(child)
        self.assertEqual(self.detail(held.from_gw)["limits"][0]["state"],
                         "waits until the peer uses its pair")

    def test_expired_own(self):
        """docs/ike.md: until charon removes an SA at its end, the fallback does its work."""
        child = self.child(Child(8))
        fallback = child.bring_up(self.charon)
        pairs = [child.bring_up(self.charon, cpu=w, hard_packets=1) for w in range(self.WORKERS)]
        self.what_leaves(FLOWS)
        for pair in pairs:
            self.assertTrue(self.charon.expire(pair.from_gw))
        self.assertEqual(self.what_leaves(8), {fallback.from_gw.spi: 8})
        for pair in pairs:
            self.assertIn(f"SA {pair.from_gw.spi:#010x} has reached its hard limit",
                          self.w.gateway.log())
            self.assertEqual(self.detail(pair.from_gw)["limits"][0]["state"],
                             "at its hard limit: others carry its packets")

    def test_expired_unheard(self):
        """Limits that are reached while charon is away are said to the next connection."""
        child = self.child(Child(4, soft_packets=2))
        child.trap(self.charon)
        pair = child.bring_up(self.charon)
        self.go_away()
        self.assert_out(4)
        self.come_again(child, pair)
        self.assertFalse(self.charon.expire(pair.from_gw))
        # and to the one after that, if it was lost on the way
        self.go_away()
        self.come_again(child, pair)
        self.assertFalse(self.charon.expire(pair.from_gw))

    def go_away(self):
        """charon's end of the connection goes."""
        self.charon.close()
        wait_for("gone", lambda: not self.ike()["connected"])

    def come_again(self, child, pair):
        """The same charon is back, and has what it had."""
        self.charon.connect().hello()
        for fields in (*child.policies(), *child.policies(pair.to_gw.spi)):
            self.charon.do("POL_ADD", **fields)
        child.add(self.charon, pair, True, replayed=True)
        self.charon.do("SA_KEEP", sa=sa_id(pair.from_gw.spi, pair.from_gw.dst))
        self.charon.do("SYNC_END")

    def held_pair(self, child):
        """One that the peer has asked for."""
        pair = child.bring_up(self.charon, cpu=0, initiator=False)
        self.began = time.monotonic()
        self.assertIsNone(self.sa(pair.from_gw)["worker"])
        return pair

    def wait_used(self, pair):
        """How long after its creation the gateway sends on it."""
        wait_for("an SA in use", lambda: self.sa(pair.from_gw)["worker"] is not None, LIVE_S)
        return time.monotonic() - self.began

    def test_held_until_used(self):
        """What the peer asked for waits for its first authentic packet; a forged one is none."""
        child = self.child(Child(5))
        fallback = child.bring_up(self.charon)
        pair = self.held_pair(child)
        self.assertEqual(set(self.assert_out(FLOWS)), {fallback.from_gw.spi})
        forged = bytearray(pair.to_gw.seal(esp.udp_packet(FAR4, HOST4, 1, 2)))
        forged[-1] ^= 1
        with self.expect(drop_esp_integrity=1):
            self.w.wan.send(bytes(forged))
        self.assertIsNone(self.sa(pair.from_gw)["worker"])
        self.assert_in(pair)
        self.assertLess(self.wait_used(pair), 0.9)
        self.assertEqual(set(self.assert_out(FLOWS)),
                         {fallback.from_gw.spi, pair.from_gw.spi})

    def test_held_a_second(self):
        """A peer that sends nothing: after about one second it is used."""
        child = self.child(Child(6))
        child.bring_up(self.charon)
        took = self.wait_used(self.held_pair(child))
        self.assertGreater(took, 0.9)
        self.assertLess(took, 2.0)

    def test_not_held(self):
        """Not the only one, not what we asked for, not a successor, nor once the others go."""
        child = self.child(Child(7))
        first = child.bring_up(self.charon, initiator=False)
        self.assertIsNotNone(self.sa(first.from_gw)["worker"])
        own = child.bring_up(self.charon, cpu=1)
        self.assertIsNotNone(self.sa(own.from_gw)["worker"])
        rekeyed = child.bring_up(self.charon, cpu=1, initiator=False)
        self.assertIsNotNone(self.sa(rekeyed.from_gw)["worker"])
        held = self.held_pair(child)
        for pair in (first, own, rekeyed):
            child.take_down(self.charon, pair)
        self.assertIsNotNone(self.sa(held.from_gw)["worker"])
        self.assertLess(time.monotonic() - self.began, 0.9)
        self.assert_both(held)
