# SPDX-License-Identifier: BSD-3-Clause
"""Connections to the socket for charon: who may, who is one too many, and how they end."""

import contextlib
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import esp
from fake_charon import Child, Closed, N, addr, build, sa_id
from gw import HOST4, PEER4, WAN4, GatewayTest, World
from ike_case import LIVE_S, IkeTest
from netns import wait_for
from test_life import refusal

NOBODY = 65534
QUICK_S = 1.0  # the console answers within this
TRAPS = 300
SILENT = 10  # connections; the gateway has places for four
# Connects, and says what came of it; a hello first, as a charon would
CONNECT = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect(sys.argv[1])
    s.send(bytes.fromhex(sys.argv[2]))
    print("answered" if s.recv(4096) else "closed")
except OSError as err:
    print(type(err).__name__)
"""


class Connections(IkeTest):
    """One tunnel that carries traffic, and connections that come and go."""

    def setUp(self):
        super().setUp()
        self.mine = self.child(Child(1))
        self.mine.trap(self.charon)
        self.pair = self.mine.bring_up(self.charon)

    def come_back(self, charon):
        """Another connection of the same charon, which says all that there was."""
        charon.connect().hello()
        for spi in (0, self.pair.to_gw.spi):
            self.mine.trap(charon, spi)
        self.mine.add(charon, self.pair, True, replayed=True)
        charon.do("SA_KEEP", sa=sa_id(self.pair.from_gw.spi, self.pair.from_gw.dst))
        charon.do("SYNC_END")

    def again(self):
        """A second charon object of the same run of charon."""
        return self.new_charon(generation=self.charon.generation)

    def wait_alone(self):
        """Until the gateway knows that charon is gone."""
        wait_for("charon gone", lambda: not self.ike()["connected"], LIVE_S)

    def test_second(self):
        """EBUSY while there is one; the same connection may say it again once that is gone."""
        other = self.new_charon().connect()
        good = {"version": N["IKE_VERSION"], "pcpu": 1, "generation": 5}
        for _ in range(3):
            self.assertEqual(other.status("HELLO", **good), errno.EBUSY)
        self.assertEqual(other.status("SYNC_END"), errno.EPROTO)
        self.charon.do("SA_QUERY", sa=sa_id(self.pair.to_gw.spi, self.pair.to_gw.dst))
        self.charon.close()
        self.assertEqual(other.status("HELLO", **good), 0)
        self.assertEqual(self.ike()["generation"], f"{5:016x}")
        other.close()

    def test_silent(self):
        """Connections that say nothing keep no charon out, neither this one nor the next."""
        silent = [self.new_charon().connect() for _ in range(SILENT)]
        self.charon.do("SYNC_END")
        self.charon.close()
        self.come_back(self.charon)
        self.assertTrue(silent[0].is_closed())
        self.assert_both(self.pair)

    def test_other_user(self):
        """Neither by the file's mode, nor where somebody has opened that."""
        path = self.w.config["ike_socket"]
        at = os.stat(path)
        self.assertEqual((stat.S_IMODE(at.st_mode), at.st_uid), (0o600, os.geteuid()))
        os.chmod(self.w.directory, 0o711)
        self.addCleanup(os.chmod, self.w.directory, 0o700)
        self.charon.close()
        self.wait_alone()
        self.assertEqual(self.as_user(NOBODY), "PermissionError")
        os.chmod(path, 0o666)
        self.addCleanup(os.chmod, path, 0o600)
        before = self.count("connections")
        self.assertIn(self.as_user(NOBODY), ("closed", "ConnectionResetError", "BrokenPipeError"))
        self.assertEqual(self.count("connections"), before)
        self.assertEqual(self.as_user(0), "answered")

    def as_user(self, uid):
        """What a hello of a user comes to."""
        hello = build("HELLO", 1, version=N["IKE_VERSION"], generation=self.charon.generation)
        return subprocess.run(
            [sys.executable, "-c", CONNECT, self.w.config["ike_socket"], bytes(hello).hex()],
            user=uid, group=uid, extra_groups=[], cwd="/", stdout=subprocess.PIPE, text=True,
            timeout=20, check=True).stdout.strip()

    def test_cut(self):
        """Ends right behind a request: nothing there was is lost, nothing is left over."""
        facts = self.ike_state()
        other = Child(2, (("10.1.0.0/24", "10.3.0.0/24"),))
        for n in range(20):
            new = self.child(Child(3 + n, other.nets)).new_pair(self.charon)
            self.charon.do("SA_DEL", sa=sa_id(new.to_gw.spi, new.to_gw.dst))
            requests = [build("POL_ADD", 1, **next(other.policies(new.to_gw.spi))),
                        build("SA_ADD", 2, **other.sa_add(new.to_gw, True)),
                        build("SA_ADD", 3, **other.sa_add(new.from_gw, False)),
                        build("SYNC_END", 4)]
            for request in requests[n % 4:]:
                self.charon.send(request)
            if n % 2:
                with contextlib.suppress(Closed):
                    self.charon.poll(0.01)
            self.charon.close()
            self.come_back(self.charon)
            wait_for("all as it was", lambda: self.ike_state() == facts, LIVE_S)
        self.assert_both(self.pair)

    def test_never_reads(self):
        """One that reads no answers loses its connection, and nobody waits for it meanwhile."""
        self.charon.socket.setblocking(False)
        query = build("SA_QUERY", 7, sa=sa_id(self.pair.to_gw.spi, self.pair.to_gw.dst))
        slowest = 0.0
        began = time.monotonic()
        while self.ike()["connected"] and time.monotonic() - began < LIVE_S:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                for _ in range(100):
                    self.charon.send(query)
            asked = time.monotonic()
            self.w.gateway.show("version")
            slowest = max(slowest, time.monotonic() - asked)
        self.assertFalse(self.ike()["connected"])
        self.assertLess(slowest, QUICK_S)
        self.assertIn("does not read its answers", self.w.gateway.log())
        self.assert_both(self.pair)
        self.come_back(self.again_as_charon())
        self.assert_both(self.pair)

    def again_as_charon(self):
        """In the place of self.charon."""
        self.charon.close()
        self.charon = self.again()
        return self.charon

    def test_never_reads_events(self):
        """Acquires that nobody reads are not sent, nor kept: they are tried again later."""
        far = [f"10.{20 + i % 200}.{i // 200}.9" for i in range(TRAPS)]
        for i, address in enumerate(far):
            Child(100 + i, (("10.1.0.0/24", f"{address}/32"),)).trap(self.charon)
        packets = [esp.udp_packet(HOST4, address, 1, 9) for address in far]
        sent, unsent = self.count("acquires"), self.count("acquires_unsent")
        began = time.monotonic()
        while time.monotonic() - began < 2:
            for packet in packets:
                self.w.lan.send(packet)
            self.assertTrue(self.ike()["connected"])
        sent = self.count("acquires") - sent
        self.assertGreater(self.count("acquires_unsent"), unsent)
        self.assertLess(sent, 2 * TRAPS)  # each has asked twice by now
        self.at_rest()
        self.assertEqual(len(self.charon.pending()), sent)

        def asked():
            self.send(far=far[0])
            return self.charon.pending()

        wait_for("acquires again", asked, LIVE_S)

    def test_alloc_while_away(self):
        """An SPI stays taken over a broken connection: the negotiation goes on."""
        spi = self.charon.do("ALLOC_SPI", src=addr(PEER4), dst=addr(WAN4), proto=50).spi
        self.charon.close()
        self.come_back(self.charon)
        self.assertEqual(self.ike()["spis"], 1)
        self.charon.do("SA_DEL", sa=sa_id(socket.ntohl(spi), WAN4))

    def test_zz_end(self):
        """The socket goes with the gateway; who is connected learns of it."""
        self.charon.close()
        self.come_back(self.charon)
        self.stop_and_check()
        self.assertFalse(os.path.exists(self.w.config["ike_socket"]))
        self.assertTrue(self.charon.is_closed())


