# SPDX-License-Identifier: BSD-3-Clause
"""tools/test: a suite with IKE that cannot run is no success of a CI's."""

import os
import unittest
from unittest import mock

import suites


class MustRun(unittest.TestCase):
    """What tools/lib/suites.py makes of a machine without strongSwan, and without a guest."""

    def tally(self, suite, ci, ran=None):
        """Of a suite on such a machine, and what it said."""
        said = []
        with mock.patch.dict(os.environ, {"CI": ci}), \
                mock.patch.object(suites, "say", said.append), \
                mock.patch.object(suites, "charon_plugin", return_value=None), \
                mock.patch.object(suites, "run_tap", return_value=ran):
            parts = list(suites.SUITES[suite](mock.Mock(get=lambda kind: kind)))
        self.assertEqual(len(parts), 1)
        return str(parts[0]), said

    def test_by_hand(self):
        """Skipped: who has no strongSwan can run all else."""
        self.assertEqual(self.tally("ike", ""), ("0 passed, 0 failed, 1 skipped", []))
        some = suites.Tally(passed=3, skipped=2)
        self.assertEqual(self.tally("interop", "", some), ("3 passed, 0 failed, 2 skipped", []))

    def test_ci(self):
        """Failed, and one line says what to do."""
        some = suites.Tally(passed=3, skipped=2)
        for suite, ran, want in (("ike", None, "0 passed, 1 failed, 0 skipped"),
                                 ("interop", some, "3 passed, 2 failed, 0 skipped")):
            tally, said = self.tally(suite, "true", ran)
            self.assertEqual(tally, want)
            self.assertEqual(len(said), 1, said)
            self.assertIn("sudo tools/", said[0])

    def test_all_ran(self):
        """Nothing was skipped: CI or not is the same."""
        self.assertEqual(self.tally("interop", "true", suites.Tally(passed=3)),
                         ("3 passed, 0 failed, 0 skipped", []))
