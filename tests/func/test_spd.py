# SPDX-License-Identifier: BSD-3-Clause
"""Who may go where: what an attacker on the clear or the outside link tries, and hubs."""

import socket
import struct

import esp
from gw import (FAR4, HOST4, HOST6, LAN4, LAN6, PEER4, PEER_MAC, WAN4, GatewayTest, Tunnel, World,
                mac_bytes, ping)
from netns import wait_for

ARP = 0x0806


def arp_request(mac, src, dst):
    """An ARP request as Ethernet payload."""
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, socket.inet_aton(src), bytes(6),
                       socket.inet_aton(dst))


class Hub(GatewayTest):
    """Two spokes and a hub: decrypted packets meet the policy again."""

    @classmethod
    def world(cls):
        cls.a = Tunnel("a", (("10.0.0.0/8", "10.2.0.0/24"),))
        cls.b = Tunnel("b", (("10.0.0.0/8", "10.3.0.0/24"),))
        policies = [{"action": "drop", "local": "10.2.0.0/24", "remote": "10.1.0.9/32"},
                    {"action": "drop", "local": f"{HOST4}/32", "remote": "10.2.0.9/32"}]
        return World([cls.a, cls.b], policies=policies,
                     routes=[{"to": "0.0.0.0/0", "via": PEER4}])

    def test_spoke_to_spoke(self):
        """Out of one tunnel into the other, TTL once less; never in clear by the default route."""
        self.w.wan.send(self.a.to_gw[0].seal(esp.udp_packet(FAR4, "10.3.0.5", 1, 2, b"hub")))
        inner = esp.parse(self.b.receive(self.w.wan.receive_esp()))
        self.assertEqual((inner.src, inner.dst, inner.ttl, inner.body[8:]),
                         (FAR4, "10.3.0.5", 63, b"hub"))
        self.assertEqual([p for p in self.w.wan.drain() if not p.is_esp], [])

    def test_back_into_the_same(self):
        """A spoke's packet to its own net goes back to it, and ends when its TTL does."""
        self.w.wan.send(self.a.to_gw[0].seal(esp.udp_packet(FAR4, "10.2.0.9", 1, 2)))
        inner = esp.parse(self.a.receive(self.w.wan.receive_esp()))
        self.assertEqual(inner.ttl, 63)
        with self.expect(drop_ttl=1, created=1):
            self.w.wan.send(self.a.to_gw[0].seal(esp.udp_packet(FAR4, "10.2.0.9", 1, 2, ttl=1)))

    def test_drop_policy(self):
        """Written from either side, it stops what comes out of a tunnel."""
        with self.expect(drop_policy=2):
            self.w.wan.send(self.a.to_gw[0].seal(esp.udp_packet(FAR4, "10.1.0.9", 1, 2)))
            self.w.wan.send(self.a.to_gw[0].seal(esp.udp_packet("10.2.0.9", HOST4, 1, 2)))

    def test_spoke_from_outside(self):
        """A spoke's source in clear, by the default route: not into the other spoke's tunnel."""
        with self.expect(drop_clear=1):
            self.w.wan.send(esp.udp_packet(FAR4, "10.3.0.5", 1, 2, b"injected"))
        self.assertEqual([p for p in self.w.wan.drain() if p.is_esp], [])

    def test_to_lan(self):
        """What no policy speaks of goes on by its route."""
        self.w.wan.send(self.a.to_gw[0].seal(esp.udp_packet(FAR4, HOST4, 1, 2, b"x")))
        self.assertEqual(self.w.lan.receive().body[8:], b"x")

    def test_zz_end(self):
        self.stop_and_check()


