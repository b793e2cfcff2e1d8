#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Seeds of the fuzz targets, so that they begin behind the first checks: tests/fuzz/seeds.py

Writes them into tests/fuzz/corpus_*; with --check it only says which are not as they would be
written now, for example since app/front/ike.h has changed. What broke once stands beside them,
by the name of what it was (not seed-*).
"""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.normpath(os.path.join(HERE, path)) for path in ("../../tools/lib",
                                                                        "../func")]

import fake_charon as charon  # noqa: E402
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt,  # noqa: E402
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop)
from scapy.layers.l2 import Ether  # noqa: E402

US, PEER, US6, PEER6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
ESP = struct.pack("!II8s", 0x100, 1, b"\1") + bytes(32)  # of fuzz_packet.c's first SA
SYN = [("MSS", 1460), ("NOP", None), ("WScale", 7)]


def ike():
    """Each request once, as charon's plugin sends it; the first byte is its type."""
    inbound = charon.N["IKE_SA_INBOUND"]
    ours, theirs = charon.addr(US, 4500), charon.addr(PEER, 4500)
    sa = {"sa": charon.sa_id(0x11223344, US), "src": theirs, "reqid": 1, "cpu": 1,
          "replay_window": 1024, "enc_alg": 20, "int_alg": charon.NO_INTEGRITY,
          "enc_key_len": 20, "enc_key": bytes(range(20)), "soft_bytes": 1000, "hard_bytes": 2000,
          "soft_s": 3600, "hard_s": 4000, "name": b"paris"}
    sa6 = sa | {"sa": charon.sa_id(0x11223344, US6), "src": charon.addr(PEER6),
                "cpu": charon.CPU_NONE}
    policy = {"dir": 1, "type": 1, "prio": 1, "flags": 1, "reqid": 1, "src": ours, "dst": theirs,
              "src_ts": charon.ts("10.1.0.0/16", 6, (80, 443)), "dst_ts": charon.ts("10.2.0.0/16")}
    requests = {
        "hello": ("HELLO", {"version": charon.N["IKE_VERSION"], "pcpu": 1, "generation": 7}),
        "alloc": ("ALLOC_SPI", {"src": theirs, "dst": ours, "proto": 50}),
        "sa-in": ("SA_ADD", sa | {"flags": inbound | charon.N["IKE_SA_ESN"]}),
        "sa-encap": ("SA_ADD", sa | {"flags": charon.N["IKE_SA_ENCAP"], "copy_dscp": 2}),
        "sa-chacha": ("SA_ADD", sa6 | {"flags": inbound, "enc_alg": charon.CHACHA20_POLY1305,
                                       "enc_key_len": 36, "enc_key": bytes(range(36))}),
        "update": ("SA_UPDATE", {"sa": sa["sa"], "new_src": theirs, "new_dst": ours,
                                 "flags": charon.N["IKE_SA_ENCAP"]}),
        "keep": ("SA_KEEP", {"sa": sa["sa"]}),
        "del": ("SA_DEL", {"sa": sa["sa"]}),
        "query": ("SA_QUERY", {"sa": sa6["sa"]}),
        "pol": ("POL_ADD", policy),
        "pol6": ("POL_ADD", policy | {"src": charon.addr(US6), "dst": charon.addr(PEER6),
                                      "src_ts": charon.ts("fd01::/48"), "dir": 0, "prio": 2,
                                      "dst_ts": charon.ts("fd02::/48", 58)}),
        "pol-del": ("POL_DEL", policy),
        "sync": ("SYNC_END", {}),
        "flush": ("FLUSH", {"what": 3}),
    }
    for name, (request, fields) in requests.items():
        message = bytes(charon.build(request, **fields))
        yield name, bytes([message[0]]) + message[8:]


