"""SIGKILL at random moments under load: nothing accepted is lost, nothing is there twice, order is kept."""

import os

from lib import report
from lib.postern import SystemTest
from lib.torture import torture

SEED = int(os.environ.get("POSTERN_SEED", "1"))


class Kill(SystemTest):
    def test_one_process(self):
        torture(self, ["run"], kills=12, seed=SEED)

    def test_two_processes_each_killed_alone(self):
        torture(self, ["ingress", "worker"], kills=18, seed=SEED + 1)


if __name__ == "__main__":
    report.main()
