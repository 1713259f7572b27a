"""What lists and ids say: each event once, however it stands in log and ledger; ids that several records share."""

import json

from lib import report
from lib.destination import Destination, Reply, always
from lib.kit import Kit, mapped, send


def rows_of(rows, event_id):
    return [row["outcome"] for row in rows if row["event_id"] == event_id]


class EachEventOnce(Kit):
    def ahead(self):
        """An event whose handler hangs, and behind it some that end at once: the position stands before them."""
        destination = self.cleanup(
            Destination(lambda effect, nth: Reply(200, delay=3) if effect.event_id == "slow" else Reply(200)))
        node = self.small(
            {"sw": mapped()},
            routes=[{"name": "out", "match": {}, "handler": {"type": "http", "url": destination.url()}}],
        )
        node.start()
        send(node, "sw", "slow", "order:0", 1)
        for number in range(5):
            send(node, "sw", f"quick-{number}", f"order:{number + 1}", 1)
        for number in range(5):
            self.ended(node, f"quick-{number}", "applied")
        return node

    def test_while_the_position_is_held_back(self):
        node = self.ahead()
        rows = node._rows("/v1/events")
        for number in range(5):
            self.assertEqual(rows_of(rows, f"quick-{number}"), ["applied"], rows)
        self.assertEqual(len(rows_of(rows, "slow")), 1, rows)
        node.stop()

    def test_after_a_death(self):
        """The same from the files: nothing moves any more, so there is no race to win."""
        node = self.ahead()
        for process in node.running():
            process.kill()
        rows = node.cli_json("events", "ls")
        for number in range(5):
            self.assertEqual(rows_of(rows, f"quick-{number}"), ["applied"], rows)
        self.assertEqual(len(rows_of(rows, "slow")), 1, rows)

    def test_filters_hold_for_what_waits_too(self):
        node = self.small({"sw": mapped(), "other": mapped()}, routes=[
            {"name": "all", "match": {}, "handler": {"type": "none"}}])
        node.start("ingress")
        send(node, "sw", "a", "order:1", 1)
        send(node, "other", "b", "order:2", 1)
        send(node, "sw", "a", "order:1", 1)
        for args, want in (
            ([], {"a", "b"}), (["--source", "other"], {"b"}), (["--entity", "order:1"], {"a"}),
            (["--outcome", "pending", "--source", "sw"], {"a"}), (["--outcome", "applied"], set()),
            (["--route", "all"], set()), (["--since", "1h"], {"a", "b"}), (["--until", "1h"], set()),
        ):
            rows = node.cli_json("events", "ls", *args)
            self.assertEqual({row["event_id"] for row in rows}, want, args)
            self.assertTrue(all(row["outcome"] == "pending" for row in rows), rows)
        node.stop()


class SharedIds(Kit):
    def test_an_id_that_two_sources_share(self):
        destination = self.cleanup(Destination(always(400)))
        node = self.small({"one": mapped(), "two": mapped()}, routes=[
            {"name": "out", "match": {}, "handler": {"type": "http", "url": destination.url()}}])
        node.start()
        send(node, "one", "shared", "order:1", 1)
        send(node, "two", "shared", "order:2", 1)
        send(node, "one", "d1", "order:3", 1)  # an event that calls itself as a record is called
        self.until(lambda: len(node.cli_json("dlq", "ls")) == 3, "all are listed")
        ids = {(row["event_id"], row["source"]): row["id"] for row in node.cli_json("dlq", "ls")}
        both = [ids["shared", "one"], ids["shared", "two"]]
        for command in ("replay", "drop"):
            got = node.cli("dlq", command, "shared", check=5)
            for one in both:
                self.assertIn(one, json.loads(got.stdout.splitlines()[-1])["error"].split())
        got = node.cli("dlq", "replay", "shared", "--dry-run", check=5)
        self.assertEqual(got.stdout, b"")
        for one in both:
            self.assertIn(one, got.stderr.decode().split())
        self.assertEqual(len(node.cli_json("dlq", "ls")), 3, "nothing was changed")
        self.assertEqual(node.cli("dlq", "show", "shared", check=2).stdout, b"")
        destination.behave = always(200)
        node.cli("dlq", "replay", both[0])
        # One is left: its event id is enough now, and it is that one and no other.
        node.cli("dlq", "drop", "shared")
        states = {row["id"]: row["state"] for row in node.cli_json("dlq", "ls", "--all")}
        self.assertEqual((states[both[0]], states[both[1]]), ("replayed", "dropped"))
        # Nothing is left: what became of it is said.
        last = json.loads(node.cli("dlq", "drop", "shared", check=5).stdout.splitlines()[-1])
        self.assertIn("dropped" if both[1] > both[0] else "replayed", last["error"])

    def test_an_event_that_is_called_like_a_record(self):
        destination = self.cleanup(Destination(always(400)))
        node = self.small({"one": mapped()}, routes=[
            {"name": "out", "match": {}, "handler": {"type": "http", "url": destination.url()}}])
        node.start()
        for event_id in ("d1", "d7"):
            send(node, "one", event_id, "order:1", 1 if event_id == "d1" else 2)
            self.ended(node, event_id, "dead")
        self.until(lambda: len(node.cli_json("dlq", "ls")) == 2, "both are listed")
        (row,) = node.cli_json("dlq", "show", "d1", shows_records=True)
        self.assertEqual(row["event_id"], "d7", "the record's own id comes first")
        (row,) = node.cli_json("dlq", "show", "d7", shows_records=True)
        self.assertEqual((row["id"], row["event_id"]), ("d1", "d7"), "no record is called so, an event is")


if __name__ == "__main__":
    report.main()
