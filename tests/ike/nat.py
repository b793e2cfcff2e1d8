# SPDX-License-Identifier: BSD-3-Clause
"""A NAT that gives ports of its own to one side, and forgets them when it is told to.

A program, as the kernel may have none: it stands between the bridge and the interface of the
side, passes frames on, and changes source ports of UDP on the way out. The address stays.
"""

import contextlib
import itertools
import select
import socket
import struct
import threading

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
BUFFER = 32 << 20
ETH_LEN = 14


def udp_at(frame):
    """Where the UDP header of a whole packet over IPv4 is; None: it is something else."""
    if frame[12:14] != b"\x08\x00" or frame[ETH_LEN + 9] != 17 \
            or struct.unpack_from("!H", frame, ETH_LEN + 6)[0] & 0x3FFF:
        return None
    return ETH_LEN + (frame[ETH_LEN] & 15) * 4


class Nat(threading.Thread):
    """Between an interface of a side and a bridge, both in one namespace."""

    def __init__(self, namespace, inside, bridge):
        super().__init__(daemon=True)
        namespace.ip("link", "set", inside, "nomaster")
        namespace.ip("link", "add", "nat0", "type", "veth", "peer", "name", "nat1")
        for dev in ("nat0", "nat1"):
            namespace.sysctl(f"net.ipv6.conf.{dev}.disable_ipv6", 1)
            namespace.ip("link", "set", dev, "up")
        namespace.ip("link", "set", "nat1", "master", bridge)
        self.inside, self.outside = (self._open(namespace, dev) for dev in (inside, "nat0"))
        self.fresh = itertools.count(20000)
        self.ports = {}  # own port of the side: what the other side sees
        self.refused = 0  # packets to a port that it does not know
        self.running = True
        self.start()

    @staticmethod
    def _open(namespace, interface):
        s = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        s.bind((interface, ETH_P_ALL))
        return s

    def reboot(self):
        """Forget all ports; none of them comes back."""
        self.ports = {}

    def run(self):
        ways = {self.inside: (self.outside, self._out), self.outside: (self.inside, self._in)}
        while self.running:
            for s in select.select(list(ways), [], [], 0.2)[0]:
                data, address = s.recvfrom(65536)
                to, translate = ways[s]
                frame = bytearray(data)
                if address[2] != PACKET_OUTGOING and translate(frame):
                    with contextlib.suppress(OSError):  # the side's gateway may be gone
                        to.send(frame)

    def _out(self, frame):
        at = udp_at(frame)
        if at is not None:
            ports = self.ports
            own, = struct.unpack_from("!H", frame, at)
            if own not in ports:
                ports[own] = next(self.fresh)
            self._put(frame, at, at, ports[own])
        return True

    def _in(self, frame):
        at = udp_at(frame)
        if at is None:
            return True
        to, = struct.unpack_from("!H", frame, at + 2)
        own = next((own for own, port in list(self.ports.items()) if port == to), None)
        if own is None:
            self.refused += 1
            return False
        self._put(frame, at, at + 2, own)
        return True

    @staticmethod
    def _put(frame, udp, at, port):
        """A port; and no checksum, which over IPv4 is allowed."""
        struct.pack_into("!H", frame, at, port)
        struct.pack_into("!H", frame, udp + 6, 0)

    def close(self):
        """Pass nothing on any more."""
        self.running = False
        self.join()
        self.inside.close()
        self.outside.close()
