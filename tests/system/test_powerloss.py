"""Power loss under the whole program: whatever the disk keeps of what was not synced, every event that was
answered with 200 before the loss is there, once, with its right end, and the program goes on from there.

$POSTERN_POWERLOSS_IMAGES: how many images (40). $POSTERN_SEED: where it starts.
"""

import concurrent.futures
import os
import random
import shutil
import tempfile
import time

import powerloss
from lib import report
from lib.history import ENDED, OPEN, History
from lib.kit import mapped
from lib.load import Load
from lib.postern import Node, SystemTest, body_of
from lib.preload import library

SEED = int(os.environ.get("POSTERN_SEED", "1"))
IMAGES = int(os.environ.get("POSTERN_POWERLOSS_IMAGES", "40"))
ROUND = 40  # images of one traced run
LOAD_S = 1.2
LARGE_BYTES = 800000  # three segments, on a slow machine too

# Small segments and a small log: segments fill, are recycled and dropped while images are cut.
SMALL = {
    "queue": {"segment_bytes": 262144, "max_bytes": 786432, "reserve_bytes": 0, "retention_hours": 0},
    "ingress": {"max_body_bytes": 16384},
}


CALM = {"failures": 1000, "ratio": 1, "open_s": 1}

ROUTES = [
    {"name": "dead", "match": {"type": "dead"}, "breaker": CALM,
     "handler": {"type": "exec", "argv": ["/bin/sh", "-c", "exit 65"]}},
    {"name": "again", "match": {"type": "again"}, "breaker": CALM, "retry": {"base_ms": 20, "cap_ms": 100},
     "handler": {"type": "exec", "argv": ["/bin/sh", "-c", '[ "$POSTERN_ATTEMPT" -ge 2 ]']}},
    {"name": "rest", "match": {}, "handler": {"type": "none"}},
]


class TracedHistory(History):
    """Knows for each answer how long the trace was when it had come: all that it promises is before that."""

    def __init__(self, trace):
        super().__init__()
        self.trace = trace

    def note(self, event_id, entity, version, answer, good=True):
        end = os.path.getsize(self.trace)
        super().note(event_id, entity, version, answer, good)
        with self.lock:
            for sent in reversed(self.sent):
                if sent.event_id == event_id and not hasattr(sent, "end"):
                    sent.end = end
                    break
        return answer

    def as_of(self, cut):
        """What is known of a loss at this length. A request whose answer came later may be there or not."""
        made = History()
        for sent in self.sent:
            answer = type("Known", (), {"status": sent.status, "code": sent.code})
            if sent.end > cut and sent.good:
                answer.status = answer.code = None
            made.note(sent.event_id, sent.entity, sent.version, answer, sent.good)
        return made


class Run:
    """One traced run of the program under load."""

    def __init__(self, test, where, seed):
        self.seed, self.where = seed, where
        self.trace = os.path.join(where, "trace")
        open(self.trace, "wb").close()
        self.source = mapped()
        self.node = test.node({"things": self.source}, ROUTES, **SMALL)
        data = self.node.path("data")
        os.mkdir(data)
        self.env = {"LD_PRELOAD": library("powerloss"), "POSTERN_TRACE_DIR": data, "POSTERN_TRACE": self.trace}
        self.history = TracedHistory(self.trace)

    def work(self):
        """Load, a stop and a start in the middle, load."""
        process = self.node.start(env=self.env)
        for part in range(2):
            load = Load(self.node, "things", ["plain", "plain", "plain", "plain", "plain", "dead", "again"],
                        clients=4, pause=0.012, seed=self.seed + part, name=f"p{self.seed}-{part}")
            load.history = self.history
            load.start()
            self._large(part)
            load.stop()
            if part == 0:
                process.stop()
                process = self.node.start(env=self.env)
        process.kill()

    def _large(self, part):
        """Large bodies, so that segments fill."""
        rng, end = random.Random(self.seed), time.monotonic() + LOAD_S / 2
        number = size = 0
        while time.monotonic() < end or size < LARGE_BYTES:
            number += 1
            event_id, entity = f"large{self.seed}-{part}-{number}", f"large-{part}"
            body = body_of(entity, number, type="plain", filler="x" * rng.randint(1000, 12000))
            self.history.note(event_id, entity, number, self.node.send("things", body, event_id))
            size += len(body)
            time.sleep(0.004)


