# SPDX-License-Identifier: BSD-3-Clause
"""The guest's kernel and its initramfs, built from packages of a newer Debian.

Nothing of that Debian is installed on this machine: its packages are unpacked
into a directory, and what the guest needs is copied out of it into an archive of
some 50 MB. A built image is kept, and built anew when what it is made of changes.
"""

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import typing

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE = "forky"  # the first with iproute2 that knows pcpu-num, and a kernel that has it
PACKAGES = [
    "?name(^linux-binary-[0-9].*-cloud-amd64$)", "?name(^linux-modules-[0-9].*-cloud-amd64$)",
    "busybox-static", "dash", "iproute2", "ethtool", "perl-base", "python3-minimal",
    "charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins",
]
PROGRAMS = ["usr/bin/dash", "usr/bin/busybox", "usr/bin/ip", "usr/sbin/ethtool",
            "usr/bin/perl", "usr/bin/python3", "usr/sbin/charon-systemd", "usr/sbin/swanctl"]
# of charon; OpenSSL has all the cryptography that IKE needs
CHARON_PLUGINS = ["random", "nonce", "openssl", "pem", "pubkey", "x509", "kernel-netlink",
                  "socket-default", "vici"]
MODULES = ["virtio_net", "xfrm_user", "esp4", "esp6", "ctr", "gcm", "chacha", "chacha20poly1305",
           "seqiv", "echainiv", "dummy", "veth",
           "tun", "uio_pci_generic"]  # for a gateway in the guest: nic.py
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "/usr/lib64/ld-linux-x86-64.so.2"
HOST_PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "cpio", "zstd")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
FETCH_S = 300


class Image(typing.NamedTuple):
    """Paths of the two files, and what the kernel calls itself."""
    kernel: str
    initramfs: str
    release: str


class Missing(Exception):
    """The image cannot be had on this machine; the text says why: skip, do not fail."""


def run(argv, seconds=120, **kwargs):
    """Run a command that must go well; returns its output."""
    done = subprocess.run(argv, stdin=kwargs.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds, check=False, **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n"
                           f"{done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def archive():
    """Where apt gets this machine's Debian from: the other suite is next to it."""
    for entry in run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(SUITE) "
                      "$(REPO_URI)", "Created-By: Packages"]).decode().splitlines():
        origin, component, suite, uri = entry.split(" ", 3)
        if origin == "Debian" and component == "main" and "security" not in suite:
            return uri
    raise Missing("apt knows no archive of Debian to get the guest's packages from "
                  "(apt-get update; apt-get indextargets)")


def unpack(root):
    """The packages, into a directory."""
    # Release files of an archive's copy may be older than apt likes
    options = [f'--aptopt=Acquire::{name} "false"' for name in ("Check-Valid-Until", "Check-Date")]
    try:
        run(["mmdebstrap", "--quiet", "--variant=extract", "--mode=root", *options,
             *(f"--include={p}" for p in PACKAGES), SUITE, root, archive()], FETCH_S)
    except (RuntimeError, subprocess.TimeoutExpired) as err:
        raise Missing(f"the packages of {SUITE} cannot be had: {err}") from err
    for name in ("bin", "sbin", "lib", "lib64"):
        if not os.path.lexists(os.path.join(root, name)):
            os.symlink(f"usr/{name}", os.path.join(root, name))


def kernel_directory(root):
    """Of the one kernel in there; from the root on."""
    versions = os.listdir(os.path.join(root, "usr/lib/modules"))
    if len(versions) != 1:
        raise Missing(f"{SUITE} has {len(versions)} kernels that fit, not one: {versions}")
    return os.path.join("usr/lib/modules", versions[0])


def extract_kernel(root, target):
    """The uncompressed kernel: qemu starts it at once, without the loader's seconds."""
    with open(os.path.join(root, kernel_directory(root), "vmlinuz"), "rb") as f:
        data = f.read()
    at = data.find(ZSTD_MAGIC)
    if at < 0:
        raise Missing("the guest's kernel is not compressed with zstd any more")
    # what follows the compressed part makes zstd complain at the end
    done = subprocess.run(["zstd", "-dcq"], input=data[at:], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=120, check=False)
    if not done.stdout.startswith(b"\x7fELF"):
        raise Missing("the guest's kernel holds no ELF file")
    with open(target, "wb") as f:
        f.write(done.stdout)


