"""Signature schemes end to end: six presets, the published vectors, real bodies byte for byte.

Signatures are made by lib/senders.py (hmac of Python) and, for two presets, by the openssl command.
"""

import base64
import glob
import json
import os
import time
import unittest

from lib import leaks, report
from lib.destination import Destination, always
from lib.kit import Kit, answers, make_node, openssl_hmac, request_bytes
from lib.senders import GitHub, Shopify, Slack, StandardWebhooks, Stripe, Svix
from lib.wire import raw

PAYLOADS = os.environ.get("POSTERN_PAYLOADS") or os.path.join(
    os.path.dirname(leaks._root()), "shared", "data", "payloads"
)
SLACK_BODY = (
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url="
    "https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
    "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
# preset, key, body, time, id, headers, members of the source: schemes.md section 10.
BARE = {"id": "sha256:body", "type": "none", "entity": "none", "version": "none"}
VECTORS = (
    ("github", "It's a Secret to Everybody", "Hello, World!", None, None, {
        "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "X-GitHub-Event": "push",
    }, BARE),
    ("github", "mysecret", '{"foo":"bar"}', None, "d-1", {
        "X-Hub-Signature-256": "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3",
        "X-GitHub-Delivery": "d-1", "X-GitHub-Event": "push",
    }, {}),
    *(
        (preset, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}', 1614265330,
         "msg_p5jXN8AQM9LWM0D4loKWxJek", {
             f"{name}-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", f"{name}-timestamp": "1614265330",
             f"{name}-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
         }, {})
        for preset, name in (("standard-webhooks", "webhook"), ("svix", "svix"))
    ),
    ("slack", "8f742231b10e8888abcd99yyyzzz85a5", SLACK_BODY, 1531420618, None, {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }, BARE),
)
# binds, replay and id of schemes.md section 2.
AUDIT = {
    "standard-webhooks": "full time signed", "svix": "full time signed", "stripe": "full time signed",
    "github": "full dedup-only UNSIGNED", "shopify": "full dedup-only UNSIGNED", "slack": "full time signed",
}


def six():
    made = {sender.preset: (sender(), {}) for sender in (StandardWebhooks, Svix, Stripe, GitHub, Shopify, Slack)}
    return make_node(made)


def body_for(preset, number):
    """A body as this sender's would be, and what its mapping must find: (id, type, entity, version)."""
    mark = leaks.marker()
    made, want = {
        "standard-webhooks": (
            {"type": "user.created", "timestamp": "2026-11-20T10:00:00Z"}, ("user.created", None, True),
        ),
        "svix": ({"type": "invoice.paid"}, ("invoice.paid", None, False)),
        "stripe": (
            {"id": f"stripe-{number}", "type": "charge.succeeded",
             "data": {"object": {"object": "charge", "id": "ch_1"}}},
            ("charge.succeeded", "charge:ch_1", False),
        ),
        "github": ({"action": "opened", "repository": {"id": 42}}, ("push.opened", "repo:42", False)),
        "shopify": (
            {"admin_graphql_api_id": "gid://shopify/Order/1", "updated_at": "2026-11-20T10:00:00-05:00"},
            ("orders/create", "gid://shopify/Order/1", True),
        ),
        "slack": (
            {"event_id": f"slack-{number}", "event_time": 1700000000 + number, "event": {"type": "message"}},
            ("message", None, True),
        ),
    }[preset]
    return json.dumps({**made, "mark": mark}).encode(), want


