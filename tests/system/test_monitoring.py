"""What Prometheus and Grafana get: metrics that promtool accepts, alerts that fire when they should, panels that exist."""

import glob
import json
import os
import re
import subprocess

from lib import report
from lib.kit import Kit, mapped
from lib.postern import ROOT, body_of

MONITORING = os.path.join(ROOT, "config", "monitoring")
SUFFIXES = ("_bucket", "_sum", "_count")


class Monitoring(Kit):
    def exposed(self):
        def make():
            node = self.small({"things": mapped()})
            node.start()
            self.accepted(node.send("things", body_of("a", 1), "one"))
            self.ended(node, "one", "applied")
            self.refused(node.post("things", body_of("a", 2), {}), 401, "MISSING_SIGNATURE")
            return node

        return make().api.get("/metrics").body.decode()

    def promtool(self, *words, text=None):
        return subprocess.run(["promtool", *words], input=text, capture_output=True, text=True, check=False)

    def test_promtool_has_nothing_to_say_about_the_metrics(self):
        got = self.promtool("check", "metrics", text=self.exposed())
        self.assertEqual((got.returncode, got.stdout, got.stderr), (0, "", ""))

    def test_alerts_fire_when_they_should_and_not_before(self):
        tests = os.path.join(ROOT, "tests", "monitoring", "postern.rules.test.yml")
        for words in (("check", "rules", os.path.join(MONITORING, "postern.rules.yml")), ("test", "rules", tests)):
            got = self.promtool(*words)
            self.assertEqual(got.returncode, 0, got.stdout + got.stderr)

    def test_each_alert_is_tested_and_has_a_page(self):
        with open(os.path.join(MONITORING, "postern.rules.yml"), encoding="utf-8") as rules:
            alerts = re.findall(r"alert: (\w+)", rules.read())
        self.assertGreater(len(alerts), 10)
        with open(os.path.join(ROOT, "tests", "monitoring", "postern.rules.test.yml"), encoding="utf-8") as tests:
            tests = tests.read()
        with open(os.path.join(ROOT, "docs", "alerts.md"), encoding="utf-8") as page:
            page = page.read()
        for alert in alerts:
            fires = re.search(rf"alertname: {alert}\n +exp_alerts:\n +- exp_labels", tests)
            self.assertIsNotNone(fires, f"{alert}: no test in which it fires")
            self.assertIn(f"## {alert}\n", page)
            self.assertIn(f"runbook: docs/alerts.md#{alert.lower()}\n", open(
                os.path.join(MONITORING, "postern.rules.yml"), encoding="utf-8").read())

    def test_status_is_one_screen(self):
        node = self.small({"things": mapped(), "quiet": mapped()})
        node.start()
        self.accepted(node.send("things", body_of("a", 1), "one"))
        self.ended(node, "one", "applied")
        self.refused(node.post("things", body_of("a", 2), {}), 401, "MISSING_SIGNATURE")
        self.refused(node.post("nobody", b"x", {}), 404, "UNKNOWN_SOURCE")
        shown = node.cli("status").stdout.decode()
        for words in (
            r"^postern [\d.]+, half both: ready$", r"^queue +0 behind, oldest 0 s", r"^parked +0 events, 0 B",
            r"^ledger +\d+ ids remembered, [\d.]+ KiB", r"^disk +[\d.]+ .iB free of [\d.]+ .iB, /",
            r"^things +[\d.]+ +1 +1  MISSING_SIGNATURE 1$", r"^quiet +0.0 +0 +0  $", r"^\(unknown\) .* UNKNOWN_SOURCE 1$",
            r"^rest +0 +0  closed$",
        ):
            self.assertRegex(shown, re.compile(words, re.M))
        self.assertLess(max(map(len, shown.splitlines())), 100)

    def test_alerts_and_panels_name_metrics_that_exist(self):
        families = set(re.findall(r"^# TYPE (\w+)", self.exposed(), re.M))
        self.assertGreater(len(families), 20)
        asked = set()
        for path in glob.glob(os.path.join(MONITORING, "*")):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            if path.endswith(".json"):
                json.loads(text)
            for name in re.findall(r"\bpostern_[a-z_]+", text):
                asked.add(next((name[: -len(s)] for s in SUFFIXES if name.endswith(s) and name[: -len(s)] in families), name))
        self.assertGreater(len(asked), 15)
        self.assertEqual(asked - families, set())


if __name__ == "__main__":
    report.main()
