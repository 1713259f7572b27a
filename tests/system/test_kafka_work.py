"""The working half over a real Kafka broker: what becomes of events, what every worker knows of them, and who
works a partition when its worker goes."""

import os
import shutil
import subprocess
import time

from lib import kafka, report
from lib.destination import Destination, always
from lib.kafka_node import PARTITIONS, another, node_over
from lib.kit import FAST_RETRY, Kit, mapped, send
from lib.postern import binary, body_of


def lanes(node):
    """partition -> what this node's worker says of it."""
    status, got = node.ask("/v1/status", node.worker_side())
    return {row["partition"]: row for row in got.get("lanes", ())} if status == 200 else {}


def partition(row):
    """Of a dead letter or a quarantined record: d1.7 is in partition 1."""
    return int(row["id"][1:].split(".")[0])


def owned(node):
    return {partition for partition, row in lanes(node).items() if row["state"] == "owned"}


class Crew(Kit):
    def all_owned(self, *nodes):
        """Wait until each partition has one owner among the nodes."""
        self.until(lambda: sorted(p for node in nodes for p in owned(node)) == list(range(PARTITIONS)), "all are owned")


class Work(Crew):
    def setUp(self):
        self.broker = kafka.shared()
        self.topic = self.broker.topic("work")

    def over(self, routes=None, **more):
        return node_over(self, self.broker, self.topic, {"sw": mapped()}, routes=routes, **more)

    def http_node(self, behave, **more):
        destination = self.cleanup(Destination(behave))
        return destination, self.over(routes=[
            {"name": "out", "match": {}, "handler": {"type": "http", "url": destination.url()}, "retry": FAST_RETRY}], **more)

    def test_outcomes(self):
        node = self.over()
        node.start("run")
        self.all_owned(node)
        send(node, "sw", "evt_1", "thing:1", 2)
        self.ended(node, "evt_1", "applied")
        send(node, "sw", "evt_1", "thing:1", 2)
        send(node, "sw", "evt_2", "thing:1", 1)
        self.ended(node, "evt_2", "stale", "STALE_VERSION")
        send(node, "sw", "evt_3", "thing:1", 3)
        row = self.ended(node, "evt_3", "applied")
        self.assertEqual((row["source"], row["entity"], row["version"], row["route"]), ("sw", "thing:1", "3", "rest"))
        self.assertIn(row["partition"], range(PARTITIONS))
        self.accepted(node.send("sw", b"no json", "evt_bad"))
        state = node.state("thing:1")
        self.assertEqual((state["version"], state["event_id"]), ("3", "evt_3"))
        node.wait_drained()
        values = node.metrics()
        for outcome, count in (("applied", 2), ("duplicate", 1), ("stale", 1)):
            self.assertEqual(values[f'postern_events_total{{route="rest",outcome="{outcome}"}}'], count, outcome)
        rows = node.cli_json("events", "ls")
        self.assertLessEqual({"evt_1", "evt_2", "evt_3"}, {row["event_id"] for row in rows})
        (quarantined,) = self.until(lambda: node.cli_json("quarantine", "ls"), "quarantined")
        self.assertRegex(quarantined["id"], r"^q[0-2]\.\d+$")
        self.assertEqual(quarantined["code"], "MALFORMED_BODY")
        (shown,) = node.cli_json("quarantine", "show", quarantined["id"], shows_records=True)
        self.assertEqual(shown["body"], "no json")
        (record,) = self.broker.consume(self.topic + ".quarantine")
        self.assertEqual((record.body, record.headers["postern-quarantine"]), (b"no json", "MALFORMED_BODY"))
        node.stop()

    def test_dead_letters(self):
        destination, node = self.http_node(always(400))
        node.start("run")
        self.all_owned(node)
        body = body_of("thing:1", 1)
        self.accepted(node.send("sw", body, "evt_1"))
        self.accepted(node.send("sw", body_of("thing:2", 1), "evt_2"))
        for event_id in ("evt_1", "evt_2"):
            self.ended(node, event_id, "dead", "HANDLER_REFUSED")
        letters = self.until(lambda: len(found := node.cli_json("dlq", "ls")) == 2 and found, "listed")
        ids = {row["event_id"]: row["id"] for row in letters}
        self.assertRegex(ids["evt_1"], r"^d[0-2]\.\d+$")
        (shown,) = node.cli_json("dlq", "show", ids["evt_1"], shows_records=True)
        self.assertEqual((shown["event_id"], shown["body"]), ("evt_1", body.decode()))
        records = {record.headers["ce_id"]: record for record in self.broker.consume(self.topic + ".dlq")}
        (source,) = [record for record in self.broker.consume(self.topic) if record.headers["ce_id"] == "evt_1"]
        letter = records["evt_1"]
        self.assertEqual((letter.key, letter.body, letter.partition), (source.key, body, source.partition))
        self.assertEqual(letter.headers["postern-dlq-reason"], "HANDLER_REFUSED")
        self.assertEqual(letter.headers["postern-dlq-route"], "out")
        self.assertEqual(letter.headers["postern-dlq-topic"], self.topic)
        self.assertEqual(int(letter.headers["postern-dlq-partition"]), source.partition)
        self.assertEqual(int(letter.headers["postern-dlq-offset"]), source.offset)
        self.assertEqual(f"d{letter.partition}.{letter.offset}", ids["evt_1"])
        kept = [(name, value) for name, value in letter.header_list if not name.startswith("postern-dlq-")]
        self.assertEqual(kept, source.header_list)
        destination.behave = always(200)
        node.cli("dlq", "replay", ids["evt_1"])
        node.wait_outcome("evt_1", "applied")
        node.cli("dlq", "drop", "--route", "out", "--yes")
        # What is asked may be a fifth of a second behind what is done.
        self.until(lambda: node.cli_json("dlq", "ls") == [], "none waits")
        states = {row["event_id"]: row["state"] for row in node.cli_json("dlq", "ls", "--all")}
        self.assertEqual(states, {"evt_1": "replayed", "evt_2": "dropped"})
        node.stop()

    def test_every_worker_knows_everything(self):
        node = self.over()
        second = another(self, node)
        node.start("ingress")
        node.start("worker")
        second.start("worker")
        self.all_owned(node, second)
        for number in range(20):
            send(node, "sw", f"evt_{number}", f"thing:{number}", 1)
        for one in (node, second):
            for number in range(20):
                self.ended(one, f"evt_{number}", "applied")
            self.assertEqual(one.state("thing:7")["event_id"], "evt_7")
            self.assertEqual(len(one.cli_json("events", "ls")), 20)
            for row in lanes(one).values():
                self.assertEqual((row["lag"], bool(row["owner"])), (0, True), row)
        # Beside an ingress too, which cannot know.
        for words in (("events", "get", "evt_none"), ("state", "get", "none:1"), ("dlq", "show", "d0.99")):
            got = node.cli(*words, check=1)
            self.assertNotIn(b"running worker", got.stderr)
        shown = node.cli("status").stdout.decode()
        self.assertRegex(shown, r"partitions +\d of 3 owned here")
        for one in (node, second):
            one.stop()

    def test_a_change_is_asked_anywhere(self):
        """At the worker that does not own the partition: it asks in the journal, and the owner decides."""
        destination, node = self.http_node(always(400))
        second = another(self, node)
        node.start("ingress")
        first = node.start("worker")
        self.all_owned(node)
        second.start("worker")
        self.until(lambda: set(lanes(second)) == set(range(PARTITIONS)) and owned(second), "the second has some")
        self.all_owned(node, second)
        for number in range(60):
            send(node, "sw", f"evt_{number}", f"thing:{number}", 1)
        for number in range(3):
            self.accepted(node.send("sw", b"no json", f"bad_{number}"))
        for one in (node, second):
            self.until(lambda one=one: len(one.cli_json("dlq", "ls")) == 60, "dead letters are listed")
            self.until(lambda one=one: len(one.cli_json("quarantine", "ls")) == 3, "quarantined records are listed")
        destination.behave = always(200)
        theirs = [row for row in second.cli_json("dlq", "ls") if partition(row) in owned(node)]
        kept = second.cli_json("quarantine", "ls")
        replayed, dropped = theirs[:2]
        second.cli("dlq", "replay", replayed["id"])
        node.wait_outcome(replayed["event_id"], "applied")
        second.cli("dlq", "drop", dropped["id"])
        again = second.cli("dlq", "replay", dropped["id"], check=5)
        self.assertIn(b"already dropped", again.stdout + again.stderr)
        for row, word in zip(kept, ("drop", "accept")):
            (second if partition(row) in owned(node) else node).cli("quarantine", word, row["id"])
        wanted = dict(zip([row["id"] for row in kept], ["dropped", "accepted", "waiting"]))
        for one in (node, second):
            self.until(lambda one=one: wanted == {
                row["id"]: row["state"] for row in one.cli_json("quarantine", "ls", "--all")}, "marked everywhere")
        # Its owner is killed while a replay is asked for at the other: in the end all is done, and once.
        before = destination.count()
        replay = subprocess.Popen(
            [binary(), "dlq", "replay", "--source", "sw", "--rate", "20", "-c", second.config_path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=second.env)
        self.addCleanup(replay.kill)
        self.until(lambda: destination.count() > before + 10, "the replay runs")
        first.kill()
        if replay.wait(60) != 0:
            second.cli("dlq", "replay", "--source", "sw")
        for number in range(60):
            if f"evt_{number}" != dropped["event_id"]:
                second.wait_outcome(f"evt_{number}", "applied")  # what is shown may be a moment old
        wanted = ["dropped"] + ["replayed"] * 59
        self.until(lambda: sorted(row["state"] for row in second.cli_json("dlq", "ls", "--all")) == wanted, "all marked")

    def test_a_worker_that_is_killed_is_followed_by_another(self):
        node = self.over()
        second = another(self, node)
        node.start("ingress")
        first = node.start("worker")
        self.all_owned(node)
        second.start("worker")
        send(node, "sw", "evt_1", "thing:1", 1)
        self.ended(node, "evt_1", "applied")
        self.ended(second, "evt_1", "applied")
        first.kill()
        # Nothing waits: its silence is the silence of one that has nothing to do. Then something does.
        send(node, "sw", "evt_1", "thing:1", 1)
        for number in range(2, 14):
            send(node, "sw", f"evt_{number}", f"thing:{number}", 2)
        for number in range(2, 14):
            self.ended(second, f"evt_{number}", "applied")
        self.assertEqual(owned(second), set(range(PARTITIONS)))
        rows = second.cli_json("events", "get", "evt_1")
        self.assertEqual([row["outcome"] for row in rows], ["applied"])

    def test_a_state_that_is_deleted_is_folded_again(self):
        node = self.over()
        node.start("run")
        self.all_owned(node)
        send(node, "sw", "evt_1", "thing:1", 5)
        self.ended(node, "evt_1", "applied")
        node.stop()
        main = node.path("data", "main")
        gone = [name for name in os.listdir(main) if name.startswith("state-")]
        self.assertEqual(len(gone), PARTITIONS)
        for name in gone:
            shutil.rmtree(os.path.join(main, name))
        node.start("run")
        self.all_owned(node)
        self.assertEqual(self.ended(node, "evt_1", "applied")["version"], "5")
        send(node, "sw", "evt_2", "thing:1", 4)
        self.ended(node, "evt_2", "stale")
        node.stop()

    def test_a_reload(self):
        destination, node = self.http_node(always(200))
        node.start("run")
        self.all_owned(node)
        send(node, "sw", "evt_1", "thing:1", 1)
        self.ended(node, "evt_1", "applied")
        node.config["routes"] = [{"name": "new", "match": {}, "handler": {"type": "none"}}]
        node.write_config()
        node.cli("reload")
        send(node, "sw", "evt_2", "thing:1", 2)
        self.assertEqual(self.ended(node, "evt_2", "applied")["route"], "new")
        self.assertEqual([effect.event_id for effect in destination.effects], ["evt_1"])
        node.stop()


class Away(Crew):
    def test_a_worker_that_starts_before_its_broker(self):
        broker = kafka.to_hurt(self)
        broker.kill()
        topic = broker.topic()
        node = node_over(self, broker, topic, {"sw": mapped()})
        process = node.start("worker", ready=False)
        self.until(lambda: node.worker_api.get("/healthz").status == 200, "alive")
        self.assertEqual(node.worker_api.get("/readyz").status, 503)
        node.cli("events", "ls", check=4)
        (status,) = node.cli_json("status")
        self.assertEqual((status["half"], status["ready"], status["kafka"]["ready"]), ("worker", False, False))
        broker.up()
        node.wait_ready(process)
        node.start("ingress")
        send(node, "sw", "evt_1", "thing:1", 1)
        self.ended(node, "evt_1", "applied")
        node.stop()

    def test_a_worker_stops_while_its_broker_is_away(self):
        broker = kafka.to_hurt(self)
        node = node_over(self, broker, broker.topic(), {"sw": mapped()}, shutdown_timeout_s=2)
        process = node.start("run")
        self.all_owned(node)
        send(node, "sw", "evt_1", "thing:1", 1)
        self.ended(node, "evt_1", "applied")
        broker.kill()
        began = time.monotonic()
        self.assertEqual(process.stop(), 0)
        self.assertLess(time.monotonic() - began, 5, "shutdown_timeout_s")
        broker.up()
        node.start("run")
        self.all_owned(node)
        self.ended(node, "evt_1", "applied")
        node.stop()


if __name__ == "__main__":
    report.main()
