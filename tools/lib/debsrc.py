# SPDX-License-Identifier: BSD-3-Clause
"""Debian source packages, of this machine's suite or of another one.

The archive's address is asked of apt when it is wanted. A list of sources and a state
directory of our own are used, so what the machine gets its packages from stays as it is.
"""

import os
import re

from netns import run


class Unavailable(Exception):
    """The source package cannot be had here; the text says why."""


def archives():
    """(address, release, component) of all that apt gets packages of this system from."""
    fmt = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
    done = run("apt-get", "indextargets", "--format", fmt, "Created-By: Packages", check=False)
    if done.returncode != 0:
        raise Unavailable("no apt-get indextargets here")
    origin = system()
    found = {tuple(line.split()[:3]) for line in done.stdout.splitlines()
             if line.split()[3:4] and line.split()[3].lower() == origin}
    if not found:
        raise Unavailable("apt knows of no archive (no package lists: apt-get update)")
    return sorted(found)


def system():
    """Debian or one of its children, in a word of small letters."""
    return run("sh", "-c", ". /etc/os-release; echo $ID", check=False).stdout.strip()


def source_list(suite=None):
    """deb-src lines: of all that apt knows, or of another suite beside the one of its kind."""
    keys = f"/usr/share/keyrings/{system()}-archive-keyring.gpg"
    signed = f"[signed-by={keys}] " if os.path.exists(keys) else ""
    known = archives()
    if suite is None:
        return [f"deb-src {signed}{' '.join(a)}\n" for a in known]
    uri = next((uri for uri, release, _ in known
                if ("security" in release) == ("security" in suite)), known[0][0])
    return [f"deb-src {signed}{uri} {suite} main\n"]


def apt(directory, *argv, tool="apt-get"):
    """apt-get with a list of sources and state of its own; the system's stay as they are."""
    os.makedirs(os.path.join(directory, "lists", "partial"), exist_ok=True)
    options = {"Dir::Etc::sourcelist": os.path.join(directory, "sources.list"),
               "Dir::Etc::sourceparts": "-", "Dir::State::lists": os.path.join(directory, "lists"),
               "Dir::Cache::srcpkgcache": "", "Dir::Cache::pkgcache": "",
               "APT::Sandbox::User": "root", "APT::Update::Error-Mode": "any",
               # Release files of an archive's copy may be older than apt likes
               "Acquire::Check-Valid-Until": "false", "Acquire::Check-Date": "false",
               "Acquire::Retries": "1"}
    flags = [a for k, v in options.items() for a in ("-o", f"{k}={v}")]
    done = run(tool, "-q", *flags, *argv, check=False, timeout=600, cwd=directory)
    if done.returncode != 0:
        last = [line for line in done.stdout.splitlines() if line.startswith("E:")][-1:]
        raise Unavailable(f"{tool} {argv[0]}: {' '.join(last) or done.stdout[-300:].strip()}")
    return done.stdout


def fetch(directory, package, version=None, suite=None):
    """A source package, checked by apt against the signed index: its archive and version."""
    prepare(directory, suite)
    apt(directory, "source", "--download-only", package + (f"={version}" if version else ""))
    with open(_only(directory, r"\.dsc$"), encoding="utf-8") as f:
        version = re.search(r"^Version: (\S+)$", f.read(), re.M).group(1)
    return _only(directory, r"\.orig\.tar\.\w+$"), version


def fetch_archive(directory, package, suite=None, upstream=None):
    """Only upstream's archive, checked likewise, and upstream's version.

    A mirror may have lost what Debian adds to it for a version that it names.
    """
    prepare(directory, suite)
    known = re.findall(r"^Version: (?:\d+:)?(\S+)-[^-\s]+$",
                       apt(directory, "showsrc", package, tool="apt-cache"), re.M)
    if upstream is not None and upstream not in known:
        raise Unavailable(f"{package} {upstream} is not there, but {', '.join(known)}")
    upstream = upstream or known[0]
    full = next(v for v in re.findall(r"^Version: (\S+)$", apt(
        directory, "showsrc", package, tool="apt-cache"), re.M) if f"{upstream}-" in v)
    apt(directory, "source", "--download-only", "--tar-only", f"{package}={full}")
    return _only(directory, r"\.orig\.tar\.\w+$"), upstream


def prepare(directory, suite):
    """Lists of source packages."""
    with open(os.path.join(directory, "sources.list"), "w", encoding="utf-8") as f:
        f.writelines(source_list(suite))
    apt(directory, "update")


def patches(directory):
    """The archive with what Debian changes, if it is one."""
    return _only(directory, r"\.debian\.tar\.\w+$")


def _only(directory, pattern):
    names = [n for n in os.listdir(directory) if re.search(pattern, n)]
    if len(names) != 1:
        raise Unavailable(f"the source package has not one file {pattern}: {names}")
    return os.path.join(directory, names[0])