class Presets(Kit):
    def setUp(self):
        self.at = self.shared("six", six)

    def test_each_is_accepted_and_mapped(self):
        for number, (preset, sender) in enumerate(self.at.senders.items()):
            with self.subTest(preset):
                body, (kind, entity, versioned) = body_for(preset, number)
                event_id = f"{preset}-{number}"
                self.accepted(self.at.post(preset, body, sender.headers(body, event_id)), event_id)
                row = self.ended(self.at, event_id, "applied")
                self.assertEqual((row["type"], row["entity"], row["version"] is not None), (kind, entity, versioned))
                self.assertIn("current", row["key"])

    def test_each_is_refused_when_touched(self):
        for preset, sender in self.at.senders.items():
            with self.subTest(preset):
                body, _ = body_for(preset, 99)
                headers = sender.headers(body, f"{preset}-99")
                name = next(name for name in headers if "ignature" in name.lower() or "hmac" in name.lower())
                value = headers[name]
                self.refused(self.at.post(preset, body[:-1] + b" }", headers), 401, "BAD_SIGNATURE")
                turned = {**headers, name: value[:-5] + ("1" if value[-5] != "1" else "2") + value[-4:]}
                self.refused(self.at.post(preset, body, turned), 401, "BAD_SIGNATURE")
                empty = self.at.post(preset, body, {**headers, name: ""})
                self.assertIn((empty.status, empty.code), ((401, "MISSING_SIGNATURE"), (401, "BAD_SIGNATURE")))
                without = {other: v for other, v in headers.items() if other != name}
                self.refused(self.at.post(preset, body, without), 401, "MISSING_SIGNATURE")

    def test_a_doubled_header_is_no_signature(self):
        sender = self.at.senders["github"]
        body, _ = body_for("github", 97)
        headers = sender.headers(body, "doubled")
        data = request_bytes("/hooks/github", body, headers).replace(
            b"\r\n\r\n", b"\r\nx-hub-signature-256: " + headers["X-Hub-Signature-256"].encode() + b"\r\n\r\n", 1
        )
        self.assertEqual(answers(raw(self.at.listen, data, half_close=True))[0].status, 401)

    def test_hex_case_and_base64_padding_vary(self):
        sender = self.at.senders["github"]
        body, _ = body_for("github", 96)
        upper = sender.headers(body, "upper-hex")
        upper["X-Hub-Signature-256"] = "sha256=" + upper["X-Hub-Signature-256"][7:].upper()
        self.accepted(self.at.post("github", body, upper), "upper-hex")
        sender = self.at.senders["svix"]
        body, _ = body_for("svix", 95)
        bare = sender.headers(body, "no-padding")
        bare["svix-signature"] = bare["svix-signature"].rstrip("=")
        self.accepted(self.at.post("svix", body, bare), "no-padding")

    def test_openssl_signs_too(self):
        """stripe and shopify, signed by another program."""
        now = int(time.time())
        stripe, shopify = self.at.senders["stripe"], self.at.senders["shopify"]
        body, _ = body_for("stripe", 50)
        mac = openssl_hmac("sha256", stripe.key_text(), f"{now}.".encode() + body)
        self.accepted(self.at.post("stripe", body, {"Stripe-Signature": f"t={now},v1={mac}"}), "stripe-50")
        rolling = f"t={now},v1={'0' * 64},v0=ab,v1={mac}"
        self.accepted(self.at.post("stripe", body, {"Stripe-Signature": rolling}), "stripe-50")
        body, _ = body_for("shopify", 51)
        mac = base64.b64encode(bytes.fromhex(openssl_hmac("sha256", shopify.key_text(), body))).decode()
        headers = {"X-Shopify-Hmac-SHA256": mac, "X-Shopify-Webhook-Id": "shop-51", "X-Shopify-Topic": "orders/paid"}
        self.accepted(self.at.post("shopify", body, headers), "shop-51")

    def test_slack_url_verification(self):
        slack = self.at.senders["slack"]
        for challenge in ("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "a b:c{d}\"e"):
            body = json.dumps({"token": "t", "type": "url_verification", "challenge": challenge}).encode()
            answer = self.at.post("slack", body, slack.headers(body, None))
            self.assertEqual((answer.status, answer.body), (200, challenge.encode()))
            self.assertTrue(answer.headers["content-type"].startswith("text/plain"))
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.refused(self.at.post("slack", body, {}), 401, "MISSING_SIGNATURE")
            self.refused(self.at.post("slack", body, slack.headers(body, None, now=1e9)), 400, "EXPIRED")
        long = json.dumps({"type": "url_verification", "challenge": "x" * 1025}).encode()
        self.assertNotIn(b"xxxx", self.at.post("slack", long, slack.headers(long, None)).body)

    def test_lint_prints_what_each_binds(self):
        for row in self.at.cli_json("lint"):
            if row.get("source") in AUDIT:
                self.assertEqual(f"{row['binds']} {row['replay']} {row['id']}", AUDIT[row["source"]])
        text = self.at.cli("lint").stdout.decode()
        for preset, words in AUDIT.items():
            line = next(line for line in text.splitlines() if line.startswith(preset))
            for word in words.split():
                self.assertIn(word, line)

    def test_keys_in_rotation(self):
        """Current, next and previous all hold; the times of a key hold too."""
        keys = {name: StandardWebhooks() for name in ("now", "soon", "was", "gone", "early")}
        later, before = "2090-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
        roles = (("was", "previous", {}), ("now", "current", {}), ("soon", "next", {}),
                 ("gone", "previous", {"not_after": before}), ("early", "next", {"not_before": later}))
        source = {"preset": "standard-webhooks", "keys": [
            {"file": f"keys/{name}.key", "role": role, **times} for name, role, times in roles]}
        node = self.small({"sw": (None, source)})
        for name, sender in keys.items():
            node.write_key(name + ".key", sender.key_text())
        node.start()
        for name, role, times in roles:
            body, _ = body_for("svix", 60)
            answer = node.post("sw", body, keys[name].headers(body, f"rot-{name}"))
            if times:
                self.refused(answer, 401, "BAD_SIGNATURE")
            else:
                self.accepted(answer)
                self.assertIn(role, self.ended(node, f"rot-{name}", "applied")["key"])
                series = f'postern_key_matches_total{{source="sw",role="{role}"}}'
                self.assertEqual(node.metrics()[series], 1)