class SocketFile(GatewayTest):
    """What may stand where the socket is to be."""

    def new_world(self):
        """One that has not started."""
        world = World(neighbours=False)
        world.config["ike_socket"] = os.path.join(world.directory, "ike.sock")
        self.addCleanup(world.close)
        return world

    def hello(self, world):
        """Is the gateway there that listens on its socket?"""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with sock:
            sock.settimeout(LIVE_S)
            sock.connect(world.config["ike_socket"])
            sock.send(bytes(build("HELLO", 1, version=N["IKE_VERSION"], generation=1)))
            return len(sock.recv(4096)) > 0

    def test_stale(self):
        """That of a gateway which was killed is replaced."""
        world = self.new_world().start()
        path = world.config["ike_socket"]
        inode = os.stat(path).st_ino
        world.gateway.kill()
        world.gateway.clean()
        self.assertEqual(os.stat(path).st_ino, inode)
        world.start()
        self.assertTrue(self.hello(world))
        self.assert_good_end(world, world.gateway.stop())

    def test_living(self):
        """That of a living gateway is not taken over; the other is told why."""
        first, second = self.new_world().start(), self.new_world()
        path = second.config["ike_socket"] = first.config["ike_socket"]
        text = refusal(self, second)
        self.assertIn(f"IKE socket {path}: another gateway is running there", text)
        self.assertTrue(self.hello(first))
        self.assert_good_end(first, first.gateway.stop())

    def test_wrong_place(self):
        """A file that is no socket stays as it is; a directory that is missing is named."""
        world = self.new_world()
        path = world.config["ike_socket"]
        with open(path, "w", encoding="ascii") as f:
            f.write("precious")
        self.assertIn(f"IKE socket {path}: this exists and is not a socket", refusal(self, world))
        with open(path, encoding="ascii") as f:
            self.assertEqual(f.read(), "precious")
        world.config["ike_socket"] = os.path.join(world.directory, "no", "ike.sock")
        self.assertIn("there is no such directory", refusal(self, world))
        world.config["ike_socket"] = os.path.join(world.directory, "x" * 120)
        self.assertIn("x" * 120, refusal(self, world))

    def test_not_ours(self):
        """At its end it removes its own socket, and not what somebody has put there since."""
        world = self.new_world().start()
        path = world.config["ike_socket"]
        os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.bind(path)
            self.assert_good_end(world, world.gateway.stop(signal.SIGINT))
            self.assertTrue(os.path.exists(path))

    def test_none(self):
        """Without ike_socket there is no IKE, and the console says how there would be."""
        world = self.new_world()
        del world.config["ike_socket"]
        world.start()
        done = world.gateway.attach("show ike")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ike_socket =", done.stdout)
        self.assert_good_end(world, world.gateway.stop())
