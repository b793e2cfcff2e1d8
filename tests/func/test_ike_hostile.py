# SPDX-License-Identifier: BSD-3-Clause
"""What a broken or hostile program may say on charon's socket: nothing of it does any harm."""

import errno
import random
import socket
import time

from fake_charon import Child, Closed, N, addr, build, sa_id, ts
from gw import PEER4, WAN4
from ike_case import IkeTest
from ike_h import LAYOUT, layout

SEED = 20240229
ROUNDS = 3000
# Of another family and number than what is to stay: no mutation of these is about it
REQID, OTHER_REQID = 0x01020304, 0x55667788
OTHER_NETS = (("2001:db8:77::/48", "2001:db8:78::/48"),)
INVALID, UNSUPPORTED = errno.EINVAL, errno.ENOTSUP
LOGS = 21  # lines for refusals in ten seconds, app/front/ike_socket.c
FLAGS = N["IKE_SA_ENCAP"] | N["IKE_SA_ESN"]

# Request, what is changed in a good one, the answer
WRONG_SA = (
    ("pad", 1, INVALID), ("flags", 128, INVALID), ("flags", 1 << 31, INVALID),
    ("flags", FLAGS | N["IKE_SA_REPLAYED"], INVALID),
    ("sa.proto", 51, UNSUPPORTED), ("sa.proto", 0, UNSUPPORTED), ("sa.pad.6", 1, INVALID),
    ("sa.spi", socket.htonl(255), INVALID), ("sa.spi", 0, INVALID),
    ("sa.dst.family", 5, INVALID), ("sa.dst.family", 0, INVALID), ("sa.dst.family", 6, INVALID),
    ("sa.dst.pad", 1, INVALID), ("sa.dst.addr.4", 1, INVALID), ("sa.dst.addr.15", 1, INVALID),
    ("sa.dst", addr("0.0.0.0", 4500), INVALID), ("sa.dst", addr(PEER4, 0), INVALID),
    ("src", addr("2001:db8::1", 4500), INVALID), ("src.family", 255, INVALID),
    ("src", addr(WAN4, 0), INVALID),
    ("enc_alg", 0, UNSUPPORTED), ("enc_alg", 12, UNSUPPORTED), ("enc_alg", 65535, UNSUPPORTED),
    ("int_alg", 12, UNSUPPORTED), ("int_key_len", 16, INVALID), ("int_key.79", 1, INVALID),
    ("enc_key_len", 0, INVALID), ("enc_key_len", 16, INVALID), ("enc_key_len", 21, INVALID),
    ("enc_key_len", 80, INVALID), ("enc_key_len", 65535, INVALID), ("enc_key.20", 1, INVALID),
    ("enc_key.79", 1, INVALID), ("copy_dscp", 4, INVALID), ("copy_dscp", 1 << 31, INVALID),
    ("name", b"x" * 32, INVALID),
)
WRONG_IN = (
    ("copy_dscp", 1, UNSUPPORTED), ("replay_window", 4097, UNSUPPORTED),
    ("replay_window", 0xffffffff, UNSUPPORTED), ("replay_window", 0xffffffc1, UNSUPPORTED),
)
WRONG_POLICY = (
    ("dir", 2, INVALID), ("type", 0, INVALID), ("type", 4, INVALID), ("prio", 4, INVALID),
    ("flags", 2, INVALID), ("pad", 1, INVALID), ("spi", socket.htonl(5), INVALID),
    ("src.family", 7, INVALID), ("src.addr.12", 1, INVALID), ("dst.pad", 1, INVALID),
    ("src", addr("2001:db8::1"), INVALID),
    ("src_ts.family", 0, INVALID), ("src_ts.pad", 1, INVALID), ("src_ts.from.4", 1, INVALID),
    ("src_ts.to.15", 1, INVALID), ("src_ts.to.3", 254, UNSUPPORTED),
    ("src_ts.from.0", 11, INVALID), ("src_ts", ts("fd01::/64"), INVALID),
    ("src_ts", ts("10.1.0.0/24", 0, (1, 2)), UNSUPPORTED),
    ("src_ts", ts("10.1.0.0/24", 17, (2, 1)), INVALID),
    ("src_ts", ts("10.1.0.0/24", 17, (65535, 0)), UNSUPPORTED),
    ("src_ts", ts("10.1.0.0/24", 17, (0, 9)), UNSUPPORTED),
    ("src_ts", ts("10.1.0.0/24", 1, (0x0800, 0x0800)), UNSUPPORTED),
)
WRONG_REF = (("sa.proto", 51, UNSUPPORTED), ("sa.pad.0", 1, INVALID), ("sa.spi", 0, INVALID),
             ("sa.dst.family", 1, INVALID), ("sa.dst", addr("0.0.0.0"), INVALID))


