"""The guard: each malformed request is refused and its connection closed; random bytes harm nobody.

All of it over raw sockets. A malformed request carries a whole signed event behind it, which must never be
taken for a request of its own.
"""

import random
import re
import socket

from lib import report
from lib.kit import Client, Kit, answers, body_of, in_threads, make_node, mapped, request_bytes
from lib.wire import raw

LIMIT = 4096
HEADER_LIMIT = 16384


def node():
    return make_node(
        {"sw": mapped()},
        ingress={
            "max_body_bytes": LIMIT, "max_header_bytes": HEADER_LIMIT, "header_timeout_s": 1, "body_timeout_s": 1,
            "idle_timeout_s": 2,
        },
    )


# What is wrong -> (status, head of the request). The body "hello" and a smuggled request follow.
LINE = "POST /hooks/sw HTTP/1.1\r\nHost: h\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
MALFORMED = {
    "both lengths": (400, LINE + "Content-Length: 5\r\n" + CHUNKED),
    "both lengths, the other way": (400, LINE + CHUNKED + "Content-Length: 5\r\n"),
    "two lengths": (400, LINE + "Content-Length: 5\r\nContent-Length: 6\r\n"),
    "two equal lengths": (400, LINE + "Content-Length: 5\r\nContent-Length: 5\r\n"),
    "a list of lengths": (400, LINE + "Content-Length: 5, 5\r\n"),
    "blank before the colon of a length": (400, LINE + "Content-Length : 5\r\n"),
    "tab before the colon of an encoding": (400, LINE + "Transfer-Encoding\t: chunked\r\n"),
    "blank before the name": (400, LINE + " Content-Length: 5\r\n"),
    "gzip, chunked": (501, LINE + "Transfer-Encoding: gzip, chunked\r\n"),
    "xchunked": (501, LINE + "Transfer-Encoding: xchunked\r\n"),
    "identity": (501, LINE + "Transfer-Encoding: identity\r\n"),
    "two encodings": (400, LINE + CHUNKED + CHUNKED),
    "chunked on HTTP/1.0": (400, "POST /hooks/sw HTTP/1.0\r\nHost: h\r\n" + CHUNKED),
    "folded line": (400, LINE + "Content-Length: 5\r\nX-A: b\r\n c\r\n"),
    "folded encoding": (400, LINE + "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n"),
    "NUL in a value": (400, LINE + "Content-Length: 5\r\nX-A: a\0b\r\n"),
    "NUL in a name": (400, LINE + "Content-Length: 5\r\nX\0A: b\r\n"),
    "control byte in a value": (400, LINE + "Content-Length: 5\r\nX-A: a\x01b\r\n"),
    "DEL in a value": (400, LINE + "Content-Length: 5\r\nX-A: a\x7fb\r\n"),
    "bare CR in a value": (400, LINE + "Content-Length: 5\r\nX-A: a\rb\r\n"),
    "bare LF line ends": (400, LINE.replace("\r\n", "\n") + "Content-Length: 5\n"),
    "a bare LF in between": (400, LINE + "Content-Length: 5\nX-A: b\r\n"),
    "NUL in the target": (400, LINE.replace("sw", "s\0w") + "Content-Length: 5\r\n"),
    "%00 in the target": (400, LINE.replace("sw", "sw%00x") + "Content-Length: 5\r\n"),
    "blank in the target": (400, LINE.replace("sw", "sw x") + "Content-Length: 5\r\n"),
    "two blanks behind the method": (400, LINE.replace("POST ", "POST  ") + "Content-Length: 5\r\n"),
    "a byte above ASCII in the target": (400, LINE.replace("sw", "sw\xff") + "Content-Length: 5\r\n"),
    "a target that is no path": (400, LINE.replace("/hooks", "hooks") + "Content-Length: 5\r\n"),
    "two hosts": (400, LINE + "Host: h\r\nContent-Length: 5\r\n"),
    "no host": (400, "POST /hooks/sw HTTP/1.1\r\nContent-Length: 5\r\n"),
    "a method that is no token": (400, LINE.replace("POST", "PO(ST") + "Content-Length: 5\r\n"),
    "HTTP/1.2": (505, LINE.replace("/1.1", "/1.2") + "Content-Length: 5\r\n"),
    "HTTP/2.0": (505, LINE.replace("/1.1", "/2.0") + "Content-Length: 5\r\n"),
    "http/1.1": (505, LINE.replace("HTTP/", "http/") + "Content-Length: 5\r\n"),
    "no version": (None, "POST /hooks/sw\r\n"),
    "length x": (400, LINE + "Content-Length: x\r\n"),
    "length +5": (400, LINE + "Content-Length: +5\r\n"),
    "length -5": (400, LINE + "Content-Length: -5\r\n"),
    "length 0x5": (400, LINE + "Content-Length: 0x5\r\n"),
    "length 5 5": (400, LINE + "Content-Length: 5 5\r\n"),
    "empty length": (400, LINE + "Content-Length:\r\n"),
    "absurd length": (413, LINE + "Content-Length: 18446744073709551620\r\n"),
    "length over the limit": (413, LINE + f"Content-Length: {LIMIT + 1}\r\n"),
    "no length": (411, LINE),
    "another expectation": (417, LINE + "Content-Length: 5\r\nExpect: 200-ok\r\n"),
    "a header without a colon": (400, LINE + "Content-Length: 5\r\nnonsense\r\n"),
    "an empty name": (400, LINE + "Content-Length: 5\r\n: x\r\n"),
    "a name that is no token": (400, LINE + "Content-Length: 5\r\nX(A: b\r\n"),
    "a body on GET": (400, LINE.replace("POST", "GET") + "Content-Length: 5\r\n"),
    "a long target": (414, LINE.replace("sw", "sw?" + "x" * 2100) + "Content-Length: 5\r\n"),
    "a large head": (431, LINE + "X-A: " + "x" * HEADER_LIMIT + "\r\nContent-Length: 5\r\n"),
}
# Where the library itself may refuse, another status of its own is as good.
ALSO = {413: {400}, 505: {400}, 501: {400}, 431: {400, 413}, 414: {400, 431}}


