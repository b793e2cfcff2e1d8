# SPDX-License-Identifier: BSD-3-Clause
"""A Linux peer that is brought up by nothing but what the gateway prints for it."""

import os
import re
import subprocess
import tempfile
import unittest

import lab
from gw import BINARY, HOST4, WAN4, Tunnel
from lab import far, nets

PACKETS = 16
# Those that the script has started; not the shell that has these words in its own arguments.
END_SOCKETS = r"for p in $(ps | sed -n 's/^ *\([0-9]*\) .* esp-in-[u]dp *$/\1/p'); do kill $p; done"


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
            Tunnel("lossy", nets(8), encap=False),
        ]

    def setUp(self):
        super().setUp()
        self.site.guest.run(END_SOCKETS)
        self.site.guest.run("rm -f /tmp/peer*.sh; rm -rf /var/lib/dpdk-pcpu-gw; "
                            "ip route flush proto 250; ip -6 route flush proto 250")

    def script(self, name, *words):
        """What the console prints."""
        return self.site.gateway.console(" ".join(["show", "peer-commands", name, *words]))

    def addresses(self, number):
        """The guest's own, behind the tunnel: a LAN of which it is a part."""
        self.site.guest.do("ip", commands=[
            f"addr add {a}/{64 if ':' in a else 24} dev d0 {'nodad' if ':' in a else ''}"
            for a in far(number)])

    def apply(self, script, check=True, name="peer"):
        """Run a script in the guest: as a file, by its sh."""
        self.site.guest.do("file", path=f"/tmp/{name}.sh", text=script)
        return self.site.guest.run(f"sh /tmp/{name}.sh", check=check)

    def down(self, name="peer"):
        """The same down again."""
        return self.site.guest.run(f"sh /tmp/{name}.sh down")

    def tunnel_policies(self):
        """How many there are in the guest that lead into a tunnel."""
        return self.site.guest.run("ip xfrm policy").count("tmpl")

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
                self.assertNotIn(" proto 250 ", self.down())
                self.assertEqual(self.site.guest.run("ip xfrm state; ip xfrm policy"), "")
                self.assertEqual(self.site.guest.run("ip route show proto 250; "
                                                     "ip -6 route show proto 250"), "")

    def offline(self, path, *more, check=True):
        """--peer-commands, without a gateway or a device."""
        return subprocess.run([BINARY, "--peer-commands", "-c", path, "--name", "udp", *more],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30, check=check)

    def test_offline(self):
        """The state file says how far keys are; which only one can have: the gateway."""
        number = 2
        done = self.offline(self.site.gateway.config_path, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("--attach -e 'show peer-commands udp'", done.stderr)
        with open(self.site.gateway.config_path, encoding="ascii") as f:
            text = f.read()
        state = os.path.join(self.site.directory, "state-offline")
        path = os.path.join(self.site.directory, "offline.conf")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write(re.sub(r'state_file = "[^"]*"', f'state_file = "{state}"', text))
        first = self.offline(path, "--with-keys").stdout
        self.assertEqual(self.guest_keys(first, number), 6)
        self.assertNotIn("replay-oseq", first)
        second = self.offline(path).stdout
        self.assertEqual(self.guest_keys(second, number), 0)
        self.assertEqual(second.count("replay-oseq "), 3)
        self.assertNotEqual(self.offline(path).stdout, second)

    def test_keys_in_a_file(self):
        """Not in one that others can read."""
        with tempfile.TemporaryFile("w+") as f:
            os.fchmod(f.fileno(), 0o644)
            done = subprocess.run([BINARY, "--peer-commands", "-c", self.site.gateway.config_path,
                                   "--name", "udp", "--with-keys"], stdin=subprocess.DEVNULL,
                                  stdout=f, stderr=subprocess.PIPE, text=True, timeout=30,
                                  check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("umask 077", done.stderr)
            self.assertEqual(os.fstat(f.fileno()).st_size, 0)

    def test_two(self):
        """One tunnel down, the other stays: its SAs, its policies, the route that both want."""
        self.addresses(1)
        self.addresses(2)
        self.apply(self.script("plain", "with", "keys"), name="peer1")
        self.apply(self.script("udp", "with", "keys"), name="peer2")
        policies = self.tunnel_policies()
        self.both_ways(1)
        self.both_ways(2)
        self.down("peer1")
        self.assertEqual(self.tunnel_policies(), policies // 2)
        self.both_ways(2)
        self.down("peer2")
        self.assertEqual(self.site.guest.run("ip xfrm state; ip xfrm policy"), "")

    def test_of_others(self):
        """Policies and SAs of others: refused where they are in the way, and never removed."""
        self.addresses(1)
        sa = self.all[0].from_gw[0]
        other = ("xfrm state add src 192.0.2.9 dst 192.0.2.2 proto esp spi 0x4321 reqid 1 mode "
                 f"tunnel dir in aead 'rfc4106(gcm(aes))' 0x{'11' * 20} 128")
        policy = ("xfrm policy add dir out src 10.2.1.0/24 dst 10.1.0.0/24 priority 40001 tmpl src "
                  "192.0.2.2 dst 192.0.2.9 proto esp reqid 1 mode tunnel")
        script = self.script("plain", "with", "keys")
        self.site.guest.do("ip", commands=[other, policy])
        said = self.apply(script, check=False)
        self.assertIn("policy already: dir out src 10.2.1.0/24 dst 10.1.0.0/24", said)
        self.down()
        self.assertEqual(self.site.guest.run("ip xfrm state").count("proto esp spi"), 1)
        self.assertEqual(self.tunnel_policies(), 1)
        self.site.guest.run("ip xfrm policy flush")
        self.site.guest.do("ip", commands=[
            f"xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi {sa.spi:#x} reqid 1 mode "
            f"tunnel dir in aead 'rfc4106(gcm(aes))' 0x{'11' * 20} 128"])
        said = self.apply(script, check=False)
        self.assertIn(f"SA already: src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x{sa.spi:08x}", said)
        said = self.site.guest.run("sh /tmp/peer.sh down 2>&1")  # as it says, and it is not ours
        self.assertIn("leaves in clear", said)
        self.assertEqual(self.site.guest.run("ip xfrm state").count("proto esp spi"), 2)
        self.assertEqual(self.tunnel_policies(), 0)
        self.site.guest.run("ip xfrm state flush")
        # nothing was used so far; a batch that fails is undone, and others' are still there
        self.site.guest.do("ip", commands=[other])
        broken = re.sub(r"(xfrm policy add dir out .*) priority \d+", r"\1 priority none", script)
        said = self.apply(broken, check=False)
        self.assertIn("policies cannot be installed", said)
        self.assertEqual(self.site.guest.run("ip xfrm state").count("proto esp spi"), 1)
        self.assertEqual(self.tunnel_policies(), 0)

    def test_lost(self):
        """What was lost has used its numbers: new commands go on behind them."""
        number = 8
        tunnel = self.all[number - 1]
        self.addresses(number)
        first = self.script("lossy", "with", "keys")
        self.apply(first)
        # all goes to somebody else
        self.site.guest.run(f"ip neigh replace {WAN4} lladdr 02:00:00:00:00:99 dev eth0")
        for cpu in (0, 1):
            self.site.guest.do("send", src=far(number)[0], dst=HOST4, port=7000, numbers=[0, 9],
                               cpu=cpu)
        used = self.counts()
        received = self.site.numbers()
        self.site.guest.run(f"ip neigh del {WAN4} dev eth0")
        for sa in tunnel.to_gw[:2]:
            self.assertEqual(used.states[sa.spi].oseq, 9)
            self.assertEqual(received[sa.spi], 0)
        self.down()
        self.assertIn("used already", self.apply(first, check=False))
        self.assertEqual(self.site.guest.run("ip xfrm state; ip xfrm policy"), "")
        second = self.script("lossy")
        third = self.script("lossy", "with", "keys")
        for sa in tunnel.to_gw:
            starts = [self.start_of(text, sa) for text in (first, second, third)]
            self.assertEqual(starts[0], 0)
            self.assertGreaterEqual(starts[1], 1 << 24)
            self.assertGreaterEqual(starts[2], starts[1] + (1 << 24))
        self.apply(third)
        now = self.both_ways(number)
        for sa in tunnel.to_gw[:2]:
            self.assertGreater(now.states[sa.spi].oseq, 1 << 24)

    def start_of(self, script, sa):
        """Where a script lets the guest's SA begin."""
        line = next(line for line in script.splitlines()
                    if f"spi 0x{sa.spi:08x}" in line and "dir out" in line)
        low, high = (re.search(rf"{word} (\d+)", line)
                     for word in ("replay-oseq", "replay-oseq-hi"))
        return int(low[1] if low else 0) + (int(high[1] if high else 0) << 32)

    def test_routes(self):
        """What the user has of routes is used, and stays."""
        number = 1
        self.addresses(number)
        mine = ["10.1.0.0/24 via 192.0.2.1 dev eth0 metric 77"]
        self.site.guest.run(f"ip route add {mine[0]}; ip -6 route del fd01::/64 || true; "
                            "ip -6 route add blackhole fd01::/64 metric 78")
        before = self.site.guest.run("ip route; ip -6 route")
        said = self.apply(self.script("plain", "with", "keys"))
        self.assertIn('fd01::/64 is "blackhole"', said)
        self.assertEqual(self.site.guest.run("ip route; ip -6 route"), before)
        self.site.guest.run("ip -6 route del blackhole fd01::/64")
        self.down()
        self.apply(self.script("plain", "with", "keys"))
        self.both_ways(number)
        self.assertIn(" proto 250 ", self.site.guest.run("ip -6 route show fd01::/64"))
        self.down()
        self.assertEqual(self.site.guest.run("ip -6 route show fd01::/64"), "")
        self.assertIn("metric 77", self.site.guest.run("ip route show exact 10.1.0.0/24"))
        self.site.guest.run(f"ip route del {mine[0]}")

    def test_words(self):
        """Up, down, or neither."""
        self.site.guest.do("file", path="/tmp/peer.sh", text=self.script("plain"))
        self.assertIn("usage", self.site.guest.run("sh /tmp/peer.sh start; [ $? = 2 ]"))
        self.assertIn("busybox", self.site.guest.run(
            "PATH=/busybox:$PATH sh /tmp/peer.sh up; [ $? = 1 ]"))
        self.assertEqual(self.site.guest.run("ip xfrm state; ip xfrm policy"), "")

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
        self.site.guest.run(END_SOCKETS)
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


class Order(lab.InteropTest):
    """Tunnels whose selectors overlap: both ends take the same one for a packet."""

    @classmethod
    def tunnels(cls):
        return [
            Tunnel("broad", (("10.1.0.0/24", "10.2.0.0/16"),)),
            Tunnel("narrow", (("10.1.0.0/24", "10.2.2.0/24"),), encap=False),
            # all there is, and the link that the tunnel itself goes over
            Tunnel("all6", (("::/0", "::/0"),), ip6=True),
        ]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.site.end()
        cls.site.start(cls.all, cls.workers, policies=[
            {"local": "10.1.0.0/24", "remote": "10.2.2.0/24", "action": "tunnel",
             "tunnel": "narrow"}])

    def up(self, name):
        """A tunnel, by what is printed."""
        self.site.guest.do("file", path=f"/tmp/{name}.sh", text=self.site.gateway.console(
            f"show peer-commands {name} with keys"))
        return self.site.guest.run(f"sh /tmp/{name}.sh")

    def by_tunnel(self, before):
        """How many packets came, by tunnel."""
        now = self.settled(before)
        return [sum(now.guest_packets(sa, before)[0] for sa in t.to_gw) for t in self.all]

    def test_policy(self):
        """A policy into a tunnel goes before a selector that is before its own."""
        self.site.guest.run("rm -rf /var/lib/dpdk-pcpu-gw")
        self.site.guest.do("ip", commands=["addr add 10.2.2.2/32 dev d0",
                                           "addr add 10.2.5.2/32 dev d0"])
        self.up("broad")
        self.up("narrow")
        for number, want in ((2, [0, PACKETS, 0]), (5, [PACKETS, 0, 0])):
            before = self.counts()
            self.to_guest(PACKETS, number)
            self.to_host(PACKETS, number)
            self.assertEqual(self.by_tunnel(before), want)

    def test_all(self):
        """::/0 at both ends: neighbours are still found."""
        self.site.guest.run("rm -rf /var/lib/dpdk-pcpu-gw")
        self.site.guest.do("ip", commands=["addr add fd02:2::2/128 dev d0 nodad"])
        self.assertIn("everything but the tunnel's own packets", self.up("all6"))
        self.site.guest.run("ip neigh flush dev eth0")
        before = self.counts()
        self.to_guest(PACKETS, 2, ip6=True)
        self.to_host(PACKETS, 2, ip6=True)
        got = self.by_tunnel(before)  # and what else the guest has to say
        self.assertEqual(got[:2], [0, 0])
        self.assertGreaterEqual(got[2], PACKETS)
        self.site.guest.run("sh /tmp/all6.sh down")


if __name__ == "__main__":
    unittest.main()
