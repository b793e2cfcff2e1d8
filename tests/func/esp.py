# SPDX-License-Identifier: BSD-3-Clause
"""The independent other end: ESP tunnel mode on python3-cryptography.

Nothing here comes from lib/ipsec_pcpu: what both ends agree on is RFC 4303,
4106, 7634 and 3948.
"""

import dataclasses
import ipaddress
import os
import re
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

ESP, UDP = 50, 17
ETH_IP4, ETH_IP6 = 0x0800, 0x86DD
SEQ_MASK = (1 << 32) - 1


class NotAuthentic(Exception):
    """The ICV does not hold."""


@dataclasses.dataclass(frozen=True)
class Algo:
    """An AEAD of ESP: key bytes without the 4 of salt, ICV bytes."""
    name: str
    key_len: int
    icv_len: int

    def encrypt(self, key, nonce, data, aad):
        """Ciphertext and ICV."""
        if self.name.startswith("chacha"):
            return ChaCha20Poly1305(key).encrypt(nonce, data, aad)
        do = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        do.authenticate_additional_data(aad)
        return do.update(data) + do.finalize() + do.tag[:self.icv_len]

    def decrypt(self, key, nonce, data, aad):
        """Plaintext, of ciphertext and ICV."""
        try:
            if self.name.startswith("chacha"):
                return ChaCha20Poly1305(key).decrypt(nonce, data, aad)
            body, tag = data[:-self.icv_len], data[-self.icv_len:]
            mode = modes.GCM(nonce, tag, min_tag_length=self.icv_len)
            do = Cipher(algorithms.AES(key), mode).decryptor()
            do.authenticate_additional_data(aad)
            return do.update(body) + do.finalize()
        except (InvalidTag, ValueError) as err:
            raise NotAuthentic(str(err)) from err


def algo(name):
    """By strongSwan's name: aes128gcm16, chacha20poly1305."""
    if name == "chacha20poly1305":
        return Algo(name, 32, 16)
    bits, icv = re.fullmatch(r"aes(128|192|256)gcm(8|12|16)", name).groups()
    return Algo(name, int(bits) // 8, int(icv))


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_header(src, dst, proto, length, ttl=64, tos=0, df=False, ident=0):
    """An IPv4 or IPv6 header for length bytes behind it."""
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if src.version == 6:
        return struct.pack("!IHBB", 6 << 28 | tos << 20, length, proto, ttl) \
            + src.packed + dst.packed
    head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + length, ident, 0x4000 if df else 0, ttl,
                       proto, 0) + src.packed + dst.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:]


def udp(src, dst, sport, dport, data, with_checksum=True):
    """A UDP datagram, header included."""
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    if not with_checksum:
        return head + data
    pseudo = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed \
        + struct.pack("!HH", UDP, 8 + len(data))
    value = checksum(pseudo + head + data) or 0xFFFF
    return head[:6] + struct.pack("!H", value) + data


def udp_packet(src, dst, sport, dport, data=b"", **ip):
    """An IP packet with UDP in it."""
    body = udp(src, dst, sport, dport, data)
    return ip_header(src, dst, UDP, len(body), **ip) + body


@dataclasses.dataclass
class Packet:
    """An IP packet taken apart. UDP's ports are 0 where it has none."""
    raw: bytes
    version: int
    src: str
    dst: str
    ttl: int
    tos: int
    proto: int
    body: bytes
    df: bool = False
    fragment: bool = False
    sport: int = 0
    dport: int = 0
    udp_checksum: int = 0

    @property
    def is_esp(self):
        """ESP, plain or in UDP."""
        if self.proto == ESP:
            return True
        return self.proto == UDP and 4500 in (self.sport, self.dport) \
            and len(self.body) >= 16 and self.body[8:12] != b"\0\0\0\0"

    @property
    def esp(self):
        """ESP's own bytes."""
        return self.body[8:] if self.proto == UDP else self.body

    @property
    def spi(self):
        """Of ESP."""
        return struct.unpack_from("!I", self.esp)[0]

    @property
    def seq(self):
        """Of ESP: the lower 32 bits."""
        return struct.unpack_from("!I", self.esp, 4)[0]


