"""The answers: every status and code that a sender can meet, over real HTTP."""

import base64
import json
import time
import uuid

from lib import leaks, report
from lib.kit import Kit, SMALL_QUEUE, body_of, make_node, mapped, send, until
from lib.senders import GitHub, Slack, StandardWebhooks

LIMIT = 4096
SECRET_WORDS = ("whsec_", "v1,")


def plain():
    """One source of each kind that the table needs."""
    billing = {
        "verify": {
            "alg": "hmac-sha256", "sig": "header:X-Signature", "match": "{hex}", "time": "json:/sent_at",
            "unit": "rfc3339", "tolerance": 300, "future_tolerance": 60,
        },
        "id": "json:/event_id", "type": "json:/type", "entity": "account:{json:/account}", "version": "json:/version",
    }
    return make_node(
        {
            "sw": mapped(tenant="acme"),
            "gh": (GitHub(), {}),
            "billing": (GitHub(), billing),
            "narrow": mapped(tolerance=100, future_tolerance=20),
            "limited": mapped(rate_limit={"per_second": 0.2, "burst": 2}),
            "polite": mapped(ack={"status": 202, "type": "text/plain", "body": "[accepted]"}),
            "strict": mapped(reject=403),
        },
        ingress={"max_body_bytes": LIMIT},
    )


