# SPDX-License-Identifier: BSD-3-Clause
"""The other end of tests/perf/ports.c: packets that its ports deliver, and what they got."""

import mmap
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from netns import Failed

# tests/perf/ports.h
QUEUES, SAMPLES, FRAMES, FRAME_LEN, PAIRS = 4, 1024, 1024, 2048, 1 << 18
HEAD = 32
SAMPLE_AT = 32
PAIR_AT = SAMPLE_AT + SAMPLES * 24
LEN_AT = PAIR_AT + PAIRS * 8
FRAME_AT = LEN_AT + FRAMES * 2
QUEUE_SIZE = FRAME_AT + FRAMES * FRAME_LEN
SHARED_SIZE = HEAD + QUEUES * QUEUE_SIZE

IMIX = (64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 570, 64)
N_FRAMES = 24
SPI = {"out": 1000, "in": 2000}
KEY = {"out": bytes(range(1, 21)), "in": bytes(range(101, 121))}  # 16 of key, 4 of salt
PEER_MAC, HOST_MAC = "02:00:00:00:00:b1", "02:00:00:00:00:b2"


# Packets

def checksum(header):
    """Of an IPv4 header."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip4(src, dst, proto, ttl, payload):
    """An IPv4 packet."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, ttl, proto, 0,
                       bytes(map(int, src.split("."))), bytes(map(int, dst.split("."))))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def inner(way, size, i):
    """The packet number i of a sequence, as it comes from a host; it names itself."""
    size = IMIX[i % len(IMIX)] if size == "imix" else int(size)
    here, there = "10.1.0.10", "10.100.0.10"
    src, dst = (here, there) if way == "out" else (there, here)
    length = size - 14 - 20 - 8
    udp = struct.pack(">HHHH", 1024, 2048, length + 8, 0)
    return ip4(src, dst, 17, 64, udp + struct.pack(">I", i).ljust(length, b"\x5a"))


def aad(spi, seq, esn):
    """What of ESP's header is authenticated."""
    return struct.pack(">III", spi, 0, seq) if esn else struct.pack(">II", spi, seq)


def encrypt(packet, seq, esn):
    """As the peer would send it to us."""
    pad = -(len(packet) + 2) % 4
    clear = packet + bytes(range(1, pad + 1)) + bytes([pad, 4])
    iv = struct.pack(">Q", seq)
    text = AESGCM(KEY["in"][:16]).encrypt(KEY["in"][16:] + iv, clear, aad(SPI["in"], seq, esn))
    return ip4("192.0.2.2", "192.0.2.1", 50, 64,
               struct.pack(">II", SPI["in"], seq) + iv + text)


def decrypt(packet, esn):
    """As the peer takes it; None: it does not."""
    spi, seq = struct.unpack(">II", packet[20:28])
    if packet[9] != 50 or checksum(packet[:20]) != 0 or spi != SPI["out"]:
        return None
    try:
        clear = AESGCM(KEY["out"][:16]).decrypt(KEY["out"][16:] + packet[28:36], packet[36:],
                                                aad(spi, seq, esn))
    except InvalidTag:
        return None
    return clear[:-2 - clear[-2]]


def write_frames(path, way, size, esn):
    """What the input port delivers."""
    with open(path, "wb") as f:
        for i in range(N_FRAMES):
            packet = inner(way, size, i)
            if way == "in":
                packet = encrypt(packet, i + 1, esn)
            source = HOST_MAC if way == "out" else PEER_MAC
            frame = bytes(6) + bytes.fromhex(source.replace(":", "")) + b"\x08\0" + packet
            f.write(struct.pack("H", len(frame)) + frame)


def is_right(frame, way, size, esn):
    """Does a frame of the output port have a packet in it that was put in?"""
    packet = frame[14:] if way == "in" else decrypt(frame[14:], esn)
    if packet is None or len(packet) < 32:
        return False
    want = inner(way, size, struct.unpack(">I", packet[28:32])[0] % N_FRAMES)
    # ipsec-secgw does not count hops down; we do
    def same(p):
        return p[:8] + p[9:10] + p[12:]
    return checksum(packet[:20]) == 0 and same(packet) == same(want)


# What they got

class Shared:
    """The file that a program's ports write to."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(SHARED_SIZE)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), SHARED_SIZE)

    def _u64(self, at, n=1):
        return struct.unpack_from(f"{n}Q", self.map, at)

    def tsc_hz(self):
        """0: the program's ports have not started."""
        size, hz = self._u64(0, 2)
        if size not in (0, SHARED_SIZE):
            raise Failed("tests/perf/ports.h and tools/lib/bench_ports.py are not of one mind")
        return hz

    def capture(self, on):
        """Frames and pairs are wanted."""
        struct.pack_into("Q", self.map, 16, on)

    def queue(self, q):
        """Samples so far, frames, pairs, times without mbufs."""
        return self._u64(HEAD + q * QUEUE_SIZE, 4)

    def counts(self):
        """Samples so far, of all queues."""
        return [self.queue(q)[0] for q in range(QUEUES)]

    def sample(self, q, i):
        """(CPU ns, wall ns, packets)."""
        return self._u64(HEAD + q * QUEUE_SIZE + SAMPLE_AT + i % SAMPLES * 24, 3)

    def frames(self):
        """All captured frames."""
        for q in range(QUEUES):
            base = HEAD + q * QUEUE_SIZE
            for i in range(self.queue(q)[1]):
                length, = struct.unpack_from("H", self.map, base + LEN_AT + 2 * i)
                at = base + FRAME_AT + FRAME_LEN * i
                yield self.map[at:at + length]

    def pairs(self):
        """All captured (SPI, sequence number), by queue."""
        return [self._u64(HEAD + q * QUEUE_SIZE + PAIR_AT, self.queue(q)[2])
                for q in range(QUEUES)]
