"""A disk that loses a write: an fdatasync that fails is never followed by a 200, and the program goes on."""

import os
import random
import threading
import time

from lib import report
from lib.history import History
from lib.kit import Kit, in_threads, mapped
from lib.postern import body_of
from lib.preload import FailingSync

SEED = int(os.environ.get("POSTERN_SEED", "1"))
ROUNDS = int(os.environ.get("POSTERN_IOERR_ROUNDS", "15"))
SMALL = {"queue": {"segment_bytes": 262144, "reserve_bytes": 0}, "ingress": {"max_body_bytes": 16384}}


class FailedSync(Kit):
    def make(self, part):
        node = self.node({"things": mapped()}, **SMALL)
        disk = FailingSync(node, part)
        node.start(env=disk.env)
        return node, disk

    def test_of_the_log_is_told_and_never_a_200(self):
        node, disk = self.make("/main/log/0")  # segments, not the spare that is made beside them
        self.assertEqual(node.send("things", body_of("a", 1), "before").status, 200)
        disk.fail_in(1)
        body = body_of("a", 2)
        answer = node.send("things", body, "unlucky")
        self.assertTrue(disk.has_failed())
        self.refused(answer, 503, "OUTCOME_UNKNOWN")
        self.assertIn("retry-after", answer.headers)
        self.until(lambda: node.api.get("/readyz").status == 200, "ready again")
        # The sender does as it is told.
        self.until(lambda: node.send("things", body, "unlucky").status == 200, "the repetition is taken")
        self.accepted(node.send("things", body_of("a", 3), "after"))
        for event_id in ("before", "unlucky", "after"):
            self.ended(node, event_id, "applied")
        self.assertEqual(int(node.state("a")["version"]), 3)
        node.stop()

    def test_of_the_log_under_load_loses_nothing(self):
        node, disk = self.make("/main/log/")
        history, stopping = History(), threading.Event()
        rng = random.Random(SEED)

        def send(client):
            number = 0
            while not stopping.is_set():
                number += 1
                event_id, body = f"c{client}-{number}", body_of(f"e{client}", number, filler="x" * 2000)
                while history.note(event_id, f"e{client}", number, node.send("things", body, event_id)).status != 200:
                    if stopping.wait(0.01):
                        return

        def spoil(_):
            try:
                for _ in range(ROUNDS):
                    disk.fail_in(rng.randint(1, 20))
                    self.until(disk.has_failed, "a sync failed")
                    time.sleep(rng.uniform(0, 0.1))
            finally:
                stopping.set()

        in_threads(5, lambda number: spoil(number) if number == 4 else send(number))
        node.wait_drained()
        for event_id in history.accepted():
            self.ended(node, event_id, "applied")
        history.collect(node)
        statuses = [(sent.status, sent.code) for sent in history.sent]
        self.assertEqual(set(statuses) - {(200, "ACCEPTED"), (503, "OUTCOME_UNKNOWN"), (503, "UNAVAILABLE")}, set())
        unknown = statuses.count((503, "OUTCOME_UNKNOWN"))
        print(f"    seed {SEED}: {ROUNDS} failed syncs, {len(statuses)} requests, {unknown} of unknown outcome")
        report.did(failed_syncs=ROUNDS)
        self.assertGreater(unknown, 0)
        self.assertEqual(history.check()[:10], [])
        node.stop()

    def test_of_the_state_is_made_good(self):
        """A commit that fails is made again, whole: nothing ends twice, nothing is lost."""
        node, disk = self.make("/main/state/")
        disk.fail_in(1)
        for number in range(1, 21):
            self.accepted(node.send("things", body_of("a", number), f"e{number}"))
        self.until(disk.has_failed, "a commit failed")
        for number in range(1, 21):
            self.ended(node, f"e{number}", "applied")
        self.assertEqual(int(node.state("a")["version"]), 20)
        events = [line["event"] for line in node.processes[0].log()]
        self.assertIn("commit_failed", events)
        self.assertIn("commit_resumed", events)
        node.stop()


if __name__ == "__main__":
    report.main()
