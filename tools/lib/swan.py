# SPDX-License-Identifier: BSD-3-Clause
"""strongSwan for the gateway: a charon with per_cpu_sas, and the headers for its plugin.

Started by tools/strongswan ("get"), tools/ike-headers ("headers") and tools/demo ("plug-in");
tests and the demo use find() to know which charon there is.
"""

import argparse
import glob
import os
import re
import shutil
import sys
import tempfile
import typing

import debsrc
from netns import Failed, run

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFIX = "/opt/pcpu-swan"
PLUGIN = "libstrongswan-kernel-pcpu.so"
PER_CPU = (6, 0, 2)  # the first version with per_cpu_sas
SUITES = ("forky", "sid")  # of Debian, that have such a version
PACKAGES = ["charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins"]
# Without mediation the tables of charon's functions are others than in Debian's packages
FEATURES = ["systemd", "ikev2", "openssl", "random", "nonce", "pem", "x509", "pubkey", "pkcs1",
            "pkcs8", "kdf", "kernel-netlink", "socket-default", "vici", "swanctl", "constraints",
            "revocation", "mediation"]
BUILD_S = 1200


class Swan(typing.NamedTuple):
    """Where a strongSwan is."""
    version: str  # upstream's
    charon: str  # charon-systemd
    swanctl: str
    plugins: str  # the directory of its plugins
    snippets: str  # of its plugins' settings
    headers: str  # "": not here; for meson's ike_headers

    def has_per_cpu_sas(self):
        """Can it negotiate them?"""
        return numbers(self.version) >= PER_CPU


def numbers(version):
    """6.0.2 as a tuple."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"[-+~]", version)[0])[:3])


def upstream(version):
    """Of a package's version."""
    return re.sub(r"^\d+:", "", version).rsplit("-", 1)[0]


def headers_of(version):
    """The directory where tools/ike-headers puts them, if they are there."""
    path = os.path.join(TOP, "build", "ike-headers", version)
    return path if os.path.exists(os.path.join(path, "libcharon", "daemon.h")) else ""


def built(prefix=PREFIX):
    """What tools/strongswan built; None: nothing."""
    note = os.path.join(prefix, "version")
    if not os.path.exists(note):
        return None
    with open(note, encoding="ascii") as f:
        version = f.read().strip()
    return Swan(version, f"{prefix}/sbin/charon-systemd", f"{prefix}/sbin/swanctl",
                f"{prefix}/lib/ipsec/plugins", f"{etc(prefix)}/strongswan.d/charon",
                f"{prefix}/include/strongswan")


def etc(prefix):
    """Where its settings are."""
    return f"/etc/{os.path.basename(prefix)}"


def packaged():
    """The one of this system's packages; None: not installed."""
    done = run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "charon-systemd",
               check=False)
    if done.returncode != 0 or not done.stdout.startswith("installed "):
        return None
    version = upstream(done.stdout.split()[1])
    return Swan(version, "/usr/sbin/charon-systemd", "/usr/sbin/swanctl",
                "/usr/lib/ipsec/plugins", "/etc/strongswan.d/charon", headers_of(version))


def find():
    """The strongSwan to use: one with per_cpu_sas if there is one. None: there is none."""
    found = [swan for swan in (packaged(), built()) if swan is not None]
    return next((swan for swan in found if swan.has_per_cpu_sas()), found[0] if found else None)


def candidate():
    """The version that apt would install; None: it knows of none."""
    said = run("apt-cache", "policy", "charon-systemd", check=False).stdout
    found = re.search(r"Candidate: (\d\S*)", said)
    return upstream(found.group(1)) if found else None


# Headers

def copy_headers(tree, target):
    """All headers of a source tree that a plugin of charon includes."""
    for library in ("libstrongswan", "libcharon"):
        source = os.path.join(tree, "src", library)
        for where, _dirs, files in os.walk(source):
            if "/tests" in where or "/plugins/" in where:
                continue
            for name in files:
                if name.endswith(".h"):
                    to = os.path.join(target, library, os.path.relpath(where, source))
                    os.makedirs(to, exist_ok=True)
                    shutil.copy2(os.path.join(where, name), to)


