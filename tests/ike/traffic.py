# SPDX-License-Identifier: BSD-3-Clause
"""Numbered UDP packets in many flows, and what became of each; ESP as it is on the wire."""

import collections
import contextlib
import select
import socket
import struct
import threading
import time

HEAD = struct.Struct("!IIQ")  # test, flow, number
PORT = 7000
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23
BUFFER = 64 << 20


class Sink(threading.Thread):
    """Takes packets of all tests, IPv4 and IPv6, in a host; they name theirs."""

    def __init__(self, namespace):
        super().__init__(daemon=True)
        self.socket = namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self.socket.bind(("::", PORT))
        self.socket.settimeout(0.2)
        self.lock = threading.Lock()
        self.seen = collections.defaultdict(lambda: collections.defaultdict(list))
        self.last = 0.0
        self.running = True
        self.start()

    def run(self):
        while self.running:
            with contextlib.suppress(TimeoutError):
                data = self.socket.recv(65536)
                if len(data) >= HEAD.size:
                    test, flow, number = HEAD.unpack_from(data)
                    with self.lock:
                        self.seen[test][flow].append(number)
                        self.last = time.monotonic()

    def numbers(self, test):
        """By flow, in the order of their arrival."""
        with self.lock:
            return {flow: list(numbers) for flow, numbers in self.seen[test].items()}

    def count(self, test):
        """How many came."""
        with self.lock:
            return sum(len(numbers) for numbers in self.seen[test].values())

    def close(self):
        """Take no more."""
        self.running = False
        self.join()
        self.socket.close()


class Report:
    """What became of the packets of one Sender."""

    def __init__(self, sent, came):
        self.sent = sum(sent.values())
        self.came = sum(len(n) for n in came.values())
        self.lost, self.twice, self.disorder = [], [], []
        for flow, count in sent.items():
            numbers = came.get(flow, [])
            unique = set(numbers)
            self.lost += [(flow, n) for n in range(count) if n not in unique]
            if len(unique) != len(numbers):
                many = collections.Counter(numbers)
                self.twice += [(flow, n) for n, times in many.items() if times > 1]
            self.disorder += [(flow, b) for a, b in zip(numbers, numbers[1:]) if b < a]

    def __str__(self):
        return (f"{self.sent} sent, {self.came} came, {len(self.lost)} lost, "
                f"{len(self.twice)} twice, {len(self.disorder)} out of order"
                + "".join(f"; {name}: {str(rows[:8])}" for name, rows in
                          (("lost", self.lost), ("twice", self.twice),
                           ("out of order", self.disorder)) if rows))

    def perfect(self):
        """None lost, none twice, none out of order within a flow."""
        return not self.lost and not self.twice and not self.disorder


class Sender(threading.Thread):
    """Sends from one host to the sink at another one, at a rate, until end()."""

    tests = 0

    def __init__(self, namespace, address, sink, to, flows=16, rate=1000, size=64, limit=None):
        super().__init__(daemon=True)
        Sender.tests += 1
        self.test = Sender.tests
        self.sink = sink
        self.to = (to, PORT)
        self.rate = rate
        self.limit = limit  # so many packets in all
        self.sent = {flow: 0 for flow in range(flows)}
        self.padding = bytes(max(size - HEAD.size, 0))
        self.running = True
        self.errors = 0
        self.gaps = []  # of what came, afterwards
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sockets = []
        for _ in range(flows):
            s = namespace.socket(family, socket.SOCK_DGRAM)
            s.bind((address, 0))
            self.sockets.append(s)
        self.start()

    def run(self):
        began = time.monotonic()
        total = 0
        while self.running and self.limit != sum(self.sent.values()):
            due = int((time.monotonic() - began) * self.rate)
            # what was missed is not sent in one burst: no queue has to hold it
            if due - total > 64:
                began, total = time.monotonic(), 0
                continue
            while total < due and self.running and self.limit != sum(self.sent.values()):
                flow = total % len(self.sockets)
                try:
                    self.sockets[flow].sendto(
                        HEAD.pack(self.test, flow, self.sent[flow]) + self.padding, self.to)
                    self.sent[flow] += 1
                except OSError:
                    self.errors += 1
                total += 1
            time.sleep(0.001)

    def came(self):
        """So many so far."""
        return self.sink.count(self.test)

    def end(self, seconds=5.0):
        """Stop sending, wait for those under way; what became of all."""
        self.running = False
        self.join()
        deadline = time.monotonic() + seconds
        while self.came() < sum(self.sent.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)  # for those that come twice
        for s in self.sockets:
            s.close()
        return Report(self.sent, self.sink.numbers(self.test))


class Capture(threading.Thread):
    """ESP that leaves a gateway: each (SPI, 8 bytes of IV) and how often."""

    def __init__(self, namespace, interface):
        super().__init__(daemon=True)
        self.namespace, self.interface = namespace, interface
        self.sockets = [self._open()]  # the last one is that of today's interface
        self.lock = threading.Lock()
        self.dropped = 0  # packets that the kernel had no room for
        self.pairs = collections.Counter()
        self.ports = collections.defaultdict(set)
        self.packets = collections.Counter()
        self.clear = []
        self.running = True
        self.start()

    def _open(self):
        s = self.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        s.setblocking(False)
        s.bind((self.interface, ETH_P_ALL))
        return s

    def follow(self):
        """The interface is a new one of that name; what came from the old one counts."""
        s = self._open()
        with self.lock:
            self.sockets.append(s)

    def run(self):
        while self.running:
            for s in select.select(self.sockets, [], [], 0.2)[0]:
                self._read(s)

    def _read(self, s):
        """What waits; a socket whose interface is gone ends with its last packet."""
        for _ in range(256):
            try:
                data = s.recv(2048)
            except BlockingIOError:
                if s is not self.sockets[-1]:
                    with self.lock:
                        self.sockets.remove(s)
                        self._count(s)
                    s.close()
                return
            except OSError:
                return  # the interface is gone: it is said once
            self._take(data[14:], int.from_bytes(data[12:14], "big"))

    def _count(self, s):
        """The kernel begins to count anew each time that it is asked."""
        said = s.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.dropped += struct.unpack("=II", said)[1]

    def missed(self):
        """How many packets were not seen: with any, repeated() may say too little."""
        with self.lock:
            for s in self.sockets:
                self._count(s)
            return self.dropped

    def _take(self, packet, ethertype):
        if ethertype == 0x0800:
            proto, payload = packet[9], packet[(packet[0] & 15) * 4:]
        elif ethertype == 0x86dd:
            proto, payload = packet[6], packet[40:]
        else:
            return
        port = None
        if proto == 17:
            port, dport = struct.unpack_from("!HH", payload)
            if dport == PORT:
                self.clear.append(packet)
            if dport == PORT or 500 in (port, dport) or payload[8:12] == bytes(4) \
                    or len(payload) < 24:
                return
            payload = payload[8:]
        elif proto != 50:
            return
        spi = int.from_bytes(payload[:4], "big")
        self.pairs[spi, payload[8:16]] += 1
        self.ports[spi].add(port)
        self.packets[spi] += 1

    def repeated(self):
        """Pairs that were seen more than once."""
        return [pair for pair, times in list(self.pairs.items()) if times > 1]

    def close(self):
        """Listen no more."""
        self.running = False
        self.join()
        for s in self.sockets:
            s.close()
