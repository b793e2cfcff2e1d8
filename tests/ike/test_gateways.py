# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways whose SAs come from two charons."""

import time

from lab import WORKERS, IkeTest, pause


def out_sas(side):
    """Outbound SAs of a gateway."""
    return [s for s in side.gateway.show("sa") if s["dir"] == "out"]


def workers_of(side):
    """pcpu of its outbound SAs, sorted, the fallback (None) first."""
    return sorted({s["pcpu"] for s in out_sas(side)}, key=lambda p: -1 if p is None else p)


class GatewayTest(IkeTest):
    """What they have in common."""

    def established(self, world, source="a"):
        """Traffic of one side until each of its workers has an SA of its own; the sender."""
        sender = world.send(source, flows=32)
        side = world.sides[source]
        self.eventually("an SA for each worker",
                        lambda: workers_of(side) == [None, *range(WORKERS)], world=world)
        return sender

    def up(self, **how):
        """A world with all SAs there, and traffic both ways under way: world, senders."""
        world = self.world(**how).start()
        for source in world.sides:
            # what came before the first SA has been dropped: it does not count
            self.established(world, source).end(1.0)
        return world, [world.send(source, flows=32) for source in world.sides]

    def assert_perfect(self, senders, world, at_least=1):
        """All packets arrived, once, and in order."""
        for sender in senders:
            self.eventually(f"{at_least} packets that were sent",
                            lambda s=sender: sum(s.sent.values()) >= at_least, world=world)
            report = sender.end()
            self.assertTrue(report.perfect(), f"{report}\n{self.drops(world)}")
            print(f"# {self.id().split('.')[-1]}: {report}", flush=True)
        self.assert_no_iv_twice(world)

    def assert_complete(self, report, world):
        """All packets arrived, once, in whatever order."""
        self.assertFalse(report.lost or report.twice, f"{report}\n{self.drops(world)}")

    def assert_no_iv_twice(self, world):
        """Nothing on the wire had the SPI and IV of another packet, and nothing was in clear."""
        self.assertGreater(sum(len(s.capture.pairs) for s in world.sides.values()), 0)
        for side in world.sides.values():
            self.assertEqual(side.capture.repeated(), [])
            self.assertEqual(side.capture.clear, [])

    @staticmethod
    def drops(world):
        """What both gateways dropped, and the kernel's ends of their ports before them."""
        def taps(side):
            return [ns.run("cat", f"/sys/class/net/{dev}/statistics/tx_dropped").stdout.strip()
                    for ns, dev in ((side.host, f"h{side.name}"), (world.net, f"w{side.name}"))]
        return "\n".join(f"{s.name}: lan, wan TAP: {', '.join(taps(s))}; "
                         f"{s.gateway.console('show drops')}" for s in world.sides.values())

    def assert_agree(self, world):
        """charon and gateway know the same SAs, and count the same."""
        for side in world.sides.values():
            def both(side=side):
                rows = {(s["dir"], s["spi"]): s for s in side.gateway.show("sa")}
                charon = {}
                for child in side.charon.children():
                    for way in ("in", "out"):
                        charon[way, int(child[f"spi-{way}"], 16)] = child
                return rows, charon, set(rows) == set(charon)
            self.eventually("the same SPIs", lambda b=both: b()[2], 15, world)
            rows, charon, _ = both()
            for key, child in charon.items():
                way = key[0]
                self.assertEqual(int(child.get(f"bytes-{way}", 0)), rows[key]["bytes"], key)
                self.assertEqual(int(child.get(f"packets-{way}", 0)), rows[key]["packets"], key)
                cpu = int(child["cpu"]) if "cpu" in child else None
                self.assertEqual(cpu, rows[key]["cpu"], key)
                self.assertEqual(cpu is None, rows[key]["pcpu"] is None, key)

    @staticmethod
    def spis(side):
        """Of all outbound SAs."""
        return {s["spi"] for s in out_sas(side)}

    @staticmethod
    def busy(side):
        """SPIs of the outbound SAs that packets go out by now."""
        before = {s["spi"]: s["packets"] for s in out_sas(side)}
        pause(0.3)
        return {s["spi"] for s in out_sas(side) if s["packets"] > before.get(s["spi"], 0)}


