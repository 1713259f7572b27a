"""Workers that come, go, die, stand still and wake over a real Kafka broker that does the same, under load:
nothing accepted is lost, nothing is there twice, order is kept, and everybody tells the truth.

$POSTERN_SEED repeats a run; $POSTERN_KAFKA_MOVES says how many moves there are (20)."""

import os
import shutil
import signal
import struct
import subprocess
import time
import unittest

from lib import journal, kafka, report
from lib.destination import Effect
from lib.kafka_history import KafkaHistory, same_answers
from lib.kafka_node import PARTITIONS, another, node_over
from lib.kit import Kit, mapped, send
from lib.moves import moves
from lib.wire import Answer

SEED = int(os.environ.get("POSTERN_SEED", "1"))
MOVES = int(os.environ.get("POSTERN_KAFKA_MOVES", "20"))
ROUND = 50  # moves with one history: a checker's report stays readable


class Written:
    """Records of a journal, made by hand."""

    def __init__(self):
        self.fold = journal.Fold()

    def say(self, kind, epoch, writer, seq=0, following=0, items=()):
        body = b"".join(journal.HEAD.pack(what, len(item)) + item for what, item in items)
        self.fold.read(journal.HEADER.pack(
            b"PJNL", 1, kind, 0, epoch, writer.ljust(16), seq, following, 0, 1, 3, len(items),
            journal.HEADER.size + len(body), 0, 0, 0, b"", 0) + body)
        return self

    @staticmethod
    def seen(event_id, offset, outcome=1):
        return journal.ITEM_SEEN, journal.SEEN.pack(event_id.ljust(16), offset, b"", outcome, 0, 0, 1, 0)

    @staticmethod
    def version(subject, version, offset, event_id):
        sized = [struct.pack("<I", len(text)) + text for text in (subject, event_id, b"sw")]
        sized.insert(1, struct.pack("<Bqq", 1, version, offset))
        return journal.ITEM_VERSION, b"".join(sized) + bytes(10)


