#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the IKE tests: tests/ike/run.py --gw BINARY --plugin FILE [NAME...]

Two gateways, and a charon beside each, in network namespaces. The plugin is put among
charon's, where only a charon whose settings name it loads it. NAMEs are parts of test names.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.normpath(os.path.join(HERE, path))
                for path in (".", "../../tools/lib")]

import swan  # noqa: E402
import tap  # noqa: E402


def main():
    """Install the plugin, then tests."""
    parser = tap.arguments(__doc__)
    parser.add_argument("--plugin", required=True, help="libstrongswan-kernel-pcpu.so")
    args = parser.parse_args()
    found = swan.find()
    if found is None:
        sys.exit("there is no strongSwan: sudo tools/strongswan")
    swan.install_plugin(found, args.plugin)
    return tap.run(HERE, args)


if __name__ == "__main__":
    sys.exit(main())
