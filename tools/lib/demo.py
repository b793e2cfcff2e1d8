# SPDX-License-Identifier: BSD-3-Clause
"""Two sites, two gateways, one machine: real TCP through per-CPU ESP tunnels.

Started by tools/demo, which sees to packages and the build. The last line of
its output is one JSON object; the exit status is 0 if TCP passed both ways,
every worker of both gateways encrypted and decrypted on SAs of its own, and
none handed ESP to another after start-up where each SPI can be steered.
"""

import argparse
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time

import netns
import swan
from charon import Charon, connection
from gateway import Gateway, free_hugepages_mb
from netns import Failed, Namespace, end, run, wait_for

WORKERS = 2
MEMORY_MB = 512
ENOUGH_PACKETS = 1000
PREFIX = "pcpu-demo-"
DIRECTORY = "/var/tmp"  # state files: not on tmpfs
IPERF_PORT = 5201
START_S = 20.0
EXACT = ("flow", "tap")  # methods by which each packet lands on its SA's worker from the start
LEARN_S = 5.0  # the others, until SAs are where their packets land

PLAN4 = {
    "a": {"lan": "10.1.0.1", "site": "10.1.0.2", "net": "10.1.0.0/24", "wan": "192.0.2.1"},
    "b": {"lan": "10.2.0.1", "site": "10.2.0.2", "net": "10.2.0.0/24", "wan": "192.0.2.2"},
    "len": 24,
}
PLAN6 = {
    "a": {"lan": "fd01::1", "site": "fd01::2", "net": "fd01::/64", "wan": "2001:db8:ffff::1"},
    "b": {"lan": "fd02::1", "site": "fd02::2", "net": "fd02::/64", "wan": "2001:db8:ffff::2"},
    "len": 64,
}

PICTURE = """
  {name_a:<{left}}     {name_b:>{right}}
  {side_a} === {side_b}

  {workers} workers in each gateway, each with SAs of its own: {what}
{sas}{ike}
  the port to the internet brings each SA's packets to its worker by: {methods}
  {flows} TCP connections each way, {seconds} s; gateways' memory: {memory}
"""


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--gw", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=10, help="of traffic; default %(default)s")
    parser.add_argument("--flows", type=int, default=8,
                        help="TCP connections each way; default %(default)s")
    parser.add_argument("--algo", default="aes128gcm16", help="default %(default)s")
    parser.add_argument("--plain-esp", action="store_true", help="ESP without UDP")
    parser.add_argument("--ipv6", action="store_true", help="inside and outside")
    parser.add_argument("--ike", action="store_true",
                        help="SAs come from two charons of strongSwan, on demand")
    parser.add_argument("-i", "--interactive", action="store_true",
                        help="leave the gateways' consoles open after the traffic")
    args = parser.parse_args()
    if not 1 <= args.seconds <= 3600 or not 1 <= args.flows <= 128:
        parser.error("--seconds is 1 to 3600, --flows is 1 to 128")
    return args


def only_one():
    """Keep a second demo out: its names would be ours. Ends with the process."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind("\0dpdk-pcpu-gw-demo")
    except OSError as err:
        raise Failed("another demo runs on this machine; wait for it, or end it") from err
    return lock


def remove_stale(name):
    """What a demo left behind that was killed; nothing can be alive in it."""
    if os.path.exists(f"/run/netns/{name}"):
        if run("ip", "netns", "pids", name).stdout.strip():
            raise Failed(f"namespace {name} is in use by others: ip netns pids {name}")
        run("ip", "netns", "del", name)


def remove_stale_files():
    """The same of files: with only_one() held, they are nobody's."""
    for entry in os.scandir(DIRECTORY):
        if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False) \
                and entry.stat(follow_symlinks=False).st_uid == os.getuid():
            shutil.rmtree(entry.path, ignore_errors=True)


