# SPDX-License-Identifier: BSD-3-Clause
"""A Linux peer that is brought up by nothing but what the gateway prints for it."""

import subprocess
import unittest

import lab
from gw import BINARY, Tunnel
from lab import far, nets

PACKETS = 16


class Paste(lab.InteropTest):
    """show peer-commands TUNNEL with keys, run in the guest."""

    @classmethod
    def tunnels(cls):
        return [
            Tunnel("plain", nets(1), encap=False),
            Tunnel("udp", nets(2)),
            Tunnel("udp6", nets(3), ip6=True, algo="chacha20poly1305"),
            Tunnel("plain6", nets(4), ip6=True, encap=False, algo="aes256gcm16", esn=False),
            Tunnel("gcm192", nets(5), algo="aes192gcm12", window=0),
            # all that the gateway knows goes to the peer's network; which holds the peer itself
            Tunnel("wide", (("0.0.0.0/0", "10.2.6.0/24"), ("::/0", "fd02:6::/64"))),
            Tunnel("beyond", nets(7), pcpus=(0, 1, 2, 3, "any")),
        ]

    def setUp(self):
        super().setUp()
        self.site.guest.run("pkill -f esp-in-udp || true; rm -f /tmp/peer.sh")

    def script(self, name, *words):
        """What the console prints."""
        return self.site.gateway.console(" ".join(["show", "peer-commands", name, *words]))

    def addresses(self, number):
        """The guest's own, behind the tunnel: a LAN of which it is a part."""
        self.site.guest.do("ip", commands=[
            f"addr add {a}/{64 if ':' in a else 24} dev d0 {'nodad' if ':' in a else ''}"
            for a in far(number)])

    def apply(self, script, check=True):
        """Run a script in the guest: as a file, by its sh."""
        self.site.guest.do("file", path="/tmp/peer.sh", text=script)
        return self.site.guest.run("sh /tmp/peer.sh", check=check)

    def both_ways(self, number, cpus=(0, 1)):
        """Traffic in both families, each CPU and worker on its own SAs."""
        tunnel = self.all[number - 1]
        before = self.counts()
        for ip6 in (False, True):
            self.to_guest(PACKETS, number, ip6)
            for cpu in (0, 1):
                self.to_host(PACKETS, number, ip6, cpu=cpu)
        now = self.settled(before)
        for cpu, out, into in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
            sent = now.guest_packets(into, before)
            self.assertEqual(sent, now.packets("in", into, before))
            self.assertEqual(sent[0], 2 * PACKETS if cpu in cpus else 0)
            self.assertEqual(now.guest_packets(out, before), now.packets("out", out, before))
            if cpu not in cpus:
                self.assertEqual(now.packets("out", out, before)[0], 0)
        return now

    def test_each(self):
        """Plain and in UDP, IPv4 and IPv6, several algorithms; then again after "down"."""
        for number in (1, 2, 3, 4, 5):
            with self.subTest(tunnel=self.all[number - 1].name):
                self.setUp()
                self.addresses(number)
                said = self.apply(self.script(self.all[number - 1].name, "with", "keys"))
                self.assertIn("up", said)
                self.both_ways(number)
                self.site.guest.run("sh /tmp/peer.sh down")
                self.assertEqual(self.site.guest.run("ip xfrm state; ip xfrm policy"), "")

    def test_offline(self):
        """--peer-commands, without a gateway or a device."""
        number = 2
        done = subprocess.run([BINARY, "--peer-commands", "-c", self.site.gateway.config_path,
                               "--name", "udp", "--with-keys"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30, check=True)
        self.assertEqual(self.guest_keys(done.stdout, number), 6)
        bare = subprocess.run([BINARY, "--peer-commands", "-c", self.site.gateway.config_path,
                               "--name", "udp"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30, check=True)
        self.assertEqual(self.guest_keys(bare.stdout, number), 0)

    def guest_keys(self, script, number):
        """How many of the tunnel's keys are in it."""
        return sum(key in script for key in self.all[number - 1].keys())

    def test_without_keys(self):
        """Refused as a whole by the script itself, until the keys are set."""
        number = 1
        tunnel = self.all[number - 1]
        self.addresses(number)
        script = self.script("plain")
        self.assertEqual(self.guest_keys(script, number), 0)
        said = self.apply(script, check=False)
        self.assertIn("KEY_", said)
        self.assertEqual(self.site.guest.run("ip xfrm state; ip xfrm policy"), "")
        keys = "".join(f"KEY_{sa.spi:08x}=0x{sa.key.hex()}\n"
                       for sa in tunnel.from_gw + tunnel.to_gw)
        self.apply(keys + script)
        self.both_ways(number)

    def test_reboot(self):
        """The peer loses all; new commands go on behind what was used: no IV comes twice."""
        number = 2
        tunnel = self.all[number - 1]
        self.addresses(number)
        self.apply(self.script("udp", "with", "keys"))
        first = self.both_ways(number)
        self.site.guest.run("pkill -f esp-in-udp || true")
        self.site.forget_peer()
        self.addresses(number)
        self.apply(self.script("udp", "with", "keys"))
        fresh = self.counts()
        for sa in tunnel.to_gw:
            used = first.states[sa.spi].oseq
            self.assertEqual(fresh.states[sa.spi].oseq > used, used > 0)
        for sa in tunnel.from_gw:
            self.assertGreaterEqual(fresh.states[sa.spi].seq, first.states[sa.spi].seq)
        self.both_ways(number)

    def test_wide(self):
        """Selectors that hold the peer's own link and the tunnel's ends: all still work."""
        number = 6
        self.addresses(number)
        self.apply(self.script("wide", "with", "keys"))
        self.both_ways(number)
        # what is not of the peer's network goes on in clear, and so do its LAN's packets
        text = self.site.guest.run("ip neigh flush dev eth0; ping -c 1 -W 10 192.0.2.1 && "
                                   "ping -c 1 -W 10 -I 10.2.6.2 10.2.6.2")
        self.assertEqual(text.count(" 0% packet loss"), 2)

    def test_fewer_cpus(self):
        """Four pairs for a peer with two CPUs: refused with the words to use, then those work."""
        number = 7
        self.addresses(number)
        said = self.apply(self.script("beyond", "with", "keys"), check=False)
        self.assertIn("cpus 2", said)
        self.assertEqual(self.site.guest.run("ip xfrm state"), "")
        self.apply(self.script("beyond", "cpus", "2", "with", "keys"))
        now = self.both_ways(number)
        tunnel = self.all[number - 1]
        for cpu, out, into in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
            self.assertIn(out.spi, now.states)  # every SA agreed on is received
            self.assertEqual(into.spi in now.states, cpu in (0, 1, "any"))
            self.assertEqual(now.states[out.spi].pcpu, str(cpu) if cpu in (0, 1) else "any")

    def test_perl(self):
        """The UDP socket where there is no Python."""
        number = 2
        self.addresses(number)
        self.site.guest.run("mkdir -p /tmp/bin && ln -sf /usr/bin/perl /tmp/bin/ && "
                            "for p in ip ethtool; do ln -sf $(command -v $p) /tmp/bin/; done")
        script = self.script("udp", "with", "keys")
        self.site.guest.do("file", path="/tmp/peer.sh", text=script)
        self.site.guest.run("PATH=/tmp/bin:/busybox /bin/sh /tmp/peer.sh")
        self.assertIn("perl", self.site.guest.run("ps | grep [e]sp-in-udp"))
        self.both_ways(number)

    def test_pasted(self):
        """Line by line into a shell, as a terminal gives it; the shell lives on."""
        number = 4
        self.addresses(number)
        script = self.script("plain6", "with", "keys")
        self.site.guest.do("file", path="/tmp/peer.sh", text=script + "\necho still here\n")
        self.assertIn("still here", self.site.guest.run("sh -i < /tmp/peer.sh 2>&1"))
        self.both_ways(number)


if __name__ == "__main__":
    unittest.main()