class Outsider(GatewayTest):
    """Someone on the outside link, without keys."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        return World([cls.t], routes=[{"to": "0.0.0.0/0", "via": PEER4}])

    def clear_on_wan(self):
        """IP packets out of the WAN that are not ESP."""
        return [p for p in self.w.wan.drain() if not p.is_esp]

    def test_neighbour_is_no_route(self):
        """An ARP entry on the outside for an inside address diverts nothing."""
        self.w.wan.send_frame(b"\xff" * 6 + self.w.wan.mac + struct.pack("!H", ARP) +
                              arp_request(self.w.wan.mac, "10.1.0.77", WAN4))
        # whatever the kernel made of it: the worst that it could have
        self.w.set_neighbour("wan", "10.1.0.77", PEER_MAC)
        wait_for("the neighbour", lambda: "10.1.0.77" in self.w.known_neighbours())
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, "10.1.0.77", 1, 2, b"secret")))
        ask = self.w.lan.receive_frame(lambda f: f.ethertype == ARP)
        self.assertEqual(ask.payload[24:28], socket.inet_aton("10.1.0.77"))
        self.assertEqual(self.clear_on_wan(), [])
        self.w.namespace.ip("neigh", "del", "10.1.0.77", "dev", "wan")
        # the kernel gives up asking
        wait_for("the held packet's end", lambda: self.w.gateway.balance()["held_now"] == 0)

    def test_spoofed_inside_source(self):
        """A packet with an inside source from outside is not encrypted for the peer."""
        with self.expect(drop_spoofed=1):
            self.w.wan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"injected"))
        self.assertEqual([p for p in self.w.wan.drain() if p.is_esp], [])

    def test_own_source(self):
        """Nor is one with the gateway's own address."""
        with self.expect(drop_spoofed=1):
            self.w.lan.send(esp.udp_packet(LAN4, FAR4, 1, 2))

    def test_clear_to_gateway(self):
        """The gateway's inside address: from the far net by the tunnel only."""
        with self.expect(drop_clear=2):
            self.w.wan.send(esp.udp_packet(FAR4, LAN4, 1, 22, b"spoofed"))
            self.w.wan.send(ping(FAR4, LAN4))
        self.w.wan.send(ping(PEER4, WAN4))
        self.w.wan.receive(lambda p: p.proto == 1)

    def test_priority_tag(self):
        """A tag of VLAN 0, which the kernel would take off, hides nothing."""
        with self.expect(drop_ethertype=2):
            for tag in (b"\x81\x00\x00\x00", b"\x88\xa8\x00\x00"):
                self.w.wan.send_frame(self.w.wan.port_mac + self.w.wan.mac + tag + b"\x08\x00" +
                                      esp.udp_packet(FAR4, LAN4, 1, 22, b"spoofed"))

    def test_martians(self):
        with self.expect(drop_malformed=2):
            self.w.lan.send(esp.udp_packet(HOST4, "127.0.0.1", 1, 2))
            self.w.lan.send(esp.udp_packet(HOST4, "0.0.0.1", 1, 2))

    def test_zz_end(self):
        self.stop_and_check()


class Quotes(GatewayTest):
    """ICMP errors quote what came out of a tunnel: they leave through it, or not at all."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("udp", selectors=[{"local": "10.1.0.0/24", "remote": "10.2.0.0/24",
                                          "proto": "udp"}])
        return World([cls.t], routes=[{"to": "0.0.0.0/0", "via": PEER4}], default="bypass")

    def error_is_protected(self):
        """The next packet is ESP and holds an ICMP error."""
        inner = esp.parse(self.t.receive(self.w.wan.receive_esp()))
        self.assertEqual((inner.dst, inner.proto), (FAR4, 1))
        self.assertEqual([p for p in self.w.wan.drain() if not p.is_esp], [])

    def test_ours(self):
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, HOST4, 1, 2, b"quoted", ttl=1)))
        self.error_is_protected()

    def test_hosts(self):
        """Port unreachable, by a host of the LAN; the default would let ICMP pass in clear."""
        about = esp.udp_packet(FAR4, HOST4, 1, 9, b"quoted")
        body = struct.pack("!BBHI", 3, 3, 0, 0) + about
        body = body[:2] + struct.pack("!H", esp.checksum(body)) + body[4:]
        self.w.lan.send(esp.ip_header(HOST4, FAR4, 1, len(body)) + body)
        self.error_is_protected()

    def test_kernels(self):
        """Port unreachable, by the kernel."""
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, LAN4, 1, 9, b"quoted")))
        self.error_is_protected()

    def test_zz_end(self):
        self.stop_and_check()


class Everything(GatewayTest):
    """All of the LAN's traffic by the tunnel: remote = 0.0.0.0/0. The LAN itself goes on."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("all", (("10.1.0.0/24", "0.0.0.0/0"), ("fd01::/64", "::/0")))
        return World([cls.t], mss_clamp=True)

    def test_out_and_in(self):
        self.w.lan.send(esp.udp_packet(HOST4, "203.0.113.5", 1, 2, b"ask"))
        self.assertEqual(esp.parse(self.t.receive(self.w.wan.receive_esp())).body[8:], b"ask")
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet("203.0.113.5", HOST4, 2, 1, b"yes")))
        self.assertEqual(self.w.lan.receive().body[8:], b"yes")

    def test_lan_host_and_gateway(self):
        """A host of the LAN talks to the gateway's address there."""
        for host, ours in ((HOST4, LAN4), (HOST6, LAN6)):
            self.w.lan.send(ping(host, ours))
            answer = self.w.lan.receive(lambda p: p.proto in (1, 58) and p.body[0] in (0, 129))
            self.assertEqual((answer.src, answer.dst), (ours, host))

    def test_errors_to_lan(self):
        """Too big, for a host of the LAN: in clear, to that host."""
        with self.expect(drop_too_big=1, created=1):
            self.w.lan.send(esp.udp_packet(HOST4, "203.0.113.5", 1, 2, bytes(1460), df=True))
        error = self.w.lan.receive(lambda p: p.proto == 1)
        self.assertEqual((error.src, error.dst, error.body[:2]), (LAN4, HOST4, b"\x03\x04"))

    def test_outsider_to_lan_address(self):
        """From the outside link, the inside address is the tunnel's."""
        with self.expect(drop_clear=1):
            self.w.wan.send(esp.udp_packet("203.0.113.5", LAN4, 1, 22))
        self.w.wan.send(ping(PEER4, WAN4))
        self.w.wan.receive(lambda p: p.proto == 1)

    def test_zz_end(self):
        self.stop_and_check()


