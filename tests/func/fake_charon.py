# SPDX-License-Identifier: BSD-3-Clause
"""charon's end of the gateway's socket, without a charon; and what it negotiates, with no peer.

app/front/ike.h says what goes over the socket; tools/lib/ike_h.py reads it.
"""

import ctypes
import errno
import ipaddress
import random
import select
import socket
import time

import esp
from gw import PEER4, WAN4
from ike_h import LAYOUT, NUMBERS, layout
from netns import Failed

N = NUMBERS
CPU_NONE = N["IKE_CPU_NONE"]
EVENTS = {N[f"IKE_{n.upper()}"]: n for n in ("acquire", "expire", "mapping")}
ANSWER_S = 5.0  # as long as the plugin waits
TRANSFORMS = {8: 18, 12: 19, 16: 20}  # of AES-GCM, by its ICV
CHACHA20_POLY1305 = 28
NO_INTEGRITY = 1024  # strongSwan's AUTH_UNDEFINED


class Refused(Exception):
    """A request that the gateway did not grant: errno is its reason."""

    def __init__(self, name, number):
        super().__init__(f"{name}: {errno.errorcode.get(number, number)}")
        self.errno = number


class Closed(Exception):
    """The gateway has closed the connection."""


def addr(text, port=0):
    """struct ike_addr."""
    made = layout("addr")()
    packed = ipaddress.ip_address(text).packed
    made.family, made.port = 4 if len(packed) == 4 else 6, socket.htons(port)
    made.addr[:len(packed)] = packed
    return made


def sa_id(spi, dst):
    """struct ike_sa_id."""
    made = layout("sa_id")()
    made.dst, made.spi, made.proto = addr(dst), socket.htonl(spi), 50
    return made


def ts(net, proto=0, ports=(0, 65535)):
    """struct ike_ts."""
    made = layout("ts")()
    net = ipaddress.ip_network(net, strict=False)
    made.family, made.proto = net.version, proto
    made.from_port, made.to_port = ports
    for field, address in ((getattr(made, "from"), net[0]), (made.to, net[-1])):
        field[:len(address.packed)] = address.packed
    return made


def text_of(address):
    """Address and port of a struct ike_addr."""
    size = 4 if address.family == 4 else 16
    return str(ipaddress.ip_address(bytes(address.addr[:size]))), socket.ntohs(address.port)


def build(name, ident=0, /, **fields):
    """A request. Bytes fill the beginning of an array."""
    message = layout(LAYOUT[name])()
    message.hdr.type, message.hdr.id = N[f"IKE_{name}"], ident
    for key, value in fields.items():
        if isinstance(value, bytes) and key != "name":
            getattr(message, key)[:len(value)] = value
        else:
            setattr(message, key, value)
    return message