def poke(message, path, value):
    """Change one field of a message: "sa.dst.addr.4"."""
    *parts, last = path.split(".")
    for part in parts:
        message = message[int(part)] if part.isdigit() else getattr(message, part)
    if last.isdigit():
        message[int(last)] = value
    else:
        setattr(message, last, value)


class Hostile(IkeTest):
    """A tunnel that carries traffic, whatever else is said."""

    def setUp(self):
        super().setUp()
        self.mine = self.child(Child(REQID))
        self.mine.trap(self.charon)
        self.pair = self.mine.bring_up(self.charon)
        self.assert_both(self.pair)
        self.before = self.state()
        self.log_size = len(self.w.gateway.log())
        self.began = time.monotonic()
        self.connects = 0

    def tearDown(self):
        if self.w.gateway.process.poll() is None:
            self.assertEqual(self.state(), self.before)
            self.assert_both(self.pair)
            log = self.w.gateway.log()[self.log_size:]
            allowed = LOGS * (2 + (time.monotonic() - self.began) / 10) + 2 * self.connects
            self.assertLessEqual(log.count("IKE:"), allowed, log)
        super().tearDown()

    def state(self):
        """All there is of our tunnel, but for what traffic changes."""
        name = f"ike-{REQID}"
        doc = self.w.gateway.show(f"tunnel {name}")
        sas = [{k: s[k] for k in ("dir", "spi", "pcpu", "worker", "algo", "esn", "encap_sport",
                                  "encap_dport", "ike", "cpu", "soft_s", "hard_s")}
               for s in doc["sas"]]
        return sas, doc["selectors"], doc["tunnel"]

    def good(self, inbound=False):
        """One good request of each kind, about another child; by name."""
        child = Child(OTHER_REQID, OTHER_NETS)
        pair = child.new_pair(self.charon)
        sa = pair.to_gw if inbound else pair.from_gw
        self.charon.do("SA_DEL", sa=sa_id(pair.to_gw.spi, pair.to_gw.dst))
        child.pairs.append(pair)
        self.child(child)
        ref = {"sa": sa_id(sa.spi, sa.dst)}
        policy = next(child.policies(pair.to_gw.spi))
        return {"HELLO": {"version": N["IKE_VERSION"], "pcpu": 1, "generation": 1},
                "ALLOC_SPI": {"src": addr(PEER4), "dst": addr(WAN4), "proto": 50},
                "SA_ADD": child.sa_add(sa, inbound), "POL_ADD": policy, "POL_DEL": policy,
                "SA_UPDATE": {**ref, "new_src": addr(PEER4, 4500), "new_dst": addr(WAN4, 4500),
                              "flags": N["IKE_SA_ENCAP"]},
                "SA_KEEP": ref, "SA_DEL": ref, "SA_QUERY": ref, "SYNC_END": {},
                "FLUSH": {"what": N["IKE_FLUSH_SAS"]}}

    # what is not of the protocol

    def assert_ends(self, data, what):
        """A connection of its own that ends by what is said there."""
        other = self.new_charon().connect()
        other.send(data)
        self.assertTrue(other.is_closed(), what)

    def test_lengths(self):
        """A message of a length that is not its type's ends the connection, and no other one."""
        malformed = self.count("malformed")
        ended = 0
        for name, fields in self.good().items():
            data = bytes(build(name, 1, **fields))
            wrong = {0, 1, 7, 8, len(data) - 1, len(data) + 1, 336, 337, 4096} - {len(data)}
            for size in sorted(wrong):
                self.assert_ends((data + bytes(4096))[:size], f"{name} of {size} bytes")
                ended += size > 0  # nothing at all is as good as an end
        self.assertEqual(self.count("malformed"), malformed + ended)
        self.assertTrue(self.ike()["connected"])

    def test_types(self):
        """Likewise one of no known type, or of one that only the gateway sends."""
        for kind in (0, 12, 63, 68, 0x01000000, 0xffffffff):
            for size in (8, 40, 336):
                head = layout("hdr")(kind, 1)
                self.assert_ends(bytes(head) + bytes(size - 8), f"type {kind}")
        for name in ("reply", "acquire", "expire", "mapping"):
            message = layout(name)()
            message.hdr.type = N[f"IKE_{name.upper()}"]
            self.assert_ends(bytes(message), name)
        self.assertTrue(self.ike()["connected"])

    def test_of_charon(self):
        """Also charon's own connection ends; when it is back, all is there still."""
        for data in (bytes(9), bytes(layout("hdr")(N["IKE_FLUSH"], 1))):
            self.charon.send(data)
            self.assertTrue(self.charon.is_closed())
            self.assertFalse(self.ike()["connected"])
            self.assert_both(self.pair)
            self.return_()

    def return_(self):
        """charon comes back, and says all that it has."""
        self.connects += 1
        self.charon.connect().hello()
        for spi in (0, self.pair.to_gw.spi):
            self.mine.trap(self.charon, spi)
        self.mine.add(self.charon, self.pair, True, replayed=True)
        self.charon.do("SA_KEEP", sa=sa_id(self.pair.from_gw.spi, self.pair.from_gw.dst))
        self.charon.do("SYNC_END")

    def test_before_hello(self):
        """No request is granted to who has not said hello."""
        other = self.new_charon().connect()
        for name, fields in self.good().items():
            if name != "HELLO":
                self.assertEqual(other.status(name, **fields), errno.EPROTO, name)
        self.assertEqual(other.status("FLUSH", what=3), errno.EPROTO)

    def test_hello(self):
        """A second one, another version, a flag that is none."""
        good = self.good()["HELLO"]
        self.assertEqual(self.charon.status("HELLO", **good), INVALID)
        self.charon.do("SA_QUERY", sa=sa_id(self.pair.to_gw.spi, self.pair.to_gw.dst))
        other = self.new_charon().connect()
        for version in (0, N["IKE_VERSION"] + 1, 0xffffffff):
            self.assertEqual(other.status("HELLO", **{**good, "version": version}),
                             errno.EPROTONOSUPPORT)
        self.assertEqual(other.status("HELLO", **{**good, "pcpu": 2}), INVALID)
        self.assertEqual(other.status("HELLO", **good), errno.EBUSY)

    # what is of the protocol, but wrong

    def assert_refused(self, name, fields, wrong):
        """Each change of a good request is refused for its reason."""
        for path, value, status in wrong:
            message = build(name, 0, **fields)
            poke(message, path, value)
            message.hdr.id = self.charon.last_id = self.charon.last_id + 1
            self.charon.send(message)
            reply = self.charon.reply(message.hdr.id)
            self.assertEqual(reply.status, status, f"{name} with {path} = {value}")

    def test_wrong_fields(self):
        """Pads, families, key lengths, algorithms: refused, each for its reason; no trace."""
        facts = self.ike_state()
        good = self.good()
        self.assert_refused("SA_ADD", good["SA_ADD"], WRONG_SA)
        self.assert_refused("SA_ADD", self.good(True)["SA_ADD"], WRONG_IN)
        for name in ("POL_ADD", "POL_DEL"):
            policy = {**good[name], "src_ts": ts("10.1.0.0/24"), "dst_ts": ts("10.2.0.0/24")}
            self.assert_refused(name, policy, WRONG_POLICY)
        for name in ("SA_KEEP", "SA_DEL", "SA_QUERY", "SA_UPDATE"):
            self.assert_refused(name, good[name], WRONG_REF)
        self.assert_refused("SA_UPDATE", good["SA_UPDATE"], (
            ("flags", 3, INVALID), ("pad", 1, INVALID), ("new_src.family", 6, INVALID),
            ("new_dst.port", 0, INVALID), ("new_dst", addr("0.0.0.0", 4500), INVALID)))
        self.assert_refused("ALLOC_SPI", good["ALLOC_SPI"], (
            ("proto", 51, UNSUPPORTED), ("pad.6", 1, INVALID), ("src.family", 6, INVALID),
            ("dst", addr("0.0.0.0"), INVALID)))
        self.assert_refused("FLUSH", good["FLUSH"], (
            ("what", 0, INVALID), ("what", 4, INVALID), ("pad", 1, INVALID)))
        self.assertEqual(self.ike_state(), facts)
        self.charon.do("SA_ADD", **good["SA_ADD"])  # it was none of its other fields

    # chance

    def test_noise(self):
        """Random bytes, each on a connection of its own."""
        rng = random.Random(SEED)
        for _ in range(300):
            data = bytearray(rng.randbytes(rng.choice((1, 8, 24, 40, 56, 152, 336, 4000))))
            if rng.random() < 0.5 and len(data) >= 8:
                data[:4] = rng.randrange(1, 12).to_bytes(4, "little")
            other = self.new_charon().connect()
            other.send(data)
            other.close()
        self.assertTrue(self.ike()["connected"])

    def mutated(self, rng):
        """A request of charon's with some bytes changed."""
        good = self.good(rng.random() < 0.5)
        name = rng.choice([n for n in LAYOUT if n not in ("FLUSH", "HELLO", "SYNC_END")])
        self.charon.last_id += 1
        data = bytearray(bytes(build(name, self.charon.last_id, **good[name])))
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(8, len(data))
            data[at] = rng.choice((0, 1, 255, data[at] ^ 1 << rng.randrange(8),
                                   rng.randrange(256)))
        if rng.random() < 0.01:
            data[rng.randrange(4)] ^= 1 << rng.randrange(8)
        return data

    def test_mutated(self):
        """Thousands of almost good requests of charon's own: each is answered, or ends it."""
        rng = random.Random(SEED)
        granted = refused = 0
        for _ in range(ROUNDS):
            data = self.mutated(rng)
            ident = self.charon.last_id
            try:
                self.charon.send(data)
                status = self.charon.reply(ident).status
            except (Closed, BrokenPipeError):
                self.return_()
                continue
            self.assertIn(status, (0, *(n for n in errno.errorcode if n != errno.EIO)))
            granted += status == 0
            refused += status != 0
            if granted % 50 == 49:
                self.assert_both(self.pair)
        self.assertGreater(granted, ROUNDS // 20)
        self.assertGreater(refused, ROUNDS // 20)

    def test_no_keys_on_console(self):
        """Nothing that the console shows of SAs has a key in it."""
        text = "".join(self.w.gateway.console(f"show {what}{form}") for form in ("", " json")
                       for what in ("sa", "ike", "tunnels", f"tunnel ike-{REQID}", "config"))
        self.assert_unknown(self.mine.keys(), text)
        text = self.w.gateway.attach(f"show sa 0x{self.pair.to_gw.spi:x}").stdout
        self.assertIn(f"{self.pair.to_gw.spi:08x}", text)
        self.assert_unknown(self.mine.keys(), text)

    def test_zz_end(self):
        self.stop_and_check()
