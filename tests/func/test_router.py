# SPDX-License-Identifier: BSD-3-Clause
"""The gateway as a router: policies, TTL, sizes, the kernel's part, neighbours, routes."""

import ipaddress
import json
import socket
import struct
import unittest

import esp
from gw import (FAR4, FAR6, HOST4, HOST6, LAN4, LAN6, PEER4, PEER6, PEER_MAC, WAN4, WAN6,
                DEFAULT_PORTS, GatewayTest, Tunnel, World, mac_bytes, ping)
from netns import wait_for

ICMP, TCP, ICMP6 = 1, 6, 58
ETH_ARP = 0x0806
BROADCAST = b"\xff" * 6


def icmp_error(packet):
    """Type, code, the error's own number, and the packet it is about."""
    kind, code, _, _, number = struct.unpack_from("!BBHHH", packet.body)
    if packet.proto == ICMP6:
        number, = struct.unpack_from("!I", packet.body, 4)
    return kind, code, number, packet.body[8:]


def is_icmp(packet):
    """ICMP of either family."""
    return packet.proto in (ICMP, ICMP6)


class Forwarding(GatewayTest):
    """What a router does to packets on their way into and out of a tunnel."""

    ICMP_RATE = 300

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        cls.six = Tunnel("t6", (("10.1.0.0/24", "10.6.0.0/24"), ("fd01::/64", "fd06::/64")),
                         ip6=True)
        return World([cls.t, cls.six], icmp_rate=cls.ICMP_RATE)

    def inner_mtu(self, tunnel):
        """As the console says it."""
        return self.w.gateway.show(f"tunnel {tunnel.name}")["tunnel"]["inner_mtu"]

    def test_ttl_runs_out(self):
        for src, dst, gw, proto, want in ((HOST4, FAR4, LAN4, ICMP, (11, 0)),
                                          (HOST6, FAR6, LAN6, ICMP6, (3, 0))):
            out = esp.udp_packet(src, dst, 1, 2, b"traceroute", ttl=1)
            with self.expect(drop_ttl=1, created=1):
                self.w.lan.send(out)
            error = self.w.lan.receive(is_icmp)
            self.assertEqual((error.src, error.dst, error.proto), (gw, src, proto))
            kind, code, _, about = icmp_error(error)
            self.assertEqual((kind, code), want)
            self.assertTrue(out.startswith(about[:40]))
        self.assertEqual([p for p in self.w.wan.drain() if p.is_esp], [])

    def test_ttl_runs_out_behind_tunnel(self):
        """The ICMP error about a packet from the tunnel goes back into the tunnel."""
        inner = esp.udp_packet(FAR4, HOST4, 1, 2, b"x", ttl=1)
        with self.expect(drop_ttl=1, created=1, encap=1):
            self.w.wan.send(self.t.to_gw[0].seal(inner))
        error = esp.parse(self.t.receive(self.w.wan.receive_esp()))
        self.assertEqual((error.dst, icmp_error(error)[:2]), (FAR4, (11, 0)))
        self.assertIn(ipaddress.ip_address(error.src), ipaddress.ip_network("10.1.0.0/24"))

    def test_too_big(self):
        """DF set, or IPv6: an ICMP error with the right number, and then it fits."""
        for tunnel, src, dst, want in ((self.t, HOST4, FAR4, (3, 4)), (self.t, HOST6, FAR6, (2, 0)),
                                       (self.six, HOST4, "10.6.0.2", (3, 4)),
                                       (self.six, HOST6, "fd06::2", (2, 0))):
            mtu = self.inner_mtu(tunnel)
            head = 48 if ":" in src else 28
            big = esp.udp_packet(src, dst, 1, 2, bytes(mtu + 1 - head), df=True) \
                if head == 28 else esp.udp_packet(src, dst, 1, 2, bytes(mtu + 1 - head))
            with self.expect(drop_too_big=1, created=1):
                self.w.lan.send(big)
            kind, code, number, _ = icmp_error(self.w.lan.receive(is_icmp))
            self.assertEqual((kind, code), want)
            self.assertEqual(number, mtu)
            self.assertEqual([p for p in self.w.wan.drain() if p.is_esp], [])
            fits = esp.udp_packet(src, dst, 1, 2, bytes(mtu - head))
            self.w.lan.send(fits)
            self.assertEqual(len(tunnel.receive(self.w.wan.receive_esp())), mtu)

    def test_fragmented_before_encap(self):
        """DF clear: the inner packet is cut, the outer ones never."""
        data = bytes(i % 251 for i in range(1472))
        out = esp.udp_packet(HOST4, FAR4, 1, 2, data, ident=77)
        with self.expect(created=1, encap=2):
            self.w.lan.send(out)
        parts = {}
        for _ in range(2):
            packet = self.w.wan.receive_esp()
            self.assertFalse(packet.fragment)
            self.assertLessEqual(len(packet.raw), 1500)
            inner = self.t.receive(packet)
            offset = (struct.unpack_from("!H", inner, 6)[0] & 0x1FFF) * 8
            parts[offset] = esp.parse(inner).body
        whole = b"".join(parts[k] for k in sorted(parts))
        self.assertEqual(whole, esp.parse(out).body)

    def test_dscp_ecn_df(self):
        """Outer DSCP and DF are the inner ones, ECN is RFC 6040's."""
        for tos, df in ((0, False), (0xB8, True), (0xBA, False), (1, True)):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x", tos=tos, df=df))
            packet = self.w.wan.receive_esp()
            self.assertEqual((packet.tos, packet.df, packet.ttl), (tos, df, 64))
            self.t.receive(packet)
        for outer, inner, want in ((0, 0x28, 0x28), (3, 2, 3), (3, 1, 3), (3, 3, 3), (0x58, 1, 1)):
            body = self.t.to_gw[0].esp(esp.udp_packet(FAR4, HOST4, 1, 2, b"x", tos=inner))
            self.w.wan.send(self.t.to_gw[0].wrap(body, tos=outer))
            got = self.w.lan.receive(lambda p: p.src == FAR4)
            self.assertEqual(got.tos, want)
        body = self.t.to_gw[0].esp(esp.udp_packet(FAR4, HOST4, 1, 2, b"x"))
        with self.expect(drop_esp_ecn=1):
            self.w.wan.send(self.t.to_gw[0].wrap(body, tos=3))

    def outer_fragments(self, packet, size, ident):
        """An outer IPv4 packet in pieces."""
        body = esp.parse(packet).body
        for at in range(0, len(body), size):
            part = body[at:at + size]
            flags = (0x2000 if at + size < len(body) else 0) | at // 8
            head = bytearray(esp.ip_header(PEER4, WAN4, packet[9], len(part), ident=ident))
            head[6:8] = struct.pack("!H", flags)
            head[10:12] = b"\0\0"
            head[10:12] = struct.pack("!H", esp.checksum(bytes(head)))
            yield bytes(head) + part

    def test_outer_fragments(self):
        """Put together again, in any order."""
        inner = esp.udp_packet(FAR4, HOST4, 1, 2, bytes(1400))
        for ident, order in ((1, 1), (2, -1)):
            parts = list(self.outer_fragments(self.t.to_gw[0].seal(inner), 512, ident))
            self.assertEqual(len(parts), 3)
            with self.expect(rx=3, absorbed=2, decap=1):
                for part in parts[::order]:
                    self.w.wan.send(part)
            got = self.w.lan.receive(lambda p: p.src == FAR4)
            self.assertEqual(len(got.raw), len(inner))

    def test_outer_fragments_ip6(self):
        sa = self.six.to_gw[0]
        inner = esp.udp_packet("10.6.0.2", HOST4, 1, 2, bytes(1200))
        body = esp.parse(sa.seal(inner)).body
        for at in range(0, len(body), 648):
            part = body[at:at + 648]
            more = 1 if at + 648 < len(body) else 0
            head = struct.pack("!BBHI", esp.UDP, 0, at | more, 99)
            self.w.wan.send(esp.ip_header(PEER6, WAN6, 44, 8 + len(part)) + head + part)
        got = self.w.lan.receive(lambda p: p.src == "10.6.0.2")
        self.assertEqual(len(got.raw), len(inner))

    def test_lost_fragment(self):
        """What stays incomplete is given up, and counted."""
        inner = esp.udp_packet(FAR4, HOST4, 1, 2, bytes(1000))
        parts = list(self.outer_fragments(self.t.to_gw[0].seal(inner), 512, 3))
        with self.expect(drop_frag_lost=len(parts) - 1, absorbed=0):
            for part in parts[1:]:
                self.w.wan.send(part)

    def test_bad_ip_headers(self):
        """Checksum, version, lengths, foreign MAC."""
        good = esp.udp_packet(HOST4, FAR4, 1, 2, b"x")
        broken = bytearray(good)
        broken[11] ^= 1
        with self.expect(drop_ip_checksum=1):
            self.w.lan.send(bytes(broken))
        short = bytearray(good)
        short[0] = 0x44
        with self.expect(drop_malformed=3):
            self.w.lan.send(bytes(short), ethertype=esp.ETH_IP4)
            self.w.lan.send(good[:19], ethertype=esp.ETH_IP4)
            self.w.lan.send(good, ethertype=esp.ETH_IP6)
        with self.expect(drop_other_mac=1):
            self.w.lan.send(good, dst=mac_bytes("02:00:00:00:09:09"))

    def test_ethernet_padding(self):
        """A short packet in a 60-byte frame: the padding does not go into the tunnel."""
        out = esp.udp_packet(HOST4, FAR4, 1, 2, b"x")
        self.w.lan.send(out + bytes(46 - len(out)))
        self.assertEqual(len(self.t.receive(self.w.wan.receive_esp())), len(out))

    def test_no_policy(self):
        with self.expect(drop_no_policy=2):
            self.w.lan.send(esp.udp_packet(HOST4, "10.99.0.1", 1, 2))
            self.w.lan.send(esp.udp_packet(HOST6, "fd99::1", 1, 2))

    def test_clear_inbound(self):
        """What belongs into a tunnel is not taken in clear, from no side."""
        with self.expect(drop_clear=3):
            self.w.wan.send(esp.udp_packet(FAR4, HOST4, 1, 2, b"spoofed"))
            self.w.wan.send(esp.udp_packet(FAR6, HOST6, 1, 2, b"spoofed"))
            self.w.lan.send(esp.udp_packet(FAR4, HOST4, 1, 2, b"spoofed"))
        self.assertEqual([p for p in self.w.lan.drain() if p.proto == esp.UDP], [])

    def test_icmp_rate(self):
        """ICMP errors have a limit; the packets are dropped all the same."""
        packet = esp.udp_packet(HOST4, FAR4, 1, 2, ttl=1)
        before = self.w.gateway.counters()
        for _ in range(3000):
            self.w.lan.send(packet)
        now = self.at_rest()
        # the kernel's queue towards the gateway takes 1,000 at a time
        self.assertGreater(now["rx"] - before["rx"], self.ICMP_RATE)
        self.assertEqual(now["drop.ttl"] - before["drop.ttl"], now["rx"] - before["rx"])
        errors = len([p for p in self.w.lan.drain() if is_icmp(p)])
        self.assertEqual(errors, now["created"] - before["created"])
        self.assertLess(errors, now["rx"] - before["rx"])

    def test_zz_end(self):
        self.stop_and_check()


