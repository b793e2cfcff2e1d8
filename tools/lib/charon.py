# SPDX-License-Identifier: BSD-3-Clause
"""A charon in a network namespace, with our plugin, and with sockets and files of its own.

For tests and the demo: several on one machine, and none that is the machine's.
"""

import os
import shutil
import signal
import subprocess
import time

from netns import Failed, end, wait_for
from vici import Vici, ViciError

START_S = 20.0
STRONGSWAN_CONF = """# One charon of several on this machine, each in its namespace.
charon-systemd {{
	load = {load}
	install_routes = no
	install_virtual_ip = no
	delete_rekeyed_delay = 2
	{settings}
	plugins {{
		{include}
		kernel-pcpu {{
			load = yes
			socket = {socket}
		}}
		vici {{
			socket = unix://{vici}
		}}
	}}
	filelog {{
		log {{
			path = {log}
			time_format = %H:%M:%S
			time_add_ms = yes
			flush_line = yes
			default = 1
			knl = 2
			cfg = 1
			net = 0
			enc = 0
		}}
	}}
}}
swanctl {{
	load = random openssl
}}
"""
CONNECTION = """connections {{
	gw {{
		version = 2
		local_addrs = {local}
		remote_addrs = {remote}
		proposals = aes128gcm16-prfsha256-x25519
		{connection}
		local {{
			auth = psk
			id = {local}
		}}
		remote {{
			auth = psk
			id = {remote}
		}}
		children {{
			net {{
				local_ts = {local_ts}
				remote_ts = {remote_ts}
				esp_proposals = {esp}
				{child}
			}}
		}}
	}}
}}
secrets {{
	ike-gw {{
		secret = "{secret}"
	}}
}}
"""
PLUGINS = ["random", "nonce", "openssl", "pem", "x509", "pubkey", "pkcs1", "pkcs8", "kdf",
           "kernel-pcpu", "kernel-netlink", "socket-default", "vici"]


def connection(local, remote, local_ts, remote_ts, esp, settings, child, secret="of a test"):
    """A swanctl.conf with one connection; settings and child: what else stands there."""
    def lines(values, depth):
        return ("\n" + "\t" * depth).join(f"{k} = {v}" for k, v in values.items())

    return CONNECTION.format(local=local, remote=remote, local_ts=local_ts, remote_ts=remote_ts,
                             esp=esp, connection=lines(settings, 2), child=lines(child, 4),
                             secret=secret)


class Charon:
    """One process at a time. Its files are in a directory of the caller's."""

    def __init__(self, found, namespace, directory, name, gateway_socket):
        self.swan = found
        self.namespace = namespace
        self.directory = directory
        self.name = name
        self.process = None
        self.path = {what: os.path.join(directory, f"{name}.{what}")
                     for what in ("conf", "swanctl", "vici", "log", "out")}
        self.settings = {}
        self.snippets = None  # of settings of all plugins
        self.gateway_socket = gateway_socket

    def write(self):
        """Its strongswan.conf."""
        with open(self.path["conf"], "w", encoding="utf-8") as f:
            f.write(STRONGSWAN_CONF.format(
                load=" ".join(PLUGINS), socket=self.gateway_socket, vici=self.path["vici"],
                log=self.path["log"],
                include=f"include {self.snippets}" if self.snippets else "",
                settings="\n\t".join(f"{k} = {v}" for k, v in self.settings.items())))

    def start(self, wait=True):
        """Start it, and wait for its vici socket to answer."""
        self.write()
        with open(self.path["out"], "ab") as out:
            self.process = self.namespace.start(
                self.swan.charon, stdout=out, stderr=out,
                env={**os.environ, "STRONGSWAN_CONF": self.path["conf"]})
        if wait:
            wait_for(f"vici socket of {self.name}", self.is_up, START_S)

    def is_up(self):
        """Does it answer?"""
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.said()}")
        try:
            return bool(self.vici("version"))
        except OSError:
            return False

    def vici(self, name, **values):
        """A request by vici."""
        with Vici(self.path["vici"]) as vici:
            return vici.request(name, **values)

    def list_sas(self):
        """Its IKE_SAs."""
        with Vici(self.path["vici"]) as vici:
            return vici.list_sas()

    def children(self, state="INSTALLED"):
        """CHILD_SAs in a state, of all IKE_SAs."""
        return [c for sa in self.list_sas() for c in sa["children"]
                if state is None or c["state"] == state]

    def load(self, text):
        """Connections and secrets, by swanctl as users do."""
        with open(os.open(self.path["swanctl"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                  "w", encoding="utf-8") as f:
            f.write(text)
        self.swanctl("--load-all", "--noprompt", "--file", self.path["swanctl"])

    def swanctl(self, command, *argv):
        """swanctl, its output."""
        done = subprocess.run(
            [self.swan.swanctl, command, "--uri", f"unix://{self.path['vici']}", *argv],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60, check=False, env={**os.environ, "STRONGSWAN_CONF": self.path["conf"]})
        if done.returncode != 0:
            raise Failed(f"swanctl {command}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def rekey(self, **what):
        """Rekey SAs: child="net", ike="gw"; their number."""
        try:
            return int(self.vici("rekey", **what)["matches"])
        except ViciError:
            return 0

    def log(self):
        """All that it has logged."""
        if not os.path.exists(self.path["log"]):
            return ""
        with open(self.path["log"], encoding="utf-8", errors="replace") as f:
            return f.read()

    def said(self):
        """What it wrote, for messages."""
        with open(self.path["out"], encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:] + self.log()[-4000:]

    def stop(self, how=signal.SIGTERM, seconds=30.0):
        """End it; its status."""
        self.process.send_signal(how)
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} does not end within {seconds} s:\n{self.said()}")
            time.sleep(0.02)
        return self.process.returncode

    def close(self):
        """End it, however it is."""
        if self.process is not None:
            end(self.process)
        shutil.rmtree(self.path["vici"], ignore_errors=True)
