"""Damage: what is on the disk is not what was written. The program stops, names the file, changes nothing; and
once the damage is undone, everything is there and ends once."""

import hashlib
import os
import shutil

from lib import report
from lib.kit import Kit, mapped
from lib.postern import body_of

COUNT = 120
SMALL = {
    "queue": {"segment_bytes": 262144, "reserve_bytes": 0},
    "ingress": {"max_body_bytes": 16384},
}
STOPPED = ("start_failed", "stopped_by_failure")


def files_below(directory):
    """path -> digest of what the program must not change: segments and the store's data."""
    made = {}
    for where, _, names in os.walk(directory):
        for name in names:
            if name.endswith((".seg", ".mdb")) and name != "lock.mdb":
                with open(os.path.join(where, name), "rb") as file:
                    made[os.path.relpath(os.path.join(where, name), directory)] = hashlib.sha256(file.read()).hexdigest()
    return made


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x40]))


class Damage(Kit):
    def filled(self, half="run"):
        """A node that has stopped well, with several segments. By `ingress` alone nothing of it is worked."""
        node = self.node({"things": mapped()}, **SMALL)
        node.start(half)
        for number in range(COUNT):
            self.accepted(node.send("things", body_of(f"e{number % 7}", number, filler="x" * 8000), f"d{number}"))
        if half == "run":
            node.wait_drained()
            self.ended(node, f"d{COUNT - 1}", "applied")
        node.stop()
        return node

    def segments(self, node):
        where = node.path("data", "main", "log")
        made = [os.path.join(where, name) for name in sorted(os.listdir(where)) if name.endswith(".seg")]
        self.assertGreater(len(made), 3)
        return made

    def stops(self, node, *names, half="run", changes=False):
        """The process ends by itself and badly; its last words name the file."""
        before = files_below(node.path("data"))
        process = node.start(half, ready=False)
        status = process.wait()
        self.assertGreater(status, 0, process.log_text()[-2000:])
        lines = [line for line in process.log() if line["event"] in STOPPED]
        self.assertEqual(len(lines), 1, process.log_text()[-2000:])
        self.assertEqual(lines[0]["code"], "CORRUPT")
        for name in names:
            self.assertIn(name, lines[0]["text"])
        if not changes:
            self.assertEqual(files_below(node.path("data")), before)
        return lines[0]

    def all_is_there(self, node):
        process = node.start()
        for number in range(COUNT):
            rows = node.event(f"d{number}")
            self.assertEqual(len(rows), 1, f"d{number}")
            self.ended(node, f"d{number}", "applied")
        for entity in range(7):
            highest = max(n for n in range(COUNT) if n % 7 == entity)
            self.assertEqual(int(node.state(f"e{entity}")["version"]), highest)
        self.accepted(node.send("things", body_of("after", 1), "after"))
        self.ended(node, "after", "applied")
        self.assertEqual(process.stop(), 0)

    def test_a_flipped_byte_in_an_older_segment(self):
        node = self.filled("ingress")
        segment = self.segments(node)[1]
        at = os.path.getsize(segment) // 2
        flip(segment, at)
        # The worker works what comes before; that is no damage.
        self.stops(node, os.path.basename(segment), changes=True)
        self.stops(node, os.path.basename(segment), half="worker", changes=True)
        flip(segment, at)
        self.all_is_there(node)

    def test_a_flipped_byte_in_the_head_of_the_last_segment(self):
        node = self.filled()
        segment = self.segments(node)[-1]
        flip(segment, 9)
        self.stops(node, os.path.basename(segment))
        flip(segment, 9)
        self.all_is_there(node)

    def test_a_segment_that_is_gone(self):
        node = self.filled("ingress")
        segment = self.segments(node)[1]
        os.rename(segment, segment + ".away")
        self.stops(node, "main/log", changes=True)
        os.rename(segment + ".away", segment)
        self.all_is_there(node)

    def test_a_store_that_is_missing_beside_a_log(self):
        for what in ("state", "state/data.mdb"):
            with self.subTest(what=what):
                node = self.filled()
                path = node.path("data", "main", what)
                os.rename(path, node.path("away"))
                self.stops(node, "main/state")
                self.assertFalse(os.path.exists(path), "a new one was made")
                for half in ("worker", "ingress") if what == "state" else ("worker",):
                    self.stops(node, "main/state", half=half)
                os.rename(node.path("away"), path)
                self.all_is_there(node)

    def test_a_store_that_was_cut_off(self):
        node = self.filled()
        path = node.path("data", "main", "state", "data.mdb")
        shutil.copy(path, node.path("away"))
        for size in (0, 100, 4096, os.path.getsize(path) // 8192 * 4096):
            with self.subTest(size=size):
                with open(path, "r+b") as file:
                    file.truncate(size)
                try:
                    self.stops(node, "main/state")
                finally:
                    shutil.copy(node.path("away"), path)
        self.all_is_there(node)

    def test_pages_of_the_store_that_rotted(self):
        """Whatever page it is, the program does not die of it: it stops with a message, or needs it not."""
        node = self.filled()
        path = node.path("data", "main", "state", "data.mdb")
        shutil.copy(path, node.path("away"))
        stopped = 0
        for page in range(2, os.path.getsize(path) // 4096):
            with open(path, "r+b") as file:
                file.seek(page * 4096)
                file.write(bytes(range(256)) * 16)
            got = node.cli("state", "get", "e0", check=None)
            self.assertIn(got.returncode, (0, 1), f"page {page}: {got.stderr!r}")
            if b"main/state" in got.stderr:
                stopped += 1
                if stopped == 1:
                    self.stops(node, "main/state")
            shutil.copy(node.path("away"), path)
        self.assertGreater(stopped, 1, "no page was in use")
        self.all_is_there(node)

    def test_a_position_beyond_the_end_of_the_log(self):
        """A log that is older than the store: nothing may be taken whose offset has ended before."""
        node = self.node({"things": mapped()}, **SMALL)
        node.start()
        for number in range(COUNT // 2):
            self.accepted(node.send("things", body_of(f"e{number % 7}", number, filler="x" * 8000), f"d{number}"))
        node.stop()
        log = node.path("data", "main", "log")
        shutil.copytree(log, node.path("older"))
        node.start()
        for number in range(COUNT // 2, COUNT):
            self.accepted(node.send("things", body_of(f"e{number % 7}", number, filler="x" * 8000), f"d{number}"))
        self.ended(node, f"d{COUNT - 1}", "applied")
        node.stop()
        os.rename(log, node.path("newer"))
        for older in (node.path("older"), None):
            with self.subTest(older=older):
                if older:
                    shutil.copytree(older, log)
                else:
                    os.mkdir(log)
                try:
                    self.stops(node, "do not belong together", changes=True)
                finally:
                    shutil.rmtree(log)
        os.rename(node.path("newer"), log)
        self.all_is_there(node)


if __name__ == "__main__":
    report.main()
