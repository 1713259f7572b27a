"""What grows with the config or with a body: answers of the admin listener and commands that read them."""

import base64

from lib import report
from lib.kit import Kit
from lib.senders import StandardWebhooks

BODY_MAX = 1048576
SOURCES = 600


class Answers(Kit):
    def test_records_with_the_largest_body_can_be_shown(self):
        node = self.small({"sw": (StandardWebhooks(), {})})
        node.start()
        # None is JSON, so each is kept. Letters, what JSON must escape, and what is no text.
        for number, byte in enumerate((b"x", b"\x01", b"\xff")):
            body = byte * BODY_MAX
            self.accepted(node.send("sw", body, f"large-{number}"))
            kept = self.until(
                lambda count=number + 1: (rows := node.cli_json("quarantine", "ls")) and len(rows) == count and rows,
                "quarantined",
            )
            ids = [row["id"] for row in kept]
            shown = [node.cli_json("quarantine", "show", name, shows_records=True)[0] for name in ids]
            bodies = [
                row["body"].encode() if "body" in row else base64.b64decode(row["body_base64"]) for row in shown
            ]
            self.assertIn(body, bodies)

    def test_metrics_of_many_sources(self):
        node = self.small({"first": (StandardWebhooks(), {})})
        for number in range(SOURCES):
            node.config["sources"][f"source-{number}"] = {
                "preset": "standard-webhooks", "keys": [{"file": "keys/first.key"}],
            }
        node.write_config()
        node.start()
        values = node.metrics()
        name = f'postern_http_requests_total{{source="source-{SOURCES - 1}",code="ACCEPTED"}}'
        self.assertEqual(values[name], 0)
        self.assertEqual(node.ask("/v1/status")[0], 200)


if __name__ == "__main__":
    report.main()
