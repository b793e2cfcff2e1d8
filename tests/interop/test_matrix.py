# SPDX-License-Identifier: BSD-3-Clause
"""Every algorithm, encapsulation and family, both ways, counted packet for packet."""

import unittest

import lab
from gw import Tunnel
from lab import nets

PACKETS = 24
SIZE = 100
INNER = {False: SIZE + 28, True: SIZE + 48}  # with UDP and IPv4 or IPv6 around it
ALGORITHMS = ("aes128gcm16", "aes128gcm12", "aes128gcm8", "aes192gcm16", "aes192gcm12",
              "aes192gcm8", "aes256gcm16", "aes256gcm12", "aes256gcm8", "chacha20poly1305")
WITHOUT_ESN = ("aes128gcm16", "chacha20poly1305")  # one of each family of algorithms


class Matrix(lab.InteropTest):
    """A tunnel for each combination; the guest is the other end of one after the other."""

    @classmethod
    def tunnels(cls):
        cls.variants = [(algo, encap, ip6, esn) for algo in ALGORITHMS
                        for encap in (False, True) for ip6 in (False, True)
                        for esn in ((True, False) if algo in WITHOUT_ESN else (True,))]
        return [Tunnel(f"t{n}", nets(n), ip6=ip6, algo=algo, encap=encap, esn=esn)
                for n, (algo, encap, ip6, esn) in enumerate(cls.variants)]

    def one(self, number):
        """Both ways, in both families, from both CPUs."""
        tunnel = self.all[number]
        self.site.peer(tunnel, number)
        for inner6 in (False, True):
            before = self.counts()
            self.to_guest(PACKETS, number, inner6, sizes=[SIZE])
            for cpu in (0, 1):
                self.to_host(PACKETS, number, inner6, cpu=cpu, sizes=[SIZE])
            now = self.settled(before)
            total = 0
            for cpu, out, into in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
                wanted = (0, 0) if cpu == "any" else (PACKETS, PACKETS * INNER[inner6])
                self.assertEqual(now.guest_packets(into, before), wanted, f"CPU {cpu} sends")
                self.assertEqual(now.packets("in", into, before), wanted, f"of CPU {cpu}")
                sent = now.packets("out", out, before)
                self.assertEqual(now.guest_packets(out, before), sent, f"worker {cpu} sends")
                self.assertEqual(sent[1], sent[0] * INNER[inner6])
                total += sent[0]
            self.assertEqual(total, PACKETS)


def add_tests():
    """A test for each variant, with its name."""
    def make(number):
        return lambda self: self.one(number)

    Matrix.tunnels()
    for number, (algo, encap, ip6, esn) in enumerate(Matrix.variants):
        name = f"{algo}_{'udp' if encap else 'esp'}_ip{6 if ip6 else 4}_{'esn' if esn else '32bit'}"
        setattr(Matrix, f"test_{name}", make(number))


add_tests()

if __name__ == "__main__":
    unittest.main()