class OnDemand(GatewayTest):
    """How SAs come."""

    def test_fallback_first(self):
        """One packet brings the fallback alone; packets of other workers bring theirs."""
        w = self.world().start()
        self.assertEqual(w.a.gateway.show("sa"), [])
        one = w.send("a", flows=1, rate=20)
        self.eventually("the fallback", lambda: w.a.charon.children(), world=w)
        self.assertLessEqual(len(w.a.charon.children()), 2)  # its worker may have its own by now
        one.end(1.0)
        many = self.established(w)
        many.end()
        self.assert_agree(w)
        self.assertEqual(len(w.a.charon.children()), len(w.b.charon.children()))
        self.assert_no_iv_twice(w)

    def test_no_loss_on_the_way_up(self):
        """From the first SA on nothing is lost: the fallback carries what has no own SA yet."""
        w = self.world().start()
        one = w.send("a", flows=1, rate=20)
        self.eventually("a packet at the other side", one.came, world=w)
        one.end(0.5)
        many = self.established(w)
        pause(0.5)
        report = many.end()
        self.assertGreater(report.sent, 100)
        # a flow that changes from the fallback to its worker's SA may overtake itself
        self.assert_complete(report, w)
        self.assert_no_iv_twice(w)

    def test_both_at_once(self):
        """Both sides initiate: it may make more SAs than needed, it must not lose for that."""
        w = self.world().start()
        senders = [w.send("a", flows=32), w.send("b", flows=32)]
        for side in (w.a, w.b):
            self.eventually(f"an SA for each worker of {side.name}",
                            lambda s=side: workers_of(s) == [None, *range(WORKERS)], world=w)
        for sender in senders:
            sender.end(1.0)
        senders = [w.send("a", flows=32), w.send("b", flows=32)]
        pause(1.0)
        self.assert_perfect(senders, w, 500)
        self.assert_agree(w)

    def test_narrowing(self):
        """The peer has narrower selectors: all SAs have those, and workers still get theirs."""
        w = self.world(selectors={"a": ("10.1.0.0/16", "10.2.0.0/16"),
                                  "b": ("10.2.0.0/24", "10.1.0.0/24")}).start()
        many = self.established(w)
        self.assertTrue(all(c["remote-ts"] == ["10.2.0.0/24"] for c in w.a.charon.children()))
        many.end(1.0)
        sender = w.send("a", flows=32)
        pause(0.5)
        self.assert_perfect([sender], w, 100)

    def test_console(self):
        """show tunnel knows the name of the connection, the CPUs and ages."""
        w = self.world().start()
        self.established(w).end(1.0)
        text = w.a.gateway.console("show tunnels")
        self.assertIn("gw", text)
        self.assertIn("192.0.2.2", text)


    def test_idle(self):
        """SAs without packets are retired; packets bring them back."""
        w = self.world(child={"inactivity": "2s"}).start()
        self.established(w).end(0.5)
        for side in w.sides.values():
            self.eventually("no SA any more", lambda s=side: not s.gateway.show("sa"), world=w)
        self.established(w).end(0.5)
        self.assert_no_iv_twice(w)