class Side:
    """A site and its gateway."""

    def __init__(self, demo, name, number):
        self.demo = demo
        self.name = name
        self.number = number
        self.plan = demo.plan[name]
        self.site = demo.namespace(f"site-{name}")
        self.ns = demo.namespace(f"gw-{name}")
        self.gateway = Gateway(demo.args.gw, self.ns, demo.directory, f"gw-{name}")
        self.gateway.file_prefix = f"pcpu-demo-gw-{name}"
        self.ike_path = os.path.join(demo.directory, f"ike-{name}.sock")
        self.charon = None
        self.base = [(0, 0)] * WORKERS  # as landed() says, when start-up was over

    def start(self):
        """Write its configuration and start the gateway."""
        length = self.demo.plan["len"]
        sas = f'ike_socket = "{self.ike_path}";' if self.demo.args.ike else \
            f'@include "{self.demo.directory}/demo-{self.name}.conf"'
        self.gateway.write_config(f"""# One of the two gateways of tools/demo.
console = "{self.gateway.socket_path}";
state_file = "{self.demo.directory}/gw-{self.name}.state";
mss_clamp = true;
ports = (
	{{ name = "lan"; device = "net_tap0,iface=site-{self.name}";
	  addresses = [ "{self.plan['lan']}/{length}" ]; }},
	{{ name = "wan"; device = "net_tap1,iface=inet-{self.name}";
	  addresses = [ "{self.plan['wan']}/{length}" ]; }}
);
{sas}
""")
        self.gateway.start(WORKERS, MEMORY_MB, self.demo.hugepages)

    def plug_in(self):
        """Take the kernel's ends of the gateway's ports to the site and to the internet.

        They have the MAC addresses of the ports: another one each, or a bridge
        and a host would take the gateway's frames for their own.
        """
        site, internet = f"site-{self.name}", f"inet-{self.name}"
        for dev, to, kind in ((site, self.site, 1), (internet, self.demo.internet, 2)):
            self.ns.ip("link", "set", dev, "netns", to.name)
            to.ip("link", "set", dev, "address", f"02:00:00:00:0{self.number}:0{kind}")
        self.demo.internet.ip("link", "set", internet, "master", "br0", "up")
        self.site.ip("link", "set", site, "up")
        self.site.ip("addr", "add", f"{self.plan['site']}/{self.demo.plan['len']}", "dev", site,
                     *(["nodad"] if ":" in self.plan["site"] else []))
        self.site.ip("route", "add", "default", "via", self.plan["lan"])

    def start_charon(self, there):
        """The one beside it, which has the other site's for a peer."""
        args = self.demo.args
        here, peer = self.plan, there.plan
        self.charon = Charon(self.demo.swan, self.ns, self.demo.directory, f"charon-{self.name}",
                             self.ike_path)
        self.charon.start()
        self.charon.load(connection(
            here["wan"], peer["wan"], here["net"], peer["net"], f"{args.algo}-esn",
            {"mobike": "no", "encap": "no" if args.plain_esp else "yes"},
            {"start_action": "trap", "per_cpu_sas": "yes" if args.plain_esp else "encap",
             "replay_window": 1024}, self.demo.secret))

    def told_of_ike(self):
        """What gateway and charon have to say where something does not come."""
        return "\n".join([f"--- gw-{self.name}", self.gateway.console("show ike"),
                          self.gateway.console("show sa"), f"--- charon-{self.name}",
                          self.charon.log()])

    def name_and_sas(self, sa):
        """An outbound SA in words."""
        who = f"worker {sa['pcpu']}" if sa["pcpu"] is not None else "fallback"
        how = f", UDP {sa['encap_sport']} -> {sa['encap_dport']}" if sa["encap_dport"] else ""
        return f"gw-{self.name} {who}: SPI 0x{sa['spi']:08x}{how}"

    def methods(self):
        """How its ports are steered, by their names."""
        return {p["port"]: p["method"] for p in self.gateway.show("steer")["ports"]}

    def landed(self):
        """Per worker: ESP that landed where its SA is, and ESP handed to its SA's worker."""
        return [(w["owned"], w["foreign"]) for w in self.gateway.show("steer")["workers"]]

    def sums(self):
        """Per worker: packets on SAs of its own; since start-up, ESP that it handed off."""
        workers = [{"id": i, "sa_out_packets": 0, "sa_in_packets": 0, "owned": now[0] - was[0],
                    "handed_off": now[1] - was[1]}
                   for i, (now, was) in enumerate(zip(self.landed(), self.base))]
        for sa in self.gateway.show("sa"):
            # it may have followed its packets to another worker than that of its number
            if sa["pcpu"] is not None and sa["worker"] is not None:
                workers[sa["worker"]][f"sa_{sa['dir']}_packets"] += sa["packets"]
        return workers

    def result(self):
        """Its part of the last line, but for what is known at the end only."""
        drops = {d["name"]: d["count"] for d in self.gateway.show("drops")}
        workers = self.sums()
        owned, handed_off = (sum(w[k] for w in workers) for k in ("owned", "handed_off"))
        return {"name": f"gw-{self.name}", "steering": self.methods(),
                "efficiency_percent": percent(owned, handed_off), "handed_off": handed_off,
                "workers": workers, "drops": drops}


