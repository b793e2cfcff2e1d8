# SPDX-License-Identifier: BSD-3-Clause
"""Something ends; traffic comes back by itself, within what docs/ike.md says.

A bound is made of what the two programs wait for by their clocks (below, and retransmissions())
and of MARGIN_S, which is what a machine with more to do than CPUs needs for all else: an exchange
with the peer, ports that come up.
"""

import os
import re
import socket
import time

from charon import connection
from lab import WORKERS, pause
from proxy import Proxy
from test_gateways import GatewayTest, out_sas, workers_of
from traffic import PORT

MARGIN_S = 5.0
RECONNECT_S = 1.0  # the plugin's longest pause between two attempts to connect
HOLD_S = 10.0  # the gateway's longest pause between two acquires where there is no SA at all
ENOUGH = 200  # packets that came: what takes them is no left-over of before


def retransmissions(settings):
    """charon's waits for an answer, one after the other; after the last one it gives up."""
    return [settings["retransmit_timeout"] * settings["retransmit_base"] ** n
            for n in range(settings["retransmit_tries"] + 1)]


class FailureTest(GatewayTest):
    """What they have in common."""

    def back(self, world, senders, seconds):
        """Packets of all these senders pass (again) before so many seconds are over."""
        began = time.monotonic()
        before = [sender.came() for sender in senders]
        for sender, came in zip(senders, before):
            left = seconds - (time.monotonic() - began)
            self.eventually("traffic", lambda s=sender, n=came: s.came() > n + ENOUGH,
                            max(left, 0), world)
        took = time.monotonic() - began
        print(f"# {self.id().split('.')[-1]}: traffic after {took:.1f} s of {seconds:.1f}",
              flush=True)

    def all_own(self, world, sides, old=None):
        """Each worker has an SA of its own again, and none is one of these."""
        for side in sides:
            self.eventually(f"an SA for each worker of {side.name}",
                            lambda s=side: workers_of(s) == [None, *range(WORKERS)]
                            and not (old or {}).get(s.name, set()) & self.spis(s), world=world)

    @staticmethod
    def settle(senders):
        """End counting where loss is expected."""
        for sender in senders:
            sender.end(0.5)


class Restarts(FailureTest):
    """Of one side's processes."""

    def test_gateway_restart(self):
        """The gateway ends, in order or not: the plugin tells the next one all there is."""
        w, senders = self.up()
        for how in (15, 9):
            with self.subTest(signal=how):
                old = {"a": self.spis(w.a)}
                if how == 9:
                    w.a.gateway.kill()
                    w.a.gateway.clean()
                else:
                    w.a.gateway.stop(how)
                w.a.start_gateway()
                # the plugin is there, an exchange for each outbound SA; packets both ways go on
                self.back(w, senders, RECONNECT_S + MARGIN_S)
                self.all_own(w, [w.a], old)
        self.settle(senders)
        self.assert_no_iv_twice(w)

    def test_charon_killed(self):
        """charon dies: packets go on as if nothing had been; its successor takes over."""
        w, senders = self.up()
        w.a.charon.stop(9)
        pause(1.0)
        self.assert_perfect(senders, w, 500)
        senders = [w.send(source, flows=32) for source in w.sides]
        old = self.spis(w.a)
        w.a.start_charon()
        # a packet is what makes the new charon negotiate, once its traps are there: so traffic goes
        # on. The inbound ones, which the peer may still send on, stay for a minute
        self.eventually("the end of the stale SAs", lambda: not old & self.spis(w.a),
                        RECONNECT_S + MARGIN_S, w)
        self.back(w, senders, MARGIN_S)
        self.settle(senders)
        self.assert_no_iv_twice(w)

    def test_charon_stopped(self):
        """charon ends in order: its SAs are gone at both sides, nothing leaves in clear."""
        w, senders = self.up()
        w.a.charon.stop()
        self.eventually("no SAs", lambda: not w.a.gateway.show("sa")
                        and not out_sas(w.b), world=w)
        w.a.start_charon()
        self.back(w, senders, RECONNECT_S + MARGIN_S)
        self.settle(senders)
        self.assert_no_iv_twice(w)

    def test_peer_rebooted(self):
        """Gateway and charon of b die and come anew, as with its machine.

        With packets from b its IKE_SA says to a that all before is over; without any it is DPD
        that ends what a has, and then a's next packet begins anew.
        """
        w, senders = self.up(connection={"dpd_delay": "1s"}, settings={"retransmit_timeout": 0.5})
        dead_s = 1 + sum(retransmissions(w.b.charon.settings))
        for sources, seconds in (("ab", RECONNECT_S + MARGIN_S),
                                 ("a", dead_s + RECONNECT_S + MARGIN_S)):
            with self.subTest(sources=sources):
                old = {side.name: self.spis(side) for side in w.sides.values()}
                if sources == "a":
                    senders.pop().end(0.5)
                w.b.charon.stop(9)
                w.b.gateway.kill()
                w.b.gateway.clean()
                w.b.start_gateway()
                w.b.start_charon()
                self.back(w, senders, seconds)
                self.all_own(w, [w.a], old)
                self.assertFalse(old["b"] & self.spis(w.b))
        self.settle(senders)
        self.assert_no_iv_twice(w)