class Kinds(GatewayTest):
    """What may be negotiated."""

    def check(self, **how):
        """All up, then a second of traffic without loss."""
        w, senders = self.up(**how)
        pause(1.0)
        self.assert_perfect(senders, w, 100)
        self.assert_agree(w)
        return w

    def test_encap(self):
        """A UDP port for each SA: all are different, and those of per-worker SAs are high."""
        w = self.check(child={"per_cpu_sas": "encap"}, connection={"encap": "yes"})
        for side in w.sides.values():
            ports = [s["encap_sport"] for s in out_sas(side)]
            self.assertEqual(len(set(ports)), len(ports), ports)
            seen = {min(p) for spi, p in side.capture.ports.items()
                    if spi in {s["spi"] for s in out_sas(side)}}
            self.assertTrue(seen <= set(ports), (seen, ports))

    def test_encap_yes(self):
        """In UDP, all on 4500."""
        w = self.check(child={"per_cpu_sas": "yes"}, connection={"encap": "yes"})
        self.assertEqual({p for ports in w.a.capture.ports.values() for p in ports}, {4500})

    def test_chacha(self):
        """ChaCha20-Poly1305, 32-bit sequence numbers."""
        self.check(esp="chacha20poly1305-noesn")

    def test_gcm256(self):
        """AES-256-GCM with ESN."""
        self.check(esp="aes256gcm16-esn")

    def test_outside_ipv6(self):
        """IPv6 between the gateways, in UDP with a port for each SA."""
        w = self.check(child={"per_cpu_sas": "encap"}, connection={"encap": "yes"},
                       outside="wan6")
        self.assertIn(w.b.at["wan6"], w.a.gateway.console("show tunnels"))


class Rekey(GatewayTest):
    """Under traffic, and nothing is lost, doubled, or out of order within a flow."""

    def check(self, world, senders, sides, trigger=None, rounds=3, which=None):
        """So many generations of SAs.

        which: the SPIs of a side that have to be others. Of two SAs for a worker the older one
        is idle, and never comes to a limit of bytes.
        """
        which = which or self.spis
        replaced = 0
        for _ in range(rounds):
            old = {side.name: which(side) for side in sides}
            self.assertTrue(all(old.values()), old)
            replaced += sum(len(spis) for spis in old.values())
            if trigger is not None:
                trigger()
            for side in sides:
                self.eventually("new SAs", lambda s=side: not old[s.name] & which(s)
                                and workers_of(s) == [None, *range(WORKERS)], 60, world)
        pause(0.5)
        print(f"# {replaced} outbound SAs were replaced", flush=True)
        self.assert_perfect(senders, world, 500)

    def test_time(self):
        """All SAs every few seconds."""
        w, senders = self.up(child={"rekey_time": "4s", "life_time": "20s", "rand_time": "1s"})
        self.check(w, senders, [w.a, w.b])

    def test_bytes(self):
        """By the bytes that they carried."""
        w, senders = self.up(child={"rekey_bytes": "60000", "life_bytes": "600000",
                                    "rand_bytes": "0"})
        self.check(w, senders, [w.a, w.b], which=self.busy)

    def test_packets(self):
        """By packets."""
        w, senders = self.up(child={"rekey_packets": "600", "life_packets": "6000",
                                    "rand_packets": "0"})
        self.check(w, senders, [w.a, w.b], which=self.busy)

    def test_both_at_once(self):
        """Both sides rekey every SA at the same moment, several times."""
        w, senders = self.up()

        def both():
            for side in (w.a, w.b):
                side.charon.rekey(child="net")
        self.check(w, senders, [w.a, w.b], both)

    def test_ports(self):
        """In UDP: a worker's source port stays, whichever side renews."""
        w, senders = self.up(child={"per_cpu_sas": "encap"}, connection={"encap": "yes"})
        for initiator in (w.a, w.b):
            before = [{s["pcpu"]: s["encap_sport"] for s in out_sas(side)
                       if s["worker"] is not None} for side in w.sides.values()]
            old = [self.spis(side) for side in w.sides.values()]
            initiator.charon.rekey(child="net")
            for side, spis in zip(w.sides.values(), old):
                self.eventually("new SAs", lambda s=side, o=spis: not o & self.spis(s), 60, w)
            self.assertEqual(before, [
                {s["pcpu"]: s["encap_sport"] for s in out_sas(side) if s["worker"] is not None}
                for side in w.sides.values()])
        self.assert_perfect(senders, w, 100)

    def test_ike(self):
        """The IKE_SA itself."""
        w, senders = self.up()
        before = w.a.charon.list_sas()[0]["uniqueid"]
        w.a.charon.rekey(ike="gw")
        self.eventually("a new IKE_SA", lambda: w.a.charon.list_sas()
                        and w.a.charon.list_sas()[0]["uniqueid"] != before, world=w)
        pause(1.0)
        self.assert_perfect(senders, w, 500)


