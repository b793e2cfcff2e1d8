# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces and the processes in them, removed whatever happens.

The demo and the functional tests build their worlds of this. Nothing outside
the namespaces made here is touched, and processes are ended by their number.
"""

import atexit
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
POLL_S = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A command, or a wait, did not go well; the text says all there is to know."""


def run(*argv, check=True, timeout=60, **kwargs):
    """Run a command and return it; its output is text and stays out of ours."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, check=False, **kwargs)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stdout.strip()}")
    return done


def wait_for(what, probe, seconds=10.0):
    """Poll until probe() is true and return what it said: there is no sleep to synchronise."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s still not: {what}")
        time.sleep(POLL_S)


class Namespace:
    """A network namespace. It and all that was started in it goes with close()."""

    def __init__(self, name):
        self.name = name
        self.processes = []
        run("ip", "netns", "add", name)
        _open.append(self)
        self.ip("link", "set", "lo", "up")
        # No router solicitations and no waiting for duplicates: nothing by itself that
        # a test would have to tell from the traffic it is about.
        self.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        self.sysctl("net.ipv6.conf.default.accept_ra", 0)
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)

    def prefix(self):
        """What to put before a command so that it runs in here."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *argv, **kwargs):
        """run() in here."""
        return run(*self.prefix(), *argv, **kwargs)

    def ip(self, *argv, check=True):
        """The ip command, in here."""
        return run("ip", "-n", self.name, *argv, check=check)

    def sysctl(self, key, value):
        """Set one of the namespace's own settings."""
        self.run("sysctl", "-qw", f"{key}={value}")

    @contextlib.contextmanager
    def entered(self):
        """Sockets made meanwhile by this thread belong to the namespace."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                yield
            finally:
                _setns(here)
        finally:
            os.close(there)
            os.close(here)

    def socket(self, *args):
        """A socket in here."""
        with self.entered():
            return socket.socket(*args)

    def start(self, *argv, **kwargs):
        """Start a process in here; close() ends it, and so does our own death.

        In a session of its own: Ctrl-C is for us, and we end all in order.
        """
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([*self.prefix(), *(str(a) for a in argv)],
                                   start_new_session=True, preexec_fn=die_with_parent, **kwargs)
        self.processes.append(process)
        return process

    def close(self):
        """End what was started here, then remove the namespace."""
        for process in self.processes:
            end(process)
        self.processes.clear()
        if self in _open:
            _open.remove(self)
            run("ip", "netns", "del", self.name, check=False)


_open = []


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end(process, seconds=10.0):
    """Ask a process to end, and insist if it does not. Returns its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def close_all():
    """Remove all namespaces made and not yet closed, last one first."""
    for namespace in reversed(list(_open)):
        with contextlib.suppress(Failed, OSError):
            namespace.close()


def exit_on_signals(how=SystemExit):
    """Let SIGINT, SIGTERM and SIGHUP end us as exceptions do, so that all is cleaned up."""
    def leave(number, _frame):
        for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(again, signal.SIG_IGN)
        raise how(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


atexit.register(close_all)
