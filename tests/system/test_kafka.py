"""Over a real Kafka broker: what was answered 200 is on the topic, byte for byte, as a client that is not ours
reads it; and what happens while the broker is away, dies, or is not what it was."""

import threading
import time

from lib import kafka, report
from lib.kafka_node import PARTITIONS, digest, murmur2, node_over, partition_of
from lib.kit import Kit, mapped
from lib.leaks import BODY, note
from lib.postern import body_of
from lib.senders import StandardWebhooks

EVERY_BYTE = bytes(range(256)) * 3 + b"\r\n\0"
KAFKA_BODY_MAX = 524288
# An ingress gives up on a record after 3 s in place of 8.
PATIENT_3_S = {"message.timeout.ms": 3000}


def reasons(node, api=None):
    """What /readyz says is in the way."""
    answer = (api or node.api).get("/readyz")
    return [] if answer.status == 200 else answer.json()["reasons"]


def ids_on(broker, topic):
    return [record.headers["ce_id"] for record in broker.consume(topic)]


class Murmur(Kit):
    def test_known_values(self):
        """From the tests of Apache Kafka."""
        known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
                 b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
                 b"abc": 479470107}
        self.assertEqual({key: murmur2(key) for key in known}, {key: value % 2**32 for key, value in known.items()})


