# SPDX-License-Identifier: BSD-3-Clause
"""A gateway of ours inside the guest, on a NIC of qemu's that has queues and RSS.

    the test -- [krss TAP] -- qemu -- virtio-net, 4 queues, RSS -- wan   dpdk-pcpu-gw   lan
                                                                         (in the guest)

The NIC is net_virtio's: the guest's kernel has given it to uio_pci_generic. The lan is
net_null, so what is decrypted ends there. The binary, its libraries and the drivers that it
needs are this machine's, in a directory of the guest's that is their root.
"""

import atexit
import glob
import ipaddress
import itertools
import json
import os
import re
import shutil
import struct
import tempfile
import unittest

import esp
import image
import lab
from gateway import config_file_text, counter_sums
from guest import Guest, OFFLOADS
from gw import (BINARY, HOST4, HOST_MAC, LAN4, PEER4, PEER_MAC, WAN4, Tunnel, Wire,
                mac_bytes)
from netns import Failed, Namespace, run, wait_for

QUEUES = 4
MEMORY_MB = 768
HUGEPAGES = 128  # of 2 MB
TUNNELS = 4
PACKETS = 6  # of each SA in a round
FIRST_PORT = 49152
TAP = "krss"
ROOT = "/gw"  # in the guest
GATEWAY = "/dpdk-pcpu-gw"  # in there, as all of these
CONFIG, LOG, SOCKET = "/gw.conf", "/gw.log", "/gw.sock"
DRIVERS = ("librte_bus_pci", "librte_bus_vdev", "librte_mempool_ring", "librte_net_virtio",
           "librte_net_null")
START_S = 60.0
STOP_S = 60.0

# gw_rss_key and the table that net_virtio starts with, here once more: the tests predict by them
RSS_KEY = bytes.fromhex("f33e3143ff369449ee160017d8c9cbe86e5daa51809d0d32951ae1662a81979252db5582"
                        "9e733ff5")
RETA_SIZE = 128


class Device:
    """A NIC of the guest's at a PCI address."""

    def __init__(self, number, rss):
        self.tap = f"{TAP}{number}"
        self.address = f"0000:00:{0x10 + number:02x}.0"
        self.mac = f"52:54:00:00:01:{number:02x}"
        self.rss = rss
        self.number = number

    def arguments(self):
        """Of qemu."""
        rss = "on" if self.rss else "off"
        return ["-netdev", f"tap,id=r{self.number},ifname={self.tap},script=no,downscript=no,"
                           f"vhost=off,queues={QUEUES}",
                "-device", f"virtio-net-pci,netdev=r{self.number},mac={self.mac},mq=on,"
                           f"vectors={2 * QUEUES + 2},addr={0x10 + self.number:#x},"
                           f"disable-legacy=on,rss={rss},hash={rss},{OFFLOADS}"]


class Devices:
    """Both of them: a link as Guest wants it."""

    def __init__(self):
        self.rss = Device(0, True)
        self.plain = Device(1, False)

    def arguments(self, _queues):
        """Of qemu."""
        return self.rss.arguments() + self.plain.arguments()


