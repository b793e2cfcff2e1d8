# SPDX-License-Identifier: BSD-3-Clause
"""A NAT before the peer changes its mapping: what charon is told, and what it makes of it."""

import errno
import socket
import time

import esp
from fake_charon import Child, N, addr, sa_id, text_of
from gw import FAR4, HOST4, PEER4, Tunnel
from ike_case import IkeTest
from netns import wait_for

OTHER_ADDR = "192.0.2.99"
LOOK_EACH_S = 1.0
LOOK_S = 5 * LOOK_EACH_S


def inner(far=FAR4):
    """A packet to the host behind the gateway."""
    return esp.udp_packet(far, HOST4, 9, 7, b"moved")


class Mapping(IkeTest):
    """A gateway with a tunnel of its file beside those of IKE."""

    @classmethod
    def world(cls):
        cls.static = Tunnel("static", (("10.1.0.0/24", "10.9.0.0/24"),), pcpus=("any",))
        cls.CONFIG = {"tunnels": [cls.static]}
        return cls.new_world()

    def setUp(self):
        super().setUp()
        self.told = []  # of all mappings: (SPI, address, port)

    def add_any_port(self, child, pair, **how):
        """Its inbound SA, of packets from any port, as with per_cpu_sas = yes."""
        self.charon.do("SA_ADD", **child.sa_add(pair.to_gw, True, initiator=pair.initiator,
                                                src=addr(PEER4), **how))

    def assert_follows(self, pair):
        """Its packets come from IKE's place at first, and charon is told where they go."""
        deadline = time.monotonic() + 2 * LOOK_EACH_S
        while time.monotonic() < deadline:
            self.w.wan.send(pair.to_gw.seal(inner(), sport=pair.from_gw.dport))
            time.sleep(0.1)
        self.assertEqual(self.take(), [])
        self.until_told(pair.to_gw, 61000)

    def take(self):
        """What charon was told until now."""
        for _, kind, m in self.charon.pending():
            if kind == "mapping":
                self.assertEqual((m.hdr.id, m.sa.proto), (0, 50))
                self.told.append((socket.ntohl(m.sa.spi), *text_of(m.remote)))
        return self.told

    def until_told(self, sa, port, src=PEER4):
        """Authentic packets from there, until charon is told of them."""
        sa.src = src

        def told():
            self.w.wan.send(sa.seal(inner(), sport=port))
            return (sa.spi, src, port) in self.take()

        wait_for("an event", told, LOOK_S)

    def test_told(self):
        """Of another port, of another address, and of the first again: once each."""
        pair = self.child(Child(1)).bring_up(self.charon)
        own = pair.to_gw.sport
        before = self.count("mappings")
        self.assert_in(pair, 4)
        for src, port in ((PEER4, 61000), (OTHER_ADDR, 61000), (PEER4, own)):
            self.until_told(pair.to_gw, port, src)
        spi = pair.to_gw.spi
        self.assertEqual(self.told, [(spi, PEER4, 61000), (spi, OTHER_ADDR, 61000),
                                     (spi, PEER4, own)])
        self.assertEqual(self.count("mappings") - before, 3)
        self.assertIn(f"packets of SA {spi:#010x} come from {OTHER_ADDR} port 61000 now",
                      self.w.gateway.log())

    def test_not_told(self):
        """Of packets that are not authentic, or not new, and of SAs that nothing moves."""
        child = self.child(Child(2))
        pair = child.bring_up(self.charon)
        self.assert_in(pair)
        forged = bytearray(pair.to_gw.seal(inner(), sport=62001))
        forged[-1] ^= 1
        recorded = pair.to_gw.esp(inner())
        with self.expect(decap=1, drop_esp_integrity=1, drop_esp_replayed=1):
            self.w.wan.send(pair.to_gw.wrap(recorded))
            self.w.wan.send(bytes(forged))
            self.w.wan.send(pair.to_gw.wrap(recorded, sport=62002))
        # any port; nothing that tells a recorded packet from a new one; no UDP
        for i, (how, changes) in enumerate((({}, {"src": addr(PEER4)}), ({"window": 0}, {}),
                                            ({"encap": False}, {}))):
            net = f"10.{3 + i}.0"
            other = self.child(Child(3 + i, (("10.1.0.0/24", f"{net}.0/24"),), **how))
            sa = other.new_pair(self.charon).to_gw
            self.charon.do("SA_ADD", **other.sa_add(sa, True, **changes))
            other.trap(self.charon, sa.spi)
            sa.src = OTHER_ADDR
            with self.expect(decap=4):
                for port in range(62010, 62014):
                    self.w.wan.send(sa.seal(inner(f"{net}.2"), sport=port))
        # of the configuration file
        with self.expect(decap=1):
            self.w.wan.send(self.static.to_gw[0].seal(inner("10.9.0.2"), sport=62020))
        # what was noted of any of them would be told before, or in place of, this one
        for port in (62030, 62031):
            self.until_told(pair.to_gw, port)
        self.assertEqual(self.told, [(pair.to_gw.spi, PEER4, p) for p in (62030, 62031)])

    def test_followed(self):
        """charon moves the inbound SA, and has a new one for what the gateway sends."""
        child = self.child(Child(8))
        old = child.bring_up(self.charon)
        self.assert_both(old)
        self.until_told(old.to_gw, 61000)
        place = {"new_src": addr(PEER4, 61000), "flags": N["IKE_SA_ENCAP"]}
        self.charon.do("SA_UPDATE", sa=sa_id(old.to_gw.spi, old.to_gw.dst),
                       new_dst=addr(old.to_gw.dst, 4500), **place)
        self.assertEqual(self.sa(old.to_gw)["encap_sport"], 61000)
        self.assertEqual(self.charon.status(
            "SA_UPDATE", sa=sa_id(old.from_gw.spi, old.from_gw.dst), flags=N["IKE_SA_ENCAP"],
            new_src=addr(old.from_gw.src, 4500), new_dst=addr(PEER4, 61000)), errno.ENOTSUP)
        new = child.new_pair(self.charon)
        new.to_gw.sport, new.from_gw.sport, new.from_gw.dport = 61000, 4500, 61000
        child.pairs.append(new)
        for inbound in (True, False):
            child.add(self.charon, new, inbound)
        child.trap(self.charon, new.to_gw.spi)
        child.take_down(self.charon, old)
        self.send()
        packet = self.w.wan.receive_esp()
        self.note(packet)
        self.assertEqual((packet.spi, packet.dst, packet.dport), (new.from_gw.spi, PEER4, 61000))
        self.at_rest()
        self.w.lan.drain()  # what showed where the peer is
        self.assert_in(new, 4)
        self.assertEqual(self.take(), [(old.to_gw.spi, PEER4, 61000)])

    def test_renewed_after_restart(self):
        """An SA from before has lost its other half: it does not take that of its successor."""
        child = self.child(Child(10))
        old, new = child.new_pair(self.charon), child.new_pair(self.charon)
        child.pairs.append(new)
        self.add_any_port(child, old, replayed=True)
        self.add_any_port(child, new)
        child.add(self.charon, new, False)
        self.charon.do("SA_DEL", sa=sa_id(old.to_gw.spi, old.to_gw.dst))
        child.trap(self.charon, new.to_gw.spi)
        self.assert_follows(new)

    def test_renewed_by_both(self):
        """Both sides renew at once: what is left finds IKE's place by the SA made with it."""
        child = self.child(Child(9))
        lost, won = (child.new_pair(self.charon, initiator=i) for i in (False, True))
        child.pairs.append(won)
        for pair in (lost, won):
            self.add_any_port(child, pair)
        child.add(self.charon, won, False)
        self.charon.do("SA_DEL", sa=sa_id(lost.to_gw.spi, lost.to_gw.dst))
        child.trap(self.charon, won.to_gw.spi)
        self.assert_follows(won)
