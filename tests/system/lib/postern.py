"""The program under test: a directory with a config, its processes, its commands, its admin API.

Only what the outer contract promises is used. Every process is started from the real binary, found by
$POSTERN_BINARY or in build/, and is stopped by its own pid.
"""

import itertools
import json
import os
import secrets as random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from urllib.parse import quote

from . import leaks
from .wire import Http, free_ports

ROOT = leaks._root()
PATIENCE_S = float(os.environ.get("POSTERN_TEST_PATIENCE", "30"))
_numbers = itertools.count(1)


def binary():
    return os.environ.get("POSTERN_BINARY", os.path.join(ROOT, "build", "postern"))


def until(condition, what, patience=PATIENCE_S, pause=0.02):
    """Poll until the condition gives something true, and return that."""
    deadline = time.monotonic() + patience
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(pause)


class Process:
    """One process of the program, with what it wrote kept for the leak search."""

    def __init__(self, half, config_path, env):
        self.half = half
        number = next(_numbers)
        base = os.path.join(leaks.suite_dir(), "said", f"log-{os.getpid()}-{number}-{half}")
        self.log_path = base + ".text"
        with open(self.log_path, "ab") as log, open(base + "-out.text", "ab") as out:
            self.popen = subprocess.Popen(
                [binary(), half, "-c", config_path], stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=env
            )

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, patience=PATIENCE_S):
        """The exit status (negative: the signal that ended it)."""
        return self.popen.wait(patience)

    def kill(self):
        if self.alive():
            self.popen.kill()
        return self.popen.wait()

    def stop(self, patience=PATIENCE_S):
        """SIGTERM, and the exit status."""
        if self.alive():
            self.popen.terminate()
        return self.wait(patience)

    def log(self):
        """Its log lines, as objects; a line that is no JSON fails the test that asks."""
        with open(self.log_path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.strip()]

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()