class Powerloss(SystemTest):
    def test_every_image_of_a_traced_program(self):
        print(f"    seed {SEED}, {IMAGES} images", flush=True)
        for number in range(0, IMAGES, ROUND):
            where = tempfile.mkdtemp(prefix="postern-powerloss-")
            try:
                self.round(where, SEED + number // ROUND, min(ROUND, IMAGES - number))
            finally:
                shutil.rmtree(where, ignore_errors=True)

    def round(self, where, seed, count):
        run = Run(self, where, seed)
        run.work()
        ops = powerloss.read_trace(run.trace)
        segments = {op.path2 for op in ops if op.kind == powerloss.RENAME and op.path2.endswith(".seg")}
        self.assertGreater(len(segments), 4, "the log did not roll")
        self.assertTrue(any(op.kind == powerloss.RANGE_SYNCED for op in ops), "no commit of the store was seen")
        images = powerloss.build_images(run.trace, os.path.join(where, "images"), count, seed)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            told = [pool.submit(self.one, run, image) for image in images]
            try:
                counts = [result.result() for result in told]
            finally:
                pool.shutdown(cancel_futures=True)
        report.did(images=len(images))
        print(f"    seed {seed}: {len(images)} images of {len(ops)} operations, {len(run.history.sent)} requests; "
              f"answered before the loss: {min(counts)} to {max(counts)}", flush=True)
        self.assertGreater(max(counts), 100, "too little load to prove anything")

    def one(self, run, image):
        """Start on an image; how many events had been answered before the loss."""
        what = f"seed {run.seed}, image {os.path.basename(image.path)}, cut {image.cut}, mode {image.mode}"
        node = self.adopt(Node({"things": run.source}, ROUTES, data_dir=image.path, **SMALL))
        history = run.history.as_of(image.cut)
        try:
            process = node.start()
            self.collect(node, history)
            problems = history.check() + self.goes_on(node, history)
            status = process.stop()
        except AssertionError as failed:
            raise AssertionError(f"{what}: {failed}") from None
        self.assertEqual((problems[:10], status), ([], 0), what)
        node.close()
        shutil.rmtree(image.path, ignore_errors=True)
        return len(history.accepted())

    @staticmethod
    def collect(node, history):
        """When all have ended. The gauges of a worker that has just started may say so too early."""
        node.wait_drained()
        history.collect(node)
        late = [event_id for event_id in history.ids() if history.outcome(event_id) in OPEN]
        for event_id in late:
            node.wait_outcome(event_id, *ENDED)
        if late:
            history.collect(node)

    @staticmethod
    def goes_on(node, history):
        """New events are worked, a copy of an old one changes nothing."""
        problems = []
        sent = next((s for s in history.sent if s.status == 200 and history.outcome(s.event_id) == "applied"), None)
        if sent is not None:
            before = node.state(sent.entity) if sent.entity else None
            node.send("things", body_of(sent.entity, 1000000, type="plain"), sent.event_id)
        node.send("things", body_of("after", 1, type="plain"), "after-the-loss")
        node.wait_outcome("after-the-loss", *ENDED)
        if node.outcome("after-the-loss") != "applied":
            problems.append(f"a new event is {node.outcome('after-the-loss')}")
        if sent is not None:
            if node.outcome(sent.event_id) != "applied":
                problems.append(f"a copy made {sent.event_id} {node.outcome(sent.event_id)}")
            if sent.entity and node.state(sent.entity) != before:
                problems.append(f"a copy of {sent.event_id} had an effect")
        return problems


if __name__ == "__main__":
    report.main()
