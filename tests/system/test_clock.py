"""Steps of the wall clock by an hour under load: nothing lost, nothing twice, no retry later than its cap, and
freshness judged by the clock that the machine now has."""

import os
import threading
import time

from lib import report
from lib.destination import Destination, failing_first
from lib.history import History
from lib.kit import Kit, in_threads, mapped
from lib.postern import body_of
from lib.preload import Clock

HOUR = 3600
STEPS = int(os.environ.get("POSTERN_CLOCK_STEPS", "4"))
RETRY = {"attempts": 50, "base_ms": 200, "cap_ms": 1500, "max_age_s": 86400}
CALM = {"failures": 1000, "ratio": 1, "open_s": 1}
SLACK_S = 4.0  # of a busy machine, and of the worker's own looks at the clock
SMALL = {"queue": {"segment_bytes": 262144, "reserve_bytes": 0}, "ingress": {"max_body_bytes": 16384}}


class Steps(Kit):
    def make(self, behave):
        destination = self.cleanup(Destination(behave))
        node = self.node({"things": mapped()}, [], **SMALL)
        node.config["routes"] = [
            {"name": "web", "match": {"type": "web"}, "retry": RETRY, "breaker": CALM,
             "handler": {"type": "http", "url": destination.url(), "timeout_ms": 2000}},
            {"name": "rest", "match": {}, "handler": {"type": "none"}},
        ]
        node.write_config()
        clock = Clock(node)
        node.start(env=clock.env)
        return node, clock, destination

    @staticmethod
    def signed_at(node, clock, event_id, body, shift_s=0):
        """Sent by someone whose clock is that of the program, and `shift_s` ahead."""
        return node.send("things", body, event_id, now=time.time() + clock.shift_s + shift_s)

    def test_under_load_with_parked_retries(self):
        node, clock, destination = self.make(failing_first(1))
        history, stopping = History(), threading.Event()

        def send(client):
            number = 0
            while not stopping.is_set():
                number += 1
                event_id, entity = f"c{client}-{number}", f"e{client}-{number % 8}"
                body = body_of(entity, number, type="web" if number % 12 == 0 else "plain")
                while True:
                    answer = history.note(event_id, entity, number, self.signed_at(node, clock, event_id, body))
                    # Between the step and its signature a request may look an hour off.
                    if answer.status == 200 or answer.code not in ("EXPIRED", "CLOCK_SKEW"):
                        break
                self.accepted(answer)
                if number % 11 == 0:
                    history.note(event_id, entity, number, self.signed_at(node, clock, event_id, body))
                stopping.wait(0.02)

        def step(_):
            try:
                for number in range(STEPS):
                    time.sleep(0.8)
                    # +1 h, 0, -1 h, 0, and so on.
                    clock.step(HOUR if number % 4 in (0, 3) else -HOUR)
                time.sleep(0.8)
            finally:
                stopping.set()

        in_threads(4, lambda number: step(number) if number == 3 else send(number))
        node.wait_drained()
        for event_id in history.accepted():
            self.ended(node, event_id, "applied")
        history.collect(node, destination)
        history.routed = {effect.event_id for effect in history.effects}
        self.assertEqual(history.check()[:10], [])
        self.no_late_retries(history.effects)
        effects = len(history.effects)
        print(f"    {STEPS} steps, {len(history.sent)} requests, {effects} calls of the destination")
        report.did(clock_steps=STEPS)
        self.assertGreater(effects, 20)
        node.stop()

    def no_late_retries(self, effects):
        last = {}
        for effect in effects:
            before = last.get(effect.event_id)
            if before is not None:
                gap = effect.started - before.started
                self.assertLess(gap, RETRY["cap_ms"] / 1000 + SLACK_S, f"{effect.event_id}: a retry after {gap:.1f} s")
            last[effect.event_id] = effect

    def test_back_while_many_are_parked(self):
        """All wait for their next attempt at a wall-clock time that is an hour away after the step."""
        node, clock, destination = self.make(failing_first(1))
        for number in range(20):
            self.accepted(self.signed_at(node, clock, f"e{number}", body_of(f"p{number}", 1, type="web")))
        self.until(lambda: destination.count() >= 20, "each was tried")
        clock.step(-HOUR)
        for number in range(20):
            self.ended(node, f"e{number}", "applied", patience=RETRY["cap_ms"] / 1000 + 2 * SLACK_S)
        self.no_late_retries(destination.snapshot())
        node.stop()

    def test_freshness_is_judged_by_the_clock_of_now(self):
        node, clock, _ = self.make(failing_first(0))
        for shift, old in ((HOUR, "EXPIRED"), (-2 * HOUR, "CLOCK_SKEW"), (HOUR, "EXPIRED")):
            clock.step(shift)
            name = f"at{clock.shift_s}"
            self.refused(self.signed_at(node, clock, name, body_of("a"), shift_s=-shift), 400, old)
            self.accepted(self.signed_at(node, clock, name, body_of("a")), name)
            self.ended(node, name, "applied")
            # A copy is known, whatever the clock did.
            self.accepted(self.signed_at(node, clock, name, body_of("a")))
            duplicates = 'postern_events_total{route="rest",outcome="duplicate"}'
            self.until(lambda: sum(v for k, v in node.metrics().items() if "duplicate" in k) >= 1, duplicates)
        node.stop()


if __name__ == "__main__":
    report.main()
