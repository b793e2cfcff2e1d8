# SPDX-License-Identifier: BSD-3-Clause
"""SAs per CPU: which one is taken when one is missing, replaced or deleted; on both sides."""

import contextlib
import os
import threading
import unittest
from errno import EINVAL

import lab
import linux
from gw import Tunnel
from lab import far, nets

PACKETS = 60
FLOWS = 30
SIZE = 100


class PerCpu(lab.InteropTest):
    """Two workers, two CPUs, a queue for each; guest CPU n sends on the gateway's queue n."""

    NAMES = ("full", "guest0", "nofallback", "gw0", "gwnofallback", "newest", "deleted", "gone",
             "late")

    @classmethod
    def tunnels(cls):
        pcpus = {"gw0": (0, "any"), "gwnofallback": (0, 1)}
        return [Tunnel(name, nets(i), pcpus=pcpus.get(name, (0, 1, "any")), encap=i % 2 == 0)
                for i, name in enumerate(cls.NAMES)]

    def use(self, name, **how):
        """The guest as the peer of a tunnel."""
        self.number = self.NAMES.index(name)
        tunnel = self.all[self.number]
        self.site.peer(tunnel, self.number, **how)
        return tunnel

    def both_ways(self):
        """To the guest, and from each of its CPUs; the counts after and before."""
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS)
        for cpu in (0, 1):
            self.to_host(PACKETS, self.number, cpu=cpu)
        return self.settled(before), before

    def counted(self, now, before, tunnel):
        """Packets by SA: what each end says that it sent and received.

        By CPU and direction; both ends must say the same of every SA.
        """
        into, out = {}, {}
        for cpu, from_gw, to_gw in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
            for sa, direction, sums in ((to_gw, "in", into), (from_gw, "out", out)):
                ours, theirs = now.packets(direction, sa, before), now.guest_packets(sa, before)
                self.assertEqual(ours, theirs, f"SA {sa.spi:#x} of CPU {cpu}, {direction}")
                sums[cpu] = ours[0]
        return into, out

    def test_packet_for_packet(self):
        """Worker n decrypts what CPU n encrypted, and CPU n's SA gets what worker n encrypted."""
        tunnel = self.use("full")
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS, sizes=[SIZE])
        for cpu, count in ((0, 70), (1, 33)):
            self.to_host(count, self.number, cpu=cpu, sizes=[SIZE])
        now = self.settled(before)
        into, out = self.counted(now, before, tunnel)
        self.assertEqual(into, {0: 70, 1: 33, "any": 0})
        self.assertEqual(now.by_worker("decap", before), [70, 33])
        self.assertEqual(now.by_worker("encap", before), [out[0], out[1]])
        self.assertEqual(out[0] + out[1], PACKETS)
        self.assertGreater(min(out[0], out[1]), 0)
        self.assertEqual(now.by_worker("handed_off", before), [0, 0])
        self.assertEqual({s["worker"] for (_, spi), s in now.sas.items()
                          if spi in (tunnel.to_gw[1].spi, tunnel.from_gw[1].spi)}, {1})

    def test_guest_lacks_one(self):
        """CPU 1 of the guest has no SA: its kernel takes the fallback, and nothing is lost."""
        tunnel = self.use("guest0", batch=self.states(
            self.all[self.NAMES.index("guest0")], out=(0, "any")))
        now, before = self.both_ways()
        into, _ = self.counted(now, before, tunnel)
        self.assertEqual(into, {0: PACKETS, 1: 0, "any": PACKETS})
        # the fallback came in on CPU 1's queue
        owner = now.sas["in", tunnel.to_gw[2].spi]["worker"]
        self.assertEqual(now.by_worker("handed_off_esp", before)[1],
                         0 if owner == 1 else PACKETS)

    def test_guest_lacks_fallback(self):
        """And has no fallback either: Linux drops what CPU 1 sends, by name. We would not."""
        self.use("nofallback", batch=self.states(
            self.all[self.NAMES.index("nofallback")], out=(0,)))
        self.to_host(PACKETS, self.number, cpu=0)
        before = self.counts()
        stat = {"XfrmOutNoStates": 5}
        self.to_host(5, self.number, cpu=1, lost=5, stat=stat, errno=None)
        self.settled(before, stat=stat)

    def test_gateway_lacks_one(self):
        """Worker 1 has no pair: what it gets goes by the fallback, handed to its owner."""
        tunnel = self.use("gw0")
        now, before = self.both_ways()
        into, out = self.counted(now, before, tunnel)
        self.assertEqual(into, {0: PACKETS, "any": PACKETS})
        self.assertEqual(out[0] + out["any"], PACKETS)
        self.assertGreater(out["any"], 0)
        owner = now.sas["out", tunnel.from_gw[1].spi]["worker"]
        self.assertEqual(owner, 1)  # the one without an SA of its own
        self.assertEqual(now.by_worker("handed_off", before), [0, 0])

    def test_gateway_lacks_fallback(self):
        """No fallback: while every worker has an SA, none is missed; and then neither."""
        tunnel = self.use("gwnofallback")
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS)
        self.counted(self.settled(before), before, tunnel)
        self.site.gateway.console(f"sa del gwnofallback out {tunnel.from_gw[1].spi:#x}")
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS)
        now = self.settled(before)
        self.assertEqual(now.guest_packets(tunnel.from_gw[0], before)[0], PACKETS)
        handed = now.by_worker("handed_off_fallback", before)
        self.assertEqual(handed[0], 0)
        self.assertGreater(handed[1], 0)

    def add(self, tunnel, direction, sa, cpu):
        """An SA more for the gateway, while traffic may run."""
        path = os.path.join(self.site.directory, "key")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="ascii") as f:
            f.write(sa.key.hex())
        ports = f" {sa.sport} {sa.dport}" if sa.dport else ""
        self.site.gateway.console(
            f"sa add {tunnel.name} {direction} {sa.spi:#x} {cpu} {path}{ports}")
        os.unlink(path)

    def test_newest(self):
        """Of two SAs for one CPU the gateway sends on the newer one; both ends take either.

        Linux may go on with the older one, which its look-up has cached, until that is gone.
        """
        tunnel = self.use("newest")
        old_in, old_out = tunnel.to_gw[0], tunnel.from_gw[0]
        self.to_host(PACKETS, self.number, cpu=0)
        new_in, new_out = tunnel.fresh_sa(True), tunnel.fresh_sa(False)
        # make before break: both receive before one sends
        self.add(tunnel, "in", new_in, 0)
        self.site.guest.do("ip", commands=[linux.state(new_out, "in", 0),
                                           linux.state(new_in, "out", 0)])
        self.add(tunnel, "out", new_out, 0)
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS)
        self.to_host(PACKETS, self.number, cpu=0)
        now = self.settled(before)
        taken = [now.packets("in", sa, before)[0] for sa in (new_in, old_in)]
        self.assertIn(taken, ([PACKETS, 0], [0, PACKETS]))
        self.assertEqual(now.packets("out", old_out, before)[0], 0)
        self.assertGreater(now.packets("out", new_out, before)[0], 0)
        self.assertEqual(now.packets("out", new_out, before), now.guest_packets(new_out, before))
        self.assertEqual(now.guest_packets(new_in, before), now.packets("in", new_in, before))
        # break: the old ones go
        self.site.guest.do("ip", commands=[linux.delete(old_in)])
        self.site.gateway.console(f"sa del newest out {old_out.spi:#x}")
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS)
        self.to_host(PACKETS, self.number, cpu=0)
        now = self.settled(before)
        self.assertEqual(now.packets("in", new_in, before)[0], PACKETS)
        self.assertGreater(now.packets("out", new_out, before)[0], 0)
        # and the newest goes: the gateway, without the old one, is back on the fallback
        self.site.gateway.console(f"sa del newest out {new_out.spi:#x}")
        before = self.counts()
        self.to_guest(PACKETS, self.number, flows=FLOWS)
        now = self.settled(before)
        self.assertGreater(now.guest_packets(tunnel.from_gw[2], before)[0], 0)

    def states(self, tunnel, into=(0, 1, "any"), out=(0, 1, "any")):
        """Commands for some of a tunnel's SAs; directions as the guest sees them."""
        commands = []
        for cpu, from_gw, to_gw in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
            if cpu in into:
                commands.append(linux.state(from_gw, "in", cpu))
            if cpu in out:
                commands.append(linux.state(to_gw, "out", cpu))
        return commands

    @contextlib.contextmanager
    def flowing(self, send):
        """Traffic in the background, from before the block to after it."""
        stop = threading.Event()
        rounds, errors = [], []

        def body():
            while not stop.is_set() or len(rounds) < 3:
                try:
                    send()
                except Exception as err:  # for the thread that waits
                    errors.append(err)
                    return
                rounds.append(1)

        thread = threading.Thread(target=body)
        thread.start()
        try:
            lab.wait_for("traffic", lambda: rounds or errors, lab.PATIENCE_S)
            yield
            count = len(rounds)
            lab.wait_for("more traffic", lambda: len(rounds) > count + 1 or errors,
                         lab.PATIENCE_S)
        finally:
            stop.set()
            thread.join()
        if errors:
            raise errors[0]

    def test_deleted_by_gateway(self):
        """An outbound SA of the gateway goes while it is sent on: the fallback carries on."""
        tunnel = self.use("deleted")
        before = self.counts()
        with self.flowing(lambda: self.to_guest(40, self.number, flows=20)):
            self.site.gateway.console(f"sa del deleted out {tunnel.from_gw[1].spi:#x}")
        now = self.settled(before)
        for n in (0, 2):
            self.assertEqual(now.packets("out", tunnel.from_gw[n], before),
                             now.guest_packets(tunnel.from_gw[n], before))
        self.assertGreater(now.guest_packets(tunnel.from_gw[1], before)[0], 0)
        self.assertGreater(now.guest_packets(tunnel.from_gw[2], before)[0], 0)

    def test_deleted_by_guest(self):
        """The guest's SA of CPU 1 goes while it sends: its fallback carries on, nothing is lost."""
        tunnel = self.use("gone")
        self.to_host(PACKETS, self.number, cpu=1)
        before = self.counts()
        self.assertEqual(before.sas["in", tunnel.to_gw[1].spi]["packets"], PACKETS)
        numbers = self.fresh(2000)
        with self.sink(self.site.host, lab.HOST4) as sunk:
            errors = self.site.guest.do(
                "send_during", script=f"ip {linux.delete(tunnel.to_gw[1])}", after=500,
                src=far(self.number)[0], dst=lab.HOST4, port=lab.PORT, numbers=numbers, cpu=1,
                tries=lab.Renewal.TRIES)
            # it may be on its way out as the SA goes: once, on one CPU
            self.assertIn([e for _, e in errors], ([], [EINVAL]))
            lab.wait_for("packets", lambda: len(sunk()["numbers"]) >= 2000, lab.PATIENCE_S)
            got = sunk()
        self.assertEqual(sorted(got["numbers"]), list(range(*numbers)))
        now = self.settled(before, stat={lab.Renewal.REFUSED: 1} if errors else None)
        own = now.packets("in", tunnel.to_gw[1], before)[0]
        fallback = now.packets("in", tunnel.to_gw[2], before)[0]
        self.assertEqual(own + fallback, 2000)
        self.assertGreater(own, 0)
        self.assertGreater(fallback, 0)

    def test_gateway_forgets_inbound(self):
        """An inbound SA that the guest still sends on: a drop with a name, until it is there."""
        tunnel = self.use("late")
        sa = tunnel.to_gw[1]
        self.site.gateway.console(f"sa del late in {sa.spi:#x}")
        before = self.counts()
        self.to_host(7, self.number, cpu=1, lost=7, drops={"no_sa": 7})
        self.settled(before, {"no_sa": 7})
        self.add(tunnel, "in", sa, 1)
        before = self.counts()
        self.to_host(7, self.number, cpu=1)
        now = self.settled(before)
        self.assertEqual(now.packets("in", sa, before)[0], 7)