class Network(FailureTest):
    """Between the two."""

    def test_dead_peer(self):
        """The cable is cut under traffic: DPD ends the SAs; with the cable all comes back.

        It is away until charon has given up the next IKE_SA too, and packets have had the gateway
        ask for another one again and again.
        """
        w, senders = self.up(connection={"dpd_delay": "1s"}, settings={"retransmit_timeout": 0.5})
        waits = retransmissions(w.a.charon.settings)
        w.net.ip("link", "set", "wb", "nomaster")
        self.eventually("the end of SAs", lambda: not w.a.charon.children(),
                        1 + sum(waits) + MARGIN_S, w)
        self.eventually("the end of attempts", lambda: "establishing IKE_SA failed"
                        in w.a.charon.log(), sum(waits) + MARGIN_S, w)

        def held():
            return [r["next_s"] for r in w.a.gateway.show("ike")["acquires"] if r["tries"] >= 5]
        self.eventually("a fifth acquire", held, 1 + 2 + 4 + 8 + MARGIN_S, w)
        self.assertLessEqual(max(held()), HOLD_S)
        w.net.ip("link", "set", "wb", "master", "br0")
        # the next acquire, if charon is not at it; the next retransmission if it is
        self.back(w, senders, HOLD_S + max(waits) + MARGIN_S)
        self.all_own(w, w.sides.values())
        self.settle(senders)
        self.assert_no_iv_twice(w)

    def test_mobike(self):
        """An address goes: IKE moves to another, with new SAs, and the old ones are gone."""
        w, senders = self.up(only={"a": {"mobike": "yes"}, "b": {"mobike": "yes"}})
        old = {side.name: self.spis(side) for side in w.sides.values()}
        w.a.ns.sysctl("net.ipv4.conf.all.promote_secondaries", 1)
        w.a.ns.ip("addr", "del", f"{w.a.at['wan']}/24", "dev", "wan")
        for here, there in (w.a, w.b), (w.b, w.a):
            self.eventually(
                f"SAs of {here.name} between the new addresses",
                lambda s=here: out_sas(s) and not old[s.name] & self.spis(s)
                and w.a.at["wan2"] in s.gateway.console("show tunnels"), 40, w)
        self.back(w, senders, MARGIN_S)
        self.settle(senders)
        self.assert_agree(w)
        self.assert_no_iv_twice(w)


