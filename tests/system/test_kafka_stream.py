"""Sources that read a topic which others write, over a real Kafka broker. The writer is kcat."""

import json
import random
import time

from lib import kafka, report
from lib.kafka_node import another, node_over
from lib.kit import Kit, mapped, send

JSON_MAPPING = {"id": "json:/id", "type": "json:/type", "entity": "order:{json:/order}", "version": "json:/version"}


def body(event_id, order=None, version=None, **more):
    made = {"id": event_id, "type": "order.changed", **more}
    if order is not None:
        made["order"] = order
    if version is not None:
        made["version"] = version
    return json.dumps(made, separators=(",", ":")).encode()


class Stream(Kit):
    def setUp(self):
        self.broker = kafka.shared()
        self.topic = self.broker.topic("in")
        self.foreign = self.broker.create(self.broker.topic("foreign"), 2)

    def over(self, members=None, stream=None, **more):
        source = {"stream": {"topic": self.foreign, **(stream or {})}, **(members or {})}
        # A reader that was killed keeps its partitions for so long.
        queue = {"properties": {"session.timeout.ms": 3000}}
        return node_over(self, self.broker, self.topic, {"orders": (None, source), "sw": mapped()}, queue=queue, **more)

    def begin(self, node):
        """Ready, and it can be asked about events."""
        process = node.start("run")
        self.until(lambda: node.ask("/v1/events/none")[0] != 503, "its partitions are read")
        return process

    def streams(self, node):
        return node.ask("/v1/status")[1].get("streams")

    def caught_up(self, node, records):
        self.until(lambda: (rows := self.streams(node)) and rows[0]["records"] == records, f"{records} records are read")

    def produce_many(self, records, partition=None):
        """Of (key, body), in one go."""
        words = ["-P", "-t", self.foreign, "-X", "topic.acks=all", "-K", "\t"]
        words += ["-p", str(partition)] if partition is not None else []
        self.broker.kcat(*words, data=b"".join(key.encode() + b"\t" + data + b"\n" for key, data in records))

    def test_records_become_events(self):
        self.broker.produce(self.foreign, body("o_0", 7, 1), key="7")  # before anybody reads
        node = self.over(JSON_MAPPING)
        linted = node.cli("lint").stdout.decode()
        self.assertIn(f"orders: reads the topic {self.foreign}: binds none", linted)
        self.begin(node)
        self.ended(node, "o_0", "applied")
        self.broker.produce(self.foreign, body("o_2", 7, 3), key="7")
        self.broker.produce(self.foreign, body("o_1", 7, 2), key="7")  # older
        self.broker.produce(self.foreign, body("o_2", 7, 3), key="7")  # a copy
        self.ended(node, "o_1", "stale", "STALE_VERSION")
        row = self.ended(node, "o_2", "applied")
        self.assertEqual((row["source"], row["type"], row["entity"], row["version"]), ("orders", "order.changed", "order:7", "3"))
        self.assertEqual(node.state("order:7")["event_id"], "o_2")
        self.caught_up(node, 4)
        node.wait_drained()
        values = node.metrics()
        self.assertEqual(values['postern_events_total{route="rest",outcome="duplicate"}'], 1)
        self.assertEqual(values['postern_stream_records_total{source="orders",code="ACCEPTED"}'], 4)
        self.assertEqual(values['postern_stream_lost_total{source="orders"}'], 0)
        (event,) = [r for r in self.broker.consume(self.topic) if r.headers["ce_id"] == "o_1"]
        self.assertEqual((event.body, event.key), (body("o_1", 7, 2), b"default/order:7"))
        self.assertEqual(event.headers["ce_source"], "/default/orders")
        # By HTTP there is no such source, and nothing signs for it.
        self.refused(node.post("orders", b"{}", {}), 404, "UNKNOWN_SOURCE")
        self.assertIn(b"reads the topic", node.cli("send", "orders", check=2).stderr)
        node.stop()
        # Nothing is read twice by who comes next.
        self.begin(node)
        send(node, "sw", "evt_1", "order:7", 9)  # one state, whoever wrote it
        self.ended(node, "evt_1", "applied")
        self.broker.produce(self.foreign, body("o_3", 7, 4), key="7")
        self.ended(node, "o_3", "stale")
        self.caught_up(node, 1)
        node.stop()

    def test_headers_keys_and_places(self):
        node = self.over()
        self.begin(node)
        headers = {"ce_specversion": "1.0", "ce_id": "c_1", "ce_source": "/theirs", "ce_type": "t.1", "ce_subject": "s:1",
                   "postern-version": "5", "content-type": "text/plain"}
        self.broker.produce(self.foreign, b"not json", key="k", headers=headers)
        row = self.ended(node, "c_1", "applied")
        self.assertEqual((row["type"], row["entity"], row["version"]), ("t.1", "s:1", "5"))
        (event,) = self.broker.consume(self.topic)
        self.assertEqual(event.headers["content-type"], "text/plain")
        node.stop()
        # Where there are no ids the place of a record is one.
        node.config["sources"]["orders"].update(
            {"id": "{header:kafka-topic}-{header:kafka-partition}-{header:kafka-offset}", "entity": "header:kafka-key"})
        node.write_config()
        self.begin(node)
        self.broker.produce(self.foreign, b"plain", key="k9", partition=1)
        self.broker.produce(self.foreign, None, key="k9", partition=1)  # a tombstone
        at = self.broker.end(self.foreign, 1) - 1
        self.assertEqual(self.ended(node, f"{self.foreign}-1-{at}", "applied")["entity"], "k9")
        self.assertEqual(node.state("k9")["event_id"], f"{self.foreign}-1-{at}")
        node.stop()

    def test_what_cannot_be_mapped_is_kept(self):
        node = self.over(JSON_MAPPING)
        self.begin(node)
        self.broker.produce(self.foreign, b"no json", key="1")
        self.broker.produce(self.foreign, b'{"type":"x"}', key="2")
        self.broker.produce(self.foreign, None, key="3")
        large = body("o_large", 1, 1, filler=random.randbytes(300_000).hex())
        self.broker.produce(self.foreign, large, key="4")
        self.broker.produce(self.foreign, body("o_last", 1, 1), key="4")
        self.ended(node, "o_last", "applied")
        rows = self.until(lambda: len(rows := node.cli_json("quarantine", "ls")) == 4 and rows, "quarantined")
        codes = sorted(row["code"] for row in rows)
        self.assertEqual(codes, ["MALFORMED_BODY", "MALFORMED_BODY", "MISSING_EVENT_ID", "TOO_LARGE"])
        (row,) = [row for row in rows if row["code"] == "TOO_LARGE"]
        (shown,) = node.cli_json("quarantine", "show", row["id"], shows_records=True)
        place = self.broker.consume(self.foreign)
        (where,) = [f"{r.partition}.{r.offset}" for r in place if r.body == large]
        self.assertEqual((shown["body"], shown["headers"]["postern-request-id"]), ("", where))
        node.cli("quarantine", "drop", row["id"], "--yes")
        node.stop()

    def test_a_stream_may_begin_at_its_end(self):
        self.broker.produce(self.foreign, body("o_old", 1, 1), key="1")
        node = self.over(JSON_MAPPING, {"start": "latest"})
        process = self.begin(node)
        self.until(lambda: process.log_text().count('"stream_begins"') == 2, "it has its places")
        process.kill()
        self.broker.produce(self.foreign, body("o_meanwhile", 1, 2), key="1")
        self.begin(node)
        self.ended(node, "o_meanwhile", "applied")
        self.assertEqual(node.event("o_old"), [])
        node.stop()

    def test_readers_that_are_killed_lose_nothing_and_keep_the_order(self):
        node = self.over(JSON_MAPPING, routes=[
            {"name": "rest", "match": {}, "handler": {"type": "topic", "topic": self.topic + ".seen"}}])
        second = another(self, node)
        self.begin(second)
        total, entities = 1500, 20
        for start in range(0, total, 300):
            reader = node.start("run", ready=False)
            self.produce_many([(str(n % entities), body(f"o_{n}", n % entities)) for n in range(start, start + 300)])
            time.sleep(random.uniform(0.2, 1.2))
            reader.kill()
        self.begin(node)
        for n in range(total - entities, total):
            self.ended(second, f"o_{n}", "applied")
        self.until(lambda: node.metrics().get("postern_queue_lag_records") == 0, "worked")
        self.until(lambda: second.ask("/v1/status")[1]["outputs_waiting"] + node.ask("/v1/status")[1]["outputs_waiting"] == 0, "out")
        first = {}
        for record in self.broker.consume(self.topic):
            first.setdefault(record.key, {}).setdefault(record.headers["ce_id"], record.offset)
        ids = [event_id for seen in first.values() for event_id in seen]
        self.assertEqual(len(ids), total)
        for seen in first.values():
            order = [int(event_id[2:]) for event_id in sorted(seen, key=seen.get)]
            self.assertEqual(order, sorted(order))
        published = {record.headers["ce_id"] for record in self.broker.consume(self.topic + ".seen")}
        self.assertEqual(published, set(ids))

    def test_records_that_were_dropped_unread_are_counted(self):
        node = self.over(JSON_MAPPING)
        self.begin(node)
        self.broker.produce(self.foreign, body("o_1", 1, 1), partition=0)
        self.ended(node, "o_1", "applied")
        node.stop()
        for number in range(2, 6):
            self.broker.produce(self.foreign, body(f"o_{number}", 1, number), partition=0)
        self.broker.trim(self.foreign, 4, 0)
        self.begin(node)
        self.ended(node, "o_5", "applied")
        self.until(lambda: self.streams(node)[0]["lost"] == 3, "lost ones are told")
        self.assertEqual(node.metrics()['postern_stream_lost_total{source="orders"}'], 3)
        node.stop()


if __name__ == "__main__":
    report.main()
