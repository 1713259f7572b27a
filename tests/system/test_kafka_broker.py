"""The broker that tests use: what goes in by one client comes out the same, and survives what is done to it."""

import os
import subprocess
import threading
import unittest

from lib import kafka, report
from lib.postern import SystemTest

EVERY_BYTE = bytes(range(256)) * 3 + b"\r\n\0"
HEADERS = [("ce_id", "evt_1"), ("ce_type", "order.paid"), ("twice", "a"), ("twice", "b=c"), ("umlaut", "gr\u00fc\u00df")]


class Shared(SystemTest):
    def setUp(self):
        self.broker = kafka.shared()

    def test_bytes_and_headers_come_back_as_they_were(self):
        topic = self.broker.create(self.broker.topic(), partitions=3)
        self.broker.produce(topic, EVERY_BYTE, key="order:1", headers=HEADERS, partition=2)
        self.broker.produce(topic, b"", key="k", partition=0)
        self.broker.produce(topic, None, key="k", partition=1, headers={"why": "gone"})
        (empty, null, full) = self.broker.consume(topic)
        self.assertEqual((full.partition, full.offset, full.key, full.body), (2, 0, b"order:1", EVERY_BYTE))
        self.assertEqual(full.header_list, HEADERS)
        self.assertEqual((empty.key, empty.body, empty.header_list), (b"k", b"", []))
        self.assertEqual((null.key, null.body, null.headers), (b"k", None, {"why": "gone"}))
        self.assertEqual([self.broker.end(topic, partition) for partition in range(3)], [1, 1, 1])
        (one,) = self.broker.consume(topic, partition=2)
        self.assertEqual(one.body, EVERY_BYTE)

    def test_every_single_byte(self):
        topic = self.broker.create(self.broker.topic())
        bodies = [bytes([byte]) for byte in range(256) if byte != ord("\n")]
        self.broker.kcat("-P", "-t", topic, data=b"\n".join(bodies))
        self.assertEqual([record.body for record in self.broker.consume(topic)], bodies)

    def test_topics_are_shaped(self):
        topic = self.broker.create(self.broker.topic("shape"), message_timestamp_type="LogAppendTime")
        self.assertEqual(self.broker.topics()[topic], 1)
        for number in range(3):
            self.broker.produce(topic, b"%d" % number)
        self.broker.trim(topic, 2)
        self.assertEqual([(r.offset, r.body, r.log_append) for r in self.broker.consume(topic)], [(2, b"2", True)])
        self.broker.grow(topic, 4)
        self.assertEqual(self.broker.topics()[topic], 4)
        with self.assertRaisesRegex(AssertionError, "already exists"):
            self.broker.create(topic)
        self.broker.delete(topic)
        self.until(lambda: topic not in self.broker.topics(), "deleted")

    def test_a_reader_waits_for_what_comes(self):
        topic = self.broker.create(self.broker.topic())
        got = []
        reader = threading.Thread(target=lambda: got.extend(self.broker.consume(topic, count=1)))
        reader.start()
        self.broker.produce(topic, b"late")
        reader.join()
        self.assertEqual([record.body for record in got], [b"late"])


class Own(SystemTest):
    def test_a_killed_broker_comes_back_with_its_records(self):
        broker = kafka.to_hurt(self)
        topic = broker.create(broker.topic())
        broker.produce(topic, EVERY_BYTE, headers={"ce_id": "evt_1"})
        address, pid = broker.address(), broker.pid()
        broker.kill()
        self.assertIsNone(broker.pid())
        with self.assertRaises(AssertionError):
            broker.kcat("-L", "-m", "1")
        self.assertEqual(broker.up(), address)
        self.assertNotIn(broker.pid(), (None, pid))
        (record,) = broker.consume(topic)
        self.assertEqual((record.body, record.headers), (EVERY_BYTE, {"ce_id": "evt_1"}))

    def test_a_stopped_broker_goes_on(self):
        broker = kafka.to_hurt(self)
        broker.stop()
        with self.assertRaises(AssertionError):
            broker.kcat("-L", "-m", "1")
        broker.go_on()
        broker.wait_usable()

    def test_listeners_that_must_be_proven_to(self):
        broker = kafka.own(self, tls=True, sasl=True)
        topic = broker.create(broker.topic())
        kinds = ("plain", "tls", "sasl", "sasl-tls")
        for kind in kinds:
            broker.produce(topic, kind.encode(), kind=kind)
            self.assertEqual(broker.consume(topic, kind=kind)[-1].body, kind.encode())
        self.assertEqual([record.body for record in broker.consume(topic)], [kind.encode() for kind in kinds])
        # Neither the system's authorities nor another password will do.
        for kind, wrong in (("tls", "ssl.ca.location=/etc/ssl/certs"), ("sasl", "sasl.password=wrong")):
            with self.assertRaises(AssertionError):
                broker.kcat("-L", "-m", "2", "-X", wrong, kind=kind)

    @unittest.skipUnless(os.environ.get("POSTERN_KAFKA_NODES") == "3", "three nodes are part of make torture")
    def test_three_nodes_lose_one(self):
        broker = kafka.own(self, nodes=3)
        topic = broker.create(broker.topic(), replicas=3)
        broker.kill(2)
        broker.produce(topic, b"two are enough")
        broker.up()
        self.assertEqual(len({broker.pid(node) for node in (1, 2, 3)} - {None}), 3)
        self.assertEqual([record.body for record in broker.consume(topic)], [b"two are enough"])


class Script(SystemTest):
    def test_what_it_says_and_a_pid_of_somebody_else(self):
        broker = kafka.own(self)
        self.assertEqual(broker.up(), broker.address())

        def status():
            return subprocess.run([kafka.SCRIPT, "status", "--dir", broker.directory], capture_output=True, check=False)

        said = status()
        self.assertEqual(said.returncode, 0)
        self.assertIn(f"pid {broker.pid()}".encode(), said.stdout)
        broker.kill()
        somebody = subprocess.Popen(["sleep", "600"])
        self.addCleanup(somebody.wait)
        self.addCleanup(somebody.kill)
        with open(f"{broker.directory}/node1/pid", "w", encoding="ascii") as file:
            file.write(f"{somebody.pid}\n")
        self.assertEqual(status().returncode, 3)
        self.assertIsNone(broker.pid())
        broker.close()
        self.assertIsNone(somebody.poll())
        self.assertEqual(status().stdout, f"no cluster in {broker.directory}\n".encode())


if __name__ == "__main__":
    report.main()