class Checkers(unittest.TestCase):
    """A good history passes, and each kind of broken one is found out."""

    def test_the_fold(self):
        first = [Written.seen(b"e1", 4), Written.version(b"s", 7, 4, b"e1")]
        made = Written().say(1, 1, b"a").say(2, 1, b"a", 1, 5, first)
        made.say(1, 1, b"b", 0, 9).say(1, 2, b"b", 0, 5).say(2, 1, b"a", 2, 9, [Written.seen(b"e1", 4)])
        made.say(2, 2, b"b", 1, 6, [Written.seen(b"e2", 5, 6)]).say(2, 2, b"b", 1, 6)
        made.say(2, 2, b"b", 2, 7, [Written.seen(b"e2", 5, 4)]).say(3, 2, b"b", 2, 7)
        self.assertEqual((made.fold.problems, made.fold.claims, made.fold.batches, made.fold.ignored), ([], 2, 3, 3))
        self.assertEqual((made.fold.counts(), made.fold.released), ({"applied": 1, "dead": 1}, True))
        self.assertEqual(made.fold.versions, {b"s": (7, "e1", 4)})

    def test_a_claim_that_a_batch_outran(self):
        made = Written().say(1, 1, b"a").say(2, 1, b"a", 1, 5).say(1, 2, b"b", 0, 4).say(2, 2, b"b", 1, 6)
        self.assertEqual((made.fold.problems, made.fold.claims, made.fold.next_offset), ([], 2, 6))

    def test_a_broken_fold(self):
        first = [Written.seen(b"e1", 4), Written.version(b"s", 7, 4, b"e1")]
        for wrong, following, items in (
            ("went back", 4, []),
            ("ended applied", 6, [Written.seen(b"e1", 5)]),
            ("version 7", 6, [Written.version(b"s", 7, 5, b"e2")]),
            ("version 8", 6, [Written.version(b"s", 8, 3, b"e2")]),
        ):
            made = Written().say(1, 1, b"a").say(2, 1, b"a", 1, 5, first).say(2, 1, b"a", 2, following, items)
            self.assertTrue(any(wrong in text for text in made.fold.problems), (wrong, made.fold.problems))

    @staticmethod
    def good():
        history = KafkaHistory()
        for event_id, outcome in (("e1", "applied"), ("e2", "dead")):
            history.note(event_id, "s", None, Answer(200))
            history.events[event_id] = [{"event_id": event_id, "outcome": outcome}]
            history.stream[event_id] = [(0, int(event_id[1]), "s", None, b"body")]
        history.dead = [{"event_id": "e2"}]
        history.letters = [("e2", b"body", 0, 2)]
        history.published, history.to_publish = [("e1", "s", b"body")], {"e1", "e2"}
        return history

    @staticmethod
    def swap(history):
        """A later event of the entity is published first."""
        history.note("e3", "s", None, Answer(200))
        history.events["e3"] = [{"event_id": "e3", "outcome": "applied"}]
        history.stream["e3"] = [(0, 3, "s", None, b"body")]
        history.to_publish.add("e3")
        history.published.insert(0, ("e3", "s", b"body"))

    def test_the_topics(self):
        history = self.good()
        history.letters *= 2
        self.assertEqual(history.check(repeats=1), [], "a letter twice, word for word")
        history.stream["e1"].append((0, 3, "s", None, b"body"))
        self.assertEqual(history.check(repeats=1), [], "a copy later")
        for wrong, breaks in (
            ("answered 200 but not on the topic: e1", lambda h: h.stream.pop("e1")),
            ("e1 is on several partitions", lambda h: h.stream["e1"].append((1, 9, None, None, b"body"))),
            ("a dead letter of e1, which is applied", lambda h: h.letters.append(("e1", b"body", 0, 1))),
            ("a dead letter of e2 from 0/2, where another", lambda h: h.letters.append(("e2", b"other", 0, 2))),
            ("e2 is dead, and the dead-letter topic", lambda h: h.letters.clear()),
            ("applied, but not published: e1", lambda h: h.published.clear()),
            ("published, but dead: e2", lambda h: h.published.append(("e2", "s", b"body"))),
            ("published with another body: e1", lambda h: h.published.append(("e1", "s", b"other"))),
            ("3 copies published of e1", lambda h: h.published.extend(h.published * 2)),
            ("s: e1 is published after one", self.swap),
            ("3 dead letters of e2", lambda h: h.letters.extend(h.letters * 2)),
            ("s: e2 is at 0, before e1 at 1", lambda h: h.stream.update(e2=[(0, 0, "s", None, b"body")])),
        ):
            history = self.good()
            breaks(history)
            found = history.check(repeats=1)
            self.assertTrue(any(line.startswith(wrong) for line in found), f"{wrong!r} not in {found}")

    def test_lives_are_told_apart_by_claims(self):
        """The same worker works a lane, is followed, follows again and begins anew; between claims it may not."""
        ahead_ms = (time.time() - time.monotonic()) * 1000
        for claimed, wrong in (((0, 15), 0), ((0, 5), 1)):
            history = self.good()
            history.routed = {"e1"}
            history.effects = [Effect(n, "/7", {"ce-id": i, "ce-subject": "s"}, b"") for n, i in enumerate(("e1", "e2", "e1"))]
            folds = [journal.Fold()]
            folds[0].claimed_ms = [ahead_ms + ms for ms in claimed]
            for effect, started in zip(history.effects, (0.011, 0.012, 0.020)):
                effect.started, effect.status = started, 200
            history.tell_apart(folds)
            found = [line for line in history.check(repeats=1) if "again after" in line]
            self.assertEqual(len(found), wrong, (claimed, found))

    def test_the_answers(self):
        one = ({"e1": [{"outcome": "applied"}]}, {"s": {"version": "1"}})
        self.assertEqual(same_answers({"a": one, "b": one}), [])
        self.assertEqual(len(same_answers({"a": one, "b": ({"e1": []}, {"s": None})})), 2)