class Kernel(GatewayTest):
    """The host's part of the gateway, by its TAPs."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        return World([cls.t])

    def udp_socket(self, address, port):
        """A server on the gateway itself."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = self.w.namespace.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.bind((address, port))
        s.settimeout(10)
        return s

    def test_ping_gateway(self):
        for wire, src, dst in ((self.w.lan, HOST4, LAN4), (self.w.lan, HOST6, LAN6),
                               (self.w.wan, PEER4, WAN4), (self.w.wan, PEER6, WAN6)):
            with self.expect(punted=1):
                wire.send(ping(src, dst))
            answer = wire.receive(is_icmp)
            self.assertEqual((answer.src, answer.dst, answer.body[0]),
                             (dst, src, 129 if ":" in src else 0))

    def test_ping_gateway_by_tunnel(self):
        """Our own address, out of the tunnel: the kernel answers into the tunnel."""
        self.w.namespace.ip("route", "replace", "10.2.0.0/24", "via", PEER4)
        self.w.wan.send(self.t.to_gw[0].seal(ping(FAR4, LAN4)))
        answer = esp.parse(self.t.receive(self.w.wan.receive_esp()))
        self.assertEqual((answer.src, answer.dst, answer.body[0]), (LAN4, FAR4, 0))
        self.w.namespace.ip("route", "del", "10.2.0.0/24")

    def test_kernel_is_protected_too(self):
        """What the gateway itself sends to the far network is encrypted."""
        self.w.namespace.ip("route", "replace", "10.2.0.0/24", "via", PEER4, "src", LAN4)
        s = self.udp_socket(LAN4, 0)
        s.sendto(b"from the gateway", (FAR4, 7))
        inner = esp.parse(self.t.receive(self.w.wan.receive_esp()))
        self.assertEqual((inner.src, inner.dst, inner.body[8:]), (LAN4, FAR4, b"from the gateway"))
        self.assertEqual([p for p in self.w.wan.drain() if p.dst == FAR4], [])
        self.w.namespace.ip("route", "del", "10.2.0.0/24")

    def test_arp(self):
        """A question is answered by the kernel, with the port's MAC."""
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + self.w.lan.mac \
            + socket.inet_aton(HOST4) + bytes(6) + socket.inet_aton(LAN4)
        self.w.lan.send(body, dst=BROADCAST, ethertype=ETH_ARP)
        answer = self.w.lan.receive_frame(
            lambda f: f.ethertype == ETH_ARP and f.payload[7] == 2, what="ARP answer")
        self.assertEqual(answer.dst, self.w.lan.mac)
        self.assertEqual(answer.payload[8:14], self.w.lan.port_mac)

    def test_keepalive(self):
        """RFC 3948 2.3: swallowed."""
        with self.expect(drop_keepalive=2, punted=0):
            self.w.wan.send(esp.udp_packet(PEER4, WAN4, 4500, 4500, b"\xff"))
            self.w.wan.send(esp.udp_packet(PEER6, WAN6, 4500, 4500, b"\xff"))

    def test_ike(self):
        """UDP 500, and 4500 with four zero bytes, are for the kernel, whole; and back."""
        for address, peer in ((WAN4, PEER4), (WAN6, PEER6)):
            for port, data in ((500, b"IKE_SA_INIT"), (4500, b"\0\0\0\0IKE_AUTH"),
                               (4500, b"\0\0\0\0" + bytes(1200))):
                s = self.udp_socket(address, port)
                with self.expect(punted=1):
                    self.w.wan.send(esp.udp_packet(peer, address, 40000, port, data))
                got, sender = s.recvfrom(2048)
                self.assertEqual((got, sender[:2]), (data, (peer, 40000)))
                s.sendto(b"\0\0\0\0answer", (peer, 40000))
                back = self.w.wan.receive(lambda p: p.dport == 40000)
                self.assertEqual(back.body[8:], b"\0\0\0\0answer")
                s.close()

    def test_short_on_4500(self):
        """Too short for ESP or the marker: the kernel's, too."""
        with self.expect(punted=2):
            for data in (b"", b"\x01\x02\x03"):
                self.w.wan.send(esp.udp_packet(PEER4, WAN4, 4500, 4500, data))

    def test_punt_flood(self):
        """More than the kernel takes: dropped by name, transit goes on."""
        packet = ping(PEER4, WAN4)
        before = self.w.gateway.counters()
        for _ in range(3000):
            self.w.wan.send(packet)
        self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"transit"))
        self.t.receive(self.w.wan.receive_esp())
        now = self.w.gateway.counters()
        self.assertGreater(now["punted"], before["punted"])

    def test_kernel_tap(self):
        """Name, MAC and MTU of the port."""
        for wire, name in ((self.w.lan, "lan"), (self.w.wan, "wan")):
            link = self.w.namespace.run("cat", f"/sys/class/net/{name}/address",
                                        f"/sys/class/net/{name}/mtu").stdout.split()
            self.assertEqual(mac_bytes(link[0]), wire.port_mac)
            self.assertEqual(link[1], "1500")

    def test_zz_end(self):
        self.stop_and_check()


