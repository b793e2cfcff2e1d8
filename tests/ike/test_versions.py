# SPDX-License-Identifier: BSD-3-Clause
"""One source of the plugin for all versions of strongSwan: does it compile with their headers?"""

import glob
import os
import subprocess
import unittest

import debsrc
import swan

PACKAGES = {  # of Debian 12 and 13, where an archive's copy may have it
    "5.9.8": ("bookworm", "bookworm-security"),
    "6.0.1": ("trixie", "trixie-security"),
}
IKE = os.path.join(swan.TOP, "ike")


class Versions(unittest.TestCase):
    """Without warnings."""

    def compile(self, version, headers):
        """All files, with what ike/meson.build gives the compiler."""
        for source in sorted(glob.glob(os.path.join(IKE, "*.c"))):
            done = subprocess.run(
                ["cc", "-fsyntax-only", "-std=gnu11", "-D_GNU_SOURCE",
                 "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                 "-Wno-missing-field-initializers",
                 "-include", os.path.join(IKE, "config.h"), f'-DVERSION="{version}"',
                 "-isystem", os.path.join(headers, "libstrongswan"),
                 "-isystem", os.path.join(headers, "libcharon"),
                 "-I", os.path.join(swan.TOP, "app", "front"), source],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_this(self):
        """The version that the other tests run with."""
        found = swan.find()
        self.compile(found.version, found.headers)

    def headers_of(self, version):
        """Of a package, or a reason to skip."""
        said = []
        for suite in PACKAGES[version]:
            try:
                return swan.fetch_headers(version, suite, None)
            except debsrc.Unavailable as err:
                said.append(f"{suite}: {err}")
        return self.skipTest("; ".join(said))

    def compile_package(self, version):
        """One that knows no CPUs."""
        headers = self.headers_of(version)
        with open(os.path.join(headers, "libstrongswan", "ipsec", "ipsec_types.h"),
                  encoding="utf-8") as f:
            self.assertNotIn("CPU_ID_MAX", f.read())
        self.compile(version, headers)

    def test_debian_12(self):
        """Its package, the oldest."""
        self.compile_package("5.9.8")

    def test_debian_13(self):
        """Its package."""
        self.compile_package("6.0.1")
