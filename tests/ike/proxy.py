# SPDX-License-Identifier: BSD-3-Clause
"""Between a charon and its gateway: passes messages on, and breaks the connection when told to."""

import contextlib
import ctypes
import os
import select
import socket
import threading

from ike_h import TYPES, layout

ROOM = 4096  # more than any message


class Proxy:
    """One connection at a time. What charon asks for is counted, by name."""

    def __init__(self, path, gateway_path):
        self.path, self.gateway_path = path, gateway_path
        self.names = []  # of requests, in their order
        self.cuts = 0
        self.at = None  # the request at which the connection breaks
        self.at_reply = False
        self.running = True
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(0.1)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def cut_at(self, names, at_reply):
        """Break it in the middle of the next request of one of these names: it is lost on its
        way to the gateway, or (at_reply) is done by it, and its reply is lost.
        """
        self.at_reply, self.at = at_reply, names

    def _serve(self):
        while self.running:
            with contextlib.suppress(TimeoutError):
                charon, _ = self.listener.accept()
                with charon, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gateway:
                    with contextlib.suppress(OSError):  # one of the two is gone
                        gateway.connect(self.gateway_path)
                        self._pass(charon, gateway)

    def _pass(self, charon, gateway):
        """Until one ends, or a cut is due."""
        cut_id = None
        while self.running:
            for s in select.select([charon, gateway], [], [], 0.1)[0]:
                data = s.recv(ROOM)
                if not data:
                    return
                head = layout("hdr").from_buffer_copy(data[:ctypes.sizeof(layout("hdr"))])
                if s is charon:
                    self.names.append(TYPES[head.type])
                    if self.at is not None and self.names[-1] in self.at:
                        self.at = None
                        if not self.at_reply:
                            self.cuts += 1
                            return
                        cut_id = head.id
                    gateway.send(data)
                elif cut_id is not None and head.id == cut_id:
                    self.cuts += 1
                    return
                else:
                    charon.send(data)

    def close(self):
        """Pass nothing on any more."""
        self.running = False
        self.thread.join()
        self.listener.close()