def parse(raw):
    """An IP packet, its lengths and checksums checked; ValueError if it is not one."""
    version = raw[0] >> 4
    if version == 4:
        length, _, flags, ttl, proto = struct.unpack_from("!HHHBB", raw, 2)
        if raw[0] != 0x45 or length > len(raw) or checksum(raw[:20]) != 0:
            raise ValueError(f"bad IPv4 header: {raw[:20].hex()}")
        packet = Packet(raw[:length], 4, str(ipaddress.ip_address(raw[12:16])),
                        str(ipaddress.ip_address(raw[16:20])), ttl, raw[1], proto,
                        raw[20:length], bool(flags & 0x4000), bool(flags & 0x3FFF))
    elif version == 6:
        first, length, proto, ttl = struct.unpack_from("!IHBB", raw)
        if 40 + length > len(raw):
            raise ValueError(f"bad IPv6 header: {raw[:40].hex()}")
        packet = Packet(raw[:40 + length], 6, str(ipaddress.ip_address(raw[8:24])),
                        str(ipaddress.ip_address(raw[24:40])), ttl, first >> 20 & 0xFF, proto,
                        raw[40:40 + length])
    else:
        raise ValueError("neither IPv4 nor IPv6")
    if proto == UDP and not packet.fragment and len(packet.body) >= 8:
        packet.sport, packet.dport, length, packet.udp_checksum = \
            struct.unpack_from("!HHHH", packet.body)
        if length != len(packet.body):
            raise ValueError("UDP length is wrong")
    return packet


class Sa:
    """One SA of the other end, in either direction."""

    def __init__(self, spi, src, dst, algo_name="aes128gcm16", esn=True, sport=0, dport=0,
                 key=None):
        self.spi = spi
        self.src = src
        self.dst = dst
        self.algo = algo(algo_name)
        self.esn = esn
        self.sport = sport
        self.dport = dport
        self.key = os.urandom(self.algo.key_len + 4) if key is None else key
        self.seq = 0

    def _nonce(self, iv):
        return self.key[-4:] + iv

    def _aad(self, spi, seq):
        if self.esn:
            return struct.pack("!IQ", spi, seq)
        return struct.pack("!II", spi, seq & SEQ_MASK)

    def esp(self, inner, seq=None, next_header=None, padding=None, tfc=b""):
        """The ESP bytes of an inner packet."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        if next_header is None:
            next_header = 41 if inner[:1] and inner[0] >> 4 == 6 else 4
        data = inner + tfc
        if padding is None:
            padding = bytes(range(1, -(len(data) + 2) % 4 + 1))
        data += padding + bytes([len(padding), next_header])
        iv = struct.pack("!Q", seq)
        sealed = self.algo.encrypt(self.key[:-4], self._nonce(iv), data, self._aad(self.spi, seq))
        return struct.pack("!II", self.spi, seq & SEQ_MASK) + iv + sealed

    def wrap(self, esp, sport=None, **ip):
        """An outer packet around ESP bytes; the UDP source port may differ from the SA's."""
        if not self.dport:
            return ip_header(self.src, self.dst, ESP, len(esp), **ip) + esp
        sport = self.sport if sport is None else sport
        # RFC 3948: no checksum on IPv4; IPv6 wants one
        body = udp(self.src, self.dst, sport, self.dport, esp, ":" in self.src)
        return ip_header(self.src, self.dst, UDP, len(body), **ip) + body

    def seal(self, inner, sport=None, **kwargs):
        """The whole outer packet of an inner one."""
        return self.wrap(self.esp(inner, **kwargs), sport)

    def open(self, packet, high=0):
        """The inner packet of an outer one; its upper 32 sequence bits are known to be high."""
        esp = packet.esp
        spi, low = struct.unpack_from("!II", esp)
        iv, sealed = esp[8:16], esp[16:]
        if spi != self.spi:
            raise NotAuthentic(f"SPI {spi:#x}, not {self.spi:#x}")
        data = self.algo.decrypt(self.key[:-4], self._nonce(iv), sealed,
                                 self._aad(spi, high << 32 | low))
        pad_len, next_header = data[-2], data[-1]
        if (len(data)) % 4 or data[len(data) - 2 - pad_len:-2] != bytes(range(1, pad_len + 1)):
            raise ValueError("padding is not 1, 2, 3, ...")
        inner = data[:len(data) - 2 - pad_len]
        if next_header != (41 if inner[0] >> 4 == 6 else 4):
            raise ValueError(f"next header is {next_header}")
        return inner


class Receiver:
    """Anti-replay of the other end: RFC 4303 appendix A, with a set instead of a bitmap."""

    def __init__(self, sa, window=1024):
        self.sa = sa
        self.window = window
        self.top = 0
        self.seen = set()

    def _recover(self, low):
        """The 64-bit number of the lower half of it (RFC 4303 A2.2)."""
        if not self.sa.esn:
            return low
        high, top_low = self.top >> 32, self.top & SEQ_MASK
        bottom = (top_low - self.window + 1) & SEQ_MASK
        if top_low >= self.window - 1:
            return (high if low >= bottom else high + 1) << 32 | low
        return (max(high - 1, 0) if low >= bottom else high) << 32 | low

    def receive(self, packet):
        """The inner packet; ValueError for a replay, NotAuthentic for a forgery."""
        seq = self._recover(packet.seq)
        if seq in self.seen or seq + self.window <= self.top or seq == 0:
            raise ValueError(f"sequence number {seq} was seen, or is too old ({self.top})")
        inner = self.sa.open(packet, seq >> 32)
        self.top = max(self.top, seq)
        self.seen.add(seq)
        return inner
