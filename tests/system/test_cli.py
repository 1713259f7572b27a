"""The command line: help, exit statuses, JSON lines, commands with and without a daemon."""

import re
import subprocess

from lib import report
from lib.destination import Destination, always, only
from lib.kit import Kit, body_of, json_lines, make_node, mapped, send, shell, until
from lib.postern import Process, binary
from lib.senders import GitHub

COMMANDS = (
    "run", "ingress", "worker", "init", "lint", "verify", "sign", "send", "events get", "events ls", "state get",
    "dlq ls", "dlq show", "dlq replay", "dlq drop", "quarantine ls", "quarantine show", "quarantine verify", "quarantine accept",
    "quarantine drop", "status", "config show", "config explain", "reload",
)


def call(*args, **more):
    return subprocess.run([binary(), *args], capture_output=True, stdin=subprocess.DEVNULL, check=False, **more)


def text_of(got):
    return got.stdout.decode()


class Help(Kit):
    def test_overview(self):
        got = call("--help")
        self.assertEqual(got.returncode, 0)
        text = text_of(got)
        for command in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {command} ", command)
        self.assertLess(text.index("  postern "), text.index("commands:"), "examples first")
        self.assertEqual(call().returncode, 2)
        self.assertRegex(text_of(call("--version")), r"^postern \d+\.\d+")

    def test_help_as_a_word(self):
        self.assertEqual(call("help").stdout, call("--help").stdout)
        self.assertEqual(call("help", "dlq", "replay").stdout, call("dlq", "replay", "--help").stdout)
        self.assertEqual(call("help", "events").stdout, call("events", "--help").stdout)
        self.assertEqual((call("help").returncode, call("help", "nonsense").returncode), (0, 2))

    def test_usage_names_every_option(self):
        for command in COMMANDS:
            text = text_of(call(*command.split(), "--help"))
            usage, _, rows = text[text.index("usage:"):].partition("\n")
            for option in re.findall(r"(?m)^  (--[a-z-]+)", rows):
                self.assertTrue(option == "--json" or option in usage, (command, option, usage))

    def test_every_level_starts_with_examples(self):
        for command in (*COMMANDS, "events", "dlq", "quarantine", "config", "state"):
            with self.subTest(command):
                got = call(*command.split(), "--help")
                self.assertEqual(got.returncode, 0, got.stderr)
                text = text_of(got)
                first = re.search(r"(?m)^  postern .*$", text)
                self.assertTrue(first and first.start() < text.index("usage:"), text)

    def test_examples_name_options_that_exist(self):
        for command in COMMANDS:
            text = text_of(call(*command.split(), "--help"))
            usage = text[text.index("usage:"):]
            for line in re.findall(r"(?m)^  .*\bpostern (.*)$", text[: text.index("usage:")]):
                for option in re.findall(r"(?<=\s)--[a-z-]+", " " + line):
                    self.assertIn(option, usage + "--help --json", (command, line))

    def test_usage_errors(self):
        for args, hint in (
            (["evnts", "get", "x"], "events get"), (["event", "get"], "events"), (["stat"], "stat"), (["lnt"], "lint"),
            (["events", "get"], "usage"), (["events", "get", "a", "b"], "b"),
            (["events", "ls", "--nosuch"], "--nosuch"),
            (["events", "ls", "--limit"], "--limit"), (["lint", "-c"], "-c"), (["dlq", "replay"], "which"),
            (["dlq", "drop"], "which"), (["quarantine", "accept"], "which"), (["quarantine", "drop"], "which"),
            (["nonsense"], "nonsense"), (["lint", "--strict=yes"], "--strict"),
        ):
            with self.subTest(args=args):
                got = call(*args)
                self.assertEqual((got.returncode, got.stdout), (2, b""))
                self.assertIn(hint, got.stderr.decode())
        for command in ("event", "dlq rplay", "quarantine acept", "config explan", "reloda"):
            self.assertIn("did you mean", call(*command.split()).stderr.decode(), command)


