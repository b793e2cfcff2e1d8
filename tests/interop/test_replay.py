# SPDX-License-Identifier: BSD-3-Clause
"""Repeated, late, forged packets; sequence numbers across 2^32 and at their end; both ways.

The guest's kernel sends what was sent before when its SA is made again with an
earlier number. What the gateway sent is caught on the TAP and sent once more.
"""

import errno
import re
import unittest

import lab
import linux
from gw import PEER_MAC, Tunnel, Wire
from lab import GUEST_TAP, nets

SEQ_END = 1 << 32
WINDOWS = (64, 1024, 4096)


class FromGuest(lab.InteropTest):
    """What Linux sends."""

    @classmethod
    def tunnels(cls):
        windows = [Tunnel(f"w{w}-{e}", nets(2 * i + e), window=w, esn=bool(e), pcpus=("any",))
                   for i, w in enumerate(WINDOWS) for e in (0, 1)]
        return [*windows, Tunnel("none", nets(6), window=0, pcpus=("any",)),
                Tunnel("wrap", nets(7), pcpus=("any",)),
                Tunnel("short", nets(8), esn=False, encap=False, pcpus=("any",))]

    def peer(self, number):
        """The guest as the other end; its outbound SA."""
        self.site.peer(self.all[number], number)
        return self.all[number].to_gw[0]

    def rewind(self, sa, seq):
        """The guest's outbound SA, as if this had been the last number that it used."""
        self.site.guest.do("ip", commands=[linux.delete(sa), linux.state(sa, "out", seq=seq)])

    def windows(self, number):
        """Numbers in the window, out of it, and again."""
        window = WINDOWS[number // 2]
        sa = self.peer(number)
        # what lies before the window is of the next 2^32 with ESN (RFC 4303 A2.2)
        too_old = "esp.integrity" if sa.esn else "esp.too_old"
        self.to_host(10, number)  # 1 to 10
        before = self.counts()
        self.rewind(sa, 0)
        self.to_host(10, number, lost=10, drops={"esp.replayed": 10})
        now = self.settled(before, {"esp.replayed": 10})
        self.assertEqual(now.packets("in", sa, before)[0], 0)

        self.rewind(sa, 10 * window)
        self.to_host(1, number)  # the window's top is now 10 * window + 1
        before = self.counts()
        self.rewind(sa, 9 * window + 1)
        self.to_host(1, number)  # the oldest that it still takes
        self.rewind(sa, 9 * window)
        self.to_host(1, number, lost=1, drops={too_old: 1})
        self.rewind(sa, 9 * window - 5)
        self.to_host(5, number, lost=5, drops={too_old: 5})
        now = self.settled(before, {too_old: 6})
        self.assertEqual(now.packets("in", sa, before)[0], 1)
        self.assertEqual(now.sas["in", sa.spi]["seq"], 10 * window + 1)
        self.assertEqual(now.sas["in", sa.spi]["displaced"], window - 1)

    def test_window_64(self):
        self.windows(0)

    def test_window_64_esn(self):
        self.windows(1)

    def test_window_1024(self):
        self.windows(2)

    def test_window_1024_esn(self):
        self.windows(3)

    def test_window_4096(self):
        self.windows(4)

    def test_window_4096_esn(self):
        self.windows(5)

    def test_no_window(self):
        """Without a window all that is authentic is taken, as often as it comes."""
        sa = self.peer(6)
        self.to_host(5, 6)
        self.rewind(sa, 0)
        before = self.counts()
        self.to_host(5, 6)
        self.settled(before)

    def test_esn_wrap(self):
        """Across 2^32; a packet from before it keeps its place in the window."""
        sa = self.peer(7)
        before = self.counts()
        for top in (SEQ_END // 2, SEQ_END - 2000, SEQ_END - 10):
            self.rewind(sa, top)
            self.to_host(20, 7)  # the last twenty: ten on each side
        self.rewind(sa, SEQ_END - 30)
        self.to_host(5, 7)
        now = self.settled(before)
        self.assertEqual(now.states[sa.spi].oseq, SEQ_END - 25)
        self.assertEqual(now.sas["in", sa.spi]["seq"], SEQ_END + 10)
        self.assertEqual(now.packets("in", sa, before)[0], 65)
        self.rewind(sa, SEQ_END - 10)
        self.to_host(20, 7, lost=20, drops={"esp.replayed": 20})
        self.settled(now, {"esp.replayed": 20})

    def test_32_bit_end(self):
        """Without ESN Linux sends no more at the end, and the gateway would take nothing more."""
        sa = self.peer(8)
        for seq in (SEQ_END // 2, SEQ_END - 6):
            self.rewind(sa, seq)
            self.to_host(5, 8)
        before = self.counts()
        self.to_host(3, 8, lost=3, stat={"XfrmOutStateSeqError": 3}, errno=errno.EOVERFLOW)
        now = self.settled(before, stat={"XfrmOutStateSeqError": 3})
        self.assertEqual(now.sas["in", sa.spi]["seq"], SEQ_END - 1)
        self.rewind(sa, 0)
        self.to_host(3, 8, lost=3, drops={"esp.too_old": 3})
        self.settled(now, {"esp.too_old": 3})


class FromGateway(lab.InteropTest):
    """What the gateway sends, and somebody on the way sends again."""

    kind = "tap"

    @classmethod
    def tunnels(cls):
        # without ESN, where what is too old can be told from what is of the next 2^32
        return [Tunnel(f"w{w}", nets(i + 1), window=w, pcpus=("any",), encap=i != 1, esn=False)
                for i, w in enumerate(WINDOWS)]

    def setUp(self):
        super().setUp()
        self.wire = Wire(self.site.namespace, GUEST_TAP, PEER_MAC, outgoing=True)
        self.addCleanup(self.wire.close)

    def caught(self, count):
        """ESP frames that the gateway sent."""
        return [self.wire.receive_frame(lambda f: f.ip is not None and f.ip.is_esp)
                for _ in range(count)]

    def again(self, frames):
        """To the guest once more."""
        for f in frames:
            self.wire.send_frame(f.dst + f.src + f.ethertype.to_bytes(2, "big") + f.payload)

    def missed(self, tunnel, number, count, window):
        """Packets that the gateway sent while the guest had no SA for them."""
        sa = tunnel.from_gw[0]
        before = self.counts()
        self.site.guest.do("ip", commands=[linux.delete(sa)])
        self.to_guest(count, number, lost=count, stat={"XfrmInNoStates": count})
        self.settled(before, stat={"XfrmInNoStates": count})
        self.site.guest.do("ip", commands=[linux.state(sa, "in", window=window)])
        return self.caught(count)

    def windows(self, window, number):
        """Once more, late, too late, changed on the way."""
        tunnel = self.all[number - 1]
        sa = tunnel.from_gw[0]
        self.site.peer(tunnel, number, window=window)
        held = self.missed(tunnel, number, 6, window)
        early, late, forged = held[:2], held[2:4], held[4:]
        self.to_guest(10, number)
        frames = self.caught(10)

        before = self.counts()
        self.again(frames)
        self.again(late)  # in the window, and not yet seen
        now = self.settled(before, stat={"XfrmInStateSeqError": 10})
        self.assertEqual(now.guest_packets(sa, before)[0], 2)
        self.assertEqual(now.refused(sa, before), (10, 0, 0))

        for f in forged:
            f.payload = f.payload[:-1] + bytes([f.payload[-1] ^ 1])  # a bit of the ICV
        before = now
        self.again(forged)
        now = self.settled(before, stat={"XfrmInStateProtoError": 2})
        self.assertEqual(now.refused(sa, before), (0, 0, 2))

        for _ in range(window // 64):
            self.to_guest(64, number)
        before = self.counts()
        self.again(early)
        now = self.settled(before, stat={"XfrmInStateSeqError": 2})
        self.assertEqual(now.refused(sa, before), (0, 2, 0))
        self.assertEqual(now.guest_packets(sa, before)[0], 0)

    def test_window_64(self):
        self.windows(64, 1)

    def test_window_1024(self):
        self.windows(1024, 2)

    def test_window_4096(self):
        self.windows(4096, 3)


def move_on(path, seq):
    """Let a state file say that every outbound key was used up to a number (app/control/reserve.h).

    So a test needs not send 2^32 packets. The last line is a sum over those before.
    """
    with open(path, encoding="ascii") as f:
        lines = f.read().splitlines(keepends=True)
    text = "".join(re.sub(r"^(out .* )\d+$", rf"\g<1>{seq}", line) for line in lines[:-1])
    total = 0xcbf29ce484222325
    for byte in text.encode():
        total = (total ^ byte) * 0x100000001b3 % (1 << 64)
    end = re.sub(r"[0-9a-f]{16}$", f"{total:016x}", lines[-1].rstrip("\n"))
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{text}{end}\n")


class GatewayWrap(lab.InteropTest):
    """The gateway's own numbers across 2^32, and at their end without ESN."""

    @classmethod
    def tunnels(cls):
        return [Tunnel("esn", nets(1), pcpus=("any",)),
                Tunnel("short", nets(2), pcpus=("any",), esn=False)]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.site.stop()
        move_on(cls.site.state_path, SEQ_END - 9)
        cls.site.start(cls.all, cls.workers, go_on=True)

    def peer(self, number):
        """The guest knows how far the gateway has come."""
        tunnel = self.all[number - 1]
        self.site.peer(tunnel, number, batch=[
            linux.state(tunnel.from_gw[0], "in", seq=SEQ_END - 9),
            linux.state(tunnel.to_gw[0], "out")])
        return tunnel.from_gw[0]

    def test_esn(self):
        sa = self.peer(1)
        before = self.counts()
        self.to_guest(40, 1)
        now = self.settled(before)
        self.assertEqual(now.states[sa.spi].seq, SEQ_END + 31)
        self.assertEqual(now.sas["out", sa.spi]["seq"], SEQ_END + 31)
        self.assertEqual(now.guest_packets(sa, before)[0], 40)

    def test_short(self):
        """The last number is the last: a drop with a name, and nothing repeats."""
        sa = self.peer(2)
        before = self.counts()
        self.to_guest(20, 2, flows=1, lost=12, drops={"esp.seq_overflow": 12})
        now = self.settled(before, {"esp.seq_overflow": 12})
        self.assertEqual(now.guest_packets(sa, before)[0], 8)
        self.assertEqual(now.sas["out", sa.spi]["seq"], SEQ_END - 1)


if __name__ == "__main__":
    unittest.main()
