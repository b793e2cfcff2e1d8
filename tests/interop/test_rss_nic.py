# SPDX-License-Identifier: BSD-3-Clause
"""The gateway in the guest, on a NIC with four queues: where ESP in UDP lands, who decrypts it."""

import time

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

    def learn(self, what, probe):
        """Rounds until show steer has what it is to have."""
        deadline = time.monotonic() + LEARN_S
        while not probe():
            self.round()
            if time.monotonic() > deadline:
                self.fail(f"after {LEARN_S} s still not {what}:\n"
                          + self.nic.console("show steer"))

    def lands(self, sa):
        """Its worker, the queue that the table leads it to, and how it was judged."""
        row = self.steer()[2][sa.spi]
        return row["worker"], row["queue"], row["state"]

    def assert_owned(self):
        """A round of which nothing is handed off: 100 % land on their owner."""
        grew = self.round()
        self.assertEqual(grew["handed_off_esp"], [0] * nic.QUEUES)
        self.assertEqual(grew["rx"], grew["decap"])
        self.assertEqual(grew["esp_owned"], grew["rx"])
        self.assertEqual(sum(grew["rx"]), nic.PACKETS * len(self.sas))
        return grew

    def test_1_method(self):
        """RSS with the key read back; the table leads all SAs right before any packet came."""
        port, why_not, sas = self.steer()
        self.assertEqual((port["method"], port["key"], port["reta_size"], port["sas"]),
                         ("rss", "known", nic.RETA_SIZE, len(self.sas)))
        self.assertEqual(set(why_not), {"flow", "tap"})
        for _, owner, sa in self.sas:
            row = sas[sa.spi]
            self.assertEqual(row["entry"], nic.bucket(sa.src, sa.dst, sa.sport, sa.dport))
            self.assertEqual(row["hash"] % nic.RETA_SIZE, row["entry"])
            self.assertEqual((row["queue"], row["worker"]), (owner, owner))

    def test_2_lands_on_owner(self):
        """Every SA's packets land on the worker that decrypts them, and stay there."""
        self.learn("all verified", lambda: {row["state"] for row in self.steer()[2].values()}
                   == {"verified"})
        for _ in range(3):
            grew = self.assert_owned()
            self.assertEqual(grew["rx"], [nic.PACKETS * nic.TUNNELS] * nic.QUEUES)
        self.assertEqual(self.steer()[0]["moved"], 0)

    def test_3_moved(self):
        """An SA that somebody moves: the table follows it, not it the table."""
        _, owner, sa = self.sas[0]
        to = (owner + 1) % nic.QUEUES
        writes = self.steer()[0]["reta_writes"]
        self.nic.console(f"sa move t0 in {sa.spi:#x} {to}")
        self.learn("verified there", lambda: self.lands(sa) == (to, to, "verified"))
        self.assertEqual(self.steer()[0]["reta_writes"], writes + 1)
        grew = self.assert_owned()
        self.assertEqual(grew["rx"][to], nic.PACKETS * (nic.TUNNELS + 1))

    def test_4_other_port(self):
        """A peer that sends from another port, which the table led elsewhere: learned."""
        _, owner, sa = self.sas[1]
        sa.sport = next(port for port in nic.ports(nic.RETA_SIZE // 2)[len(self.sas):]
                        if nic.bucket(sa.src, sa.dst, port, sa.dport) % nic.QUEUES != owner)
        self.learn("verified from there", lambda: self.lands(sa) == (owner, owner, "verified")
                   and f" port {sa.sport} " in self.steer()[2][sa.spi]["outer"])
        self.assert_owned()
        self.assertEqual(self.steer()[0]["moved"], 0)


class NoRss(nic.NicTest):
    """A NIC with queues and no RSS: which one a flow comes in on is qemu's and the TAP's affair."""

    rss = False

    def test_method(self):
        """None, and why."""
        port, why_not, _ = self.steer()
        self.assertEqual((port["method"], port["queues"]), ("soft", nic.QUEUES))
        self.assertEqual(set(why_not), {"flow", "tap", "rss"})

    def test_nothing_is_lost(self):
        """Wherever packets land, the workers hand them to each other, and all are decrypted."""
        for _ in range(2):
            grew = self.round()
            self.assertEqual(sum(grew["rx"]), nic.PACKETS * len(self.sas))
            self.assertEqual(sum(grew["decap"]), nic.PACKETS * len(self.sas))
            self.assertEqual(sum(grew["handed_in"]), sum(grew["handed_off"]))