def flow():
    """Inner packets: bit 0 of the first byte says MSS clamp."""
    packets = {
        "syn": (1, IP(src=PEER, dst=US) / TCP(flags="S", options=SYN)),
        "syn6": (1, IPv6(src=PEER6, dst=US6) / TCP(flags="S", options=SYN)),
        "udp": (0, IP(src=PEER, dst=US) / UDP(sport=1, dport=2) / b"x"),
        "icmp": (0, IP(src=PEER, dst=US) / ICMP(type=3, code=4) / IP(src=US, dst=PEER) / UDP()),
        "ext": (0, IPv6(src=PEER6, dst=US6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP()),
        "later": (0, IPv6(src=PEER6, dst=US6) / IPv6ExtHdrFragment(offset=9, id=1) / b"x"),
    }
    for name, (kind, packet) in packets.items():
        yield name, bytes([kind]) + bytes(packet)


def frag():
    """Pieces as struct op of fuzz_frag.c has them: kind, id, offset, length, wait, byte."""
    more, last = 2, 0
    for v6 in (0, 1):
        for options in (0, 4):
            kind = v6 | options
            whole = [(kind | more, 1, 0, 4), (kind | more, 1, 4, 2), (kind | last, 1, 6, 13)]
            name = f"v{'46'[v6]}{'-options' if options else ''}"
            for order, pieces in (("", whole), ("-back", whole[::-1])):
                yield name + order, b"".join(struct.pack("6B", *p, 1, 0) for p in pieces)
        big = [(v6 | more, 2, 39 * i, 39) for i in range(6)] + [(v6 | last, 2, 234, 200)]
        yield f"v{'46'[v6]}-large", b"".join(struct.pack("6B", *p, 0, 0) for p in big)
        many = [(v6 | more, 4, i, 1) for i in range(17)] + [(v6 | last, 4, 17, 1)]
        yield f"v{'46'[v6]}-many", b"".join(struct.pack("6B", *p, 0, 0) for p in many)
        overlap = [(v6 | more, 3, 0, 4), (v6 | last, 3, 3, 13), (v6 | last, 3, 4, 13)]
        yield f"v{'46'[v6]}-overlap", b"".join(struct.pack("6B", *p, 200, 0) for p in overlap)


def packet():
    """Frames of anybody (first byte 0), and what the peer seals (1), see fuzz_packet.c."""
    ether = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    ip, ip6 = IP(src=PEER, dst=US), IPv6(src=PEER6, dst=US6)
    udp = UDP(sport=4500, dport=4500)
    frames = {
        "esp": IP(src=PEER, dst=US, proto=50) / ESP, "esp-udp": ip / udp / ESP,
        "esp6": IPv6(src=PEER6, dst=US6, nh=50) / ESP,
        "esp6-ext": ip6 / IPv6ExtHdrDestOpt(nh=17) / udp / ESP,
        "ike": ip / udp / bytes(32), "keepalive": ip / udp / b"\xff",
        "frag": IP(src=PEER, dst=US, proto=50, flags="MF") / ESP,
        "frag6": ip6 / IPv6ExtHdrFragment(m=1, nh=50) / ESP, "clear": IP(dst="198.51.100.1") / udp,
    }
    for name, frame in frames.items():
        yield name, b"\0" + bytes(ether / frame)

    def text(inner, pad=2):
        """Plaintext of ESP."""
        inner = bytes(inner)
        return inner + bytes(range(1, pad + 1)) + bytes([pad, 4 if inner[0] >> 4 == 4 else 41])

    def op(which, step, plain):
        return struct.pack("<BBh", which, len(plain), step) + plain

    small, small6 = text(ip / UDP()), text(ip6 / UDP())
    yield "peer", b"\1" + op(0, 1, small) + op(0, 1, small6) + op(0, -1, small)
    yield "peer-window", b"\1" + op(0, 300, small) + op(0, -127, small) + op(0, -1, small)
    yield "peer-esn", b"\1" + op(1, 1, small) + op(1, 32767, small) + op(1, -3, small)
    yield "peer-dummy", b"\1" + op(0, 1, bytes([1, 1, 59])) + op(0, 1, bytes([9, 4]))


def main():
    """Write or compare."""
    stale = 0
    for corpus, seeds in (("ike", ike), ("flow", flow), ("frag", frag), ("packet", packet)):
        for name, data in seeds():
            path = os.path.join(HERE, f"corpus_{corpus}", f"seed-{name}")
            if sys.argv[1:] != ["--check"]:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as f:
                    f.write(data)
                continue
            try:
                with open(path, "rb") as f:
                    same = f.read() == data
            except FileNotFoundError:
                same = False
            if not same:
                stale += 1
                print(f"{os.path.relpath(path)}: not as tests/fuzz/seeds.py makes it")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
