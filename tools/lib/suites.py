# SPDX-License-Identifier: BSD-3-Clause
"""All test suites: build what they need, run them, count single tests.

Started by tools/test, which sees to packages. The last line is
"N passed, N failed, N skipped"; the exit status is 0 if none failed.
"""

import concurrent.futures
import dataclasses
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import swan

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
TAP = re.compile(r"^(ok|not ok)\b(.*)$", re.M)
FUZZ_SECONDS = 10
BUILD_S = 900
INTEROP_S = 1200
IKE_S = 900

# build directory under build/: meson's options
BUILDS = {
    "release": ["--buildtype=release", "-Dwerror=true"],
    # warnings are the release build's: sanitizers make gcc see overflows that are none
    "asan": ["--buildtype=debugoptimized", "-Db_sanitize=address,undefined",
             "-Downer_asserts=true", "-Dike=disabled"],
    "fuzz": ["--buildtype=debugoptimized", "-Dtests=true", "-Dfuzz=true",
             "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dike=disabled"],
    "perf": ["--buildtype=release", "-Dbench=true", "-Dike=disabled"],
}
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "LSAN_OPTIONS": "print_suppressions=0:suppressions="
                    + os.path.join(TOP, "tools/lib/lsan.supp"),
}


@dataclasses.dataclass
class Tally:
    """Single tests."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        """Another one's."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def count_tap(text):
    """The results in TAP output."""
    tally = Tally()
    for word, rest in TAP.findall(text):
        if word == "not ok":
            tally.failed += 1
        elif re.search(r"#\s*skip\b", rest, re.I):
            tally.skipped += 1
        else:
            tally.passed += 1
    return tally


def say(text):
    """A line, at once."""
    print(text, flush=True)


def run(argv, seconds, env=None, show=False):
    """Run a command with a time limit on all that it starts. Returns (exit status, output).

    None stands for the status of one that was too slow.
    """
    began = time.monotonic()
    with subprocess.Popen(argv, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True,
                          env={**os.environ, **(env or {})}) as process:
        output = []
        os.set_blocking(process.stdout.fileno(), False)
        try:
            while True:
                ended = process.poll() is not None
                data = process.stdout.read()
                if data:
                    output.append(data)
                    if show:
                        sys.stdout.write(data.decode(errors="replace"))
                        sys.stdout.flush()
                elif ended:
                    break
                elif time.monotonic() - began > seconds:
                    end_session(process)
                    return None, b"".join(output).decode(errors="replace")
                else:
                    time.sleep(0.05)
        except BaseException:
            end_session(process)
            raise
    return process.returncode, b"".join(output).decode(errors="replace")


def end_session(process):
    """Ask, wait for its cleaning up, insist."""
    for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


class BuildFailed(Exception):
    """Of one of BUILDS."""


class Builds:
    """Build directories, each made once."""

    def __init__(self):
        self.made = set()

    def get(self, kind):
        """The directory of a build that is up to date."""
        path = os.path.join(TOP, "build", kind)
        if kind in self.made:
            return path
        say(f"== build/{kind}")
        began = time.monotonic()
        self.set_up(path, kind)
        self.step(["ninja", "-C", path, *(fuzz_targets() if kind == "fuzz" else [])])
        say(f"   {time.monotonic() - began:.0f} s")
        self.made.add(kind)
        return path

    def set_up(self, path, kind):
        """Once; and again where the options of an older directory were others."""
        note = os.path.join(path, "options")
        options = " ".join(BUILDS[kind])
        if os.path.exists(note):
            with open(note, encoding="utf-8") as f:
                if f.read() == options:
                    return
        shutil.rmtree(path, ignore_errors=True)
        self.step(["meson", "setup", *BUILDS[kind], path, TOP],
                  {"CC": "clang"} if kind == "fuzz" else None)
        with open(note, "w", encoding="utf-8") as f:
            f.write(options)

    @staticmethod
    def step(argv, env=None):
        """A command that must go well."""
        status, output = run(argv, BUILD_S, env)
        if status != 0:
            say(last_lines(output, 60))
            raise BuildFailed(" ".join(argv))


def outcome(status, tally, seconds):
    """A command that failed, or said nothing, is a failed test even where no line says so."""
    if status is None:
        say(f"   not done within {seconds} s: ended")
    if (status != 0 and tally.failed == 0) or (status == 0 and tally == Tally()):
        tally.failed += 1
    return tally


