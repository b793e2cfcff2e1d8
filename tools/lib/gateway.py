# SPDX-License-Identifier: BSD-3-Clause
"""A gateway process: configuration, EAL arguments, console, orderly end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from netns import Failed, end, wait_for

START_S = 30.0
STOP_S = 20.0


class Word(str):
    """A string that stands without quotes in the configuration: a hexadecimal number."""


def config_text(value, depth=0):
    """A Python value in libconfig's syntax: dict, list (of dicts or scalars), scalar."""
    tabs = "\t" * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{tabs}{k} = {config_text(v, depth + 1)};\n" for k, v in value.items()]
        return "{\n" + "".join(rows) + "\t" * depth + "}"
    if isinstance(value, (list, tuple)):
        parts = ", ".join(config_text(v, depth) for v in value)
        return f"[ {parts} ]" if value and not isinstance(value[0], dict) else f"( {parts} )"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or isinstance(value, Word):
        return str(value)
    return json.dumps(str(value))


def config_file_text(config):
    """A whole file of a dict."""
    return "".join(f"{k} = {config_text(v)};\n" for k, v in config.items())


def free_hugepages_mb():
    """How much memory there is in free hugepages, in MB."""
    with open("/proc/meminfo", encoding="ascii") as f:
        found = dict(re.findall(r"^(\w+):\s+(\d+)", f.read(), re.M))
    return int(found.get("HugePages_Free", 0)) * int(found.get("Hugepagesize", 0)) // 1024


def eal_args(workers, file_prefix, memory_mb=512, hugepages=False):
    """EAL's arguments: one lcore for control and one per worker, on the CPUs we may use."""
    cpus = sorted(os.sched_getaffinity(0))
    on = ",".join(str(c) for c in cpus)
    args = ["--lcores", f"(0-{workers})@({on})", "-m", str(memory_mb), "--no-pci",
            "--no-telemetry", "--file-prefix", file_prefix]
    # EAL refuses --in-memory together with --no-huge.
    return args + (["--in-memory"] if hugepages else ["--no-huge", "--no-shconf"])


def counter_sums(stats, drops):
    """Counters over all workers by name, of "show stats" and "show drops all"."""
    values = {row["name"]: row["sum"] for row in stats["counters"]}
    for row in drops:
        group = "esp." if row["group"] == "esp" else ""
        values[f"drop.{group}{row['name']}"] = row["count"]
    return values


class Gateway:
    """One gateway in a namespace. Its files are in a directory of the caller's."""

    def __init__(self, binary, namespace, directory, name="gw"):
        self.binary = binary
        self.namespace = namespace
        self.directory = directory
        self.name = name
        self.process = None
        self.log_path = os.path.join(directory, f"{name}.log")
        self.config_path = os.path.join(directory, f"{name}.conf")
        self.socket_path = os.path.join(directory, f"{name}.sock")
        self.file_prefix = f"pcpu-{os.getpid()}-{name}"

    def write_config(self, text):
        """Write the file as keys want it: for nobody else to read."""
        fd = os.open(self.config_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as f:
            f.write(text)

    def start(self, workers=2, memory_mb=512, hugepages=False, eal=None, wait=True):
        """Start it, and wait until its console answers."""
        if eal is None:
            eal = eal_args(workers, self.file_prefix, memory_mb, hugepages)
        with open(self.log_path, "ab") as log:
            self.process = self.namespace.start(
                self.binary, *eal, "--", "-c", self.config_path, stdout=log, stderr=log)
        if wait:
            wait_for(f"console of {self.name}", self._is_up, START_S)

    def _is_up(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return os.path.exists(self.socket_path) and self.attach("show version").returncode == 0

    def log(self):
        """All that it has written so far."""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def attach(self, *commands):
        """Commands on its console, as a user would give them; the finished process."""
        args = [a for c in commands for a in ("-e", c)]
        return subprocess.run([self.binary, "--attach", "--socket", self.socket_path, *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30, check=False)

    def console(self, command):
        """The output of a command that must succeed.

        Straight from the socket (docs/console.md): a test asks thousands of times.
        """
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(self.socket_path)
            s.sendall(f"E{command}\n".encode())
            answer = b""
            while answer[-2:-1] != b"\0":
                data = s.recv(1 << 16)
                if not data:
                    raise Failed(f"{self.name}: {command}: the console went away: {self.log()}")
                answer += data
        text = answer[:-2].decode()
        if answer[-1:] != b"0":
            raise Failed(f"{self.name}: {command}: {text.strip()}")
        return text

    def show(self, what):
        """What "show ... json" says, as Python values."""
        return json.loads(self.console(f"show {what} json"))

    def counters(self):
        """Counters and drops over all workers, by name; those of ESP are "drop.esp.NAME"."""
        return counter_sums(self.show("stats"), self.show("drops all"))

    def balance(self):
        """The "balance" section of show stats."""
        return self.show("stats")["balance"]

    def stop(self, how=signal.SIGTERM, seconds=STOP_S):
        """End it in order ("quit" as text: by the console). Returns its exit status."""
        if how == "quit":
            self.attach("quit")
        else:
            self.process.send_signal(how)
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        status = self.process.poll()
        self.clean()
        if status is None:
            raise Failed(f"{self.name} does not end within {seconds} s:\n{self.log()}")
        return status

    def kill(self):
        """End it without a warning, as the kernel's OOM killer does."""
        self.process.kill()
        self.process.wait()

    def leaked(self):
        """The number of leaked mbufs that it printed at its end; None: it printed none."""
        found = re.findall(r"^mbufs leaked: (\d+)$", self.log(), re.M)
        return int(found[-1]) if found else None

    def clean(self):
        """End what still runs, and remove what EAL leaves behind."""
        if self.process is not None:
            end(self.process)
        shutil.rmtree(f"/var/run/dpdk/{self.file_prefix}", ignore_errors=True)