class Failures(GatewayTest):
    """Something ends; traffic comes back by itself."""

    def back(self, world, seconds):
        """Traffic passes again both ways; how long that took."""
        began = time.monotonic()
        for source in ("a", "b"):
            sender = world.send(source, flows=32)
            self.eventually(f"traffic of {source}", lambda s=sender: s.came() > 200, seconds,
                            world)
            sender.end(0.5)
        return time.monotonic() - began

    def settle(self, senders):
        """End counting where loss is expected."""
        for sender in senders:
            sender.end(0.5)

    def test_gateway_restart(self):
        """The gateway ends, in order or not: the plugin tells the next one all there is."""
        for how in (15, 9):
            with self.subTest(signal=how):
                w, senders = self.up()
                old = {s["spi"] for s in out_sas(w.a)}
                if how == 9:
                    w.a.gateway.kill()
                    w.a.gateway.clean()
                else:
                    w.a.gateway.stop(how)
                self.settle(senders)
                w.a.start_gateway()
                took = self.back(w, 20)
                print(f"# gateway ended by {how}: traffic after {took:.1f} s", flush=True)
                self.eventually("new outbound SAs", lambda: not old & self.spis(w.a)
                                and workers_of(w.a) == [None, *range(WORKERS)], 30, w)
                self.assert_no_iv_twice(w)
                w.close()

    def test_charon_killed(self):
        """charon dies: packets go on as if nothing had been; its successor takes over."""
        w, senders = self.up()
        w.a.charon.stop(9)
        pause(1.0)
        self.assert_perfect(senders, w, 500)
        senders = [w.send("a", flows=32)]
        old = self.spis(w.a)
        w.a.start_charon()
        self.eventually("a trap", lambda: "connected to dpdk-pcpu-gw" in w.a.charon.log(), world=w)
        self.back(w, 30)
        # a packet is what makes the new charon negotiate, once its traps are there: so traffic goes
        # on. The inbound ones, which the peer may still send on, stay for a minute
        self.eventually("the end of the stale SAs", lambda: not old & self.spis(w.a), 30, w)
        self.settle(senders)
        self.assert_no_iv_twice(w)

    def test_charon_stopped(self):
        """charon ends in order: its SAs are gone at both sides, nothing leaves in clear."""
        w, senders = self.up()
        w.a.charon.stop()
        self.eventually("no SAs", lambda: not w.a.gateway.show("sa")
                        and not out_sas(w.b), world=w)
        self.settle(senders)
        w.a.start_charon()
        self.back(w, 30)
        self.assert_no_iv_twice(w)

    def test_dead_peer(self):
        """The cable is cut: DPD ends the SAs; with the cable all comes back."""
        w, senders = self.up(connection={"dpd_delay": "1s"})
        w.net.ip("link", "set", "wb", "nomaster")
        self.eventually("the end of SAs", lambda: not w.a.charon.children(), 40, w)
        self.settle(senders)
        w.net.ip("link", "set", "wb", "master", "br0")
        took = self.back(w, 40)
        print(f"# dead peer: traffic after {took:.1f} s", flush=True)
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
        self.settle(senders)
        self.back(w, 20)
        self.assert_agree(w)
        self.assert_no_iv_twice(w)

    def test_socket_cut(self):
        """charon is stopped (not ended) for a while: gateway and packets do not care."""
        w, senders = self.up()
        w.a.charon.process.send_signal(19)
        pause(1.5)
        w.a.charon.process.send_signal(18)
        pause(0.5)
        self.assert_perfect(senders, w, 500)
        self.assert_agree(w)