def run_meson(builds, kind, suite, seconds):
    """A suite of meson's in one build; its tests' single results are in the log."""
    path = builds.get(kind)
    say(f"== {suite} ({kind})")
    log = os.path.join(path, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    status, output = run(["meson", "test", "-C", path, "--no-rebuild", "--suite", suite], seconds,
                         SANITIZERS if kind == "asan" else None)
    tally = Tally()
    if os.path.exists(log):
        with open(log, encoding="utf-8") as f:
            for line in f:
                tally.add(meson_test(json.loads(line)))
    if tally == Tally():
        say(output)
    return outcome(status, tally, seconds)


def meson_test(test):
    """One program of a meson suite."""
    text = test.get("stdout", "")
    tally = count_tap(text)
    good = test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
    if tally == Tally():
        tally = Tally(passed=1) if test["result"] == "OK" else \
            Tally(skipped=1) if good else Tally(failed=1)
    elif not good and tally.failed == 0:
        tally.failed += 1
    name = test["name"].split(" / ")[-1]
    say(f"   {'ok    ' if good else 'FAILED'} {name}: {tally} ({test['duration']:.1f} s)")
    if not good:
        say(last_lines(text, 60))
        say(last_lines(test.get("stderr", ""), 40))
    return tally


def last_lines(text, count):
    """What usually says why."""
    return "\n".join(text.splitlines()[-count:])


def run_tap(title, argv, seconds, env=None):
    """A program that prints TAP."""
    say(f"== {title}")
    status, output = run(argv, seconds, env, show=True)
    return outcome(status, count_tap(output), seconds)


def unit(builds):
    """tests/unit, as it is and with sanitizers."""
    yield run_meson(builds, "release", "unit", 120)
    yield run_meson(builds, "asan", "unit", 240)


def eal(builds):
    """tests/eal, likewise."""
    yield run_meson(builds, "release", "eal", 400)
    yield run_meson(builds, "asan", "eal", 600)


def hot(builds):
    """tools/check-hot: no lock in the packet path, no DPDK library in the unit tests."""
    path = builds.get("release")
    say("== hot")
    status, output = run([PYTHON, os.path.join(TOP, "tools/check-hot"), path], 120)
    if status != 0:
        say(output)
    yield Tally(passed=1) if status == 0 else Tally(failed=1)


def lint(builds):
    """tools/lint."""
    binary = os.path.join(builds.get("release"), "app", "dpdk-pcpu-gw")
    yield run_tap("lint", [PYTHON, os.path.join(TOP, "tools/lint"), binary], 120)


def func(builds):
    """tests/func, with sanitizers; ike and interop run the program as it is released."""
    binary = os.path.join(builds.get("asan"), "app", "dpdk-pcpu-gw")
    # tests look at how memory grows: what is freed is not kept for long
    keep_little = ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    yield run_tap("func (asan)", [PYTHON, "-B", os.path.join(TOP, "tests/func/run.py"),
                                  "--gw", binary], 600,
                  SANITIZERS | {"ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + keep_little})


def must_run(suite, tally, remedy):
    """What could not run for want of something: in CI (.ci/run sets CI=true) that is a failure."""
    if tally.skipped and os.environ.get("CI") == "true":
        say(f"{suite}: {tally.skipped} could not run, which with CI=true is a failure: {remedy}")
        return Tally(tally.passed, tally.failed + tally.skipped)
    return tally


def charon_plugin(builds):
    """ike/, built for the strongSwan that is here; None where there is none, as it says then."""
    path = builds.get("release")
    found = swan.find()
    if found is None or not found.has_per_cpu_sas() or not found.headers:
        say("== no strongSwan with per_cpu_sas and its headers here: sudo tools/strongswan")
        return None
    builds.step(["meson", "configure", path, "-Dike=enabled", f"-Dike_headers={found.headers}"])
    builds.step(["ninja", "-C", path])
    return os.path.join(path, "ike", "libstrongswan-kernel-pcpu.so")


def ike(builds):
    """tests/ike: two gateways, two charons; of tools/strongswan or of the packages."""
    plugin = charon_plugin(builds)
    if plugin is None:
        yield must_run("ike", Tally(skipped=1), "sudo tools/strongswan, and see what it says")
        return
    binary = os.path.join(builds.get("release"), "app", "dpdk-pcpu-gw")
    yield run_tap("ike", [PYTHON, "-B", os.path.join(TOP, "tests/ike/run.py"),
                          "--gw", binary, "--plugin", plugin], IKE_S)


def interop(builds):
    """tests/interop: a Linux guest in qemu for a peer; its image is kept in build/."""
    plugin = charon_plugin(builds)  # without: tests with IKE are skipped
    binary = os.path.join(builds.get("release"), "app", "dpdk-pcpu-gw")
    tally = run_tap("interop", [PYTHON, "-B", os.path.join(TOP, "tests/interop/run.py"),
                                "--gw", binary, "--image", os.path.join(TOP, "build", "interop"),
                                *(["--plugin", plugin] if plugin else [])],
                    INTEROP_S)
    yield must_run("interop", tally, "the lines with SKIP above say why; "
                   "sudo tools/setup interop, sudo tools/strongswan")


def fuzz_targets():
    """Of the fuzz build nothing else is wanted."""
    return sorted(os.path.relpath(source, TOP)[:-2]
                  for source in glob.glob(os.path.join(TOP, "tests/fuzz/fuzz_*.c")))


def fuzz(builds):
    """Each target for a few seconds, from its corpus."""
    if not os.path.exists(os.path.join(TOP, "tests/fuzz/meson.build")):
        yield absent("fuzz", "tests/fuzz/meson.build")
        return
    path = builds.get("fuzz")
    status, output = run([PYTHON, "-B", os.path.join(TOP, "tests/fuzz/seeds.py"), "--check"], 60)
    say(f"== fuzz: {'ok' if status == 0 else 'not ok'} seeds")
    if status != 0:
        say(last_lines(output, 60))
    yield Tally(passed=1) if status == 0 else Tally(failed=1)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda target: fuzz_target(path, os.path.join(path, target)),
                            fuzz_targets())


def fuzz_target(path, target):
    """One of them. What it finds new stays in the build directory."""
    name = os.path.basename(target)
    found = os.path.join(path, f"corpus-{name}")
    os.makedirs(found, exist_ok=True)
    corpus = os.path.join(TOP, "tests/fuzz", name.replace("fuzz_", "corpus_"))
    status, output = run([target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=5",
                          f"-artifact_prefix={found}/", "-print_final_stats=1", found,
                          *([corpus] if os.path.isdir(corpus) else [])],
                         FUZZ_SECONDS + 60, SANITIZERS)
    runs = re.search(r"number_of_executed_units: (\d+)", output)
    say(f"== fuzz: {'ok' if status == 0 else 'not ok'} {name} "
        f"({runs.group(1) if runs else 'no'} runs in {FUZZ_SECONDS} s)")
    if status != 0:
        say(last_lines(output, 60))
    return Tally(passed=1) if status == 0 else Tally(failed=1)


def perf(_builds):
    """tools/bench: figures, not a verdict."""
    bench = os.path.join(TOP, "tools/bench")
    if not os.path.exists(bench):
        yield absent("perf", "tools/bench")
        return
    say("== perf")
    status, _ = run([bench], 900, show=True)
    yield Tally(passed=1) if status == 0 else Tally(failed=1)


def absent(suite, path):
    """A suite that this tree does not have."""
    say(f"== {suite}: this tree has no such suite ({path} is not there)")
    return Tally(skipped=1)


SUITES = {"lint": lint, "unit": unit, "eal": eal, "hot": hot, "func": func, "ike": ike,
          "interop": interop, "fuzz": fuzz, "perf": perf}
BY_DEFAULT = ["lint", "unit", "eal", "hot", "func", "ike", "interop", "fuzz"]


def main():
    """Run the suites named, or those of BY_DEFAULT."""
    names = sys.argv[1:] or BY_DEFAULT
    builds = Builds()
    total = Tally()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _f: sys.exit(128 + n))
    try:
        for name in names:
            began = time.monotonic()
            tally = Tally()
            try:
                for part in SUITES[name](builds):
                    tally.add(part)
            except BuildFailed as err:
                say(f"{name}: the build failed: {err}")
                tally.failed += 1
            say(f"   {name}: {tally} ({time.monotonic() - began:.0f} s)")
            total.add(tally)
    except KeyboardInterrupt:
        say("interrupted")
        total.failed += 1
    say(str(total))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
