"""Power loss under the segmented log: whatever the disk keeps of what was not synced, all that was said to be
durable is there, in its place, once; and the log goes on."""

import os
import random
import subprocess
import tempfile
import unittest

import powerloss
from lib import report

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("POSTERN_BUILD", "build")
SEED = int(os.environ.get("POSTERN_SEED", "1"))
ROUNDS = int(os.environ.get("POSTERN_POWERLOSS_ROUNDS", "2"))
IMAGES = 60


def built(name):
    path = os.path.join(ROOT, BUILD, name)
    if not os.path.exists(path):
        subprocess.run(["make", "-s", f"BUILD={BUILD}", f"{BUILD}/{name}"], cwd=ROOT, check=True)
    return path


class PowerlossLog(unittest.TestCase):
    def test_every_image_of_a_traced_log(self):
        program, library = built("tests/unit/queue_powerloss"), built("preload/powerloss.so")
        for seed in range(SEED, SEED + ROUNDS):
            with tempfile.TemporaryDirectory(prefix="postern-powerloss-") as where:
                self.one(program, library, where, seed)

    def one(self, program, library, where, seed):
        traced, acks, trace = (os.path.join(where, name) for name in ("traced", "acks", "trace"))
        os.mkdir(traced)
        env = {**os.environ, "LD_PRELOAD": library, "POSTERN_TRACE_DIR": traced, "POSTERN_TRACE": trace}
        subprocess.run([program, "write", traced, acks, trace, str(seed)], env=env, check=True, timeout=120)
        ops = powerloss.read_trace(trace)
        self.assertGreater(sum(op.kind == powerloss.RENAME for op in ops), 20)
        self.assertGreater(sum(op.kind == powerloss.SYNC_END for op in ops), 200)
        images = powerloss.build_images(trace, os.path.join(where, "images"), IMAGES, seed)
        report.did(images_of_the_log=len(images))
        for image in images:
            got = subprocess.run([program, "check", image.path, str(image.cut), acks], timeout=60,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.assertEqual(got.returncode, 0,
                             f"seed {seed}, image {os.path.basename(image.path)}, cut {image.cut}, "
                             f"mode {image.mode}: {got.stdout.decode('utf-8', 'replace')}")

    def test_the_model_knows_what_is_durable(self):
        """The model itself: without it, images that lose too little would prove nothing."""
        op = powerloss.Op
        disk = powerloss.Disk()
        steps = [
            op(powerloss.CREATE, 5, 0, 0, "a", "", b"", 0),
            op(powerloss.WRITE, 5, 0, 3, "", "", b"one", 0),
            op(powerloss.SYNC_BEGIN, 5, 1, 0, "", "", b"", 0),
            op(powerloss.WRITE, 5, 3, 3, "", "", b"two", 0),
            op(powerloss.SYNC_END, 5, 1, 0, "", "", b"", 0),
        ]
        for step in steps:
            disk.step(step)
        rng = random.Random(1)
        lost = powerloss.content_after_loss(rng, disk.objects[5], "none")
        kept = powerloss.content_after_loss(rng, disk.objects[5], "all")
        self.assertEqual((bytes(lost), bytes(kept)), (b"one", b"onetwo"))
        seen = {("a" in disk.names_after_loss(rng)) for _ in range(50)}
        self.assertEqual(seen, {True, False})  # the directory was not synced
        disk.step(op(powerloss.SYNC_BEGIN, 9, 2, 0, "", "", b"", 0))
        disk.step(op(powerloss.SYNC_END, 9, 2, 0, "", "", b"", 0))
        self.assertEqual({("a" in disk.names_after_loss(rng)) for _ in range(50)}, {True})
        disk.step(op(powerloss.RENAME, 0, 0, 0, "a", "b", b"", 0))
        names = {tuple(sorted(disk.names_after_loss(rng))) for _ in range(50)}
        self.assertEqual(names, {("a",), ("b",)})


if __name__ == "__main__":
    report.main()
