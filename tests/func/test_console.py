# SPDX-License-Identifier: BSD-3-Clause
"""The console over its socket: every command, bad lines, and changes under traffic."""

import json
import os
import re
import socket
import stat
import subprocess
import tempfile
import unittest

import esp
from gw import (FAR4, FAR6, HOST4, HOST6, PEER4, GatewayTest, Tunnel, World)

SHOWS = ("show config", "show ports", "show workers", "show tunnels", "show tunnel t4", "show sa",
         "show sa 0x{spi:x}", "show drops", "show drops all", "show stats", "show cycles",
         "show neighbours", "show routes", "show version", f"explain {HOST4} {FAR4} udp 1 2",
         f"explain {HOST6} {FAR6} icmp6", f"explain {HOST4} 10.99.0.1 tcp 1 2")


class Console(GatewayTest):
    """One gateway, asked everything."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        cls.other = Tunnel("other", (("10.1.0.0/24", "10.3.0.0/24"),), encap=False)
        return World([cls.t, cls.other], policies=[
            {"action": "drop", "local": "10.1.0.0/24", "remote": "10.66.0.0/24"},
            {"action": "bypass", "local": "10.1.0.0/24", "remote": "192.0.2.0/24"}])

    def refused(self, line, *words):
        """A line that is not carried out, and what the answer says."""
        done = self.w.gateway.attach(line)
        self.assertEqual(done.returncode, 1, f"{line}: {done.stdout}")
        for word in words:
            self.assertIn(word, done.stdout, line)

    def passes(self, sas=None):
        """Traffic passes both ways."""
        self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x"))
        packet = self.w.wan.receive_esp()
        self.t.receive(packet)
        for sa in sas or self.t.to_gw:
            self.w.wan.send(sa.seal(esp.udp_packet(FAR4, HOST4, 2, 1, b"y")))
            self.w.lan.receive(lambda p: p.src == FAR4)
        return packet

    def test_socket_is_private(self):
        mode = os.stat(self.w.gateway.socket_path).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_shows(self):
        """As text and as JSON; never a key."""
        for line in SHOWS:
            line = line.format(spi=self.t.to_gw[0].spi)
            text = self.w.gateway.console(line)
            self.assertTrue(text.strip(), line)
            self.assert_no_keys(self.w, text)
            text = self.w.gateway.console(line + " json")
            json.loads(text)
            self.assert_no_keys(self.w, text)

    def test_peer_commands(self):
        """A script for a Linux peer; keys only where they are asked for, and are in use."""
        self.passes()
        text = self.w.gateway.console("show peer-commands t4")
        self.assert_no_keys(self.w, text)
        self.assertEqual(text.count("echo \"xfrm state add"), text.count("-} 128"))
        # the gateway has received, and sent
        self.assertRegex(text, r"dir out .*replay-oseq [1-9]")
        self.assertRegex(text, r"dir in .*replay-seq [1-9]")
        text = self.w.gateway.console("show peer-commands t4 with keys")
        self.assertNotIn("-} 128", text)
        for sa in self.t.to_gw:
            self.assertIn(f"spi 0x{sa.spi:08x}", text)
        for script in (text, self.w.gateway.console("show peer-commands other cpus 1")):
            done = subprocess.run(["sh", "-n"], input=script, text=True, check=False,
                                  stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.refused("show peer-commands nosuch", "nosuch")

    def test_several_commands(self):
        done = self.w.gateway.attach("show version", "show ports")
        self.assertEqual(done.returncode, 0)
        self.assertIn("DPDK", done.stdout)
        self.assertIn("net_tap0", done.stdout)

    def test_help(self):
        """Every command is listed, and every listed one is known."""
        text = self.w.gateway.console("help")
        for word in ("show workers", "show tunnel NAME", "sa add", "sa del", "tunnel up|down",
                     "explain", "clear stats", "set promisc", "start", "stop", "quit"):
            self.assertIn(word, text)
        self.assertIn("sa add", self.w.gateway.console("help sa"))
        self.refused("help nonsense")

    def test_abbreviations_and_comments(self):
        self.assertEqual(self.w.gateway.attach("sh work").returncode, 0)
        self.assertEqual(self.w.gateway.attach("", "# a comment", "  ").returncode, 0)

    def test_bad_lines(self):
        """What was expected, and at which word."""
        for line, words in (
                ("shwo workers", ("word 1",)), ("show", ("word 2", "workers")),
                ("show nonsense", ("word 2", "workers")), ("show workers now", ("word 3",)),
                ("show tunnel", ("word 3", "NAME")), ("show tunnel nosuch", ("nosuch",)),
                ("show sa 0x99999999", ("0x99999999",)), ("show sa twelve", ("word 3",)),
                ("set promisc nosuch on", ("nosuch",)), ("set promisc lan maybe", ("word 4",)),
                ("tunnel up nosuch", ("nosuch",)), ("tunnel sideways t4", ("word 2",)),
                ("explain 10.1.0.1", ("word 3",)), ("explain 10.1.0.1 fd01::1 udp", ("family",)),
                ("explain 10.1.0.1 10.2.0.1 icmp 1 2", ("ports",)),
                ("explain 10.1.0.1 10.2.0.1 udp 1", ("word 6",)),
                ("explain 10.1.0 10.2.0.1 udp", ("word 2",)),
                ("explain 10.1.0.1 10.2.0.1 udp 1 70000", ("word 6",)),
                ("sa del t4 in 0x999", ()), ("sa del t4 up 0x999", ("word 4",)),
                ("sa add t4 in 255 0 /nonexistent", ()),
                ("sa add nosuch in 0x5000 0 /nonexistent", ("nosuch",)),
                ("clear", ("word 2",)), ("quit now", ("word 2",)), ("x" * 600, ()),
                ("show \x1b[2J", ("word 2",)), ("\x00\x01".replace("\x00", "?"), ("word 1",))):
            self.refused(line, *words)
        self.passes()

    def key_file(self, sa, mode=0o600):
        """A file with the key of an SA."""
        fd, path = tempfile.mkstemp(suffix=".key", dir=self.w.directory)
        os.close(fd)
        with open(path, "w", encoding="ascii") as f:
            f.write(sa.key.hex() + "\n")
        os.chmod(path, mode)
        self.addCleanup(os.unlink, path)
        return path

    def test_sa_add_and_del(self):
        """A rekey by hand under traffic: inbound first, then outbound, then the old ones go."""
        old_out = self.passes().spi
        new_in, new_out = self.t.fresh_sa(True), self.t.fresh_sa(False)
        pcpu = self.t.pcpus[[sa.spi for sa in self.t.from_gw].index(old_out)]
        old_in = self.t.to_gw[self.t.pcpus.index(pcpu)]
        gw = self.w.gateway
        gw.console(f"sa add t4 in {new_in.spi} {pcpu} {self.key_file(new_in)} "
                   f"{new_in.sport} {new_in.dport}")
        self.passes([*self.t.to_gw, new_in])
        gw.console(f"sa add t4 out {new_out.spi} {pcpu} {self.key_file(new_out)} "
                   f"{new_out.sport} {new_out.dport}")
        packet = self.passes([*self.t.to_gw, new_in])
        self.assertEqual((packet.spi, packet.sport), (new_out.spi, new_out.sport))
        gw.console(f"sa del t4 in {old_in.spi}")
        gw.console(f"sa del t4 out {old_out:#x}")
        with self.expect(drop_no_sa=1):
            self.w.wan.send(old_in.seal(esp.udp_packet(FAR4, HOST4, 2, 1)))
        self.t.to_gw[self.t.to_gw.index(old_in)] = new_in
        self.t.from_gw[self.t.pcpus.index(pcpu)] = new_out
        self.passes()
        spis = {s["spi"] for s in gw.show("sa")}
        self.assertEqual(spis & {old_in.spi, old_out}, set())
        self.assertLessEqual({new_in.spi, new_out.spi}, spis)

    def test_sa_add_refused(self):
        """Readable key files, keys and SPIs used twice, wrong lengths: and nothing changes."""
        gw, sa, old = self.w.gateway, self.t.fresh_sa(True), self.t.to_gw[0]
        before = gw.show("sa")
        self.refused(f"sa add t4 in {sa.spi} 0 {self.key_file(sa, 0o644)}", "chmod")
        self.refused(f"sa add t4 in {old.spi} 0 {self.key_file(sa)}", "SPI")
        self.refused(f"sa add t4 in {sa.spi} 0 {self.key_file(old)}", "key")
        other = self.other.to_gw[0]
        self.refused(f"sa add t4 in {sa.spi} 0 {self.key_file(other)}", "key")
        short = esp.Sa(sa.spi, "::", "::", key=bytes(7))
        self.refused(f"sa add t4 in {sa.spi} 0 {self.key_file(short)}", "7")
        self.refused(f"sa add t4 in {sa.spi} 0 /nonexistent", "/nonexistent")
        self.assertEqual([s["spi"] for s in gw.show("sa")], [s["spi"] for s in before])

    def test_tunnel_down_up(self):
        """Down: nothing in, nothing out, nothing in clear. Up: as before."""
        self.w.gateway.console("tunnel down t4")
        with self.expect(drop_tunnel_down=2, also=("drop.esp.selector",)):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x"))
            self.w.wan.send(self.t.to_gw[0].seal(esp.udp_packet(FAR4, HOST4, 2, 1)))
        self.assertEqual(self.w.wan.drain(), [])
        self.assertEqual(self.w.gateway.show("tunnel t4")["tunnel"]["state"], "down")
        self.w.gateway.console("tunnel up t4")
        self.passes()

    def test_stop_start(self):
        self.w.gateway.console("stop")
        self.assertFalse(self.w.gateway.show("version")["forwarding"])
        with self.expect(rx=0):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"waited"))
        self.assertEqual(self.w.wan.drain(), [])
        self.w.gateway.console("start")
        self.assertIn(b"waited", self.t.receive(self.w.wan.receive_esp()))
        self.passes()

    def test_promisc(self):
        for word, want in (("on", True), ("off", False)):
            self.w.gateway.console(f"set promisc wan {word}")
            port = [p for p in self.w.gateway.show("ports") if p["name"] == "wan"][0]
            self.assertEqual(port["promisc"], want)
        self.passes()

    def test_clear_stats(self):
        self.passes()
        self.assertGreater(self.w.gateway.counters()["rx"], 0)
        self.assert_balance(self.w)  # what is under way would be counted on one side only
        self.w.gateway.console("clear stats")
        self.assertEqual(self.w.gateway.counters()["encap"], 0)
        self.assertEqual(sum(s["packets"] for s in self.w.gateway.show("sa")), 0)
        self.passes()
        self.assertEqual(self.w.gateway.counters()["encap"], 1)

    def explain(self, *words):
        """The answer as Python values."""
        return json.loads(self.w.gateway.console("explain " + " ".join(map(str, words)) + " json"))

    def test_explain_agrees(self):
        """What it says is what happens, for each kind of end."""
        said = self.explain(HOST4, FAR4, "udp", 1, 2)
        packet = self.passes()
        self.assertEqual(said["packet"]["fate"], "tunnel")
        self.assertEqual(said["packet"]["tunnel"], "t4")
        self.assertIn(packet.spi, {row["spi"] for row in said["workers"]})
        row = [r for r in said["workers"] if r["spi"] == packet.spi][0]
        self.assertEqual(re.findall(r"port (\d+)", row["outer"]), [str(packet.sport), "4500"])
        self.assertEqual(said["packet"]["inner_mtu"],
                         self.w.gateway.show("tunnel t4")["tunnel"]["inner_mtu"])
        for far, drop in (("10.66.0.1", "policy"), ("10.99.0.1", "no_policy")):
            said = self.explain(HOST4, far, "udp", 1, 2)["packet"]
            self.assertEqual(said["fate"], "drop")
            self.assertEqual(said["drop"], drop)
            with self.expect(**{f"drop_{drop}": 1}):
                self.w.lan.send(esp.udp_packet(HOST4, far, 1, 2))
        # a source that no port has; what should have come through the tunnel
        self.assertEqual(self.explain("203.0.113.9", FAR4, "udp", 1, 2)["packet"]["drop"],
                         "spoofed")
        self.assertEqual(self.explain(FAR4, HOST4, "udp", 1, 2)["packet"]["drop"], "clear")
        self.assertIn("clear", self.explain(HOST4, PEER4, "udp", 1, 2)["packet"]["fate"])
        self.w.lan.send(esp.udp_packet(HOST4, PEER4, 1, 2, b"bypass"))
        self.assertEqual(self.w.wan.receive(lambda p: p.dst == PEER4).body[8:], b"bypass")
        self.assertEqual(self.explain(HOST4, "10.1.0.1", "icmp")["packet"]["fate"], "punt")

    def test_drops_have_a_remedy(self):
        for row in self.w.gateway.show("drops all"):
            self.assertTrue(row["what"] and row["remedy"], row)

    def test_many_clients(self):
        """Several at a time, and one that never reads."""
        clients = []
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(self.w.gateway.socket_path)
            clients.append(client)
        clients[0].settimeout(2)
        try:
            for _ in range(2000):
                clients[0].send(b"show stats\nshow drops all json\n")
        except OSError:
            pass  # closed, or full: both are right, as long as the gateway goes on
        self.assertEqual(len(self.w.gateway.show("workers")), 2)
        self.passes()

    def test_zz_quit(self):
        self.assertTrue(os.path.exists(self.w.gateway.socket_path))
        self.stop_and_check("quit")
        self.assertFalse(os.path.exists(self.w.gateway.socket_path))
        done = self.w.gateway.attach("show version")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is it running", done.stdout)


class NoStateFile(GatewayTest):
    """Where the numbers that a peer is told live in memory only."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("short", esn=False, pcpus=("any", 0))
        world = World([cls.t], allow_iv_reuse=True)
        del world.config["state_file"]
        return world

    def told(self, sa):
        """Behind which number the peer is to begin with an SA."""
        text = self.w.gateway.console("show peer-commands short")
        self.assertIn("in memory only", text)
        line = re.search(rf"spi 0x{sa.spi:08x} .*", text).group()
        return int((re.findall(r"replay-oseq (\d+)", line) or ["0"])[0])

    def test_same_key_again(self):
        """An SA goes and comes back with its key: what its peer has used is still known."""
        sa, seq = self.t.to_gw[0], 100_000_000
        self.assertEqual(self.told(sa), 0)
        self.w.wan.send(sa.seal(esp.udp_packet(FAR4, HOST4, 1, 2, b"far on"), seq=seq))
        self.w.lan.receive(lambda p: p.proto == esp.UDP)
        gateway = self.w.gateway
        gateway.console(f"sa del short in {sa.spi}")
        path = os.path.join(self.w.directory, "key")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write(sa.key.hex())
        gateway.console(f"sa add short in {sa.spi} any {path} {sa.sport} {sa.dport}")
        self.assertGreater(self.told(sa), seq)


if __name__ == "__main__":
    unittest.main()
