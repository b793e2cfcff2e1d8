# SPDX-License-Identifier: BSD-3-Clause
"""A Linux machine in qemu, and requests to the agent in it."""

import atexit
import itertools
import json
import os
import socket
import subprocess
import time

import netns
from netns import Failed

BOOT_S = 120.0
ANSWER_S = 120.0
MEMORY_MB = 384
MAC = "52:54:00:00:00:02"


class GuestError(Exception):
    """The agent could not do what it was asked; the text is its traceback."""


class VhostUser:
    """One end of a vhost-user socket that a port of the gateway listens on.

    Guest CPU n sends on queue n, which is the gateway's receive queue n.
    """

    def __init__(self, path):
        self.path = path

    def arguments(self, queues):
        """Of qemu. The guest's memory is the gateway's to read: a file without a name."""
        return ["-object", f"memory-backend-memfd,id=mem,size={MEMORY_MB}M,share=on",
                "-machine", "memory-backend=mem",
                # the gateway may end and come back
                "-chardev", f"socket,id=vu,path={self.path},reconnect=1",
                "-netdev", f"vhost-user,id=n0,chardev=vu,queues={queues}",
                # the 7.2 of Debian 12 ends with MSI-X, vhost and tcg together
                "-device", f"virtio-net-pci,netdev=n0,mac={MAC},mq=on,vectors=0,{OFFLOADS}"]


class Tap:
    """A TAP in the gateway's namespace, which a port of it has as its interface."""

    def __init__(self, interface):
        self.interface = interface

    def arguments(self, queues):
        """Of qemu."""
        many = f",queues={queues}" if queues > 1 else ""
        return ["-netdev", f"tap,id=n0,ifname={self.interface},script=no,downscript=no,"
                           f"vhost=off{many}",
                "-device", f"virtio-net-pci,netdev=n0,mac={MAC},mq={'on' if queues > 1 else 'off'},"
                           f"{OFFLOADS}"]


# What arrives is what a wire would carry: whole checksums, no packet larger than the MTU.
OFFLOADS = ("csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,"
            "host_tso4=off,host_tso6=off,host_ufo=off")


class Guest:
    """It runs until close(). Its files are in a directory of the caller's."""

    def __init__(self, image, directory, link, cpus=2, queues=2, namespace=None,
                 memory_mb=MEMORY_MB, kernel_args=""):
        self.image = image
        self.directory = directory
        self.log_path = os.path.join(directory, "guest.log")
        self.port_path = os.path.join(directory, "guest.port")
        self.cpus = cpus
        self.ids = itertools.count(1)
        self.waiting = b""
        self.socket = None
        self.process = self._start(link, queues, namespace, memory_mb, kernel_args)
        atexit.register(self.close)

    def _start(self, link, queues, namespace, memory_mb, kernel_args):
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", "max",
                "-smp", str(self.cpus), "-m", str(memory_mb), "-nodefaults", "-display", "none",
                "-no-reboot", "-kernel", self.image.kernel, "-initrd", self.image.initramfs,
                "-append", "console=ttyS0 loglevel=4 tsc=unstable panic=-1 mitigations=off "
                           + kernel_args,
                "-serial", f"file:{self.log_path}",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,path={self.port_path},server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=agent",
                *link.arguments(queues)]
        with open(os.path.join(self.directory, "qemu.log"), "ab") as log:
            if namespace is not None:
                return namespace.start(*argv, stdout=log, stderr=log)
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True,
                                    preexec_fn=netns.die_with_parent)

    def wait(self):
        """Until the agent is there."""
        netns.wait_for("qemu's socket", self._connect, BOOT_S)
        self._receive(0, BOOT_S)
        return self

    def _connect(self):
        if self.process.poll() is not None:
            raise Failed(f"qemu ended with {self.process.returncode}: {self.log()}")
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(self.port_path)
        except OSError:
            s.close()
            return False
        s.settimeout(1.0)
        self.socket = s
        return True

    def _receive(self, number, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.waiting:
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                if self.process.poll() is None and time.monotonic() < deadline:
                    continue
                data = b""
            if not data:
                raise Failed(f"the guest does not answer within {seconds} s: {self.log()}")
            self.waiting += data
        line, self.waiting = self.waiting.split(b"\n", 1)
        answer = json.loads(line)
        if answer["id"] != number:
            raise Failed(f"the guest answers {answer['id']}, not {number}: {answer}")
        return answer

    def do(self, name, seconds=ANSWER_S, **arguments):
        """Ask the agent; what do_NAME() of it returns."""
        number = next(self.ids)
        self.socket.sendall(json.dumps({"id": number, "do": name, **arguments}).encode() + b"\n")
        answer = self._receive(number, seconds)
        if "error" in answer:
            raise GuestError(answer["error"])
        return answer["ok"]

    def run(self, script, check=True):
        """A shell script in the guest; what it wrote."""
        status, text = self.do("run", script=script)
        if check and status != 0:
            raise GuestError(f"exit {status} of:\n{script}\nit wrote:\n{text}")
        return text

    def log(self):
        """The end of what kernel and qemu wrote."""
        text = []
        for name in ("guest.log", "qemu.log"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f.read().splitlines()[-15:]
        return "\n".join(text)

    def close(self):
        """End it."""
        atexit.unregister(self.close)
        if self.socket is not None:
            self.socket.close()
        netns.end(self.process)