class Neighbours(GatewayTest):
    """Next hops whose MAC address has to be found first."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        cls.six = Tunnel("t6", (("10.1.0.0/24", "10.6.0.0/24"),), ip6=True)
        cls.lost = Tunnel("lost", (("10.1.0.0/24", "10.7.0.0/24"),), remote="192.0.2.77")
        return World([cls.t, cls.six, cls.lost], neighbours=False)

    def answer_arp(self, wire, address):
        """Wait for the question, and answer it."""
        question = wire.receive_frame(
            lambda f: f.ethertype == ETH_ARP and f.payload[24:28] == socket.inet_aton(address),
            what=f"ARP question for {address}")
        sender = question.payload[8:18]
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + wire.mac \
            + socket.inet_aton(address) + sender
        wire.send(body, dst=question.src, ethertype=ETH_ARP)

    def answer_nd(self, wire, address):
        """The same of IPv6."""
        target = socket.inet_pton(socket.AF_INET6, address)
        question = wire.receive(lambda p: p.proto == ICMP6 and p.body[0] == 135
                                and p.body[8:24] == target, what="neighbour solicitation")
        body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + target + b"\x02\x01" + wire.mac
        pseudo = target + socket.inet_pton(socket.AF_INET6, question.src) \
            + struct.pack("!II", len(body), ICMP6)
        body = body[:2] + struct.pack("!H", esp.checksum(pseudo + body)) + body[4:]
        wire.send(esp.ip_header(address, question.src, ICMP6, len(body), ttl=255) + body)

    def test_peer_by_arp(self):
        """ESP waits for the answer, and then goes out, all of it."""
        for i in range(4):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"%d" % i))
        self.answer_arp(self.w.wan, PEER4)
        got = {esp.parse(self.t.receive(self.w.wan.receive_esp())).body[8:] for _ in range(4)}
        self.assertEqual(got, {b"0", b"1", b"2", b"3"})
        self.assertEqual(self.w.gateway.balance()["held_now"], 0)

    def test_peer_by_nd(self):
        self.w.lan.send(esp.udp_packet(HOST4, "10.6.0.2", 1, 2, b"x"))
        self.answer_nd(self.w.wan, PEER6)
        self.six.receive(self.w.wan.receive_esp())

    def test_host_by_arp(self):
        """The same towards a host on the clear side."""
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, "10.1.0.9", 1, 2, b"x")))
        self.answer_arp(self.w.lan, "10.1.0.9")
        self.w.lan.receive(lambda p: p.dst == "10.1.0.9")

    def ask_arp(self, wire, sender, target):
        """A question that makes the kernel remember who asked."""
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + wire.mac + socket.inet_aton(sender) \
            + bytes(6) + socket.inet_aton(target)
        wire.send(body, dst=b"\xff" * 6, ethertype=ETH_ARP)

    def test_stranger(self):
        """Nobody on the one link draws packets for a host of the other, or of elsewhere, by ARP."""
        changed = self.w.gateway.show("neighbours")
        for address in ("10.1.0.77", "198.51.100.7"):
            self.ask_arp(self.w.wan, address, "192.0.2.1")
            wait_for("the kernel to believe it", lambda a=address: any(
                n["address"] == a and n["usable"] for n in self.w.gateway.show("neighbours")))
        self.assertNotEqual(changed, self.w.gateway.show("neighbours"))
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, "10.1.0.77", 1, 2, b"x")))
        self.answer_arp(self.w.lan, "10.1.0.77")
        self.w.lan.receive(lambda p: p.dst == "10.1.0.77")
        said = json.loads(self.w.gateway.console(f"explain {HOST4} 198.51.100.7 udp 1 2 json"))
        self.assertEqual(said["packet"]["next_hop"], "no route")
        self.assertEqual([p for p in self.w.wan.drain() if p.dst == "10.1.0.77"], [])

    def test_never(self):
        """No answer: dropped by name after the kernel has given up."""
        with self.expect(drop_no_neighbour=12):
            for _ in range(12):
                self.w.lan.send(esp.udp_packet(HOST4, "10.7.0.2", 1, 2, b"x"))
        self.assertEqual([p for p in self.w.wan.drain() if p.is_esp], [])
        self.assertEqual(self.w.gateway.balance()["held_now"], 0)

    def test_flood(self):
        """Many packets for many unknown hosts: counted, and the gateway goes on."""
        with self.expect(decap=400, also=("drop.no_neighbour", "drop.punt_full")):
            for i in range(400):
                self.w.wan.send(self.t.to_gw[1].seal(
                    esp.udp_packet(FAR4, f"10.1.0.{20 + i % 200}", 1, 2, b"x")))
        wait_for("all given up", lambda: self.w.gateway.balance()["held_now"] == 0)

    def test_zz_end(self):
        self.stop_and_check()


class Policies(GatewayTest):
    """Order of policies, bypass, drop; nothing protected in clear, though the default is bypass."""

    NEXT_MAC = "02:00:00:00:02:09"

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=("any",))
        cls.down = Tunnel("down", (("10.1.0.0/24", "10.8.0.0/24"),), up=False)
        cls.bare = Tunnel("bare", (("10.1.0.0/24", "10.9.0.0/24"),), pcpus=())
        policies = [
            {"action": "drop", "local": "10.1.0.0/24", "remote": "10.66.0.0/24"},
            {"action": "bypass", "local": "10.1.0.66/32", "remote": "10.2.0.66/32",
             "proto": "udp", "remote_ports": "53"},
            {"action": "tunnel", "tunnel": "t4", "local": "10.1.0.0/24", "remote": "10.67.0.0/24"},
        ]
        w = World([cls.t, cls.down, cls.bare], policies=policies, default="bypass",
                  routes=[{"to": "0.0.0.0/0", "via": "192.0.2.9"}])
        w.neighbours.append(("wan", "192.0.2.9", cls.NEXT_MAC))
        return w

    def clear_on_wan(self):
        """What came out of the WAN that is not ESP."""
        return [p for p in self.w.wan.drain() if not p.is_esp]

    def test_bypass(self):
        with self.expect(bypassed=1):
            self.w.lan.send(esp.udp_packet(HOST4, "203.0.113.1", 1, 2, b"clear"))
        frame = self.w.wan.receive_frame(lambda f: f.ip is not None)
        self.assertEqual((frame.dst, frame.src), (mac_bytes(self.NEXT_MAC), self.w.wan.port_mac))
        self.assertEqual((frame.ip.ttl, frame.ip.body[8:]), (63, b"clear"))
        self.w.wan.send(esp.udp_packet("203.0.113.1", HOST4, 2, 1, b"back"))
        self.assertEqual(self.w.lan.receive().body[8:], b"back")

    def test_drop(self):
        with self.expect(drop_policy=1):
            self.w.lan.send(esp.udp_packet(HOST4, "10.66.0.1", 1, 2))
        self.assertEqual(self.clear_on_wan(), [])

    def test_order(self):
        """A bypass before the tunnel's selector, for one flow only."""
        self.w.lan.send(esp.udp_packet("10.1.0.66", "10.2.0.66", 1, 53, b"dns"))
        self.assertEqual(self.w.wan.receive().body[8:], b"dns")
        self.w.lan.send(esp.udp_packet("10.1.0.66", "10.2.0.66", 1, 54, b"other"))
        inner = self.t.receive(self.w.wan.receive_esp())
        self.assertEqual(esp.parse(inner).body[8:], b"other")

    def test_policy_to_tunnel(self):
        """Outbound by the policy; inbound the tunnel's own selectors decide."""
        self.w.lan.send(esp.udp_packet(HOST4, "10.67.0.1", 1, 2, b"x"))
        self.t.receive(self.w.wan.receive_esp())

    def test_down_is_not_clear(self):
        """A tunnel that is down, or has no SA yet: its packets are dropped, not bypassed."""
        with self.expect(drop_tunnel_down=2, drop_no_out_sa=2):
            for far in ("10.8.0.1", "10.9.0.1"):
                self.w.lan.send(esp.udp_packet(HOST4, far, 1, 2, b"secret"))
                self.w.lan.send(esp.udp_packet(HOST4, far, 1, 2, bytes(1400), df=True))
        self.assertEqual(self.clear_on_wan(), [])

    def test_clear_inbound(self):
        with self.expect(drop_clear=3):
            for far in (FAR4, "10.8.0.1", "10.9.0.1"):
                self.w.wan.send(esp.udp_packet(far, HOST4, 1, 2, b"spoofed"))
        self.assertEqual([p for p in self.w.lan.drain() if p.proto == esp.UDP], [])

    def test_no_route(self):
        """ICMP unreachable for what the kernel has no route for."""
        with self.expect(drop_no_route=1, created=1, bypassed=1):
            self.w.lan.send(esp.udp_packet(HOST6, "2001:db8:99::1", 1, 2))
        kind, code, _, _ = icmp_error(self.w.lan.receive(is_icmp))
        self.assertEqual((kind, code), (1, 0))

    def next_hop(self, dst):
        """Where a clear packet would go, as the tables in use have it: how, and to which MAC."""
        said = json.loads(self.w.gateway.console(f"explain {HOST4} {dst} udp 1 2 json"))["packet"]
        return said["next_hop"], said["mac"]

    def test_route_change(self):
        """ip route add and del, and a change of a MAC address, take effect at once."""
        w, to, second = self.w, "198.51.100.0/24", "02:00:00:00:02:10"
        host = "198.51.100.1"

        def changes(want, *command):
            if command:
                w.namespace.ip(*command)
            wait_for(f"{want} for {host}", lambda: self.next_hop(host) == want, 3.0)

        def goes_to(mac):
            changes(("resolved", mac))
            w.lan.send(esp.udp_packet(HOST4, host, 1, 2, b"x"))
            frame = w.wan.receive_frame(lambda f: f.ip is not None)
            self.assertEqual(frame.dst, mac_bytes(mac))

        goes_to(self.NEXT_MAC)
        w.set_neighbour("wan", "192.0.2.10", second)
        changes(("resolved", second), "route", "add", to, "via", "192.0.2.10")
        goes_to(second)
        w.set_neighbour("wan", "192.0.2.10", "02:00:00:00:02:11")
        goes_to("02:00:00:00:02:11")
        w.namespace.ip("route", "del", to)
        changes(("blackhole", None), "route", "add", "blackhole", to)
        with self.expect(drop_no_route=1):
            w.lan.send(esp.udp_packet(HOST4, host, 1, 2, b"x"))
        w.lan.drain()
        w.namespace.ip("route", "del", "blackhole", to)
        goes_to(self.NEXT_MAC)
        w.namespace.ip("link", "add", "away", "type", "bridge")
        w.namespace.ip("link", "set", "away", "up")
        changes(("blackhole", None), "route", "add", to, "dev", "away")
        with self.expect(drop_no_route=1):
            w.lan.send(esp.udp_packet(HOST4, host, 1, 2, b"x"))
        w.lan.drain()
        changes(("resolved", self.NEXT_MAC), "link", "del", "away")
        goes_to(self.NEXT_MAC)

    def test_tunnel_follows_route(self):
        """The outer packets' next hop, too."""
        w = self.w
        for mac in ("02:00:00:00:02:33", PEER_MAC):
            w.set_neighbour("wan", PEER4, mac)
            wait_for("the MAC", lambda m=mac: w.gateway.show("tunnel t4")["tunnel"]
                     ["next_hop_mac"] == m)
            w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x"))
            frame = w.wan.receive_frame(lambda f: f.ip is not None and f.ip.is_esp)
            self.assertEqual(frame.dst, mac_bytes(mac))

    def test_zz_end(self):
        self.stop_and_check()


