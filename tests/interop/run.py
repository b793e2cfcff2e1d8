#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the interop tests: tests/interop/run.py --gw BINARY --image DIRECTORY [NAME...]

The gateway against a real Linux kernel. The guest's image is in the DIRECTORY,
and is built into it where it is not. NAMEs are parts of test names.
"""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.normpath(os.path.join(HERE, path))
                for path in (".", "guest", "../func", "../../tools/lib")]

import image  # noqa: E402
import swan  # noqa: E402
import tap  # noqa: E402


def say(text):
    """A line that is no result."""
    print(f"# {text}", flush=True)


def prepare(directory):
    """The image; without one, every test says why it was skipped."""
    import lab  # which wants to know the binary

    began = time.monotonic()
    try:
        lab.GUESTS.image = image.build(directory, say)
        say(f"the guest: Linux {lab.GUESTS.image.release} ({time.monotonic() - began:.0f} s)")
    except image.Missing as err:
        lab.GUESTS.why_not = str(err)
        say(str(err))


def main():
    """Image, then tests."""
    parser = tap.arguments(__doc__)
    parser.add_argument("--image", required=True, help="the directory of the guest's image")
    parser.add_argument("--plugin", help="libstrongswan-kernel-pcpu.so; without: no tests with IKE")
    args = parser.parse_args()
    found = swan.find()
    if args.plugin and found is not None:
        swan.install_plugin(found, args.plugin)
    return tap.run(HERE, args, lambda: prepare(args.image))


if __name__ == "__main__":
    sys.exit(main())
