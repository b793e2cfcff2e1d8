# SPDX-License-Identifier: BSD-3-Clause
"""Where Linux does otherwise than we do: what docs/interop.md says of it, tried.

A failure here means that a newer kernel has changed its ways, and that the
document and what "show peer-commands" prints may have to follow.
"""

import errno
import unittest

import lab
import linux
from gw import Tunnel
from lab import nets

COUNT = 10
SOFT = " limit packet-soft 5 limit packet-hard 1000000"


class Traps(lab.InteropTest):
    """Policies with the flag that lets a CPU without an SA ask a key manager for one."""

    @classmethod
    def tunnels(cls):
        return [Tunnel("t", nets(1))]

    def peer(self, cpus, acquire, limits="", fallback_first=False):
        """The guest with outbound SAs for some CPUs; limits are of CPU 1's."""
        tunnel = self.all[0]
        seq = self.site.numbers()
        out = []
        commands = []
        for cpu, from_gw, to_gw in zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw):
            commands.append(linux.state(from_gw, "in", cpu, seq=seq[from_gw.spi]))
            if cpu in cpus:
                out.append(linux.state(to_gw, "out", cpu, seq=seq[to_gw.spi])
                           + (limits if cpu == 1 else ""))
        if fallback_first:
            out = out[-1:] + out[:-1]
        self.site.peer(tunnel, 1, batch=commands + out)
        if acquire:
            policy = linux.policies("10.2.1.0/24", "10.1.0.0/24", tunnel.remote, tunnel.local)[0]
            self.site.guest.do("ip", commands=[
                "xfrm policy delete src 10.2.1.0/24 dst 10.1.0.0/24 dir out",
                policy + " flag 0x4"])

    def sent(self, cpu, lost=0):
        """What the guest's SAs sent: CPU 0's, CPU 1's, the fallback."""
        before = self.counts()
        stat = {"XfrmOutNoStates": lost} if lost else {}
        self.to_host(COUNT, 1, cpu=cpu, lost=lost, stat=stat)
        now = self.settled(before, stat=stat)
        return [now.guest_packets(sa, before)[0] for sa in self.all[0].to_gw]

    def test_acquire_drops(self):
        """With the flag and no key manager: a CPU without an SA drops all, fallback or not."""
        self.peer((0, "any"), acquire=True)
        self.assertEqual(self.sent(0), [COUNT, 0, 0])
        self.assertEqual(self.sent(1, lost=COUNT), [0, 0, 0])

    def test_no_acquire(self):
        """Without it, the fallback is taken: so peer-commands prints no flag."""
        self.peer((0, "any"), acquire=False)
        self.assertEqual(self.sent(1), [0, 0, COUNT])

    def test_soft_expired(self):
        """A soft-expired SA stays in use where the fallback was installed after it."""
        self.peer((0, 1, "any"), acquire=True, limits=SOFT)
        self.assertEqual(self.sent(1), [0, COUNT, 0])

    def test_soft_expired_fallback_first(self):
        """Where it was there first, as with IKE, Linux prefers it; without the flag all arrives."""
        self.peer((0, 1, "any"), acquire=False, limits=SOFT, fallback_first=True)
        self.assertEqual(self.sent(1), [0, 6, COUNT - 6])

    def test_soft_expired_hole(self):
        """And with the flag it drops, until a key manager has a new SA."""
        self.peer((0, 1, "any"), acquire=True, limits=SOFT, fallback_first=True)
        self.assertEqual(self.sent(1, lost=COUNT - 6), [0, 6, 0])
        self.assertEqual(self.sent(1, lost=COUNT), [0, 0, 0])

    def test_counters_of_hard_limit(self):
        """A hard limit that is reached takes the SA away."""
        self.peer((0, 1), acquire=False, limits=" limit packet-soft 5 limit packet-hard 6")
        before = self.counts()
        self.to_host(6, 1, cpu=1)
        self.settled(before)
        self.to_host(1, 1, cpu=1, lost=1, stat={"XfrmOutStateExpired": 1}, errno=errno.EINVAL)
        self.assertNotIn(self.all[0].to_gw[1].spi, self.counts().states)


if __name__ == "__main__":
    unittest.main()
