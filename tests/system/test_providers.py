"""Every preset: what is sent for it is accepted, badly signed it is not, and its page says what is true."""

import atexit
import glob
import json
import os
import shutil
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

from lib import leaks, report
from lib.postern import free_ports, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POSTERN = os.environ.get("POSTERN") or os.path.join(ROOT, "build", "postern")


class Files(unittest.TestCase):
    """What is kept in the tree is what its makers make."""

    def test_the_page_of_providers(self):
        made = subprocess.run(
            [os.path.join(ROOT, "scripts", "providers"), POSTERN], stdout=subprocess.PIPE, check=True
        ).stdout.decode()
        with open(os.path.join(ROOT, "docs", "providers.md"), encoding="ascii") as kept:
            self.assertEqual(kept.read(), made, "scripts/providers build/postern > docs/providers.md")

    def test_requests_signed_elsewhere(self):
        subprocess.run([os.path.join(ROOT, "tests", "vectors", "make"), "--check"], check=True)


def published():
    """Presets that an example of their provider's was judged by, and those that they extend to."""
    with open(os.path.join(ROOT, "tests", "vectors", "presets.json"), encoding="ascii") as text:
        found = {row["preset"] for row in json.load(text) if row.get("published")}
    for path in glob.glob(os.path.join(ROOT, "config", "presets", "*.json")):
        with open(path, encoding="ascii") as text:
            if json.load(text).get("extends") in found:
                found.add(os.path.basename(path)[: -len(".json")])
    return found


class Evidence(unittest.TestCase):
    def test_what_is_said_to_be_checked_was(self):
        with open(os.path.join(ROOT, "docs", "providers.tsv"), encoding="ascii") as text:
            rows = [line.split("\t") for line in text if not line.startswith("#")]
        self.assertEqual({row[0] for row in rows if row[2] == "V"} - published(), set())


# A public key's half cannot sign; jwt and x509-rsa have tests of their own.
CANNOT = {"standard-webhooks-ed25519", "discord-events", "sendgrid-events", "plaid", "fusionauth", "google-pubsub", "aws-sns", "paypal"}
# One of each kind: header, body, query, form, element, token, login, digest, times in all units.
BAD = {
    "stripe": ("signature", "stale", "future", "unsigned", "duplicate", "body"),
    "mailgun": ("signature", "stale", "future", "unsigned"),
    "adyen-payments": ("signature", "unsigned", "duplicate"),
    "twilio": ("signature", "unsigned", "body"),
    "twilio-json": ("signature", "body"),
    "mandrill": ("signature", "body"),
    "mailchimp": ("signature", "unsigned"),
    "postmark": ("signature", "unsigned"),
    "hubspot-v1": ("signature", "body"),
    "zendesk": ("stale", "future"),
    "workos": ("stale", "future"),
    "xero": ("signature", "unsigned", "body"),
}


class House:
    """One daemon with a source for each preset, as `init` writes it."""

    def __init__(self):
        self.where = tempfile.mkdtemp(prefix="postern-providers-")
        self.config = os.path.join(self.where, "postern.json")
        self.names = sorted(os.path.basename(p)[: -len(".json")] for p in glob.glob(os.path.join(ROOT, "config", "presets", "*.json")))
        subprocess.run([POSTERN, "init", *self.names, "--dir", self.where], check=True, capture_output=True)
        with open(self.config, encoding="ascii") as text:
            made = json.load(text)
        ports = free_ports(2)
        made["ingress"]["listen"], made["admin"]["listen"] = (f"127.0.0.1:{port}" for port in ports)
        made["queue"] = {"segment_bytes": 4 * 1024 * 1024, "reserve_bytes": 0}
        with open(self.config, "w", encoding="ascii") as text:
            json.dump(made, text)
        for path in glob.glob(os.path.join(self.where, "keys", "*")):
            with open(path, encoding="ascii") as key:
                leaks.note(leaks.KEY, key.read().strip())
        log = os.path.join(leaks.suite_dir(), "said", f"log-{os.getpid()}-providers.text")
        with open(log, "ab") as out:
            self.daemon = subprocess.Popen([POSTERN, "run", "-c", self.config], stdout=out, stderr=out)
        atexit.register(self.close)
        until(lambda: self.is_ready(ports[1]), "ready")

    def close(self):
        self.daemon.terminate()
        self.daemon.wait(20)
        shutil.rmtree(self.where)

    @staticmethod
    def is_ready(port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False


_house = []


def house():
    if not _house:
        _house.append(House())
    return _house[0]


class Sends(unittest.TestCase):
    def setUp(self):
        self.names, self.config = house().names, house().config

    def send(self, *args):
        got = subprocess.run([POSTERN, "send", *args, "-c", self.config], capture_output=True, timeout=30, check=False)
        self.assertEqual(got.returncode, 0, (args, got.stdout[-300:], got.stderr[-300:]))
        return got.stdout.decode()

    def test_every_sender_is_accepted(self):
        for name in self.names:
            if name not in CANNOT:
                with self.subTest(name):
                    self.assertIn(self.send(name).split(" ")[0], ("200", "204"))

    def test_a_sender_without_a_private_key_says_so(self):
        for name in ("standard-webhooks-ed25519", "sendgrid-events"):
            got = subprocess.run([POSTERN, "send", name, "-c", self.config], capture_output=True, timeout=30, check=False)
            self.assertIn(b"public key", got.stderr)

    def test_bad_requests_are_bad_in_the_way_asked_for(self):
        for name, kinds in BAD.items():
            for kind in kinds:
                with self.subTest(f"{name} {kind}"):
                    self.send(name, "--bad", kind)

    def test_a_body_of_several_events(self):
        body = json.dumps({"events": [{"webhookEventId": f"several-{n}", "type": "message", "timestamp": 1} for n in range(3)]})
        answer = json.loads(self.send("line", "--data", body).split(" ", 1)[1])
        self.assertEqual((answer["event_id"], answer["events"]), ("several-0", 3))
        for n in range(3):
            row = until(lambda n=n: self.outcome(f"several-{n}"), "an outcome")
            self.assertEqual((row["outcome"], row["type"]), ("applied", "message"))
        answer = json.loads(self.send("line", "--data", body, "--bad", "duplicate").split("\n")[0].split(" ", 1)[1])
        self.assertEqual(answer["events"], 3)
        answer = json.loads(self.send("line", "--data", '{"events": []}').split(" ", 1)[1])
        self.assertEqual((answer["result"], answer["event_id"], answer["events"]), ("accepted", None, 0))

    def outcome(self, event_id):
        got = subprocess.run([POSTERN, "events", "get", event_id, "--json", "-c", self.config], capture_output=True, timeout=30, check=False)
        rows = [json.loads(line) for line in got.stdout.decode().splitlines()]
        return rows[0] if rows and rows[0]["outcome"] != "pending" else None


if __name__ == "__main__":
    report.main()
