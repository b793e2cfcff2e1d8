# SPDX-License-Identifier: BSD-3-Clause
"""A gateway on two TAPs, with the test at the other end of both wires.

    hosts 10.1.0.x  --klan | lan   gateway   wan | kwan--  peers 192.0.2.x
                  (the test)                          (the test)

lan and wan are the gateway's own TAPs for the kernel; klan and kwan are the
kernel's ends of the net_tap devices that it has for ports. All are in one
namespace; klan and kwan have no addresses.
"""

import atexit
import contextlib
import dataclasses
import errno
import os
import select
import shutil
import socket
import struct
import tempfile
import time
import unittest

import esp
from gateway import Gateway, Word, config_file_text
from netns import Failed, Namespace, wait_for

BINARY = os.environ.get("PCPU_GW", "")

HOST_MAC = "02:00:00:00:01:02"
PEER_MAC = "02:00:00:00:02:02"
LAN4, LAN6 = "10.1.0.1", "fd01::1"
WAN4, WAN6 = "192.0.2.1", "2001:db8:ffff::1"
PEER4, PEER6 = "192.0.2.2", "2001:db8:ffff::2"
HOST4, HOST6 = "10.1.0.2", "fd01::2"
FAR4, FAR6 = "10.2.0.2", "fd02::2"

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
MLD_MAC = bytes.fromhex("333300000016")  # the kernel's multicast listener reports, at any time
SO_RCVBUFFORCE = 33


def mac_bytes(text):
    """Six bytes of "02:00:..."."""
    return bytes.fromhex(text.replace(":", ""))


def mac_of(namespace, interface):
    """The MAC address of an interface in a namespace."""
    return mac_bytes(namespace.run("cat", f"/sys/class/net/{interface}/address").stdout.strip())


@dataclasses.dataclass
class Frame:
    """An Ethernet frame."""
    dst: bytes
    src: bytes
    ethertype: int
    payload: bytes

    @property
    def ip(self):
        """The IP packet in it, or None."""
        if self.ethertype not in (esp.ETH_IP4, esp.ETH_IP6):
            return None
        return esp.parse(self.payload)


