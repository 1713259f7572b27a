"""Ingresses and workers over one broker, under load, while everything that can happen to them happens.

`moves()` is the whole run: it starts them, makes so many moves by a seed, lets all come to rest, and fails
the test with every broken promise. A move: a worker joins, leaves, is killed, stands still and wakes after
its lanes were taken (a zombie), comes back with a state that was deleted or rotted; an ingress is killed;
the broker is killed or stands still. What is scheduled (a wake-up) happens while the next moves go on.
"""

import copy
import os
import random
import shutil
import signal
import threading
import time
import zlib

from . import journal
from .destination import Destination, Reply
from .kafka_history import KafkaHistory, same_answers
from .kafka_node import PARTITIONS, another, node_over
from .kit import mapped
from .load import Load
from .postern import until
from .wire import Http

RETRY = {"attempts": 20, "base_ms": 20, "cap_ms": 300}
WEIGHTS = {
    "join": 4, "leave": 4, "kill": 5, "pause": 6, "wipe": 2, "rot": 2, "kill ingress": 1, "kill broker": 1,
    "pause broker": 2,
}
LIFE = 1000  # moves in one life of a worker, at most


def unsteady(effect, nth):
    """Most calls work; some first attempts fail, some take a while, some events are refused for good."""
    draw = zlib.crc32(effect.key.encode()) % 100
    if draw < 3:
        return Reply(400)
    if draw < 12 and nth <= 2:
        return Reply(503)
    return Reply(delay=0.05 if draw > 95 else 0)


class Fronts:
    """Several ingresses as one to send to: each request goes to one of them."""

    def __init__(self, nodes, seed):
        self.nodes, self.senders = nodes, nodes[0].senders
        self._random = random.Random(seed)

    def send(self, *args, **more):
        return self._random.choice(self.nodes).send(*args, **more)

    def post(self, *args, **more):
        return self._random.choice(self.nodes).post(*args, **more)


class Witness(threading.Thread):
    """Asks every worker again and again who owns what: one epoch of a lane has one owner, at any time."""

    def __init__(self, workers):
        super().__init__(daemon=True, name="witness")
        self.workers, self.stopping = workers, threading.Event()
        self.owners, self.problems, self.asked = {}, set(), 0

    def run(self):
        doors = [(w, Http(w.node.worker_admin, "admin", timeout=1)) for w in self.workers]
        while not self.stopping.wait(0.1):
            for worker, door in doors:
                life = worker.life
                for row in worker.lanes(door):
                    self._note(worker, life, row)

    def _note(self, worker, life, row):
        self.asked += 1
        if row["state"] != "owned" or worker.life != life:
            return
        place = (row["partition"], row["epoch"])
        first = self.owners.setdefault(place, (worker.name, life))
        if first != (worker.name, life):
            self.problems.add(f"lane {place[0]} in epoch {place[1]} is owned by {first} and {worker.name, life}")

    def stop(self):
        self.stopping.set()
        self.join(30)
        return sorted(self.problems)


class Worker:
    """A worker's machine: its node, and its process when there is one."""

    def __init__(self, node, name, destination):
        self.node, self.name, self.destination = node, name, destination
        self.process, self.leaving, self.life, self.paused = None, None, 0, False

    def start(self, life):
        """The number of its life is told to the destination by the path that it calls."""
        self.settle()
        self.life = life
        self.node.config["routes"] = [
            {"name": "web", "match": {"type": "web*"}, "retry": RETRY,
             "handler": {"type": "http", "url": self.destination.url(f"/{life}"), "timeout_ms": 2000}},
            {"name": "rest", "match": {}, "handler": {"type": "none"}},
        ]
        self.node.write_config()
        self.process = self.node.start("worker", ready=False)

    def alive(self):
        if self.process is not None and not self.process.alive():
            raise AssertionError(f"{self.name} ended with {self.process.wait()}:\n{self.process.log_text()[-3000:]}")
        return self.process is not None

    def kill(self):
        self.process.kill()
        self.process, self.paused = None, False

    def leave(self):
        """SIGTERM; that it ends well is looked at when it is started again, or in the end."""
        self.process.signal(signal.SIGTERM)
        self.leaving, self.process = (self.process, time.monotonic()), None

    def settle(self):
        """Wait for one that leaves."""
        if self.leaving is None:
            return
        process, _ = self.leaving
        status, self.leaving = process.wait(20), None
        too_early = status == -signal.SIGTERM and not process.log_text()  # it had not got to say anything
        if status != 0 and not too_early:
            raise AssertionError(f"{self.name} left with {status}:\n{process.log_text()[-3000:]}")

    def pause(self):
        self.process.signal(signal.SIGSTOP)
        self.paused = True

    def wake(self):
        self.paused = False
        self.process.signal(signal.SIGCONT)

    def stores(self):
        main = self.node.path("data", "main")
        names = os.listdir(main) if os.path.isdir(main) else []
        return [os.path.join(main, name) for name in sorted(names) if name.startswith("state-") and "." not in name]

    def lanes(self, door=None):
        """What its status says; nothing when it does not answer."""
        status, got = self.node.ask("/v1/status", door or self.node.worker_api)
        return got.get("lanes", ()) if status == 200 and got else ()

    def at_rest(self, ends):
        """It has seen all lanes be worked to these ends."""
        status, got = self.node.ask("/v1/status", self.node.worker_api)
        if status != 200 or "lanes" not in got or got["parked"]["events"] or got["outputs_waiting"]:
            return False
        return [row["position"] for row in got["lanes"]] == ends


