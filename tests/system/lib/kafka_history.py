"""The history checker of the main job (history.py), over Kafka: the topics as kcat reads them, the answers of
several workers, and the fold of the journal by an independent reader (journal.py)."""

import bisect
import time

from .history import ENDED, OPEN, History
from .kafka_node import partition_of
from .kit import in_threads

WAIT_S = 15


class KafkaHistory(History):
    """
    letters   what the dead-letter topic holds: (id, body, source partition, source offset) for each record
    stream    what the events topic holds: event id -> [(partition, offset, entity, version, body)]
    published   what a topic that is published to holds, in the order of each partition: (id, entity, body)
    to_publish  the ids whose route leads there
    """

    def __init__(self):
        super().__init__()
        self.letters, self.stream = [], {}
        self.published, self.to_publish = [], set()

    # ---- filling ----

    def ask(self, nodes):
        """name -> ({event id: rows}, {entity: row}) as each node's worker says; the first one's are the history's.
        Followers show what they read with a little delay, so what differs or is open is asked again."""
        asked = {name: ({}, {}) for name in nodes}
        ids, entities = self.ids(), list({s.entity for s in self.sent if s.entity is not None})
        deadline = time.monotonic() + WAIT_S
        while True:
            rows = [(name, node, asked, ids, entities) for name, node in nodes.items()]
            in_threads(len(rows), lambda number: self._ask_one(*rows[number]))  # pylint: disable=cell-var-from-loop
            self.events, self.states = next(iter(asked.values()))
            ids = [i for i in ids if self.outcome(i) in OPEN or not _alike(asked, 0, i)]
            entities = [e for e in entities if not _alike(asked, 1, e)]
            if not ids and not entities or time.monotonic() > deadline:
                return asked
            time.sleep(0.2)

    @staticmethod
    def _ask_one(name, node, asked, ids, entities):
        asked[name][0].update((event_id, node.event(event_id)) for event_id in ids)
        asked[name][1].update((entity, node.state(entity)) for entity in entities)

    def gather(self, node, broker, topic, destination):
        """The lists of one worker, what the destination saw, and the topics. Letters may take a moment."""
        deadline = time.monotonic() + WAIT_S
        while True:
            self.dead, self.quarantined = node.cli_json("dlq", "ls"), node.cli_json("quarantine", "ls")
            listed = {row["event_id"] for row in self.dead + self.quarantined}
            if not self._left_out(listed) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        for record in broker.consume(topic + ".dlq"):
            head = record.headers
            place = int(head["postern-dlq-partition"]), int(head["postern-dlq-offset"])
            self.letters.append((head["ce_id"], record.body, *place))
        for record in broker.consume(topic):
            head = record.headers
            row = (record.partition, record.offset, head.get("ce_subject"), head.get("postern-version"), record.body)
            self.stream.setdefault(head["ce_id"], []).append(row)
        self.effects = destination.snapshot()

    def gather_published(self, broker, topic):
        """Outputs may take a moment after their event has ended."""
        deadline = time.monotonic() + WAIT_S
        while True:
            records = broker.consume(topic)
            self.published = [(r.headers["ce_id"], r.headers.get("ce_subject"), r.body) for r in records]
            if not self._unpublished() or time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def _unpublished(self):
        there = {row[0] for row in self.published}
        return [i for i in self.to_publish if self.outcome(i) == "applied" and i not in there]

    def tell_apart(self, folds):
        """The life of a worker ends for a lane with each claim of it: who is followed and then follows again may
        begin anew. What was called between two claims was called by one that had begun once."""
        ahead_s = time.time() - time.monotonic()
        for effect in self.effects:
            if effect.entity:
                claimed = folds[partition_of(f"default/{effect.entity}".encode(), len(folds))].claimed_ms
                effect.life = effect.life, bisect.bisect_right(claimed, (effect.started + ahead_s) * 1000)

    # ---- the checks ----

    def check(self, drained=True, ordered=True, repeats=0):
        problems = super().check(drained, ordered, repeats) + self._stream_has_all() + self._stream_ordered()
        problems += self._letters_are_dead() + self._bounded("dead letters", self.letters, repeats)
        return problems + self._published_applied() + self._bounded("copies published", self.published, repeats)

    def _stream_has_all(self):
        """What was answered 200 is on the topic; copies of an event are on one partition."""
        problems = [f"answered 200 but not on the topic: {i}" for i in sorted(self.accepted()) if i not in self.stream]
        for event_id, rows in self.stream.items():
            if len({row[0] for row in rows}) != 1:
                problems.append(f"{event_id} is on several partitions: {[row[:2] for row in rows]}")
        return problems

    def _stream_ordered(self):
        """Clients send an event of an entity when the one before was answered 200: so they stand on the topic."""
        problems, last, known = [], {}, set()
        for sent in self.sent:
            if sent.status != 200 or sent.entity is None or sent.event_id in known or sent.event_id not in self.stream:
                continue
            known.add(sent.event_id)
            offset = min(row[1] for row in self.stream[sent.event_id])
            before, before_offset = last.get(sent.entity, (None, -1))
            if offset < before_offset:
                problems.append(f"{sent.entity}: {sent.event_id} is at {offset}, before {before} at {before_offset}")
            last[sent.entity] = sent.event_id, offset
        return problems

    def _published_applied(self):
        """What was applied is published, byte for byte and in the order of its entity; nothing else is."""
        problems = [f"applied, but not published: {i}" for i in sorted(self._unpublished())]
        known, last = set(), {}
        for event_id, entity, body in self.published:
            rows = self.stream.get(event_id, ())
            if self.outcome(event_id) != "applied" or event_id not in self.to_publish:
                problems.append(f"published, but {self.outcome(event_id)}: {event_id}")
            elif body not in [row[4] for row in rows]:
                problems.append(f"published with another body: {event_id}")
            elif entity and event_id not in known:
                offset = min(row[1] for row in rows)
                if offset < last.get(entity, -1):
                    problems.append(f"{entity}: {event_id} is published after one that came later")
                last[entity] = max(offset, last.get(entity, -1))
            known.add(event_id)
        return problems

    def _bounded(self, what, rows, repeats):
        """Once, and once more for each crash at most."""
        counts = {}
        for event_id, *_ in rows:
            counts[event_id] = counts.get(event_id, 0) + 1
        return [
            f"{count} {what} of {event_id}, at most {1 + repeats} are explained"
            for event_id, count in counts.items() if count > 1 + repeats and event_id not in self.replayed
        ]

    def _letters_are_dead(self):
        """Each dead event has a letter; no other has. A crash may repeat a letter, word for word."""
        problems, seen = [], {}
        for event_id, body, partition, offset in self.letters:
            if self.outcome(event_id) != "dead" and event_id not in self.replayed:
                problems.append(f"a dead letter of {event_id}, which is {self.outcome(event_id)}")
            places = {row[:2]: row[4] for row in self.stream.get(event_id, ())}
            if places.get((partition, offset)) != body:
                problems.append(f"a dead letter of {event_id} from {partition}/{offset}, where another record stands")
            if seen.setdefault(event_id, (partition, offset)) != (partition, offset):
                problems.append(f"{event_id} is dead from two records")
        for event_id in self.ids():
            if self.outcome(event_id) == "dead" and event_id not in seen:
                problems.append(f"{event_id} is dead, and the dead-letter topic does not have it")
        return problems

    def check_folds(self, folds):
        """The journal, folded by itself, agrees with what the workers say."""
        problems = [problem for one in folds for problem in one.problems]
        versions = {version[1]: version[0] for one in folds for version in one.versions.values()}
        for entity, row in self.states.items():
            if row and versions.get(row["event_id"]) != int(row["version"]):
                problems.append(f"{entity}: the journal does not say version {row['version']} of {row['event_id']}")
        ended = sum(1 for rows in self.events.values() if rows and rows[0]["outcome"] in ENDED)
        folded = sum(len(one.ends) for one in folds)
        if ended > folded:
            problems.append(f"{ended} events ended, the journal knows of {folded}")
        return problems


def _alike(asked, which, key):
    first, *others = (answers[which][key] for answers in asked.values())
    return all(other == first for other in others)


def same_answers(asked):
    """name of a worker -> (events, states): all alike."""
    (first, (events, states)), *others = asked.items()
    problems = []
    for name, (their_events, their_states) in others:
        for what, ours, theirs in (("event", events, their_events), ("state", states, their_states)):
            for key, row in ours.items():
                if row != theirs[key]:
                    problems.append(f"{what} {key}: {first} says {row}, {name} says {theirs[key]}")
    return problems


__all__ = ["KafkaHistory", "same_answers"]