def percent(owned, handed_off):
    """Steering efficiency; None: of nothing."""
    total = owned + handed_off
    return round(100 * owned / total, 3) if total else None


class Traffic:
    """iperf3 from one site to the other."""

    def __init__(self, demo, source, sink):
        self.source = source
        self.sink = sink
        self.path = os.path.join(demo.directory, f"iperf-{source.name}{sink.name}.json")
        self.server = sink.site.start("iperf3", "-s", "-B", sink.plan["site"],
                                      stdout=netns.subprocess.DEVNULL,
                                      stderr=netns.subprocess.DEVNULL)
        wait_for("iperf3 server", self._listens, START_S)
        # pylint: disable=consider-using-with
        self.output = open(self.path, "w", encoding="utf-8")
        self.client = source.site.start(
            "iperf3", "-J", "-c", sink.plan["site"], "-P", demo.args.flows,
            "-t", demo.args.seconds, stdout=self.output, stderr=self.output)

    def _listens(self):
        if self.server.poll() is not None:
            raise Failed(f"iperf3 server ended with {self.server.returncode}")
        return f":{IPERF_PORT}" in self.sink.site.run("ss", "-Hltn").stdout

    def running(self):
        """Has the client still something to send?"""
        return self.client.poll() is None

    def received(self):
        """Bytes that TCP delivered; a sentence in place of the number if it failed."""
        end(self.client)
        end(self.server)
        self.output.close()
        with open(self.path, encoding="utf-8") as f:
            text = f.read()
        try:
            report = json.loads(text)
            if "error" in report:
                raise Failed(f"iperf3 {self.source.name} -> {self.sink.name}: {report['error']}")
            return report["end"]["sum_received"]["bytes"]
        except (ValueError, KeyError) as err:
            raise Failed(f"iperf3 {self.source.name} -> {self.sink.name}: no result: "
                         f"{text.strip()[-300:]}") from err


def own_spis(side):
    """Of outbound SAs, by worker; None: the fallback."""
    return {sa["pcpu"]: f"{sa['spi']:08x}" for sa in side.gateway.show("sa")
            if sa["dir"] == "out"}