def busy_node():
    """A node with an event of each outcome."""
    return make_node(
        {"sw": mapped(), "gh": (GitHub(), {}), "limited": mapped(rate_limit={"per_second": 0.1, "burst": 1})},
        routes=[
            {"name": "dies", "match": {"type": "die*"},
             "handler": {"type": "exec", "argv": ["/bin/sh", "-c", "exit 65"]}},
            {"name": "rest", "match": {}, "handler": {"type": "none"}},
        ],
    )


class Commands(Kit):
    def setUp(self):
        self.at = self.shared("busy", self.fill)

    def fill(self):
        node = busy_node()
        node.start()
        for event_id, version in (("c-1", 5), ("c-2", 3), ("c-1", 5)):
            send(node, "sw", event_id, "order:1", version)
        for number in range(6):
            send(node, "sw", f"die-{number}", f"order:d{number % 2}", number + 1, type="die.now")
        body = body_of()
        for event_id in ("gh-1", "gh-2"):
            node.send("gh", body, event_id)
        # Entities die side by side: the last one sent is not the last one to end.
        dead = [(f"die-{number}", "dead") for number in range(6)]
        for event_id, outcome in (("c-1", "applied"), ("c-2", "stale"), ("gh-2", "quarantined"), *dead):
            self.ended(node, event_id, outcome)
        for name, count in (("dlq", 6), ("quarantine", 1)):
            until(lambda: len(node.cli_json(name, "ls")) == count, f"{name}: listed")
        node.stop()  # shared() starts it again: everything below is read by a second process too
        return node

    def reads(self):
        return {
            name: self.at.cli(*name.split(), "--json", shows_records=True).stdout
            for name in (
                "events get c-1", "events get c-2", "events ls", "state get order:1", "dlq ls", "dlq show die-3",
                "quarantine ls", "quarantine show gh-2", "events ls --outcome dead", "dlq ls --entity order:d0",
                "events ls --source gh", "dlq ls --reason HANDLER_REFUSED --since 2h",
            )
        }

    def test_reads(self):
        got = {name: json_lines(out) for name, out in self.reads().items()}
        first = got["events get c-1"]
        self.assertEqual(len(first), 1)
        names = "event_id source tenant type entity version outcome code route attempts received".split()
        self.assertTrue(set(names) <= set(first[0]), first[0])
        self.assertEqual([first[0][name] for name in ("event_id", "source", "type", "entity", "outcome", "route")],
                         ["c-1", "sw", "thing.changed", "order:1", "applied", "rest"])
        second = got["events get c-2"][0]
        self.assertEqual((second["outcome"], second["code"]), ("stale", "STALE_VERSION"))
        self.assertEqual({row["event_id"] for row in got["events ls"]},
                         {"c-1", "c-2", "gh-1", "gh-2", *(f"die-{n}" for n in range(6))})
        self.assertEqual([(r["version"], r["event_id"]) for r in got["state get order:1"]], [("5", "c-1")])
        self.assertEqual({row["event_id"] for row in got["dlq ls"]}, {f"die-{n}" for n in range(6)})
        self.assertEqual([row["event_id"] for row in got["dlq ls --entity order:d0"]], ["die-0", "die-2", "die-4"])
        self.assertEqual(len(got["dlq ls --reason HANDLER_REFUSED --since 2h"]), 6)
        self.assertEqual([row["event_id"] for row in got["quarantine ls"]], ["gh-2"])
        self.assertEqual({row["event_id"] for row in got["events ls --source gh"]}, {"gh-1", "gh-2"})
        self.assertEqual(len(got["events ls --outcome dead"]), 6)
        people = text_of(self.at.cli("events", "get", "c-2"))
        self.assertIn("STALE_VERSION", people)

    def test_statuses(self):
        for args, status in (
            (["events", "get", "nosuch"], 1), (["state", "get", "nosuch"], 1), (["dlq", "show", "nosuch"], 1),
            (["quarantine", "show", "q99999"], 1), (["dlq", "ls", "--since", "yesterday-ish"], 2),
            (["dlq", "replay", "--route", "dies", "--rate", "0"], 2), (["events", "ls", "--outcome", "stale"], 0),
            (["send", "nosuch"], 2), (["dlq", "replay", "die-1", "--route", "dies"], 2),
        ):
            with self.subTest(args=args):
                got = self.at.cli(*args, check=None)
                self.assertEqual(got.returncode, status, got.stderr)
                if status:
                    self.assertEqual(got.stdout, b"", "stdout is data")
                    self.assertTrue(got.stderr, "stderr is talk")
        self.assertEqual(self.at.cli("events", "ls", "--outcome", "parked", "--json").stdout, b"")

    def test_send(self):
        lines = self.at.cli("send", "sw", "--count", "3", "--json").stdout
        rows = json_lines(lines)
        self.assertEqual(len(rows), 3)
        self.assertTrue(all(row["status"] == 200 for row in rows))
        with open(self.at.path("sent.json"), "wb") as out:
            out.write(b'{"type":"from.file","entity":"order:7","version":4}')
        self.at.cli("send", "sw", "--data", "@" + self.at.path("sent.json"), "--id", "send-file")
        self.assertEqual(self.ended(self.at, "send-file", "applied")["type"], "from.file")
        text = ["--data", '{"note":"text"}', "--id", "send-text", "--entity", "order:8", "--version", "2"]
        self.at.cli("send", "sw", *text)
        self.ended(self.at, "send-text", "applied")
        self.assertEqual(self.at.state("order:8")["version"], "2")
        self.at.cli("send", "sw", "--id", "send-url", "--url", f"http://{self.at.listen}/hooks/sw")
        self.ended(self.at, "send-url", "applied")

    def test_send_bad(self):
        for kind, code in (("signature", "BAD_SIGNATURE"), ("stale", "EXPIRED"), ("future", "CLOCK_SKEW"),
                           ("unsigned", "MISSING_SIGNATURE"), ("duplicate", ""), ("body", "")):
            with self.subTest(kind):
                got = self.at.cli("send", "sw", "--bad", kind)
                self.assertIn(code.encode(), got.stdout)
        for kind in ("stale", "future", "nosuch"):
            got = self.at.cli("send", "gh", "--bad", kind, check=2)
            self.assertIn(kind.encode(), got.stderr)

    def test_send_that_is_not_taken(self):
        self.at.cli("send", "limited")
        self.assertIn(b"429", self.at.cli("send", "limited", check=75).stdout)
        # What should have been refused was not asked for: a kind that gets another answer is a failure.
        self.at.cli("send", "limited", "--bad", "signature", check=75)

    def test_without_a_daemon(self):
        """Reads come from the files and say the same; changes say that nobody is there."""
        until(lambda: not self.at.cli_json("events", "ls", "--outcome", "pending"), "what tests sent has ended")
        live = self.reads()
        self.at.stop()
        try:
            self.assertEqual(self.reads(), live)
            for args in (["dlq", "replay", "die-1"], ["dlq", "drop", "--route", "dies"],
                         ["quarantine", "accept", "gh-2"], ["quarantine", "drop", "--source", "gh"],
                         ["status"], ["reload"], ["send", "sw"]):
                with self.subTest(args=args):
                    self.assertTrue(self.at.cli(*args, check=4).stderr)
            self.at.cli("events", "get", "nosuch", check=1)
            self.assertEqual(self.reads(), live, "nothing was changed")
        finally:
            self.at.start()

    def test_a_data_dir_that_is_not_there_yet(self):
        node = self.small({"sw": mapped()})
        for args in (["events", "ls"], ["dlq", "ls"], ["events", "get", "x"]):
            self.assertIn(node.cli(*args, check=None).returncode, (0, 1, 4), args)


