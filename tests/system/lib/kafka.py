"""A real Kafka broker for the tests: scripts/kafka starts it, kcat reads and writes it, a pid hurts it.

`shared()` is the one broker of a run of the suite, for tests that leave it alone: it is started when the first
test asks and ended by the runner. A test that kills or stops a broker takes that of its file from `to_hurt()`, or
one of its own from `own()`, so that no other test sees it go. Topics of different tests never meet: `topic()` gives a name nobody used.

Records are read and written by kcat, so that what the program wrote is seen by a client that is not ours.
Topics in use are never deleted: a client that knows a deleted topic can hang when it is closed.
"""

import atexit
import glob
import itertools
import json
import os
import re
import secrets as random
import signal
import subprocess
import tempfile

from . import leaks
from .postern import PATIENCE_S, ROOT, until

SCRIPT = os.path.join(ROOT, "scripts", "kafka")
ADMIN = os.path.join(ROOT, "build", "kafka", "admin")
# Directories of clusters in the suite's directory.
PREFIX = "kafka-"
# The first start on a machine fetches the broker.
START_S = 600
_names = itertools.count(1)
_shared, _hurt = {}, {}


class Record:
    """A record as kcat read it: bytes are bytes, a missing key or body is None, headers are in their order."""

    def __init__(self, row):
        self.topic, self.partition, self.offset = row["topic"], row["partition"], row["offset"]
        self.timestamp_ms, self.log_append = row["ts"], row["tstype"] == "logappend"
        self.key, self.body = _bytes(row["key"]), _bytes(row["payload"])
        flat = [_text_of(value) for value in row.get("headers") or ()]
        self.header_list = list(zip(flat[::2], flat[1::2]))
        self.headers = dict(self.header_list)

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.topic}[{self.partition}]@{self.offset} {self.key!r} {self.headers} {len(self.body or b'')} bytes>"


def _bytes(value):
    """kcat writes bytes as they are into its JSON; they were read so that every one of them can be had back."""
    return None if value is None else value.encode("utf-8", "surrogateescape")


def _text_of(value):
    return None if value is None else _bytes(value).decode("utf-8")


def _run(command, patience=PATIENCE_S, **more):
    """Its output; a command that fails says why."""
    got = subprocess.run(command, capture_output=True, timeout=patience, check=False, **more)
    if got.returncode != 0:
        text = got.stderr.decode("utf-8", "replace").strip()
        raise AssertionError(f"{os.path.basename(command[0])} ended with {got.returncode}: {text[-2000:]}")
    return got.stdout