def statuses(got):
    """The statuses in what came back. Where the library refuses a length itself, it says its head twice."""
    found = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]
    if len(found) == 2 and found[0] == found[1] and found[0] in (400, 413) and b"<html>" in got:
        return found[:1]
    if got and not found:
        raise AssertionError(f"no answer: {got[:200]!r}")
    return found


class Malformed(Kit):
    def setUp(self):
        self.at = self.shared("node", node)

    def event(self, event_id):
        """A whole signed request, as bytes."""
        body = body_of()
        return request_bytes("/hooks/sw", body, self.at.senders["sw"].headers(body, event_id))

    def test_each_is_refused_and_closed(self):
        for number, (what, (status, head)) in enumerate(MALFORMED.items()):
            with self.subTest(what):
                smuggled = f"smuggled-{number}"
                data = head.encode("latin-1") + b"\r\nhello" + self.event(smuggled)
                with Client(self.at.listen) as client:
                    client.send(data)
                    got = client.read_all(patience=5)  # closes, or this raises
                told = statuses(got)
                if status is not None:
                    self.assertEqual(len(told), 1, got)
                    self.assertIn(told[0], {status} | ALSO.get(status, set()))
                else:
                    self.assertTrue(all(400 <= one < 600 for one in told), got)
                self.assertEqual(self.at.event(smuggled), [], "the second request was taken")
        self.assertTrue(self.at.processes[-1].alive())
        self.still_serves("after-malformed")

    def still_serves(self, event_id):
        made = answers(raw(self.at.listen, self.event(event_id), half_close=True))
        self.assertEqual([answer.status for answer in made], [200])

    def test_problems_where_the_guard_refuses(self):
        for what in ("both lengths", "no length", "another expectation", "two hosts"):
            status, head = MALFORMED[what]
            answer = answers(raw(self.at.listen, head.encode() + b"\r\nhello"))[0]
            self.assertEqual(answer.headers["content-type"], "application/problem+json", what)
            self.assertIn(b'"code":"BAD_REQUEST"', answer.body.replace(b" ", b""))
            self.assertEqual(answer.headers["connection"], "close")

    def test_any_token_is_a_method(self):
        for method in ("get", "BREW", "x!#$%&'*+-.^_`|~9"):
            made = answers(raw(self.at.listen, request_bytes("/hooks/sw", method=method), half_close=True))
            self.assertEqual([answer.status for answer in made], [405], method)

    def test_random_bytes(self):
        """Noise, and whole requests with some bytes turned: an answer or none, and the program lives."""
        seeded = random.Random(20261122)
        good = self.event("noisy")

        def noise(number):
            if number % 2:
                return seeded.randbytes(seeded.randrange(1, 3000))
            data = bytearray(good)
            for _ in range(seeded.randrange(1, 6)):
                data[seeded.randrange(len(data))] = seeded.randrange(256)
            return bytes(data)

        pieces = [noise(number) for number in range(240)]

        def one(start):
            for data in pieces[start::6]:
                with Client(self.at.listen) as client:
                    client.send(data)
                    try:
                        client.peer.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass
                    for status in statuses(client.read_all(patience=5)):
                        self.assertTrue(status in (100, 200) or 400 <= status < 600, status)

        in_threads(6, one)
        self.assertTrue(self.at.processes[-1].alive())
        self.still_serves("after-noise")
        known = {row["event_id"] for row in self.at.cli_json("events", "ls")}
        self.assertFalse({name for name in known if name.startswith("smuggled")})


if __name__ == "__main__":
    report.main()