class Demo:
    """All of it."""

    def __init__(self, args):
        self.args = args
        self.lock = only_one()
        self.plan = PLAN6 if args.ipv6 else PLAN4
        self.hugepages = free_hugepages_mb() >= 2 * MEMORY_MB
        remove_stale_files()
        # 0700: there are keys in it
        self.directory = tempfile.mkdtemp(prefix=PREFIX, dir=DIRECTORY)
        self.internet = None
        self.sides = []
        self.swan = swan.find() if args.ike else None
        self.secret = secrets.token_hex(32)
        self.drawn = 0

    def namespace(self, name):
        """One of ours, by a name that is nobody else's."""
        name = f"pcpu-{name}"
        remove_stale(name)
        return Namespace(name)

    def build(self):
        """Make the world; gateways run and can reach each other after it."""
        self.internet = self.namespace("internet")
        self.internet.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.internet.ip("link", "set", "br0", "up")
        if not self.args.ike:
            self.make_tunnel()
        self.sides = [Side(self, "a", 1), Side(self, "b", 2)]
        for side in self.sides:
            side.start()
        for side in self.sides:
            side.plug_in()
        if self.args.ike:
            self.sides[0].start_charon(self.sides[1])
            self.sides[1].start_charon(self.sides[0])
        for here, there in (self.sides, self.sides[::-1]):
            # with IKE the first packet between the sites is the traffic's: it brings the SAs
            source, target, what = (here.ns, there.plan["wan"], "gw") if self.args.ike else \
                (here.site, there.plan["site"], "site")
            wait_for(f"ping from {what}-{here.name} to {what}-{there.name}",
                     lambda s=source, t=target: s.run(
                         "ping", "-n", "-c", 1, "-W", 1, t, check=False).returncode == 0, START_S)

    def make_tunnel(self):
        """Fresh keys for both ends, by the gateway's own tool."""
        a, b = self.plan["a"], self.plan["b"]
        run(self.args.gw, "--make-tunnel", "--name", "demo", "--local", a["wan"],
            "--remote", b["wan"], "--local-net", a["net"], "--remote-net", b["net"],
            "--pairs", WORKERS, "--algo", self.args.algo, "--out-dir", self.directory,
            *(["--plain"] if self.args.plain_esp else []))

    def picture(self):
        """What there is, before the traffic."""
        a, b = self.plan["a"], self.plan["b"]
        side_a = f"{a['site']} --- {a['lan']} [gw-a] {a['wan']}"
        side_b = f"{b['wan']} [gw-b] {b['lan']} --- {b['site']}"
        methods = ", ".join(f"{side.methods()['wan']} (gw-{side.name})" for side in self.sides)
        sas = [f"    {side.name_and_sas(sa)}" for side in self.sides
               for sa in side.gateway.show("sa") if sa["dir"] == "out"]
        print(PICTURE.format(
            side_a=side_a, side_b=side_b, left=len(side_a), right=len(side_b),
            name_a="site-a", name_b="site-b", workers=WORKERS, sas="\n".join(sas),
            ike=f"    none yet: they come by IKE (strongSwan {self.swan.version}), the fallback "
                "with the\n    first packet, a worker's own with its first"
                if self.swan else "",
            what=f"{self.args.algo}, ESN, "
                 + ("plain ESP" if self.args.plain_esp else "in UDP, a port for each SA"),
            flows=self.args.flows, methods=methods, seconds=self.args.seconds,
            memory="hugepages" if self.hugepages else "no hugepages"), flush=True)

    def pass_traffic(self):
        """TCP both ways, with the table meanwhile. Returns bytes by direction."""
        a, b = self.sides
        if self.args.ike:
            self.table(0)
        traffic = [Traffic(self, a, b), Traffic(self, b, a)]
        began = time.monotonic()
        if self.args.ike:
            self.watch_sas_come(began)
        pause = 0.5 if sys.stdout.isatty() else 3.0
        give_up = began + self.args.seconds + 30
        learns_until = began + self.learning_s()
        self.end_start_up()
        while any(t.running() for t in traffic) and time.monotonic() < give_up:
            self.table(time.monotonic() - began)
            until = time.monotonic() + pause
            while any(t.running() for t in traffic) and time.monotonic() < until:
                time.sleep(0.1)
            if began < learns_until < time.monotonic():
                self.end_start_up()
                learns_until = began
        self.table(time.monotonic() - began)
        return [t.received() for t in traffic]

    def watch_sas_come(self, began):
        """The table at each change until all workers have SAs of their own: they get packets."""
        def spis():
            return [own_spis(side) for side in self.sides]

        seen = spis()
        while not all(set(range(WORKERS)) <= set(s) for s in seen):
            if time.monotonic() - began > START_S:
                raise Failed("not every worker got an SA of its own:\n"
                             + "\n".join(side.told_of_ike() for side in self.sides))
            time.sleep(0.05)
            if spis() != seen:
                seen = spis()
                self.table(time.monotonic() - began)

    def learning_s(self):
        """For how long SAs may still be on other workers than their packets, with traffic."""
        if all(side.methods()["wan"] in EXACT for side in self.sides):
            return 0.0
        return min(LEARN_S, self.args.seconds / 2)

    def end_start_up(self):
        """From now on it counts what is handed off."""
        for side in self.sides:
            side.base = side.landed()

    def table(self, elapsed):
        """Workers and SAs as they are now; in place on a terminal."""
        lines = [f"  {elapsed:5.1f} s  worker     Gbit/s in + out  own SA out   own SA in"
                 "  handed off  steered   CPU"]
        if self.args.ike:
            lines[0] += "  SPI out"
        for side in self.sides:
            sums = side.sums()
            spis = own_spis(side)
            for w in side.gateway.show("workers"):
                own = sums[w["id"]]
                cpu = w["cpu_percent"] or 0
                steered = percent(own["owned"], own["handed_off"])
                lines.append(
                    f"  gw-{side.name}     {w['id']:>6}  {w['rx_bps'] / 1e9:>9.2f}"
                    f" + {w['tx_bps'] / 1e9:<7.2f}{own['sa_out_packets']:>10}"
                    f"  {own['sa_in_packets']:>10}  {own['handed_off']:>10}"
                    f"  {'-' if steered is None else f'{steered:.1f}%':>7}  {cpu:>3.0f}%"
                    + (f"  {spis.get(w['id'], '(fallback)' if spis else '-')}"
                       if self.args.ike else ""))
        if sys.stdout.isatty() and self.drawn:
            print(f"\x1b[{self.drawn}A\x1b[J", end="")
        print("\n".join(lines), flush=True)
        self.drawn = len(lines)

    def interact(self):
        """Leave it running for somebody to look at."""
        print("\nThe gateways go on running. Their consoles, in another terminal:")
        for side in self.sides:
            print(f"  {self.args.gw} --attach --socket {side.gateway.socket_path}")
        print("A command in a site:  ip netns exec pcpu-site-a ping "
              f"{self.plan['b']['site']}\nEnter or Ctrl-C ends the demo.", flush=True)
        try:
            sys.stdin.readline()
        except KeyboardInterrupt:
            pass

    def stop(self, results):
        """End both gateways in order; their last words go into the results."""
        for side in self.sides:
            if side.charon is not None:
                side.charon.stop()
        for side, result in zip(self.sides, results):
            status = side.gateway.stop()
            if status != 0:
                raise Failed(f"gw-{side.name} ended with {status}:\n{side.gateway.log()}")
            result["mbufs_leaked"] = side.gateway.leaked()

    def run(self):
        """From nothing to the result."""
        self.build()
        self.picture()
        sent = self.pass_traffic()
        results = [side.result() for side in self.sides]
        if self.args.interactive:
            self.interact()
            results = [side.result() for side in self.sides]
        self.stop(results)
        return sent, results

    def close(self):
        """Leave nothing behind."""
        for side in self.sides:
            if side.charon is not None:
                side.charon.close()
            side.gateway.clean()
        netns.close_all()
        shutil.rmtree(self.directory, ignore_errors=True)


