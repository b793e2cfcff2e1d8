# SPDX-License-Identifier: BSD-3-Clause
"""Start, stop, kill -9 and start again; configurations and starts that are refused."""

import os
import re
import signal
import stat
import subprocess
import unittest

import esp
from gateway import config_file_text, eal_args
from gw import BINARY, FAR4, HOST4, PEER4, WAN4, GatewayTest, Tunnel, World, ping
from netns import wait_for


class Ends(GatewayTest):
    """All ways to end in order, in the middle of traffic."""

    def end(self, how):
        """Start, fill the queues, end at once."""
        tunnel = Tunnel("t4")
        world = World([tunnel])
        self.addCleanup(world.close)
        world.start()
        out = esp.udp_packet(HOST4, FAR4, 1, 2, bytes(600))
        back = [tunnel.to_gw[i % 3].seal(esp.udp_packet(FAR4, HOST4, 1, 2), sport=50000 + i)
                for i in range(300)]
        for packet in back:
            world.lan.send(out)
            world.wan.send(packet)
        status = world.gateway.stop(how)
        self.assert_good_end(world, status)
        self.assertRegex(world.gateway.log(), r"rx \d+, tx \d+, encrypted \d+, decrypted \d+")
        self.assertFalse(os.path.exists(world.gateway.socket_path))
        left = {line.split(":")[1].strip() for line in
                world.namespace.ip("-o", "link").stdout.splitlines()}
        self.assertEqual(left, {"lo"})
        return world

    def test_sigint(self):
        self.end(signal.SIGINT)

    def test_sigterm(self):
        self.end(signal.SIGTERM)

    def test_quit(self):
        self.end("quit")

    def test_held_at_end(self):
        """Packets that still wait for a neighbour are no leak."""
        world = World([Tunnel("t4")], neighbours=False)
        self.addCleanup(world.close)
        world.start()
        for _ in range(5):
            world.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2))
        wait_for("held", lambda: world.gateway.balance()["held_now"] > 0)
        self.assert_good_end(world, world.gateway.stop())


