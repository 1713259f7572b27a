"""Random faults under load, several at once: processes are killed or stand still, the disk is full, its syncs
fail, the wall clock steps, the destination misbehaves. Then the history checker. Used by test_faults.py.

Each kind of fault has a beginning and an end, which are drawn from a seed; at any moment there is at most one
of each kind. In the end everything is well again, and every promise must have been kept.
"""

import itertools
import os
import random
import signal
import time

from . import report
from .destination import Destination, Reply
from .load import Load
from .postern import MAPPING, handler_processes, recording_script, until
from .preload import Clock, FailingSync
from .senders import StandardWebhooks
from .torture import PROGRAM, program_effects, set_life, unsteady

HOUR = 3600
SMALL = {
    "queue": {"segment_bytes": 262144, "max_bytes": 8388608, "reserve_bytes": 1048576, "retention_hours": 0},
    "ingress": {"max_body_bytes": 16384},
}
# A day of attempts, and a breaker that is heard of: nothing dies of an outage.
PATIENT = {"retry": {"attempts": 1000, "base_ms": 20, "cap_ms": 500}, "breaker": {"open_s": 1}}
MOODS = {
    "refuses": Reply(503), "is busy": Reply(429, {"Retry-After": "1"}), "hangs": Reply(hang=True),
    "resets": Reply(reset=True), "is slow": Reply(delay=0.3),
}
CALM_S = (0.1, 1.5)  # between two beginnings
LASTS_S = (0.2, 4.0)


class Faults:
    """What can happen to a node. A fault begins with `_NAME`, which gives what ends it, or nothing to end."""

    WEIGHTS = {"kill": 5, "still": 4, "disk": 3, "sync": 3, "clock": 3, "mood": 6}

    def __init__(self, node, disk, seed):
        self.node, self.disk, self.random = node, disk, random.Random(seed)
        self.clock, self.syncs = Clock(node), FailingSync(node, "/data/")
        self.destination = Destination(self._behave)
        self.script, self.log = recording_script(node, then="sleep 0.01")
        self.failed_starts, self.mood, self.lives, self.active = 0, None, itertools.count(1), {}
        self.made = dict.fromkeys(self.WEIGHTS, 0)
        preload = f"{self.clock.env['LD_PRELOAD']} {self.syncs.env['LD_PRELOAD']}"
        self.env = {**self.clock.env, **self.syncs.env, "LD_PRELOAD": preload}
        self.renew()

    def _behave(self, effect, nth):
        return MOODS[self.mood] if self.mood else unsteady(effect, nth)

    def renew(self):
        """A worker's life begins."""
        set_life(self.node, self.destination, self.script, next(self.lives), PATIENT)

    def start(self, half):
        return self.node.start(half, ready=False, env=self.env)

    def supervise(self):
        """A start whose sync failed ends, and says so: somebody starts it again. Nothing else ends by itself."""
        for half in {process.half for process in self.node.processes} - {process.half for process in self.node.running()}:
            last = [process for process in self.node.processes if process.half == half][-1]
            text = last.log_text()
            if '"event":"start_failed"' not in text:
                raise AssertionError(f"{half} ended with {last.wait()}:\n{text[-2000:]}")
            self.failed_starts += 1
            self.start(half)

    def now(self):
        """The wall clock of the node."""
        return time.time() + self.clock.shift_s

    # ---- the kinds ----

    def _kill(self):
        victim = self.random.choice(self.node.running())
        victim.kill()
        if victim.half != "ingress":
            self.renew()
            until(lambda: not handler_processes(route=PROGRAM), "no program outlives a killed worker", 5)
        self.start(victim.half)

    def _still(self):
        process = self.random.choice(self.node.running())
        process.signal(signal.SIGSTOP)
        return lambda: process.alive() and process.signal(signal.SIGCONT)

    def _disk(self):
        self.disk.leave(self.random.choice((0, 0, 100000, 700000, 2000000)))
        return self.disk.give_back

    def _sync(self):
        self.syncs.fail_in(self.random.randint(1, 20))

    def _clock(self):
        self.clock.step(-self.clock.shift_s if self.clock.shift_s else self.random.choice((HOUR, -HOUR)))

    def _mood(self):
        self.mood = self.random.choice(list(MOODS))

        def well():
            self.mood = None

        return well

    # ---- their course ----

    def step(self):
        """One begins; those whose time is over have ended before."""
        self._end_due()
        self.supervise()
        kind = self.random.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        lasts = self.random.uniform(*LASTS_S)
        if kind in self.active:
            return
        end = getattr(self, "_" + kind)()
        self.made[kind] += 1
        if end is not None:
            self.active[kind] = time.monotonic() + lasts, end

    def _end_due(self, all_of_them=False):
        for kind, (due, end) in list(self.active.items()):
            if all_of_them or time.monotonic() >= due:
                end()
                del self.active[kind]

    def run(self, seconds):
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.step()
            pause_until = time.monotonic() + self.random.uniform(*CALM_S)
            while time.monotonic() < pause_until:
                time.sleep(0.05)
                self._end_due()

    def end(self):
        """All is well again, but for the clock, which stays where it is."""
        self._end_due(all_of_them=True)
        self.syncs.number.set(0)
        self.supervise()
        for process in self.node.running():
            self.node.wait_ready(process)


def faults(test, disk, halves, seconds, seed, clients=6, pause=0.03):
    """So many seconds of faults; fails the test with every broken promise."""
    node = test.node({"things": (StandardWebhooks(), MAPPING)}, routes=[], data_dir=os.path.join(disk.path, "data"), **SMALL)
    course = Faults(node, disk, seed)
    test.cleanup(course.destination)
    for half in halves:
        node.wait_ready(course.start(half))
    load = Load(node, "things", ["web.a", "program.a", "rest.a", "rest.b"], clients, pause=pause, seed=seed,
                name=f"f{seed}", now=course.now)
    load.start()
    try:
        course.run(seconds)
        course.end()
        time.sleep(0.5)
    finally:
        load.stopping.set()
    load.stop()
    node.wait_drained(patience=120)
    history, repeats = load.history, course.made["kill"] + course.made["still"] + course.made["clock"]
    history.collect(node, course.destination)
    history.routed = load.ids_of("web")
    problems = history.check(repeats=repeats)
    programs = history.check_effects(program_effects(course.log), load.ids_of("program"), repeats=repeats)
    problems += ["programs: " + problem for problem in programs]
    node.stop()
    print(f"    seed {seed}: {seconds} s of {'+'.join(halves)}, faults {course.made}, {course.failed_starts} failed starts, "
          f"{len(history.sent)} requests, "
          f"{len(history.accepted())} accepted, outcomes {history.counts()}", flush=True)
    report.did(requests=len(history.sent), accepted=len(history.accepted()), **course.made)
    test.assertEqual(problems[:20], [], f"seed {seed}: {len(problems)} broken promises")
    test.assertGreater(len(history.accepted()), seconds, "too little load to prove anything")


__all__ = ["Faults", "faults"]
