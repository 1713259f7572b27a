"""Tools of the tests that walk the outer contract: shared nodes, raw answers, waiting for outcomes."""

import atexit
import json
import re
import shlex
import socket
import subprocess
import threading
import time

from . import leaks
from .postern import MAPPING, Node, PATIENCE_S, SystemTest, binary, body_of, until
from .senders import StandardWebhooks

# Small segments: a node starts and stops at once, and still takes a body of the largest size.
SMALL_QUEUE = {"segment_bytes": 4 * 1024 * 1024, "reserve_bytes": 0}
FAST_RETRY = {"base_ms": 20, "cap_ms": 100}

_shared = {}


def _close_shared():
    for node in _shared.values():
        node.close()


atexit.register(_close_shared)


class Kit(SystemTest):
    """A test whose node may be shared by all tests of its file: `shared` makes it once."""

    def small(self, *args, **more):
        """A node of this test alone."""
        return self.node(*args, **_with_small_queue(more))

    def shared(self, name, make):
        """The started node that `make` gives, one for the whole file."""
        node = _shared.get(name)
        if node is None:
            node = _shared[name] = make()
            node.start()
        self.addCleanup(self._show_logs, node)
        return node

    def ended(self, node, event_id, outcome, code=None, patience=PATIENCE_S):
        """Wait until the event has this outcome; its row. Another outcome that is an end fails at once."""
        last = {}

        def look():
            rows = node.event(event_id)
            last["rows"] = rows
            if not rows or rows[0]["outcome"] in ("pending", "parked") and outcome != rows[0]["outcome"]:
                return None
            return rows[0]

        try:
            row = until(look, f"{event_id} {outcome}", patience)
        except AssertionError as late:
            raise AssertionError(f"{late}; it is {last.get('rows')}") from None
        self.assertEqual(row["outcome"], outcome, row)
        if code is not None:
            self.assertEqual(row["code"], code, row)
        return row

    def accepted(self, answer, event_id=None):
        self.assertEqual(answer.status, 200, answer)
        if event_id is not None:
            self.assertEqual(answer.json()["event_id"], event_id)
        return answer

    def refused(self, answer, status, code):
        """A problem of contract section 3, with all its members."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers.get("content-type"), "application/problem+json")
        problem = answer.json()
        self.assertEqual((problem["status"], problem["code"]), (status, code))
        for name in ("type", "title", "request_id"):
            self.assertTrue(isinstance(problem[name], str) and problem[name], (name, problem))
        self.assertEqual(problem["request_id"], answer.headers["x-request-id"])
        return answer


def _with_small_queue(more):
    made = dict(more)
    made["queue"] = {**SMALL_QUEUE, **made.get("queue", {})}
    return made


def make_node(*args, **more):
    """A node outside of a test, for `shared`."""
    return Node(*args, **_with_small_queue(more))


def mapped(sender=None, **members):
    """A source of Standard Webhooks whose bodies are those of `body_of`."""
    return (sender or StandardWebhooks(), {**MAPPING, **members})


def send(node, source, event_id, entity=None, version=None, **members):
    """An event of `body_of`, accepted."""
    answer = node.send(source, body_of(entity, version, **members), event_id)
    if answer.status != 200:
        raise AssertionError(f"{event_id}: {answer}")
    return answer


class Raw:
    """One of the answers in a stream of bytes."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def answers(data, bodiless=False):
    """All answers in the bytes that came back; bytes that are no answer fail. `bodiless`: to HEAD."""
    made = []
    while data:
        head, mark, rest = data.partition(b"\r\n\r\n")
        if not mark or not head.startswith(b"HTTP/1.1 "):
            raise AssertionError(f"no answer: {data[:200]!r}")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(lines[0].split()[1])
        length = 0 if bodiless or status in (100, 204, 304) else int(headers.get("content-length", "0"))
        made.append(Raw(status, headers, rest[:length]))
        data = rest[length:]
    return made


def request_bytes(path, body=b"", headers=None, method="POST", version="HTTP/1.1", length=True, host=True):
    """A request as bytes; what the headers say of the length is left alone when they say anything."""
    lines = [f"{method} {path} {version}"]
    if host:
        lines.append("Host: hooks.test")
    given = dict(headers or {})
    lines += [f"{name}: {value}" for name, value in given.items()]
    if length and not {"content-length", "transfer-encoding"} & {name.lower() for name in given}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Client:
    """A connection of its own, spoken by hand."""

    def __init__(self, address, timeout=10):
        host, port = address.rsplit(":", 1)
        self.peer = socket.create_connection((host, int(port)), timeout=timeout)
        self.got = b""

    def send(self, data):
        """False when the server has closed."""
        try:
            self.peer.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def read_answers(self, count):
        """Read until so many answers are whole."""
        while True:
            try:
                made = answers(self.got)
                if len(made) >= count and all(
                    len(a.body) == int(a.headers.get("content-length", "0")) for a in made if a.status != 100
                ):
                    return made
            except AssertionError:
                pass
            some = self.peer.recv(65536)
            if not some:
                return answers(self.got)
            self.got += some

    def read_all(self, patience=10):
        """Everything until the server closes; TimeoutError when it does not."""
        deadline = time.monotonic() + patience
        while True:
            self.peer.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                some = self.peer.recv(65536)
            except ConnectionResetError:
                break
            if not some:
                break
            self.got += some
        leaks.said("raw-kit", self.got)
        return self.got

    def close(self):
        self.peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def in_threads(count, work):
    """Run work(0..count-1), each in a thread; the first exception is raised again."""
    failed = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def shell(line, env=None, cwd=None, patience=PATIENCE_S):
    """A line as a person types it into bash."""
    return subprocess.run(
        ["bash", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, env=env, cwd=cwd, timeout=patience,
        check=False,
    )


def openssl_hmac(digest, key, data):
    """An independent signature: the hex digits that `openssl dgst` prints."""
    line = f"openssl dgst -{digest} -hmac {shlex.quote(key)} -hex"
    got = subprocess.run(["bash", "-c", line], input=data, capture_output=True, check=True)
    return re.search(r"([0-9a-f]{40,128})\s*$", got.stdout.decode()).group(1)


def json_lines(data):
    return [json.loads(line) for line in data.decode().split("\n") if line.strip()]


__all__ = [
    "Client", "FAST_RETRY", "Kit", "MAPPING", "Node", "Raw", "answers", "binary", "body_of", "in_threads", "json_lines",
    "make_node", "mapped", "openssl_hmac", "percentile", "request_bytes", "send", "shell", "until",
]