class Restart(GatewayTest):
    """Static keys over restarts: no (SPI, IV) leaves twice; the peer's replay check is content."""

    def new_world(self):
        """Two tunnels: with and without ESN."""
        self.tunnels = [Tunnel("esn"),
                        Tunnel("short", (("10.1.0.0/24", "10.3.0.0/24"),), esn=False)]
        world = World(self.tunnels)
        self.addCleanup(world.close)
        self.seen = set()
        return world

    def check(self, packets):
        """Every packet is new, by its IV as well as for an independent receiver."""
        by_spi = {spi: r for t in self.tunnels for spi, r in t.receivers.items()}
        for packet in sorted(packets, key=lambda p: (p.spi, p.seq)):
            pair = (packet.spi, packet.esp[8:16])
            self.assertNotIn(pair, self.seen)
            self.seen.add(pair)
            by_spi[packet.spi].receive(packet)
        return len(packets)

    def traffic(self, world, count, wait=True):
        """Clear packets for both tunnels, of many flows; then what has come out."""
        for i in range(count):
            far = FAR4 if i % 2 else "10.3.0.2"
            world.lan.send(esp.udp_packet(HOST4, far, 1024 + i % 97, 2, b"%d" % i))
        if not wait:
            return []
        return [world.wan.receive_esp() for _ in range(count)]

    def inbound(self, world):
        """The peer goes on with its own numbers: all arrive."""
        for sa, far in ((self.tunnels[0].to_gw[0], FAR4), (self.tunnels[1].to_gw[1], "10.3.0.2")):
            world.wan.send(sa.seal(esp.udp_packet(far, HOST4, 1, 2, b"in")))
            world.lan.receive(lambda p, f=far: p.src == f)

    def test_kill(self):
        """kill -9 in the middle of traffic, three times."""
        world = self.new_world()
        world.start()
        total = 0
        for _ in range(3):
            total += self.check(self.traffic(world, 200))
            self.inbound(world)
            self.traffic(world, 400, wait=False)
            world.gateway.kill()
            # what it sent until it was killed counts, too
            total += self.check([p for p in world.wan.drain() if p.is_esp])
            world.gateway.clean()
            world.start()
        total += self.check(self.traffic(world, 200))
        self.inbound(world)
        self.assertGreaterEqual(total, 800)
        self.assert_balance(world)
        self.assert_good_end(world, world.gateway.stop())

    def test_orderly(self):
        """A restart in order goes on where it was, and old packets stay old."""
        world = self.new_world()
        world.start()
        self.check(self.traffic(world, 50))
        sa = self.tunnels[0].to_gw[0]
        sa.seq = (1 << 32) - 3
        old = [sa.seal(esp.udp_packet(FAR4, HOST4, 1, 2, b"in")) for _ in range(6)]
        for packet in old:
            world.wan.send(packet)
            world.lan.receive(lambda p: p.src == FAR4)
        top = {s["spi"]: s["seq"] for s in world.gateway.show("sa")}
        self.assert_good_end(world, world.gateway.stop())
        world.start()
        self.w = world
        for row in world.gateway.show("sa"):
            if row["dir"] == "out":
                self.assertEqual(row["seq"], top[row["spi"]])
        with self.expect(drop_esp_replayed=6):
            for packet in old:
                world.wan.send(packet)
        self.inbound(world)
        self.check(self.traffic(world, 50))
        self.assert_good_end(world, world.gateway.stop())

    def test_peer_restart(self):
        """A peer that jumps ahead after a restart of its own, as we do."""
        world = self.new_world()
        world.start()
        self.inbound(world)
        for tunnel, jump in zip(self.tunnels, (1 << 24, 1 << 20)):
            for sa in tunnel.to_gw:
                sa.seq += jump
        self.inbound(world)
        self.assert_good_end(world, world.gateway.stop())

    def test_state_file(self):
        """Private, without keys; locked while in use; refused when damaged."""
        world = self.new_world()
        world.start()
        path = os.path.join(world.directory, "state")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o077, 0)
        with open(path, "rb") as f:
            self.assert_no_keys(world, f.read().hex())
            f.seek(0)
            self.assert_no_keys(world, f.read().decode(errors="replace"))
        second = World(self.tunnels)
        self.addCleanup(second.close)
        second.config["state_file"] = path
        self.assertIn("another gateway", refusal(self, second))
        world.gateway.stop()
        with open(path, "r+b") as f:
            f.write(b"\xff\xff\xff\xff")
        text = refusal(self, world)
        self.assertIn(path, text)
        self.assertIn("damaged", text)

    def test_no_state_file(self):
        """Only by an explicit allow_iv_reuse, and with a warning."""
        world = self.new_world()
        del world.config["state_file"]
        self.assertIn("state_file", refusal(self, world))
        world.config["allow_iv_reuse"] = True
        world.start()
        self.assertIn("allow_iv_reuse", world.gateway.log())
        self.assert_good_end(world, world.gateway.stop())


def refusal(test, world, eal=None):
    """Start a gateway that must not start; what it says. It leaves no interface behind."""
    world.gateway.write_config(config_file_text(world.config))
    size = len(world.gateway.log()) if os.path.exists(world.gateway.log_path) else 0
    world.gateway.start(world.workers, eal=eal or world.eal, wait=False)
    status = world.gateway.process.wait(30)
    text = world.gateway.log()[size:]
    world.gateway.clean()
    test.assertEqual(status, 1, text)
    test.assert_no_keys(world, text)
    links = world.namespace.ip("-o", "link").stdout
    test.assertNotRegex(links, r"\b(klan|kwan)\b")
    return text


