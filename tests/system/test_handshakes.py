"""What senders ask before they send events: challenges, permission by OPTIONS, keys that they tell."""

import hashlib
import hmac
import json
import os
import stat
import unittest

from lib import report
from lib.kit import Kit, make_node, mapped
from lib.senders import GitHub, Slack

SECRET = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
ASANA = {
    "verify": {"alg": "hmac-sha256", "sig": "header:X-Hook-Signature", "match": "{hex}"},
    "id": "sha256:body",
    "handshake": [{
        "when": {"header:X-Hook-Secret": True}, "learn": "header:X-Hook-Secret",
        "reply": {"status": 200, "headers": {"X-Hook-Secret": "{header:X-Hook-Secret}"}},
    }],
}
NOTION = {
    "verify": {"alg": "hmac-sha256", "sig": "header:X-Notion-Signature", "match": "sha256={hex}"},
    "id": "json:/id",
    "handshake": [{"when": {"json:/verification_token": True}, "learn": "json:/verification_token"}],
}
CRC = {
    "verify": {"alg": "hmac-sha256", "sig": "header:X-Sig", "match": "sha256={hex}"}, "id": "sha256:body",
    "handshake": [{
        "method": "GET", "when": {"query:crc_token": True},
        "reply": {"type": "application/json", "json": {"response_token": "sha256={hmachex(query:crc_token)}"}},
    }],
}


def some():
    node = make_node({"slack": (Slack(), {}), "origin": mapped(webhook_origin="*.example.com")})
    node.config["sources"]["asana"] = dict(ASANA)
    node.config["sources"]["notion"] = dict(NOTION)
    node.crc_key = GitHub().key
    node.config["sources"]["crc"] = dict(CRC, keys=[{"file": node.write_key("crc.key", node.crc_key.decode())}])
    node.write_config()
    return node


class Handshakes(Kit):
    def setUp(self):
        self.at = self.shared("some", some)

    def get(self, path, headers=None, method="GET"):
        return self.at.hooks.request(method, path, b"" if method != "GET" else None, headers or {})

    def keys(self, source):
        status, _ = self.at.ask("/v1/status")
        self.assertEqual(status, 200)
        answer = self.at.api.get("/v1/keys", {"Authorization": "Bearer " + self.at.token})
        rows = [json.loads(line) for line in answer.body.decode().splitlines()]
        return [row for row in rows if row["source"] == source]

    def test_slack_gets_its_challenge(self):
        body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRN"}).encode()
        got = self.at.post("slack", body, self.at.senders["slack"].headers(body, None))
        self.assertEqual((got.status, got.body, got.headers["content-type"]), (200, b"3eZbrw1aBm2rZgRN", "text/plain"))
        self.assertEqual(got.headers["x-content-type-options"], "nosniff")

    def test_a_challenge_is_signed_and_an_event_is_not(self):
        got = self.get("/hooks/crc?crc_token=abc123")
        want = hmac.new(self.at.crc_key, b"abc123", hashlib.sha256).hexdigest()
        self.assertEqual((got.status, got.json()), (200, {"response_token": "sha256=" + want}))
        self.assertEqual(got.headers["content-type"], "application/json")
        self.assertEqual(self.get("/hooks/crc?crc_token=%7B%22id%22%3A1%7D").status, 405)
        forged = self.at.post("crc", b"abc123", {"X-Sig": "sha256=" + want})
        self.refused(forged, 401, "BAD_SIGNATURE")

    def test_permission_is_asked_by_options(self):
        asked = {"WebHook-Request-Origin": "events.example.com", "WebHook-Request-Rate": "1000"}
        got = self.get("/hooks/origin", asked, "OPTIONS")
        self.assertEqual(got.status, 200)
        self.assertEqual(got.headers["webhook-allowed-origin"], "events.example.com")
        self.assertEqual(got.headers["webhook-allowed-rate"], "*")
        self.assertEqual(got.headers["allow"], "POST")
        other = self.get("/hooks/origin", {"WebHook-Request-Origin": "example.org"}, "OPTIONS")
        self.assertEqual((other.status, other.headers.get("webhook-allowed-origin")), (405, None))
        self.assertEqual(self.get("/hooks/slack", asked, "OPTIONS").status, 405)

    def test_a_key_is_told_confirmed_and_used(self):
        asked = {"X-Hook-Secret": SECRET}
        self.refused(self.at.post("asana", b"", asked), 401, "MISSING_SIGNATURE")
        self.assertEqual(self.keys("asana"), [])
        self.at.cli("learn", "asana", "--for", "2m")
        got = self.at.post("asana", b"", asked)
        self.assertEqual((got.status, got.headers.get("x-hook-secret")), (200, SECRET))
        self.assertEqual(self.at.post("asana", b"", asked).status, 200)  # a second time is the same key
        (row,) = self.keys("asana")
        self.assertEqual((row["role"], row["valid"]), ("pending", False))
        self.assertEqual(row["fingerprint"], hashlib.sha256(SECRET.encode()).hexdigest()[:8])

        body = b'{"events":[]}'
        signed = {"X-Hook-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
        self.refused(self.at.post("asana", body, signed), 401, "BAD_SIGNATURE")  # nobody has confirmed it
        self.at.cli("learn", "asana", "--confirm", "00000000", check=1)
        self.at.cli("learn", "asana", "--confirm", row["fingerprint"])
        self.accepted(self.at.post("asana", body, signed))
        (row,) = self.keys("asana")
        self.assertEqual((row["role"], row["valid"], row["matches"]), ("current", True, 1))
        path = self.at.path("data", "learnt", "asana.key")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.at.cli("learn", "asana", "--for", "0s")
        for process in self.at.processes:
            self.assertNotIn(SECRET, process.log_text())

    def test_a_key_in_a_body_and_a_flood_of_them(self):
        body = json.dumps({"verification_token": "secret_first"}).encode()
        self.refused(self.at.post("notion", body, {}), 401, "MISSING_SIGNATURE")
        self.at.cli("learn", "notion")
        for number in range(4):
            told = json.dumps({"verification_token": f"secret_{number:04}"}).encode()
            self.assertEqual(self.at.post("notion", told, {}).status, 200)
        self.assertEqual(self.at.post("notion", body, {}).status, 503)
        rows = self.keys("notion")
        self.assertEqual([row["role"] for row in rows], ["pending"] * 4)
        for row in rows:
            self.at.cli("learn", "notion", "--drop", row["fingerprint"])
        self.assertEqual(self.keys("notion"), [])
        self.at.cli("learn", "slack", check=2)
        self.at.cli("learn", "nobody", check=1)
        self.at.cli("learn", "notion", "--for", "soon", check=2)


if __name__ == "__main__":
    report.main()
