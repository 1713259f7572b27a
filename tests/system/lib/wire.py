"""HTTP as the tests speak it: kept connections, raw bytes, and a record of every answer."""

import http.client
import json
import os
import random
import socket
import threading

from . import leaks


PORTS = (4096, 16384)  # those above are given to brokers by scripts/kafka, and then to clients


class Answer:
    """A status, headers (lower-case names) and a body; status None: the connection broke."""

    def __init__(self, status=None, headers=None, body=b"", error=None):
        self.status, self.headers, self.body, self.error = status, headers or {}, body, error

    def json(self):
        return json.loads(self.body) if self.body else None

    @property
    def code(self):
        """The program's code: of a refusal, or ACCEPTED."""
        if self.status == 200:
            return "ACCEPTED"
        try:
            return self.json().get("code")
        except (ValueError, AttributeError):
            return None

    def __repr__(self):
        return f"<Answer {self.status} {self.error or self.body[:200]!r}>"


def _keep(name, path, answer):
    shows_records = path.startswith(("/v1/dlq/", "/v1/quarantine/"))
    head = "".join(f"{k}: {v}\n" for k, v in answer.headers.items()).encode()
    leaks.said(f"{name}-{os.getpid()}", head + answer.body, shows_records)


class Http:
    """Requests to one address; each thread has a kept connection of its own."""

    def __init__(self, address, name="answers", timeout=30):
        self.host, port = address.rsplit(":", 1)
        self.port, self.name, self.timeout = int(port), name, timeout
        self._local = threading.local()

    def request(self, method, path, body=b"", headers=None):
        """One request. A connection that breaks gives an Answer without status: the outcome is unknown."""
        for last in (False, True):
            fresh = getattr(self._local, "connection", None) is None
            if fresh:
                self._local.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
            sent = False
            try:
                self._local.connection.request(method, path, body, headers or {})
                sent = True
                got = self._local.connection.getresponse()
                lower = {name.lower(): value for name, value in got.getheaders()}
                answer = Answer(got.status, lower, got.read())
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # A kept connection that the server closed in between: nothing was read of this request.
                if not fresh and not last and isinstance(
                    error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)
                ) and not sent:
                    continue
                return Answer(error=f"{type(error).__name__}: {error}")
            if answer.headers.get("connection", "").lower() == "close":
                self.close()
            _keep(self.name, path, answer)
            return answer
        return Answer(error="no connection")

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def close(self):
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
        self._local.connection = None


def raw(address, data, timeout=10, half_close=False):
    """Send bytes as they are; everything that comes back until the peer closes or is silent."""
    host, port = address.rsplit(":", 1)
    got = b""
    with socket.create_connection((host, int(port)), timeout=timeout) as peer:
        try:
            peer.sendall(data)
            if half_close:
                peer.shutdown(socket.SHUT_WR)
            while True:
                some = peer.recv(65536)
                if not some:
                    break
                got += some
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
    leaks.said(f"raw-{os.getpid()}", got)
    return got


def free_ports(count):
    """Ports that nobody listens on now. All are held until all are known, so they differ. They are below those that
    the system gives to clients: nobody's connection takes the port of a process that was killed and comes back."""
    holders = []
    try:
        while len(holders) < count:
            holder = socket.socket()
            try:
                holder.bind(("127.0.0.1", random.randrange(*PORTS)))
                holders.append(holder)
            except OSError:
                holder.close()
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()