class StartFails(GatewayTest):
    """What a failed start says to do."""

    def new_world(self, **config):
        """One that has not started."""
        world = World([Tunnel("t4")], **config)
        self.addCleanup(world.close)
        return world

    def test_no_hugepages(self):
        """On a machine that has none; made look like it where it has."""
        world = self.new_world()
        fake = os.path.join(world.directory, "meminfo")
        with open(fake, "w", encoding="ascii") as f:
            f.write("HugePages_Free:        0\nHugepagesize:       2048 kB\n")
        script = os.path.join(world.directory, "gw.sh")
        with open(script, "w", encoding="ascii") as f:
            # "ip netns exec" has given it a mount namespace of its own
            f.write(f'#!/bin/sh -e\nmount --bind {fake} /proc/meminfo\n'
                    'mount -t tmpfs tmpfs /sys/kernel/mm/hugepages\n'
                    f'exec {BINARY} "$@"\n')
        os.chmod(script, 0o700)
        world.gateway.binary = script
        text = refusal(self, world, eal_args(2, world.gateway.file_prefix, hugepages=True))
        self.assertIn("--no-huge -m 512", text)
        self.assertIn("nr_hugepages", text)

    def test_too_little_memory(self):
        world = self.new_world()
        self.assertRegex(refusal(self, world, eal_args(2, world.gateway.file_prefix, 24)),
                         r"(no|not enough|give EAL more).*memory|--no-huge -m")

    def test_no_worker_lcores(self):
        world = self.new_world()
        text = refusal(self, world, eal_args(0, world.gateway.file_prefix))
        self.assertIn("--lcores", text)
        world.config["workers"] = 7
        self.assertIn("workers = 7", refusal(self, world))

    def test_unknown_device(self):
        world = self.new_world()
        world.config["ports"][1]["device"] = "net_nosuch0"
        text = refusal(self, world)
        self.assertIn('port "wan"', text)
        self.assertIn("net_nosuch0", text)

    def test_interface_is_there(self):
        """The kernel has an interface of the port's name: not ours to take."""
        world = self.new_world()
        world.namespace.ip("link", "add", "wan", "type", "bridge")
        self.assertIn("there is an interface wan already", refusal(self, world))

    def test_socket_in_use(self):
        """A living console is not taken over; a stale one is."""
        first = self.new_world()
        first.start()
        second = self.new_world()
        second.config["console"] = first.gateway.socket_path
        self.assertIn(first.gateway.socket_path, refusal(self, second))
        self.assertEqual(first.gateway.attach("show version").returncode, 0)
        first.gateway.kill()
        self.assertTrue(os.path.exists(first.gateway.socket_path))
        first.gateway.clean()
        first.start()
        self.assert_good_end(first, first.gateway.stop())

    def test_no_core_no_ptrace(self):
        """Keys are in its memory."""
        world = self.new_world()
        world.start()
        with open(f"/proc/{world.gateway.process.pid}/limits", encoding="ascii") as f:
            self.assertRegex(f.read(), r"Max core file size\s+0\s+0\s")
        self.assert_no_keys(world, world.namespace.run(
            "cat", f"/proc/{world.gateway.process.pid}/cmdline").stdout)
        self.assert_good_end(world, world.gateway.stop())


class Faults(GatewayTest):
    """Parts of the world that go away: a log line, and the rest goes on."""

    def new_world(self):
        """A running one, whose tunnel works."""
        world = World([Tunnel("t4")])
        self.addCleanup(world.close)
        world.start()
        self.out(world)
        return world

    def out(self, world):
        """One packet into the tunnel."""
        world.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x"))
        world.tunnels[0].receive(world.wan.receive_esp())

    def test_kernel_tap_gone(self):
        """Somebody deletes the gateway's own TAP, its routes with it: the other port goes on."""
        world = self.new_world()
        world.namespace.ip("link", "del", "lan")
        wait_for("a log line", lambda: "TAP is gone" in world.gateway.log())
        world.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x"))
        wait_for("a named drop", lambda: world.gateway.counters()["drop.spoofed"] == 1)
        world.wan.send(ping(PEER4, WAN4))
        world.wan.receive(lambda p: p.proto == 1)
        self.assert_balance(world)
        self.assert_good_end(world, world.gateway.stop())

    def test_device_gone(self):
        """The device of a port is deleted under it: the other port goes on."""
        world = self.new_world()
        world.namespace.ip("link", "del", "klan")
        for _ in range(20):
            world.wan.send(world.tunnels[0].to_gw[0].seal(esp.udp_packet(FAR4, HOST4, 1, 2)))
        world.wan.send(ping(PEER4, WAN4))
        world.wan.receive(lambda p: p.proto == 1)
        wait_for("decrypted", lambda: world.gateway.counters()["decap"] >= 20)
        self.assertEqual(len(world.gateway.show("ports")), 2)
        self.assert_balance(world)
        self.assert_good_end(world, world.gateway.stop())