def rot(path, chance):
    """Damage a store's file: cut it off, or put rubbish into pages."""
    path = os.path.join(path, "data.mdb")
    if not os.path.exists(path):
        return
    size = os.path.getsize(path)
    if chance.random() < 0.3:
        os.truncate(path, chance.randrange(size))
        return
    with open(path, "r+b") as file:
        for _ in range(chance.choice((1, 3, 50))):
            file.seek(chance.randrange(max(1, size // 4096)) * 4096 + chance.choice((0, 16, 1000)))
            file.write(chance.randbytes(chance.choice((1, 64, 3000))))


class Field:
    """All that runs, and the moves."""

    def __init__(self, test, broker, seed, ingresses, workers):
        self.broker, self.random = broker, random.Random(seed)
        self.destination = test.cleanup(Destination(self._behave))
        self.topic = broker.topic("moves")
        first = node_over(test, broker, self.topic, {"things": mapped()}, routes=[])
        self.fronts = [first] + [another(test, first) for _ in range(ingresses - 1)]
        self.workers = [
            Worker(another(test, first), f"worker {number}", self.destination) for number in range(1, workers + 1)
        ]
        self.made, self.lives, self.log, self.timers = 0, 0, [], []
        self.lock = threading.Lock()
        self.began = time.monotonic()
        for node in self.fronts:
            node.start("ingress")
        for worker in self.workers:
            self.start(worker)

    def _behave(self, effect, nth):
        # Who is followed and then follows again may begin anew: only between two moves is that no news.
        effect.life = effect.life * LIFE + self.made
        return unsteady(effect, nth)

    def say(self, text):
        self.log.append(f"{time.monotonic() - self.began:6.1f} {text}")

    def start(self, worker):
        self.lives += 1
        worker.start(self.lives)
        self.say(f"{worker.name} starts, life {self.lives}, pid {worker.process.pid}")

    def later(self, seconds, act):
        timer = threading.Timer(seconds, act)
        timer.start()
        self.timers.append(timer)

    # ---- moves ----

    def move(self):
        """One, and a little calm, or none."""
        while not self._try(self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]):
            pass
        self.made += 1
        time.sleep(self.random.choice((0, 0.3, 1, 2, 3)) * self.random.random())

    def _try(self, kind):
        """False when there is nobody that it could happen to."""
        act = getattr(self, "_" + kind.replace(" ", "_"))
        if kind in ("kill ingress", "kill broker", "pause broker"):
            self.say(kind)
            act()
            return True
        with self.lock:
            there = [w for w in self.workers if w.alive() and (not w.paused or kind == "kill")]
            fitting = [w for w in self.workers if w.process is None] if kind == "join" else there
            if not fitting:
                return False
            worker = self.random.choice(fitting)
            self.say(f"{kind} {worker.name}")
            act(worker)
            return True

    def _join(self, worker):
        self.start(worker)

    def _leave(self, worker):
        worker.leave()

    def _kill(self, worker):
        worker.kill()
        if self.random.random() < 0.6:
            self.start(worker)

    def _pause(self, worker):
        """Shorter than silence, about as long, and long enough that another one owns its lanes."""
        worker.pause()
        life = worker.life

        def wake():
            with self.lock:
                if worker.paused and worker.life == life:
                    self.say(f"{worker.name} wakes")
                    worker.wake()

        self.later(self.random.choice((0.3, 1.4, 2.5, 4.0)), wake)

    def _wipe(self, worker):
        worker.kill()
        for path in worker.stores():
            if self.random.random() < 0.7:
                shutil.rmtree(path)
        self.start(worker)

    def _rot(self, worker):
        worker.kill()
        for path in worker.stores():
            if self.random.random() < 0.7:
                rot(path, self.random)
        self.start(worker)

    def _kill_ingress(self):
        node = self.random.choice(self.fronts)
        for process in node.running("ingress"):
            process.kill()
        node.start("ingress", ready=False)

    def _kill_broker(self):
        self.broker.restart()

    def _pause_broker(self):
        self.broker.stop()
        time.sleep(self.random.choice((0.5, 1.5, 2.5)))
        self.broker.go_on()

    # ---- calm ----

    def calm(self):
        """Everybody awake and there, and all that was taken has ended."""
        for timer in self.timers:
            timer.join()
        for worker in self.workers:
            if not worker.alive():
                self.start(worker)
        for worker in self.workers:
            self.node_ready(worker)

    @staticmethod
    def node_ready(worker):
        worker.node.wait_ready(worker.process)

    def drained(self):
        """Nobody sends any more."""
        ends = [self.broker.end(self.topic, partition) for partition in range(PARTITIONS)]
        until(lambda: all(w.at_rest(ends) for w in self.workers if w.alive()), f"all worked to {ends}", 60, pause=0.1)

    def settled(self):
        """Each lane has one owner, and all say so; what is wrong with that."""
        said = {w.name: w.lanes() for w in self.workers}
        problems = []
        for lane in range(PARTITIONS):
            rows = {name: rows[lane] for name, rows in said.items() if len(rows) == PARTITIONS}
            owned = [name for name, row in rows.items() if row["state"] == "owned"]
            names = {(row["owner"], row["epoch"]) for row in rows.values()}
            if len(rows) != len(self.workers) or len(owned) != 1 or len(names) != 1:
                problems.append(f"lane {lane}: {rows}")
        return problems

    def stop(self):
        """All end well."""
        for worker in self.workers:
            worker.process.signal(signal.SIGTERM)
        for worker in self.workers:
            worker.leaving, worker.process = (worker.process, time.monotonic()), None
            worker.settle()
        for node in self.fronts:
            node.stop()


def load_on(field, seed, clients, pause):
    made = Load(Fronts(field.fronts, seed), "things", ["web.a", "web.b", "rest.a"], clients, pause=pause, seed=seed,
                name=f"s{seed}")
    made.history = KafkaHistory()
    return made


def gather(field, load):
    """What everybody says in the end, as problems and a history."""
    history = load.history
    asked = history.ask({worker.name: worker.node for worker in field.workers})
    history.gather(field.workers[0].node, field.broker, field.topic, field.destination)
    history.routed = load.ids_of("web")
    return same_answers(asked)


def moves(test, broker, count, seed, ingresses=2, workers=3, clients=5, pause=0.1):
    """So many moves; fails the test with every broken promise."""
    field = Field(test, broker, seed, ingresses, workers)
    print(f"    seed {seed}: {count} moves of {workers} workers and {ingresses} ingresses", flush=True)
    witness = Witness(field.workers)
    load = load_on(field, seed, clients, pause).start()
    problems = []
    try:
        field.calm()
        witness.start()
        for _ in range(count):
            field.move()
        field.calm()
        time.sleep(0.5)
        load.stop()
        field.drained()
        until(lambda: not field.settled(), "one owner of each lane", 30, pause=0.2)
        problems += gather(field, load)
        problems += witness.stop()
        field.stop()
        folds = journal.fold(broker, field.topic + ".journal", PARTITIONS)
        problems += load.history.check(repeats=count)
        problems += load.history.check_folds(folds)
    except BaseException:
        print("    " + "\n    ".join(field.log + field.settled()), flush=True)
        raise
    finally:
        load.stopping.set()
        for timer in field.timers:
            timer.cancel()
    counts = load.history.counts()
    print(f"    {len(load.history.sent)} requests, {len(load.history.accepted())} accepted, outcomes {counts}, "
          f"{sum(f.claims for f in folds)} claims, {sum(f.ignored for f in folds)} journal records ignored, "
          f"{witness.asked} answers on owners, {time.monotonic() - field.began:.0f} s", flush=True)
    if problems:
        print("    " + "\n    ".join(field.log), flush=True)
    test.assertEqual(problems[:20], [], f"seed {seed}: {len(problems)} broken promises")
    test.assertGreater(len(load.history.accepted()), 10 * count, "too little load to prove anything")


__all__ = ["Field", "moves"]