class Statuses(Kit):
    def setUp(self):
        self.at = self.shared("plain", plain)

    def signed(self, source="sw", body=None, event_id=None, now=None):
        body = body if body is not None else body_of("order:1", 1)
        event_id = event_id or "evt-" + uuid.uuid4().hex[:12]
        headers = self.at.senders[source].headers(body, event_id, now)
        return body, {"Content-Type": "application/json", **headers}, event_id

    # ---- accepted ------------------------------------------------------------------------------

    def test_accepted(self):
        body, headers, event_id = self.signed()
        answer = self.at.post("sw", body, {**headers, "X-Request-Id": "req-1.A_b"})
        self.accepted(answer)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(
            answer.json(), {"result": "accepted", "event_id": event_id, "request_id": "req-1.A_b"}
        )
        row = self.ended(self.at, event_id, "applied")
        self.assertEqual((row["source"], row["tenant"], row["type"]), ("sw", "acme", "thing.changed"))

    def test_a_duplicate_is_acknowledged_alike(self):
        body, headers, event_id = self.signed(body=body_of("order:2", 1))
        for _ in range(2):
            self.accepted(self.at.post("sw", body, headers), event_id)
        self.assertEqual(len(self.at.event(event_id)), 1)

    def test_the_sources_own_ack(self):
        body, headers, event_id = self.signed("polite", body_of())
        answer = self.at.post("polite", body, headers)
        self.assertEqual((answer.status, answer.body), (202, b"[accepted]"))
        self.assertTrue(answer.headers["content-type"].startswith("text/plain"))
        self.ended(self.at, event_id, "applied")

    def test_authentic_but_unusable(self):
        def listed(reason):
            return [row["id"] for row in self.at.cli_json("quarantine", "ls", "--reason", reason)]

        github = self.at.senders["gh"]
        cases = (
            ("sw", b"{not json", None, "MALFORMED_BODY"),
            ("sw", body_of("order:3", "12x"), None, "MALFORMED_BODY"),
            ("sw", body_of("order:3", 1.5), None, "MALFORMED_BODY"),
            ("gh", b'{"ref":"%s"}' % leaks.marker().encode(), {"X-GitHub-Delivery": None}, "MISSING_EVENT_ID"),
        )
        for source, body, without, code in cases:
            with self.subTest(code=code, body=body[:20]):
                before = listed(code)
                if without is None:
                    body, headers, _ = self.signed(source, body)
                else:
                    headers = {k: v for k, v in github.headers(body, "x").items() if k not in without}
                answer = self.at.post(source, body, headers)
                self.assertEqual(answer.status, 200, answer)
                until(lambda: len(listed(code)) == len(before) + 1, f"quarantined as {code}")

    # ---- refused: signature and time -----------------------------------------------------------

    def test_signature(self):
        body, headers, _ = self.signed()
        name = "webhook-signature"
        without = {k: v for k, v in headers.items() if k != name}
        self.refused(self.at.post("sw", body, without), 401, "MISSING_SIGNATURE")
        forged = {
            "another key": StandardWebhooks().headers(body, headers["webhook-id"])[name],
            "not base64": "v1,%%%%",
            "short": headers[name][:-8],
            "other version": headers[name].replace("v1,", "v2,"),
            "no version": headers[name].replace("v1,", ""),
            "blank": "v1, ",
        }
        for what, value in forged.items():
            with self.subTest(what):
                answer = self.at.post("sw", body, {**headers, name: value})
                self.assertIn((answer.status, answer.code), ((401, "BAD_SIGNATURE"), (401, "MISSING_SIGNATURE")))
        for what in ("another key", "not base64", "short"):
            self.refused(self.at.post("sw", body, {**headers, name: forged[what]}), 401, "BAD_SIGNATURE")
        self.refused(self.at.post("sw", body + b" ", headers), 401, "BAD_SIGNATURE")
        moved = {**headers, "webhook-id": headers["webhook-id"] + "x"}
        self.refused(self.at.post("sw", body, moved), 401, "BAD_SIGNATURE")

    def test_one_good_signature_among_several(self):
        body, headers, event_id = self.signed(body=body_of())
        other = StandardWebhooks().headers(body, event_id)["webhook-signature"]
        several = {**headers, "webhook-signature": f"{other} v2,zz {headers['webhook-signature']}"}
        self.accepted(self.at.post("sw", body, several), event_id)
        many = " ".join([other] * 16 + [headers["webhook-signature"]])
        self.refused(self.at.post("sw", body, {**headers, "webhook-signature": many}), 401, "BAD_SIGNATURE")

    def test_times(self):
        now = int(time.time())
        for delta, code in ((-296, None), (-303, "EXPIRED"), (296, None), (306, "CLOCK_SKEW"), (-10**8, "EXPIRED")):
            with self.subTest(delta=delta):
                body, headers, event_id = self.signed(body=body_of(), now=now + delta)
                answer = self.at.post("sw", body, headers)
                if code is None:
                    self.accepted(answer, event_id)
                else:
                    self.refused(answer, 400, code)

    def test_a_sources_own_tolerance(self):
        now = int(time.time())
        for delta, code in ((-96, None), (-103, "EXPIRED"), (16, None), (26, "CLOCK_SKEW")):
            with self.subTest(delta=delta):
                body, headers, event_id = self.signed("narrow", body_of(), now=now + delta)
                answer = self.at.post("narrow", body, headers)
                self.accepted(answer, event_id) if code is None else self.refused(answer, 400, code)

    def test_strict_times(self):
        """Never more than digits, never fewer than 9 or more than 14; a good MAC does not help."""
        sender = self.at.senders["sw"]
        now = str(int(time.time()))
        for stamp in ("+" + now, "-" + now, now + ".0", "0x65", "abc", "12345678", now + "00000",
                      now[:5] + " " + now[5:], now + "e0", "１２３４５６７８９０"):
            with self.subTest(stamp=stamp):
                body, event_id = body_of(), "evt-stamp"
                mac = sender._mac(f"{event_id}.{stamp}.".encode() + body)
                headers = {
                    "webhook-id": event_id, "webhook-timestamp": stamp.encode(),
                    "webhook-signature": "v1," + base64.b64encode(mac).decode(),
                }
                self.refused(self.at.post("sw", body, headers), 400, "BAD_TIMESTAMP")
        body, headers, _ = self.signed()
        del headers["webhook-timestamp"]
        self.refused(self.at.post("sw", body, headers), 400, "BAD_TIMESTAMP")

    def test_a_time_in_the_body(self):
        sender = self.at.senders["billing"]

        def post(delta, event_id):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + delta))
            body = json.dumps(
                {"event_id": event_id, "type": "paid", "account": 7, "version": 1, "sent_at": stamp,
                 "mark": leaks.marker()}
            ).encode()
            return self.at.post("billing", body, {"X-Signature": sender._mac(body).hex()})

        self.accepted(post(0, "bill-1"), "bill-1")
        self.assertEqual(self.ended(self.at, "bill-1", "applied")["entity"], "account:7")
        self.refused(post(-305, "bill-2"), 400, "EXPIRED")
        self.refused(post(70, "bill-3"), 400, "CLOCK_SKEW")

    def test_the_sources_own_reject(self):
        body, headers, _ = self.signed("strict")
        old_body, old, _ = self.signed("strict", now=time.time() - 1000)
        self.refused(self.at.post("strict", body + b" ", headers), 403, "BAD_SIGNATURE")
        self.refused(self.at.post("strict", old_body, old), 403, "EXPIRED")
        self.refused(self.at.post("strict", body, {}), 403, "MISSING_SIGNATURE")

    # ---- refused: everything else --------------------------------------------------------------

    def test_unknown_source(self):
        body, headers, _ = self.signed()
        for path in ("/hooks/nosuch", "/hooks/sw/", "/hooks/sw/more", "/hooks/", "/hooks", "/", "/hook/sw",
                     "/hooks/SW"):
            with self.subTest(path=path):
                self.refused(self.at.hooks.request("POST", path, body, headers), 404, "UNKNOWN_SOURCE")
        answer = self.at.hooks.request("GET", "/hooks/nosuch")
        self.refused(answer, 404, "UNKNOWN_SOURCE")

    def test_other_methods(self):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
            with self.subTest(method):
                answer = self.refused(self.at.hooks.request(method, "/hooks/sw"), 405, "METHOD_NOT_ALLOWED")
                self.assertIn("POST", [name.strip() for name in answer.headers["allow"].split(",")])
        head = self.at.hooks.request("HEAD", "/hooks/sw")
        self.assertEqual((head.status, head.body), (405, b""))
        self.assertIn("POST", head.headers["allow"])

    def test_rate_of_a_source(self):
        for number in range(2):
            send(self.at, "limited", f"limited-{number}")
        body, headers, _ = self.signed("limited", body_of())
        answer = self.refused(self.at.post("limited", body, headers), 429, "RATE_LIMITED")
        self.assertRegex(answer.headers["retry-after"], r"^[1-9][0-9]*$")
        # It is this source's limit and no other's.
        send(self.at, "sw", "not-limited-1")

    def test_order_of_the_checks(self):
        """The cheapest refusal comes first, whatever else is wrong."""
        large = b"x" * (LIMIT + 1)
        self.refused(self.at.hooks.request("PUT", "/hooks/nosuch", large), 404, "UNKNOWN_SOURCE")
        self.refused(self.at.hooks.request("PUT", "/hooks/sw", large), 405, "METHOD_NOT_ALLOWED")
        self.refused(self.at.post("sw", large, {}), 413, "TOO_LARGE")
        body, headers, _ = self.signed(now=10**9)
        self.refused(self.at.post("sw", body + b" ", headers), 401, "BAD_SIGNATURE")
        self.refused(self.at.post("sw", b"{not json", headers), 401, "BAD_SIGNATURE")

    # ---- request ids and secrets ---------------------------------------------------------------

    def test_request_ids(self):
        body, headers, _ = self.signed()
        for given in ("a", "A" * 64, "0-9._x"):
            for headers_of in (headers, {}):  # accepted and refused alike
                answer = self.at.post("sw", body, {**headers_of, "X-Request-Id": given})
                self.assertEqual(answer.headers["x-request-id"], given)
                self.assertEqual(answer.json()["request_id"], given)
        made = set()
        for given in (None, "", "A" * 65, "a b", "a/b", 'x"y', "ümlaut".encode()):
            extra = {} if given is None else {"X-Request-Id": given}
            answer = self.at.post("sw", body, {**headers, **extra})
            made.add(answer.headers["x-request-id"])
            self.assertRegex(answer.headers["x-request-id"], r"^[A-Za-z0-9._-]{1,64}$")
            self.assertEqual(answer.json()["request_id"], answer.headers["x-request-id"])
        self.assertEqual(len(made), 7, "each is fresh")

    def test_no_secret_in_an_answer(self):
        body, headers, _ = self.signed()
        texts = [
            self.at.post("sw", body + b" ", headers), self.at.post("sw", body, {**headers, "webhook-timestamp": "x"}),
            self.at.hooks.request("POST", "/hooks/nosuch", body, headers), self.at.hooks.request("GET", "/hooks/sw"),
        ]
        key = self.at.senders["sw"].key_text()
        for answer in texts:
            for word in (key, key.removeprefix("whsec_"), headers["webhook-signature"], *SECRET_WORDS):
                self.assertNotIn(word, answer.body.decode())


