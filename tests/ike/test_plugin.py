# SPDX-License-Identifier: BSD-3-Clause
"""The plugin in two charons that have no gateway but a program which takes what they say."""

import atexit
import ctypes
import errno
import os
import random
import shutil
import signal
import socket
import tempfile
import time
import unittest

import swan
from charon import Charon, connection
from fake_gw import FakeGateway
from ike_h import NUMBERS, layout
from lab import OTHER, SIDES
from netns import Failed, Namespace, wait_for

PATIENCE_S = 20.0


class Node:
    """A charon and its fake gateway, in a namespace."""

    def __init__(self, world, name):
        self.name = name
        self.world = world
        self.ns = Namespace(f"{world.prefix}-{name}")
        path = os.path.join(world.directory, f"ike-{name}.sock")
        self.gw = FakeGateway(path)
        self.charon = Charon(world.swan, self.ns, world.directory, name, path)
        self.charon.settings = {"retransmit_timeout": 0.5, "retransmit_base": 1.0,
                                "retransmit_tries": 3, "retry_initiate_interval": 1,
                                "delete_rekeyed_delay": 1}

    def load(self):
        """Its connection."""
        at, peer, world = SIDES[self.name], SIDES[OTHER[self.name]], self.world
        self.charon.load(connection(
            at["wan"], peer["wan"], world.selectors or at["net"], world.selectors or peer["net"],
            "aes128gcm16-esn", {"mobike": "no", **world.connection},
            {"start_action": "trap", "per_cpu_sas": "yes", "rekey_time": "1h", **world.child}))

    def start(self):
        """Gateway, charon, connection."""
        self.gw.start()
        self.charon.start()
        self.load()

    def acquire(self, cpu=0xffffffff):
        """A packet to the other side."""
        trap = wait_for("a trap", self.gw.trap, PATIENCE_S)
        self.gw.acquire(trap.reqid, SIDES[self.name]["host"], SIDES[OTHER[self.name]]["host"],
                        cpu)

    def spis(self, way="out"):
        """What charon says of its SAs: SPIs as the gateway has them."""
        return {socket.htonl(int(c[f"spi-{way}"], 16)) for c in self.charon.children()}


class World:
    """Two of them with a cable."""

    count = 0

    def __init__(self, child=None, connection=None, selectors=None, settings=None):
        World.count += 1
        self.selectors = selectors
        self.prefix = f"ikp{os.getpid()}-{World.count}"
        self.swan = swan.find()
        self.child, self.connection = child or {}, connection or {}
        self.directory = tempfile.mkdtemp(prefix="pcpu-ike-", dir="/var/tmp")
        atexit.register(self.close)
        self.nodes = [Node(self, name) for name in SIDES]
        self.a, self.b = self.nodes
        self.a.charon.settings |= settings or {}
        self.a.ns.ip("link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns",
                     self.b.ns.name)
        for node in self.nodes:
            node.ns.ip("addr", "add", f"{SIDES[node.name]['wan']}/24", "dev", "wan")
            node.ns.ip("link", "set", "wan", "up")

    def start(self):
        """Both."""
        for node in self.nodes:
            node.start()
        return self

    def close(self):
        """Remove all."""
        atexit.unregister(self.close)
        for node in self.nodes:
            node.charon.close()
            if node.gw.running:
                node.gw.stop()
            node.ns.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class PluginTest(unittest.TestCase):
    """What they have in common."""

    def world(self, **how):
        """A running world that ends with the test."""
        world = World(**how)
        self.addCleanup(world.close)
        self.w = world
        return world.start()

    def eventually(self, what, probe, seconds=PATIENCE_S):
        """wait_for(), and what the charons logged where it does not come."""
        try:
            return wait_for(what, probe, seconds)
        except Failed as err:
            self.fail(f"{err}\n" + "\n".join(f"--- {n.name}\n{n.charon.said()}"
                                             for n in self.w.nodes))

    def up(self, cpus=(0, 1), **how):
        """A world with a fallback and a pair for each of these CPUs of side a."""
        w = self.world(**how)
        w.a.acquire()
        self.eventually("the fallback", lambda: w.a.gw.cpus() == [None])
        for cpu in cpus:
            w.a.acquire(cpu)
        self.eventually("pairs for CPUs", lambda: w.a.gw.cpus() == [None, *cpus])
        self.eventually("as many at the other side",
                        lambda: len(w.b.gw.outbound()) == len(cpus) + 1)
        return w