class FakeCharon:
    """One connection to the gateway at a time."""

    def __init__(self, path, generation=None, pcpu=True):
        self.path = path
        self.generation = generation or random.getrandbits(64) | 1
        self.pcpu = pcpu
        self.socket = None
        self.last_id = 0
        self.replies = {}
        self.events = []  # (when, name, message)
        self.epoch = self.workers = 0

    # life

    def connect(self):
        """Only that."""
        self.close()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(self.path)
        self.replies, self.events = {}, []
        return self

    def hello(self):
        """The first request."""
        reply = self.do("HELLO", version=N["IKE_VERSION"], pcpu=int(self.pcpu),
                        generation=self.generation)
        self.epoch, self.workers = reply.epoch, reply.workers
        return self

    def start(self):
        """Come, and say that there is nothing."""
        self.connect().hello().do("SYNC_END")
        return self

    def close(self):
        """Break the connection."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    # requests

    def send(self, data):
        """Any bytes."""
        self.socket.send(bytes(data))

    def ask(self, name, /, **fields):
        """A request; its reply, whatever it says."""
        self.last_id += 1
        self.send(build(name, self.last_id, **fields))
        return self.reply(self.last_id)

    def do(self, name, /, **fields):
        """A request that is to be granted."""
        reply = self.ask(name, **fields)
        if reply.status != 0:
            raise Refused(name, reply.status)
        return reply

    def status(self, name, /, **fields):
        """What the gateway says to a request: 0 or an errno."""
        return self.ask(name, **fields).status

    def reply(self, ident, seconds=ANSWER_S):
        """The reply to a request that was sent."""
        deadline = time.monotonic() + seconds
        while ident not in self.replies:
            if time.monotonic() > deadline:
                raise Failed(f"no answer within {seconds} s")
            self.poll(deadline - time.monotonic())
        return self.replies.pop(ident)

    def poll(self, seconds):
        """Take what is there, or comes first; Closed at the end of the connection."""
        if not select.select([self.socket], [], [], max(seconds, 0))[0]:
            return
        try:
            data = self.socket.recv(4096)
        except ConnectionError as err:
            raise Closed from err
        if not data:
            raise Closed
        head = layout("hdr").from_buffer_copy(data)
        name = "reply" if head.type == N["IKE_REPLY"] else EVENTS[head.type]
        message = layout(name).from_buffer_copy(data)
        if len(data) != ctypes.sizeof(message):
            raise Failed(f"{name} with {len(data)} bytes")
        if name == "reply":
            self.replies[head.id] = message
        else:
            self.events.append((time.monotonic(), name, message))

    def take_all(self):
        """Take what is there."""
        while select.select([self.socket], [], [], 0)[0]:
            self.poll(0)

    def is_closed(self, seconds=ANSWER_S):
        """Does the gateway close the connection?"""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self.poll(deadline - time.monotonic())
        except Closed:
            return True
        return False

    # what the gateway says by itself

    def pending(self):
        """All events there are now; they are forgotten."""
        self.take_all()
        events, self.events = self.events, []
        return events

    def event(self, name, seconds=ANSWER_S, match=lambda m: True):
        """The next event of a kind."""
        deadline = time.monotonic() + seconds
        while True:
            for i, (_, kind, message) in enumerate(self.events):
                if kind == name and match(message):
                    return self.events.pop(i)[2]
            if time.monotonic() > deadline:
                raise Failed(f"no {name} within {seconds} s; there are: "
                             f"{[kind for _, kind, _ in self.events]}")
            self.poll(deadline - time.monotonic())

    def acquire(self, child, seconds=ANSWER_S, cpu=None):
        """The next acquire of a child; cpu: of this worker, or CPU_NONE."""
        return self.event("acquire", seconds, lambda m: m.reqid == child.reqid
                          and (cpu is None or m.cpu == cpu))

    def expire(self, sa, seconds=ANSWER_S):
        """The next expire of an SA: is it hard?"""
        return bool(self.event("expire", seconds,
                               lambda m: m.sa.spi == socket.htonl(sa.spi)).hard)


class Pair:
    """Two SAs of a child."""

    def __init__(self, to_gw, from_gw, cpu, initiator):
        self.to_gw, self.from_gw = to_gw, from_gw
        self.cpu, self.initiator = cpu, initiator
        self.receiver = esp.Receiver(from_gw)


class Child:
    """A CHILD_SA configuration: what both charons know of it."""

    next_spi = 0x00100000
    next_port = 49152

    def __init__(self, reqid, nets=(("10.1.0.0/24", "10.2.0.0/24"),), algo="aes128gcm16", esn=True,
                 encap=True, pcpu=True, local=WAN4, remote=PEER4, if_id=0, window=1024, **sa):
        self.reqid, self.nets, self.algo, self.esn = reqid, nets, algo, esn
        self.encap, self.pcpu, self.if_id, self.window = encap, pcpu, if_id, window
        self.local, self.remote = local, remote
        self.sa_fields = sa
        self.pairs = []

    # policies

    def policies(self, spi=0, **changes):
        """The fields of each of its policies, in both directions."""
        for a, b in self.nets:
            for way in ("IN", "OUT"):
                ends = [(self.local, a), (self.remote, b)]
                (src, src_net), (dst, dst_net) = ends if way == "OUT" else reversed(ends)
                yield {"dir": N[f"IKE_{way}"], "type": N["IKE_PROTECT"],
                       "prio": N["IKE_PRIO_SA" if spi else "IKE_PRIO_TRAP"],
                       "flags": N["IKE_POLICY_PCPU"] if self.pcpu else 0,
                       "reqid": self.reqid, "spi": socket.htonl(spi), "if_id": self.if_id,
                       "src": addr(src), "dst": addr(dst),
                       "src_ts": ts(src_net), "dst_ts": ts(dst_net), **changes}

    def trap(self, charon, spi=0, **changes):
        """Policies for packets without any SA."""
        for fields in self.policies(spi, **changes):
            charon.do("POL_ADD", **fields)

    def untrap(self, charon, spi=0, **changes):
        """No more."""
        for fields in self.policies(spi, **changes):
            charon.do("POL_DEL", **fields)

    # SAs

    def _crypto(self, sa):
        chacha = self.algo.startswith("chacha")
        return {"enc_alg": CHACHA20_POLY1305 if chacha else TRANSFORMS[sa.algo.icv_len],
                "int_alg": NO_INTEGRITY, "enc_key_len": len(sa.key), "enc_key": sa.key}

    def sa_add(self, sa, inbound, cpu=None, initiator=True, replayed=False, **changes):
        """The fields of an SA as charon says it."""
        flags = N["IKE_SA_INBOUND"] * inbound | N["IKE_SA_ENCAP"] * self.encap \
            | N["IKE_SA_ESN"] * self.esn | N["IKE_SA_INITIATOR"] * initiator \
            | N["IKE_SA_REPLAYED"] * replayed \
            | N["IKE_SA_ANY_SPORT"] * (self.encap and not inbound and sa.sport != 4500)
        ident = sa_id(sa.spi, sa.dst)
        ident.dst = addr(sa.dst, sa.dport)
        return {"sa": ident, "src": addr(sa.src, sa.sport), "flags": flags, "reqid": self.reqid,
                "cpu": CPU_NONE if cpu is None else cpu, "if_id": self.if_id,
                "replay_window": self.window if inbound else 0, "name": b"net",
                **self._crypto(sa), **self.sa_fields, **changes}

    def new_pair(self, charon, cpu=None, initiator=True):
        """Negotiated, and not yet told; the gateway has given the inbound SPI."""
        reply = charon.do("ALLOC_SPI", src=addr(self.remote), dst=addr(self.local), proto=50)
        Child.next_spi += 1
        Child.next_port += 1
        ports = (Child.next_port, 4500) if self.encap else (0, 0)
        to_gw = esp.Sa(socket.ntohl(reply.spi), self.remote, self.local, self.algo, self.esn,
                       *ports)
        from_gw = esp.Sa(Child.next_spi, self.local, self.remote, self.algo, self.esn, *ports)
        return Pair(to_gw, from_gw, cpu, initiator)

    def bring_up(self, charon, cpu=None, initiator=True, policies=True, **changes):
        """A pair of SAs, with its policies as charon brings them; changes: of both."""
        pair = self.new_pair(charon, cpu, initiator)
        self.pairs.append(pair)
        for inbound in (True, False):
            self.add(charon, pair, inbound, **changes)
        if policies:
            self.trap(charon, pair.to_gw.spi)
        return pair

    def add(self, charon, pair, inbound, **changes):
        """One SA of a pair."""
        sa = pair.to_gw if inbound else pair.from_gw
        charon.do("SA_ADD", **self.sa_add(sa, inbound, pair.cpu, pair.initiator, **changes))

    def take_down(self, charon, pair, policies=True):
        """The end of a pair."""
        self.pairs.remove(pair)
        if policies:
            self.untrap(charon, pair.to_gw.spi)
        for sa in (pair.to_gw, pair.from_gw):
            charon.do("SA_DEL", sa=sa_id(sa.spi, sa.dst))

    def keys(self):
        """All keys as hex digits."""
        return [sa.key.hex() for p in self.pairs for sa in (p.to_gw, p.from_gw)]
