# SPDX-License-Identifier: BSD-3-Clause
"""Run unittest's tests as TAP: what tests/func/run.py and tests/interop/run.py have in common.

Each test is a line "ok NUMBER - NAME", "not ok ..." or "ok ... # SKIP REASON".
"""

import argparse
import os
import sys
import time
import unittest

import netns


class Tap(unittest.TestResult):
    """Results as lines that tools/test counts."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.began = time.monotonic()

    def _line(self, word, test, note=""):
        self.number += 1
        name = test.id() if hasattr(test, "id") else str(test)
        took = time.monotonic() - self.began
        print(f"{word} {self.number} - {name} ({took:.2f} s){note}", flush=True)
        self.began = time.monotonic()  # of a class's set-up, which nobody tells us of

    def _diagnostics(self, err, test):
        for line in self._exc_info_to_string(err, test).rstrip().splitlines():
            print(f"# {line}", flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("not ok", test)
        self._diagnostics(err, test)

    def addError(self, test, err):
        super().addError(test, err)
        self._line("not ok", test)
        self._diagnostics(err, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("ok", test, f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line("not ok", subtest)
            self._diagnostics(err, test)


def each(suite):
    """The tests of nested suites."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each(item)
        else:
            yield item


def chosen(suite, names):
    """Those whose names hold one of these, and files that cannot be loaded."""
    return unittest.TestSuite(t for t in each(suite)
                              if not names or any(n in t.id() for n in [*names, "_FailedTest"]))


def arguments(doc):
    """The parser of a runner's arguments; doc is its docstring."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--gw", required=True, help="the dpdk-pcpu-gw binary")
    parser.add_argument("--list", action="store_true", help="only say which tests there are")
    parser.add_argument("names", nargs="*", help="parts of the names of tests to run")
    return parser


def run(here, args, prepare=None):
    """Find the tests of a directory, choose, run. Returns the exit status.

    prepare is called before the first test, where one is to run.
    """
    os.environ["PCPU_GW"] = os.path.abspath(args.gw)
    if os.geteuid() != 0:
        sys.exit(f"{sys.argv[0]}: run it as root: it makes network namespaces")
    netns.exit_on_signals(KeyboardInterrupt)  # unittest takes SystemExit for a failed test
    suite = chosen(unittest.defaultTestLoader.discover(here, "test_*.py"), args.names)
    if args.list:
        print("\n".join(t.id() for t in each(suite)))
        return 0
    result = Tap()
    try:
        if prepare is not None:
            prepare()
        suite.run(result)
    except KeyboardInterrupt:
        print("Bail out! ended by a signal", flush=True)
        return 130
    print(f"1..{result.number}")
    return 0 if result.wasSuccessful() and result.number else 1
