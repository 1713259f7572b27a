"""What a daemon says of its config: warnings are lines of its log, a refused reload names its reason."""

import json
import os

from lib import report
from lib.kit import Kit
from lib.senders import Shopify, StandardWebhooks


class Said(Kit):
    def test_warnings_at_start_are_lines_of_the_log(self):
        # One warning of the config (who may read the key), one of the scheme (what shopify's replays are).
        node = self.small({"shop": (Shopify(), {})})
        os.chmod(node.path("keys/shop.key"), 0o644)
        process = node.start()
        told = [line for line in process.log_text().splitlines() if line]
        lines = [json.loads(line) for line in told]
        pointers = [line["pointer"] for line in lines if line["event"] == "config_problem"]
        self.assertEqual(pointers, ["/sources/shop/keys/0", "/sources/shop"])
        self.assertTrue(all(line["level"] == "warn" for line in lines if line["event"] == "config_problem"))

    def test_a_config_that_is_not_valid_is_an_event_of_the_log(self):
        node = self.small({"sw": (StandardWebhooks(), {})}, wrong=1)
        got = node.cli("run", check=3)
        last = json.loads(got.stderr.decode().splitlines()[-1])
        self.assertEqual((last["event"], last["level"], last["code"]), ("start_failed", "error", "CONFIG"))
        self.assertIn("/wrong", last["text"])

    def test_a_refused_reload_names_the_key(self):
        node = self.small({"sw": (StandardWebhooks(), {})})
        node.start()
        with open(node.path("keys/sw.key"), "w", encoding="ascii"):
            pass
        got = node.cli("reload", check=3)
        self.assertIn(b"/sources/sw/keys/0", got.stderr)
        self.assertIn(b"is empty", got.stderr)


if __name__ == "__main__":
    report.main()
