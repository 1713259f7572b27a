"""Everything that has a limit is brought to it: the disk, the log, the ledger, dead letters, quarantine. The
program says so and goes on when there is room; nothing that was answered with 200 is lost or ends twice.

The disk is a small tmpfs in a mount namespace of this process: the file runs itself under `unshare`.
"""

import os
import tempfile
import time

from lib import report
from lib.disk import Disk, with_mounts
from lib.history import History
from lib.kit import Kit, in_threads, mapped
from lib.postern import body_of
from lib.preload import Clock

MIB = 1048576
SEGMENT = 262144
HOUR = 3600
SMALL = {"queue": {"segment_bytes": SEGMENT, "reserve_bytes": 0}, "ingress": {"max_body_bytes": 16384}}
LARGE_BODY = "x" * 8000


class Full(Kit):
    def node_directory(self):
        """A directory outside of the node's, which is made later."""
        path = tempfile.mkdtemp(prefix="postern-disk-")
        self.addCleanup(os.rmdir, path)
        return path

    def send_until(self, node, history, status, name, most=3000):
        """Send large events until one is answered so; how many were taken before."""
        for number in range(most):
            event_id, entity = f"{name}{number}", f"{name}-{number % 5}"
            body = body_of(entity, number, filler=LARGE_BODY)
            if history.note(event_id, entity, number, node.send("things", body, event_id)).status == status:
                return number
        raise AssertionError(f"no {status} within {most} requests")

    def not_ready(self, node, *words):
        """503 with a reason that says where the room is missing."""
        def look():
            answer = node.api.get("/readyz")
            return answer if answer.status == 503 else None

        reasons = self.until(look, "not ready").json()["reasons"]
        self.assertTrue(reasons and all(reason["code"] and reason["detail"] for reason in reasons), reasons)
        text = " ".join(reason["detail"] for reason in reasons)
        self.assertTrue(any(word in text for word in words), text)

    def ready(self, node):
        self.until(lambda: node.api.get("/readyz").status == 200, "ready again")

    def all_held(self, node, history):
        node.wait_drained(patience=60)
        for event_id in history.accepted():
            self.ended(node, event_id, "applied")
        history.collect(node)
        self.assertEqual(history.check()[:10], [])

    # ---- the disk ------------------------------------------------------------------------------

    def disk_node(self, mib, **queue):
        disk = self.cleanup(Disk(self.node_directory(), mib))
        config = {**SMALL, "queue": {**SMALL["queue"], **queue}}
        return disk, self.node({"things": mapped()}, data_dir=os.path.join(disk.path, "data"), **config)

    def test_a_disk_that_fills_up_to_the_reserve(self):
        disk, node = self.disk_node(16, reserve_bytes=2 * MIB, retention_hours=1000)
        node.start("ingress")
        history = History()
        disk.leave(4 * MIB)
        taken = self.send_until(node, history, 503, "full")
        self.assertGreater(taken, 10)
        self.assertEqual(history.sent[-1].code, "UNAVAILABLE")
        self.not_ready(node, "disk")
        self.assertGreaterEqual(disk.free(), 2 * MIB - SEGMENT, "the reserve was used")
        self.assertEqual(node.api.get("/healthz").status, 200)
        disk.give_back()
        self.ready(node)
        self.send_until(node, history, 200, "again")
        node.start("worker")
        self.all_held(node, history)
        node.stop()

    def test_a_worker_makes_room_on_a_full_disk(self):
        """What has ended is dropped for what comes, so a worker that goes on needs nobody's help."""
        disk, node = self.disk_node(16, reserve_bytes=2 * MIB, retention_hours=1000)
        node.start("ingress")
        history = History()
        disk.leave(4 * MIB)
        self.send_until(node, history, 503, "full")
        node.start("worker")
        self.ready(node)
        self.send_until(node, history, 200, "again")
        self.all_held(node, history)
        node.stop()

    def test_a_disk_without_a_byte_left(self):
        """The state finds no room either: the worker waits, and makes its commit when there is some."""
        disk, node = self.disk_node(16, retention_hours=1000)
        process = node.start()
        history = History()
        self.send_until(node, history, 200, "before")
        disk.leave(0)
        taken = self.send_until(node, history, 503, "full")
        self.assertGreater(taken, 5)
        self.not_ready(node, "disk", "No space", "full")
        self.until(lambda: any(line["event"] == "commit_failed" for line in process.log()), "a commit without room")
        self.assertTrue(process.alive())
        disk.give_back()
        self.ready(node)
        self.send_until(node, history, 200, "again")
        self.all_held(node, history)
        self.assertIn("commit_resumed", [line["event"] for line in process.log()])
        node.stop()

    def test_a_kill_and_a_start_on_a_full_disk(self):
        disk, node = self.disk_node(16, reserve_bytes=MIB, retention_hours=1000)
        node.start("ingress")
        history = History()
        disk.leave(3 * MIB)
        self.send_until(node, history, 503, "full")
        node.running()[0].kill()
        process = node.start("ingress", ready=False)
        self.until(lambda: node.api.get("/healthz").status == 200, "alive")
        self.not_ready(node, "disk")
        disk.give_back()
        self.ready(node)
        self.assertTrue(process.alive())
        self.send_until(node, history, 200, "again")
        node.start("worker")
        self.all_held(node, history)
        node.stop()

    def test_a_first_start_with_too_little_room(self):
        disk, node = self.disk_node(16, reserve_bytes=8 * MIB)
        disk.leave(6 * MIB)
        process = node.start(ready=False)
        self.until(lambda: node.api.get("/healthz").status == 200, "alive")
        self.not_ready(node, "disk")
        history = History()
        self.assertEqual(self.send_until(node, history, 503, "early"), 0)
        disk.give_back()
        self.ready(node)
        self.assertTrue(process.alive())
        self.send_until(node, history, 200, "late")
        self.all_held(node, history)
        node.stop()

    # ---- the log -------------------------------------------------------------------------------

    def test_a_log_full_of_unfinished_events(self):
        limits = {**SMALL, "queue": {**SMALL["queue"], "max_bytes": 4 * SEGMENT, "retention_hours": 0}}
        node = self.node({"things": mapped()}, **limits)
        node.start("ingress")
        history = History()
        taken = self.send_until(node, history, 503, "full")
        self.assertGreater(taken, 50)
        self.assertEqual(history.sent[-1].code, "UNAVAILABLE")
        self.not_ready(node, "max_bytes")
        node.start("worker")
        self.ready(node)
        # Several times what the log holds: the worker makes room as it goes.
        for number in range(3 * taken):
            event_id, body = f"after{number}", body_of(f"after-{number % 5}", number, filler=LARGE_BODY)
            self.until(lambda: history.note(event_id, f"after-{number % 5}", number,
                                            node.send("things", body, event_id)).status == 200, "it is taken")
        self.all_held(node, history)
        node.stop()

    def test_a_worker_that_lags_past_the_retention(self):
        """Hours older than what is kept, and more than is kept; but nothing of it had ended."""
        limits = {**SMALL, "queue": {**SMALL["queue"], "max_bytes": 40 * SEGMENT, "retention_hours": 1}}
        node = self.node({"things": mapped()}, **limits)
        clock = Clock(node)
        node.start("ingress", env=clock.env)
        history = History()
        for part in range(4):
            for number in range(part * 60, part * 60 + 60):
                event_id, body = f"e{number}", body_of(f"e-{number % 5}", number, filler=LARGE_BODY)
                signed = node.senders["things"].headers(body, event_id, self.now(clock))
                history.note(event_id, f"e-{number % 5}", number, node.post("things", body, signed))
            clock.step(3 * HOUR)
        self.assertEqual(len(history.accepted()), 240)
        before = self.log_files(node)
        self.until(lambda: self.keeper_has_looked(node), "the log was looked over")
        self.assertEqual(self.log_files(node)[0], before[0], "what had not ended was dropped")
        node.start("worker", env=clock.env)
        self.all_held(node, history)
        # Now it has ended, and is old.
        self.until(lambda: self.log_files(node)[0] != before[0], "what has ended is dropped")
        for event_id in ("e0", "e239"):
            self.assertEqual(node.outcome(event_id), "applied")
        node.stop()

    @staticmethod
    def now(clock):
        return time.time() + clock.shift_s

    @staticmethod
    def log_files(node):
        return sorted(n for n in os.listdir(node.path("data", "main", "log")) if n.endswith(".seg"))

    def keeper_has_looked(self, node):
        """Segments are looked over once a second; two of these are surely one."""
        self.looked = getattr(self, "looked", None) or time.monotonic()
        return time.monotonic() > self.looked + 2.2

    # ---- the ledger ----------------------------------------------------------------------------

    def test_a_full_ledger_pauses_the_worker(self):
        limits = {**SMALL, "worker": {"ledger_max_bytes": MIB}}
        node = self.node({"things": mapped()}, **limits)
        process = node.start()
        def paused():
            return node.ask("/v1/status")[1]["paused"]

        # Each event is about sixty bytes of the ledger.
        in_threads(2, lambda number: node.cli(
            "send", "things", "--count", "10000", "--url", f"http://{node.listen}/hooks/things", patience=60))
        self.until(paused, "the worker pauses")
        self.assertIn("ledger", paused())
        self.assertIn("worker_paused", [line["event"] for line in process.log()])
        # The log has room: events are taken, and wait.
        self.assertEqual(node.api.get("/readyz").status, 200)
        self.accepted(node.send("things", body_of(), "waits"))
        self.assertEqual(node.outcome("waits"), "pending")
        node.stop()
        node.config["worker"]["ledger_max_bytes"] = 64 * MIB
        node.write_config()
        node.start()
        node.wait_drained()
        self.ended(node, "waits", "applied")
        self.until(lambda: node.ask("/v1/status")[1]["ledger"]["entries"] == 20001, "every one is remembered")
        node.stop()

    # ---- dead letters and quarantine -----------------------------------------------------------

    def test_a_first_dead_letter_finds_room_at_once(self):
        routes = [{"name": "dead", "match": {}, "handler": {"type": "exec", "argv": ["/bin/sh", "-c", "exit 65"]}}]
        node = self.node({"things": mapped()}, routes, queue={"reserve_bytes": 0})
        process = node.start()
        self.accepted(node.send("things", body_of("a", 1), "e1"))
        self.ended(node, "e1", "dead")
        self.until(lambda: node.cli_json("dlq", "ls"), "it is listed")
        events = [line["event"] for line in process.log()]
        self.assertEqual({"dlq_full", "output_delayed"} & set(events), set())
        node.stop()

    def test_a_full_dlq_pauses_the_routes_that_need_it(self):
        routes = [
            {"name": "dead", "match": {"type": "dead"}, "concurrency": 4,
             "handler": {"type": "exec", "argv": ["/bin/sh", "-c", "exit 65"]}},
            {"name": "rest", "match": {}, "handler": {"type": "none"}},
        ]
        node = self.node({"things": mapped()}, routes, dlq={"max_bytes": 2 * SEGMENT}, **SMALL)
        process = node.start()
        for number in range(90):
            self.accepted(node.send("things", body_of(f"d{number}", 1, type="dead", filler=LARGE_BODY), f"d{number}"))
        self.until(lambda: any(line["event"] == "dlq_full" for line in process.log()), "the dlq is full")
        self.until(lambda: node.ask("/v1/status")[1]["routes"]["dead"]["paused"], "its route is paused")
        # The others go on; what needs the dlq waits.
        self.accepted(node.send("things", body_of("other", 1, type="other"), "other"))
        self.ended(node, "other", "applied")
        waiting = [n for n in range(90) if node.outcome(f"d{n}") != "dead"]
        self.assertGreater(len(waiting), 5)
        self.assertGreater(len(node.cli_json("dlq", "ls")), 20)
        self.assertEqual(node.api.get("/readyz").status, 200)
        for _ in range(5):
            node.cli("dlq", "drop", "--route", "dead", "--yes")
            if self.drained(node, 90):
                break
        for number in range(90):
            self.ended(node, f"d{number}", "dead")
        self.assertIn("dlq_has_room", [line["event"] for line in process.log()])
        node.stop()

    def drained(self, node, count):
        """All are dead, or the dlq is full again."""
        def look():
            dead = sum(node.outcome(f"d{n}") == "dead" for n in range(count))
            paused = node.ask("/v1/status")[1]["routes"]["dead"]["paused"]
            return "all" if dead == count else paused and "full"

        return self.until(look, "dead, or full again") == "all"

    def test_a_full_quarantine_drops_its_oldest(self):
        node = self.node({"things": mapped()}, quarantine={"max_bytes": 2 * SEGMENT}, **SMALL)
        node.start()
        for number in range(150):
            body = b'{"mark' + b"not json " * 900
            self.assertEqual(node.send("things", body, f"q{number}").status, 200)
        node.wait_drained()
        self.until(lambda: node.metrics()["postern_quarantine_dropped_total"] > 0, "some were dropped")
        self.accepted(node.send("things", body_of("a", 1), "fine"))
        self.ended(node, "fine", "applied")
        rows = self.until(lambda: self.listed(node, 150), "all are kept or counted")
        self.assertGreater(len(rows), 10)
        # The oldest went, and nothing but the oldest.
        numbers = sorted(int(row["id"][1:]) for row in rows)
        self.assertEqual(numbers, list(range(150 - len(rows), 150)))
        node.stop()

    @staticmethod
    def listed(node, count):
        rows = node.cli_json("quarantine", "ls")
        return rows if len(rows) + node.metrics()["postern_quarantine_dropped_total"] == count else None


if __name__ == "__main__":
    with_mounts()
    report.main()