def unpack(archive, directory):
    """A source archive; its one directory."""
    run("tar", "-xf", archive, "-C", directory, timeout=300)
    tops = glob.glob(os.path.join(directory, "strongswan-*", "src"))
    if len(tops) != 1:
        raise debsrc.Unavailable(f"{os.path.basename(archive)} holds no strongswan-VERSION/src")
    return os.path.dirname(tops[0])


def fetch_headers(version, suite, target):
    """Headers from a source package; returns where they are."""
    if version is None and suite is None:
        swan = packaged()
        version = swan.version if swan else candidate()
        if version is None:
            raise debsrc.Unavailable("neither dpkg nor apt knows of charon-systemd")
    if version and not target and headers_of(version):
        return headers_of(version)
    with tempfile.TemporaryDirectory(prefix="pcpu-swan-", dir="/var/tmp") as new:
        archive, found = fetch_version(new, version, suite)
        target = target or os.path.join(TOP, "build", "ike-headers", found)
        tree = unpack(archive, new)
        shutil.rmtree(os.path.join(target, "libcharon"), ignore_errors=True)
        shutil.rmtree(os.path.join(target, "libstrongswan"), ignore_errors=True)
        copy_headers(tree, target)
        with open(os.path.join(target, "version"), "w", encoding="ascii") as f:
            f.write(f"{found}\n")
    return target


def fetch_version(directory, version, suite):
    """The source archive of an upstream version: of a suite, or of any that may have it."""
    suites = [suite] if suite else [None, *SUITES] if version else [None]
    said = []
    for where in suites:
        try:
            archive, found = debsrc.fetch_archive(directory, "strongswan", where, version)
            return archive, found
        except debsrc.Unavailable as err:
            said.append(f"{where or 'where apt gets packages from'}: {err}")
    raise debsrc.Unavailable("; ".join(said))


# A charon of our own

def apply_patches(directory, tree):
    """What Debian changes of the C files (repairs); the rest is of its packaging."""
    try:
        packed = debsrc.patches(directory)
    except debsrc.Unavailable:
        return 0
    run("tar", "-xf", packed, "-C", directory)
    series = os.path.join(directory, "debian", "patches", "series")
    if not os.path.exists(series):
        return 0
    applied = 0
    with open(series, encoding="utf-8") as f:
        names = [line.split()[0] for line in f if line.strip() and not line.startswith("#")]
    for name in names:
        path = os.path.join(os.path.dirname(series), name)
        with open(path, encoding="utf-8", errors="replace") as f:
            files = re.findall(r"^\+\+\+ \S+?/(\S+)", f.read(), re.M)
        if files and all(re.match(r"src/.*\.[ch]$", n) for n in files):
            run("patch", "-s", "-p1", "-d", tree, "-i", path)
            applied += 1
    return applied


def build(prefix):
    """Fetch, configure, make, install; nothing is left but what is installed."""
    with tempfile.TemporaryDirectory(prefix="pcpu-swan-", dir="/var/tmp") as new:
        archive = version = None
        said = []
        for suite in SUITES:
            try:
                archive, version = debsrc.fetch(new, "strongswan", suite=suite)
                version = upstream(version)
                if numbers(version) >= PER_CPU:
                    break
                said.append(f"{suite}: it is {version}")
            except debsrc.Unavailable as err:
                said.append(f"{suite}: {err}")
            archive = None
        if archive is None:
            raise debsrc.Unavailable("; ".join(said))
        tree = unpack(archive, new)
        patches = apply_patches(new, tree)
        print(f"building strongSwan {version} of {suite}"
              f"{f', with {patches} repairs of Debian' if patches else ''}: "
              "about a minute and a half", flush=True)
        for argv in ((f"{tree}/configure", "-q", f"--prefix={prefix}",
                      f"--sysconfdir={etc(prefix)}",
                      f"--with-systemdsystemunitdir={prefix}/lib/systemd/system",
                      "--disable-defaults", *(f"--enable-{f}" for f in FEATURES)),
                     ("make", "-s", "-C", tree, f"-j{len(os.sched_getaffinity(0))}"),
                     ("make", "-s", "-C", tree, "install-strip")):
            done = run(*argv, check=False, timeout=BUILD_S, cwd=tree)
            if done.returncode != 0:
                raise Failed(f"{' '.join(argv[:4])}: exit {done.returncode}; its last lines:\n"
                             + "\n".join(done.stdout.splitlines()[-20:]))
        for path in glob.glob(f"{prefix}/lib/ipsec/**/*.la", recursive=True):
            os.unlink(path)
        shutil.rmtree(f"{prefix}/include", ignore_errors=True)
        copy_headers(tree, f"{prefix}/include/strongswan")
        with open(f"{prefix}/include/strongswan/version", "w", encoding="ascii") as f:
            f.write(f"{version}\n")
        with open(f"{prefix}/version", "w", encoding="ascii") as f:
            f.write(f"{version}\n")
    return built(prefix)


