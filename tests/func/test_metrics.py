# SPDX-License-Identifier: BSD-3-Clause
"""Metrics over HTTP, read by the strict parser of Prometheus' own client library."""

import contextlib
import http.client
import os
import re
import select
import socket
import subprocess
import time
import unittest

from prometheus_client import parser as old_parser
from prometheus_client.openmetrics import parser

import esp
from fake_charon import FakeCharon
from gw import (BINARY, FAR4, HOST4, LAN4, GatewayTest, Tunnel, World)
from netns import Failed, wait_for
from test_life import refusal

LOOPBACK, PORT = "127.0.0.1", 9470
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
# Prometheus 2.42's own
ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;" \
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
FRESH_S = 0.12  # after so long figures are taken anew
PROMPT_S = 1.0  # how soon the console answers whatever happens, on a machine that others use


class Scraper:
    """Who reads the metrics of a world's gateway, from within its namespace."""

    def __init__(self, world, host=LOOPBACK):
        self.world = world
        self.host = host

    def connect(self, seconds=10.0, receive_buffer=None):
        """A connected socket."""
        sock = self.world.namespace.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET,
                                           socket.SOCK_STREAM)
        sock.settimeout(seconds)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect((self.host, PORT))
        return sock

    def ask(self, path="/metrics", method="GET", accept=ACCEPT, body=None, headers=None):
        """(status, headers, text) of a request."""
        connection = http.client.HTTPConnection(self.host, PORT)
        connection.sock = self.connect()
        try:
            connection.request(method, path, body,
                               {**({"Accept": accept} if accept else {}), **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def text(self):
        """The metrics as they are now."""
        time.sleep(FRESH_S)
        status, headers, text = self.ask()
        assert status == 200, status
        assert headers["Content-Type"] == OPENMETRICS, headers
        return text

    def samples(self):
        """All values by (name, labels)."""
        found = {}
        for family in parser.text_string_to_metric_families(self.text()):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in found, key
                found[key] = sample.value
        return found

    def value(self, name, **labels):
        """One value."""
        return self.samples()[(f"pcpu_gw_{name}", tuple(sorted(labels.items())))]

    def counters(self):
        """Those values that may only grow."""
        return {k: v for k, v in self.samples().items() if k[0].endswith("_total")}


def until_closed(sock):
    """All that comes until the other end has closed."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            part = sock.recv(1 << 16)
            if not part:
                break
            data += part
    return data


class Metrics(GatewayTest):
    """One gateway with two tunnels, two workers and traffic."""

    @classmethod
    def world(cls):
        cls.t = Tunnel("t4")
        cls.short = Tunnel("short-1", (("10.1.0.0/24", "10.3.0.0/24"),), esn=False, pcpus=("any",))
        world = World([cls.t, cls.short], metrics_listen=f"{LOOPBACK}:{PORT}")
        cls.scraper = Scraper(world)
        return world

    def pass_packets(self, n=5):
        """Both ways, some replayed, some for no SA."""
        for i in range(n):
            self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1 + i, 2, b"x" * i))
            self.t.receive(self.w.wan.receive_esp())
            for sa in self.t.to_gw:
                sealed = sa.seal(esp.udp_packet(FAR4, HOST4, 2, 1, b"y"))
                self.w.wan.send(sealed)
                self.w.lan.receive(lambda p: p.src == FAR4)
                self.w.wan.send(sealed)
        self.at_rest()

    def as_console(self):
        """What the metrics are to say, by what the console says."""
        gateway, wanted = self.w.gateway, {}
        stats, drops = gateway.show("stats"), gateway.show("drops all")
        for w in range(self.w.workers):
            worker = ("worker", str(w))
            for row in stats["counters"]:
                wanted[(f"pcpu_gw_worker_{row['name']}_total", (worker,))] = row[f"w{w}"]
            for row in drops:
                labels = (("group", row["group"]), ("reason", row["name"]), worker)
                wanted[("pcpu_gw_drops_total", labels)] = row[f"w{w}"]
        for name in ("punt_written", "punt_failed", "inject_full", "tap_lost",
                     "netlink_overruns", "netlink_reopens"):
            wanted[(f"pcpu_gw_{name}_total", ())] = stats["balance"][name]
        for sa in gateway.show("sa"):
            labels = (("direction", sa["dir"]),
                      ("pcpu", "any" if sa["pcpu"] is None else str(sa["pcpu"])),
                      ("spi", f"0x{sa['spi']:08x}"), ("tunnel", sa["tunnel"]))
            last = 2 ** 64 - 1 if sa["esn"] else 2 ** 32 - 1
            for name, value in (("packets_total", sa["packets"]), ("bytes_total", sa["bytes"]),
                                ("drops_total", sa["drops"]), ("worker", sa["worker"]),
                                ("lost", sa["lost"]), ("seq_left", last - sa["seq"])):
                if value is not None:
                    wanted[(f"pcpu_gw_sa_{name}", labels)] = value
        for port in gateway.show("ports"):
            labels = (("port", port["name"]),)
            for name in ("rx_packets", "tx_packets", "rx_missed", "rx_nombuf", "rx_errors",
                         "tx_errors", "punt_written", "punt_failed", "resets"):
                wanted[(f"pcpu_gw_port_{name}_total", labels)] = port[name]
            wanted[("pcpu_gw_port_link_up", labels)] = port["link"] == "up"
        for tunnel in gateway.show("tunnels"):
            labels = (("tunnel", tunnel["name"]),)
            wanted[("pcpu_gw_tunnel_up", labels)] = tunnel["state"] == "up"
            for way in ("in", "out"):
                wanted[("pcpu_gw_tunnel_sas", (("direction", way), *labels))] = \
                    tunnel[f"sas_{way}"]
        return wanted

    def test_as_console(self):
        """Each counter, drop, SA and port has the value that the console shows for it."""
        self.pass_packets()

        def differs():
            wanted, is_now = self.as_console(), self.scraper.samples()
            self.assertLessEqual(set(wanted), set(is_now))
            # workers look round all the time
            different.clear()
            different.update({k: (is_now[k], v) for k, v in wanted.items()
                              if is_now[k] != v
                              and not re.search("_(loops|sleeps)_total", k[0])})
            return different

        different = {}
        try:
            wait_for("the same values", lambda: not differs())
        except Failed:
            self.fail(f"metrics, console: {different}")
        samples = self.scraper.samples()
        replayed = sum(v for (name, labels), v in samples.items() if name == "pcpu_gw_drops_total"
                       and ("reason", "replayed") in labels)
        self.assertGreater(replayed, 0)
        self.assertEqual(replayed, sum(v for (name, _), v in samples.items()
                                       if name == "pcpu_gw_sa_window_drops_total"))

    def test_general(self):
        samples = self.scraper.samples()
        info = [dict(labels) for name, labels in samples if name == "pcpu_gw_build_info"]
        version = self.w.gateway.show("version")
        self.assertEqual(info, [{k: version[k] for k in ("version", "dpdk", "ipsec_mb")}])
        started = samples[("pcpu_gw_start_time_seconds", ())]
        self.assertAlmostEqual(time.time() - started, version["uptime_s"], delta=2)
        self.assertEqual(samples[("pcpu_gw_forwarding", ())], 1)
        self.assertEqual(samples[("pcpu_gw_tunnels", ())], 2)
        free = samples[("pcpu_gw_mbufs_free", (("pool", "packets"),))]
        all_of_them = samples[("pcpu_gw_mbufs_capacity", (("pool", "packets"),))]
        self.assertTrue(0 < free < all_of_them)
        self.assertEqual(all_of_them, self.w.gateway.show("config")["gateway"]["mbufs"])
        for w in ("0", "1"):
            self.assertEqual(samples[("pcpu_gw_worker_responding", (("worker", w),))], 1)
            self.assertTrue(0 <= samples[("pcpu_gw_worker_busy_ratio", (("worker", w),))] <= 1)
        self.assertEqual(samples[("pcpu_gw_tunnel_resolved", (("tunnel", "t4"),))], 1)
        self.assertFalse([k for k in samples if k[0].startswith("pcpu_gw_ike_")])

    def test_formats(self):
        """What is asked for: OpenMetrics, or the older format, which has the same values."""
        def of_all_times(names):  # what a packet takes is known only while there are packets
            return set(names) - {"pcpu_gw_worker_packet_cycles"}

        for accept in (None, "*/*", "text/plain", "application/openmetrics-text;q=0.1,text/plain"):
            status, headers, text = self.scraper.ask(accept=accept)
            self.assertEqual((status, headers["Content-Type"]), (200, PLAIN))
            self.assertNotIn("# EOF", text)
            names = {s.name for f in old_parser.text_string_to_metric_families(text)
                     for s in f.samples}
            self.assertEqual(of_all_times(names),
                             of_all_times(name for name, _ in self.scraper.samples()))
        self.assertTrue(self.scraper.text().endswith("\n# EOF\n"))

    def test_only_grow(self):
        """Not a clear, nor a move, nor a stop takes anything from a counter."""
        gateway = self.w.gateway
        self.pass_packets()
        seen = self.scraper.counters()
        own = self.t.to_gw[self.t.pcpus.index(0)].spi
        for line in (f"sa move t4 in {own} 1", "clear stats", "tunnel down t4", "tunnel up t4",
                     "stop", "start", f"sa move t4 in {own} 0"):
            gateway.console(line)
            now = self.scraper.counters()
            self.assertEqual(set(now), set(seen), line)
            self.assertEqual({k: (seen[k], v) for k, v in now.items() if v < seen[k]}, {}, line)
            seen = now
        self.assertEqual(gateway.counters()["encap"], 0)
        self.assertGreater(sum(v for (name, _), v in seen.items()
                               if name == "pcpu_gw_worker_encap_total"), 0)

    def test_changes(self):
        """SAs and tunnels as they come and go."""
        sa = self.t.fresh_sa(True)
        path = os.path.join(self.w.directory, "key")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write(sa.key.hex())
        labels = {"tunnel": "t4", "spi": f"0x{sa.spi:08x}", "direction": "in", "pcpu": "1"}
        key = ("pcpu_gw_sa_packets_total", tuple(sorted(labels.items())))
        self.assertNotIn(key, self.scraper.samples())
        self.w.gateway.console(f"sa add t4 in {sa.spi} 1 {path} {sa.sport} {sa.dport}")
        self.assertEqual(self.scraper.samples()[key], 0)
        self.assertEqual(self.scraper.value("sa_worker", **labels), 1)
        self.assertLess(self.scraper.value("sa_age_seconds", **labels), 30)
        self.w.gateway.console(f"sa move t4 in {sa.spi} 0")
        self.assertEqual(self.scraper.value("sa_worker", **labels), 0)
        self.w.gateway.console(f"sa del t4 in {sa.spi}")
        self.assertNotIn(key, self.scraper.samples())
        self.w.gateway.console("tunnel down short-1")
        self.assertEqual(self.scraper.value("tunnel_up", tunnel="short-1"), 0)
        self.w.gateway.console("tunnel up short-1")
        self.w.gateway.console("stop")
        self.assertEqual(self.scraper.value("forwarding"), 0)
        self.w.gateway.console("start")

    def test_no_keys(self):
        self.assert_no_keys(self.w, self.scraper.text())
        config = self.w.gateway.show("config")["gateway"]
        self.assertEqual(config["metrics_listen"], f"{LOOPBACK}:{PORT}")

    def test_loopback_only(self):
        """Nobody on a link gets to it."""
        with self.assertRaises(ConnectionRefusedError):
            Scraper(self.w, LAN4).connect()
        listening = self.w.namespace.run("ss", "-ltnH").stdout
        self.assertEqual([line.split()[3] for line in listening.splitlines()],
                         [f"{LOOPBACK}:{PORT}"])

    def test_refused(self):
        """Other paths, other methods; and HEAD, which has no body."""
        before = self.scraper.value("metrics_refused_total")
        for path in ("/", "/metrics/", "/metricsx", "/../metrics", "/favicon.ico"):
            status, _, text = self.scraper.ask(path)
            self.assertEqual((status, text), (404, "the metrics are at /metrics\n"), path)
        for method, body in (("POST", b"x" * 100000), ("PUT", b"x"), ("DELETE", None)):
            status, headers, _ = self.scraper.ask(method=method, body=body)
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"), method)
        self.assertEqual(self.scraper.value("metrics_refused_total"), before + 8)
        status, headers, text = self.scraper.ask(method="HEAD")
        self.assertEqual((status, headers["Content-Type"], text), (200, OPENMETRICS, ""))
        self.assertEqual(self.scraper.ask("/metrics?name[]=x")[0], 200)

    def test_hostile(self):
        """What is not HTTP, or too much of it, ends that connection and nothing else."""
        for data in (b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n",
                     b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                     b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                     b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n"
                     b"\r\n"):
            with self.scraper.connect() as sock:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(data)
                answer = until_closed(sock)
            self.assertNotIn(b" 200 ", answer[:20], data[:40])
        for _ in range(50):  # as many as may wait: beyond, the kernel makes a client try again
            self.scraper.connect().close()
        self.assertEqual(self.scraper.ask()[0], 200)

    def prompt(self):
        """The console answers, and packets pass."""
        began = time.monotonic()
        self.w.gateway.console("show version")
        took = time.monotonic() - began
        self.assertLess(took, PROMPT_S)
        self.pass_packets(1)

    def test_slow_clients(self):
        """All places taken by such as say a byte now and then: they have to go."""
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(self.scraper.connect(30)) for _ in range(8)]
            for sock in slow:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
            self.prompt()
            waiting = stack.enter_context(self.scraper.connect(30))
            waiting.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            deadline = time.monotonic() + 20
            while not select.select([waiting], [], [], 0.2)[0]:
                self.assertLess(time.monotonic(), deadline)
                for sock in slow:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        sock.sendall(b"x")
            self.assertTrue(until_closed(waiting).startswith(b"HTTP/1.1 200"))
            self.prompt()

    def test_all_leave_at_once(self):
        """When all places are free again, somebody listens."""
        for _ in range(2):
            with contextlib.ExitStack() as stack:
                for _ in range(10):
                    stack.enter_context(self.scraper.connect()).sendall(b"GET /met")
                self.prompt()
            self.assertEqual(self.scraper.ask()[0], 200)

    def test_silent_clients(self):
        """Half a request, and nothing for five seconds."""
        with self.scraper.connect(30) as sock:
            sock.sendall(b"GET /met")
            began = time.monotonic()
            until_closed(sock)
            self.assertLess(time.monotonic() - began, 15)

    def test_zz_end(self):
        """An answer under way is cut off, and nothing leaks."""
        with self.scraper.connect() as sock, self.scraper.connect() as idle:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            self.stop_and_check()
            until_closed(sock)
            self.assertEqual(until_closed(idle), b"")


class Many(GatewayTest):
    """A thousand tunnels of five pairs each: ten thousand SAs."""

    TUNNELS, PAIRS = 1000, 5

    @classmethod
    def world(cls):
        tunnels = [Tunnel(f"t{i}", ((f"{LAN4}/24", f"10.{2 + i // 250}.{i % 250}.0/24"),),
                          pcpus=("any", 0, 1, 2, 3), encap=False) for i in range(cls.TUNNELS)]
        world = World(tunnels, metrics_listen=PORT, allow_iv_reuse=True)
        del world.config["state_file"]
        world.neighbours = []
        cls.scraper = Scraper(world)
        return world

    def slowest_answer(self, seconds):
        """Of the console, in so many seconds."""
        slowest, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            began = time.monotonic()
            self.w.gateway.console("show version")
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    def test_all_there(self):
        text = self.scraper.text()
        self.assertEqual(text.count("\npcpu_gw_sa_packets_total{"), self.TUNNELS * self.PAIRS * 2)
        self.assertEqual(text.count("\npcpu_gw_tunnel_up{"), self.TUNNELS)
        self.assertTrue(text.endswith("\n# EOF\n"))

    def test_not_in_the_way(self):
        """While some read all, some nothing: the console answers, and answers are whole."""
        request = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {ACCEPT}\r\n\r\n".encode()
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(self.scraper.connect(30)) for _ in range(2)]
            stuck = [stack.enter_context(self.scraper.connect(30, 4096)) for _ in range(5)]
            for sock in stuck + readers:
                sock.sendall(request)
            slowest = self.slowest_answer(1.0)
            self.assertLess(slowest, PROMPT_S)
            for sock in readers:
                self.assertTrue(until_closed(sock).endswith(b"# EOF\n\r\n0\r\n\r\n"))
        self.assertLess(self.scraper.value("metrics_longest_seconds"), PROMPT_S)

    def test_snapshots_are_bounded(self):
        """Each slow reader holds its figures; one too many is told so."""
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                sock = stack.enter_context(self.scraper.connect(30, 4096))
                sock.sendall(request)
                self.assertTrue(sock.recv(64).startswith(b"HTTP/1.1 200"))
                time.sleep(FRESH_S)
            status, _, text = self.scraper.ask()
            self.assertEqual(status, 503)
            self.assertIn("too slowly", text)
        wait_for("an answer once they have gone", lambda: self.scraper.ask()[0] == 200)


class Ike(GatewayTest):
    """With a charon that is a test."""

    @classmethod
    def world(cls):
        world = World(metrics_listen=f"[::1]:{PORT}", metrics_sas=False)
        world.config["ike_socket"] = os.path.join(world.directory, "ike.sock")
        cls.scraper = Scraper(world, "::1")
        return world

    def test_as_console(self):
        self.assertEqual(self.scraper.value("ike_connected"), 0)
        charon = FakeCharon(self.w.config["ike_socket"])
        self.addCleanup(charon.close)
        charon.start()
        self.assertEqual(self.scraper.value("ike_connected"), 1)
        samples, said = self.scraper.samples(), self.w.gateway.show("ike")
        for row in said["counts"]:
            self.assertEqual(samples[(f"pcpu_gw_ike_{row['name']}_total", ())], row["count"])
        for name in ("tunnels", "policies", "sas_in", "sas_out", "sas_stale_now", "spis",
                     "pending", "in_sync"):
            self.assertEqual(samples[(f"pcpu_gw_ike_{name}", ())], said["ike"][name])
        charon.close()
        wait_for("charon gone", lambda: self.scraper.value("ike_connected") == 0)
        self.assertEqual(self.scraper.value("ike_connections_total"), 1)


class Start(GatewayTest):
    """Where it may listen, and what is said where it may not."""

    def new_world(self, **config):
        """One that has not started."""
        world = World([Tunnel("t4")], neighbours=False, **config)
        self.addCleanup(world.close)
        return world

    def test_off(self):
        """Nothing listens unless told to."""
        world = self.new_world().start()
        self.assertEqual(world.namespace.run("ss", "-ltnH").stdout, "")
        self.assertIsNone(world.gateway.show("config")["gateway"]["metrics_listen"])
        self.assert_good_end(world, world.gateway.stop())

    def test_elsewhere(self):
        """On an address of a port, if told to; without figures of SAs, if told so."""
        world = self.new_world(metrics_listen=f"{LAN4}:{PORT}", metrics_sas=False).start()
        scraper = Scraper(world, LAN4)
        self.assertNotIn("pcpu_gw_sa_", scraper.text())
        self.assertEqual(scraper.value("tunnel_sas", tunnel="t4", direction="in"), 3)
        with self.assertRaises(ConnectionRefusedError):
            Scraper(world).connect()
        self.assert_good_end(world, world.gateway.stop())

    def test_taken(self):
        world = self.new_world(metrics_listen=PORT)
        with world.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
            other.bind((LOOPBACK, PORT))
            other.listen()
            self.assertIn(f"metrics_listen {LOOPBACK}:{PORT}: another program has this port (ss "
                          "-ltnp shows which): end it, or set another port", refusal(self, world))
        world.start()  # the same, once it is free
        self.assertEqual(Scraper(world).ask()[0], 200)
        self.assert_good_end(world, world.gateway.stop())

    def test_no_such_address(self):
        self.assertIn("metrics_listen 203.0.113.7:9470: no interface of this machine has this "
                      "address", refusal(self, self.new_world(metrics_listen="203.0.113.7:9470")))

    def test_config(self):
        """Said with file and line, before anything is touched."""
        world = self.new_world()
        path = os.path.join(world.directory, "m.conf")
        for value, sentence in (('"localhost:9470"', "is not an address with a port"),
                                ('"127.0.0.1"', "is not an address with a port"),
                                ("0", "is not an address with a port"),
                                ("true", "wants an address and a port")):
            with open(path, "w", encoding="ascii") as f:
                f.write(f"workers = 1;\nmetrics_listen = {value};\n")
            done = subprocess.run([BINARY, "-c", path, "--check"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{path}:2: metrics_listen", done.stdout)
            self.assertIn(sentence, done.stdout)


class Documents(unittest.TestCase):
    """What people copy."""

    def test_names(self):
        """The alerts and the document speak of metrics that are there."""
        doc = subprocess.run([BINARY, "--metrics-doc"], stdout=subprocess.PIPE, text=True,
                             timeout=30, check=True).stdout
        names = set(re.findall(r"`(pcpu_gw_\w+)`", doc))
        top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        for path in ("config/prometheus-alerts.yml", "docs/metrics.md"):
            with open(os.path.join(top, path), encoding="utf-8") as f:
                used = set(re.findall(r"\bpcpu_gw_\w+", f.read()))
            self.assertGreater(len(used), 5)
            self.assertEqual(used - names, set(), path)


if __name__ == "__main__":
    unittest.main()