GOOD = """workers = 2;
state_file = "{dir}/state";
ports = ( {{ name = "lan"; device = "net_tap0,iface=klan"; addresses = [ "10.1.0.1/24" ]; }},
          {{ name = "wan"; device = "net_tap1,iface=kwan"; addresses = [ "192.0.2.1/24" ]; }} );
routes = ( {{ to = "0.0.0.0/0"; via = "192.0.2.254"; }} );
tunnels = ( {{
	name = "paris"; local = "192.0.2.1"; remote = "192.0.2.2";
	selectors = ( {{ local = "10.1.0.0/24"; remote = "10.2.0.0/24"; }} );
	sas = ( {{ pcpu = 0;
		out = {{ spi = 0x1001; sport = 50000; dport = 4500; key = "{key_a}"; }};
		in = {{ spi = 0x1002; sport = 50000; dport = 4500; key = "{key_b}"; }}; }} );
}} );
policies = ( {{ action = "drop"; local = "10.1.0.0/24"; remote = "10.66.0.0/24"; }} );
"""

# (what is replaced, by what, line, words of the sentence)
MISTAKES = (
    ('workers = 2;', 'workers = 1000;', 1, ("workers", "64")),
    ('workers = 2;', 'workers = "two";', 1, ("workers", "number")),
    ('workers = 2;', 'worker = 2;', 1, ("unknown key", "workers")),
    ('workers = 2;', 'workers = ;', 1, ("syntax error",)),
    ('name = "lan"', 'name = "name-of-20-letters-x"', 3, ("name", "15")),
    ('name = "wan"', 'name = "lan"', 4, ("lan", "name")),
    ('"10.1.0.1/24"', '"10.1.0.1"', 3, ("10.1.0.1", "length")),
    ('"10.1.0.1/24"', '"10.1.0.1/33"', 3, ("10.1.0.1/33",)),
    ('"192.0.2.1/24" ]', '"192.0.2.1/24" ]; mtu = 100', 4, ("mtu", "576")),
    ('via = "192.0.2.254"', 'via = "203.0.113.1"', 5, ("via",)),
    ('local = "192.0.2.1"', 'local = "192.0.2.7"', 6, ("paris", "local")),
    ('remote = "192.0.2.2"', 'remote = "2001:db8::2"', 6, ("paris", "family")),
    ('remote = "10.2.0.0/24"; } );', 'remote = "fd02::/64"; } );', 8, ("family",)),
    ('spi = 0x1001', 'spi = 255', 10, ("spi", "256")),
    ('spi = 0x1001; ', '', 10, ("spi", "missing")),
    ('sport = 50000; dport = 4500; key = "{key_a}"', 'sport = 50000; key = "{key_a}"', 10,
     ("dport",)),
    ('key = "{key_a}"', 'key = "{short}"', 10, ("19", "20", "aes128gcm16")),
    ('key = "{key_a}"', 'key = "xyz{key_a}"', 10, ("hex",)),
    ('key = "{key_a}"; };', '};', 10, ("key", "missing")),
    ('key = "{key_b}"', 'key = "{key_a}"', 11, ("key", "0x00001001")),
    ('name = "paris";', 'name = "paris"; algo = "rot13";', 7, ("rot13", "aes128gcm16")),
    ('name = "paris";', 'name = "paris"; replay_window = 100;', 7, ("64",)),
    ('action = "drop"', 'action = "shrug"', 13, ("shrug", "bypass")),
    ('action = "drop";', 'action = "tunnel"; tunnel = "rome";', 13, ("rome",)),
    ('state_file = "{dir}/state";', '', 10, ("state_file",)),
)


