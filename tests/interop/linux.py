# SPDX-License-Identifier: BSD-3-Clause
"""xfrm of the guest: commands for SAs and policies, and what the kernel counts.

Written by hand from iproute2's manual, not from what the gateway prints: what
"show peer-commands" says is tried by a test of its own.
"""

import dataclasses
import re

REQID = 1


def aead(sa):
    """The algorithm and the key, as "xfrm state" takes them."""
    name = "rfc7539esp(chacha20,poly1305)" if sa.algo.name.startswith("chacha") \
        else "rfc4106(gcm(aes))"
    return f"aead '{name}' 0x{sa.key.hex()} {sa.algo.icv_len * 8}"


def state(sa, direction, pcpu="any", window=1024, flags=("af-unspec",), seq=0, reqid=REQID):
    """The command (without "ip") for an SA.

    direction is as the guest sees it; seq is the last number that was used.
    """
    words = [f"xfrm state add src {sa.src} dst {sa.dst} proto esp spi {sa.spi:#x}",
             f"reqid {reqid} mode tunnel dir {direction}",
             f"replay-window {window if direction == 'in' else 0}"]
    flags = [*(["esn"] if sa.esn else []), *flags]
    if flags:
        words.append("flag " + " ".join(flags))
    if seq:
        name = "seq" if direction == "in" else "oseq"
        words.append(f"replay-{name} {seq & 0xffffffff:#x}")
        if sa.esn:
            words.append(f"replay-{name}-hi {seq >> 32:#x}")
    words.append(aead(sa))
    if pcpu != "any":
        words.append(f"pcpu-num {pcpu}")
    if sa.dport:
        words.append(f"encap espinudp {sa.sport} {sa.dport} "
                     f"{'::' if ':' in sa.src else '0.0.0.0'}")
    return " ".join(words)


def delete(sa):
    """The command that takes an SA away."""
    return f"xfrm state delete src {sa.src} dst {sa.dst} proto esp spi {sa.spi:#x}"


def policies(local, remote, here, there, reqid=REQID):
    """Commands for a selector: the guest's networks, and the tunnel's ends as it sees them."""
    def one(src, dst, direction, a, b):
        return (f"xfrm policy add src {src} dst {dst} dir {direction} "
                f"tmpl src {a} dst {b} proto esp reqid {reqid} mode tunnel")

    return [one(local, remote, "out", here, there),
            one(remote, local, "in", there, here),
            one(remote, local, "fwd", there, here)]


@dataclasses.dataclass
class State:
    """An SA as the kernel counts it."""
    spi: int
    packets: int
    bytes: int
    replay: int  # refused as replays
    failed: int  # refused by the ICV
    window: int  # refused as too old
    pcpu: str
    oseq: int
    seq: int


def _number(pattern, text, base=10, default=0):
    found = re.search(pattern, text)
    return int(found.group(1), base) if found else default


def parse_states(text):
    """What "ip -s xfrm state" says, by SPI."""
    states = {}
    for part in re.split(r"^(?=src )", text, flags=re.M):
        spi = re.search(r"spi (0x[0-9a-f]+)", part)
        if spi is None:
            continue
        current = re.search(r"lifetime current:\n\s+(\d+)\(bytes\), (\d+)\(packets\)", part)
        stats = re.search(r"stats:\n\s+replay-window (\d+) replay (\d+) failed (\d+)", part)
        pcpu = re.search(r"pcpu-num (\d+)", part)
        high = r"{}-hi 0x([0-9a-f]+), {} 0x"
        states[int(spi.group(1), 16)] = State(
            int(spi.group(1), 16), int(current.group(2)), int(current.group(1)),
            int(stats.group(2)), int(stats.group(3)), int(stats.group(1)),
            pcpu.group(1) if pcpu else "any",
            _number(r"[ ,]oseq 0x([0-9a-f]+)", part, 16)
            | _number(high.format("oseq", "oseq"), part, 16) << 32,
            _number(r"[ ,]seq 0x([0-9a-f]+), oseq", part, 16)
            | _number(high.format(" seq", "seq"), part, 16) << 32)
    return states


def parse_stat(text):
    """What /proc/net/xfrm_stat says."""
    return {name: int(value) for name, value in re.findall(r"^(Xfrm\w+)\s+(\d+)$", text, re.M)}
