"""What is new, what is a copy, what is stale, what is suspect: identity, version rules, quarantine, redrive."""

import json
import time

from lib import report
from lib.destination import Destination, always
from lib.kit import FAST_RETRY, Kit, body_of, make_node, mapped, send, until
from lib.senders import GitHub, StandardWebhooks

RULES = ("newer", "not_older", "next", "match", "none")
LARGEST = 9223372036854775807


def ruled():
    """A source and a route for each version rule."""
    sources = {rule: mapped(base="json:/base") for rule in RULES}
    sources["short"] = mapped()
    routes = [
        {"name": rule, "match": {"source": rule}, "handler": {"type": "none"}, "version_rule": rule} for rule in RULES
    ]
    routes.append({"name": "short", "match": {"source": "short"}, "handler": {"type": "none"},
                   "version_rule": "next", "gap_timeout_s": 1})
    return make_node(sources, routes)


class Rules(Kit):
    def setUp(self):
        self.at = self.shared("ruled", ruled)

    def walk(self, source, entity, *steps):
        """Events one after the other: (version, outcome) or (version, base, outcome)."""
        for number, step in enumerate(steps):
            version, outcome, members = step[0], step[-1], {"base": step[1]} if len(step) == 3 else {}
            event_id = f"{entity}-{number}"
            send(self.at, source, event_id, entity, version, **members)
            row = self.ended(self.at, event_id, outcome)
            if outcome == "stale":
                self.assertEqual(row["code"], "STALE_VERSION")

    def test_newer(self):
        self.walk("newer", "n:1", (5, "applied"), (5, "stale"), (4, "stale"), (9, "applied"), (6, "stale"),
                  ("10", "applied"), (LARGEST, "applied"), (LARGEST, "stale"), (-1, "stale"))
        self.walk("newer", "n:2", (-7, "applied"), (-8, "stale"), (0, "applied"))
        self.assertEqual(self.at.state("n:1")["version"], str(LARGEST))

    def test_without_version_or_entity(self):
        self.walk("newer", "n:3", (5, "applied"), (None, "applied"), (5, "stale"))
        for number in range(2):
            send(self.at, "newer", f"lone-{number}", None, 3)
            self.ended(self.at, f"lone-{number}", "applied")

    def test_times(self):
        self.walk(
            "newer", "t:1", ("2026-01-01T00:00:00Z", "applied"), ("2026-01-01T00:00:00.001Z", "applied"),
            ("2026-01-01 00:00:00", "stale"), ("2026-01-01 01:00:00 UTC", "applied"),
            ("2026-01-01T01:30:00+01:00", "stale"), ("2026-01-01T01:30:00-01:00", "applied"),
        )

    def test_the_two_kinds_never_mix(self):
        self.walk("newer", "k:1", (5, "applied"), ("2026-01-01T00:00:00Z", "quarantined"), (6, "applied"))
        self.walk("newer", "k:2", ("2026-01-01T00:00:00Z", "applied"), (1893456000, "quarantined"))
        self.assertEqual(self.at.event("k:1-1")[0]["code"], "VERSION_TYPE")
        listed = {row["event_id"] for row in self.at.cli_json("quarantine", "ls", "--reason", "VERSION_TYPE")}
        self.assertTrue({"k:1-1", "k:2-1"} <= listed)

    def test_unreadable(self):
        """A version that is there and cannot be read is no version."""
        for version in (1.0, "1.5", "x", LARGEST + 1, "2026-13-01T00:00:00Z", True, {}):
            with self.subTest(version=version):
                before = len(self.at.cli_json("quarantine", "ls", "--reason", "MALFORMED_BODY"))
                send(self.at, "newer", f"unread-{version}"[:20].replace("{", ""), "u:1", version)
                until(lambda: len(self.at.cli_json("quarantine", "ls", "--reason", "MALFORMED_BODY")) == before + 1,
                      "quarantined")
        self.assertIsNone(self.at.state("u:1"))

    def test_not_older(self):
        self.walk("not_older", "o:1", (5, "applied"), (5, "applied"), (4, "stale"), (6, "applied"))

    def test_match(self):
        self.walk("match", "m:1", (10, "applied"), (11, 10, "applied"), (12, 10, "stale"), (20, "11", "applied"),
                  (21, "stale"), (15, 20, "applied"))

    def test_none(self):
        self.walk("none", "x:1", (5, "applied"), (3, "applied"), (5, "applied"))

    def test_next(self):
        self.walk("next", "g:1", (1, "applied"), (2, "applied"), (2, "stale"), (1, "stale"))
        send(self.at, "next", "g:1-five", "g:1", 5)
        row = self.ended(self.at, "g:1-five", "parked")
        self.assertEqual(row["parked"], "gap")
        send(self.at, "next", "g:1-four", "g:1", 4)
        send(self.at, "next", "g:1-three", "g:1", 3)
        for name in ("three", "four", "five"):
            self.ended(self.at, f"g:1-{name}", "applied")
        self.assertEqual(self.at.state("g:1")["version"], "5")

    def test_a_gap_that_nobody_fills(self):
        self.walk("short", "s:1", (1, "applied"))
        start = time.monotonic()
        send(self.at, "short", "s:1-late", "s:1", 3)
        self.ended(self.at, "s:1-late", "dead", "VERSION_GAP")
        self.assertGreater(time.monotonic() - start, 0.9)
        self.walk("short", "s:2", (1, "applied"))

    def test_tenants_are_apart(self):
        node = self.small({"a": mapped(tenant="one"), "b": mapped(tenant="two"), "c": mapped(tenant="one")})
        node.start()
        for source, version, outcome in (("a", 5, "applied"), ("b", 3, "applied"), ("c", 4, "stale")):
            send(node, source, "same-id", "order:1", version)
            until(lambda: any(r["source"] == source and r["outcome"] == outcome for r in node.event("same-id")), source)
        self.assertEqual(len(node.cli_json("events", "get", "same-id")), 3, "a line for each source")
        self.assertEqual((node.state("order:1", "one")["version"], node.state("order:1", "two")["version"]), ("5", "3"))


