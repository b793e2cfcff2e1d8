# SPDX-License-Identifier: BSD-3-Clause
"""ESP against the independent end: algorithms, address families, ESN, replay, bad packets."""

import os
import shutil
import struct
import unittest

import esp
from gw import FAR4, HOST4, HOST6, GatewayTest, Tunnel, World, ping
from netns import run, wait_for

ALGOS = [f"aes{bits}gcm{icv}" for bits in (128, 192, 256) for icv in (16, 12, 8)] \
    + ["chacha20poly1305"]


def matrix_tunnels():
    """One tunnel for every algorithm, outer family, encapsulation and width of sequence numbers."""
    tunnels = []
    for algo in ALGOS:
        for ip6 in (False, True):
            for encap in (False, True):
                esn = (len(tunnels) // 2) % 2 == 0
                n = len(tunnels) + 16
                nets = (("10.1.0.0/24", f"10.200.{n}.0/24"),
                        ("fd01::/64", f"fd02:0:0:{n:x}::/64"))
                tunnels.append(Tunnel(f"t{n}", nets, ip6=ip6, algo=algo, esn=esn, encap=encap))
    return tunnels


class Matrix(GatewayTest):
    """Both directions, all four pairings of families, UDP and plain, all algorithms."""

    @classmethod
    def world(cls):
        return World(matrix_tunnels())

    def both_ways(self, tunnel, here, there):
        """One packet out, one in."""
        out = esp.udp_packet(here, there, 1000, 2000, os.urandom(40 + tunnel.to_gw[0].spi % 9))
        self.w.lan.send(out)
        packet = self.w.wan.receive_esp()
        self.assertEqual((packet.src, packet.dst), (tunnel.local, tunnel.remote))
        self.assertEqual(packet.proto, esp.UDP if tunnel.encap else esp.ESP)
        inner = esp.parse(tunnel.receive(packet))
        self.assertEqual((inner.src, inner.dst, inner.ttl), (here, there, 63))
        self.assertEqual(inner.body, esp.parse(out).body)
        if tunnel.encap:
            sa = tunnel.receivers[packet.spi].sa
            self.assertEqual((packet.sport, packet.dport), (sa.sport, 4500))
            self.assertEqual(packet.udp_checksum == 0, packet.version == 4)
            if packet.version == 6:
                body = esp.udp(packet.src, packet.dst, packet.sport, 4500, packet.esp)
                self.assertEqual(body, packet.body)
        back = esp.udp_packet(there, here, 2000, 1000, os.urandom(33))
        for sa in tunnel.to_gw:
            self.w.wan.send(sa.seal(back))
            got = self.w.lan.receive(lambda p: p.src == there)
            self.assertEqual((got.dst, got.ttl, got.body), (here, 63, esp.parse(back).body))

    def test_both_ways(self):
        for i, tunnel in enumerate(self.w.tunnels):
            n = i + 16
            with self.subTest(algo=tunnel.options["algo"], outer=tunnel.local,
                              encap=tunnel.encap, esn=tunnel.options["esn"]):
                self.both_ways(tunnel, HOST4, f"10.200.{n}.2")
                self.both_ways(tunnel, HOST6, f"fd02:0:0:{n:x}::2")
        self.assertEqual(self.w.wan.drain(), [])

    def test_sizes(self):
        """Every length over two cipher blocks, and the largest that fits."""
        for tunnel, n in ((self.w.tunnels[1], 17), (self.w.tunnels[2], 18)):
            mtu = self.w.gateway.show(f"tunnel {tunnel.name}")["tunnel"]["inner_mtu"]
            for size in [*range(0, 40), mtu - 28]:
                out = esp.udp_packet(HOST4, f"10.200.{n}.2", 1, 2, bytes(size), df=True)
                self.w.lan.send(out)
                packet = self.w.wan.receive_esp()
                self.assertLessEqual(len(packet.raw), 1500)
                self.assertEqual(len(tunnel.receive(packet)), 28 + size)

    def test_scapy(self):
        """A second witness: scapy opens what the gateway sent, and the gateway what scapy sent."""
        from scapy.layers.inet import IP, UDP
        from scapy.layers.inet6 import IPv6
        from scapy.layers.ipsec import ESP, SecurityAssociation
        tunnel, n = self.w.tunnels[1], 17
        sas = {sa.spi: SecurityAssociation(ESP, spi=sa.spi, crypt_algo="AES-GCM",
                                           crypt_key=sa.key, esn_en=sa.esn, esn=0,
                                           tunnel_header=IP(src=sa.src, dst=sa.dst))
               for sa in tunnel.from_gw + tunnel.to_gw}
        out = IP(src=HOST4, dst=f"10.200.{n}.2") / UDP(sport=7, dport=8) / b"from lan"
        self.w.lan.send(bytes(out))
        packet = self.w.wan.receive_esp()
        inner = sas[packet.spi].decrypt(IP(packet.raw))
        self.assertEqual(bytes(inner[UDP].payload), b"from lan")
        back = IPv6(src=f"fd02:0:0:{n:x}::2", dst=HOST6) / UDP(sport=8, dport=7) / b"from scapy"
        to = tunnel.to_gw[0]
        to.seq += 1
        sealed = sas[to.spi].encrypt(back, seq_num=to.seq, iv=struct.pack("!Q", to.seq))
        # scapy's nat_t_header writes a UDP length of 8: put it on here
        self.w.wan.send(to.wrap(bytes(sealed[ESP])))
        got = self.w.lan.receive(lambda p: p.version == 6)
        self.assertTrue(got.body.endswith(b"from scapy"))

    def capture(self, path, far, count):
        """Packets of the gateway to a file (pcap, raw IP)."""
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
            for i in range(count):
                self.w.lan.send(esp.udp_packet(HOST4, far, 1, 2, b"seen by tshark"))
                raw = self.w.wan.receive_esp().raw
                f.write(struct.pack("<IIII", i, 0, len(raw), len(raw)) + raw)

    def test_tshark(self):
        """And a third: Wireshark's decryption, given the keys."""
        if shutil.which("tshark") is None:
            self.skipTest("tshark is not installed")
        n = 18
        tunnel = self.w.tunnels[n - 16]
        self.assertEqual((tunnel.options["algo"], tunnel.options["esn"], tunnel.encap),
                         ("aes128gcm16", False, False))
        path = os.path.join(self.w.directory, "sent.pcap")
        self.capture(path, f"10.200.{n}.2", 8)
        # the fields for ESN are of later versions; without them older ones know no ESN
        for more in ((), ("32-bit", "0")):
            args = ["tshark", "-r", path, "-o", "esp.enable_encryption_decode:TRUE",
                    "-T", "fields", "-e", "ip.dst", "-e", "data.data"]
            for sa in tunnel.from_gw:
                args += ["-o", "uat:esp_sa:" + ",".join(f'"{v}"' for v in (
                    "IPv4" if sa.src[0] == "1" else "IPv6", sa.src, sa.dst, hex(sa.spi),
                    "AES-GCM with 16 octet ICV [RFC4106]", "0x" + sa.key.hex(),
                    "NULL", "", *more))]
            done = run(*args, check=False, env={**os.environ, "HOME": self.w.directory})
            if done.returncode == 0 and "UAT" not in done.stdout:
                break
        for line in (f"10.200.{n}.2", b"seen by tshark".hex()):
            self.assertEqual(done.stdout.count(line), 8, done.stdout)

    def test_zz_end(self):
        self.stop_and_check()


class Inbound(GatewayTest):
    """What an inbound packet can have wrong, and the window."""

    WINDOW = 64

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", window=cls.WINDOW)
        cls.esn0 = Tunnel("esn0", (("10.1.0.0/24", "10.3.0.0/24"),), esn=False, window=cls.WINDOW)
        cls.plain = Tunnel("plain", (("10.1.0.0/24", "10.4.0.0/24"),), encap=False)
        cls.narrow = Tunnel("narrow", selectors=[
            {"local": "10.1.0.2/32", "remote": "10.5.0.0/24", "proto": "udp",
             "local_ports": "1000-1999", "remote_ports": "53"}])
        return World([cls.t, cls.esn0, cls.plain, cls.narrow])

    def setUp(self):
        super().setUp()
        self.sa = self.t.to_gw[0]
        self.inner = esp.udp_packet(FAR4, HOST4, 9, 10, b"good")

    def passes(self, sa=None, **kwargs):
        """A good packet passes: nothing before it did any harm."""
        self.w.wan.send((sa or self.sa).seal(self.inner, **kwargs))
        self.assertEqual(self.w.lan.receive(lambda p: p.proto == esp.UDP).body[8:], b"good")

    def refused(self, packets, **drops):
        """None of these comes through, for the reasons named."""
        with self.expect(**drops):
            for packet in packets:
                self.w.wan.send(packet)
        self.assertEqual([p for p in self.w.lan.drain() if p.proto == esp.UDP], [])

    def test_duplicate(self):
        packet = self.sa.seal(self.inner)
        self.w.wan.send(packet)
        self.w.lan.receive(lambda p: p.proto == esp.UDP)
        self.refused([packet, packet], drop_esp_replayed=2)
        self.passes()

    def test_duplicate_in_one_burst(self):
        """The same packet many times at once: one comes through."""
        packet = self.sa.seal(self.inner)
        with self.expect(decap=1, drop_esp_replayed=63):
            for _ in range(64):
                self.w.wan.send(packet)
        got = [p for p in self.w.lan.drain() if p.proto == esp.UDP]
        self.assertEqual(len(got), 1)

    def test_too_old(self):
        """Left of the window; with ESN that is the next 2^32 numbers, and not authentic."""
        near = esp.udp_packet("10.3.0.2", HOST4, 9, 10, b"good")
        for sa, inner, drop in ((self.sa, self.inner, "integrity"),
                                (self.esn0.to_gw[1], near, "too_old")):
            old = [sa.seal(inner) for _ in range(3)]
            sa.seq += self.WINDOW
            self.inner = inner
            self.passes(sa)
            self.refused(old, **{f"drop_esp_{drop}": 3})
            # the last one still inside the window
            self.passes(sa, seq=sa.seq - self.WINDOW + 1)
            self.passes(sa)

    def test_reordered(self):
        """Within the window order does not matter."""
        packets = [self.sa.seal(self.inner) for _ in range(32)]
        with self.expect(decap=32):
            for packet in reversed(packets):
                self.w.wan.send(packet)

    def test_forged_moves_nothing(self):
        """A bad ICV far ahead does not move the window."""
        for at in (-1, -16, 16, 20):
            packet = bytearray(self.sa.esp(self.inner, seq=self.sa.seq + 5000))
            packet[at] ^= 1
            self.refused([self.sa.wrap(bytes(packet))], drop_esp_integrity=1)
            self.passes()

    def test_forged_header(self):
        """SPI and sequence number are authenticated."""
        packet = bytearray(self.sa.esp(self.inner))
        packet[:4] = struct.pack("!I", self.t.to_gw[1].spi)
        self.refused([self.sa.wrap(bytes(packet))], drop_esp_integrity=1)
        packet = bytearray(self.sa.esp(self.inner))
        packet[7] ^= 0x40
        self.refused([self.sa.wrap(bytes(packet))], drop_esp_integrity=1)
        self.passes()

    def test_wrong_high_half(self):
        """ESN: the half that is not sent is authenticated too."""
        self.refused([self.sa.seal(self.inner, seq=(7 << 32) + self.sa.seq + 1)],
                     drop_esp_integrity=1)
        self.sa.seq += 1
        self.passes()

    def test_zero_sequence_number(self):
        self.refused([self.esn0.to_gw[0].seal(self.inner, seq=0)], drop_esp_too_old=1)

    def test_unknown_spi(self):
        packet = struct.pack("!I", 0xDEADBEEF) + self.sa.esp(self.inner)[4:]
        self.refused([self.sa.wrap(packet)] * 3, drop_no_sa=3)

    def test_reserved_spi(self):
        body = self.sa.esp(self.inner)[4:]
        plain = self.plain.to_gw[0]
        packets = [self.sa.wrap(struct.pack("!I", spi) + body) for spi in (1, 255)]
        packets += [plain.wrap(struct.pack("!I", spi) + body) for spi in (0, 1, 255)]
        self.refused(packets, drop_spi_reserved=5)

    def test_outbound_spi_inbound(self):
        """Our own outbound SPI, reflected, is not an SA for inbound packets."""
        packet = struct.pack("!I", self.t.from_gw[0].spi) + self.sa.esp(self.inner)[4:]
        self.refused([self.sa.wrap(packet)], drop_no_sa=1)

    def test_encapsulation_must_match(self):
        """R17: UDP or not is part of the SA."""
        plain = self.plain.to_gw[0]
        outer = esp.ip_header(self.sa.src, self.sa.dst, esp.ESP, len(self.sa.esp(self.inner)))
        as_plain = outer + self.sa.esp(self.inner)
        body = esp.udp(plain.src, plain.dst, 4500, 4500, plain.esp(self.inner), False)
        as_udp = esp.ip_header(plain.src, plain.dst, esp.UDP, len(body)) + body
        self.refused([as_plain, as_udp], drop_esp_encap=2)

    def test_any_source_port(self):
        """R13: a NAT may have changed the peer's port."""
        for sport in (4500, 1, 65535, self.sa.sport ^ 1):
            self.passes(sport=sport)

    def test_wrong_selector(self):
        """RFC 4301 5.2: authentic, but not from this tunnel's networks."""
        inners = [esp.udp_packet("10.3.0.9", HOST4, 1, 2), esp.udp_packet(FAR4, "10.9.0.1", 1, 2),
                  esp.udp_packet(HOST4, HOST4, 1, 2), esp.udp_packet("fd09::1", HOST6, 1, 2)]
        self.refused([self.sa.seal(i) for i in inners], drop_esp_selector=4)

    def test_wrong_selector_ports(self):
        sa = self.narrow.to_gw[0]
        good = esp.udp_packet("10.5.0.1", HOST4, 53, 1000, b"good")
        self.w.wan.send(sa.seal(good))
        self.w.lan.receive(lambda p: p.src == "10.5.0.1")
        bad = [esp.udp_packet("10.5.0.1", HOST4, 54, 1000),
               esp.udp_packet("10.5.0.1", HOST4, 53, 2000),
               esp.udp_packet("10.5.0.1", "10.1.0.3", 53, 1000), ping("10.5.0.1", HOST4)]
        self.refused([sa.seal(i) for i in bad], drop_esp_selector=4)

    def test_padding_and_next_header(self):
        """Authentic, but not right inside."""
        self.refused([self.sa.seal(self.inner, padding=b"\x01\x02\x03\x09")], drop_esp_padding=1)
        self.refused([self.sa.seal(self.inner, next_header=6)], drop_esp_next_header=1)
        self.refused([self.sa.seal(self.inner, next_header=59)], drop_esp_dummy=1)
        self.refused([self.sa.seal(b"\x45" + bytes(30), next_header=4),
                      self.sa.seal(self.inner[:-1], next_header=4),
                      self.sa.seal(b"\x60" + bytes(20), next_header=41)], drop_esp_inner=3)
        self.passes()

    def test_tfc_padding(self):
        """RFC 4303 2.7: bytes behind the inner packet are for disguise only."""
        self.passes(tfc=os.urandom(100))

    def test_truncated(self):
        """Cut at every length, with headers that fit the cut, and with headers that do not."""
        whole = self.sa.esp(self.inner)
        plain = self.plain.to_gw[0].esp(self.inner)
        sent = 0
        before = self.w.gateway.counters()
        for sa, esp_bytes in ((self.sa, whole), (self.plain.to_gw[0], plain)):
            for n in range(len(esp_bytes)):
                self.w.wan.send(sa.wrap(esp_bytes[:n]))
            packet = sa.wrap(esp_bytes)
            for n in range(len(packet)):
                self.w.wan.send(packet[:n], ethertype=esp.ETH_IP4)
            sent += len(esp_bytes) + len(packet)

        def ended():
            now = self.w.gateway.counters()
            drops = sum(now[k] - before[k] for k in now if k.startswith("drop."))
            # 0 to 3 bytes in UDP are no ESP: they are the kernel's
            return drops + now["punted"] - before["punted"]

        wait_for("the end of all that was cut", lambda: ended() >= sent)
        with self.expect():
            self.passes()
        now = self.w.gateway.counters()
        self.assertEqual(ended(), sent)
        self.assertLessEqual(now["punted"] - before["punted"], 4)

    def test_garbage(self):
        """Any bytes at all, to both ports."""
        import random
        rng = random.Random(9611)
        base = self.sa.seal(self.inner)
        with self.expect(rx=600, also=[k for k in self.w.gateway.counters()]):
            for i in range(600):
                packet = bytearray(base if i % 3 else rng.randbytes(rng.randrange(60, 300)))
                for _ in range(rng.randrange(1, 6)):
                    packet[rng.randrange(len(packet))] = rng.randrange(256)
                self.w.wan.send(bytes(packet), ethertype=rng.choice((esp.ETH_IP4, esp.ETH_IP6)))
        self.w.lan.drain()
        self.w.wan.drain()
        self.passes()

    def test_zz_end(self):
        self.stop_and_check()


class SequenceWrap(GatewayTest):
    """ESN across 2^32, inbound; 32-bit numbers at their end."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4", pcpus=("any",))
        cls.short = Tunnel("short", (("10.1.0.0/24", "10.3.0.0/24"),), esn=False, pcpus=("any",))
        return World([cls.t, cls.short])

    def send(self, sa, src, seq):
        """An inbound packet with this number."""
        self.w.wan.send(sa.seal(esp.udp_packet(src, HOST4, 1, 2, b"%d" % seq), seq=seq))

    def arrives(self, seq):
        """It comes through."""
        got = self.w.lan.receive(lambda p: p.proto == esp.UDP)
        self.assertEqual(got.body[8:], b"%d" % seq)

    def test_esn_wrap(self):
        """Over 2^32 and back: packets from before the wrap still have their place in the window."""
        sa = self.t.to_gw[0]
        top = 1 << 32
        for seq in (1, top // 2, top - 100, top - 3, top - 1, top, top + 5, top - 2, top + 1,
                    top + 500, top - 50, top + 5000, 2 * top - 10, 2 * top + 10, 2 * top - 20):
            self.send(sa, FAR4, seq)
            self.arrives(seq)
        with self.expect(drop_esp_replayed=2):
            self.send(sa, FAR4, 2 * top - 20)
            self.send(sa, FAR4, 2 * top + 10)

    def test_short_end(self):
        """Without ESN the last number is the last: nothing wraps."""
        sa = self.short.to_gw[0]
        for seq in ((1 << 31) + 7, (1 << 32) - 2, (1 << 32) - 1):
            self.send(sa, "10.3.0.2", seq)
            self.arrives(seq)
        with self.expect(drop_esp_too_old=1, drop_esp_replayed=1):
            self.send(sa, "10.3.0.2", 1)
            self.send(sa, "10.3.0.2", (1 << 32) - 1)

    def test_zz_end(self):
        self.stop_and_check()


if __name__ == "__main__":
    unittest.main()