class Stage:
    """What goes into the initramfs, as a directory."""

    def __init__(self, root, path):
        self.root = root
        self.path = path
        for name in ("bin", "sbin", "lib", "lib64"):
            os.makedirs(os.path.join(path, "usr", name), exist_ok=True)
            os.symlink(f"usr/{name}", os.path.join(path, name))
        for name in ("dev", "proc", "sys", "run", "tmp", "root", "etc", "busybox", "modules",
                     LIBRARIES):
            os.makedirs(os.path.join(path, name), exist_ok=True)

    def copy(self, name):
        """A file with what its links lead to, and the libraries of a program."""
        name = os.path.relpath(os.path.realpath(os.path.join(self.root, name)), self.root)
        target = os.path.join(self.path, name)
        if os.path.exists(target):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(self.root, name), target)
        with open(target, "rb") as f:
            is_elf = f.read(4) == b"\x7fELF"
        if is_elf:
            self.libraries(name)

    def libraries(self, name):
        """As the guest's own loader finds them."""
        done = subprocess.run(["chroot", self.root, LOADER, "--list", f"/{name}"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=30, check=False)
        # a program that is linked statically has none, and says so by its status
        for found in re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout.decode()):
            self.soname(found.lstrip("/"))

    def soname(self, name):
        """A library under the name that programs ask for, which is often a link."""
        self.copy(name)
        real = os.path.relpath(os.path.realpath(os.path.join(self.root, name)), self.root)
        if not os.path.lexists(os.path.join(self.path, name)):
            self.link(name, f"/{real}")

    def link(self, name, target):
        """A link with this content."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)


def copy_python(stage):
    """Its modules; those written in C if they need no library that we leave out."""
    directory = os.path.dirname(os.path.realpath(os.path.join(stage.root, "usr/bin/python3")))
    version = os.path.basename(os.path.realpath(os.path.join(directory, "python3")))
    top = os.path.join("usr/lib", version)
    for where, _dirs, files in os.walk(os.path.join(stage.root, top)):
        for name in files:
            path = os.path.relpath(os.path.join(where, name), stage.root)
            if os.path.islink(os.path.join(where, name)):
                continue  # to what is set up when a package is installed
            if name.endswith(".py") or (name.endswith(".so") and "ssl" not in name
                                        and "hashlib" not in name):
                stage.copy(path)
    stage.link("usr/bin/python3", version)
    os.makedirs(os.path.join(stage.path, top, "lib-dynload"), exist_ok=True)  # it looks for it
    # no time for that under emulation
    run(["chroot", stage.path, "/usr/bin/python3", "-m", "compileall", "-q", f"/{top}"], 300)


def find_modules(directory):
    """File names of all modules, by their names."""
    found = {}
    for where, _dirs, files in os.walk(directory):
        for name in files:
            if ".ko" in name:
                found[name.split(".ko")[0].replace("-", "_")] = os.path.join(where, name)
    return found


def read_module(path):
    """Its bytes, uncompressed: the guest has no time, and busybox no xz."""
    with open(path, "rb") as f:
        data = f.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def copy_modules(stage, wanted):
    """Modules and what they need, in /modules, with numbers in their names for the order."""
    found = find_modules(os.path.join(stage.root, kernel_directory(stage.root)))
    done = []

    def add(name, optional=False):
        name = name.replace("-", "_")
        if name in done:
            return
        if name not in found:
            if optional:
                return  # part of the kernel itself
            raise Missing(f"the guest's kernel has no module {name}")
        data = read_module(found[name])
        for needed in re.search(rb"\0depends=([^\0]*)\0", data).group(1).decode().split(","):
            if needed:
                add(needed)
        with open(os.path.join(stage.path, f"modules/{len(done):02d}-{name}.ko"), "wb") as f:
            f.write(data)
        done.append(name)

    for name in wanted:
        add(name, optional=True)


def copy_own(stage):
    """The guest's side of the suite."""
    for name in ("init", "agent.py"):
        target = os.path.join(stage.path, name)
        shutil.copyfile(os.path.join(HERE, "guest", name), target)
        os.chmod(target, 0o755)


def pack(directory, target):
    """An archive that the kernel unpacks."""
    names = []
    for where, dirs, files in os.walk(directory):
        names += [os.path.relpath(os.path.join(where, n), directory) for n in sorted(dirs + files)]
    done = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=directory,
                          input="\n".join(sorted(names)).encode(), stdout=subprocess.PIPE,
                          timeout=120, check=True)
    with open(target, "wb") as f:
        f.write(done.stdout)


def recipe():
    """A number for all that an image is made of, but for the archive's packages."""
    digest = hashlib.sha256()
    for name in ("image.py", "guest/init", "guest/agent.py"):
        with open(os.path.join(HERE, name), "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


def build(directory, say):
    """Kernel and initramfs in a directory: made, or there from the last time.

    Missing says why there is none.
    """
    for program in HOST_PROGRAMS:
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed: tools/setup interop")
    paths = [os.path.join(directory, name) for name in ("vmlinux", "initramfs", "release")]
    note = os.path.join(directory, "recipe")
    if not os.path.exists(note) or _read(note) != recipe():
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        say("building the guest's image")
        _make(directory, paths)
        with open(note, "w", encoding="ascii") as f:
            f.write(recipe())
    return Image(paths[0], paths[1], _read(paths[2]))


def _read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def _make(directory, paths):
    root, stage_path = (os.path.join(directory, name) for name in ("root", "stage"))
    unpack(root)
    stage = Stage(root, stage_path)
    extract_kernel(root, paths[0])
    for name in PROGRAMS + [f"usr/lib/ipsec/plugins/libstrongswan-{p}.so"
                            for p in CHARON_PLUGINS]:
        stage.copy(name)
    stage.copy(os.path.join(LIBRARIES, "libgcc_s.so.1"))  # which threads load when they end
    stage.soname(LOADER.lstrip("/"))
    stage.link("usr/bin/sh", "dash")
    copy_python(stage)
    copy_modules(stage, MODULES)
    copy_own(stage)
    pack(stage_path, paths[1])
    with open(paths[2], "w", encoding="ascii") as f:
        f.write(os.path.basename(kernel_directory(root)))
    for path in (root, stage_path):
        shutil.rmtree(path)