class Changes(Kit):
    def dead(self, count, behave=None, **route):
        """A node with so many dead letters, and their destination, which now takes everything."""
        destination = self.cleanup(Destination(behave or always(400)))
        node = self.small({"sw": mapped()}, routes=[
            {"name": "out", "match": {}, "handler": {"type": "http", "url": destination.url()}, **route}])
        node.start()
        for number in range(count):
            send(node, "sw", f"dead-{number}", f"order:{number % 3}", number + 1)
        for number in range(count):
            self.ended(node, f"dead-{number}", "dead")
        # An event is dead when that is committed; its letter is listed when it stands in the log of its own.
        until(lambda: len(node.cli_json("dlq", "ls")) == count, "all dead letters are listed")
        destination.behave = always(200)
        return node, destination

    def test_a_filter_that_is_none(self):
        """In a script an empty filter is a variable that was never set: it must not mean all there is."""
        node = self.small({"sw": mapped()})
        for words, hint in (
            (["--route", ""], "--route is empty"), (["--entity="], "--entity is empty"),
            (["--route", "a", "--route", "b"], "given twice"), (["--since", "1h", "--until", "2h"], "later than"),
            (["--ended-since", "1h", "--ended-until", "2h"], "later than"), (["--reason", "HANDLER_REFUSD"], "no code"),
        ):
            for command in (["dlq", "drop"], ["dlq", "replay"], ["quarantine", "accept"]):
                got = node.cli(*command, *words, "--yes", check=2)
                self.assertIn(hint, got.stderr.decode(), words)

    def test_what_died_again_keeps_its_place(self):
        """An event that is replayed and dies again stands last in the list; it is not worked last of its entity."""
        node, destination = self.dead(6)
        destination.behave = always(400)
        node.cli("dlq", "replay", "dead-0")
        until(lambda: [row["event_id"] for row in node.cli_json("dlq", "ls")][-1] == "dead-0", "it died again")
        destination.behave = always(200)
        node.cli("dlq", "replay", "--entity", "order:0", "--rate", "5")
        for number in (0, 3):
            self.ended(node, f"dead-{number}", "applied")
        rows = node.cli_json("dlq", "ls")
        last = rows[-1]["since"]
        node.cli("dlq", "drop", "--ended-since", last)
        self.assertEqual(node.cli_json("dlq", "ls"), [row for row in rows if row["since"] < last])

    def test_interrupted_and_continued(self):
        """SIGINT stops between two records, exit 5; the line on stderr, typed as it is, does the rest."""
        node, destination = self.dead(12)
        destination.behave = only(lambda effect: effect.entity == "order:1", always(400))
        before = destination.count()
        command = [binary(), "-c", node.config_path, "dlq", "replay", "--route", "out", "--since", "1h", "--rate", "4"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=node.env) as replay:
            until(lambda: destination.count() >= before + 3, "some are replayed")
            replay.send_signal(2)
            out, err = replay.communicate(timeout=10)
        self.assertEqual(replay.returncode, 5, err)
        progress = json_lines(out)
        self.assertTrue(progress and {"v", "done", "total", "failed", "rate", "eta_s"} <= set(progress[-1]), out)
        self.assertEqual((progress[-1]["total"], progress[-1]["failed"]), (12, 0))
        lines = err.decode().strip().splitlines()
        self.assertEqual(len(lines), 1, err)
        again = shell(lines[0].replace("--rate 4", "--rate 400"), node.env)
        self.assertEqual(again.returncode, 0, again.stderr)
        for number in range(12):
            self.ended(node, f"dead-{number}", "dead" if number % 3 == 1 else "applied")
            self.assertEqual(len(destination.of(f"dead-{number}")), 2, "each once more, also what died again")
        until(lambda: len(node.cli_json("dlq", "ls")) == 4, "what died again is listed")

    def test_partly_done(self):
        node, _ = self.dead(2)
        got = node.cli("dlq", "replay", "dead-0", "nosuch", "dead-1", check=5)
        last = json_lines(got.stdout)[-1]
        self.assertEqual(last["failed"], 1)
        self.assertIn("nosuch: ", last["error"])
        self.assertEqual(len(got.stderr.splitlines()), 1, "only how to go on")
        for event_id in ("dead-0", "dead-1"):
            self.ended(node, event_id, "applied")
        self.assertTrue(got.stderr.strip().endswith(b" nosuch"), "what is done is not asked for again")
        self.assertNotIn(b"dead-1", got.stderr)
        missing = [f"nosuch-{number}" for number in range(9)]
        lines = node.cli("dlq", "replay", *missing, check=5).stderr.decode().strip().splitlines()
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[-1].endswith(" --yes " + " ".join(missing)), "how to go on comes last")

    def test_dry_run_of_ids(self):
        """What would be done is on stdout; what a real run would refuse is said, and is exit 5."""
        odd = 'say "no"'
        node, _ = self.dead(2)
        listed = {row["event_id"]: row["id"] for row in node.cli_json("dlq", "ls")}
        got = node.cli("dlq", "replay", "dead-0", listed["dead-1"], "--dry-run")
        self.assertEqual(json_lines(got.stdout), [{"id": "dead-0"}, {"id": listed["dead-1"]}])
        self.assertEqual(got.stderr.decode().strip(), "2 records would be replayed")
        node.cli("dlq", "drop", "dead-1")
        got = node.cli("dlq", "replay", "dead-0", odd, "dead-1", "--dry-run", check=5)
        self.assertEqual(json_lines(got.stdout), [{"id": "dead-0"}])
        said = got.stderr.decode().splitlines()
        self.assertTrue(said[0].startswith(odd + ": "), said)
        self.assertEqual(said[1:], ["dead-1: it is dropped", "1 records would be replayed"])
        self.assertEqual([row["event_id"] for row in node.cli_json("dlq", "ls")], ["dead-0"], "nothing was done")


