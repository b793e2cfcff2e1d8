# SPDX-License-Identifier: BSD-3-Clause
"""Requests to charon over its vici socket; what swanctl does, at a test's pace."""

import socket
import struct

CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, \
    EVENT_UNKNOWN, EVENT = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)


class ViciError(Exception):
    """charon did not do what it was asked; the text is what it said."""


def encode(values):
    """A message: dicts are sections, lists are lists, all else is text."""
    out = b""
    for key, value in values.items():
        name = bytes([len(key)]) + key.encode()
        if isinstance(value, dict):
            out += bytes([SECTION_START]) + name + encode(value) + bytes([SECTION_END])
        elif isinstance(value, list):
            out += bytes([LIST_START]) + name
            for item in value:
                data = str(item).encode()
                out += bytes([LIST_ITEM]) + struct.pack("!H", len(data)) + data
            out += bytes([LIST_END])
        else:
            data = str(value).encode()
            out += bytes([KEY_VALUE]) + name + struct.pack("!H", len(data)) + data
    return out


def decode(data):
    """The reverse. Sections of equal names are kept apart by a number behind the name."""
    stack, current, at = [{}], None, 0

    def text(size):
        nonlocal at
        length = int.from_bytes(data[at:at + size], "big")
        at += size + length
        return data[at - length:at].decode(errors="replace")

    while at < len(data):
        kind = data[at]
        at += 1
        if kind == SECTION_START:
            name = text(1)
            number = 2
            unique = name
            while unique in stack[-1]:
                unique, number = f"{name}#{number}", number + 1
            stack[-1][unique] = {}
            stack.append(stack[-1][unique])
        elif kind == SECTION_END:
            stack.pop()
        elif kind == KEY_VALUE:
            name = text(1)
            stack[-1][name] = text(2)
        elif kind == LIST_START:
            current = stack[-1][text(1)] = []
        elif kind == LIST_ITEM:
            current.append(text(2))
        elif kind != LIST_END:
            raise ViciError(f"a message with an element {kind}")
    return stack[0]


class Vici:
    """A connection; closed at the end of a with block."""

    def __init__(self, path, seconds=30.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _send(self, kind, name, message=b""):
        data = bytes([kind, len(name)]) + name.encode() + message
        self.socket.sendall(struct.pack("!I", len(data)) + data)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ViciError("charon closed its vici socket")
            data += more
        return data

    def _receive(self):
        data = self._exactly(struct.unpack("!I", self._exactly(4))[0])
        if data[0] in (CMD_UNKNOWN, EVENT_UNKNOWN):
            raise ViciError("charon knows no such request")
        if data[0] == EVENT:
            return data[0], decode(data[2 + data[1]:])
        return data[0], decode(data[1:])

    def request(self, name, **values):
        """A request; what charon answers, unless it is that it failed."""
        self._send(CMD_REQUEST, name, encode({k.replace("_", "-"): v for k, v in values.items()}))
        kind, answer = self._receive()
        while kind == EVENT:
            kind, answer = self._receive()
        if answer.get("success", "yes") != "yes":
            raise ViciError(f"{name} {values}: {answer.get('errmsg', answer)}")
        return answer

    def stream(self, name, event, **values):
        """A request that is answered by events: a list of them."""
        self._send(EVENT_REGISTER, event)
        self._receive()
        self._send(CMD_REQUEST, name, encode(values))
        events = []
        while True:
            kind, answer = self._receive()
            if kind != EVENT:
                return events
            events.append(answer)

    def list_sas(self):
        """All IKE_SAs, each a dict with its name; their CHILD_SAs in a list."""
        found = []
        for event in self.stream("list-sas", "list-sa"):
            for name, sa in event.items():
                sa["name"] = name
                sa["children"] = [{**child, "name": child.get("name", key)}
                                  for key, child in sa.get("child-sas", {}).items()]
                found.append(sa)
        return found