class Sizes(GatewayTest):
    """A clear side with a smaller MTU, and mss_clamp."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        ports = [dict(DEFAULT_PORTS[0], mtu=1300), DEFAULT_PORTS[1]]
        return World([cls.t], ports=ports, mss_clamp=True)

    def test_too_big_behind_tunnel(self):
        """Larger than the clear side: an ICMP error back through the tunnel, or fragments."""
        sa = self.t.to_gw[0]
        with self.expect(drop_too_big=1, created=1):
            self.w.wan.send(sa.seal(esp.udp_packet(FAR4, HOST4, 1, 2, bytes(1373), df=True)))
        error = esp.parse(self.t.receive(self.w.wan.receive_esp()))
        self.assertEqual((error.dst, icmp_error(error)[:3]), (FAR4, (3, 4, 1300)))
        with self.expect(created=1):
            self.w.wan.send(sa.seal(esp.udp_packet(FAR4, HOST4, 1, 2, bytes(1372))))
        parts = [self.w.lan.receive(lambda p: p.src == FAR4) for _ in range(2)]
        self.assertEqual(sum(len(p.body) for p in parts), 1380)

    def test_mss(self):
        """A SYN that asks for more than fits is told otherwise, its checksum right."""
        from scapy.layers.inet import IP
        from scapy.layers.inet import TCP as Tcp
        mtu = self.w.gateway.show("tunnel t4")["tunnel"]["inner_mtu"]
        for asked, flags in ((1460, "S"), (500, "S"), (1460, "A")):
            syn = IP(src=HOST4, dst=FAR4) / Tcp(sport=1, dport=2, flags=flags,
                                                options=[("MSS", asked)])
            self.w.lan.send(bytes(syn))
            got = IP(self.t.receive(self.w.wan.receive_esp()))
            want = min(asked, mtu - 40) if flags == "S" else asked
            self.assertEqual(dict(got[Tcp].options)["MSS"], want)
            was = got[Tcp].chksum
            del got[Tcp].chksum
            self.assertEqual(IP(bytes(got))[Tcp].chksum, was)

    def test_zz_end(self):
        self.stop_and_check()


if __name__ == "__main__":
    unittest.main()
