# SPDX-License-Identifier: BSD-3-Clause
"""The two ends are not configured alike: which counters say so, on which side."""

import copy
import unittest

import esp
import lab
import linux
from gw import Tunnel
from lab import far, nets

COUNT = 5


def flipped(data, at):
    """Bytes with one bit of one byte changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def changed(sa, **what):
    """A copy of an SA with other values."""
    sa = copy.copy(sa)
    for name, value in what.items():
        setattr(sa, name, value)
    return sa


class Mismatch(lab.InteropTest):
    """The guest differs from the gateway in one thing, in both directions."""

    @classmethod
    def tunnels(cls):
        return [Tunnel("gcm", nets(0), pcpus=("any",)),
                Tunnel("chacha", nets(1), pcpus=("any",), algo="chacha20poly1305", encap=False)]

    def differs(self, number, change, drops, stat):
        """With changed SAs nothing arrives, and these say why."""
        tunnel = self.all[number]
        seq = self.site.numbers()
        self.site.peer(tunnel, number, batch=[
            linux.state(change(sa), direction, seq=seq[sa.spi])
            for sa, direction in ((tunnel.from_gw[0], "in"), (tunnel.to_gw[0], "out"))])
        before = self.counts()
        self.to_host(COUNT, number, lost=COUNT, drops={drops: COUNT})
        middle = self.settled(before, {drops: COUNT})
        self.to_guest(COUNT, number, flows=1, lost=COUNT, stat={stat: COUNT})
        now = self.settled(middle, stat={stat: COUNT})
        self.assertEqual(now.packets("in", tunnel.to_gw[0], before)[0], 0)
        return now, middle

    def authenticates_not(self, change):
        """Of both families of algorithms."""
        for number, tunnel in enumerate(self.all):
            with self.subTest(tunnel=tunnel.name):
                self.site.forget_peer()
                sa = change(tunnel.from_gw[0])
                now, before = self.differs(number, change, "esp.integrity",
                                           "XfrmInStateProtoError")
                self.assertEqual(now.refused(sa, before), (0, 0, COUNT))

    def test_key(self):
        self.authenticates_not(lambda sa: changed(sa, key=flipped(sa.key, 3)))

    def test_salt(self):
        self.authenticates_not(lambda sa: changed(sa, key=flipped(sa.key, -1)))

    def test_esn(self):
        self.authenticates_not(lambda sa: changed(sa, esn=False))

    def test_icv_length(self):
        self.differs(0, lambda sa: changed(sa, algo=esp.algo("aes128gcm12")),
                     "esp.integrity", "XfrmInStateProtoError")

    def test_algorithm(self):
        """Another cipher with a key of its own length."""
        def change(sa):
            return changed(sa, algo=esp.algo("aes256gcm16"), key=sa.key + bytes(16))

        self.differs(0, change, "esp.integrity", "XfrmInStateProtoError")

    def test_spi(self):
        self.differs(0, lambda sa: changed(sa, spi=sa.spi ^ 0x10000), "no_sa",
                     "XfrmInNoStates")

    def test_plain_for_udp(self):
        self.differs(0, lambda sa: changed(sa, sport=0, dport=0), "esp.encap",
                     "XfrmInStateMismatch")

    def test_udp_for_plain(self):
        self.site.guest.do("encap", port=4500)
        self.differs(1, lambda sa: changed(sa, sport=50000, dport=4500), "esp.encap",
                     "XfrmInStateMismatch")

    def test_no_socket(self):
        """ESP in UDP, and nobody who opened the port for it: the guest says so by ICMP."""
        tunnel = self.all[0]
        self.site.peer(tunnel, 0)
        self.site.guest.do("encap_end")
        self.to_host(COUNT, 0)
        before = self.counts()
        ports = self.no_ports()
        self.site.host.do("send", src=lab.HOST4, dst=far(0)[0], port=lab.PORT,
                          numbers=self.fresh(COUNT), flows=1)
        lab.wait_for("UDP to a port without a socket", lambda: self.no_ports() == ports + COUNT,
                     lab.PATIENCE_S)
        self.settled(before)

    def no_ports(self):
        """UDP packets to ports that nobody listens on."""
        names, values = self.site.guest.run("grep ^Udp: /proc/net/snmp").splitlines()
        return int(dict(zip(names.split(), values.split()))["NoPorts"])

    def test_selectors(self):
        """The guest's are wider: authentic, and yet not the tunnel's; and the other way round."""
        tunnel = self.all[0]
        self.site.peer(tunnel, 0)
        self.site.guest.do("ip", commands=[
            *linux.policies("10.77.0.0/24", "10.1.0.0/24", tunnel.remote, tunnel.local),
            "addr add 10.77.0.2/32 dev d0"])
        before = self.counts()
        numbers = self.fresh(COUNT)
        self.site.guest.do("send", src="10.77.0.2", dst=lab.HOST4, port=lab.PORT, numbers=numbers,
                           cpu=0)
        now = self.settled(before, {"esp.selector": COUNT})
        self.assertEqual(now.guest_packets(tunnel.to_gw[0], before)[0], COUNT)

        self.site.guest.do("ip", commands=[
            "xfrm policy delete src 10.1.0.0/24 dst 10.2.0.0/24 dir in",
            "xfrm policy add src 10.1.0.99/32 dst 10.2.0.0/24 dir in tmpl src "
            f"{tunnel.local} dst {tunnel.remote} proto esp reqid {linux.REQID} mode tunnel",
            "xfrm policy add src 10.1.0.0/24 dst 10.2.0.0/24 dir in action block priority 9"])
        before = self.counts()
        self.to_guest(COUNT, 0, flows=1, lost=COUNT, stat={"XfrmInPolBlock": COUNT})
        now = self.settled(before, stat={"XfrmInPolBlock": COUNT})
        self.assertEqual(now.guest_packets(tunnel.from_gw[0], before)[0], COUNT)


if __name__ == "__main__":
    unittest.main()
