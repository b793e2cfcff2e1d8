# SPDX-License-Identifier: BSD-3-Clause
"""IKE: our gateway with charon and the plugin; the guest's kernel with its own charon.

Both have per_cpu_sas. SAs come on demand, from either end, for each CPU of the guest and
for each worker; the kernel counts what came.
"""

import os
import re
import types
import unittest

import lab
import swan
from charon import Charon, connection
from gw import HOST4, PEER4, WAN4
from lab import far
from netns import wait_for

NUMBER = 2
GUEST_CONF = """charon-systemd {
	load_modular = no
	load = random nonce openssl pem pubkey x509 kernel-netlink socket-default vici
	install_routes = no
	install_virtual_ip = no
	plugins {
		vici {
			socket = unix:///run/charon.vici
		}
	}
	filelog {
		log {
			path = /tmp/charon.log
			flush_line = yes
			default = 1
		}
	}
}
swanctl {
	load = random openssl
}
"""
URI = "--uri unix:///run/charon.vici"
GUEST_START = f"""kill $(cat /tmp/charon.pid 2>/dev/null) 2>/dev/null
rm -f /run/charon.vici
charon-systemd </dev/null >/tmp/charon.out 2>&1 &
echo $! >/tmp/charon.pid
for i in 0 1 2 3 4 5 6 7 8 9; do
	swanctl --load-all --noprompt --file /tmp/swanctl.conf {URI} && exit 0
	sleep 1
done
cat /tmp/charon.out /tmp/charon.log
exit 1
"""