class Check(GatewayTest):
    """--check: file and line, a sentence, exit 1, and nothing is touched."""

    def setUp(self):
        super().setUp()
        self.world = World()
        self.addCleanup(self.world.close)
        key = {"key_a": os.urandom(20).hex(), "key_b": os.urandom(20).hex()}
        self.values = {**key, "short": os.urandom(19).hex(), "dir": self.world.directory}
        self.path = self.world.gateway.config_path

    def check(self, text, mode=0o600):
        """Exit status and output for a configuration."""
        self.world.gateway.write_config(text)
        os.chmod(self.path, mode)
        done = subprocess.run([BINARY, "--check", "-c", self.path], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=30, check=False)
        for name in ("key_a", "key_b", "short"):
            self.assertNotIn(self.values[name][:12], done.stdout)
        self.assertFalse(os.path.exists(os.path.join(self.world.directory, "state")))
        return done

    def test_good(self):
        done = self.check(GOOD.format(**self.values))
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_mistakes(self):
        for old, new, line, words in MISTAKES:
            with self.subTest(new=new):
                plain = GOOD.replace("{{", "{").replace("}}", "}")
                self.assertIn(old, plain)
                text = plain.replace(old, new, 1)
                for name, value in self.values.items():
                    text = text.replace("{" + name + "}", value)
                done = self.check(text)
                self.assertEqual(done.returncode, 1, done.stdout)
                where = re.search(re.escape(self.path) + r":(\d+): (.+)", done.stdout)
                self.assertIsNotNone(where, done.stdout)
                self.assertLessEqual(abs(int(where.group(1)) - line), 1, done.stdout)
                for word in words:
                    self.assertIn(word, done.stdout)

    def test_key_mode(self):
        """A file with keys that others can read."""
        done = self.check(GOOD.format(**self.values), 0o644)
        self.assertEqual(done.returncode, 1)
        self.assertIn("chmod", done.stdout)

    def test_key_file(self):
        """Keys in files of their own; refused if others can read them."""
        key = os.path.join(self.world.directory, "a.key")
        with open(key, "w", encoding="ascii") as f:
            f.write(self.values["key_a"])
        text = GOOD.format(**self.values).replace(f'key = "{self.values["key_a"]}"',
                                                  'key_file = "a.key"')
        os.chmod(key, 0o600)
        self.assertEqual(self.check(text).returncode, 0)
        os.chmod(key, 0o644)
        done = self.check(text)
        self.assertEqual(done.returncode, 1)
        self.assertIn("a.key", done.stdout)

    def test_no_file(self):
        done = subprocess.run([BINARY, "--check", "-c", "/nonexistent.conf"], timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent.conf", done.stdout)

    def test_make_tunnel(self):
        """Its two files are good as they are, private, and fit each other."""
        out = self.world.directory
        subprocess.run([BINARY, "--make-tunnel", "--name", "x", "--local", "192.0.2.1",
                        "--remote", "192.0.2.2", "--local-net", "10.1.0.0/24", "--remote-net",
                        "10.2.0.0/24", "--pairs", "3", "--out-dir", out], timeout=30, check=True,
                       stdout=subprocess.DEVNULL)
        keys = []
        for end, address in (("a", "192.0.2.1"), ("b", "192.0.2.2")):
            path = os.path.join(out, f"x-{end}.conf")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            done = self.check(f'state_file = "{out}/state";\nports = ( {{ name = "wan"; '
                              f'device = "net_tap0"; addresses = [ "{address}/24" ]; }} );\n'
                              f'@include "{path}"\n')
            self.assertEqual(done.returncode, 0, done.stdout)
            with open(path, encoding="ascii") as f:
                keys.append(sorted(re.findall(r'key = "([0-9a-f]+)"', f.read())))
        self.assertEqual(keys[0], keys[1])
        self.assertEqual(len(set(keys[0])), 8)


class CommandLine(GatewayTest):
    """Arguments that are not understood, and the documents it prints."""

    def call(self, *args):
        """Run it with these arguments."""
        return subprocess.run([BINARY, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30, check=False)

    def test_refused(self):
        for args in (["--nonsense"], ["--check"], ["-c"], ["--make-tunnel"], [],
                     ["--attach", "--check"], ["--make-tunnel", "--local", "nonsense"]):
            done = self.call(*args)
            self.assertEqual(done.returncode, 1, f"{args}: {done.stdout}")
            self.assertTrue(done.stdout.startswith("dpdk-pcpu-gw: "), done.stdout)

    def test_documents(self):
        for option, word in (("--help", "--make-tunnel"), ("--version", "dpdk-pcpu-gw"),
                             ("--config-doc", "state_file"), ("--console-doc", "show workers"),
                             ("--counters-doc", "no_policy"),
                             ("--metrics-doc", "pcpu_gw_worker_rx_total"),
                             ("--print-ena-devargs", "miss_txc_to=5")):
            done = self.call(option)
            self.assertEqual(done.returncode, 0)
            self.assertIn(word, done.stdout)

    def test_attach_to_nothing(self):
        done = self.call("--attach", "--socket", "/nonexistent.sock", "-e", "show version")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent.sock", done.stdout)


if __name__ == "__main__":
    unittest.main()
