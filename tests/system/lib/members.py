"""Who takes part in the moves (moves.py): ingresses that are sent to as one, workers with their machines, and
a witness who asks everybody who owns what."""

import os
import random
import signal
import threading
import time
import zlib

from .destination import Reply
from .wire import Http

RETRY = {"attempts": 20, "base_ms": 20, "cap_ms": 300}


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


class Pinned(Fronts):
    """All events of an entity go to one of them: what may be spooled keeps its order within an ingress."""

    def send(self, source, body, event_id, *args, **more):
        client = event_id.rsplit("-", 1)[0]
        return self.nodes[zlib.crc32(client.encode()) % len(self.nodes)].send(source, body, event_id, *args, **more)


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


def out_topic(node):
    """Where the events that are published go."""
    return node.config["queue"]["topic"] + ".out"


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
            {"name": "out", "match": {"type": "pub*"}, "handler": {"type": "topic", "topic": out_topic(self.node)}},
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


__all__ = ["Fronts", "Pinned", "Witness", "Worker", "out_topic", "rot", "unsteady"]
