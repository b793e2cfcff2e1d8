#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the functional tests: tests/func/run.py --gw BINARY [NAME...]

NAMEs are parts of test names: "esp", "test_esp.Algorithms", "wrong_queue".
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tools", "lib")]

import tap  # noqa: E402

if __name__ == "__main__":
    sys.exit(tap.run(HERE, tap.arguments(__doc__).parse_args()))
