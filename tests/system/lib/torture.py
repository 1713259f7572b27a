"""SIGKILL at random moments under load, then the history checker. Used by test_kill.py and by `torture`."""

import itertools
import os
import time
import zlib

from . import report
from .destination import Destination, Reply
from .load import Killer, Load
from .postern import MAPPING, handler_processes, recorded, recording_script, until
from .senders import StandardWebhooks

PROGRAM = f"program-{os.getpid()}"  # a route of this process alone
RETRY = {"attempts": 20, "base_ms": 20, "cap_ms": 300}


def unsteady(effect, nth):
    """Most calls work, some take a while, some first attempts fail."""
    draw = zlib.crc32(f"{effect.key} {nth}".encode()) % 100
    if draw < 10 and nth <= 2:
        return Reply(503)
    return Reply(delay=0.05 if draw > 95 else 0)


def set_life(node, destination, script, life, more=None):
    """Routes to all three handlers. The number of the worker's life is told to destination and program, so
    that a call which a killed worker left behind is not taken for one of its successor. `more`: of both routes."""
    more = more or {"retry": RETRY}
    node.config["routes"] = [
        {"name": "web", "match": {"type": "web*"}, **more,
         "handler": {"type": "http", "url": destination.url(f"/web/{life}"), "timeout_ms": 2000}},
        {"name": PROGRAM, "match": {"type": "program*"}, **more,
         "handler": {"type": "exec", "argv": [script, str(life)], "timeout_ms": 5000}},
        {"name": "rest", "match": {}, "handler": {"type": "none"}},
    ]
    node.write_config()


class RecordedEffect:
    """A program's run, in the shape that the history checker reads."""

    def __init__(self, row, ended):
        self.event_id, self.entity, self.ok = row["event_id"], row["entity"], ended
        self.version = int(row["version"]) if row["version"] else None
        self.life = int(row["given"])


def program_effects(log):
    """Starts in order; a start counts as successful when its end was written."""
    rows = recorded(log)
    ended = {(r["event_id"], r["attempt"], r["given"]) for r in rows if r["what"] == "end"}
    starts = [r for r in rows if r["what"] == "start"]
    return [RecordedEffect(r, (r["event_id"], r["attempt"], r["given"]) in ended) for r in starts]


def torture(test, halves, kills, seed, clients=6, pause=0.02):
    """`kills` random kills of the processes for `halves`; fails the test with every broken promise."""
    destination = test.cleanup(Destination(unsteady))
    node = test.node({"things": (StandardWebhooks(), MAPPING)}, routes=[])
    script, log = recording_script(node, then="sleep 0.01")
    lives = itertools.count(1)
    set_life(node, destination, script, next(lives))
    for half in halves:
        node.start(half)
    killer = Killer(node, seed)
    load = Load(node, "things", ["web.a", "program.a", "rest.a"], clients, pause=pause, seed=seed, name=f"s{seed}")
    load.start()

    def after_kill(victim):
        if victim.half != "ingress":
            set_life(node, destination, script, next(lives))
            until(lambda: not handler_processes(route=PROGRAM), "no program outlives a killed worker", 5)

    while killer.kills < kills:
        killer.kill_one(after_kill)
    for process in node.running():
        node.wait_ready(process)
    time.sleep(0.5)
    load.stop()
    node.wait_drained(patience=90)
    history = load.history
    history.collect(node, destination)
    history.routed = load.ids_of("web")
    problems = history.check(repeats=kills)
    programs = history.check_effects(program_effects(log), load.ids_of("program"), repeats=kills)
    problems += ["programs: " + problem for problem in programs]
    node.stop()
    print(f"    seed {seed}: {kills} kills of {'+'.join(halves)}, {len(history.sent)} requests, "
          f"{len(history.accepted())} accepted, outcomes {history.counts()}", flush=True)
    report.did(kills=kills, requests=len(history.sent), accepted=len(history.accepted()))
    test.assertEqual(problems[:20], [], f"seed {seed}: {len(problems)} broken promises")
    test.assertGreater(len(history.accepted()), kills, "too little load to prove anything")
