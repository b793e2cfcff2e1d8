# SPDX-License-Identifier: BSD-3-Clause
"""A gateway of ours with real Linux at both sides: a host on its lan, and a guest for a peer.

    host namespace           the gateway's namespace                    qemu
    10.1.0.2 [klan] -- lan   dpdk-pcpu-gw   wan -- vhost-user or TAP -- [eth0] 192.0.2.2
                                                                        [d0]   10.2.0.2

The host is a namespace of this machine's kernel, which knows no ESP. The guest
is Linux with xfrm; the traffic to and from 10.2.0.2 is its own.
"""

import atexit
import contextlib
import os
import re
import shutil
import tempfile
import unittest
from errno import EINVAL

import agent  # the same code on both sides
import linux
from gateway import Gateway, config_file_text, counter_sums, eal_args
from guest import Guest, Tap, VhostUser
from gw import BINARY, HOST4, HOST6, LAN4, LAN6, PEER4, PEER6, WAN4, WAN6
from netns import Failed, Namespace, wait_for

# of waiting for what must come: the machine may be busy
PATIENCE_S = float(os.environ.get("PCPU_PATIENCE_S", "60"))
PORT = 7000  # of the UDP packets
GUEST_TAP = "kguest"
QUIET = ["--log-level=lib.vhost.config:warning"]


class Unavailable(Exception):
    """There is no guest on this machine: why."""


class Guests:
    """The guests that ran so far, one for each kind of link. They outlive the gateways."""

    def __init__(self):
        self.image = None
        self.why_not = "the suite was not started by run.py"
        self.sites = {}

    def site(self, kind):
        """The Site of a kind, with its guest up."""
        if self.image is None:
            raise Unavailable(self.why_not)
        if kind not in self.sites:
            self.sites[kind] = Site(kind, self.image)
        return self.sites[kind]

    def close(self):
        """All of them."""
        for site in self.sites.values():
            site.close()
        self.sites.clear()


GUESTS = Guests()
atexit.register(GUESTS.close)


def far(number):
    """The guest's own addresses behind a tunnel."""
    return (f"10.2.{number}.2", f"fd02:{number}::2")


def nets(number):
    """Selectors of a tunnel to them."""
    return (("10.1.0.0/24", f"10.2.{number}.0/24"), ("fd01::/64", f"fd02:{number}::/64"))


class Host:
    """The namespace behind the gateway's lan. What it can do is what the agent can."""

    def __init__(self, namespace):
        self.namespace = namespace

    def plug_in(self, gateway_namespace):
        """Take the kernel's end of the gateway's lan port, which is new at each start."""
        gateway_namespace.ip("link", "set", "klan", "netns", self.namespace.name)
        for argv in (("link", "set", "klan", "address", "02:00:00:00:01:02"),
                     ("link", "set", "klan", "up"),
                     ("addr", "add", f"{HOST4}/24", "dev", "klan"),
                     ("addr", "add", f"{HOST6}/64", "dev", "klan", "nodad"),
                     ("route", "add", "default", "via", LAN4),
                     ("-6", "route", "add", "default", "via", LAN6)):
            self.namespace.ip(*argv)

    def do(self, name, **arguments):
        """As Guest.do()."""
        with self.namespace.entered():
            return getattr(agent, f"do_{name}")(**arguments)