def problems(sent, results):
    """Why this is not a success, as sentences."""
    if not all(sent):
        yield "TCP did not pass both ways"
    if all(gw["steering"]["wan"] in EXACT for gw in results):
        for gw in results:
            if gw["handed_off"] > 0:
                yield (f"{gw['name']} handed {gw['handed_off']} ESP packets from worker to "
                       f"worker, though its wan is steered by \"{gw['steering']['wan']}\"")
    for gw in results:
        if gw["mbufs_leaked"] != 0:
            yield f"{gw['name']} leaked {gw['mbufs_leaked']} mbufs"
        for w in gw["workers"]:
            for what in ("sa_out_packets", "sa_in_packets"):
                if w[what] <= ENOUGH_PACKETS:
                    yield (f"worker {w['id']} of {gw['name']}: {what} is {w[what]}, not above "
                           f"{ENOUGH_PACKETS}: more --flows or --seconds")


def report(sent, results, seconds, why):
    """The result in words."""
    for direction, count in zip(("site-a -> site-b", "site-b -> site-a"), sent):
        print(f"  {direction}: {count / 1e6:.0f} MB of TCP, "
              f"{count * 8 / seconds / 1e9:.2f} Gbit/s")
    for gw in results:
        dropped = ", ".join(f"{k} {v}" for k, v in gw["drops"].items()) or "none"
        share = gw["efficiency_percent"]
        print(f"  {gw['name']}: steering: {gw['steering']['wan']}, after start-up "
              + ("no ESP" if share is None else f"{share:g} % of ESP landed on its SA's worker, "
                 f"{gw['handed_off']} packets were handed off"))
        print(f"  {gw['name']}: drops: {dropped}; mbufs leaked: {gw['mbufs_leaked']}")
    for sentence in why:
        print(f"  FAILED: {sentence}")


def last_line(word, **more):
    """The JSON object for programs."""
    print(json.dumps({"demo": word, **more}, separators=(",", ":")), flush=True)


def main():
    """Exit status: 0 for a success."""
    args = parse_args()
    netns.exit_on_signals()
    demo = None
    try:
        demo = Demo(args)
        sent, results = demo.run()
    except Failed as err:
        print(f"tools/demo: {err}", file=sys.stderr, flush=True)
        if demo is not None:
            demo.close()
        last_line("failed", reason=str(err).splitlines()[0])
        return 1
    except SystemExit as err:
        if demo is not None:
            demo.close()
        print()
        last_line("interrupted")
        return err.code
    finally:
        if demo is not None:
            demo.close()
    why = list(problems(sent, results))
    print()
    report(sent, results, args.seconds, why)
    last_line("failed" if why else "ok", tcp_bytes=sum(sent),
              handed_off=sum(gw["handed_off"] for gw in results), gateways=results)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
