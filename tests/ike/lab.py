# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways, a charon beside each, and a host behind each.

    host-a -- lan [gw-a: gateway, charon] wan -- bridge -- wan [gw-b: gateway, charon] lan -- host-b
    10.1.0.2      10.1.0.1        192.0.2.1                192.0.2.2          10.2.0.1    10.2.0.2

Each of the five is a network namespace. Nothing of IPsec is in their kernels.
"""

import atexit
import os
import shutil
import tempfile
import time
import unittest

import swan
from charon import Charon, connection
from gateway import Gateway, config_file_text
from netns import Failed, Namespace, wait_for
from traffic import Capture, Sender, Sink

BINARY = os.environ.get("PCPU_GW", "")
PATIENCE_S = float(os.environ.get("PCPU_PATIENCE_S", "30"))
WORKERS = 2
QUEUE = 20000  # packets
SIDES = {
    "a": {"wan": "192.0.2.1", "wan2": "192.0.2.11", "wan6": "2001:db8::1",
          "lan": "10.1.0.1", "host": "10.1.0.2", "net": "10.1.0.0/24",
          "lan6": "fd01::1", "host6": "fd01::2", "net6": "fd01::/64", "mac": "02:00:00:00:0a"},
    "b": {"wan": "192.0.2.2", "wan2": "192.0.2.12", "wan6": "2001:db8::2",
          "lan": "10.2.0.1", "host": "10.2.0.2", "net": "10.2.0.0/24",
          "lan6": "fd02::1", "host6": "fd02::2", "net6": "fd02::/64", "mac": "02:00:00:00:0b"},
}
OTHER = {"a": "b", "b": "a"}


class Side:
    """A gateway, its charon, and its host."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.at = SIDES[name]
        self.peer = SIDES[OTHER[name]]
        self.ns = Namespace(f"{world.prefix}-gw-{name}")
        self.host = Namespace(f"{world.prefix}-host-{name}")
        directory = world.directory
        self.gateway = Gateway(BINARY, self.ns, directory, f"gw-{name}")
        self.ike_path = os.path.join(directory, f"ike-{name}.sock")
        self.charon = Charon(world.swan, self.ns, directory, f"charon-{name}", self.ike_path)
        self.sink = None
        self.capture = None

    def config(self):
        """Of the gateway: no tunnels, they come by IKE."""
        at = self.at
        return {
            "console": self.gateway.socket_path, "ike_socket": self.ike_path,
            "state_file": os.path.join(self.world.directory, f"gw-{self.name}.state"),
            "ports": [
                {"name": "lan", "device": f"net_tap0,iface=h{self.name}",
                 "addresses": [f"{at['lan']}/24", f"{at['lan6']}/64"]},
                {"name": "wan", "device": f"net_tap1,iface=w{self.name}",
                 "addresses": [f"{at['wan']}/24", f"{at['wan2']}/24", f"{at['wan6']}/64"]}],
            **self.world.gateway_options}

    def start_gateway(self):
        """Start it and plug in its wires; those of an earlier one are gone."""
        self.gateway.write_config(config_file_text(self.config()))
        self.gateway.start(self.world.workers)
        self.plug_in()

    def plug_in(self):
        """The kernel's ends of its ports go to the host and to the bridge."""
        at, host, net = self.at, self.host, self.world.net
        lan, wan = f"h{self.name}", f"w{self.name}"
        self.ns.ip("link", "set", lan, "netns", host.name)
        self.ns.ip("link", "set", wan, "netns", net.name)
        host.ip("link", "set", lan, "address", f"{at['mac']}:01")
        net.ip("link", "set", wan, "address", f"{at['mac']}:02")
        net.sysctl(f"net.ipv6.conf.{wan}.disable_ipv6", 1)
        # a machine with more to do than CPUs: what waits for the gateway must not be dropped
        net.ip("link", "set", wan, "txqueuelen", QUEUE, "master", "br0", "up")
        host.ip("link", "set", lan, "txqueuelen", QUEUE, "up")
        host.ip("addr", "add", f"{at['host']}/24", "dev", lan)
        host.ip("addr", "add", f"{at['host6']}/64", "dev", lan, "nodad")
        host.ip("route", "add", "default", "via", at["lan"])
        host.ip("-6", "route", "add", "default", "via", at["lan6"])
        if self.capture is not None:
            self.capture.follow()
        else:
            self.capture = Capture(net, wan)

    def start_charon(self, **how):
        """Start it and load its connection."""
        self.charon.start(**how)
        self.load()

    def load(self):
        """Its connection, by swanctl."""
        world = self.world
        at, peer = self.at, self.peer
        local_ts, remote_ts = world.selectors.get(
            self.name, (f"{at['net']},{at['net6']}", f"{peer['net']},{peer['net6']}"))
        self.charon.load(connection(
            at[world.outside], peer[world.outside], local_ts, remote_ts, world.esp,
            {**world.connection, **world.only.get(self.name, {})}, world.child))

    def take(self):
        """Have a sink in the host."""
        self.sink = Sink(self.host)

    def close(self):
        """All of it."""
        for what in (self.sink, self.capture):
            if what is not None:
                what.close()
        self.charon.close()
        self.gateway.clean()
        self.host.close()
        self.ns.close()


