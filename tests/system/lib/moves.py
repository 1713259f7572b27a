"""Ingresses and workers over one broker, under load, while everything that can happen to them happens.

`moves()` is the whole run: it starts them, makes so many moves by a seed, lets all come to rest, and fails
the test with every broken promise. A move: a worker joins, leaves, is killed, stands still and wakes after
its lanes were taken (a zombie), comes back with a state that was deleted or rotted; an ingress is killed;
the broker is killed or stands still, or is away while an ingress is killed that has events in its spool.
Over three brokers the leaders of partitions are killed or stand still, and all restart one after the other.
What is scheduled (a wake-up, a broker's return) happens while the next moves go on.
"""

import random
import shutil
import signal
import threading
import time

from . import journal, report
from .destination import Destination
from .kafka_history import KafkaHistory, same_answers
from .kafka_node import PARTITIONS, another, node_over
from .kit import mapped
from .load import Load
from .members import Fronts, Pinned, Witness, Worker, out_topic, rot, unsteady
from .postern import PATIENCE_S, until

OF_WORKERS = {"join": 4, "leave": 4, "kill": 5, "pause": 6, "wipe": 2, "rot": 2, "kill ingress": 1}
WEIGHTS = {**OF_WORKERS, "kill broker": 1, "pause broker": 2, "away": 1}
# Three brokers: what happens to them is most of it.
LEADER_WEIGHTS = {**OF_WORKERS, "kill events leader": 6, "kill journal leader": 6, "pause leader": 3, "roll": 2}
LEADER_GONE_S = (0.5, 4.0)
STILL_S = (1.5, 5.0, 20.0)


class Field:
    """All that runs, and the moves."""

    def __init__(self, test, broker, seed, ingresses, workers, weights):
        self.broker, self.random, self.weights = broker, random.Random(seed), weights
        self.destination = test.cleanup(Destination(unsteady))
        self.topic = broker.topic("moves")
        # The second is acknowledged from the disk of its ingress while the broker is away.
        sources = {"things": mapped(), "kept": mapped(ack_from="spool")}
        first = node_over(test, broker, self.topic, sources, routes=[])
        broker.create(out_topic(first), PARTITIONS, len(broker.nodes()))
        self.fronts = [first] + [another(test, first) for _ in range(ingresses - 1)]
        self.workers = [
            Worker(another(test, first), f"worker {number}", self.destination) for number in range(1, workers + 1)
        ]
        self.deck, self.made, self.lives, self.log, self.timers, self.failures = [], {}, 0, [], [], []
        self.lock, self.brokers_turn = threading.Lock(), None
        self.began = time.monotonic()
        for node in self.fronts:
            node.start("ingress")
        for worker in self.workers:
            self.start(worker)

    def say(self, text):
        self.log.append(f"{time.monotonic() - self.began:6.1f} {text}")

    def start(self, worker):
        self.lives += 1
        worker.start(self.lives)
        self.say(f"{worker.name} starts, life {self.lives}, pid {worker.process.pid}")

    def later(self, seconds, act):
        """What goes wrong there is told when all is calm."""
        def guarded():
            try:
                act()
            except BaseException as failure:  # pylint: disable=broad-except
                self.failures.append(failure)

        timer = threading.Timer(seconds, guarded)
        timer.start()
        self.timers.append(timer)
        return timer

    # ---- moves ----

    def move(self):
        """One, and a little calm, or none."""
        for at, kind in enumerate(self._deck()):
            if self._try(kind):
                break
        del self.deck[at]
        self.made[kind] = self.made.get(kind, 0) + 1
        time.sleep(self.random.choice((0, 0.3, 1, 2, 3)) * self.random.random())

    def _deck(self):
        """Moves are dealt like cards, so that few of them are of all kinds too."""
        if len(self.deck) < len(self.weights):
            more = [kind for kind, count in self.weights.items() for _ in range(count)]
            self.random.shuffle(more)
            self.deck += more
        return list(self.deck)

    def _try(self, kind):
        """False when there is nobody that it could happen to."""
        act = getattr(self, "_" + kind.replace(" ", "_"))
        if kind == "kill ingress" or kind not in OF_WORKERS:
            # One broker at a time is away.
            if kind != "kill ingress" and self.brokers_turn is not None:
                self.brokers_turn.join()
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

    def _kill_ingress(self, node=None):
        node = node or self.random.choice(self.fronts)
        for process in node.running("ingress"):
            process.kill()
        node.start("ingress", ready=False)

    def _kill_broker(self):
        self.broker.restart()

    def _pause_broker(self):
        self.broker.stop()
        time.sleep(self.random.choice((0.5, 1.5, 2.5)))
        self.broker.go_on()

    def _away(self):
        """No broker; an ingress that is killed while its spool holds what it answered 200."""
        self.broker.kill()
        holding = until(lambda: [node for node in self.fronts if spooled(node) > 0], "something is spooled", pause=0.1)
        self._kill_ingress(self.random.choice(holding))
        time.sleep(self.random.choice((0.2, 1.5)))
        self.broker.up()

    def _kill_leader(self, topic):
        node = self.broker.leader(topic, self.random.randrange(PARTITIONS))
        self.say(f"node {node} is killed")
        self.broker.kill(node)
        self._back(self.random.uniform(*LEADER_GONE_S), self.broker.up)

    def _kill_events_leader(self):
        self._kill_leader(self.topic)

    def _kill_journal_leader(self):
        self._kill_leader(self.topic + ".journal")

    def _pause_leader(self):
        """The last of these is longer than anything waits for: others lead when it wakes."""
        topic, seconds = self.random.choice((self.topic, self.topic + ".journal")), self.random.choice(STILL_S)
        node = self.broker.leader(topic, self.random.randrange(PARTITIONS))
        self.say(f"node {node} stands still for {seconds} s")
        self.broker.stop(node)

        def wake():
            self.broker.go_on(node)
            self.broker.wait_usable()

        self._back(seconds, wake)

    def _roll(self):
        """Each node ends in order and comes back, one after the other."""
        def restart():
            for node in self.broker.nodes():
                self.broker.terminate(node)
                self.broker.up()

        self._back(0, restart)

    def _back(self, seconds, act):
        def back():
            act()
            self.say("all brokers are there")

        self.brokers_turn = self.later(seconds, back)

    # ---- calm ----

    def calm(self):
        """Everybody awake and there, and all that was taken has ended."""
        for timer in self.timers:
            timer.join()
        if self.failures:
            raise self.failures[0]
        for worker in self.workers:
            if not worker.alive():
                self.start(worker)
        for worker in self.workers:
            self.node_ready(worker)

    @staticmethod
    def node_ready(worker):
        worker.node.wait_ready(worker.process)

    def drained(self):
        """Nobody sends any more: what was spooled is on the topic, and all of that is worked."""
        until(lambda: not any(spooled(node) for node in self.fronts), "the spools are empty", 2 * PATIENCE_S, pause=0.1)
        ends = [self.broker.end(self.topic, partition) for partition in range(PARTITIONS)]
        until(lambda: all(w.at_rest(ends) for w in self.workers if w.alive()), f"all worked to {ends}", 2 * PATIENCE_S, pause=0.1)

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


