"""Three nodes: their leaders die and stand still under load, all of them restart one after the other, and a
single node stands still for longer than anything waits. Part of `make torture`, as it takes minutes.

$POSTERN_KAFKA_NODES: 3 runs it. $POSTERN_KAFKA_LEADER_MOVES: how many moves there are (30); $POSTERN_SEED
repeats a run."""

import os
import threading
import time
import unittest

from lib import kafka, report
from lib.kafka_node import PARTITIONS, node_over
from lib.kit import Kit, mapped, send
from lib.moves import LEADER_WEIGHTS, moves
from lib.postern import body_of

SEED = int(os.environ.get("POSTERN_SEED", "1"))
MOVES = int(os.environ.get("POSTERN_KAFKA_LEADER_MOVES", "30"))
ROUND = 25  # moves with one history
STILL_S = 20
THREE = os.environ.get("POSTERN_KAFKA_NODES") == "3"


def replicas(broker, topic):
    """partition -> (number of replicas, of those in sync)."""
    (listed,) = broker.listed(topic)
    return {row["partition"]: (len(row["replicas"]), len(row["isrs"])) for row in listed["partitions"]}


@unittest.skipUnless(THREE, "three nodes are part of make torture")
class ThreeNodes(Kit):
    def test_everything_is_there_three_times_and_a_200_is_on_two(self):
        broker = kafka.own(self, nodes=3)
        topic = broker.topic("three")
        node = node_over(self, broker, topic, {"sw": mapped()})
        process = node.start("run")
        send(node, "sw", "evt_1", "thing:1", 1)
        self.ended(node, "evt_1", "applied")
        for name in (topic, topic + ".journal", topic + ".dlq", topic + ".quarantine"):
            self.assertEqual(replicas(broker, name), {p: (3, 3) for p in range(PARTITIONS)}, name)
        # One is not enough for a 200.
        left = broker.leader(topic, 0)
        for number in broker.nodes():
            if number != left:
                broker.kill(number)
        answer = node.send("sw", body_of("thing:1", 2), "evt_2")
        self.assertEqual((answer.status, answer.code in ("UNAVAILABLE", "OUTCOME_UNKNOWN")), (503, True), answer)
        broker.up()
        node.wait_ready(process)
        self.until(lambda: node.send("sw", body_of("thing:1", 2), "evt_2").status == 200, "accepted")
        self.ended(node, "evt_2", "applied")
        self.assertEqual(process.stop(), 0)

    def test_leaders_die_and_stand_still(self):
        broker = kafka.own(self, nodes=3)
        for number, at in enumerate(range(0, MOVES, ROUND)):
            if report.told_to_end():
                break
            with self.subTest(seed=SEED + at):
                moves(self, broker, min(ROUND, MOVES - at), SEED + at, 2 - number % 2, 3 - number % 2,
                      weights=LEADER_WEIGHTS)


@unittest.skipUnless(THREE, "20 s of silence are part of make torture")
class OneNode(Kit):
    def test_a_broker_that_stands_still_for_long_under_load(self):
        """Answers are given in time, none of them is a lie, and all goes on by itself."""
        broker = kafka.own(self)
        topic = broker.topic("still")
        node = node_over(self, broker, topic, {"sw": mapped()})
        process = node.start("run")
        answers, stopping = [], threading.Event()

        def client(number):
            count = 0
            while not stopping.is_set():
                count += 1
                event_id = f"evt_{number}_{count}"
                began = time.monotonic()
                answer = node.send("sw", body_of(f"thing:{number}", count), event_id)
                answers.append((event_id, answer.status, time.monotonic() - began))

        clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for one in clients:
            one.start()
        self.until(lambda: len(answers) > 100, "load")
        broker.stop()
        time.sleep(STILL_S)
        broker.go_on()
        node.wait_ready(process)
        before = len(answers)
        self.until(lambda: len(answers) > before + 100 and answers[-1][1] == 200, "load again")
        stopping.set()
        for one in clients:
            one.join()
        self.assertLessEqual({status for _, status, _ in answers}, {200, 503})
        self.assertLess(max(took for *_, took in answers), 12, "message.timeout.ms is 8 s")
        there = {record.headers["ce_id"] for record in broker.consume(topic)}
        accepted = {event_id for event_id, status, _ in answers if status == 200}
        self.assertLessEqual(accepted, there)
        for event_id in sorted(accepted):
            self.ended(node, event_id, "applied")
        node.stop()


if __name__ == "__main__":
    report.main()