class Halves(Kit):
    def refused(self, node, half, holder):  # noqa: D102 - other arguments than in Kit, on purpose
        second = Process(half, node.config_path, node.env)
        node.processes.append(second)
        self.assertEqual(second.wait(), 1)
        self.assertRegex(second.log_text(), rf"\b{holder.pid}\b", "the holder's pid")
        self.assertTrue(holder.alive())

    def test_a_second_process_of_the_same_half(self):
        node = self.small({"sw": mapped()})
        ingress, worker = node.start("ingress"), node.start("worker")
        self.refused(node, "ingress", ingress)
        self.refused(node, "worker", worker)
        second = Process("run", node.config_path, node.env)
        node.processes.append(second)
        self.assertEqual(second.wait(), 1)
        self.assertRegex(second.log_text(), rf"\b({ingress.pid}|{worker.pid})\b")
        send(node, "sw", "halves-1", "order:1", 1)
        self.ended(node, "halves-1", "applied")
        (row,) = node.cli_json("status")
        self.assertEqual([row["half"]] + [half["half"] for half in row["halves"]], ["both", "worker", "ingress"])
        self.assertLessEqual({"sources", "queue", "routes", "disk", "ledger"}, set(row))
        worker.kill()
        send(node, "sw", "halves-2", "order:1", 2)
        got = node.cli("status", "--json")
        self.assertEqual([(row["half"], row["queue"]["lag"]) for row in json_lines(got.stdout)], [("ingress", 1)])
        self.assertIn(b"NO worker", got.stderr)
        until(lambda: node.metrics()["postern_queue_oldest_seconds"] > 0, "the ingress tells how long it waits")
        node.stop()
        run = node.start()
        self.refused(node, "worker", run)
        self.refused(node, "ingress", run)
        self.ended(node, "halves-1", "applied")


if __name__ == "__main__":
    report.main()
