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

    def established(self, world, source="a", **how):
        """Traffic of one side until each of its workers has an SA of its own; the sender."""
        sender = world.send(source, flows=32, **how)
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
            self.assertEqual(side.capture.missed(), 0, "packets that the capture has not seen")
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
            tunnels = self.tunnel_rows(side)
            self.assertEqual(set(tunnels), set(charon))
            for key, child in charon.items():
                way = key[0]
                cpu = int(child["cpu"]) if "cpu" in child else None
                want = (int(child.get(f"bytes-{way}", 0)), int(child.get(f"packets-{way}", 0)),
                        cpu, cpu is None)
                for row in (rows[key], tunnels[key]):
                    self.assertEqual((row["bytes"], row["packets"], row["cpu"],
                                      row["pcpu"] is None), want, key)
                self.assertEqual(tunnels[key]["tunnel"], f"ike-{child['reqid']}")

    @staticmethod
    def tunnel_rows(side):
        """What "show tunnel" has of the SAs of each tunnel, by direction and SPI."""
        return {(s["dir"], s["spi"]): {**s, "tunnel": t["name"]}
                for t in side.gateway.show("tunnels")
                for s in side.gateway.show(f"tunnel {t['name']}")["sas"]}

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
        self.assert_first(w)
        # the second one finds it, and has its worker's pair come beside it
        two = w.send("a", flows=1, limit=1)
        self.eventually("a pair for a worker", lambda: len(w.a.charon.children()) == 2, world=w)
        self.assertEqual(sum("cpu" in c for c in w.a.charon.children()), 1)
        report = two.end()
        self.assertEqual((report.sent, report.came), (1, 1))
        many = self.established(w)
        many.end()
        self.assert_agree(w)
        self.assertEqual(len(w.a.charon.children()), len(w.b.charon.children()))
        self.assert_no_iv_twice(w)

    def assert_first(self, w, **how):
        """The first packet of all brings a child that is nobody's CPU's, and nothing else."""
        one = w.send("a", flows=1, limit=1, **how)
        self.eventually("the fallback", lambda: w.a.charon.children(), world=w)
        pause(0.5)  # in which another one would have come
        for side in w.sides.values():
            self.assertEqual([c.get("cpu") for c in side.charon.children()], [None])
            self.assertEqual([(s["dir"], s["pcpu"]) for s in side.gateway.show("sa")],
                             [("in", None), ("out", None)])
        one.end(0)

    def test_ipv6_first(self):
        """IPv6 alone brings all SAs, which carry IPv4 from their first packet on."""
        w = self.world().start()
        self.assert_first(w, inside="host6")
        self.established(w, inside="host6").end(1.0)
        self.assertIn(f"{w.a.at['host6']}/128", w.a.charon.log())
        # each host is known to its gateway by its IPv4 address as well, before packets count
        for side in w.sides.values():
            one = w.send(side.name, flows=1, rate=50)
            self.eventually("a packet of IPv4", one.came, world=w)
            one.end(0.5)
        before = self.spis(w.a)
        senders = [w.send(source, flows=32, inside=inside)
                   for source, inside in (("a", "host"), ("a", "host6"), ("b", "host6"))]
        pause(0.5)
        self.assert_perfect(senders[:2], w, 100)
        self.assertEqual(self.spis(w.a) & before, before)
        # b's own SAs were not there yet when it began
        self.assert_complete(senders[2].end(), w)

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
        """SAs without packets are retired, one alone or all; packets bring them back."""
        w = self.world(child={"inactivity": "2s"}).start()
        self.established(w).end(0.5)
        one = w.send("a", flows=1, rate=200)
        self.eventually("one worker's SA alone", lambda: len(out_sas(w.a)) == 1, world=w)
        kept = self.spis(w.a)
        self.assertEqual(kept, self.busy(w.a))
        self.assertNotEqual(workers_of(w.a), [None])
        many = w.send("a", flows=32)
        self.eventually("SAs of all workers", lambda: set(workers_of(w.a)) >= set(range(WORKERS)),
                        world=w)
        self.assertTrue(kept <= self.spis(w.a))
        # what has no SA yet goes by the one there is
        self.assert_complete(many.end(), w)
        self.assert_perfect([one], w, 500)
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
