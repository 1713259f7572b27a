"""Commands that look at requests offline: test, verify --explain, keys ls without a daemon."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from lib import report
from lib.kit import Kit, mapped
from lib.postern import ROOT, binary
from lib.senders import GitHub

EXAMPLES = os.path.join(ROOT, "docs", "examples", "requests")


class Tests(Kit):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="postern-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        shutil.copytree(EXAMPLES, self.directory, dirs_exist_ok=True)

    def run_all(self, *more):
        config = os.path.join(self.directory, "postern.json")
        got = subprocess.run([binary(), "test", self.directory, "-c", config, *more], capture_output=True, check=False)
        return got.returncode, got.stdout.decode()

    def case(self, **case):
        with open(os.path.join(self.directory, "own.test.json"), "w", encoding="ascii") as out:
            json.dump(case, out)
        status, said = self.run_all("--json")
        rows = {row["name"]: row for row in map(json.loads, said.splitlines())}
        return status, rows["own.test.json"]["why"]

    def test_the_examples_pass(self):
        status, said = self.run_all()
        self.assertEqual((status, said.splitlines()[-1]), (0, "5 passed, 0 failed"), said)

    def test_what_differs_fails_and_is_told(self):
        body = {"body": '{"type":"a","account":"b"}', "sign": True}
        for expect, why in (
            ({"code": "ACCEPTED", "type": "a", "entity": "b", "status": 200, "version": None}, None),
            ({"code": "EXPIRED"}, "code is ACCEPTED, not EXPIRED"),
            ({"status": 204}, "status is 200, not 204"),
            ({"type": "c"}, "type is a, not c"),
            ({"type": None}, "type is a, not "),
            ({"version": "1"}, "version is none, not 1"),
            ({"kind": "a"}, 'expect has no member "kind"'),
        ):
            with self.subTest(expect):
                status, said = self.case(source="billing", request=body, expect=expect)
                self.assertEqual((status, said), (0 if why is None else 1, why))

    def test_a_case_that_is_wrong_fails(self):
        fine = {"source": "billing", "request": {"body": "{}"}, "expect": {"code": "MISSING_SIGNATURE"}}
        self.assertEqual(self.case(**fine), (0, None))
        for change, why in (
            ({"source": "bill"}, 'no source "bill"'), ({"request": []}, "needs an object"), ({"expected": {}}, "no member"),
            ({"request": {"body": "a", "body_file": "b"}}, "one of body"), ({"request": {"body_file": "none"}}, "body: "),
            ({"request": {"now": "today"}}, "now must be"), ({"request": {"headers": []}}, "must be an object"),
        ):
            with self.subTest(change):
                status, said = self.case(**{**fine, **change})
                self.assertEqual(status, 1)
                self.assertIn(why, said)
        with open(os.path.join(self.directory, "own.test.json"), "w", encoding="ascii") as out:
            out.write("{")
        self.assertEqual(self.run_all()[0], 1)
        for name in os.listdir(self.directory):
            if name.endswith(".test.json"):
                os.remove(os.path.join(self.directory, name))
        self.assertEqual(self.run_all()[0], 2)


class Keys(Kit):
    def test_explain_names_the_mistake_and_stays_refused(self):
        node = self.small({"github": (GitHub(), {}), "other": mapped()})
        body = b'{"a": 1}'
        headers = GitHub().headers(body, "e1")
        given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
        path = node.path("body.json")
        with open(path, "wb") as out:
            out.write(body)
        (row,) = node.cli_json("verify", "github", "--body", "@" + path, *given, "--explain", check=1)
        self.assertEqual((row["code"], row["mistake"]), ("BAD_SIGNATURE", None))
        headers = node.senders["github"].headers(body, "e1")
        given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
        with open(path, "wb") as out:
            out.write(body + b"\n")
        (row,) = node.cli_json("verify", "github", "--body", "@" + path, *given, "--explain", check=1)
        self.assertEqual((row["code"], row["mistake"]), ("BAD_SIGNATURE", "body_newline"))
        self.assertTrue(row["explain"] and row["fix"])

    def test_keys_are_listed_with_and_without_a_daemon(self):
        node = self.small({"github": (GitHub(), {})})
        node.config["sources"]["github"]["keys"].append({"file": node.write_key("old.key", "old"), "role": "previous"})
        node.write_config()
        rows = node.cli_json("keys", "ls")
        self.assertEqual([(row["role"], row["matches"]) for row in rows], [("current", None), ("previous", None)])
        node.start()
        body = b"{}"
        self.accepted(node.post("github", body, node.senders["github"].headers(body, "k1")))
        current, old = node.cli_json("keys", "ls")
        self.assertEqual((current["matches"], current["per_hour"], current["safe_to_remove"]), (1, 1, None))
        self.assertLess(current["age_s"], time.time() + 1)
        self.assertEqual((old["matches"], old["safe_to_remove"]), (0, False))
        self.assertIn("watched for only 0 of 72 h", old["why"])
        said = node.cli("keys", "ls").stdout.decode()
        self.assertIn("keep: watched for only", said)


if __name__ == "__main__":
    report.main()