class Wire:
    """What is at the other end of one of the gateway's ports.

    outgoing: somebody else is there; we see what the gateway sends to them, and it does not see
    what we do.
    """

    def __init__(self, namespace, interface, mac, outgoing=False):
        self.outgoing = outgoing
        self.mac = mac_bytes(mac)
        self.port_mac = mac_of(namespace, interface)  # net_tap's two ends share it
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        if outgoing:
            self.socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)
        self.waiting = []

    def close(self):
        """Leave."""
        self.socket.close()

    def send_frame(self, frame):
        """Bytes as they are."""
        while True:
            try:
                self.socket.send(frame)
                return
            except BlockingIOError:
                select.select([], [self.socket], [], 1.0)

    def send(self, packet, dst=None, ethertype=None):
        """An IP packet to the gateway's port."""
        if ethertype is None:
            ethertype = esp.ETH_IP6 if packet[:1] and packet[0] >> 4 == 6 else esp.ETH_IP4
        head = (self.port_mac if dst is None else dst) + self.mac + struct.pack("!H", ethertype)
        self.send_frame(head + packet)

    def _poll(self, seconds):
        if not select.select([self.socket], [], [], max(seconds, 0))[0]:
            return
        while True:
            try:
                data, address = self.socket.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError as err:
                if err.errno == errno.ENETDOWN:
                    continue  # said once; what came before is still there
                raise
            if (address[2] == PACKET_OUTGOING) == self.outgoing and data[:6] != MLD_MAC:
                self.waiting.append(Frame(data[:6], data[6:12],
                                          struct.unpack_from("!H", data, 12)[0], data[14:]))

    def _take(self, match):
        for i, frame in enumerate(self.waiting):
            if match(frame):
                return self.waiting.pop(i)
        return None

    def receive_frame(self, match, seconds=10.0, what="frame"):
        """The next frame that matches, of those not taken yet."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self._take(match)
            if frame is not None:
                return frame
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failed(f"no such {what} within {seconds} s; there are: {self.describe()}")
            self._poll(left)

    def receive(self, match=lambda p: True, seconds=10.0, what="packet"):
        """The next IP packet that matches."""
        def fits(frame):
            packet = frame.ip
            return packet is not None and match(packet)
        return self.receive_frame(fits, seconds, what).ip

    def receive_esp(self, seconds=10.0):
        """The next ESP packet."""
        return self.receive(lambda p: p.is_esp, seconds, "ESP packet")

    def drain(self):
        """All IP packets that are there now."""
        self._poll(0)
        packets = [f.ip for f in self.waiting]
        self.waiting.clear()
        return [p for p in packets if p is not None]

    def describe(self):
        """What waits, for messages."""
        parts = []
        for frame in self.waiting[:8]:
            p = frame.ip
            parts.append(f"{frame.ethertype:#06x}" if p is None else
                         f"{p.src} > {p.dst} proto {p.proto} {len(p.raw)} bytes")
        return "; ".join(parts) or "none"


class Tunnel:
    """A tunnel as both ends have it: the gateway's configuration, and the peer's SAs."""

    next_spi = 0x1000
    next_port = 49152

    def __init__(self, name, nets=((f"{LAN4}/24", "10.2.0.0/24"), ("fd01::/64", "fd02::/64")),
                 ip6=False, algo="aes128gcm16", esn=True, window=1024, pcpus=(0, 1, "any"),
                 encap=True, selectors=None, remote=None, **extra):
        self.name = name
        self.local = WAN6 if ip6 else WAN4
        self.remote = remote or (PEER6 if ip6 else PEER4)
        self.selectors = selectors or [{"local": a, "remote": b} for a, b in nets]
        self.options = {"algo": algo, "esn": esn, "replay_window": window, **extra}
        self.pcpus = list(pcpus)
        self.encap = encap
        self.to_gw = [self._sa(self.remote, self.local) for _ in self.pcpus]
        self.from_gw = [self._sa(self.local, self.remote) for _ in self.pcpus]
        self.receivers = {sa.spi: esp.Receiver(sa) for sa in self.from_gw}

    def _sa(self, src, dst):
        Tunnel.next_spi += 1
        Tunnel.next_port += 1
        ports = (Tunnel.next_port, 4500) if self.encap else (0, 0)
        return esp.Sa(Tunnel.next_spi, src, dst, self.options["algo"], self.options["esn"],
                      *ports)

    def fresh_sa(self, to_gateway):
        """One more SA, for "sa add"."""
        if to_gateway:
            return self._sa(self.remote, self.local)
        sa = self._sa(self.local, self.remote)
        self.receivers[sa.spi] = esp.Receiver(sa)
        return sa

    @staticmethod
    def _side(sa):
        ports = {"sport": sa.sport, "dport": sa.dport} if sa.dport else {}
        return {"spi": Word(hex(sa.spi)), **ports, "key": sa.key.hex()}

    def config(self):
        """Its group in the configuration."""
        sas = [{"pcpu": cpu, "out": self._side(o), "in": self._side(i)}
               for cpu, o, i in zip(self.pcpus, self.from_gw, self.to_gw)]
        return {"name": self.name, "local": self.local, "remote": self.remote, **self.options,
                "selectors": self.selectors, "sas": sas}

    def receive(self, packet):
        """What is in an ESP packet from the gateway, by the receiver of its SPI."""
        return self.receivers[packet.spi].receive(packet)

    def keys(self):
        """All keys as hex digits."""
        return [sa.key.hex() for sa in self.to_gw + self.from_gw]


DEFAULT_PORTS = (
    {"name": "lan", "device": "net_tap0,iface=klan", "addresses": [f"{LAN4}/24", f"{LAN6}/64"]},
    {"name": "wan", "device": "net_tap1,iface=kwan", "addresses": [f"{WAN4}/24", f"{WAN6}/64"]},
)

# The kernel spreads packets over queues by their ports, whatever worker their SA is with
SOFT_PORTS = tuple({**p, "steering": "soft"} for p in DEFAULT_PORTS)


class World:
    """Namespace, gateway, wires; all gone after close()."""

    count = 0

    def __init__(self, tunnels=(), workers=2, ports=DEFAULT_PORTS, neighbours=True, eal=None,
                 wires=("klan", "kwan"), **config):
        World.count += 1
        self.tunnels = list(tunnels)
        self.workers = workers
        self.eal = eal
        self.interfaces = wires
        self.lan = self.wan = None
        self.directory = tempfile.mkdtemp(prefix="pcpu-func-", dir="/var/tmp")  # 0700
        self.namespace = Namespace(f"pcpu-t{os.getpid()}-{World.count}")
        self.gateway = Gateway(BINARY, self.namespace, self.directory, f"gw{World.count}")
        atexit.register(self.close)  # for the case that a signal ends the run
        self.neighbours = [("lan", HOST4, HOST_MAC), ("lan", HOST6, HOST_MAC),
                           ("wan", PEER4, PEER_MAC), ("wan", PEER6, PEER_MAC)] \
            if neighbours else []
        self.config = {
            "console": self.gateway.socket_path,
            "state_file": os.path.join(self.directory, "state"),
            "ports": [dict(p) for p in ports],
            **config,
            "tunnels": [t.config() for t in self.tunnels],
        }

    def start(self, wait=True):
        """Start the gateway, plug in the wires, and tell the kernel the neighbours."""
        self.gateway.write_config(config_file_text(self.config))
        self.gateway.start(self.workers, eal=self.eal, wait=wait)
        if wait:
            self.plug_in()
        return self

    def plug_in(self):
        """After a (re)start of the gateway: its interfaces are new."""
        for wire in (self.lan, self.wan):
            if wire is not None:
                wire.close()
        for interface in self.interfaces:
            self.namespace.sysctl(f"net.ipv6.conf.{interface}.disable_ipv6", 1)
        self.lan, self.wan = (Wire(self.namespace, i, m) for i, m in
                              zip(self.interfaces, (HOST_MAC, PEER_MAC)))
        for port, address, mac in sorted(self.neighbours, key=lambda n: n[1] in (PEER4, PEER6)):
            self.set_neighbour(port, address, mac)
        wait_for("neighbours in the gateway's tables", self.knows_neighbours)

    def set_neighbour(self, port, address, mac):
        """A static neighbour of the kernel."""
        self.namespace.ip("neigh", "replace", address, "lladdr", mac, "dev", port,
                          "nud", "permanent")

    def known_neighbours(self):
        """The addresses whose MAC the gateway knows."""
        return {n["address"] for n in self.gateway.show("neighbours") if n["usable"]}

    def knows_neighbours(self):
        """Are they in the tables that the workers use? The tunnels' peers, the last, show it."""
        peers = {address for _, address, _ in self.neighbours}
        if not peers <= self.known_neighbours():
            return False
        tunnels = {t.remote: t.name for t in self.tunnels if t.remote in peers}
        return all(self.gateway.show(f"tunnel {name}")["tunnel"]["next_hop"] == "resolved"
                   for name in tunnels.values())

    def close(self):
        """Remove all."""
        atexit.unregister(self.close)
        try:
            for wire in (self.lan, self.wan):
                if wire is not None:
                    wire.close()
            self.gateway.clean()
        finally:
            self.namespace.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def unbalanced(self):
        """None when rx + injected + created = tx + punted + absorbed + drops; else the numbers."""
        balance = self.gateway.balance()
        return None if balance["difference"] == 0 else balance