def toeplitz(data, key=RSS_KEY):
    """The hash of NICs: for each bit of data that is set, 32 bits of the key from there on."""
    bits = int.from_bytes(key, "big")
    length = len(key) * 8
    value = 0
    for i in range(len(data) * 8):
        if data[i // 8] >> (7 - i % 8) & 1:
            value ^= bits >> (length - 32 - i) & 0xFFFFFFFF
    return value


def bucket(src, dst, sport, dport):
    """The entry of the redirection table where RSS looks for the queue of a UDP packet."""
    return toeplitz(ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
                    + struct.pack("!HH", sport, dport)) % RETA_SIZE


def libraries(path):
    """What a program or library needs, by the loader of this machine."""
    return re.findall(r"(?:=> )?(/\S+) \(0x", run("ldd", path).stdout)


def copy(path, top):
    """A file, and its other names as links: EAL loads a library once for each file."""
    real = os.path.realpath(path)
    for name in (real, path):
        os.makedirs(os.path.dirname(top + name), exist_ok=True)
    if not os.path.exists(top + real):
        shutil.copy2(real, top + real)
    if not os.path.lexists(top + path):
        os.symlink(real, top + path)


def overlay(directory, base):
    """The guest's image, and in it the gateway with all that it needs."""
    drivers = [found for name in DRIVERS
               for found in glob.glob(f"/usr/lib/*/dpdk/pmds-*/{name}.so.*.*")]
    if len(drivers) != len(DRIVERS):
        raise image.Missing(f"DPDK's drivers are not where Debian has them: {drivers}")
    stage = os.path.join(directory, "overlay")
    top = stage + ROOT
    for name in ("proc", "sys", "dev", "run", "tmp", "etc"):
        os.makedirs(os.path.join(top, name))
    os.makedirs(os.path.join(top, "var"))
    os.symlink("/run", os.path.join(top, "var/run"))
    shutil.copy2(BINARY, top + GATEWAY)
    files = set(drivers).union(*(libraries(path) for path in [BINARY, *drivers]))
    for path in files:
        copy(path, top)
    target = os.path.join(directory, "initramfs")
    image.pack(stage, target + ".gw")
    with open(target, "wb") as out:  # the kernel unpacks one archive after the other
        for part in (base.initramfs, target + ".gw"):
            with open(part, "rb") as f:
                shutil.copyfileobj(f, out)
    shutil.rmtree(stage)
    os.unlink(target + ".gw")
    return base._replace(initramfs=target)


# All that EAL looks for, in the root that it will have
SET_UP = f"""set -e
for name in proc sys dev; do mount -o bind /$name {ROOT}/$name; done
mkdir -p /dev/hugepages {ROOT}/lib64
mount -t hugetlbfs none {ROOT}/dev/hugepages
sysctl -qw net.ipv6.conf.default.disable_ipv6=1
"""

CHECK = """[ -d /sys/bus/pci/drivers/uio_pci_generic ] &&
cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"""

# To another driver than virtio_net
BIND = """set -e
cd /sys/bus/pci/devices/{address}
echo uio_pci_generic > driver_override
if [ -e driver ]; then echo {address} > driver/unbind; fi
echo {address} > /sys/bus/pci/drivers_probe
[ "$(basename "$(readlink driver)")" = uio_pci_generic ]
"""

START = f"""set -e
chmod 600 {ROOT}{CONFIG}
rm -f {ROOT}{LOG} {ROOT}{SOCKET}
chroot {ROOT} {GATEWAY} {{eal}} -- -c {CONFIG} >{ROOT}{LOG} 2>&1 </dev/null &
echo $!
"""


class Nic:
    """A guest with NICs, and one gateway at a time in it."""

    one = None
    why_not = None

    @classmethod
    def get(cls):
        """The one of this run: classes of tests share it."""
        if lab.GUESTS.image is None:
            raise lab.Unavailable(lab.GUESTS.why_not)
        if cls.why_not is not None:
            raise lab.Unavailable(cls.why_not)
        if cls.one is None:
            try:
                cls.one = cls(lab.GUESTS.image)
            except image.Missing as err:
                cls.why_not = str(err)
                raise lab.Unavailable(cls.why_not) from err
        return cls.one

    @classmethod
    def close_one(cls):
        """The end of it, if there is one."""
        if cls.one is not None:
            cls.one.close()
            cls.one = None

    def __init__(self, base):
        self.directory = tempfile.mkdtemp(prefix="pcpu-nic-", dir="/var/tmp")  # 0700
        self.namespace = Namespace(f"pcpu-n{os.getpid()}")
        self.devices = Devices()
        self.guest = None
        self.pid = None
        self.wire = None
        atexit.register(self.close)
        try:
            self._boot(base)
        except BaseException:
            self.close()
            raise

    def _boot(self, base):
        if "rss=" not in run("qemu-system-x86_64", "-device", "virtio-net-pci,help").stdout:
            raise image.Missing("this qemu's virtio-net-pci has no RSS: 5.2 or newer has it")
        base = overlay(self.directory, base)
        for device in (self.devices.rss, self.devices.plain):
            self.namespace.ip("tuntap", "add", device.tap, "mode", "tap", "multi_queue")
            self.namespace.sysctl(f"net.ipv6.conf.{device.tap}.disable_ipv6", 1)
        self.guest = Guest(base, self.directory, self.devices, namespace=self.namespace,
                           memory_mb=MEMORY_MB, kernel_args=f"hugepages={HUGEPAGES}").wait()
        for device in (self.devices.rss, self.devices.plain):
            self.namespace.ip("link", "set", device.tap, "up")
        self.guest.run(SET_UP)
        if self.guest.run(CHECK, check=False).strip() != str(HUGEPAGES):
            raise image.Missing("the guest's kernel has no uio_pci_generic, or no hugepages")

    def start(self, device, tunnels, workers=QUEUES, **wan):
        """A gateway with this NIC for its wan, and wan's own options."""
        config = {
            "console": SOCKET,
            "ports": [
                {"name": "lan", "device": "net_null0,no-rx=1", "addresses": [f"{LAN4}/24"]},
                {"name": "wan", "device": device.address, "addresses": [f"{WAN4}/24"],
                 **wan},
            ],
            "allow_iv_reuse": True,  # no disk for a state file; keys are new at each start
            "mbufs": 16383,
            "tunnels": [t.config() for t in tunnels],
        }
        eal = (f"--lcores '(0-{workers})@(0-{self.guest.cpus - 1})' -a {device.address} -m 128 "
               "--in-memory --no-telemetry")
        self.guest.run(BIND.format(address=device.address))
        self.guest.do("file", path=ROOT + CONFIG, text=config_file_text(config))
        self.pid = int(self.guest.run(START.format(eal=eal)))
        wait_for("the gateway in the guest", self._is_up, START_S)
        self.guest.run(f"ip neigh replace {HOST4} lladdr {HOST_MAC} dev lan nud permanent\n"
                       f"ip neigh replace {PEER4} lladdr {PEER_MAC} dev wan nud permanent")
        wait_for("neighbours in the gateway's tables", self._knows_neighbours, START_S)
        self.wire = Wire(self.namespace, device.tap, PEER_MAC)
        self.wire.port_mac = mac_bytes(device.mac)

    def _is_up(self):
        if not self.runs():
            raise Failed(f"the gateway in the guest has ended:\n{self.log()}")
        status, _ = self.guest.do("run", script=f"[ -S {ROOT}{SOCKET} ]")
        return status == 0 and self.guest.do("console", path=ROOT + SOCKET,
                                             command="show version")[0]

    def _knows_neighbours(self):
        return {HOST4, PEER4} <= {n["address"] for n in self.show("neighbours") if n["usable"]}

    def runs(self):
        """Is the gateway still there?"""
        return self.guest.do("run", script=f"[ -d /proc/{self.pid}/fd ] && "
                                           f"! grep -q '^State:.Z' /proc/{self.pid}/status")[0] == 0

    def log(self):
        """All that it has written."""
        return self.guest.run(f"cat {ROOT}{LOG}", check=False)

    def console(self, command):
        """The output of a command that must succeed."""
        good, text = self.guest.do("console", path=ROOT + SOCKET, command=command)
        if not good:
            raise Failed(f"{command}: {text.strip()}")
        return text

    def show(self, what):
        """What "show ... json" says, as Python values."""
        return json.loads(self.console(f"show {what} json"))

    def counters(self):
        """Counters and drops over all workers, by name; and those of each worker."""
        stats = self.show("stats")
        each = {row["name"]: [v for k, v in row.items() if re.fullmatch(r"w\d+", k)]
                for row in stats["counters"]}
        return counter_sums(stats, self.show("drops all")), each

    def stop(self):
        """End it in order, if it still runs; what it wrote."""
        if self.wire is not None:
            self.wire.close()
            self.wire = None
        if self.pid is not None:
            self.guest.run(f"kill {self.pid}", check=False)
            wait_for("the gateway's end", lambda: not self.runs(), STOP_S)
            self.pid = None
        return self.log()

    def close(self):
        """Remove all."""
        atexit.unregister(self.close)
        try:
            if self.guest is not None:
                self.guest.close()
        finally:
            self.namespace.close()
            shutil.rmtree(self.directory, ignore_errors=True)


def ports(count):
    """Source ports whose packets RSS looks up in entries of their own."""
    seen = {}
    for port in itertools.count(FIRST_PORT):
        seen.setdefault(bucket(PEER4, WAN4, port, 4500), port)
        if len(seen) == count:
            return list(seen.values())


class NicTest(unittest.TestCase):
    """Four tunnels with an inbound SA for each of four workers, each with a port of its own."""

    steering = "auto"  # of the wan port
    rss = True

    @classmethod
    def setUpClass(cls):
        try:
            cls.nic = Nic.get()
        except lab.Unavailable as err:
            raise unittest.SkipTest(str(err)) from err
        cls.tunnels = [Tunnel(f"t{i}", ((f"{HOST4}/32", f"10.2.{i}.0/24"),),
                              pcpus=range(QUEUES)) for i in range(TUNNELS)]
        cls.sas = [(i, worker, sa) for i, t in enumerate(cls.tunnels)
                   for worker, sa in enumerate(t.to_gw)]
        for (_, _, sa), port in zip(cls.sas, ports(len(cls.sas))):
            sa.sport = port
        cls.addClassCleanup(cls.nic.stop)
        cls.nic.start(cls.nic.devices.rss if cls.rss else cls.nic.devices.plain, cls.tunnels,
                      steering=cls.steering)

    def setUp(self):
        if not self.nic.runs():
            self.fail(f"the gateway has ended:\n{self.nic.log()}")

    def test_zz_end(self):
        """The gateway ends in order, and no buffer is missing."""
        self.assertIn("mbufs leaked: 0\n", self.nic.stop())

    def send(self, number, sa):
        """A round of an SA's packets."""
        for _ in range(PACKETS):
            inner = esp.udp_packet(f"10.2.{number}.2", HOST4, 7000, 7000, bytes(32))
            self.nic.wire.send(sa.seal(inner))

    def decrypted(self, before, count):
        """What the counters of each worker grew by, once so many packets were decrypted."""
        found = {}

        def all_there():
            total, each = self.nic.counters()
            found.update(total=total, each=each)
            # the owner decrypts before the round ends in which it sends
            return sum(each["tx"]) - sum(before[1]["tx"]) >= count

        try:
            wait_for("decrypted packets", all_there, lab.PATIENCE_S)
        finally:
            drops = {k: v for k, v in found["total"].items()
                     if k.startswith("drop.") and v != before[0][k]}
            self.assertEqual(drops, {})
        return {name: [a - b for a, b in zip(values, before[1][name])]
                for name, values in found["each"].items()}

    def steer(self):
        """show steer of the wan: its port, why not, and its SAs by SPI."""
        doc = self.nic.show("steer")
        return (next(p for p in doc["ports"] if p["port"] == "wan"),
                {w["method"]: w["why"] for w in doc["why_not"] if w["port"] == "wan"},
                {row["spi"]: row for row in doc["sas"]})

    def round(self):
        """Packets of all SAs; what it made of the counters of each worker."""
        before = self.nic.counters()
        for number, _, sa in self.sas:
            self.send(number, sa)
        return self.decrypted(before, PACKETS * len(self.sas))