class Plugin(PluginTest):
    """One thing each."""

    def test_on_demand(self):
        """Fallback first, then a pair for each CPU that asks; keys of both ends are equal."""
        w = self.up()
        for here, there in ((w.a, w.b), (w.b, w.a)):
            self.assertEqual(here.gw.outbound(), there.gw.inbound())
            for spi in here.gw.outbound():
                out, into = here.gw.sas[spi], there.gw.sas[spi]
                self.assertEqual(bytes(out.enc_key), bytes(into.enc_key))
                self.assertNotEqual(bytes(out.enc_key[:20]), bytes(20))
                self.assertEqual(out.enc_key_len, 20)
                self.assertTrue(out.flags & NUMBERS["IKE_SA_ESN"])
            self.assertEqual(here.spis("out"), here.gw.outbound())
            self.assertEqual(here.spis("in"), here.gw.inbound())
        # a policy in and out for each CHILD_SA, and the trap
        self.assertEqual(len([p for p in w.a.gw.policies if p.spi]), 6)
        for node in w.nodes:
            for sa in node.gw.sas.values():
                self.assertNotIn(bytes(sa.enc_key[:16]).hex(), node.charon.log().lower())

    def test_hello(self):
        """What the plugin says of itself: this version of the protocol, SAs for a CPU."""
        w = self.up(cpus=())
        for node in w.nodes:
            self.assertEqual(node.gw.log[0][0], "HELLO")
            hello = node.gw.log[0][1]
            self.assertEqual(hello.version, NUMBERS["IKE_VERSION"])
            self.assertEqual(bool(hello.pcpu), w.swan.has_per_cpu_sas())
            self.assertNotEqual(hello.generation, 0)

    def test_end_in_order(self):
        """charon that ends deletes all, one by one; nothing is left in either gateway."""
        w = self.up()
        self.assertEqual(w.a.charon.stop(), 0)
        self.eventually("no SAs", lambda: not w.a.gw.sas and not w.b.gw.sas)
        self.eventually("no policies", lambda: not w.a.gw.policies)
        self.eventually("the other side's trap alone",
                        lambda: {p.spi for p in w.b.gw.policies} == {0})

    def test_new_gateway(self):
        """A gateway that was restarted gets policies and inbound SAs; outbound ones are rekeyed."""
        w = self.up()
        inbound, outbound = w.a.gw.inbound(), w.a.gw.outbound()
        keys = {spi: bytes(w.a.gw.sas[spi].enc_key) for spi in inbound}
        policies = len(w.a.gw.policies)
        w.a.gw.stop()
        w.a.gw.start()
        self.eventually("the end of the replay", lambda: w.a.gw.count("SYNC_END") == 1, 3)
        with w.a.gw.lock:
            names = [n for n, _ in w.a.gw.log]
            replayed = {m.sa.spi: m for n, m in w.a.gw.log[:names.index("SYNC_END")]
                        if n == "SA_ADD"}
            self.assertEqual(names[:1 + policies], ["HELLO"] + ["POL_ADD"] * policies)
        self.assertEqual(set(replayed), inbound)  # no outbound one
        self.assertEqual({spi: bytes(m.enc_key) for spi, m in replayed.items()}, keys)
        self.eventually("three new outbound SAs", lambda: len(w.a.gw.outbound() - outbound) == 3, 3)
        self.assertFalse(w.a.gw.outbound() & outbound)
        self.assertEqual(w.a.gw.cpus(), [None, 0, 1])
        self.eventually("the old ones to go", lambda: not w.a.gw.inbound() & inbound, 10)
        self.assertEqual(len(w.a.charon.children()), 3)

    def test_both_gateways_new(self):
        """Both gateways restart at the same moment: the rekeyings collide, and all is well."""
        w = self.up()
        old = w.a.gw.outbound() | w.b.gw.outbound()
        for node in w.nodes:
            node.gw.stop()
        for node in w.nodes:
            node.gw.start()

        def agree():
            return len(w.a.gw.outbound()) >= 3 and w.a.gw.outbound() == w.b.gw.inbound() \
                and w.b.gw.outbound() == w.a.gw.inbound() and not old & w.a.gw.outbound() \
                and not old & w.b.gw.outbound()

        self.eventually("the same new SAs at both sides", agree, 15)
        self.assertEqual(w.a.gw.cpus(), [None, 0, 1])

    def test_many(self):
        """16 CPUs want SAs at once; a restart of the gateway renews all of them in seconds."""
        cpus = tuple(range(16))
        w = self.up(cpus=cpus)
        old = w.a.gw.outbound()
        w.a.gw.stop()
        w.a.gw.start()
        began = time.monotonic()
        self.eventually("17 new outbound SAs", lambda: len(w.a.gw.outbound() - old) == 17, 10)
        print(f"# 17 SAs renewed {1000 * (time.monotonic() - began):.0f} ms after the gateway's "
              "restart", flush=True)
        self.assertEqual(w.a.gw.cpus(), [None, *cpus])

    def test_generation(self):
        """A charon that was killed has another generation, and knows nothing of before."""
        w = self.up(cpus=())

        def generations():
            with w.a.gw.lock:
                return [m.generation for n, m in w.a.gw.log if n == "HELLO"]
        w.a.gw.cut()
        self.eventually("a second hello", lambda: len(generations()) == 2, 3)
        w.a.charon.stop(9)
        w.a.charon.start()
        self.eventually("a third hello", lambda: len(generations()) == 3, 3)
        first, second, third = generations()
        self.assertEqual(first, second)
        self.assertNotEqual(second, third)
        w.a.load()
        w.a.acquire()
        self.eventually("the SAs of the new charon", lambda: len(w.a.charon.children()) == 1)
        self.eventually("none of the old ones at the peer", lambda: len(w.b.gw.inbound()) == 1)

    def test_modular(self):
        """Among all of charon's plugins it is loaded before the kernel's, whose turn is over."""
        w = World()
        self.addCleanup(w.close)
        self.w = w
        w.a.charon.settings |= {"load_modular": "yes"}
        w.a.charon.snippets = os.path.join(w.swan.snippets, "*.conf")
        w.a.gw.start()
        w.a.charon.start()
        self.eventually("a connection", lambda: w.a.gw.count("SYNC_END") == 1)
        loaded = next(line for line in w.a.charon.log().splitlines() if "loaded plugins:" in line)
        names = loaded.split(":")[-1].split()
        self.assertLess(names.index("kernel-pcpu"), names.index("kernel-netlink"))

    def test_broken_socket(self):
        """The same gateway: SAs are confirmed, none is rekeyed; what ended meanwhile is not."""
        w = self.up()
        before = set(w.a.gw.sas)
        w.a.gw.stop()
        gone = next(iter(w.a.gw.outbound()))
        w.a.charon.vici("terminate", **{
            "child-id": next(c["uniqueid"] for c in w.a.charon.children()
                             if socket.htonl(int(c["spi-out"], 16)) == gone)})
        w.a.gw.start(fresh=False)
        self.eventually("the end of the replay", lambda: w.a.gw.count("SYNC_END") == 1, 3)
        with w.a.gw.lock:
            kept = {m.sa.spi for n, m in w.a.gw.log if n in ("SA_KEEP", "SA_ADD")}
        self.assertEqual(len(kept), 4)
        self.assertNotIn(gone, kept)
        self.assertTrue(kept < before)
        time.sleep(0.5)  # a rekeying would have been seen by then
        self.assertEqual(w.a.gw.count("ALLOC_SPI"), 0)

    def test_refused_replay(self):
        """What the gateway refuses when all is said again is said again later, if it lives."""
        w = self.up(cpus=(0,))
        gw, inbound, policies = w.a.gw, w.a.gw.inbound(), len(w.a.gw.policies)
        gw.stop()
        gw.policies = []
        for spi in inbound:
            del gw.sas[spi]
        gw.refuse |= {"POL_ADD": errno.ENOSPC, "SA_ADD": errno.ENOSPC}
        gw.start(fresh=False)
        self.eventually("the end of the replay", lambda: gw.count("SYNC_END") == 1, 3)
        self.assertEqual(gw.count("POL_ADD"), policies)
        self.eventually("all of it again", lambda: gw.count("POL_ADD") == 2 * policies
                        and gw.count("SA_ADD") == 2 * len(inbound), 4)
        began = time.monotonic()
        child = next(c for c in w.a.charon.children() if "cpu" in c)
        w.a.charon.vici("terminate", **{"child-id": child["uniqueid"]})
        inbound -= {socket.htonl(int(child["spi-in"], 16))}
        gw.refuse.clear()
        self.eventually("what is left of it", lambda: gw.inbound() == inbound
                        and len(gw.policies) == policies - 2, 5)
        self.assertGreater(time.monotonic() - began, 1)  # it waits for two seconds now
        self.assertIsNotNone(gw.trap())
        self.eventually("what charon says of it", lambda: f"has {policies - 2} policies and 1 SAs "
                        "that it refused before" in w.a.charon.log(), 2)
        said = gw.count("POL_ADD"), gw.count("SA_ADD")
        self.assertEqual(said, (3 * policies - 2, 2 * 2 + 1))
        self.assertEqual(gw.count("SYNC_END"), 1)

    def test_soft_expire_of_gateway(self):
        """The gateway counts bytes and packets: its soft event rekeys, on the same CPU."""
        w = self.up()
        old = next(s for s in w.a.gw.outbound() if w.a.gw.sas[s].cpu == 1)
        w.a.gw.expire(old)
        self.eventually("a successor", lambda: len(w.a.gw.outbound()) == 3
                        and old not in w.a.gw.outbound())
        self.assertEqual(w.a.gw.cpus(), [None, 0, 1])

    def test_hard_expire_of_gateway(self):
        """Its hard event deletes the SA at both sides; charon makes another one, for the CPU."""
        w = self.up()
        old = next(s for s in w.a.gw.outbound() if w.a.gw.sas[s].cpu == 0)
        w.a.gw.expire(old, hard=True)
        self.eventually("the deletion", lambda: old not in w.a.gw.outbound() | w.b.gw.inbound())
        self.eventually("another one", lambda: w.a.gw.cpus() == [None, 0, 1])
        self.assertIn("closing expired CHILD_SA", w.a.charon.log())

    def test_lifetime_in_time(self):
        """The plugin has a clock: SAs are rekeyed, and are deleted if that is impossible."""
        w = self.up(cpus=(0,), child={"rekey_time": "3s", "life_time": "9s", "rand_time": "0s"})
        old = w.a.gw.outbound()
        self.eventually("two new SAs", lambda: len(w.a.gw.outbound()) == 2
                        and not old & w.a.gw.outbound(), 9)
        self.assertEqual(w.a.gw.cpus(), [None, 0])
        w.b.gw.refuse["ALLOC_SPI"] = w.a.gw.refuse["ALLOC_SPI"] = errno.ENOSPC
        self.eventually("no SAs any more", lambda: not w.a.gw.sas and not w.b.gw.sas, 20)

    def test_outlived(self):
        """An SA at its end that the peer has not said goodbye to: a new gateway does not hear of
        it, as its window would begin empty."""
        w = self.up(cpus=(0,), child={"rekey_time": "0s", "life_time": "4s", "rand_time": "0s"})
        self.assertEqual(len(w.a.gw.sas), 4)
        w.b.charon.process.send_signal(signal.SIGSTOP)
        try:
            self.eventually("its deletion", lambda: "closing expired CHILD_SA"
                            in w.a.charon.log(), 6)
            time.sleep(1.5)  # the last ones are a little younger
            self.assertEqual(len(w.a.gw.sas), 4)  # until the peer answers
            w.a.gw.stop()
            w.a.gw.start()
            self.eventually("the replay", lambda: w.a.gw.count("SYNC_END") == 1)
            self.assertEqual(w.a.gw.sas, {})
        finally:
            w.b.charon.process.send_signal(signal.SIGCONT)

    def test_lifetimes_told(self):
        """The gateway hears all limits of both directions; a new one what is left of the time."""
        limits = {"rekey_time": "600s", "life_time": "900s", "rand_time": "10s",
                  "rekey_bytes": "5000000", "life_bytes": "6000000", "rand_bytes": "1000",
                  "rekey_packets": "50000", "life_packets": "60000", "rand_packets": "10"}
        w = self.up(child=limits)
        for node in w.nodes:
            self.assertEqual(len(node.gw.sas), 6)
            for sa in node.gw.sas.values():
                for kind, soft, hard, spread in (("s", 600, 900, 10),
                                                 ("bytes", 5000000, 6000000, 1000),
                                                 ("packets", 50000, 60000, 10)):
                    self.assertEqual(getattr(sa, f"hard_{kind}"), hard)
                    self.assertIn(getattr(sa, f"soft_{kind}"), range(soft - spread, soft + 1))
        old = {spi: w.a.gw.sas[spi].soft_s for spi in w.a.gw.inbound()}
        w.b.gw.refuse["ALLOC_SPI"] = errno.ENOSPC  # no successors
        time.sleep(2)
        w.a.gw.stop()
        w.a.gw.start()
        self.eventually("the replay", lambda: w.a.gw.count("SYNC_END") == 1)
        for spi, soft_s in old.items():
            self.assertIn(w.a.gw.sas[spi].hard_s, range(880, 899))
            self.assertIn(w.a.gw.sas[spi].soft_s, range(soft_s - 20, soft_s - 1))

    def test_counters(self):
        """charon shows what the gateway counts, and it grows over a restart of the gateway."""
        w = self.up(cpus=())
        spi = next(iter(w.a.gw.inbound()))
        w.a.gw.used[spi] = (5000, 50, 3)

        def row():
            # in any state: after the restart it is about to be rekeyed
            return next(c for c in w.a.charon.children(state=None)
                        if "spi-in" in c and socket.htonl(int(c["spi-in"], 16)) == spi)
        first = row()
        self.assertEqual((first["bytes-in"], first["packets-in"]), ("5000", "50"))
        self.assertIn(int(first["use-in"]), (3, 4))
        w.b.gw.refuse["ALLOC_SPI"] = errno.ENOSPC  # no successor
        w.a.gw.stop()
        w.a.gw.used[spi] = (700, 7, 1)
        w.a.gw.start()
        self.eventually("the replay", lambda: w.a.gw.count("SYNC_END") == 1)
        self.assertEqual((row()["bytes-in"], row()["packets-in"]), ("5700", "57"))

    def test_no_gateway(self):
        """Traps wait for the gateway; SAs are refused meanwhile; then all comes by itself."""
        w = World()
        self.addCleanup(w.close)
        self.w = w
        w.b.start()
        w.a.charon.start()
        w.a.load()
        self.assertIn("no connection to dpdk-pcpu-gw", w.a.charon.log())
        w.b.acquire()
        self.eventually("a refusal", lambda: "no SPI from dpdk-pcpu-gw" in w.a.charon.log())
        self.assertFalse(w.b.gw.outbound())
        w.a.gw.start()
        self.eventually("the trap", w.a.gw.trap, 3)
        w.a.acquire()
        self.eventually("the fallback", lambda: w.a.gw.cpus() == [None] and w.b.gw.outbound())

    def test_silent_gateway(self):
        """A gateway that hangs: charon goes on in 5 s, and all is right when it is back."""
        w = self.up(cpus=())
        w.a.gw.silent.add("ALLOC_SPI")
        began = time.monotonic()
        w.a.acquire(0)
        self.eventually("the complaint",
                        lambda: "dpdk-pcpu-gw does not answer" in w.a.charon.log(), 9)
        self.assertGreater(time.monotonic() - began, 4)
        w.a.gw.silent.clear()
        self.eventually("a new connection", lambda: w.a.gw.count("SYNC_END") == 2, 3)
        self.assertEqual(w.a.gw.cpus(), [None])

    def test_wrong_messages(self):
        """What is no message breaks the connection and nothing else."""
        w = self.up(cpus=())
        for junk in (b"\xff" * 40, b"\1", bytes(3000)):
            syncs = w.a.gw.count("SYNC_END")
            with w.a.gw.lock:
                w.a.gw.connection.send(junk)
            self.eventually("a new connection",
                            lambda n=syncs: w.a.gw.count("SYNC_END") == n + 1, 5)
        self.assertEqual(len(w.a.charon.children()), 1)

    def test_hostile_events(self):
        """Events of the right length with anything in them: charon lives, and keeps its SAs."""
        w = self.up(cpus=())
        dice = random.Random(1)
        for name in ("acquire", "expire", "mapping", "reply") * 50:
            event = layout(name).from_buffer_copy(dice.randbytes(ctypes.sizeof(layout(name))))
            event.hdr.type = NUMBERS[f"IKE_{name.upper()}"]
            if name != "reply" and dice.random() < 0.5:
                # as far as an address is looked at
                for field in (event.src, event.dst) if name == "acquire" else (event.sa.dst,):
                    field.family = dice.choice((4, 6))
            with w.a.gw.lock:
                w.a.gw.connection.send(bytes(event))
        w.a.acquire(0)
        self.eventually("another SA all the same", lambda: w.a.gw.cpus() == [None, 0])
        self.assertEqual(w.a.gw.count("HELLO"), 1)
        self.assertEqual(len(w.a.charon.list_sas()), 1)

    def test_mapping(self):
        """A peer that moves: charon follows."""
        w = self.up(cpus=(), connection={"encap": "yes"}, child={"per_cpu_sas": "no"})
        w.a.gw.mapping(next(iter(w.a.gw.inbound())), "192.0.2.2", 4999)
        self.eventually("the new port", lambda: w.a.charon.list_sas()[0]["remote-port"] == "4999")
        self.eventually("an update of both SAs", lambda: w.a.gw.count("SA_UPDATE") >= 2)

    def test_mapping_of_any_port(self):
        """With SAs for a CPU as well: whether they come IKE's way the gateway knows."""
        for per_cpu in ("yes", "encap"):
            w = self.up(cpus=(0,), connection={"encap": "yes"}, child={"per_cpu_sas": per_cpu})
            self.assertEqual({w.a.gw.sas[s].src.port for s in w.a.gw.inbound()}, {0})
            w.a.gw.mapping(next(iter(w.a.gw.inbound())), "192.0.2.2", 4999)
            self.eventually("the new port",
                            lambda w=w: w.a.charon.list_sas()[0]["remote-port"] == "4999")
            self.assertEqual({w.a.gw.sas[s].src.port for s in w.a.gw.inbound()}, {0})

    def test_port_of_ike(self):
        """Where charon's port for UDP is another one than 4500: it is IKE's all the same."""
        w = self.up(cpus=(0,), connection={"encap": "yes"}, settings={"port_nat_t": 4600})
        for node, port in ((w.a, 4600), (w.b, 4500)):
            self.assertEqual(self.sports(node), {(port, False)})

    def test_port_by_lot(self):
        """With a port for each SA the gateway hears that it may have another one."""
        w = self.up(cpus=(0,), connection={"encap": "yes"}, child={"per_cpu_sas": "encap"},
                    settings={"port_nat_t": 4600})
        for node in w.nodes:
            self.assertEqual({by_lot for _, by_lot in self.sports(node)}, {True})
            self.assertFalse({4500, 4600} & {port for port, _ in self.sports(node)})

    def test_port_without_udp(self):
        """There is none, and so none to be chosen."""
        w = self.up(cpus=(0,), child={"per_cpu_sas": "encap"})
        for node in w.nodes:
            self.assertEqual({by_lot for _, by_lot in self.sports(node)}, {False})

    @staticmethod
    def sports(node):
        """(source port, is it drawn by lot?) of outbound SAs; no inbound one is said to be."""
        lot = NUMBERS["IKE_SA_ANY_SPORT"]
        if any(node.gw.sas[spi].flags & lot for spi in node.gw.inbound()):
            raise AssertionError("an inbound SA has a port by lot")
        sas = [node.gw.sas[spi] for spi in node.gw.outbound()]
        return {(socket.ntohs(sa.src.port), bool(sa.flags & lot)) for sa in sas}

    def mobile(self):
        """Two with MOBIKE, whose gateways do not move SAs; a has a second address."""
        w = self.up(cpus=(0,), connection={"mobike": "yes"})
        w.a.ns.sysctl("net.ipv4.conf.all.promote_secondaries", 1)
        w.a.ns.ip("addr", "add", f"{SIDES['a']['wan2']}/24", "dev", "wan")
        for node in w.nodes:
            node.gw.refuse_moves()
        return w

    def moved(self, w, old, seconds=PATIENCE_S):
        """New SAs have come, to and from the new address, and nothing is left of the old ones."""
        wan2 = socket.inet_aton(SIDES["a"]["wan2"])

        def ends(node):
            with node.gw.lock:
                return {bytes((sa.sa.dst if inbound else sa.src).addr[:4])
                        for sa in node.gw.sas.values()
                        for inbound in [sa.flags & NUMBERS["IKE_SA_INBOUND"]]}
        for node in w.nodes:
            self.eventually("the end of the old SAs", lambda n=node: not old & set(n.gw.sas),
                            seconds)
            self.eventually("two pairs", lambda n=node: len(n.gw.outbound()) == 2
                            and len(n.gw.inbound()) == 2)
            self.eventually("the end of their policies", lambda n=node: {
                p.spi for p in n.gw.policies} == {0} | n.gw.inbound() | n.gw.outbound())
            self.assertEqual(node.spis("out"), node.gw.outbound())
            self.assertEqual(node.spis("in"), node.gw.inbound())
        self.assertEqual(ends(w.a), {wan2})

    def test_move_refused(self):
        """The gateway does not move SAs: charon rekeys them at both sides, and none is left."""
        w = self.mobile()
        old = set(w.a.gw.sas) | set(w.b.gw.sas)
        w.a.ns.ip("addr", "del", f"{SIDES['a']['wan']}/24", "dev", "wan")
        self.moved(w, old)
        for node in w.nodes:
            self.assertIn("unable to move SA", node.charon.log())

    def test_move_without_gateway(self):
        """It is away meanwhile: the same, as soon as it is back."""
        w = self.mobile()
        old = set(w.a.gw.sas) | set(w.b.gw.sas)
        w.a.gw.stop()
        w.a.ns.ip("addr", "del", f"{SIDES['a']['wan']}/24", "dev", "wan")
        self.eventually("a failure", lambda: "unable to move SA" in w.a.charon.log())
        w.a.gw.start()
        self.moved(w, old)

    def test_expire_after_refused_move(self):
        """charon looks for a CHILD_SA by where IKE is now: so events name that."""
        w = self.mobile()
        old = set(w.a.gw.sas) | set(w.b.gw.sas)
        inbound = w.a.gw.inbound()
        for node in w.nodes:
            node.gw.refuse["ALLOC_SPI"] = errno.ENOSPC  # so there are no successors
        w.a.ns.ip("addr", "del", f"{SIDES['a']['wan']}/24", "dev", "wan")
        for node in w.nodes:
            self.eventually("failures", lambda n=node: n.charon.log().count(
                "CHILD_SA rekeying failed, trying again") >= 2)
        self.assertTrue(inbound <= w.a.gw.inbound())
        for node in w.nodes:
            del node.gw.refuse["ALLOC_SPI"]
        for spi in inbound:
            w.a.gw.expire(spi)
        self.moved(w, old, 4)  # charon by itself tries again in 5 to 15 s

    def test_unsupported(self):
        """What the gateway does not have is refused, with a sentence."""
        for child, word in (({"mode": "transport"}, "mode other than tunnel"),
                            ({"mark_in": "7", "mark_out": "7"}, "mark")):
            with self.subTest(word):
                w = self.world(child={"start_action": "none", **child},
                               selectors="dynamic" if "mode" in child else None)
                w.a.charon.vici("initiate", child="net", timeout=-1)
                self.eventually("the sentence", lambda w=w, word=word: any(
                    word in node.charon.log() for node in w.nodes))
                self.eventually("no SA", lambda w=w: not w.a.charon.children()
                                and not w.a.gw.sas)
                w.close()

