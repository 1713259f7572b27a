"""The handler `topic` over a real Kafka broker, read by a client that is not ours."""

import random
import time

from lib import kafka, report
from lib.kafka_node import PARTITIONS, node_over, partition_of
from lib.kit import Kit, mapped, send
from lib.postern import body_of


class Topic(Kit):
    def setUp(self):
        self.broker = kafka.shared()
        self.topic = self.broker.topic("out")
        self.users = self.topic + ".users"

    def over(self, **more):
        route = {"name": "out", "match": {}, "handler": {"type": "topic", "topic": self.users}}
        return node_over(self, self.broker, self.topic, {"sw": mapped()}, routes=[route], **more)

    def begin(self, node):
        """Ready, and it can be asked about events."""
        node.start("run")
        self.until(lambda: node.ask("/v1/events/none")[0] != 503, "its partitions are read")

    def test_a_record_is_published_as_it_came(self):
        node = self.over()
        self.begin(node)
        self.until(lambda: self.broker.topics().get(self.users) == PARTITIONS, "made")
        body = body_of("thing:1", 2)
        self.accepted(node.send("sw", body, "evt_1"))
        self.accepted(node.send("sw", body, "evt_1"))
        self.ended(node, "evt_1", "applied")
        send(node, "sw", "evt_2", "thing:1", 1)
        self.ended(node, "evt_2", "stale")
        send(node, "sw", "evt_3", "thing:1", 3)
        send(node, "sw", "evt_4")
        self.ended(node, "evt_4", "applied")
        records = self.broker.consume(self.users, count=3)
        first, third = [record for record in records if b"thing:1" in record.key]
        (source,) = [r for r in self.broker.consume(self.topic) if r.headers["ce_id"] == "evt_1"][:1]
        self.assertEqual((first.key, first.body, first.header_list), (source.key, body, source.header_list))
        self.assertEqual(first.partition, partition_of(first.key), "as Kafka's own clients choose it")
        self.assertEqual((third.headers["ce_id"], third.partition), ("evt_3", first.partition))
        self.until(lambda: node.cli_json("status")[0]["outputs_waiting"] == 0, "nothing waits")
        node.stop()
        self.assertEqual(len(self.broker.consume(self.users)), 3)

    def test_a_record_that_is_too_large_is_dead(self):
        self.broker.create(self.users, PARTITIONS, max_message_bytes=4000)
        node = self.over()
        self.begin(node)
        self.accepted(node.send("sw", body_of("thing:1", 1, filler=random.randbytes(6000).hex()), "evt_large"))
        for number in range(20):  # more together than the topic takes at once
            self.accepted(node.send("sw", body_of("thing:2", number, filler=random.randbytes(700).hex()), f"evt_{number}"))
        self.ended(node, "evt_19", "applied")
        node.wait_outcome("evt_large", "dead")
        (letter,) = self.until(lambda: node.cli_json("dlq", "ls"), "listed")
        self.assertEqual((letter["event_id"], letter["route"]), ("evt_large", "out"))
        (shown,) = node.cli_json("dlq", "show", letter["id"], shows_records=True)
        self.assertIn(f"topic {self.users} takes no record of", shown["headers"]["postern-dlq-error"])
        got = self.broker.consume(self.users, count=20)
        self.assertEqual([record.headers["ce_id"] for record in got], [f"evt_{number}" for number in range(20)])
        node.stop()

    def test_what_is_committed_is_published_after_a_crash(self):
        node = self.over()
        node.start("ingress")
        worker = node.start("worker")
        self.broker.delete(self.users)
        send(node, "sw", "evt_first", "thing:0", 1)
        self.ended(node, "evt_first", "applied")  # and nowhere to be published
        worker.kill()
        sent = 0
        for _ in range(4):  # the first start makes the topic again
            worker = node.start("worker")
            until = time.monotonic() + 0.7
            while time.monotonic() < until:
                send(node, "sw", f"evt_{sent}", f"thing:{sent % 7}", sent + 2)
                sent += 1
            worker.kill()
        node.start("worker")
        self.ended(node, f"evt_{sent - 1}", "applied")
        self.until(lambda: node.ask("/v1/status", node.worker_api)[1]["outputs_waiting"] == 0, "all published")
        versions, bodies = {}, {}
        for record in self.broker.consume(self.users):
            event_id, version = record.headers["ce_id"], int(record.headers["postern-version"])
            self.assertEqual(bodies.setdefault(event_id, record.body), record.body)
            if version not in versions.setdefault(record.key, []):  # a copy carries the id that is known already
                self.assertEqual(versions[record.key], sorted(v for v in versions[record.key] if v < version))
                versions[record.key].append(version)
        self.assertEqual(set(bodies), {"evt_first"} | {f"evt_{number}" for number in range(sent)})
        node.stop()

    def test_a_topic_that_may_not_be_made(self):
        first = node_over(self, self.broker, self.topic, {"sw": mapped()})
        first.start("run")
        self.until(lambda: self.topic + ".quarantine" in self.broker.topics(), "its own topics are made")
        first.stop()
        node = self.over(queue={"create_topics": False})
        process = node.start("worker", ready=False)
        self.assertEqual(process.wait(), 3)
        self.assertIn(f"there is no topic {self.users}", process.log_text())


if __name__ == "__main__":
    report.main()
