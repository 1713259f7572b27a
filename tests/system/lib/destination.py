"""A destination: an HTTP server that records what reaches it, and misbehaves on demand."""

import http.server
import json
import socket
import threading
import time


class Reply:
    """What to do with a request: answer a status after a delay; or never answer; or break off."""

    def __init__(self, status=200, headers=None, delay=0.0, hang=False, reset=False, body=b""):
        self.status, self.headers, self.delay = status, headers or {}, delay
        self.hang, self.reset, self.body = hang, reset, body


class Effect:
    """A request that arrived. `ended` is None while it is being answered; `status` is what it was told. A
    path that ends in a number names the life of the worker that called (see torture.py)."""

    def __init__(self, number, path, headers, body):
        self.number, self.path, self.headers, self.body = number, path, headers, body
        self.started, self.ended, self.status = time.monotonic(), None, None
        self.key = headers.get("idempotency-key", "")
        self.event_id = headers.get("ce-id", "")
        self.entity = headers.get("ce-subject", "")
        tail = path.rsplit("/", 1)[-1]
        self.life = int(tail) if tail.isdigit() else 0
        self.version = None
        try:
            self.version = json.loads(body).get("version")
        except (ValueError, AttributeError):
            pass

    @property
    def ok(self):
        return self.status is not None and 200 <= self.status < 300

    def __repr__(self):
        return f"<Effect {self.number} {self.key} v{self.version} {self.status}>"


def always(status, **more):
    return lambda effect, nth: Reply(status, **more)


def flapping(period):
    """Works for `period` seconds, fails for `period` seconds, and so on."""
    start = time.monotonic()
    return lambda effect, nth: Reply(503 if int((time.monotonic() - start) / period) % 2 else 200)


def busy(times, retry_after):
    """429 with Retry-After for the first `times` attempts of each event."""
    return lambda effect, nth: Reply(429, {"Retry-After": str(retry_after)}) if nth <= times else Reply()


def failing_first(times, status=503):
    return lambda effect, nth: Reply(status if nth <= times else 200)


def only(predicate, behaviour, other=None):
    """`behaviour` for the effects that fit, another one (200) for the rest."""
    other = other or always(200)
    return lambda effect, nth: (behaviour if predicate(effect) else other)(effect, nth)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """A caller that went away is an everyday matter here."""


class Destination:
    """`behave(effect, nth)` gives the Reply; nth counts the requests with the same idempotency key from 1."""

    def __init__(self, behave=None, port=0):
        self.behave = behave or always(200)
        self.lock = threading.Lock()
        self.effects = []  # in order of arrival
        self._seen = {}
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def _begin(self, path, headers, body):
        with self.lock:
            effect = Effect(len(self.effects), path, headers, body)
            self.effects.append(effect)
            nth = self._seen[effect.key] = self._seen.get(effect.key, 0) + 1
        return effect, nth

    def _handler(destination):  # noqa: N805 - `self` is the request handler below
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                effect, nth = destination._begin(self.path, headers, body)
                reply = destination.behave(effect, nth)
                if reply.hang:
                    destination._released.wait()
                    self.close_connection = True
                    return
                if reply.delay:
                    time.sleep(reply.delay)
                effect.status = reply.status
                effect.ended = time.monotonic()
                if reply.reset:
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    effect.status = None
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

        return Handler

    def of(self, event_id):
        """The effects of one event, in order."""
        with self.lock:
            return [effect for effect in self.effects if effect.event_id == event_id]

    def count(self):
        with self.lock:
            return len(self.effects)

    def snapshot(self):
        with self.lock:
            return list(self.effects)

    def close(self):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
