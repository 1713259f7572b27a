"""HTTP that is well-formed, in all its forms; each limit at and one past it; slow, silent and many clients."""

import resource
import socket
import time

from lib import report
from lib.kit import Client, Kit, answers, body_of, make_node, mapped, percentile, request_bytes, until
from lib.wire import raw

LIMIT = 4096
HEADER_LIMIT = 16384


def hasty():
    """A node whose patience with its clients is short."""
    return make_node(
        {"sw": mapped()},
        ingress={"max_body_bytes": LIMIT, "header_timeout_s": 1, "body_timeout_s": 1, "idle_timeout_s": 2},
    )


def patient():
    """For clients that stay: the default timeouts."""
    return make_node({"sw": mapped()}, ingress={"max_body_bytes": LIMIT})


class Framing(Kit):
    """What is well-formed, in all its forms, and each limit at and one past it."""

    def setUp(self):
        self.at = self.shared("patient", patient)

    def signed(self, body, event_id):
        return self.at.senders["sw"].headers(body, event_id)

    def ask(self, data, count=1):
        with Client(self.at.listen) as client:
            client.send(data)
            return client.read_answers(count)

    def chunks(self, body, sizes, trailer=b""):
        made, at = b"", 0
        for size in sizes:
            made += b"%x\r\n" % size + body[at : at + size] + b"\r\n"
            at += size
        return made + b"0\r\n" + trailer + b"\r\n"

    def test_chunked(self):
        body = body_of(fill="x" * 300)
        sizes = [1, 7, 100, len(body) - 108]
        head = request_bytes("/hooks/sw", b"", {**self.signed(body, "chunked-1"), "Transfer-Encoding": "chunked"})
        self.assertEqual(self.ask(head + self.chunks(body, sizes))[0].status, 200)
        head = head.replace(b"chunked\r\n", b"Chunked\r\n")
        with_extras = self.chunks(body, sizes, b"X-Trailer: yes\r\n").replace(b"7\r\n", b"7;name=value\r\n", 1)
        self.assertEqual(self.ask(head + with_extras)[0].status, 200)
        self.assertEqual(self.ended(self.at, "chunked-1", "applied")["event_id"], "chunked-1")

    def test_broken_chunks(self):
        body = body_of()
        head = request_bytes("/hooks/sw", b"", {**self.signed(body, "chunked-2"), "Transfer-Encoding": "chunked"})
        size = b"%x" % len(body)
        for broken in (
            b"zz\r\n" + body, b"-5\r\n" + body, size + b"\r\n" + body + b"XX0\r\n\r\n", b"\r\n" + body,
            b"ffffffffffffffffff\r\n" + body,
        ):
            got = answers(raw(self.at.listen, head + broken))
            self.assertTrue(len(got) == 1 and got[0].status in (400, 413), (broken[:20], got and got[0].status))
        self.assertEqual(self.at.event("chunked-2"), [])

    def test_body_limit(self):
        for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
            base = body_of(fill="")
            body = base.replace(b'"fill":""', b'"fill":"' + b"x" * (size - len(base)) + b'"')
            self.assertEqual(len(body), size)
            headers = self.signed(body, f"limit-{size}")
            self.assertEqual(self.ask(request_bytes("/hooks/sw", body, headers))[0].status, status)
            head = request_bytes("/hooks/sw", b"", {**headers, "Transfer-Encoding": "chunked"})
            chunked = head + self.chunks(body, [size // 2, size - size // 2])
            self.assertEqual(answers(raw(self.at.listen, chunked, timeout=1))[0].status, status)

    def test_header_limits(self):
        body = body_of()
        signed = self.signed(body, "headers-1")
        for count, status in ((64, 200), (65, 431)):
            # Host and Content-Length are headers too.
            extra = {f"X-{number}": "v" for number in range(count - len(signed) - 2)}
            got = self.ask(request_bytes("/hooks/sw", body, {**signed, **extra}))
            self.assertEqual(got[0].status, status, count)
        small = request_bytes("/hooks/sw", body, {**signed, "X-Fill": ""})
        head = len(small) - len(body)
        for size, status in ((HEADER_LIMIT, 200), (HEADER_LIMIT + 1, 431)):  # of the whole head
            fill = "f" * (size - head)
            got = answers(raw(self.at.listen, request_bytes("/hooks/sw", body, {**signed, "X-Fill": fill}), timeout=1))
            self.assertEqual(got[0].status, status, size)

    def test_target_limit(self):
        body = body_of()
        signed = self.signed(body, "target-1")
        for size, status in ((2048, 200), (2049, 414)):
            path = "/hooks/sw?" + "q" * (size - len("/hooks/sw?"))
            self.assertEqual(self.ask(request_bytes(path, body, signed))[0].status, status, size)

    def test_expect_100_continue(self):
        body = body_of()
        head = request_bytes(
            "/hooks/sw", b"", {**self.signed(body, "expect-1"), "Expect": "100-continue", "Content-Length": len(body)}
        )
        with Client(self.at.listen) as client:
            client.send(head)
            self.assertEqual(client.read_answers(1)[0].status, 100)
            client.send(body)
            self.assertEqual([answer.status for answer in client.read_answers(2)], [100, 200])
        head = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % (LIMIT + 1))
        self.assertEqual(answers(raw(self.at.listen, head))[0].status, 413)

    def test_keep_alive_and_pipelining(self):
        ids = [f"pipe-{number}" for number in range(20)]
        data = b""
        for event_id in ids:
            body = body_of()
            data += request_bytes("/hooks/sw", body, self.signed(body, event_id))
        with Client(self.at.listen) as client:
            client.send(data + request_bytes("/hooks/nosuch", b"hi") + data)
            got = client.read_answers(41)
        self.assertEqual([answer.status for answer in got], [200] * 20 + [404] + [200] * 20)
        for answer, event_id in zip(got, ids):
            self.assertIn(f'"{event_id}"'.encode(), answer.body, "in order")

    def test_garbage_behind_good_requests(self):
        """It is answered, wherever it comes, and nothing is added to an answer that ends the connection."""
        body = body_of()
        good = request_bytes("/hooks/sw", body, self.signed(body, "behind-1"))
        closing = request_bytes("/hooks/sw", body, {**self.signed(body, "behind-2"), "Connection": "close"})
        for number in range(3):
            with Client(self.at.listen) as client:
                for _ in range(number):
                    client.send(good)
                    self.assertEqual(client.read_answers(1)[0].status, 200)
                client.send(b"GARBAGE\r\n\r\n")
                got = answers(client.read_all(patience=3))
                self.assertEqual([answer.status for answer in got[number:]], [400], number)
        self.assertEqual([answer.status for answer in answers(raw(self.at.listen, closing))], [200])

    def test_old_and_closing_clients(self):
        body = body_of()
        signed = self.signed(body, "old-1")
        old = request_bytes("/hooks/sw", body, signed, version="HTTP/1.0", host=False)
        self.assertEqual(answers(raw(self.at.listen, old, timeout=3))[0].status, 200)
        closing = request_bytes("/hooks/sw", body, {**signed, "Connection": "close"})
        with Client(self.at.listen) as client:
            client.send(closing)
            self.assertEqual(answers(client.read_all(patience=3))[0].status, 200)

    def test_head_and_get(self):
        head = request_bytes("/hooks/sw", method="HEAD", length=False)
        closing = request_bytes("/hooks/sw", method="HEAD", length=False, headers={"Connection": "close"})
        got = answers(raw(self.at.listen, head + closing), bodiless=True)
        self.assertEqual([(answer.status, answer.body) for answer in got], [(405, b"")] * 2)
        self.assertEqual(self.ask(request_bytes("/hooks/sw", method="GET", length=False))[0].status, 405)

    def test_a_client_that_leaves_early(self):
        """A body that never came whole is no event, and its id is still free."""
        body = body_of()
        data = request_bytes("/hooks/sw", body, self.signed(body, "left-1"))
        with Client(self.at.listen) as client:
            client.send(data[:-5])
        self.assertEqual(self.at.event("left-1"), [])
        self.assertEqual(self.ask(data)[0].status, 200)
        self.ended(self.at, "left-1", "applied")

    def test_2000_idle_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 3000:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        host, port = self.at.listen.rsplit(":", 1)
        idle = []
        try:
            for _ in range(2000):
                idle.append(socket.create_connection((host, int(port)), timeout=10))
            until(lambda: self.at.metrics().get("postern_http_connections", 0) >= 2000, "all accepted")
            took = []
            for number in range(300):
                body = body_of()
                start = time.monotonic()
                self.accepted(self.at.post("sw", body, self.signed(body, f"crowd-{number}")))
                took.append(time.monotonic() - start)
            self.assertLess(percentile(took, 0.99), 1.0, "others are served")
        finally:
            for peer in idle:
                peer.close()
        until(lambda: self.at.metrics()["postern_http_connections"] < 100, "all gone")


class Slow(Kit):
    """Deadlines are total: a byte now and then buys no time."""

    def setUp(self):
        self.at = self.shared("hasty", hasty)

    def drip(self, data, first=0):
        """Send `first` bytes, then one every 0.1 s, until the server closes; seconds, and what came back."""
        start = time.monotonic()
        with Client(self.at.listen) as client:
            client.send(data[:first])
            client.peer.settimeout(0.1)
            got = b""
            for at in range(first, len(data)):
                if not client.send(data[at : at + 1]):
                    break
                try:
                    some = client.peer.recv(65536)
                    if not some:
                        break
                    got += some
                except TimeoutError:
                    pass
                except ConnectionResetError:
                    break
                self.assertLess(time.monotonic() - start, 8, "still open")
            return time.monotonic() - start, got

    def test_slow_header(self):
        body = body_of()
        data = request_bytes("/hooks/sw", body, self.at.senders["sw"].headers(body, "slow-1"))
        took, _ = self.drip(data)
        self.assertTrue(0.8 < took < 4, took)

    def test_slow_body(self):
        body = body_of(fill="x" * 200)
        data = request_bytes("/hooks/sw", body, self.at.senders["sw"].headers(body, "slow-2"))
        took, got = self.drip(data, len(data) - len(body))
        self.assertTrue(0.8 < took < 4, took)
        self.assertTrue(all(answer.status >= 400 for answer in answers(got)))
        self.assertEqual(self.at.event("slow-2"), [])

    def test_silence(self):
        for data in (b"", b"POST /hooks/sw HTTP/1.1\r\n", request_bytes("/hooks/sw", b"", {"Content-Length": 10})):
            start = time.monotonic()
            with Client(self.at.listen) as client:
                client.send(data)
                client.read_all(patience=8)
            self.assertTrue(0.8 < time.monotonic() - start < 6, data)

    def test_idle_after_a_request(self):
        body = body_of()
        with Client(self.at.listen) as client:
            client.send(request_bytes("/hooks/sw", body, self.at.senders["sw"].headers(body, "idle-1")))
            self.assertEqual(client.read_answers(1)[0].status, 200)
            start = time.monotonic()
            client.read_all(patience=8)
            self.assertTrue(1.5 < time.monotonic() - start < 6)


if __name__ == "__main__":
    report.main()
