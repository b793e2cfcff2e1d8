# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's end of the socket, without a gateway: what the plugin says is kept for tests."""

import contextlib
import ctypes
import errno
import os
import random
import select
import socket
import threading

from ike_h import LAYOUT, NUMBERS, TYPES, layout


class FakeGateway:
    """Takes all that comes; wants SAs, and says that they expire, when it is told to."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.RLock()
        self.log = []  # (name, message) of all requests
        self.sas = {}  # spi: message
        self.policies = []
        self.refuse = {}  # name: errno, or a function of the message that gives one or 0
        self.silent = set()  # names that are not answered
        self.used = {}  # spi: (bytes, packets, idle_s)
        self.connection = self.listener = self.thread = None
        self.epoch = 0
        self.running = False
        self.next_spi = random.randrange(0xc0000000, 0xcfff0000)

    # life

    def start(self, fresh=True):
        """Listen; fresh: as a new process that knows nothing."""
        if fresh:
            self.epoch = random.randrange(1, 1 << 63)
            self.sas, self.policies = {}, []
        self.log = []
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.running = True
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """End; connections break."""
        self.running = False
        self.thread.join()
        self.listener.close()
        self.cut()

    def cut(self):
        """Break the connection."""
        with self.lock:
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def _serve(self):
        while self.running:
            connection = self.connection
            watch = [s for s in (self.listener, connection) if s is not None]
            try:
                ready = select.select(watch, [], [], 0.05)[0]
            except (OSError, ValueError):
                continue  # it was cut
            if self.listener in ready:
                self.cut()
                self.connection = self.listener.accept()[0]
            elif ready:
                try:
                    data = connection.recv(4096)
                except OSError:
                    data = b""
                if data:
                    self._take(data)
                elif connection is self.connection:
                    self.cut()

    # messages

    def _take(self, data):
        head = layout("hdr").from_buffer_copy(data)
        name = TYPES[head.type]
        message = layout(LAYOUT[name]).from_buffer_copy(data)
        if len(data) != ctypes.sizeof(message):
            raise ValueError(f"{name} with {len(data)} bytes")
        with self.lock:
            self.log.append((name, message))
            if name in self.silent:
                return
            reply = layout("reply")()
            reply.hdr.type, reply.hdr.id = NUMBERS["IKE_REPLY"], head.id
            refuse = self.refuse.get(name, 0)
            reply.status = (refuse(message) if callable(refuse) else refuse) \
                or self._do(name, message, reply)
            self._send(reply)

    def _do(self, name, message, reply):
        if name == "HELLO":
            reply.epoch, reply.workers = self.epoch, 2
        elif name == "ALLOC_SPI":
            self.next_spi += 1
            reply.spi = socket.htonl(self.next_spi)
        elif name == "SA_ADD":
            self.sas[message.sa.spi] = message
        elif name in ("SA_KEEP", "SA_UPDATE", "SA_QUERY", "SA_DEL"):
            return self._do_sa(name, message, reply)
        elif name == "POL_ADD":
            self.policies.append(message)
        elif name == "POL_DEL":
            for policy in self.policies:
                if policy.spi == message.spi and policy.dir == message.dir \
                        and policy.reqid == message.reqid:
                    self.policies.remove(policy)
                    return 0
            return errno.ENOENT
        return 0

    def _do_sa(self, name, message, reply):
        sa = self.sas.get(message.sa.spi)
        if sa is None or bytes(sa.sa.dst.addr) != bytes(message.sa.dst.addr):
            return errno.ENOENT
        if name == "SA_QUERY":
            reply.bytes, reply.packets, reply.idle_s = self.used.get(message.sa.spi, (0, 0, 0))
        elif name == "SA_UPDATE":
            sa.sa.dst, sa.src = message.new_dst, message.new_src
        elif name == "SA_DEL":
            del self.sas[message.sa.spi]
        return 0

    def refuse_moves(self):
        """As the gateway: an SA keeps our address, and an outbound one the peer's as well."""
        def refuse(message):
            sa = self.sas.get(message.sa.spi)
            if sa is None:
                return 0
            now = [sa.sa.dst] if sa.flags & NUMBERS["IKE_SA_INBOUND"] else [sa.sa.dst, sa.src]
            want = (message.new_dst, message.new_src)
            same = all(bytes(a.addr) == bytes(b.addr) for a, b in zip(now, want))
            return 0 if same else errno.ENOTSUP
        self.refuse["SA_UPDATE"] = refuse

    def _send(self, message):
        with self.lock:
            if self.connection is not None:
                with contextlib.suppress(OSError):
                    self.connection.send(bytes(message))

    def acquire(self, reqid, src, dst, cpu=0xffffffff, proto=17):
        """A packet found no SA."""
        event = layout("acquire")()
        event.hdr.type = NUMBERS["IKE_ACQUIRE"]
        event.reqid, event.cpu, event.proto = reqid, cpu, proto
        for field, address in ((event.src, src), (event.dst, dst)):
            field.family, field.addr[:4] = 4, socket.inet_aton(address)
        self._send(event)

    def expire(self, spi, hard=False):
        """An SA has carried what it may."""
        event = layout("expire")()
        event.hdr.type, event.sa, event.hard = NUMBERS["IKE_EXPIRE"], self.sas[spi].sa, hard
        self._send(event)

    def mapping(self, spi, address, port):
        """A peer has moved."""
        event = layout("mapping")()
        event.hdr.type, event.sa = NUMBERS["IKE_MAPPING"], self.sas[spi].sa
        event.remote.family, event.remote.port = 4, socket.htons(port)
        event.remote.addr[:4] = socket.inet_aton(address)
        self._send(event)

    # what there is

    def count(self, name):
        """How many requests of a kind came since start()."""
        with self.lock:
            return sum(1 for n, _ in self.log if n == name)

    def inbound(self):
        """SPIs of inbound SAs."""
        with self.lock:
            return {spi for spi, sa in self.sas.items() if sa.flags & NUMBERS["IKE_SA_INBOUND"]}

    def outbound(self):
        """SPIs of outbound SAs."""
        with self.lock:
            return set(self.sas) - self.inbound()

    def cpus(self):
        """CPUs of outbound SAs, sorted; None for the fallback."""
        with self.lock:
            found = [self.sas[spi].cpu for spi in self.outbound()]
        return sorted((None if c == 0xffffffff else c for c in found),
                      key=lambda c: -1 if c is None else c)

    def trap(self):
        """The policy for packets without any SA."""
        with self.lock:
            return next((p for p in self.policies if p.dir == 1 and p.spi == 0), None)