class Elsewhere(Kit):
    """What needs a node of its own."""

    def test_rate_of_a_client(self):
        node = self.small({"sw": mapped()}, ingress={"client_rate_limit": {"per_second": 0.2, "burst": 3}})
        node.start()
        got = [node.send("sw", body_of(), f"client-{number}") for number in range(5)]
        self.assertEqual([answer.status for answer in got], [200, 200, 200, 429, 429])
        answer = self.refused(got[-1], 429, "RATE_LIMITED")
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)

    def test_request_ids_in_log_and_record(self):
        node = self.small({"sw": mapped()})
        node.start()
        body = body_of()
        headers = node.senders["sw"].headers(body, "traced")
        self.accepted(node.post("sw", body, {**headers, "X-Request-Id": "trace-me-77"}))
        self.assertEqual(self.ended(node, "traced", "applied")["request_id"], "trace-me-77")
        self.refused(node.post("sw", body + b" ", {**headers, "X-Request-Id": "trace-me-78"}), 401, "BAD_SIGNATURE")

        def logged(request_id):
            return [line for line in node.processes[-1].log() if line.get("request_id") == request_id]

        refused = until(lambda: logged("trace-me-78"), "a log line")[0]
        self.assertEqual((refused["code"], refused["source"]), ("BAD_SIGNATURE", "sw"))
        for line in node.processes[-1].log():
            self.assertTrue({"ts", "level", "event"} <= set(line), line)

    def test_a_full_log_answers_503_and_recovers(self):
        """Events that have not ended are never dropped: without a worker the log fills up."""
        tight = {**SMALL_QUEUE, "segment_bytes": 131072, "max_bytes": 524288, "retention_hours": 0}
        node = self.small({"sw": mapped()}, queue=tight, ingress={"max_body_bytes": 8192})
        node.start("ingress")
        sent = []
        for number in range(400):
            answer = node.send("sw", body_of(fill="x" * 4000), f"full-{number}")
            if answer.status != 200:
                break
            sent.append(f"full-{number}")
        self.refused(answer, 503, "UNAVAILABLE")
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        self.assertGreater(len(sent), 10)
        ready = until(lambda: node.api.get("/readyz").status == 503 and node.api.get("/readyz"), "not ready")
        self.assertEqual(ready.json()["ready"], False)
        self.assertTrue(all(reason["code"] and reason["detail"] for reason in ready.json()["reasons"]))
        self.assertEqual(node.api.get("/healthz").status, 200)
        node.start("worker")
        for event_id in sent:
            self.ended(node, event_id, "applied")
        until(lambda: node.send("sw", body_of(), "after-full").status == 200, "room again")
        until(lambda: node.api.get("/readyz").status == 200, "ready again")

    def test_slack_has_no_signature_to_show(self):
        """A handshake that must be signed is refused like anything else when it is not."""
        node = self.small({"slack": (Slack(), {})})
        node.start()
        body = b'{"type":"url_verification","challenge":"tell-me"}'
        self.refused(node.post("slack", body, {}), 401, "MISSING_SIGNATURE")
        forged = Slack().headers(body, None)
        self.refused(node.post("slack", body, forged), 401, "BAD_SIGNATURE")


if __name__ == "__main__":
    report.main()