class Site:
    """Namespaces, a guest, and one gateway at a time between them."""

    count = 0

    def __init__(self, kind, image):
        Site.count += 1
        self.kind = kind
        self.directory = tempfile.mkdtemp(prefix="pcpu-interop-", dir="/var/tmp")  # 0700
        name = f"pcpu-i{os.getpid()}-{Site.count}"
        self.namespace = Namespace(name)
        self.host = Host(Namespace(f"{name}-host"))
        self.gateway = None
        self.starts = 0
        self.state_path = None  # of the gateway's state file
        self.routes = []  # of the guest's to the gateway's networks
        self.queues = 0  # of the guest that are in use: each polled by a worker
        self.link_path = os.path.join(self.directory, "vhost.sock")
        if kind == "vhost":
            self.guest = Guest(image, self.directory, VhostUser(self.link_path))
        else:
            self.namespace.ip("tuntap", "add", GUEST_TAP, "mode", "tap", "multi_queue")
            self.namespace.sysctl(f"net.ipv6.conf.{GUEST_TAP}.disable_ipv6", 1)
            self.guest = Guest(image, self.directory, Tap(GUEST_TAP), namespace=self.namespace)
            self.namespace.ip("link", "set", GUEST_TAP, "up")
        self.is_up = False

    def wan_device(self, workers):
        """The gateway's port towards the guest."""
        if self.kind == "vhost":
            return f"net_vhost0,iface={self.link_path},queues={max(workers, 2)}"
        # through the qdisc, where a test can listen
        return f"net_af_packet0,iface={GUEST_TAP},qpairs={workers},qdisc_bypass=0"

    def config(self, tunnels, workers, **more):
        """The gateway's configuration file."""
        return {
            "console": self.gateway.socket_path,
            "state_file": self.state_path,
            "ports": [
                {"name": "lan", "device": "net_tap0,iface=klan",
                 "addresses": [f"{LAN4}/24", f"{LAN6}/64"]},
                {"name": "wan", "device": self.wan_device(workers),
                 "addresses": [f"{WAN4}/24", f"{WAN6}/64"]},
            ],
            **more,
            "tunnels": [t.config() for t in tunnels],
        }

    def start(self, tunnels, workers=2, go_on=False, guest_as_new=True, **more):
        """A gateway with these tunnels, and the guest's interfaces and tables as if it were new.

        go_on: with the state file of the one before.
        """
        self.starts += 1
        if not go_on:
            self.state_path = os.path.join(self.directory, f"state{self.starts}")
        self.queues = min(workers, self.guest.cpus)
        workers_eal = eal_args(workers, f"pcpu-i{os.getpid()}") + QUIET
        self.gateway = Gateway(BINARY, self.namespace, self.directory, f"gw{self.starts}")
        self.gateway.write_config(config_file_text(self.config(tunnels, workers, **more)))
        self.gateway.start(workers, eal=workers_eal)
        self.host.plug_in(self.namespace)
        if not self.is_up:
            self.guest.wait()
            self.is_up = True
        if guest_as_new:
            self.routes = []
            self.guest.do("encap_end")
            self.guest.run(GUEST_SET_UP.format(queues=self.queues))
        wait_for("the guest's link", self._link_works, PATIENCE_S)

    def peer(self, tunnel, number=2, window=1024, batch=None, reqid=linux.REQID):
        """The guest as the other end of a tunnel, with hosts 10.2.NUMBER.2 and fd02:NUMBER::2.

        batch: other commands for its SAs. Their numbers go on where those of the gateway are, as
        keys are not new for each test.
        """
        ip6 = ":" in tunnel.local
        seq = self.numbers()
        pairs = zip(tunnel.pcpus, tunnel.from_gw, tunnel.to_gw)
        commands = list(batch) if batch is not None else [
            linux.state(sa, direction, cpu, window, seq=seq.get(sa.spi, 0), reqid=reqid)
            for cpu, *both in pairs for sa, direction in zip(both, ("in", "out"))]
        for net in tunnel.selectors:
            commands += linux.policies(net["remote"], net["local"], tunnel.remote, tunnel.local,
                                       reqid)
            self.routes.append(f"route replace {net['local']} dev eth0")
        commands += self.routes
        for address in far(number):
            commands.append(f"addr add {address}/{128 if ':' in address else 32} dev d0")
        self.guest.do("ip", commands=commands)
        for port in {sa.dport for sa in tunnel.from_gw if sa.dport}:
            self.guest.do("encap", port=port, ip6=ip6)

    def numbers(self):
        """How far each SA of the gateway has come, by SPI."""
        return {row["spi"]: row["seq"] for row in self.gateway.show("sa")}

    def forget_peer(self):
        """The guest without any of that, but for the routes."""
        self.guest.do("encap_end")
        self.guest.do("ip", commands=["xfrm state flush", "xfrm policy flush",
                                      "addr flush dev d0"])

    def _link_works(self):
        """Does the gateway answer each CPU of the guest, and the host, and know both?"""
        for cpu in range(self.guest.cpus):
            for address in (WAN4, WAN6):
                if not self.guest.do("ping", address=address, cpu=cpu):
                    self._replug()
                    return False
        for address in (LAN4, LAN6):
            self.host.namespace.run("ping", "-c", "1", "-W", "1", address, check=False)
        known = {n["address"] for n in self.gateway.show("neighbours") if n["usable"]}
        return {PEER4, PEER6, HOST4, HOST6} <= known

    def _replug(self):
        """The guest's interface down and up: qemu leaves queues off when the gateway comes back."""
        self.guest.run(f"ip link set eth0 down; ethtool -L eth0 combined {self.queues}")
        self.guest.do("ip", commands=["link set eth0 up", f"addr add {PEER6}/64 dev eth0 nodad",
                                      *self.routes])

    def stop(self, how=15):
        """End the gateway; its exit status."""
        return self.gateway.stop(how)

    def end(self):
        """End the gateway, however it is."""
        if self.gateway is not None:
            self.gateway.clean()

    def close(self):
        """Remove all."""
        try:
            self.guest.close()
            self.end()
        finally:
            self.host.namespace.close()
            self.namespace.close()
            shutil.rmtree(self.directory, ignore_errors=True)