def get(args):
    """A strongSwan with per_cpu_sas, wherever from."""
    swan = None if args.build else packaged()
    if swan is None or not swan.has_per_cpu_sas():
        swan = built(args.prefix)
    if swan is None and not args.build:
        version = candidate()
        if version is not None and numbers(version) >= PER_CPU:
            print(f"installing the packages of strongSwan {version}", flush=True)
            run("apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300", "install",
                "--no-install-recommends", *PACKAGES, timeout=600,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
            swan = packaged()
        else:
            print(f"the package is {version or 'unknown to apt'}; per_cpu_sas needs "
                  f"{'.'.join(map(str, PER_CPU))}", flush=True)
    if swan is None:
        swan = build(args.prefix)
    if not swan.headers:
        swan = swan._replace(headers=fetch_headers(swan.version, None, None))
    print(f"strongSwan {swan.version}: {swan.charon}, {swan.swanctl}\n"
          f"  its plugins:  {swan.plugins}\n  its settings: {swan.snippets}\n"
          f"  its headers:  {swan.headers}\n"
          f"the gateway's plugin for it: meson configure BUILD -Dike=enabled "
          f"-Dike_headers={swan.headers}\n  -Dike_plugin_dir={swan.plugins} "
          f"-Dike_conf_dir={swan.snippets}")


# The gateway's plugin

def install_plugin(swan, path):
    """Put the plugin where charon looks for it; a charon that runs keeps the one that it has."""
    target = os.path.join(swan.plugins, PLUGIN)
    shutil.copy2(path, f"{target}.new")
    os.replace(f"{target}.new", target)


def plug_in(build):
    """Build the plugin in a build directory of meson's, for the charon that there is."""
    swan = find()
    if swan is None or not swan.headers:
        raise debsrc.Unavailable("there is no strongSwan with headers here: sudo tools/strongswan")
    run("meson", "configure", build, "-Dike=enabled", f"-Dike_headers={swan.headers}")
    done = run("ninja", "-C", build, f"ike/{PLUGIN}", check=False, timeout=BUILD_S)
    if done.returncode != 0:
        raise Failed("the plugin does not build:\n" + "\n".join(done.stdout.splitlines()[-20:]))
    install_plugin(swan, os.path.join(build, "ike", PLUGIN))


def main():
    """Of both tools."""
    parser = argparse.ArgumentParser(prog="swan.py")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("get")
    one.add_argument("--build", action="store_true")
    one.add_argument("--prefix", default=PREFIX)
    two = commands.add_parser("headers")
    two.add_argument("version", nargs="?")
    two.add_argument("--suite")
    two.add_argument("--dir")
    commands.add_parser("plug-in").add_argument("build")
    args = parser.parse_args()
    try:
        if args.command == "get":
            if not re.fullmatch(r"(/[\w.+-]+)+", args.prefix):
                parser.error("--prefix is an absolute path")
            get(args)
        elif args.command == "plug-in":
            plug_in(args.build)
        else:
            print(fetch_headers(args.version, args.suite, args.dir))
    except (debsrc.Unavailable, Failed) as err:
        tool = "tools/ike-headers" if args.command == "headers" else "tools/strongswan"
        sys.exit(f"{tool}: {err}")


if __name__ == "__main__":
    main()
