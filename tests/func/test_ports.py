# SPDX-License-Identifier: BSD-3-Clause
"""Source ports that the gateway chooses (sport = "auto"): on the wire, told, and over a rekey."""

import ipaddress
import json
import os
import struct
import tempfile

import esp
from gw import DEFAULT_PORTS, FAR4, HOST4, PEER4, WAN4, GatewayTest, Tunnel, World

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcb"
                    "ae7b30b477cb2da38030f20c6a42b73bbeac01fa")
QUEUES = 4


def peer_queue(sport):
    """Where the peer's NIC puts what we send from there: Toeplitz, by its definition."""
    data = ipaddress.ip_address(WAN4).packed + ipaddress.ip_address(PEER4).packed \
        + struct.pack("!HH", sport, 4500)
    value = 0
    for i in range(len(data) * 8):
        if data[i // 8] >> (7 - i % 8) & 1:
            value ^= int.from_bytes(KEY, "big") >> (len(KEY) * 8 - 32 - i) & 0xFFFFFFFF
    return value % 128 % QUEUES


class AutoTunnel(Tunnel):
    """Its outbound ports are the gateway's to choose."""

    def config(self):
        group = super().config()
        for pair in group["sas"]:
            pair["out"]["sport"] = "auto"
        return group


class ChosenPorts(GatewayTest):
    """One tunnel of three SAs and a fallback SA towards a peer with four queues."""

    @classmethod
    def world(cls):
        cls.t = AutoTunnel("t4", pcpus=(0, 1, 5, "any"),
                           peer_rss={"key": KEY.hex(), "queues": QUEUES})
        return World([cls.t], numa="strict",
                     ports=[{**p, "steering": "soft"} for p in DEFAULT_PORTS])

    def ports(self):
        """SPI -> source port, by show config; of outbound SAs."""
        doc = json.loads(self.w.gateway.console("show config json"))
        return {row["spi"]: row["encap_sport"] for row in doc["sas"] if row["dir"] == "out"}

    def passes(self):
        """A packet into the tunnel, and what became of it."""
        self.w.lan.send(esp.udp_packet(HOST4, FAR4, 1, 2, b"x"))
        packet = self.w.wan.receive_esp()
        self.t.receive(packet)
        return packet

    def key_file(self, sa):
        """A file with the key of an SA."""
        fd, path = tempfile.mkstemp(suffix=".key", dir=self.w.directory)
        with os.fdopen(fd, "w") as f:
            f.write(sa.key.hex() + "\n")
        self.addCleanup(os.unlink, path)
        return path

    def test_wire(self):
        """Each SA has a port of its own by which it lands on its queue, and sends from there."""
        ports = self.ports()
        for pcpu, sa in zip(self.t.pcpus, self.t.from_gw):
            if pcpu == "any":
                self.assertEqual(ports[sa.spi], 4500)
                continue
            self.assertGreaterEqual(ports[sa.spi], 49152)
            self.assertEqual(peer_queue(ports[sa.spi]), pcpu % QUEUES)
        self.assertEqual(len(set(ports.values())), 4)
        packet = self.passes()
        self.assertEqual(packet.sport, ports[packet.spi])
        self.assertEqual(packet.dport, 4500)

    def test_explain(self):
        """The peer's queue of each worker's SA."""
        said = json.loads(self.w.gateway.console(f"explain {HOST4} {FAR4} udp 1 2 json"))
        ports = self.ports()
        self.assertEqual([r["peer_queue"] for r in said["workers"]],
                         [peer_queue(ports[r["spi"]]) for r in said["workers"]])

    def test_rekey(self):
        """A successor sends from its predecessor's port; an SA without one gets another."""
        old = self.passes()
        pcpu = self.t.pcpus[[sa.spi for sa in self.t.from_gw].index(old.spi)]
        new, more = self.t.fresh_sa(False), self.t.fresh_sa(False)
        self.w.gateway.console(f"sa add t4 out {new.spi} {pcpu} {self.key_file(new)}")
        packet = self.passes()
        self.assertEqual((packet.spi, packet.sport), (new.spi, old.sport))
        before = set(self.ports().values())
        self.w.gateway.console(f"sa add t4 out {more.spi} 6 {self.key_file(more)}")
        port = self.ports()[more.spi]
        self.assertNotIn(port, before)
        self.assertEqual(peer_queue(port), 6 % QUEUES)
        self.w.gateway.console(f"sa del t4 out {new.spi}")
        self.w.gateway.console(f"sa del t4 out {more.spi}")
        self.assertEqual(self.passes().spi, old.spi)