def copies():
    github = {"entity": "none", "type": "header:X-GitHub-Event"}
    return make_node({
        "sw": mapped(), "watchful": mapped(on_reuse="quarantine"), "gh": (GitHub(), github),
        "lenient": (GitHub(), {**github, "on_replay": "apply"}), "kept": mapped(quarantine_refused=True),
    })


class Copies(Kit):
    def setUp(self):
        self.at = self.shared("copies", copies)

    def quarantined(self, reason, source):
        return self.at.cli_json("quarantine", "ls", "--reason", reason, "--source", source)

    def copies_counted(self):
        return sum(value for name, value in self.at.metrics().items()
                   if name.startswith("postern_events_total{") and 'outcome="duplicate"' in name)

    def test_an_id_with_another_body(self):
        reused = 'postern_id_reused_total{source="sw"}'
        before = self.at.metrics()[reused]
        send(self.at, "sw", "reuse-1", "order:1", 1)
        send(self.at, "sw", "reuse-1", "order:1", 2)
        until(lambda: self.at.metrics()[reused] == before + 1, "counted")
        self.assertEqual([row["outcome"] for row in self.at.event("reuse-1")], ["applied"])
        self.assertEqual(self.at.state("order:1")["version"], "1")

    def test_an_id_with_another_body_quarantined(self):
        send(self.at, "watchful", "reuse-2", "order:2", 1)
        send(self.at, "watchful", "reuse-2", "order:2", 2)
        rows = until(lambda: self.quarantined("ID_REUSED", "watchful"), "quarantined")
        self.assertEqual([row["event_id"] for row in rows], ["reuse-2"])
        self.assertEqual(self.at.event("reuse-2")[0]["outcome"], "applied", "a copy never changes an outcome")

    def test_a_replay_under_a_fresh_id(self):
        body = body_of()
        for event_id in ("gh-1", "gh-1", "gh-2"):
            self.accepted(self.at.send("gh", body, event_id), event_id)
        self.ended(self.at, "gh-1", "applied")
        self.ended(self.at, "gh-2", "quarantined", "REPLAY_DETECTED")
        rows = until(lambda: self.quarantined("REPLAY_DETECTED", "gh"), "listed")
        self.assertEqual([row["event_id"] for row in rows], ["gh-2"])
        shown = self.at.cli_json("quarantine", "show", rows[0]["id"], shows_records=True)[0]
        self.assertEqual(shown["body"].encode(), body)
        self.assertIn("postern-replay", shown["headers"])
        self.at.cli("quarantine", "accept", rows[0]["id"])
        self.ended(self.at, "gh-2", "applied")
        self.assertEqual(self.quarantined("REPLAY_DETECTED", "gh"), [])
        self.assertNotEqual(self.at.cli("quarantine", "accept", rows[0]["id"], check=None).returncode, 0, "once")

    def test_on_replay_apply(self):
        body = body_of()
        for event_id in ("len-1", "len-2"):
            self.accepted(self.at.send("lenient", body, event_id))
            self.ended(self.at, event_id, "applied")

    def test_unusable_and_accepted(self):
        """Without an id an event is known by its attempt; accepted, it is worked under that name."""
        body = body_of()
        headers = self.at.senders["gh"].headers(body, "x")
        del headers["X-GitHub-Delivery"]
        self.assertEqual(self.at.post("gh", body, headers).status, 200)
        row = until(lambda: self.quarantined("MISSING_EVENT_ID", "gh"), "quarantined")[0]
        shown = self.at.cli_json("quarantine", "show", row["id"], shows_records=True)[0]
        attempt = shown["headers"]["postern-attempt"]
        self.assertRegex(attempt, r"^[0-9a-f]{32}$")
        self.assertEqual(shown["headers"]["ce_id"], attempt)
        self.assertEqual(shown["headers"]["postern-quarantine"], "MISSING_EVENT_ID")
        self.assertEqual(self.at.event(attempt)[0]["outcome"], "quarantined")
        self.at.cli("quarantine", "accept", row["id"])
        self.ended(self.at, attempt, "applied")

    def test_malformed_and_dropped(self):
        body = b'{"mark": '
        self.assertEqual(self.at.send("sw", body, "mal-1").status, 200)
        row = until(lambda: self.quarantined("MALFORMED_BODY", "sw"), "quarantined")[0]
        self.at.cli("quarantine", "drop", "--source", "sw", "--reason", "MALFORMED_BODY", "--dry-run")
        self.assertEqual(len(self.quarantined("MALFORMED_BODY", "sw")), 1)
        self.at.cli("quarantine", "drop", "--source", "sw", "--reason", "MALFORMED_BODY", "--yes")
        self.assertEqual(self.quarantined("MALFORMED_BODY", "sw"), [])
        self.assertEqual(self.at.cli("quarantine", "drop", row["id"], check=None).returncode, 5)
        # The id itself was never taken: a good event may have it.
        send(self.at, "sw", "mal-1")
        self.ended(self.at, "mal-1", "applied")

    def test_refused_and_kept_until_the_key_is_mended(self):
        right = StandardWebhooks()
        bodies = {event_id: body_of(f"order:{event_id}", 1) for event_id in ("kept-1", "kept-2")}
        rows = {}
        for event_id, body in bodies.items():
            self.refused(self.at.post("kept", body, right.headers(body, event_id)), 401, "BAD_SIGNATURE")
            listed = until(lambda: len(self.quarantined("BAD_SIGNATURE", "kept")) > len(rows)
                           and self.quarantined("BAD_SIGNATURE", "kept"), "kept")
            rows[event_id] = listed[-1]["id"]
        self.assertEqual(self.at.cli("quarantine", "accept", rows["kept-1"], check=None).returncode, 5)
        self.assertIsNone(self.at.state("order:kept-1"), "the signature still does not hold")
        self.at.write_key("kept.key", right.key_text())
        self.at.cli("reload")
        self.at.cli("quarantine", "accept", rows["kept-1"])
        row = self.ended(self.at, "kept-1", "applied")
        self.assertEqual((row["entity"], row["type"], row["version"]), ("order:kept-1", "thing.changed", "1"))
        self.assertEqual(self.at.state("order:kept-1")["event_id"], "kept-1")
        listed = [row for row in self.at.cli_json("events", "ls", "--source", "kept") if row["event_id"] == "kept-1"]
        self.assertEqual([(row["outcome"], row["entity"]) for row in listed], [("applied", "order:kept-1")])
        # What the sender repeats is a copy now, however late it comes.
        before = self.copies_counted()
        self.accepted(self.at.post("kept", bodies["kept-1"], right.headers(bodies["kept-1"], "kept-1")), "kept-1")
        until(lambda: self.copies_counted() == before + 1, "a copy")
        # The other one came again by itself: its kept copy is let go, and not worked a second time.
        self.accepted(self.at.post("kept", bodies["kept-2"], right.headers(bodies["kept-2"], "kept-2")))
        self.ended(self.at, "kept-2", "applied")
        self.at.cli("quarantine", "accept", rows["kept-2"])
        self.assertEqual(self.quarantined("BAD_SIGNATURE", "kept"), [])
        self.assertEqual([row["outcome"] for row in self.at.event("kept-2")], ["applied"])
        body = bodies["kept-1"]
        self.refused(self.at.post("sw", body, right.headers(body, "kept-3")), 401, "BAD_SIGNATURE")
        self.assertEqual(self.quarantined("BAD_SIGNATURE", "sw"), [], "only where it was asked for")