# The guest as each gateway finds it. In its tables stands nothing of the one before.
GUEST_SET_UP = f"""set -e
ip xfrm state flush
ip xfrm policy flush
ip link set eth0 down
ip addr flush dev eth0
ip neigh flush all
ethtool -L eth0 combined {{queues}}
ip link add d0 type dummy 2>/dev/null || true
ip addr flush dev d0
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
sysctl -qw net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0
sysctl -qw net.ipv4.ping_group_range='0 2147483647'
ip link set d0 up
ip link set eth0 up
ip addr add {PEER4}/24 dev eth0
ip addr add {PEER6}/64 dev eth0 nodad
"""


class Counts:
    """All that both ends count, at one moment."""

    def __init__(self, site):
        stats = site.gateway.show("stats")
        self.gateway = counter_sums(stats, site.gateway.show("drops all"))
        self.difference = stats["balance"]["difference"]
        self.sas = {(row["dir"], row["spi"]): row for row in site.gateway.show("sa")}
        self.workers = {row["name"]: [v for k, v in row.items() if re.fullmatch(r"w\d+", k)]
                        for row in stats["counters"]}
        states, stat = site.guest.do("xfrm")
        self.states = linux.parse_states(states)
        self.stat = linux.parse_stat(stat)

    def by_worker(self, name, before):
        """What has come to a counter since then, by worker."""
        return [a - b for a, b in zip(self.workers[name], before.workers[name])]

    def packets(self, direction, sa, before):
        """What an SA of the gateway has done since then: packets, and bytes of inner packets."""
        new, old = (c.sas.get((direction, sa.spi), {"packets": 0, "bytes": 0})
                    for c in (self, before))
        return new["packets"] - old["packets"], new["bytes"] - old["bytes"]

    def guest_packets(self, sa, before):
        """The same of the guest."""
        new, old = (c.states.get(sa.spi) for c in (self, before))
        if new is None:
            return 0, 0
        return (new.packets - (old.packets if old else 0), new.bytes - (old.bytes if old else 0))

    def refused(self, sa, before):
        """What the guest's SA refused since then: replays, too old, not authentic."""
        new, old = (c.states[sa.spi] for c in (self, before))
        return new.replay - old.replay, new.window - old.window, new.failed - old.failed