class Moves(Kit):
    def test_moves(self):
        """Of three and of two workers in turn, each round with a history of its own."""
        broker = kafka.own(self)
        size = min(ROUND, (MOVES + 1) // 2)
        for number, at in enumerate(range(0, MOVES, size)):
            if report.told_to_end():
                break
            with self.subTest(seed=SEED + at):
                moves(self, broker, min(size, MOVES - at), SEED + at, 2 - number % 2, 3 - number % 2)


class Members(Kit):
    def test_a_member_of_the_group_that_does_nothing(self):
        """What it was assigned, and nobody ever worked, is worked by another all the same."""
        broker = kafka.shared()
        topic = broker.create(broker.topic("members"), PARTITIONS)
        idle = subprocess.Popen(
            ["kcat", "-b", broker.address(), "-X", "partition.assignment.strategy=range", "-G", topic, topic],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(idle.stderr.close)
        self.addCleanup(idle.wait)
        self.addCleanup(idle.kill)
        while b"assigned:" not in idle.stderr.readline():
            self.assertIsNone(idle.poll())
        node = node_over(self, broker, topic, {"sw": mapped()})
        node.start("run")
        self.until(lambda: all(row["state"] == "owned" for row in lanes(node)), "all are owned")
        self.assertFalse(all(row["assigned"] for row in lanes(node)), "the group has another member")
        for number in range(12):
            send(node, "sw", f"evt_{number}", f"thing:{number}", 1)
        for number in range(12):
            self.ended(node, f"evt_{number}", "applied")
        node.stop()


class Topics(Kit):
    """Topics that are not what they were: a worker stops, and says so. Nothing is made up for what is gone."""

    def setUp(self):
        self.broker = kafka.shared()
        self.topic = self.broker.topic("topics")
        self.journal = self.topic + ".journal"
        self.node = node_over(self, self.broker, self.topic, {"sw": mapped()})

    def fill(self, node, start, count=12):
        for number in range(start, start + count):
            send(self.node, "sw", f"evt_{number}", f"thing:{number}", 1)
        self.until(lambda: all(row.get("owner") for row in lanes(node)), "its partitions are read")
        for number in range(start, start + count):
            self.ended(node, f"evt_{number}", "applied")

    def trim_all(self, topic=None):
        """Delete all records that there are in the journal, or in another topic."""
        topic = topic or self.journal
        for partition in range(PARTITIONS):
            self.broker.trim(topic, self.broker.end(topic, partition), partition)

    def stops_saying(self, process, text):
        self.assertNotIn(process.wait(), (0, None), process.log_text())
        self.assertIn(text, process.log_text())

    def test_a_journal_that_lost_what_a_worker_had_not_read(self):
        """It stood still meanwhile; the one that had read all goes on."""
        second = another(self, self.node)
        self.node.start("ingress")
        self.node.start("worker")
        late = second.start("worker")
        self.fill(self.node, 0)
        late.signal(signal.SIGSTOP)
        self.until(lambda: all(row["state"] == "owned" for row in lanes(self.node)), "all taken over")
        self.fill(self.node, 100)
        self.trim_all()
        late.signal(signal.SIGCONT)
        self.stops_saying(late, "JOURNAL_TRUNCATED")
        self.fill(self.node, 200)

    def test_a_journal_without_its_beginning_and_no_store(self):
        process = self.node.start("run")
        self.fill(self.node, 0)
        self.assertEqual(process.stop(), 0)
        self.trim_all()
        shutil.rmtree(self.node.path("data", "main", "state-1"))
        process = self.node.start("run", ready=False)
        self.stops_saying(process, "STATE_LOST")

    def test_a_store_older_than_its_journal(self):
        second = another(self, self.node)
        self.node.start("ingress")
        early = second.start("worker")
        self.fill(second, 0)
        self.assertEqual(early.stop(), 0)
        self.node.start("worker")
        self.fill(self.node, 100)
        self.trim_all()
        self.stops_saying(second.start("worker", ready=False), "STATE_LOST")

    def test_events_that_were_deleted_before_they_were_worked(self):
        self.node.start("ingress")
        worker = self.node.start("worker")
        self.fill(self.node, 0)
        self.assertEqual(worker.stop(), 0)
        for number in range(12):
            send(self.node, "sw", f"late_{number}", f"thing:{number}", 2)
        self.trim_all(self.topic)
        self.stops_saying(self.node.start("worker", ready=False), "SOURCE_LOST")

    def test_a_journal_that_is_another(self):
        process = self.node.start("run")
        self.fill(self.node, 0)
        self.assertEqual(process.stop(), 0)
        self.broker.delete(self.journal)
        self.until(lambda: self.journal not in self.broker.topics(), "gone")
        process = self.node.start("run", ready=False)
        self.stops_saying(process, "JOURNAL_TRUNCATED")

    def test_a_journal_that_may_not_be_made(self):
        self.broker.create(self.topic, partitions=PARTITIONS)
        self.node.config["queue"]["create_topics"] = False
        self.node.write_config()
        process = self.node.start("worker", ready=False)
        self.assertEqual(process.wait(), 3, process.log_text())
        self.assertIn(self.journal, process.log_text())
        self.assertNotIn(self.journal, self.broker.topics())

    def test_a_count_that_changes_meanwhile(self):
        """The ingress takes no more; a worker stops and says why, and so does one that starts then."""
        self.node.start("ingress")
        worker = self.node.start("worker")
        self.fill(self.node, 0)
        self.broker.grow(self.topic, PARTITIONS + 1)
        self.assertEqual(worker.wait(30), 3, worker.log_text())
        self.assertIn(f"has {PARTITIONS + 1} partitions, and had {PARTITIONS}", worker.log_text())
        process = self.node.start("worker", ready=False)
        self.assertEqual(process.wait(), 3, process.log_text())
        self.assertIn(f"has {PARTITIONS + 1} partitions", process.log_text())

    def test_events_that_expired_before_the_first_start(self):
        """Work begins with what is there, and says so."""
        ingress = self.node.start("ingress")
        for number in range(12):
            send(self.node, "sw", f"evt_{number}", f"thing:{number}", 1)
        for number in range(PARTITIONS):
            self.broker.trim(self.topic, self.broker.end(self.topic, number), number)
        ends = [self.broker.end(self.topic, number) for number in range(PARTITIONS)]
        worker = self.node.start("worker")
        self.fill(self.node, 100)
        told = [number for number, end in enumerate(ends) if end]
        self.assertEqual(worker.log_text().count("events_begin_late"), len(told), ends)
        worker.kill()
        ingress.stop()


def lanes(node):
    status, got = node.ask("/v1/status", node.worker_side())
    return status == 200 and got.get("lanes") or [{"state": "unknown"}]


if __name__ == "__main__":
    report.main()