class Socket(FailureTest):
    """Between charon and gateway."""

    def cuttable(self):
        """All SAs are there, senders, and a proxy at a."""
        w = self.world()
        proxy = Proxy(os.path.join(w.directory, "proxy.sock"), w.a.ike_path)
        self.addCleanup(proxy.close)
        w.a.charon.gateway_socket = proxy.path
        w.start()
        for source in w.sides:
            self.established(w, source).end(1.0)
        return w, [w.send(source, flows=32) for source in w.sides], proxy

    def test_charon_hangs(self):
        """charon is stopped (not ended) for a while: gateway and packets do not care."""
        w, senders = self.up()
        w.a.charon.process.send_signal(19)
        pause(1.5)
        w.a.charon.process.send_signal(18)
        pause(0.5)
        self.assert_perfect(senders, w, 500)
        self.assert_agree(w)

    def test_cut_idle(self):
        """It breaks while nothing is asked: SAs and counters stay, nothing is lost."""
        w, senders, proxy = self.cuttable()
        for at_reply in (False, True):
            before = {(s["dir"], s["spi"]): s["packets"] for s in w.a.gateway.show("sa")}
            self.cut(w, proxy, "SA_QUERY", at_reply, w.a.charon.children)
            after = {(s["dir"], s["spi"]): s["packets"] for s in w.a.gateway.show("sa")}
            self.assertEqual(set(before), set(after))
            self.assertTrue(all(after[key] >= before[key] for key in before), (before, after))
        self.assert_perfect(senders, w, 500)
        self.assert_agree(w)

    def test_cut_in_rekey(self):
        """It breaks amidst rekeys, before a request or before its reply: nothing is lost."""
        w, senders, proxy = self.cuttable()
        self.cut_rekeys(w, proxy, ("ALLOC_SPI", "POL_DEL"))
        for sender in senders:
            # where a rekey fails, a worker's flows go by the fallback for a while, and may overtake
            report = sender.end()
            print(f"# test_cut_in_rekey: {report}", flush=True)
            self.assertGreater(report.sent, 500)
            self.assert_complete(report, w)
        # charon ends an SA at once whose successor it cannot install: what the peer has under way
        # on it is lost, and all else goes by the fallback
        senders = [w.send(source, flows=32) for source in w.sides]
        self.cut_rekeys(w, proxy, ("SA_ADD",))
        self.back(w, senders, MARGIN_S)
        self.settle(senders)
        self.assert_agree(w)
        self.assert_no_iv_twice(w)

    def cut_rekeys(self, world, proxy, names):
        """Rekeys of a's SAs one after the other, each with a cut at a request of these names."""
        for name in names:
            for at_reply in (False, True):
                child = next(c for c in world.a.charon.children() if "cpu" in c)
                self.cut(world, proxy, name, at_reply,
                         lambda c=child: world.a.charon.rekey(**{"child-id": c["uniqueid"]}))
                self.all_own(world, world.sides.values())
                for side in world.sides.values():
                    self.eventually("the end of a rekey", lambda s=side: all(
                        c["state"] == "INSTALLED" for c in s.charon.children(None)), world=world)

    def cut(self, world, proxy, name, at_reply, trigger):
        """Have it cut amidst of what that triggers; wait until all has been said again."""
        cuts, at = proxy.cuts, len(proxy.names)
        proxy.cut_at({name}, at_reply)
        trigger()
        self.eventually("a cut", lambda: proxy.cuts > cuts, world=world)
        began = time.monotonic()
        self.eventually("a new connection", lambda: "SYNC_END" in proxy.names[at:],
                        2 * RECONNECT_S, world)
        print(f"# cut at {name}: connected again after {time.monotonic() - began:.2f} s",
              flush=True)


class Storm(FailureTest):
    """Many want SAs, and nobody answers."""

    CHILDREN = 100
    SECONDS = 12
    GROWTH_KB = 8192

    @staticmethod
    def memory_kb(process):
        """Of a process, that is in memory."""
        with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M).group(1))

    def test_dead_peer(self):
        """Packets to 100 networks of a dead peer: each has charon asked ever less often."""
        w = self.world(settings={"retransmit_timeout": 0.5}).start(charons=False)
        w.a.charon.start()
        text = connection(w.a.at["wan"], w.b.at["wan"], w.a.at["net"], "10.2.N.0/24", w.esp,
                          w.connection, w.child)
        child = re.search(r"\t\t\tnet \{.*?\n\t\t\t\}\n", text, re.S).group()
        w.a.charon.load(text.replace(child, "".join(
            child.replace("net {", f"net{n} {{").replace("10.2.N.", f"10.2.{n}.")
            for n in range(self.CHILDREN))))
        processes = {"charon": w.a.charon.process, "gateway": w.a.gateway.process}
        before = {}
        began = time.monotonic()
        with w.a.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((w.a.at["host"], 0))
            while time.monotonic() < began + self.SECONDS:
                for n in range(self.CHILDREN):
                    s.sendto(bytes(64), (f"10.2.{n}.2", PORT))
                pause(0.1)
                if not before and time.monotonic() > began + 2:
                    before = {name: self.memory_kb(p) for name, p in processes.items()}
        ike = w.a.gateway.show("ike")
        asked = next(r["count"] for r in ike["counts"] if r["name"] == "acquires")
        growth = {name: self.memory_kb(p) - before[name] for name, p in processes.items()}
        print(f"# {asked} acquires in {self.SECONDS} s, memory grew by {growth} kB", flush=True)
        # at 0, 1, 3, 7 and 15 s
        self.assertIn(asked, range(3 * self.CHILDREN, 5 * self.CHILDREN + 1))
        self.assertEqual(len({r["reqid"] for r in ike["acquires"]}), self.CHILDREN)
        text = w.a.gateway.console("show ike")
        for row in ike["acquires"]:
            self.assertIn(row["tunnel"], text)
        for name, kb in growth.items():
            self.assertLess(kb, self.GROWTH_KB, name)
        self.assertEqual(w.a.capture.clear, [])
