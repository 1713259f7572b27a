"""Everything that can go wrong on one machine, at random and several at once, under load: nothing accepted is
lost, nothing ends twice, order is kept. Part of `make torture`.

$POSTERN_FAULTS_S says for how many seconds (0: not at all); $POSTERN_SEED repeats a run."""

import os
import tempfile
import unittest

from lib import report
from lib.disk import Disk, with_mounts
from lib.faults import faults
from lib.postern import SystemTest

SEED = int(os.environ.get("POSTERN_SEED", "1"))
SECONDS = int(os.environ.get("POSTERN_FAULTS_S", "0"))
DISK_MIB = 64
ROUND_S = 120  # of one history: a checker's report stays readable
HALVES = (("run",), ("ingress", "worker"))


@unittest.skipUnless(SECONDS, "random faults are part of make torture")
class RandomFaults(SystemTest):
    def test_random_faults(self):
        for number, at in enumerate(range(0, SECONDS, ROUND_S)):
            if report.told_to_end():
                break
            with self.subTest(seed=SEED + number):
                path = tempfile.mkdtemp(prefix="postern-disk-")
                self.addCleanup(os.rmdir, path)
                disk = self.cleanup(Disk(path, DISK_MIB))
                faults(self, disk, HALVES[number % 2], min(ROUND_S, SECONDS - at), SEED + number)


if __name__ == "__main__":
    with_mounts()
    report.main()
