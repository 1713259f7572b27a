"""Work over many records: a redrive that is killed and goes on, and a wrong secret that is mended."""

import shlex
import subprocess

from lib import report
from lib.destination import Destination, Reply
from lib.kit import FAST_RETRY, Kit, in_threads, json_lines, mapped
from lib.postern import binary, body_of, until

ENTITIES, VERSIONS = 20, 15
CLIENTS = 5


class Redrive(Kit):
    def setUp(self):
        self.mended = False
        self.destination = self.cleanup(Destination(lambda effect, nth: Reply(200 if self.mended else 422)))
        self.node_ = self.small({"things": mapped()}, routes=[{
            "name": "out", "match": {}, "retry": FAST_RETRY,
            "handler": {"type": "http", "url": self.destination.url("/out")}}])
        self.node_.start()

    def fail_all(self):
        def send_some(client):
            for entity in range(client, ENTITIES, CLIENTS):
                for version in range(1, VERSIONS + 1):
                    body = body_of(f"e{entity}", version)
                    self.accepted(self.node_.send("things", body, f"evt-{entity}-{version}"))

        in_threads(CLIENTS, send_some)
        total = ENTITIES * VERSIONS
        until(lambda: len(self.node_.cli_json("dlq", "ls")) == total, "all are dead", pause=0.2)
        self.mended = True
        return total

    def replay(self, *words):
        return subprocess.Popen(
            [binary(), "-c", self.node_.config_path, "dlq", "replay", *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.node_.env)

    def succeeded(self):
        return [effect for effect in self.destination.snapshot() if effect.ok]

    def until_more(self, count):
        goal = len(self.succeeded()) + count
        until(lambda: len(self.succeeded()) >= goal, f"{count} more")

    def test_killed_at_both_ends_and_continued(self):
        total = self.fail_all()
        first = self.replay("--route", "out", "--since", "1h", "--rate", "300", "--yes")
        self.until_more(40)
        first.kill()
        first.communicate()
        second = self.replay("--route", "out", "--since", "1h", "--rate", "300", "--yes")
        self.until_more(40)
        self.node_.running()[0].kill()
        out, err = second.communicate(timeout=30)
        self.assertEqual(second.returncode, 5, err)
        self.assertGreater(json_lines(out)[-1]["done"], 0)
        self.node_.start()
        command = err.decode().strip().splitlines()[-1]
        third = subprocess.run(shlex.split(command), capture_output=True, env=self.node_.env, check=False, timeout=60)
        self.assertEqual(third.returncode, 0, third.stderr)
        last = json_lines(third.stdout)[-1]
        self.assertEqual((last["done"], last["failed"]), (last["total"], 0))
        self.assertLess(last["total"], total, "what was done is not done again")
        self.node_.wait_drained()
        self.check(total)

    def check(self, total):
        self.assertEqual(self.node_.cli_json("dlq", "ls"), [])
        effects = self.succeeded()
        # A call whose outcome was not committed when the worker was killed is made again, no other.
        twice = len(effects) - len({effect.event_id for effect in effects})
        self.assertEqual(len({effect.event_id for effect in effects}), total)
        self.assertLessEqual(twice, 40)
        for entity in range(ENTITIES):
            seen = []
            for effect in effects:
                if effect.entity == f"e{entity}" and effect.version not in seen:
                    seen.append(effect.version)
            self.assertEqual(seen, list(range(1, VERSIONS + 1)), f"order of e{entity}")
            self.assertEqual(self.node_.state(f"e{entity}")["version"], str(VERSIONS))
            self.assertEqual(self.node_.outcome(f"evt-{entity}-1"), "applied")


class WrongSecret(Kit):
    def verdicts(self):
        rows = self.at.cli_json("quarantine", "verify", "--source", "kept")
        for row in rows:
            self.assertEqual(row["source"], "kept")
        return {row["id"]: row["code"] for row in rows}

    def test_mended_and_accepted(self):
        self.at = self.small({"kept": mapped(quarantine_refused=True), "other": mapped()})
        right = self.at.senders["kept"].key_text()
        self.at.write_key("kept.key", self.at.senders["other"].key_text())
        process = self.at.start()
        bodies = {version: body_of("order:1", version) for version in range(1, 6)}
        for version in (1, 2, 2, 3, 4, 5):  # the sender tries again
            answer = self.at.send("kept", bodies[version], f"kept-{version}")
            self.refused(answer, 401, "BAD_SIGNATURE")
        forged = self.at.senders["kept"].headers(body_of("order:1", 99), "forged")
        self.refused(self.at.post("kept", body_of("order:1", 99), forged), 401, "BAD_SIGNATURE")
        codes = until(lambda: self.verdicts() if len(self.verdicts()) == 7 else None, "all are kept")
        self.assertEqual(set(codes.values()), {"BAD_SIGNATURE"})
        self.at.write_key("kept.key", right)
        self.at.cli("reload")
        self.assertTrue(process.alive())
        # One of them was sent again by its sender meanwhile, with another effect already.
        self.accepted(self.at.send("kept", bodies[1], "kept-1"))
        self.ended(self.at, "kept-1", "applied")
        codes = self.verdicts()
        self.assertEqual(sorted(codes.values()), ["ACCEPTED"] * 6 + ["BAD_SIGNATURE"])
        got = self.at.cli("quarantine", "accept", "--source", "kept", "--dry-run", check=5)
        self.assertIn(b": BAD_SIGNATURE\n6 records would be accepted", got.stderr)
        got = self.at.cli("quarantine", "accept", "--source", "kept", "--yes", check=5)
        last = json_lines(got.stdout)[-1]
        self.assertEqual((last["total"], last["failed"]), (7, 1), "copies are no failures")
        for version in range(2, 6):
            self.ended(self.at, f"kept-{version}", "applied")
        self.assertEqual(self.at.state("order:1")["version"], "5")
        self.assertEqual([row["outcome"] for row in self.at.event("kept-1")], ["applied"])
        self.assertEqual(self.at.event("forged"), [])
        self.assertEqual(list(self.verdicts().values()), ["BAD_SIGNATURE"])

    def test_without_a_daemon_and_with_none_kept(self):
        self.at = self.small({"kept": mapped(quarantine_refused=True)})
        self.at.start()
        self.refused(self.at.post("kept", body_of("a", 1), {}), 401, "MISSING_SIGNATURE")
        until(lambda: len(self.verdicts()) == 1, "kept")
        self.at.stop()
        self.assertEqual(set(self.verdicts().values()), {"MISSING_SIGNATURE"})
        self.assertEqual(self.at.cli("quarantine", "verify", "--source", "nobody").stdout, b"")
        # Nothing is changed without a daemon, also where there would be nothing to do.
        for command in (("quarantine", "accept"), ("quarantine", "drop"), ("dlq", "replay"), ("dlq", "drop")):
            self.at.cli(*command, "--source", "nobody", "--yes", check=4)
            self.at.cli(*command, "--source", "nobody", "--dry-run")


if __name__ == "__main__":
    report.main()