class Ike(lab.InteropTest):
    """One IKE_SA at a time between the two."""

    @classmethod
    def tunnels(cls):
        return []

    @classmethod
    def setUpClass(cls):
        found = swan.find()
        if found is None or not found.has_per_cpu_sas():
            raise unittest.SkipTest("no strongSwan with per_cpu_sas: sudo tools/strongswan")
        if not os.path.exists(os.path.join(found.plugins, swan.PLUGIN)):
            raise unittest.SkipTest("charon has no plugin kernel-pcpu: tools/test installs it")
        try:
            cls.site = lab.GUESTS.site(cls.kind)
        except lab.Unavailable as err:
            raise unittest.SkipTest(str(err)) from err
        cls.all = []
        cls.ike_path = os.path.join(cls.site.directory, "ike.sock")
        cls.addClassCleanup(cls.site.end)
        cls.site.start([], cls.workers, ike_socket=cls.ike_path)
        cls.charon = Charon(found, cls.site.namespace, cls.site.directory, "charon", cls.ike_path)
        cls.charon.settings = {"retry_initiate_interval": 1}

    def both(self, per_cpu_sas, encap):
        """Both charons, with fresh connections."""
        guest = self.site.guest
        guest.run("ip xfrm state flush; ip xfrm policy flush")
        guest.do("ip", commands=[f"route replace 10.1.0.0/24 dev eth0 src {far(NUMBER)[0]}",
                                 f"addr add {far(NUMBER)[0]}/32 dev d0"][::-1])
        here, there = "10.1.0.0/24", f"10.2.{NUMBER}.0/24"
        how = ("aes128gcm16-esn", {"mobike": "no", "encap": encap},
               {"start_action": "trap", "per_cpu_sas": per_cpu_sas, "replay_window": 1024})
        self.charon.start()
        self.addCleanup(self.end_charons)
        self.charon.load(connection(WAN4, PEER4, here, there, *how))
        guest.do("file", path="/etc/strongswan.conf", text=GUEST_CONF)
        guest.do("file", path="/tmp/swanctl.conf",
                 text=connection(PEER4, WAN4, there, here, *how))
        guest.run(GUEST_START)

    def end_charons(self):
        """Both, in order: they delete what they made."""
        self.site.guest.run("kill $(cat /tmp/charon.pid); sleep 1; rm -f /tmp/charon.pid",
                            check=False)
        self.charon.stop()

    def guest_sas(self):
        """CHILD_SAs as the guest's charon has them: (inbound SPI, outbound SPI, CPU or None)."""
        text = self.site.guest.run(f"swanctl --list-sas {URI}")
        found = []
        for child in re.split(r"\n  (?=\S+: #)", text)[1:]:
            if ", INSTALLED," not in child:
                continue
            way = {w: int(spi, 16) for w, spi in re.findall(r"^\s+(in|out)\s+([0-9a-f]{8})", child,
                                                            re.M)}
            cpu = re.search(r"\bcpu (\d+)", child)
            found.append((way["in"], way["out"], int(cpu.group(1)) if cpu else None))
        return found

    def all_there(self):
        """A fallback and a pair for each CPU and each worker?"""
        guest = {cpu for _, _, cpu in self.guest_sas()}
        ours = {s["pcpu"] for s in self.site.gateway.show("sa") if s["dir"] == "out"}
        return {None, 0, 1} <= guest and {None, *range(self.workers)} <= ours

    def bring_up(self, from_guest):
        """Packets of every CPU, or of many flows, until all SAs are there."""
        dst, src = far(NUMBER)[0], HOST4

        def step():
            if from_guest:
                for cpu in (0, 1):
                    self.site.guest.do("send", src=dst, dst=src, port=lab.PORT,
                                       numbers=self.fresh(4), cpu=cpu)
            else:
                self.site.host.do("send", src=src, dst=dst, port=lab.PORT,
                                  numbers=self.fresh(16), flows=16)
            return self.all_there()

        wait_for("an SA for each CPU", step, lab.PATIENCE_S)

    def settle(self):
        """Wait until both ends have the same SAs, and none is under way: SPIs of the guest's."""
        seen = []

        def same():
            seen.append(self.guest_sas())
            ours = {(s["dir"], s["spi"]) for s in self.site.gateway.show("sa")}
            theirs = {w for i, o, _ in seen[-1] for w in (("out", i), ("in", o))}
            return ours == theirs and len(seen) > 1 and seen[-1] == seen[-2]

        wait_for("the same SAs at both ends", same, lab.PATIENCE_S)

    def check_traffic(self):
        """Both ways, from each CPU, nothing lost; both ends count the same."""
        self.settle()
        before = self.counts()
        self.to_guest(64, NUMBER)
        for cpu in (0, 1):
            self.to_host(64, NUMBER, cpu=cpu)
        after = self.counts()
        used = 0
        for way, spi in after.sas:
            if spi in after.states:
                sa = types.SimpleNamespace(spi=spi)
                ours = after.packets(way, sa, before)
                self.assertEqual(ours, after.guest_packets(sa, before), f"{way} {spi:#x}")
                used += ours[0]
        self.assertEqual(used, 192)

    def check_rekey(self, trigger):
        """Rekey all under traffic; nothing is lost, but for what the guest's kernel admits."""
        old = {spi for spis in self.guest_sas() for spi in spis[:2]}
        renewal = lab.Renewal(self.site)
        trigger()
        for _ in range(4):
            self.to_guest(100, NUMBER, renewal=renewal)
            self.to_host(100, NUMBER, cpu=0, renewal=renewal)
            self.to_host(100, NUMBER, cpu=1, renewal=renewal)
        wait_for("new SAs", lambda: not old & {spi for spis in self.guest_sas()
                                               for spi in spis[:2]}, lab.PATIENCE_S)
        self.check_renewal(renewal)
        self.check_traffic()

    def cycle(self, per_cpu_sas, encap, from_guest):
        """Up, traffic, rekeying from both ends."""
        self.both(per_cpu_sas, encap)
        self.bring_up(from_guest)
        self.bring_up(not from_guest)
        self.check_traffic()
        self.check_rekey(lambda: self.charon.rekey(child="net"))
        self.check_rekey(lambda: self.site.guest.run(
            f"swanctl --rekey --child net {URI}"))

    def test_guest_initiates(self):
        """Plain ESP; the guest's packets bring the SAs."""
        self.cycle("yes", "no", True)

    def test_gateway_initiates(self):
        """Plain ESP; ours do."""
        self.cycle("yes", "no", False)

    def test_encap(self):
        """In UDP, with ports of each SA's own at both ends."""
        self.cycle("encap", "yes", True)
