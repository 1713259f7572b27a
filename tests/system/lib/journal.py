"""A journal topic as a client that is not ours reads it, folded by its rules: what the state must be.

Written from the layout in the design, not from the program. `Fold` reads the records of one partition in
order and counts what breaks a promise: an event with two ends, a version that does not rise. What is not
valid (a claim that came too late, a batch of somebody who was followed) is counted and ignored.
"""

import struct

HEADER = struct.Struct("<4sBBHQ16sQqqIIIIqQQ16sI")
HEAD = struct.Struct("<BI")
SEEN = struct.Struct("<16sq8sBBHBI")
CLAIM, BATCH, RELEASE = 1, 2, 3
ITEM_SEEN, ITEM_VERSION = 1, 2
OUTCOMES = {1: "applied", 2: "duplicate", 3: "stale", 4: "dead", 5: "quarantined", 6: "parked", 7: "pending"}
ENDS = ("applied", "stale", "dead", "quarantined")


class Fold:
    """
    ends      id16 -> [(outcome, source offset)], as they were decided; more than one is one too many
    versions  subject -> (version, event id, source offset)
    claimed_ms   when each valid claim was appended, by the broker's clock
    """

    def __init__(self, partition=0):
        self.partition, self.epoch, self.seq, self.writer, self.released = partition, 0, 0, None, False
        self.next_offset = 0
        self.claims, self.batches, self.ignored, self.claimed_ms = 0, 0, 0, []
        self.ends, self.versions, self.problems = {}, {}, []

    def read(self, record, appended_ms=0):
        """A record of the journal: its bytes."""
        magic, _, kind, _, epoch, writer, seq, following, _, _, _, items, length, *_ = HEADER.unpack_from(record)
        if magic != b"PJNL" or length != len(record):
            self._wrong(f"a record of {len(record)} bytes is none")
        elif not self._valid(kind, epoch, writer, seq):
            self.ignored += 1
        else:
            if kind == CLAIM:
                self.claimed_ms.append(appended_ms)
            elif kind == BATCH:
                # A claim tells the position that its writer knew: a batch may have been faster.
                self._move(following)
            self._items(record, items)

    def _valid(self, kind, epoch, writer, seq):
        if kind == CLAIM:
            if epoch <= self.epoch:
                return False
            self.epoch, self.writer, self.seq, self.released = epoch, writer, 0, False
            self.claims += 1
            return True
        if not self.epoch or (epoch, writer) != (self.epoch, self.writer):
            return False
        if kind == RELEASE:
            self.released = True
            return True
        if seq != self.seq + 1:
            return False
        self.seq, self.released = seq, False
        self.batches += 1
        return True

    def _move(self, following):
        if following < self.next_offset:
            self._wrong(f"the position went back from {self.next_offset} to {following}")
        self.next_offset = following

    def _items(self, record, count):
        at = HEADER.size
        for _ in range(count):
            kind, length = HEAD.unpack_from(record, at)
            at += HEAD.size
            if kind == ITEM_SEEN:
                self._seen(record[at : at + length])
            elif kind == ITEM_VERSION:
                self._version(record[at : at + length])
            at += length
        if at != len(record):
            self._wrong(f"a record has {len(record) - at} bytes behind its items")

    def _seen(self, item):
        id16, offset, _, outcome, *_ = SEEN.unpack(item)
        outcome = OUTCOMES.get(outcome, outcome)
        if outcome not in ENDS:
            return
        ends = self.ends.setdefault(id16, [])
        if ends:
            self._wrong(f"event at {offset} ended {outcome}, and before at {ends[-1][1]} {ends[-1][0]}")
        ends.append((outcome, offset))

    def _version(self, item):
        at, texts = 0, []
        (size,) = struct.unpack_from("<I", item, at)
        subject, at = item[4 : 4 + size], 4 + size
        kind, version, offset = struct.unpack_from("<Bqq", item, at)
        at += 17
        for _ in range(2):
            (size,) = struct.unpack_from("<I", item, at)
            texts.append(item[at + 4 : at + 4 + size].decode())
            at += 4 + size
        if not kind:
            return
        before = self.versions.get(subject)
        if before is not None and (version <= before[0] or offset <= before[2]):
            self._wrong(f"{subject!r}: version {version} at {offset} after {before[0]} at {before[2]}")
        self.versions[subject] = (version, texts[0], offset)

    def _wrong(self, text):
        self.problems.append(f"journal {self.partition}: {text}")

    def counts(self):
        made = {}
        for ends in self.ends.values():
            made[ends[-1][0]] = made.get(ends[-1][0], 0) + 1
        return made


def fold(broker, topic, partitions):
    """The folds of all partitions of a journal topic."""
    folds = [Fold(number) for number in range(partitions)]
    for record in broker.consume(topic):
        folds[record.partition].read(record.body, record.timestamp_ms)
    return folds


__all__ = ["Fold", "fold"]
