"""Load with a history: clients that send as real senders do (and as attackers do), and a killer.

Each client owns some entities and raises their versions. Between the good events come copies of earlier
ones, versions that are too old, events without an entity, and forged requests. A request without an answer,
or with a 503, is sent again with the same id, as a patient sender would. Everything is chosen by a seed.
"""

import random
import threading
import time

from .history import History
from .postern import body_of

# Of a sender whose clock was stepped between its signature and the request's arrival.
STEPPED = ("EXPIRED", "CLOCK_SKEW")
KINDS = (("good", 70), ("copy", 10), ("stale", 8), ("loose", 8), ("forged", 4))


class Client(threading.Thread):
    """One sender. `types`: the types that its events have, so that all routes are used."""

    def __init__(self, load, number, seed):
        super().__init__(daemon=True, name=f"client-{number}")
        self.load, self.number, self.random = load, number, random.Random(seed)
        self.count = 0
        self.versions = {f"{load.name}-c{number}-{i}": 0 for i in range(load.entities)}
        self.earlier = []
        self.failure = None

    def run(self):
        try:
            while not self.load.stopping.is_set():
                self._one()
                time.sleep(self.random.uniform(0, 2 * self.load.pause))
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure  # told by Load.stop, on the thread of the test

    def _one(self):
        kinds, weights = zip(*KINDS)
        kind = self.random.choices(kinds, weights)[0]
        if kind == "copy" and self.earlier:
            self._deliver(*self.random.choice(self.earlier))
            return
        entity = None if kind == "loose" else self.random.choice(list(self.versions))
        version = None
        if entity is not None:
            version = self.versions[entity] + 1
            if kind == "stale":
                version = max(1, self.versions[entity] - self.random.randint(0, 3))
        self.count += 1
        event_id = f"{self.load.name}-c{self.number}-{self.count}"
        self.load.type_of[event_id] = self.random.choice(self.load.types)
        body = body_of(entity, version, type=self.load.type_of[event_id], id=event_id)
        if kind == "forged":
            self._forge(event_id, entity, version, body)
        elif self._deliver(event_id, entity, version, body):
            self.earlier.append((event_id, entity, version, body))
            if entity is not None:
                self.versions[entity] = max(self.versions[entity], version)

    def _deliver(self, event_id, entity, version, body):
        """Send until it is accepted; False when the load ended before."""
        node, history = self.load.node, self.load.history
        while True:
            answer = node.send(self.load.source, body, event_id, self.load.now())
            history.note(event_id, entity, version, answer)
            if answer.status == 200:
                return True
            if answer.status not in (None, 503, 429) and answer.code not in self.load.refusals:
                raise AssertionError(f"{event_id}: {answer}")
            if self.load.stopping.wait(0.05):
                return False

    def _forge(self, event_id, entity, version, body):
        """A signature of another body."""
        node = self.load.node
        headers = node.senders[self.load.source].headers(body + b" ", event_id, self.load.now())
        headers["Content-Type"] = "application/json"
        answer = node.post(self.load.source, body, headers)
        self.load.history.note(event_id, entity, version, answer, good=False)
        if answer.status not in (None, 401, 503) and answer.code not in self.load.refusals:
            raise AssertionError(f"forged {event_id}: {answer}")


class Load:
    """Clients that send until `stop`; the history of it all."""

    def __init__(self, node, source, types, clients=6, entities=4, pause=0.01, seed=1, name="e", now=None):
        """now: the clock of the senders, where it is not the real one."""
        self.node, self.source, self.types = node, source, types
        self.now, self.refusals = now or (lambda: None), STEPPED if now else ()
        self.entities, self.pause, self.name = entities, pause, name
        self.history, self.stopping = History(), threading.Event()
        self.type_of = {}  # event id -> type
        self.clients = [Client(self, n, seed * 1000 + n) for n in range(clients)]

    def start(self):
        for client in self.clients:
            client.start()
        return self

    def ids_of(self, start):
        """The ids of the events whose type starts so."""
        return {event_id for event_id, kind in self.type_of.items() if kind.startswith(start)}

    def stop(self):
        self.stopping.set()
        for client in self.clients:
            client.join(60)
        for client in self.clients:
            if client.failure is not None:
                raise client.failure
            if client.is_alive():
                raise AssertionError(f"{client.name} does not end")


class Killer:
    """Kills processes of a node at random moments and starts them again."""

    def __init__(self, node, seed, calm=(0.05, 0.8)):
        self.node, self.random, self.calm = node, random.Random(seed), calm
        self.kills = 0

    def kill_one(self, after_kill=None):
        """Wait a little, kill one of the running processes, call after_kill(process), start its half again.
        A restart is not always waited for, so that the next kill may hit a process that is still starting."""
        time.sleep(self.random.uniform(*self.calm))
        victim = self.random.choice(self.node.running())
        victim.kill()
        self.kills += 1
        if after_kill is not None:
            after_kill(victim)
        self.node.start(victim.half, ready=self.random.random() < 0.7)
