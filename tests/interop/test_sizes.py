# SPDX-License-Identifier: BSD-3-Clause
"""Packets of every size, of the largest one, and larger; TCP, which finds the size by itself."""

import unittest

import lab
from gw import HOST4, HOST6, Tunnel
from lab import far, nets

MIN = 8  # the number in it
TCP_BYTES = 4_000_000
TCP_PORT = 7001
HEADERS = {False: 28, True: 48}  # UDP, and IPv4 or IPv6


class Sizes(lab.InteropTest):
    """One tunnel for each way of counting padding and overhead."""

    @classmethod
    def tunnels(cls):
        return [
            Tunnel("plain", nets(1), encap=False),
            Tunnel("udp", nets(2), algo="aes256gcm8"),
            Tunnel("udp6", nets(3), ip6=True, algo="chacha20poly1305"),
            Tunnel("plain6", nets(4), ip6=True, encap=False, algo="aes128gcm12"),
            Tunnel("tcp", nets(5), encap=False),
            Tunnel("tcp6", nets(6), ip6=True),
        ]

    def both(self, number, sizes, ip6, **how):
        """A packet of each size, both ways, counted in bytes too."""
        tunnel = self.all[number - 1]
        before = self.counts()
        self.to_guest(len(sizes), number, ip6, sizes=sizes, **how)
        self.to_host(len(sizes), number, ip6, sizes=sizes, **how)
        now = self.settled(before)
        self.check(tunnel, now, before)
        return now, before

    def check(self, tunnel, now, before):
        """Both ends counted the same, in packets and in bytes of inner packets."""
        for out, into in zip(tunnel.from_gw, tunnel.to_gw):
            self.assertEqual(now.guest_packets(out, before), now.packets("out", out, before))
            self.assertEqual(now.guest_packets(into, before), now.packets("in", into, before))

    def inner_mtu(self, number):
        """What the gateway says is the largest inner packet."""
        return self.site.gateway.show(f"tunnel {self.all[number - 1].name}")["tunnel"]["inner_mtu"]

    def each(self, number):
        """Small ones of all sizes, and those around the largest, in one piece (DF set)."""
        self.site.peer(self.all[number - 1], number)
        for ip6 in (False, True):
            most = self.inner_mtu(number) - HEADERS[ip6]
            self.both(number, [*range(MIN, 75), 500, 999, 1001], ip6)
            self.both(number, list(range(most - 16, most + 1)), ip6, df=True)
            # What is larger may be cut. Linux encrypts it whole and cuts the ESP packet,
            # the gateway cuts before it encrypts; of IPv6 only the source cuts.
            if ip6:
                self.learn(number)
            self.both(number, [most + 1, most + 2, 1472, 2000, 3001, 9000, 20000], ip6)

    def learn(self, number):
        """The gateway tells the host the path's MTU when a packet is too big for the tunnel."""
        def answered():
            return " 0% packet loss" in self.site.host.namespace.run(
                "ping", "-6", "-c", "1", "-W", "1", "-s", "1472", far(number)[1],
                check=False).stdout

        before = self.counts()
        self.assertFalse(answered())
        self.settled(before, {"too_big": 1})
        lab.wait_for("the path MTU at the host", answered, lab.PATIENCE_S)

    def test_plain(self):
        self.each(1)

    def test_udp(self):
        self.each(2)

    def test_udp6(self):
        self.each(3)

    def test_plain6(self):
        self.each(4)

    def tcp(self, number, ip6):
        """A stream each way: path MTU discovery finds what fits, and all arrives unchanged."""
        tunnel = self.all[number - 1]
        self.site.peer(tunnel, number)
        host, guest = HOST6 if ip6 else HOST4, far(number)[ip6]
        before = self.counts()
        self.site.guest.do("tcp_serve", address=guest, port=TCP_PORT)
        self.site.host.do("tcp_send", src=host, dst=guest, port=TCP_PORT, count=TCP_BYTES)
        for cpu in (0, 1):
            self.site.host.do("tcp_serve", address=host, port=TCP_PORT)
            self.site.guest.do("tcp_send", src=guest, dst=host, port=TCP_PORT, count=TCP_BYTES,
                               cpu=cpu)
        for side in (self.site.host, self.site.guest):
            lab.wait_for("the connections' end",
                         lambda side=side: side.do("tcp_under_way", port=TCP_PORT) == 0,
                         lab.PATIENCE_S)
        now = self.counts()
        moved = sum(now.packets("out", sa, before)[1] for sa in tunnel.from_gw)
        self.assertGreater(moved, TCP_BYTES)
        moved = sum(now.packets("in", sa, before)[1] for sa in tunnel.to_gw)
        self.assertGreater(moved, 2 * TCP_BYTES)
        for name in ("esp.integrity", "esp.replayed", "esp.too_old", "esp.selector", "no_sa"):
            self.assertEqual(now.gateway[f"drop.{name}"], before.gateway[f"drop.{name}"], name)
        self.assertEqual({k: v for k, v in now.stat.items() if v != before.stat[k]}, {})

    def test_tcp(self):
        self.tcp(5, False)

    def test_tcp6(self):
        self.tcp(6, True)


if __name__ == "__main__":
    unittest.main()