class GatewayTest(unittest.TestCase):
    """Tests that share one gateway, made by world(); each leaves it balanced."""

    w = None

    @classmethod
    def world(cls):
        """The world of the class; None: each test makes its own."""
        return None

    @classmethod
    def setUpClass(cls):
        cls.w = cls.world()
        if cls.w is not None:
            cls.addClassCleanup(cls.w.close)
            cls.w.start()

    def setUp(self):
        if self.w is None:
            return
        if self.w.gateway.process is not None and self.w.gateway.process.poll() is not None:
            self.fail(f"the gateway has ended:\n{self.w.gateway.log()}")
        for wire in (self.w.lan, self.w.wan):
            if wire is not None:
                wire.drain()

    def tearDown(self):
        if self.w is not None and self.w.gateway.process.poll() is None:
            self.assert_balance(self.w)

    def assert_balance(self, world):
        """Every packet ended somewhere, once what is under way has arrived."""
        wait_for(f"balance; now {world.unbalanced()}", lambda: world.unbalanced() is None)

    def at_rest(self):
        """The counters, once no packet changes them any more."""
        seen = []

        def same():
            seen.append(self.w.gateway.counters())
            return len(seen) > 1 and nonzero(seen[-1]) == nonzero(seen[-2])

        wait_for("counters at rest", same)
        return seen[-1]

    def assert_good_end(self, world, status):
        """After stop(): exit 0, no mbuf leaked, no key in what it wrote."""
        log = world.gateway.log()
        self.assertEqual(status, 0, log)
        self.assertEqual(world.gateway.leaked(), 0, log)
        self.assert_no_keys(world, log)

    def assert_no_keys(self, world, text):
        """None of the keys, nor a longer part of one, is in a text."""
        low = text.lower()
        for tunnel in world.tunnels:
            for key in tunnel.keys():
                for part in (key[:16], key[-16:]):
                    self.assertNotIn(part, low, "key material in the output")

    @contextlib.contextmanager
    def expect(self, also=(), **expected):
        """What the block makes of the counters: exactly these, and no drop that is not named.

        drop_NAME stands for a drop, drop_esp_NAME for one of ESP's.
        """
        wanted = {k.replace("drop_esp_", "drop.esp.", 1).replace("drop_", "drop.", 1): v
                  for k, v in expected.items()}
        before = self.at_rest()  # not what an earlier test sent
        yield
        delta = {}

        def reached():
            now = self.w.gateway.counters()
            delta.update({k: now[k] - before[k] for k in now})
            return all(delta[k] >= v for k, v in wanted.items())

        with contextlib.suppress(Failed):
            wait_for("counters", reached)
        for name, value in wanted.items():
            self.assertEqual(delta[name], value, f"{name}; all: {nonzero(delta)}")
        for name, value in delta.items():
            if name.startswith("drop.") and name not in wanted and name not in also:
                self.assertEqual(value, 0, f"{name}; all: {nonzero(delta)}")

    def stop_and_check(self, how=15):
        """End the gateway of the class, and look at its end."""
        self.assert_balance(self.w)
        self.assert_good_end(self.w, self.w.gateway.stop(how))


def nonzero(counters):
    """The counters that say something."""
    return {k: v for k, v in counters.items() if v and not k.startswith(("loop", "idle", "sleep"))}


def ping(src, dst, ident=1, seq=1, size=32, reply=False, **ip):
    """An ICMP or ICMPv6 echo request (or reply) as an IP packet."""
    data = struct.pack("!HH", ident, seq) + bytes(i & 0xFF for i in range(size))
    if ":" not in src:
        body = struct.pack("!BBH", 0 if reply else 8, 0, 0) + data
        body = body[:2] + struct.pack("!H", esp.checksum(body)) + body[4:]
        return esp.ip_header(src, dst, 1, len(body), **ip) + body
    body = struct.pack("!BBH", 129 if reply else 128, 0, 0) + data
    pseudo = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) \
        + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", esp.checksum(pseudo + body)) + body[4:]
    return esp.ip_header(src, dst, 58, len(body), **ip) + body