class Redrive(Kit):
    def dead(self, events):
        """A node whose destination refused all of these (id, entity, version), and takes everything now."""
        destination = self.cleanup(Destination(always(400)))
        node = self.small({"sw": mapped()}, routes=[
            {"name": "out", "match": {}, "handler": {"type": "http", "url": destination.url()}, "retry": FAST_RETRY}])
        node.start()
        for event_id, entity, version in events:
            send(node, "sw", event_id, entity, version)
        for event_id, _, _ in events:
            self.ended(node, event_id, "dead")
        until(lambda: len(node.cli_json("dlq", "ls")) == len(events), "listed")
        destination.behave = always(200)
        return node, destination, destination.count()

    def test_one_by_id(self):
        node, destination, before = self.dead([("d-1", "o:1", 1), ("d-2", "o:2", 1)])
        entry = node.cli_json("dlq", "ls", "--entity", "o:1")[0]
        node.cli("dlq", "replay", entry["id"])
        self.ended(node, "d-1", "applied")
        first, second = destination.of("d-1")
        self.assertEqual((first.key, first.body), (second.key, second.body), "its identity and its bytes")
        self.assertEqual(destination.count(), before + 1)
        self.assertEqual([row["event_id"] for row in node.cli_json("dlq", "ls")], ["d-2"])
        self.assertEqual(node.state("o:1")["event_id"], "d-1")
        self.assertEqual(node.cli("dlq", "replay", entry["id"], check=None).returncode, 5, "once")
        node.cli("dlq", "drop", "d-2")
        self.assertEqual(node.cli_json("dlq", "ls"), [])
        states = {row["event_id"]: row["state"] for row in node.cli_json("dlq", "ls", "--all")}
        self.assertEqual(states, {"d-1": "replayed", "d-2": "dropped"})
        self.assertEqual(self.ended(node, "d-2", "dead")["outcome"], "dead")

    def test_by_filter_in_order(self):
        events = [(f"d-{n}", f"o:{n % 3}", n + 1) for n in range(15)]
        node, destination, before = self.dead(events)
        dry = node.cli("dlq", "replay", "--route", "out", "--dry-run")
        listed = [json.loads(line)["event_id"] for line in dry.stdout.decode().splitlines()]
        self.assertEqual(sorted(listed), sorted(event_id for event_id, _, _ in events))
        self.assertIn(b"15", dry.stderr)
        self.assertEqual(destination.count(), before, "a dry run changes nothing")
        node.cli("dlq", "replay", "--entity", "o:0", "--reason", "HANDLER_REFUSED", "--source", "sw", "--since", "10m")
        start = time.monotonic()
        node.cli("dlq", "replay", "--route", "out", "--rate", "10", "--yes")
        self.assertGreater(time.monotonic() - start, 0.8, "10 records at 10 a second")
        for event_id, _, _ in events:
            self.ended(node, event_id, "applied")
        again = destination.snapshot()[before:]
        self.assertEqual(len(again), 15, "each once")
        for entity in ("o:0", "o:1", "o:2"):
            self.assertEqual([e.event_id for e in again if e.entity == entity],
                             [event_id for event_id, its, _ in events if its == entity])
        self.assertEqual(node.cli_json("dlq", "ls", "--until", "2h"), [])

    def test_the_version_rule_holds(self):
        node, destination, before = self.dead([("d-1", "o:1", 1)])
        send(node, "sw", "newer", "o:1", 5)
        self.ended(node, "newer", "applied")
        node.cli("dlq", "replay", "d-1")
        self.ended(node, "d-1", "stale", "STALE_VERSION")
        self.assertEqual((destination.count(), node.state("o:1")["version"]), (before + 1, "5"))
        self.assertEqual(node.cli_json("dlq", "ls"), [])

    def test_it_may_die_again(self):
        node, destination, _ = self.dead([("d-1", "o:1", 1)])
        destination.behave = always(400)
        node.cli("dlq", "replay", "d-1")
        until(lambda: len(destination.of("d-1")) == 2, "tried again")
        until(lambda: len(node.cli_json("dlq", "ls")) == 1, "a dead letter again")
        self.ended(node, "d-1", "dead")
        destination.behave = always(200)
        node.cli("dlq", "replay", "d-1")
        self.ended(node, "d-1", "applied")

    def test_redrive_survives_a_kill(self):
        node, destination, before = self.dead([(f"d-{n}", f"o:{n}", 1) for n in range(8)])
        destination.behave = always(200, delay=0.3)
        node.cli("dlq", "replay", "--route", "out")
        node.processes[-1].kill()
        node.start()
        for number in range(8):
            self.ended(node, f"d-{number}", "applied")
        self.assertEqual(node.cli_json("dlq", "ls"), [])
        # A call that was cut off is made again; whatever was replayed is not lost.
        self.assertLessEqual(destination.count() - before, 16)


if __name__ == "__main__":
    report.main()
