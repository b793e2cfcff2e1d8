# SPDX-License-Identifier: BSD-3-Clause
"""Large packets in outer fragments, as Linux sends them: encrypted whole, then cut."""

import socket
import struct
import time

import esp
from gw import (FAR4, FAR6, HOST4, HOST6, LAN4, PEER4, PEER6, WAN4, WAN6, DEFAULT_PORTS,
                GatewayTest, Tunnel, World, ping)

ICMP, ICMP6, IP6_FRAGMENT = 1, 58, 44
MTU = 1500
DATA = bytes((i * 7 + i // 251) & 0xFF for i in range(65536))


def cut4(packet, size, ident):
    """An IPv4 packet in pieces with up to size bytes of data each."""
    body = packet[20:]
    for at in range(0, len(body), size):
        part = body[at:at + size]
        flags = (0x2000 if at + size < len(body) else 0) | at // 8
        head = packet[:2] + struct.pack("!HHH", 20 + len(part), ident, flags) + packet[8:10] \
            + bytes(2) + packet[12:20]
        yield head[:10] + struct.pack("!H", esp.checksum(head)) + head[12:] + part


def cut6(packet, size, ident):
    """The same with IPv6."""
    body = packet[40:]
    for at in range(0, len(body), size):
        part = body[at:at + size]
        more = 1 if at + size < len(body) else 0
        yield packet[:4] + struct.pack("!HB", 8 + len(part), IP6_FRAGMENT) + packet[7:40] \
            + struct.pack("!BBHI", packet[6], 0, at | more, ident) + part


def cut(packet, ident, mtu=MTU):
    """An outer packet in as few fragments as the MTU allows."""
    if packet[0] >> 4 == 4:
        return list(cut4(packet, (mtu - 20) // 8 * 8, ident))
    return list(cut6(packet, (mtu - 48) // 8 * 8, ident))


def put_together(packets):
    """The body of an IPv4 packet, of all its fragments."""
    body = b""
    for packet in sorted(packets, key=lambda p: struct.unpack_from("!H", p.raw, 6)[0] & 0x1FFF):
        flags, = struct.unpack_from("!H", packet.raw, 6)
        if (flags & 0x1FFF) * 8 != len(body):
            raise ValueError(f"a fragment at {(flags & 0x1FFF) * 8}, not {len(body)}")
        body += packet.body
    if flags & 0x2000:
        raise ValueError("the last fragment is missing")
    return body


def pieces(inner, mtu=MTU):
    """In how many fragments an IPv4 packet leaves."""
    data, each = len(inner) - 20, (mtu - 20) // 8 * 8
    return 1 if len(inner) <= mtu else -(-data // each)


class FragmentTest(GatewayTest):
    """Outer fragments with numbers of their own."""

    ident = 0

    def next_ident(self):
        """Another for each packet."""
        FragmentTest.ident += 1
        return FragmentTest.ident

    def send(self, sa, inner, order=1, **kwargs):
        """An inner packet to the gateway, in outer fragments; how many."""
        parts = cut(sa.seal(inner, **kwargs), self.next_ident())
        for part in parts[::order]:
            self.w.wan.send(part)
        return len(parts)

    def outer(self, sa, inner, **kwargs):
        """How many fragments it will be."""
        sealed = len(sa.seal(inner, seq=1, **kwargs))
        return -(-(sealed - 20) // 1480) if ":" not in sa.src else -(-(sealed - 40) // 1448)

    def receive_whole(self, src, count):
        """The body of a packet on the lan side that comes in so many fragments."""
        parts = [self.w.lan.receive(lambda p: p.src == src) for _ in range(count)]
        for part in parts:
            self.assertLessEqual(len(part.raw), MTU)
            self.assertEqual(part.ttl, 63)
        self.assertEqual(len({part.raw[4:6] for part in parts}), 1)
        return put_together(parts)


class Large(FragmentTest):
    """Four tunnels: IPv4 and IPv6 outside, ESP with and without UDP."""

    @classmethod
    def world(cls):
        cls.tunnels = [
            Tunnel(f"t{i}", ((f"10.1.0.0/24", f"10.{i}.0.0/24"), ("fd01::/64", f"fd0{i}::/64")),
                   ip6=ip6, encap=encap)
            for i, ip6, encap in ((2, False, True), (3, False, False), (4, True, True),
                                  (5, True, False))]
        return World(cls.tunnels)

    def far(self, tunnel):
        """A host behind a tunnel."""
        return f"10.{tunnel.name[1]}.0.2"

    def test_sizes(self):
        """Any tunnel, any of its SAs: by hand-off to the SA's worker or not."""
        for tunnel in self.tunnels:
            for sa in tunnel.to_gw:
                for size, order in ((2000, 1), (2000, -1), (9000, 1), (23000, -1)):
                    inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:size], ident=size)
                    outer, out = self.outer(sa, inner), pieces(inner)
                    with self.expect(rx=outer, absorbed=outer - 1, decap=1, created=out - 1,
                                     decap_bytes=len(inner)):
                        self.send(sa, inner, order)
                    self.assertEqual(self.receive_whole(self.far(tunnel), out), inner[20:])

    def test_around_an_mbuf(self):
        """Where the outer packet just fits in the first fragment's mbuf, and no more."""
        tunnel = self.tunnels[0]
        for size in range(1940, 2060, 4):
            inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:size], ident=size)
            self.assertEqual(self.send(tunnel.to_gw[0], inner), 2)
            self.assertEqual(self.receive_whole(self.far(tunnel), 2), inner[20:])

    def test_largest(self):
        """All that 16 outer fragments can bring goes out in 16."""
        for tunnel in self.tunnels:
            sa = tunnel.to_gw[1]
            small = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, bytes(4))
            overhead = len(sa.seal(small, seq=1)) - len(small)
            most = 40 + 16 * 1448 if tunnel.local == WAN6 else 20 + 16 * 1480
            size = (most - overhead - 28) // 4 * 4
            inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:size], ident=9)
            with self.expect(absorbed=15, decap=1, created=15):
                self.assertEqual(self.send(sa, inner), 16)
            self.assertEqual(self.receive_whole(self.far(tunnel), 16), inner[20:])

    def test_too_many_fragments(self):
        """More than 16: dropped by name, late ones too."""
        tunnel = self.tunnels[1]
        inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:24000])
        with self.expect(rx=17, drop_frag_large=17, absorbed=0, decap=0):
            self.assertEqual(self.send(tunnel.to_gw[0], inner), 17)

    def test_padded(self):
        """TFC padding: a small packet in a large one, which goes out as it is."""
        for tunnel in self.tunnels:
            for sa in tunnel.to_gw:
                for size in (100, 1472):
                    inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:size])
                    outer = self.outer(sa, inner, tfc=bytes(9000))
                    with self.expect(rx=outer, absorbed=outer - 1, decap=1, created=0):
                        self.send(sa, inner, tfc=bytes(9000))
                    got = self.w.lan.receive(lambda p, far=self.far(tunnel): p.src == far)
                    self.assertEqual(got.body, inner[20:])

    def test_too_big(self):
        """DF, or IPv6: an ICMP error through the tunnel, with the MTU of the lan."""
        for tunnel in self.tunnels:
            for size in (2000, 9000, 23000):
                six = f"fd0{tunnel.name[1]}::2"
                for inner, proto, want in (
                        (esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:size], df=True),
                         ICMP, (3, 4)),
                        (esp.udp_packet(six, HOST6, 1, 2, DATA[:size]), ICMP6, (2, 0))):
                    with self.expect(drop_too_big=1, created=1, decap=1, encap=1):
                        self.send(tunnel.to_gw[1], inner)
                    error = esp.parse(tunnel.receive(self.w.wan.receive_esp()))
                    kind, code, _, _, mtu = struct.unpack_from("!BBHHH", error.body)
                    if proto == ICMP6:
                        mtu, = struct.unpack_from("!I", error.body, 4)
                    self.assertEqual((error.proto, kind, code, mtu), (proto, *want, MTU))
                    # but for the TTL, which a router has decremented by then
                    self.assertTrue(inner.startswith(error.body[8:15]))
                    self.assertEqual(error.body[28:], inner[20:20 + len(error.body) - 28])

    def test_ping_gateway(self):
        """To the gateway itself: the kernel gets it whole, and answers into the tunnel."""
        tunnel = self.tunnels[0]
        self.w.namespace.ip("route", "replace", "10.2.0.0/24", "via", PEER4)
        for size in (3000, 9000, 20000):
            request = ping(FAR4, LAN4, size=size)
            with self.expect(punted=1, decap=1):
                self.send(tunnel.to_gw[0], request)
            count = pieces(request)
            parts = []
            while len(parts) < count or struct.unpack_from("!H", parts[-1].raw, 6)[0] & 0x2000:
                # the kernel's fragments are larger than the tunnel takes: cut once more
                parts.append(esp.parse(tunnel.receive(self.w.wan.receive_esp())))
            answer = put_together(parts)
            self.assertEqual((answer[0], answer[8:]), (0, request[28:]))
        self.w.namespace.ip("route", "del", "10.2.0.0/24")

    def test_clear_to_gateway(self):
        """UDP in clear that may be ESP and is not: put together, for the kernel."""
        for address, peer in ((WAN4, PEER4), (WAN6, PEER6)):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with self.w.namespace.socket(family, socket.SOCK_DGRAM) as s:
                s.bind((address, 500))
                s.settimeout(10)
                for size in (3000, 20000):
                    parts = cut(esp.udp_packet(peer, address, 40000, 500, DATA[:size]),
                                self.next_ident())
                    with self.expect(punted=1, absorbed=len(parts) - 1, rx=len(parts)):
                        for part in parts:
                            self.w.wan.send(part)
                    got, sender = s.recvfrom(65536)
                    self.assertEqual((got, sender[:2]), (DATA[:size], (peer, 40000)))

    def test_drops_of_esp(self):
        """Forged, replayed, an unknown SPI, not of the tunnel: each by its name."""
        tunnel = self.tunnels[1]
        inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:9000])
        for sa in tunnel.to_gw:
            good = sa.seal(inner)
            bad = good[:-1] + bytes([good[-1] ^ 1])
            stranger = good[:20] + b"\x11" + good[21:]
            foreign = sa.seal(esp.udp_packet("10.77.0.1", HOST4, 1, 2, DATA[:9000]))
            with self.expect(drop_esp_integrity=1, drop_esp_replayed=1, drop_no_sa=1,
                             drop_esp_selector=1, decap=2):
                for packet in (bad, good, good, stranger, foreign):
                    for part in cut(packet, self.next_ident()):
                        self.w.wan.send(part)
            self.receive_whole(self.far(tunnel), pieces(inner))

    def test_fragments_dropped(self):
        """Lost, overlapping, twice: a name for each, and nothing is absorbed that was not."""
        sa = self.tunnels[1].to_gw[0]
        inner = esp.udp_packet(self.far(self.tunnels[1]), HOST4, 1, 2, DATA[:9000])
        parts = cut(sa.seal(inner), self.next_ident())
        self.assertEqual(len(parts), 7)
        with self.expect(drop_frag_lost=6, absorbed=0, rx=6):
            for part in parts[:3] + parts[4:]:
                self.w.wan.send(part)
        parts = cut(sa.seal(inner), self.next_ident())
        with self.expect(drop_frag_copy=2, absorbed=6, decap=1, rx=9):
            for part in [parts[0], parts[0], parts[6], *parts[1:3], parts[1], *parts[3:6]]:
                self.w.wan.send(part)
        self.receive_whole(self.far(self.tunnels[1]), pieces(inner))
        ident = self.next_ident()
        parts = cut(sa.seal(inner), ident)
        other = cut(sa.seal(inner), ident, MTU - 8)
        with self.expect(drop_frag_bad=8, absorbed=0, decap=0, rx=8):
            for part in [*parts[:3], other[2], *parts[3:]]:
                self.w.wan.send(part)

    def test_many(self):
        """More at a time than there are large buffers: nothing gets lost between, or stuck."""
        tunnel = self.tunnels[0]
        inner = esp.udp_packet(self.far(tunnel), HOST4, 1, 2, DATA[:9000], ident=4)
        before = self.w.gateway.counters()
        for i in range(300):
            self.send(tunnel.to_gw[i % 2], inner)
            if i % 20 == 19:
                self.w.lan.drain()
                time.sleep(0.01)
        self.assert_balance(self.w)
        now = self.w.gateway.counters()
        self.assertGreater(now["decap"] - before["decap"], 250)
        self.w.lan.drain()
        self.send(tunnel.to_gw[0], inner)
        self.receive_whole(self.far(tunnel), pieces(inner))

    def test_yy_under_way(self):
        """What is in the table when the gateway ends is lost by name."""
        sa = self.tunnels[1].to_gw[0]
        inner = esp.udp_packet(self.far(self.tunnels[1]), HOST4, 1, 2, DATA[:9000])
        for part in cut(sa.seal(inner), self.next_ident())[1:]:
            self.w.wan.send(part)
        self.assert_good_end(self.w, self.w.gateway.stop(15))
        log = self.w.gateway.log()
        self.assertRegex(log, "mbufs leaked: 0")