class Ingress(Kit):
    def setUp(self):
        self.broker = kafka.shared()
        self.topic = self.broker.topic("hooks")

    def over(self, **more):
        return node_over(self, self.broker, self.topic, {"sw": mapped()}, **more)

    def test_a_record_is_the_body_and_its_headers(self):
        node = self.over()
        node.start("ingress")
        body = b'{ "type":"thing.changed",\n"entity" : "thing:1", "version":7, "text":"gr\xc3\xbc\xc3\x9f\\u00e9" }\r\n'
        answer = node.send("sw", body, "evt_1", **{"X-Request-Id": "req-1", "Authorization": "Bearer hush-hush-hush"})
        self.accepted(answer, "evt_1")
        (record,) = self.broker.consume(self.topic)
        self.assertEqual((record.key, record.body), (b"default/thing:1", body))
        self.assertEqual(record.partition, partition_of(record.key))
        headers = record.headers
        wanted = {
            "ce_specversion": "1.0", "ce_id": "evt_1", "ce_source": "/default/sw", "ce_type": "thing.changed",
            "ce_subject": "thing:1", "content-type": "application/json", "postern-source": "sw",
            "postern-tenant": "default", "postern-request-id": "req-1", "postern-version": "7",
            "postern-digest": digest(body), "postern-h-webhook-id": "evt_1",
        }
        self.assertEqual({name: headers.get(name) for name in wanted}, wanted)
        self.assertRegex(headers["postern-received"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(headers["ce_time"], r"^\d{4}-\d\d-\d\dT")
        self.assertRegex(headers["traceparent"], r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
        self.assertRegex(headers["postern-attempt"], r"^[0-9a-f]{32}$")
        self.assertTrue(headers["postern-key"].startswith("current"), headers["postern-key"])
        self.assertNotIn("postern-quarantine", headers)
        self.assertFalse([name for name in headers if "authorization" in name])
        self.assertEqual(len(record.header_list), len(headers), "no header twice")

    def test_any_bytes(self):
        """Authentic, but not what the mapping reads: the record is all there is, so it must be whole."""
        node = self.over()
        node.start("ingress")
        for number, body in enumerate((EVERY_BYTE, b"", b"\0", b"x" * KAFKA_BODY_MAX)):
            note(BODY, body) if len(body) < 1000 else None
            self.accepted(node.send("sw", body, f"raw_{number}"))
        records = {record.headers["postern-h-webhook-id"]: record for record in self.broker.consume(self.topic)}
        self.assertEqual(records["raw_0"].body, EVERY_BYTE)
        self.assertEqual(records["raw_1"].body or b"", b"")
        self.assertEqual(records["raw_2"].body, b"\0")
        self.assertEqual(records["raw_3"].body, b"x" * KAFKA_BODY_MAX)
        for record in records.values():
            self.assertEqual(record.headers["postern-quarantine"], "MALFORMED_BODY")
            self.assertEqual(record.headers["ce_id"], record.headers["postern-attempt"])

    def test_copies_of_one_event_and_of_one_entity_meet(self):
        node = self.over()
        node.start("ingress")
        for number in range(30):
            self.accepted(node.send("sw", body_of(f"thing:{number % 10}", number + 1), f"evt_{number}"))
        again = body_of(None, None)
        for _ in range(2):
            self.accepted(node.send("sw", again, "evt_again"))
        records = self.broker.consume(self.topic)
        places = {}
        for record in records:
            places.setdefault(record.key, set()).add(record.partition)
            self.assertEqual(record.partition, partition_of(record.key))
        self.assertEqual(len(records), 32)
        self.assertTrue(all(len(found) == 1 for found in places.values()), places)
        self.assertEqual(len({record.partition for record in records}), PARTITIONS)
        for number in range(10):
            versions = [int(r.headers["postern-version"]) for r in records if r.key == f"default/thing:{number}".encode()]
            self.assertEqual(versions, sorted(versions))

    def test_topics_are_made_as_asked(self):
        node = self.over(queue={"partitions": 5})
        node.start("ingress")
        self.assertEqual(self.broker.topics()[self.topic], 5)
        self.assertNotIn(self.topic + ".journal", self.broker.topics())

    def test_a_body_over_the_limit(self):
        node = self.over()
        node.start("ingress")
        self.refused(node.send("sw", b"x" * (KAFKA_BODY_MAX + 1), "evt_large"), 413, "TOO_LARGE")
        self.assertEqual(self.broker.consume(self.topic), [])

    def test_a_topic_that_takes_too_little_is_refused(self):
        self.broker.create(self.topic, partitions=PARTITIONS, max_message_bytes=10000)
        node = self.over()
        process = node.start("ingress", ready=False)
        self.assertEqual(process.wait(), 3, process.log_text())
        self.assertIn("max.message.bytes", process.log_text())

    def test_a_topic_that_may_not_be_made(self):
        node = self.over(queue={"create_topics": False})
        process = node.start("ingress", ready=False)
        self.assertEqual(process.wait(), 3, process.log_text())
        self.assertIn(self.topic, process.log_text())
        self.assertNotIn(self.topic, self.broker.topics())

    def test_a_changed_count_refuses_to_start(self):
        node = self.over()
        node.start("ingress")
        self.accepted(node.send("sw", body_of("thing:1", 1), "evt_1"))
        node.stop()
        self.broker.grow(self.topic, PARTITIONS + 2)
        process = node.start("ingress", ready=False)
        self.assertEqual(process.wait(), 3, process.log_text())
        said = process.log_text()
        self.assertIn(f"has {PARTITIONS + 2} partitions", said)
        self.assertIn(f"had {PARTITIONS}", said)

    def test_a_count_that_changes_meanwhile_stops_taking(self):
        node = self.over()
        process = node.start("ingress")
        self.broker.grow(self.topic, PARTITIONS + 1)
        self.until(lambda: reasons(node), "not ready")
        self.assertIn("partitions", reasons(node)[0]["detail"])
        self.refused(node.send("sw", body_of("thing:1", 1), "evt_1"), 503, "UNAVAILABLE")
        self.assertTrue(process.alive())

    def test_a_topic_that_vanishes_is_not_made_again(self):
        """An empty one in its place would hide that events are gone, and take new ones at their offsets."""
        node = self.over()
        process = node.start("ingress")
        self.accepted(node.send("sw", body_of("thing:1", 1), "evt_1"))
        self.broker.delete(self.topic)
        self.until(lambda: "gone" in str(reasons(node)), "not ready")
        self.refused(node.send("sw", body_of("thing:1", 2), "evt_2"), 503, "UNAVAILABLE")
        self.assertEqual(process.stop(), 0)
        process = node.start("ingress", ready=False)
        self.until(lambda: "kafka_waits" in process.log_text(), "it waits")
        self.assertIn(f"topic {self.topic} is gone", process.log_text())
        self.refused(node.send("sw", body_of("thing:1", 2), "evt_2"), 503, "UNAVAILABLE")
        self.assertNotIn(self.topic, self.broker.topics())
        self.broker.create(self.topic, PARTITIONS)
        node.wait_ready(process)
        self.accepted(node.send("sw", body_of("thing:1", 2), "evt_2"))

    def test_a_data_dir_belongs_to_one_topic(self):
        node = self.over()
        node.start("ingress")
        node.stop()
        node.config["queue"]["topic"] = self.broker.topic("other")
        node.write_config()
        process = node.start("ingress", ready=False)
        self.assertEqual(process.wait(), 3, process.log_text())
        self.assertIn("data_dir of its own", process.log_text())

    def test_a_second_ingress_over_one_data_dir_is_refused(self):
        node = self.over()
        first = node.start("ingress")
        second = node.start("ingress", ready=False)
        self.assertNotEqual(second.wait(), 0)
        self.assertIn(str(first.pid), second.log_text())
        self.accepted(node.send("sw", body_of("thing:1", 1), "evt_1"))

    def test_what_a_reload_cannot_change_is_told(self):
        node = self.over()
        node.start("ingress")
        node.config["queue"]["properties"]["linger.ms"] = 3
        node.config["ingress"]["max_body_bytes"] = 1000
        node.write_config()
        got = node.cli("reload")
        self.assertIn(b"/queue/properties/linger.ms", got.stderr)
        self.assertNotIn(b"max_body_bytes", got.stderr)
        self.refused(node.send("sw", b"x" * 1001, "evt_large"), 413, "TOO_LARGE")

    def test_commands_without_a_worker(self):
        node = self.over()
        node.cli("lint")
        for words in (("events", "get", "evt_1"), ("events", "ls"), ("state", "get", "x"), ("dlq", "ls"),
                      ("quarantine", "ls"), ("dlq", "replay", "d0.1"), ("status",)):
            with self.subTest(words=words):
                self.assertIn(b"daemon", node.cli(*words, check=4).stderr)
        node.start("ingress")
        for words in (("events", "get", "evt_1"), ("dlq", "ls"), ("dlq", "replay", "d0.1")):
            with self.subTest(words=words):
                self.assertIn(b"worker", node.cli(*words, check=4).stderr)
        (status,) = node.cli_json("status")
        self.assertEqual((status["half"], status["ready"]), ("ingress", True))
        self.assertEqual((status["kafka"]["ready"], status["kafka"]["topic"]), (True, self.topic))
        self.accepted(node.send("sw", body_of("thing:1", 1), "evt_1"))

    def test_a_stop_answers_what_is_in_flight(self):
        node = self.over()
        process = node.start("ingress")
        answers = []

        def post(number):
            answers.append((f"evt_{number}", node.send("sw", body_of(f"thing:{number}", 1), f"evt_{number}").status))

        threads = [threading.Thread(target=post, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        self.assertEqual(process.stop(), 0)
        for thread in threads:
            thread.join()
        accepted = {event_id for event_id, status in answers if status == 200}
        self.assertLessEqual(accepted, set(ids_on(self.broker, self.topic)))


class Secured(Kit):
    def test_tls_and_sasl(self):
        broker = kafka.to_hurt(self, tls=True, sasl=True)
        for kind in ("tls", "sasl", "sasl-tls"):
            with self.subTest(kind=kind):
                topic = broker.topic(kind)
                node = node_over(self, broker, topic, {"sw": mapped()}, kind=kind)
                node.start("ingress")
                self.accepted(node.send("sw", body_of("thing:1", 1), "evt_1"))
                self.assertEqual(ids_on(broker, topic), ["evt_1"])
                shown = node.cli("config", "show").stdout
                self.assertNotIn(broker.properties(kind).get("sasl.password", "none at all").encode(), shown)

    def test_a_wrong_password_is_no_reason_to_stop(self):
        broker = kafka.to_hurt(self, tls=True, sasl=True)
        node = node_over(self, broker, broker.topic(), {"sw": mapped()}, kind="sasl")
        node.write_key("kafka.password", "wrong-wrong-wrong-wrong")
        process = node.start("ingress", ready=False)
        self.until(lambda: node.api.get("/healthz").status == 200, "alive")
        self.refused(node.send("sw", body_of("thing:1", 1), "evt_1"), 503, "UNAVAILABLE")
        self.assertTrue(reasons(node))
        self.assertTrue(process.alive())
        self.assertEqual(process.stop(), 0)
        self.assertNotIn("wrong-wrong", process.log_text())


class Away(Kit):
    def test_an_ingress_that_starts_before_its_broker(self):
        broker = kafka.to_hurt(self)
        broker.kill()
        topic = broker.topic()
        node = node_over(self, broker, topic, {"sw": mapped()})
        process = node.start("ingress", ready=False)
        self.until(lambda: node.api.get("/healthz").status == 200, "alive")
        self.assertTrue(reasons(node)[0]["detail"])
        answer = node.send("sw", body_of("thing:1", 1), "evt_1")
        self.refused(answer, 503, "UNAVAILABLE")
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        (status,) = node.cli_json("status")
        self.assertEqual((status["ready"], status["kafka"]["ready"]), (False, False))
        broker.up()
        node.wait_ready(process)
        self.accepted(node.send("sw", body_of("thing:1", 1), "evt_1"))
        self.assertEqual(ids_on(broker, topic), ["evt_1"])

    def test_an_ingress_stops_while_its_broker_is_away(self):
        broker = kafka.to_hurt(self)
        broker.kill()
        node = node_over(self, broker, broker.topic(), {"sw": mapped()})
        process = node.start("ingress", ready=False)
        self.until(lambda: node.api.get("/healthz").status == 200, "alive")
        began = time.monotonic()
        self.assertEqual(process.stop(), 0)
        self.assertLess(time.monotonic() - began, 11)

    def test_every_200_survives_a_broker_that_is_killed_under_load(self):
        broker = kafka.to_hurt(self)
        topic = broker.topic()
        node = node_over(self, broker, topic, {"sw": (StandardWebhooks(), mapped()[1])})
        node.start("ingress")
        accepted, statuses, stopping = set(), {}, threading.Event()

        def client(number):
            count = 0
            while not stopping.is_set():
                count += 1
                event_id = f"evt_{number}_{count}"
                status = node.send("sw", body_of(f"thing:{number}", count), event_id).status
                statuses[status] = statuses.get(status, 0) + 1
                if status == 200:
                    accepted.add(event_id)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        self.until(lambda: len(accepted) > 100, "load")
        for _ in range(2):
            before = len(accepted)
            broker.restart()
            self.until(lambda: len(accepted) > before + 100, "load again")  # pylint: disable=cell-var-from-loop
        stopping.set()
        for thread in threads:
            thread.join()
        there = ids_on(broker, topic)
        self.assertLessEqual(accepted, set(there))
        self.assertLessEqual(set(statuses), {200, 503}, statuses)
        node.stop()

    def test_a_broker_that_stands_still_does_not_make_it_lie(self):
        """Nor does it stay away: what is accepted afterwards makes it ready, at once."""
        broker = kafka.to_hurt(self)
        topic = broker.topic()
        node = node_over(self, broker, topic, {"sw": mapped()}, queue={"properties": PATIENT_3_S})
        process = node.start("ingress")
        broker.stop()
        answer = node.send("sw", body_of("thing:1", 1), "evt_1")
        self.assertEqual(answer.status, 503, answer)
        self.assertIn(answer.json()["code"], ("UNAVAILABLE", "OUTCOME_UNKNOWN"))
        self.assertTrue(reasons(node))
        broker.go_on()
        self.until(lambda: node.send("sw", body_of("thing:1", 1), "evt_1").status == 200, "accepted")
        node.wait_ready(process)
        self.assertIn("evt_1", ids_on(broker, topic))


if __name__ == "__main__":
    report.main()