class Renewal:
    """What the guest's own kernel does to packets while its SAs are renewed: see docs/interop.md.

    It refuses a send() on an SA that is deleted meanwhile, and the sender tries again. It loses
    what it received while a policy is changed. It counts each of both, and so do we.
    """

    TRIES = 4  # of one datagram
    MOST_REFUSED = 6  # tries: an SA of a few is deleted under one sender at a time
    MOST_DROPPED = 64  # what its NIC's driver takes at a time
    REFUSED, DROPPED = "XfrmOutStateInvalid", "XfrmInError"

    def __init__(self, site):
        self.site = site
        self.began = self.stat()
        self.refused = []  # number and errno of each try
        self.dropped = 0

    def stat(self):
        """/proc/net/xfrm_stat of the guest, now."""
        return linux.parse_stat(self.site.guest.run("cat /proc/net/xfrm_stat"))

    def counted(self):
        """What of it has grown since then."""
        return {name: value - self.began[name] for name, value in self.stat().items()
                if value != self.began[name]}

    def __str__(self):
        return (f"tries of the guest's that were refused: {self.refused}; what it received and "
                f"dropped: {self.dropped}")


class InteropTest(unittest.TestCase):
    """Tests of one gateway and the guest of one kind of link."""

    kind = "vhost"
    workers = 2
    site = None
    number = 0

    @classmethod
    def tunnels(cls):
        """What the gateway is configured with."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        try:
            cls.site = GUESTS.site(cls.kind)
        except Unavailable as err:
            raise unittest.SkipTest(str(err)) from err
        cls.all = cls.tunnels()
        cls.addClassCleanup(cls.site.end)
        cls.site.start(cls.all, cls.workers)

    def setUp(self):
        if self.site.gateway.process.poll() is not None:
            self.fail(f"the gateway has ended:\n{self.site.gateway.log()}")
        self.site.forget_peer()

    def test_zz_end(self):
        """The gateway ends in order, without a leak, and never printed a key."""
        status = self.site.stop()
        log = self.site.gateway.log()
        self.assertEqual(status, 0, log)
        self.assertEqual(self.site.gateway.leaked(), 0, log)
        for tunnel in self.all:
            for key in tunnel.keys():
                self.assertNotIn(key[:16], log.lower())

    # traffic

    def fresh(self, count):
        """Numbers that no packet had before."""
        InteropTest.number += count
        return [InteropTest.number - count, InteropTest.number]

    @staticmethod
    @contextlib.contextmanager
    def sink(receiver, address):
        """Meanwhile one side takes UDP packets; a function that says what it has taken so far."""
        receiver.do("sink", address=address, port=PORT)
        try:
            yield lambda: receiver.do("sunk", address=address, port=PORT)
        finally:
            receiver.do("sink_end", address=address, port=PORT)

    def cross(self, sender, receiver, count, src, dst, lost=0, drops=None, stat=None,
              errno=None, renewal=None, **how):
        """UDP packets from one side to the other: each arrives once and unchanged.

        lost: so many do not arrive, which these counters say when it is so: nobody
        waits for what will not come, and nothing is taken for lost that is late.
        errno: that the sender gets for those.
        renewal: as cross_renewing().
        """
        if renewal is not None:
            return self.cross_renewing(renewal, sender, receiver, count, src, dst, **how)
        numbers = self.fresh(count)
        before = self.counts() if lost else None
        with self.sink(receiver, dst) as sunk:
            errors = sender.do("send", src=src, dst=dst, port=PORT, numbers=numbers, **how)
            self.assertEqual([e for _, e in errors], [errno] * lost if errno else [])
            if lost:
                self.settled(before, drops, stat)
            got = {}

            def all_there():
                got.update(sunk())
                return len(got["numbers"]) + got["broken"] >= count - lost

            with contextlib.suppress(Failed):
                wait_for("packets", all_there, PATIENCE_S)
        self.assertEqual(got["broken"], 0)
        right = sorted(got["numbers"]) == list(range(*numbers)) if lost == 0 else \
            len(got["numbers"]) == count - lost
        if not right:
            missing = sorted(set(range(*numbers)) - set(got["numbers"]))
            self.fail(f"{len(got['numbers'])} packets arrived, {count - lost} should have; of "
                      f"{numbers} these are missing: {str(missing)[:200]}\n{self.why()}")
        return got["numbers"]

    def cross_renewing(self, renewal, sender, receiver, count, src, dst, flows=1, **how):
        """As cross(), in the order of each flow, but for what the guest says that it did to them.

        check_renewal() is to follow.
        """
        numbers = self.fresh(count)
        got = {}
        ours = []  # of those that are not there, who did not come for another reason

        def all_there():
            got.update(sunk())
            missing = count - len(set(got["numbers"]))
            if missing and receiver is self.site.guest:
                missing -= renewal.counted().get(renewal.DROPPED, 0) - renewal.dropped
            ours[:] = [missing]
            return missing == 0

        with self.sink(receiver, dst) as sunk:
            refused = sender.do("send", src=src, dst=dst, port=PORT, numbers=numbers, flows=flows,
                                tries=renewal.TRIES, **how)
            renewal.refused += refused
            with contextlib.suppress(Failed):
                wait_for("packets", all_there, PATIENCE_S)
        missing = sorted(set(range(*numbers)) - set(got["numbers"]))
        said = (f"of {numbers} these are missing: {str(missing)[:200]}; {renewal}\n{self.why()}")
        self.assertEqual(got["broken"], 0, said)
        self.assertEqual(ours, [0], said)
        renewal.dropped += len(missing)
        for flow in range(flows):
            came = [n for n in got["numbers"] if n % flows == flow]
            self.assertEqual(came, sorted(set(came)), f"once and in order; {said}")

    def check_renewal(self, renewal):
        """The guest refused and dropped what it counted as such, nothing else, and not much."""
        said = str(renewal)
        self.assertLessEqual({e for _, e in renewal.refused}, {EINVAL}, said)
        self.assertLessEqual(len(renewal.refused), renewal.MOST_REFUSED, said)
        self.assertLessEqual(renewal.dropped, renewal.MOST_DROPPED, said)
        both = {renewal.REFUSED: len(renewal.refused), renewal.DROPPED: renewal.dropped}
        self.assertEqual(renewal.counted(), {k: v for k, v in both.items() if v}, said)

    def to_guest(self, count, number=2, ip6=False, **how):
        """From the host behind the gateway to the guest, in many flows."""
        how.setdefault("flows", 16)
        return self.cross(self.site.host, self.site.guest, count, HOST6 if ip6 else HOST4,
                          far(number)[ip6], **how)

    def to_host(self, count, number=2, ip6=False, cpu=0, **how):
        """From a CPU of the guest to the host behind the gateway."""
        return self.cross(self.site.guest, self.site.host, count, far(number)[ip6],
                          HOST6 if ip6 else HOST4, cpu=cpu, **how)

    # counters

    def counts(self):
        """Now."""
        return Counts(self.site)

    def why(self):
        """What the counters say that may explain a failure."""
        return (self.site.gateway.console("show drops")
                + self.site.guest.run("grep -v '\\s0$' /proc/net/xfrm_stat", check=False))

    def settled(self, before, drops=None, stat=None, seconds=PATIENCE_S):
        """Counts, as soon as these were reached; no drop and no error but them, on either side.

        drops: of the gateway, by name ("esp.replayed"); stat: of /proc/net/xfrm_stat.
        """
        drops, stat = drops or {}, stat or {}
        found = {}

        def reached():
            now = found["now"] = self.counts()
            found["drops"] = {k[5:]: v - before.gateway[k] for k, v in now.gateway.items()
                              if k.startswith("drop.") and v != before.gateway[k]}
            found["stat"] = {k: v - before.stat[k] for k, v in now.stat.items()
                             if v != before.stat[k]}
            return all(found["drops"].get(k, 0) >= v for k, v in drops.items()) and \
                all(found["stat"].get(k, 0) >= v for k, v in stat.items()) and \
                now.difference == 0

        with contextlib.suppress(Failed):
            wait_for("counters", reached, seconds)
        self.assertEqual(found["drops"], drops, "drops of the gateway")
        self.assertEqual(found["stat"], stat, "/proc/net/xfrm_stat of the guest")
        self.assertEqual(found["now"].difference, 0)
        return found["now"]
