# SPDX-License-Identifier: BSD-3-Clause
"""The gateway in the guest, on a NIC with four queues: where ESP in UDP lands, who decrypts it."""

import time
import unittest

import nic

LEARN_S = 60.0  # of rounds until none is handed off any more


def tearDownModule():
    """No test after these wants that guest."""
    nic.Nic.close_one()


class Unsteered(nic.NicTest):
    """RSS with our key and the table as it is from the start."""

    steering = "soft"

    def test_queues(self):
        """The port has all of them."""
        wan = next(p for p in self.nic.show("ports") if p["name"] == "wan")
        self.assertEqual((wan["driver"], wan["rx_queues"]), ("net_virtio", nic.QUEUES))

    def test_lands_as_predicted(self):
        """Each SA's packets land where toeplitz and the table say, and its owner decrypts them."""
        landed = set()
        for number, owner, sa in self.sas:
            lander = nic.bucket(sa.src, sa.dst, sa.sport, sa.dport) % nic.QUEUES
            before = self.nic.counters()
            self.send(number, sa)
            grew = self.decrypted(before, nic.PACKETS)
            for name, worker in (("rx", lander), ("decap", owner)):
                self.assertEqual(grew[name], self.all_on(worker), f"{name}, port {sa.sport}")
            wrong = self.all_on(lander if lander != owner else None)
            self.assertEqual(grew["handed_off_esp"], wrong, f"port {sa.sport}")
            landed.add((lander, owner))
        self.assertEqual({q for q, _ in landed}, set(range(nic.QUEUES)), "a queue had nothing")
        self.assertTrue(any(a == b for a, b in landed))
        self.assertTrue(any(a != b for a, b in landed))

    @staticmethod
    def all_on(worker):
        """A round of one SA, by worker."""
        return [nic.PACKETS if i == worker else 0 for i in range(nic.QUEUES)]


class Steered(nic.NicTest):
    """The gateway's own choice of a method: here it can write the table."""

    @classmethod
    def setUpClass(cls):
        if not nic.knows("show steer", "--console-doc"):
            raise unittest.SkipTest("this binary has no steering: no command \"show steer\"")
        super().setUpClass()

    def test_lands_on_owner(self):
        """After some packets every SA's land on the worker that decrypts them, and stay there."""
        deadline = time.monotonic() + LEARN_S
        while sum(self.round()["handed_off_esp"]) > 0:
            if time.monotonic() > deadline:
                self.fail(f"after {LEARN_S} s packets are still handed off:\n"
                          + self.nic.console("show steer"))
        for _ in range(3):
            grew = self.round()
            self.assertEqual(grew["handed_off_esp"], [0] * nic.QUEUES)
            self.assertEqual(grew["rx"], grew["decap"])
            self.assertEqual(grew["rx"], [nic.PACKETS * nic.TUNNELS] * nic.QUEUES)
            if "esp_owned" in grew:
                self.assertEqual(grew["esp_owned"], grew["rx"])


class NoRss(nic.NicTest):
    """A NIC with queues and no RSS: which one a flow comes in on is qemu's and the TAP's affair."""

    rss = False

    def test_nothing_is_lost(self):
        """Wherever packets land, the workers hand them to each other, and all are decrypted."""
        for _ in range(2):
            grew = self.round()
            self.assertEqual(sum(grew["rx"]), nic.PACKETS * len(self.sas))
            self.assertEqual(sum(grew["decap"]), nic.PACKETS * len(self.sas))
            self.assertEqual(sum(grew["handed_in"]), sum(grew["handed_off"]))
