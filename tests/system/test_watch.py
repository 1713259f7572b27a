"""Watching: health, readiness, metrics, status, and who may ask for what."""

import json

from lib import report
from lib.kit import Kit, make_node, mapped, send, until
from lib.senders import GitHub

CODES = (
    "ACCEPTED", "MALFORMED_BODY", "MISSING_EVENT_ID", "MISSING_SIGNATURE", "BAD_SIGNATURE", "KEY_NOT_FOUND",
    "BAD_TIMESTAMP", "EXPIRED", "CLOCK_SKEW", "TOO_LARGE", "METHOD_NOT_ALLOWED", "RATE_LIMITED",
    "UNAVAILABLE", "OUTCOME_UNKNOWN", "BAD_REQUEST",
)
OUTCOMES = ("applied", "duplicate", "stale", "dead", "quarantined")


def watched():
    return make_node(
        {"sw": mapped(), "gh": (GitHub(), {})},
        routes=[
            {"name": "one", "match": {"source": "sw"}, "handler": {"type": "exec", "argv": ["/bin/true"]}},
            {"name": "two", "match": {"source": "gh"}, "handler": {"type": "none"}},
        ],
    )


class Watching(Kit):
    def setUp(self):
        self.at = self.shared("watched", watched)

    def test_1_every_counter_is_at_0_from_the_start(self):
        have = self.at.metrics()
        wanted = [f'postern_http_requests_total{{source="{s}",code="{c}"}}' for s in ("sw", "gh") for c in CODES]
        wanted += [f'postern_http_requests_total{{source="",code="{c}"}}' for c in ("UNKNOWN_SOURCE", "BAD_REQUEST")]
        wanted += [f'postern_events_total{{route="{r}",outcome="{o}"}}' for r in ("one", "two", "") for o in OUTCOMES]
        wanted += [f'postern_key_matches_total{{source="{s}",role="current"}}' for s in ("sw", "gh")]
        wanted += [f'postern_id_reused_total{{source="{s}"}}' for s in ("sw", "gh")]
        wanted += [f'postern_dead_letters_total{{route="{n}",reason="{r}"}}' for n in ("one", "two") for r in (
            "HANDLER_REFUSED", "ATTEMPTS_EXHAUSTED", "AGE_EXHAUSTED", "CRASH_LOOP", "VERSION_GAP")]
        wanted += [f'postern_retries_total{{route="{n}",reason="{r}"}}' for n in ("one", "two") for r in (
            "HANDLER_FAILED", "HANDLER_TIMEOUT", "HANDLER_UNREACHABLE")]
        wanted += ["postern_spool_records", "postern_queue_lag_records", "postern_parked_events"]
        wanted += [f'postern_http_request_duration_seconds_count{{source="{s}"}}' for s in ("sw", "gh")]
        wanted += [f'postern_event_age_seconds_count{{route="{r}"}}' for r in ("one", "two")]
        missing = [name for name in wanted if have.get(name) != 0]
        self.assertEqual(missing, [])
        info = next(name for name in have if name.startswith("postern_build_info{"))
        self.assertIn('version="', info)
        self.assertEqual(have[info], 1)

    def test_2_they_count(self):
        def value(name):
            return self.at.metrics()[name]

        before = value('postern_events_total{route="one",outcome="applied"}')
        send(self.at, "sw", "count-1", "order:1", 1)
        self.ended(self.at, "count-1", "applied")
        until(lambda: value('postern_events_total{route="one",outcome="applied"}') == before + 1, "counted")
        self.at.hooks.request("POST", "/hooks/nosuch-" + "x" * 30, b"x")
        self.assertEqual(value('postern_http_requests_total{source="",code="UNKNOWN_SOURCE"}'), 1)
        self.assertFalse([name for name in self.at.metrics() if "nosuch" in name], "labels are bounded")
        self.assertGreater(value('postern_event_age_seconds_count{route="one"}'), 0)

    def test_open_and_closed_paths(self):
        for path in ("/healthz", "/readyz", "/metrics"):
            answer = self.at.api.get(path)
            self.assertEqual(answer.status, 200, path)
        self.assertEqual(self.at.api.get("/readyz").json(), {"ready": True})
        paths = ("/v1/status", "/v1/events", "/v1/state/x", "/v1/dlq", "/v1/quarantine", "/v1/keys", "/v1/config")
        for path in (*paths, "/v1/nosuch"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + self.at.token},
                            {"Authorization": "Bearer " + self.at.token + "x"}, {"Authorization": "Bearer "}):
                self.assertEqual(self.at.api.get(path, headers).status, 401, (path, headers))
        for path in paths:
            self.assertIn(self.at.ask(path)[0], (200, 404), path)
        self.assertEqual(self.at.ask("/v1/status")[0], 200)
        self.assertEqual(self.at.ask("/v1/nosuch")[0], 404)
        self.assertEqual(self.at.api.request("POST", "/v1/reload", b"").status, 401)
        self.assertEqual(self.at.api.request("DELETE", "/metrics").status, 405)
        lower = {"Authorization": "bearer " + self.at.token}
        self.assertEqual(self.at.api.get("/v1/status", lower).status, 200)
        for path, allow in (("/v1/reload", "POST"), ("/v1/dlq/replay/d1", None), ("/v1/events/x", None)):
            answer = self.at.api.get(path, lower)
            self.assertEqual((answer.status, answer.headers.get("allow")), (405 if allow else 404, allow), path)
        for path in ("/v1/status/x", "/v1/status/../keys", "/v1/config/", "/v1/keys/x"):
            self.assertEqual(self.at.api.get(path, lower).status, 404, path)
        self.assertEqual(self.at.api.request("POST", "/v1/reload/x", b"", lower).status, 404)

    def test_status(self):
        self.at.send("sw", b"x", "status-1", **{"webhook-signature": "v1,AAAA"})
        row = self.at.cli_json("status")[0]
        self.assertTrue({"sources", "queue", "routes", "disk", "ledger"} <= set(row), row)
        self.assertTrue({"lag", "oldest_s"} <= set(row["queue"]))
        for route in ("one", "two"):
            self.assertEqual((row["routes"][route]["parked"], row["routes"][route]["breaker"]), (0, "closed"))
        self.assertIn("BAD_SIGNATURE", json.dumps(row["sources"]["sw"]))
        self.assertNotIn(self.at.senders["sw"].key_text(), json.dumps(row))
        self.assertIn("ready", self.at.cli("status").stdout.decode())

    def test_keys_show_no_key(self):
        status, _ = self.at.ask("/v1/keys")
        self.assertEqual(status, 200)


if __name__ == "__main__":
    report.main()