class World:
    """Both sides and the bridge between them; all gone after close()."""

    count = 0

    def __init__(self, child=None, connection=None, esp="aes128gcm16-esn", selectors=None,
                 only=None, workers=WORKERS, settings=None, gateway=None, outside="wan"):
        World.count += 1
        self.prefix = f"ike{os.getpid()}-{World.count}"
        self.swan = swan.find()
        self.workers = workers
        self.child = {"start_action": "trap", "per_cpu_sas": "yes", "rekey_time": "1h",
                      **(child or {})}
        self.connection = {"mobike": "no", "dpd_delay": "2s", **(connection or {})}
        self.esp = esp
        self.outside = outside  # which of a side's addresses is IKE's
        self.selectors = selectors or {}
        self.only = only or {}
        self.gateway_options = gateway or {}
        self.directory = tempfile.mkdtemp(prefix="pcpu-ike-", dir="/var/tmp")  # 0700
        self.sides = {}
        atexit.register(self.close)
        self.net = Namespace(f"{self.prefix}-net")
        self.net.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.net.ip("link", "set", "br0", "up")
        for name in SIDES:
            self.sides[name] = Side(self, name)
            self.sides[name].charon.settings = {
                "retransmit_timeout": 1.0, "retransmit_base": 1.3, "retransmit_tries": 4,
                "retry_initiate_interval": 1, **(settings or {})}
        self.a, self.b = self.sides["a"], self.sides["b"]

    def start(self, charons=True):
        """Gateways, then charons."""
        for side in self.sides.values():
            side.start_gateway()
        for side in self.sides.values():
            side.take()
        wait_for("the gateways to reach each other", lambda: self.a.ns.run(
            "ping", "-n", "-c", "1", "-W", "1", self.b.at[self.outside],
            check=False).returncode == 0, PATIENCE_S)
        if charons:
            for side in self.sides.values():
                side.start_charon()
        return self

    def send(self, source="a", inside="host", **how):
        """Start numbered packets from one host to the other; inside="host6": over IPv6."""
        here, there = self.sides[source], self.sides[OTHER[source]]
        return Sender(here.host, here.at[inside], there.sink, there.at[inside], **how)

    def close(self):
        """Remove all."""
        atexit.unregister(self.close)
        try:
            for side in self.sides.values():
                side.close()
        finally:
            self.net.close()
            shutil.rmtree(self.directory, ignore_errors=True)


class IkeTest(unittest.TestCase):
    """Tests with a world of their own, or of their class."""

    def world(self, **how):
        """A world that ends with the test."""
        world = World(**how)
        self.addCleanup(world.close)
        return world

    def eventually(self, what, probe, seconds=PATIENCE_S, world=None):
        """wait_for(), and what both sides said where it does not come."""
        try:
            return wait_for(what, probe, seconds)
        except Failed as err:
            self.fail(f"{err}\n{told(world)}")


def told(world):
    """The ends of all logs."""
    if world is None:
        return ""
    return "\n".join(f"--- {what} {side.name}\n{text[-3000:]}" for side in world.sides.values()
                     for what, text in (("charon", side.charon.log()),
                                        ("gateway", side.gateway.log())))


def pause(seconds):
    """For what can only be seen by that it does not happen."""
    time.sleep(seconds)