def spooled(node):
    """How many events wait in the spool of an ingress; 1 when it does not say."""
    status, got = node.ask("/v1/status")
    return got["spool"]["records"] if status == 200 and got else 1


def loads_on(field, seed, clients, pause):
    """Two sources with one history."""
    types, history = ["web.a", "web.b", "rest.a", "pub.a"], KafkaHistory()
    made = [
        Load(Fronts(field.fronts, seed), "things", types, clients, pause=pause, seed=seed, name=f"s{seed}"),
        Load(Pinned(field.fronts, seed), "kept", types, 2, pause=pause, seed=seed + 1, name=f"k{seed}"),
    ]
    for load in made:
        load.history = history
    return made, history


def gather(field, loads, history):
    """What everybody says in the end; the problems with that, and the folds of the journals."""
    asked = history.ask({worker.name: worker.node for worker in field.workers})
    history.gather(field.workers[0].node, field.broker, field.topic, field.destination)
    history.gather_published(field.broker, out_topic(field.fronts[0]))
    history.routed = set().union(*(load.ids_of("web") for load in loads))
    history.to_publish = set().union(*(load.ids_of("pub") for load in loads))
    return same_answers(asked)


def moves(test, broker, count, seed, ingresses=2, workers=3, clients=5, pause=0.1, weights=None):
    """So many moves; fails the test with every broken promise."""
    field = Field(test, broker, seed, ingresses, workers, weights or WEIGHTS)
    print(f"    seed {seed}: {count} moves of {workers} workers and {ingresses} ingresses", flush=True)
    witness = Witness(field.workers)
    loads, history = loads_on(field, seed, clients, pause)
    problems = []
    try:
        for load in loads:
            load.start()
        field.calm()
        witness.start()
        for _ in range(count):
            field.move()
        field.calm()
        time.sleep(0.5)
        for load in loads:
            load.stop()
        field.drained()
        until(lambda: not field.settled(), "one owner of each lane", 30, pause=0.2)
        problems += gather(field, loads, history)
        problems += witness.stop()
        field.stop()
        folds = journal.fold(broker, field.topic + ".journal", PARTITIONS)
        history.tell_apart(folds)
        problems += history.check(repeats=count)
        problems += history.check_folds(folds)
    except BaseException:
        print("    " + "\n    ".join(field.log + field.settled()), flush=True)
        raise
    finally:
        for load in loads:
            load.stopping.set()
        for timer in field.timers:
            timer.cancel()
    print(f"    moves {field.made}; {len(history.sent)} requests, {len(history.accepted())} accepted, "
          f"outcomes {history.counts()}, {len(history.letters)} dead letters, {len(history.published)} published, {sum(f.claims for f in folds)} claims, "
          f"{sum(f.ignored for f in folds)} journal records ignored, {witness.asked} answers on owners, "
          f"{time.monotonic() - field.began:.0f} s", flush=True)
    report.did(moves=count, **{name.replace(" ", "_"): times for name, times in field.made.items()})
    report.did(requests=len(history.sent), accepted=len(history.accepted()), dead_letters=len(history.letters))
    if problems:
        print("    " + "\n    ".join(field.log), flush=True)
    test.assertEqual(problems[:20], [], f"seed {seed}: {len(problems)} broken promises")
    test.assertGreater(len(history.accepted()), 10 * count, "too little load to prove anything")


__all__ = ["Field", "LEADER_WEIGHTS", "WEIGHTS", "moves"]