class Node:
    """An installation: config, keys, data, and the processes over it.

    sources: name -> (sender or None, members of the source's config). routes: as in the config. Further
    members of the config as keywords, merged into what is there.
    """

    def __init__(self, sources, routes=None, directory=None, env=None, **config):
        self.directory = directory or tempfile.mkdtemp(prefix="postern-")
        self.env = {"PATH": os.environ["PATH"], **(env or {})}
        self.processes = []
        self.senders = {}
        ingress, admin, worker = free_ports(3)
        self.listen = f"127.0.0.1:{ingress}"
        self.admin = f"127.0.0.1:{admin}"
        self.worker_admin = f"127.0.0.1:{worker}"
        self.token = random.token_hex(24)
        leaks.note(leaks.TOKEN, self.token)
        self.write_key("admin.token", self.token)
        self.config = {
            "data_dir": "data",
            "ingress": {"listen": self.listen},
            "admin": {"listen": self.admin, "worker_listen": self.worker_admin, "token_file": "keys/admin.token"},
            "sources": {name: self._source(name, *given) for name, given in sources.items()},
            "routes": routes if routes is not None else [{"name": "rest", "match": {}, "handler": {"type": "none"}}],
        }
        self._merge(self.config, config)
        self.write_config()
        self.hooks = Http(self.listen, "hooks")
        self.api = Http(self.admin, "admin")
        self.worker_api = Http(self.worker_admin, "admin")

    @staticmethod
    def _merge(into, more):
        for name, value in more.items():
            if isinstance(value, dict) and isinstance(into.get(name), dict):
                Node._merge(into[name], value)
            else:
                into[name] = value

    def _source(self, name, sender, members=None):
        members = dict(members or {})
        if sender is not None:
            self.senders[name] = sender
            self.write_key(f"{name}.key", sender.key_text())
            members.setdefault("keys", [{"file": f"keys/{name}.key"}])
            if "verify" not in members:
                members.setdefault("preset", sender.preset)
        return members

    # ---- files ---------------------------------------------------------------------------------

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    @property
    def config_path(self):
        return self.path("postern.json")

    def write_key(self, name, text):
        os.makedirs(self.path("keys"), mode=0o700, exist_ok=True)
        fd = os.open(self.path("keys", name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as out:
            out.write(text + "\n")
        return f"keys/{name}"

    def write_config(self):
        """Whole or not at all: a process may be starting."""
        with open(self.config_path + ".new", "w", encoding="utf-8") as out:
            json.dump(self.config, out, indent=2)
        os.rename(self.config_path + ".new", self.config_path)

    # ---- processes -----------------------------------------------------------------------------

    def start(self, half="run", ready=True, env=None):
        """Start a process; with `ready`, wait until its /readyz says so."""
        process = Process(half, self.config_path, {**self.env, **(env or {})})
        self.processes.append(process)
        if ready:
            self.wait_ready(process)
        return process

    def wait_ready(self, process, patience=PATIENCE_S):
        api = self.worker_api if process.half == "worker" else self.api

        def is_ready():
            if not process.alive():
                raise AssertionError(f"{process.half} ended with {process.wait()}:\n{process.log_text()[-2000:]}")
            return api.get("/readyz").status == 200

        until(is_ready, f"{process.half} ready", patience)

    def running(self, half=None):
        return [p for p in self.processes if p.alive() and half in (None, p.half)]

    def stop(self):
        """Stop all; every one must end well."""
        for process in self.running():
            status = process.stop()
            if status != 0:
                raise AssertionError(f"{process.half} ended with {status}:\n{process.log_text()[-2000:]}")

    def close(self, keep=False):
        for process in self.processes:
            process.kill()
        for http in (self.hooks, self.api, self.worker_api):
            http.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    # ---- commands ------------------------------------------------------------------------------

    def cli(self, *args, check=0, stdin=None, shows_records=False, patience=PATIENCE_S):
        """Run a command with this config; its CompletedProcess. check: the exit status it must have."""
        command = [binary(), *args, "-c", self.config_path]
        got = subprocess.run(
            command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, env=self.env, timeout=patience, check=False,
        )
        # What a person at the terminal asks for may be a record, a signature, a fresh key; talk never is.
        leaks.said(f"talk-{os.getpid()}", got.stderr, shows_records)
        if check is not None and got.returncode != check:
            said = f"{got.stdout[-1500:]!r}\n{got.stderr[-1500:]!r}"
            raise AssertionError(f"{' '.join(command)}: exit {got.returncode}\n{said}")
        return got

    def cli_json(self, *args, **more):
        """The objects that a command prints with --json, one a line."""
        got = self.cli(*args, "--json", **more)
        return [json.loads(line) for line in got.stdout.decode().split("\n") if line.strip()]

    # ---- the admin API -------------------------------------------------------------------------

    def ask(self, path, api=None):
        """A GET under /v1 with the token; (status, object)."""
        answer = (api or self.api).get(path, {"Authorization": "Bearer " + self.token})
        try:
            return answer.status, answer.json()
        except ValueError:
            return answer.status, None

    def worker_side(self):
        """The admin listener of the worker half."""
        return self.worker_api if self.running("worker") else self.api

    def _rows(self, path):
        """The objects under a path, none when the program does not know it."""
        status, got = self.ask(path, self.worker_side())
        if status == 404:
            return []
        if status != 200 or got is None:
            raise AssertionError(f"{path}: {status} {got}")
        return got["items"] if isinstance(got, dict) and "items" in got else [got]

    def event(self, event_id):
        """What the ledger knows of an id: a row for each source that knows it."""
        return self._rows("/v1/events/" + quote(event_id, safe=""))

    def outcome(self, event_id):
        """The outcome of an id that one source knows, or None."""
        rows = self.event(event_id)
        return rows[0]["outcome"] if rows else None

    def state(self, entity, tenant=None):
        """The stored state of an entity, or None."""
        name = f"{tenant}/{entity}" if tenant else entity
        rows = self._rows("/v1/state/" + quote(name, safe=""))
        return rows[0] if rows else None

    def wait_outcome(self, event_id, *outcomes, patience=PATIENCE_S):
        """Wait until an event has one of these outcomes; its row."""
        def look():
            rows = self.event(event_id)
            return rows[0] if rows and rows[0]["outcome"] in outcomes else None

        return until(look, f"{event_id} is {' or '.join(outcomes)}, not {self.event(event_id)}", patience)

    def wait_drained(self, patience=PATIENCE_S, parked=True):
        """Wait until the worker has reached the end of the log and nothing is parked."""
        def is_drained():
            values = self.metrics(self.worker_side())
            lag = values.get("postern_queue_lag_records", 1)
            return lag == 0 and (not parked or values.get("postern_parked_events", 1) == 0)

        until(is_drained, "the queue drained", patience, pause=0.1)

    def metrics(self, api=None):
        """name{labels} -> value."""
        values = {}
        for line in (api or self.api).get("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    # ---- sending -------------------------------------------------------------------------------

    def post(self, source, body, headers, query=""):
        leaks.note(leaks.BODY, body) if b"mark" not in body else None
        return self.hooks.request("POST", f"/hooks/{source}{query}", body, headers)

    def send(self, source, body, event_id, now=None, **headers):
        """Sign as the source's sender does, and post."""
        signed = self.senders[source].headers(body, event_id, now)
        signed.setdefault("Content-Type", "application/json")
        signed.update(headers)
        return self.post(source, body, signed)


def body_of(entity=None, version=None, **members):
    """A JSON body with a marker, and the members that `mapping` reads."""
    made = {"type": "thing.changed", "mark": leaks.marker(), **members}
    if entity is not None:
        made["entity"] = entity
    if version is not None:
        made["version"] = version
    return json.dumps(made, separators=(",", ":")).encode()


# A source whose bodies are those of `body_of`.
MAPPING = {"type": "json:/type", "entity": "json:/entity", "version": "json:/version"}


def recording_script(node, name="record", then="exit 0"):
    """A program for `exec` that appends a line to a file before and after `then`; its path and the file's.

    A line is: start or end, event id, entity, version, attempt, seconds, the program's first argument.
    O_APPEND makes short lines whole.
    """
    path, log = node.path(name + ".sh"), node.path(name + ".log")
    with open(path, "w", encoding="ascii") as out:
        out.write(
            "#!/bin/sh\n"
            'given=$1\n'
            "say() { printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' \"$1\" \"$POSTERN_EVENT_ID\" \"$POSTERN_ENTITY\""
            f" \"$POSTERN_VERSION\" \"$POSTERN_ATTEMPT\" \"$(date +%s.%N)\" \"$given\" >>'{log}'; }}\n"
            f"say start\ntrap 'say end' EXIT\n{then}\n"
        )
    os.chmod(path, 0o755)
    open(log, "a", encoding="ascii").close()
    return path, log


def recorded(log):
    """The lines of a recording script as dicts."""
    names = ("what", "event_id", "entity", "version", "attempt", "time", "given")
    with open(log, encoding="utf-8") as lines:
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in lines]


def handler_processes(event_ids=None, route=None):
    """Living processes that were started as handlers: (pid, event id), found by their environment. Other tests
    run at the same time: the ids, or the name of the route, tell whose they are."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as env_file:
                env = env_file.read().split(b"\0")
        except OSError:
            continue
        ids = [e[len(b"POSTERN_EVENT_ID=") :].decode() for e in env if e.startswith(b"POSTERN_EVENT_ID=")]
        if route is not None and f"POSTERN_ROUTE={route}".encode() not in env:
            continue
        if ids and (event_ids is None or ids[0] in event_ids):
            found.append((int(name), ids[0]))
    return found


class SystemTest(unittest.TestCase):
    """A test with nodes and destinations that are cleaned up, and whose logs are shown when it fails."""

    def node(self, *args, **more):
        return self.adopt(Node(*args, **more))

    def adopt(self, node):
        """Clean up after a node that was made elsewhere."""
        self.addCleanup(node.close)
        self.addCleanup(self._show_logs, node)
        return node

    def cleanup(self, thing):
        """Close it when the test is over."""
        self.addCleanup(thing.close)
        return thing

    def _show_logs(self, node):
        outcome = getattr(self, "_outcome", None)
        if outcome is None or outcome.success:
            return
        for process in node.processes:
            print(f"--- log of {process.half} (pid {process.pid}), last lines\n{process.log_text()[-3000:]}")

    def until(self, condition, what, patience=PATIENCE_S):
        return until(condition, what, patience)

    def assert_no_handlers(self, event_ids=None, patience=5.0):
        """No program started as a handler is left (they may take a moment to die)."""
        until(lambda: not handler_processes(event_ids), "no handler process left", patience)


__all__ = [
    "MAPPING", "Node", "Process", "SystemTest", "binary", "body_of", "handler_processes", "recorded",
    "recording_script", "signal", "until",
]