class Offline(Kit):
    """verify, sign and send --bad, without a daemon."""

    def one(self, preset, key, members):
        node = self.small({"s": (None, {"preset": preset, "keys": [{"file": "keys/s.key"}], **members})})
        node.write_key("s.key", key)
        return node

    def verify(self, node, body, headers, *args, check=0):
        with open(node.path("body"), "wb") as out:
            out.write(body)
        flags = [flag for name, value in headers.items() for flag in ("--header", f"{name}: {value}")]
        got = node.cli("verify", "s", "--body", "@" + node.path("body"), *flags, *args, check=check, shows_records=True)
        return json.loads(got.stdout)

    def test_the_published_vectors(self):
        for preset, key, body, now, event_id, headers, members in VECTORS:
            with self.subTest(preset=preset, key=key):
                node = self.one(preset, key, members)
                at = ["--now", str(now)] if now else []
                row = self.verify(node, body.encode(), headers, *at)
                self.assertEqual(row["code"], "ACCEPTED")
                if event_id:
                    self.assertEqual(row["event_id"], event_id)
                self.assertIn("current", json.dumps(row["key"]))
                row = self.verify(node, body.encode() + b"x", headers, *at, check=1)
                self.assertEqual(row["code"], "BAD_SIGNATURE")
                if now:  # exactly at the tolerance is accepted, a second past it is not
                    for delta, code in ((300, "ACCEPTED"), (301, "EXPIRED"), (-300, "ACCEPTED"), (-301, "CLOCK_SKEW")):
                        status = 0 if code == "ACCEPTED" else 1
                        row = self.verify(node, body.encode(), headers, "--now", str(now + delta), check=status)
                        self.assertEqual(row["code"], code, delta)

    def test_key_file_and_whitespace(self):
        """One final newline of a key file is dropped, no more."""
        preset, key, body, _, _, headers, members = VECTORS[0]
        node = self.one(preset, key + "\n", members)  # write_key() adds one more
        self.assertEqual(self.verify(node, body.encode(), headers, check=1)["code"], "BAD_SIGNATURE")

    def test_sign_makes_what_verify_takes(self):
        for preset, sender in (("standard-webhooks", StandardWebhooks()), ("stripe", Stripe()), ("slack", Slack()),
                               ("github", GitHub()), ("shopify", Shopify()), ("svix", Svix())):
            with self.subTest(preset):
                node = self.one(preset, sender.key_text(), {})
                body, _ = body_for(preset, 7)
                with open(node.path("body"), "wb") as out:
                    out.write(body)
                event_id = json.loads(body).get("id") or json.loads(body).get("event_id") or "sign-7"
                got = node.cli("sign", "s", "--body", "@" + node.path("body"), "--id", event_id, "--now", "1700000000",
                               shows_records=True)
                headers = dict(line.split(": ", 1) for line in got.stdout.decode().splitlines())
                want = {k.lower(): v for k, v in sender.headers(body, event_id, 1700000000).items()}
                have = {k.lower(): v for k, v in headers.items()}
                for name in want:
                    if "ignature" in name or "hmac" in name or name.endswith(("-id", "timestamp")):
                        self.assertEqual(have[name], want[name], name)
                row = self.verify(node, body, headers, "--now", "1700000000")
                self.assertEqual((row["code"], row["event_id"]), ("ACCEPTED", event_id))


@unittest.skipUnless(os.path.isdir(PAYLOADS), "there are no payloads here")
class Payloads(Kit):
    """Real bodies go through unchanged: to the destination, and back out of the dead letters."""

    def test_byte_for_byte(self):
        refusing = self.cleanup(Destination(always(400)))
        taking = self.cleanup(Destination())
        github = {"type": "header:X-GitHub-Event", "entity": "none", "version": "none"}
        node = self.small(
            {"dead": (GitHub(), github), "done": (GitHub(), github)},
            routes=[
                {"name": "dead", "match": {"source": "dead"}, "handler": {"type": "http", "url": refusing.url()}},
                {"name": "done", "match": {"source": "done"}, "handler": {"type": "http", "url": taking.url()}},
            ],
        )
        node.start()
        bodies = {}
        for path in sorted(glob.glob(os.path.join(PAYLOADS, "*.json"))):
            with open(path, "rb") as payload:
                bodies[os.path.basename(path)] = payload.read()
        bodies["odd.bin"] = bytes(range(256)) * 3
        bodies["empty"] = b""
        bodies["crlf"] = b'{"a": 1}\r\n\r\n'
        bodies["unicode"] = '{"a": "\u00fc\u2028\U0001f40b\\u0000"}'.encode()
        for source in ("dead", "done"):
            for name, body in bodies.items():
                self.accepted(node.send(source, body, f"{source}-{name}"))
        for name, body in bodies.items():
            self.ended(node, f"done-{name}", "applied")
            self.assertEqual(taking.of(f"done-{name}")[0].body, body, name)
            self.ended(node, f"dead-{name}", "dead", "HANDLER_REFUSED")
            row = node.cli_json("dlq", "show", f"dead-{name}", shows_records=True)[0]
            shown = base64.b64decode(row["body_base64"]) if "body_base64" in row else row["body"].encode()
            self.assertEqual(shown, body, name)
        self.assertGreater(len(bodies), 30)


if __name__ == "__main__":
    report.main()