class FewerWorkers(lab.InteropTest):
    """One worker, two CPUs in the guest: it owns all pairs. The guest has one queue, as it has."""

    workers = 1

    @classmethod
    def tunnels(cls):
        return [Tunnel("one", nets(0))]

    def test_all_on_one(self):
        tunnel = self.all[0]
        self.site.peer(tunnel, 0)
        before = self.counts()
        self.to_guest(PACKETS, 0, flows=FLOWS)
        for cpu in (0, 1):
            self.to_host(PACKETS, 0, cpu=cpu)
        now = self.settled(before)
        self.assertEqual([now.packets("in", sa, before)[0] for sa in tunnel.to_gw],
                         [PACKETS, PACKETS, 0])
        self.assertEqual([now.packets("out", sa, before)[0] for sa in tunnel.from_gw],
                         [PACKETS, 0, 0])
        self.assertEqual(now.by_worker("decap", before), [2 * PACKETS])
        self.assertEqual(now.by_worker("handed_off", before), [0])


class MoreWorkers(lab.InteropTest):
    """Four workers with a pair each, two CPUs in the guest; a TAP that knows nothing of SPIs."""

    kind = "tap"
    workers = 4

    @classmethod
    def tunnels(cls):
        return [Tunnel("plain", nets(0), pcpus=(0, 1, 2, 3, "any"), encap=False),
                Tunnel("udp", nets(1), pcpus=(0, 1, 2, 3, "any"))]

    def one(self, number):
        """Every SA is received on whatever queue, and each packet counted once."""
        tunnel = self.all[number]
        commands = []
        for cpu, from_gw, to_gw in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
            # all that the gateway may send on is there; a number beyond its CPUs Linux refuses
            commands.append(linux.state(from_gw, "in", cpu if cpu in (0, 1) else "any"))
            if cpu in (0, 1, "any"):
                commands.append(linux.state(to_gw, "out", cpu))
        self.site.peer(tunnel, number, batch=commands)
        before = self.counts()
        self.to_guest(4 * PACKETS, number, flows=2 * FLOWS)
        for cpu in (0, 1):
            self.to_host(PACKETS, number, cpu=cpu)
        now = self.settled(before)
        sent = [now.packets("out", sa, before)[0] for sa in tunnel.from_gw]
        self.assertEqual([now.guest_packets(sa, before)[0] for sa in tunnel.from_gw], sent)
        self.assertEqual(sum(sent), 4 * PACKETS)
        self.assertEqual(sent, [*now.by_worker("encap", before), 0])
        self.assertEqual([now.packets("in", sa, before)[0] for sa in tunnel.to_gw],
                         [PACKETS, PACKETS, 0, 0, 0])
        self.assertEqual(now.by_worker("decap", before), [PACKETS, PACKETS, 0, 0])
        off, handed_in = now.by_worker("handed_off", before), now.by_worker("handed_in", before)
        self.assertEqual(sum(off), sum(handed_in))
        return now, before

    def test_plain(self):
        """Plain ESP of one pair of hosts comes in on one queue: half of it or more is foreign."""
        now, before = self.one(0)
        self.assertGreaterEqual(sum(now.by_worker("handed_off_esp", before)), PACKETS)

    def test_udp(self):
        self.one(1)


if __name__ == "__main__":
    unittest.main()