class Kafka:
    """A cluster in a directory. `kind` is a listener: plain, tls, sasl, sasl-tls."""

    def __init__(self, directory, nodes=1, tls=False, sasl=False, steady=False):
        self.directory = os.path.realpath(directory)
        self._options = ["--nodes", str(nodes)] + ["--tls"] * tls + ["--sasl"] * sasl + ["--steady"] * steady

    def _script(self, *words, patience=PATIENCE_S):
        return _run([SCRIPT, *words, "--dir", self.directory], patience).decode()

    # ---- life ----

    def up(self):
        """Start what does not run, and wait until it is usable; also after kill(). The bootstrap address."""
        return self._script("up", *self._options, patience=START_S).strip().splitlines()[-1]

    def close(self):
        """Kill the nodes and remove their records."""
        self.wake()
        self._script("down", "--wipe")

    def wake(self):
        """Nobody stands still."""
        for node in self.nodes():
            self._signal(node, signal.SIGCONT)

    def wait_usable(self, patience=PATIENCE_S):
        """A topic can be made and a record is acknowledged, whichever node is asked first."""
        for address in self.address().split(","):
            self._admin("ready", str(len(self.nodes())), str(int(patience)), address=address, patience=patience + 10)

    def kill(self, node=1):
        """SIGKILL, and gone when this returns."""
        pid = self.pid(node)
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid(node) is None, f"node {node} gone")

    def terminate(self, node=1):
        """SIGTERM: it hands over what it leads; gone when this returns."""
        os.kill(self.pid(node), signal.SIGTERM)
        until(lambda: self.pid(node) is None, f"node {node} ended", 2 * PATIENCE_S)

    def restart(self, node=1):
        """SIGKILL, start again, usable."""
        self.kill(node)
        self.up()

    def stop(self, node=1):
        """SIGSTOP: connections stay, nothing answers."""
        os.kill(self.pid(node), signal.SIGSTOP)

    def go_on(self, node=1):
        """SIGCONT."""
        os.kill(self.pid(node), signal.SIGCONT)

    def pid(self, node=1):
        """None when the node does not run. A number that another process has by now is not given."""
        try:
            with open(os.path.join(self.directory, f"node{node}", "pid"), encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                ours = os.path.join(self.directory, f"node{node}", "server.properties").encode()
                return pid if ours in words.read().split(b"\0") else None
        except (OSError, ValueError):
            return None

    def nodes(self):
        return [node for node in (1, 2, 3) if os.path.isdir(os.path.join(self.directory, f"node{node}"))]

    def _signal(self, node, number):
        pid = self.pid(node)
        if pid is not None:
            os.kill(pid, number)

    def log(self, node=1):
        with open(os.path.join(self.directory, f"node{node}", "log"), encoding="utf-8", errors="replace") as text:
            return text.read()

    # ---- addresses ----

    def properties(self, kind="plain"):
        """What a client needs, by librdkafka's names: for "properties" of a config."""
        with open(self._conf(kind), encoding="ascii") as lines:
            return dict(line.rstrip("\n").split("=", 1) for line in lines)

    def address(self, kind="plain"):
        return self.properties(kind)["bootstrap.servers"]

    def _conf(self, kind):
        return os.path.join(self.directory, kind + ".conf")

    # ---- topics ----

    @staticmethod
    def topic(name="t"):
        """A name, also for a prefix, that no test of any run has used."""
        return f"{name}-{next(_names)}-{random.token_hex(4)}"

    def create(self, topic, partitions=1, replicas=1, **config):
        """Members of `config` are Kafka's names with _ for the dots."""
        settings = [f"{name.replace('_', '.')}={value}" for name, value in config.items()]
        self._admin("create", topic, str(partitions), str(replicas), *settings)
        return topic

    def grow(self, topic, partitions):
        self._admin("grow", topic, str(partitions))

    def delete(self, topic):
        """Only for a test of just that: see above."""
        self._admin("delete", topic)

    def trim(self, topic, offset, partition=0):
        """Delete the records below the offset."""
        self._admin("trim", topic, str(partition), str(offset))

    def _admin(self, *words, address=None, patience=PATIENCE_S):
        _run([ADMIN, "-X", "bootstrap.servers=" + (address or self.address()), *words], patience)

    def topics(self):
        """name -> number of partitions."""
        return {topic["topic"]: len(topic["partitions"]) for topic in self.listed()}

    def listed(self, topic=None):
        """What kcat lists of all topics, or of one."""
        return json.loads(self.kcat("-L", "-J", *(("-t", topic) if topic else ())))["topics"]

    def leader(self, topic, partition=0):
        """The node that leads a partition; waits while there is none."""
        def look():
            (listed,) = self.listed(topic)
            return max((row["leader"] for row in listed["partitions"] if row["partition"] == partition), default=0)

        return until(look, f"{topic}[{partition}] has a leader")

    def end(self, topic, partition=0):
        """The offset that the next record gets."""
        said = self.kcat("-Q", "-t", f"{topic}:{partition}:-1").decode()
        return int(re.search(r"offset (-?\d+)", said).group(1))

    # ---- records ----

    def kcat(self, *words, kind="plain", patience=PATIENCE_S, data=None):
        """What kcat printed."""
        command = ["kcat", "-q", "-F", self._conf(kind), *words]
        return _run(command, patience, **({"stdin": subprocess.DEVNULL} if data is None else {"input": data}))

    def produce(self, topic, body, key=None, headers=(), partition=None, kind="plain"):
        """One record, acknowledged by all replicas when this returns. `headers`: a dict, or pairs.

        kcat sends no empty body (b"", or None for a null) without a key.
        """
        pairs = headers.items() if isinstance(headers, dict) else headers
        words = ["-P", "-t", topic, "-X", "topic.acks=all"]
        words += itertools.chain.from_iterable(("-H", f"{name}={value}") for name, value in pairs)
        words += ["-p", str(partition)] if partition is not None else []
        if not body:
            assert key, "an empty body needs a key"
            words += ["-K", "\x1f"] + ["-Z"] * (body is None)
            self.kcat(*words, kind=kind, data=key.encode() + b"\x1f\n")
            return
        words += ["-k", key] if key is not None else []
        with tempfile.NamedTemporaryFile(prefix="kafka-body-") as file:
            file.write(body)
            file.flush()
            self.kcat(*words, file.name, kind=kind)

    def consume(self, topic, partition=None, offset="beginning", count=None, kind="plain", patience=PATIENCE_S):
        """The records up to the end, of all partitions or of one; with `count` it waits until so many came."""
        words = ["-C", "-J", "-t", topic, "-o", str(offset), "-X", "fetch.wait.max.ms=20"]
        words += ["-p", str(partition)] if partition is not None else []
        words += ["-e"] if count is None else ["-c", str(count)]
        said = self.kcat(*words, kind=kind, patience=patience).decode("utf-8", "surrogateescape")
        records = [Record(json.loads(line)) for line in said.split("\n") if line]
        return sorted(records, key=lambda record: (record.partition, record.offset))


def shared():
    """The started broker of this run of the suite. Do not hurt it."""
    broker = _shared.get("broker")
    if broker is None:
        broker = _shared["broker"] = Kafka(os.path.join(leaks.suite_dir(), PREFIX + "shared"), steady=True)
        # Without a runner that ends it for all files, the file that started it does.
        if "POSTERN_SUITE_RESULT" not in os.environ:
            atexit.register(broker.close)
        broker.up()
    return broker


def own(test, **options):
    """A started broker of this test alone."""
    broker = Kafka(tempfile.mkdtemp(prefix=PREFIX, dir=leaks.suite_dir()), **options)
    test.addCleanup(broker.close)
    broker.up()
    return broker


def to_hurt(test, **options):
    """A started broker that this file's tests kill and stop, one after the other: whole again for each of them.
    Every test has topics of its own, and starting a broker takes longer than bringing one back."""
    key = tuple(sorted(options.items()))
    if key not in _hurt:
        _hurt[key] = Kafka(tempfile.mkdtemp(prefix=PREFIX, dir=leaks.suite_dir()), **options)
        atexit.register(_hurt[key].close)
    broker = _hurt[key]
    test.addCleanup(broker.wake)
    broker.up()
    return broker


def close_all(suite):
    """For the runner: end the shared broker, and those of a test program that was killed."""
    for directory in glob.glob(os.path.join(glob.escape(suite), PREFIX + "*")):
        Kafka(directory).close()


__all__ = ["Kafka", "Record", "SCRIPT", "close_all", "own", "shared", "to_hurt"]