class Overlap(GatewayTest):
    """10/8 on both sides: what comes out of the tunnel for our own link gets there."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("own", (("10.0.0.0/8", "10.0.0.0/8"),))
        return World([cls.t])

    def test_in_and_out(self):
        self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, HOST4, 1, 2, b"in")))
        self.assertEqual(self.w.lan.receive().body[8:], b"in")
        self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"out"))
        self.assertEqual(esp.parse(self.t.receive(self.w.wan.receive_esp())).body[8:], b"out")

    def test_zz_end(self):
        self.stop_and_check()


class KernelTraffic(GatewayTest):
    """What the kernel forwards or makes does not get around the policy."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        policies = [{"action": "bypass", "local": "10.1.0.0/24", "remote": "203.0.113.0/24"}]
        return World([cls.t], policies=policies, routes=[{"to": "0.0.0.0/0", "via": PEER4}])

    def test_forwarded_by_kernel(self):
        """ip_forward = 1 and a third interface: transit is transit."""
        ns = self.w.namespace
        ns.ip("link", "add", "x0", "type", "veth", "peer", "name", "x1")
        for name in ("x0", "x1"):
            ns.ip("link", "set", name, "up")
        ns.ip("addr", "add", "198.51.100.1/24", "dev", "x0")
        ns.sysctl("net.ipv4.ip_forward", 1)
        ns.sysctl("net.ipv4.conf.all.rp_filter", 0)
        mac = mac_bytes(ns.run("cat", "/sys/class/net/x0/address").stdout.strip())
        raw = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind(("x1", 0))
        with self.expect(also=("drop.no_neighbour",), drop_no_policy=1, drop_clear=1):
            for src in ("198.51.100.9", FAR4):
                raw.send(mac + b"\x02" * 6 + b"\x08\x00" + esp.udp_packet(src, HOST4, 1, 2, b"y"))
        raw.close()
        self.assertEqual([p for p in self.w.lan.drain() if p.proto == esp.UDP], [])
        ns.ip("link", "del", "x0")

    def test_vlan_from_kernel(self):
        """A frame in which an IP packet could hide does not leave."""
        raw = self.w.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind(("wan", 0))
        with self.expect(drop_ethertype=1):
            raw.send(mac_bytes(PEER_MAC) + self.w.wan.port_mac + b"\x81\x00\x00\x0a\x08\x00" +
                     esp.udp_packet(LAN4, FAR4, 1, 2, b"hidden"))
        raw.close()

    def test_bypass_both_ways(self):
        """A bypass policy lets the answers in."""
        with self.expect(bypassed=2):
            self.w.lan.send(esp.udp_packet(HOST4, "203.0.113.5", 1, 2, b"ask"))
            self.w.wan.send(esp.udp_packet("203.0.113.5", HOST4, 2, 1, b"answer"))
        self.assertEqual(self.w.wan.receive().body[8:], b"ask")
        self.assertEqual(self.w.lan.receive().body[8:], b"answer")

    def test_zz_end(self):
        self.stop_and_check()
