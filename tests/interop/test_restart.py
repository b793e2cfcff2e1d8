# SPDX-License-Identifier: BSD-3-Clause
"""The gateway ends, or is killed, and comes back; the Linux peer keeps its SAs."""

import signal
import unittest

import lab
from gw import Tunnel
from lab import nets

PACKETS = 40


class Restart(lab.InteropTest):
    """Static keys live on in the state file: no number is used twice, none is taken twice."""

    @classmethod
    def tunnels(cls):
        return [Tunnel("esn", nets(1)), Tunnel("short", nets(2), esn=False, encap=False)]

    def traffic(self):
        """Both ways, over both tunnels, from both CPUs."""
        before = self.counts()
        for number in (1, 2):
            self.to_guest(PACKETS, number)
            for cpu in (0, 1):
                self.to_host(PACKETS, number, cpu=cpu)
        return self.settled(before)

    def both_peers(self):
        """The guest as the other end of both tunnels at once."""
        for number, tunnel in enumerate(self.all, 1):
            self.site.peer(tunnel, number, reqid=number)

    def again(self, how):
        """End it, start it with the same state file, and go on as if nothing had been."""
        self.both_peers()
        before = self.traffic()
        if how == signal.SIGKILL:
            self.site.gateway.kill()
            self.site.gateway.clean()
        else:
            self.site.stop(how)
        self.site.start(self.all, self.workers, go_on=True, guest_as_new=False)
        return before

    def restarted(self, how):
        """Nothing is refused by either end, and every number is a new one."""
        before = self.again(how)
        now = self.traffic()
        for tunnel in self.all:
            for sa in tunnel.from_gw:
                old, new = before.states[sa.spi], now.states[sa.spi]
                self.assertEqual((new.replay, new.window, new.failed),
                                 (old.replay, old.window, old.failed))
                if new.packets > old.packets:
                    self.assertGreater(new.seq, old.seq)
        self.site.forget_peer()

    def test_stopped(self):
        self.restarted(signal.SIGTERM)

    def test_killed(self):
        self.restarted(signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