class SmallLan(FragmentTest):
    """A lan that cannot take in 16 fragments what the wan brings in 16."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        return World([cls.t], ports=[dict(DEFAULT_PORTS[0], mtu=1280), DEFAULT_PORTS[1]])

    def test_too_many(self):
        inner = esp.udp_packet(FAR4, HOST4, 1, 2, DATA[:23000])
        for sa in self.t.to_gw:
            with self.expect(drop_too_big=1, decap=1, created=0):
                self.send(sa, inner)
        inner = esp.udp_packet(FAR4, HOST4, 1, 2, DATA[:20000])
        with self.expect(decap=1, created=15):
            self.send(self.t.to_gw[0], inner)
        self.assertEqual(self.receive_whole(FAR4, 16), inner[20:])

    def test_zz_end(self):
        self.stop_and_check()


class JumboLan(FragmentTest):
    """A lan that takes whole what the wan brings in fragments."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        # net_tap takes no more than 1504
        device = "net_pcap0,iface=klan"
        lan = dict(DEFAULT_PORTS[0], device=device, mtu=9000)
        w = World([cls.t], ports=[lan, DEFAULT_PORTS[1]], wires=("tlan", "kwan"))
        w.namespace.ip("link", "add", "klan", "type", "veth", "peer", "name", "tlan")
        w.namespace.sysctl("net.ipv6.conf.klan.disable_ipv6", 1)
        w.namespace.sysctl("net.ipv4.conf.klan.arp_ignore", 8)
        for end in ("klan", "tlan"):
            w.namespace.ip("link", "set", end, "mtu", "9000", "up")
        return w

    def test_sizes(self):
        """Up to the MTU as one packet, of either family, padded or not; beyond, cut."""
        for sa in self.t.to_gw:
            for tfc in (b"", bytes(12000)):
                for size in (2000, 8000, 9000):
                    for inner in (esp.udp_packet(FAR4, HOST4, 1, 2, DATA[:size - 28], df=True),
                                  esp.udp_packet(FAR6, HOST6, 1, 2, DATA[:size - 48])):
                        with self.expect(decap=1, created=0):
                            self.send(sa, inner, tfc=tfc)
                        got = self.w.lan.receive(lambda p: p.src in (FAR4, FAR6))
                        self.assertEqual(got.body, esp.parse(inner).body)
        inner = esp.udp_packet(FAR4, HOST4, 1, 2, DATA[:23000])
        count = pieces(inner, 9000)
        with self.expect(decap=1, created=count - 1):
            self.send(self.t.to_gw[0], inner)
        parts = [self.w.lan.receive(lambda p: p.src == FAR4) for _ in range(count)]
        self.assertEqual(put_together(parts), inner[20:])

    def test_zz_end(self):
        self.stop_and_check()
