"""Programs as handlers: what they get, how they end, and that none outlives the worker."""

import os
import time
import uuid

from lib import report
from lib.kit import Kit, body_of, mapped, send, until
from lib.postern import handler_processes, recorded, recording_script

# The topmost process of the program above the script: the one that works the events.
KILL_WORKER = """
p=$PPID; top=
while [ "$(readlink /proc/$p/exe)" = "$(readlink /proc/$PPID/exe)" ]; do
	top=$p; p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status)
done
"""


class Programs(Kit):
    def node_of(self, script, retry=None, half="run", routes=None, **handler):
        """A node that hands every event to a shell script; the file where the script's calls are recorded."""
        node = self.small({"sw": mapped(tenant="acme")})
        path, log = recording_script(node, then=script)
        node.config["shutdown_timeout_s"] = 2
        node.config["routes"] = [{
            "name": "out", "match": {}, "handler": {"type": "exec", "argv": [path, "one", "two words"], **handler},
            "retry": {"base_ms": 10, "cap_ms": 50, **(retry or {})}, "breaker": {"failures": 1000}, **(routes or {}),
        }]
        node.write_config()
        if half == "run":
            node.start()
        else:
            node.start("ingress")
            node.start("worker")
        return node, log

    def starts(self, log, event_id):
        return [line for line in recorded(log) if line["what"] == "start" and line["event_id"] == event_id]

    def unique(self, name):
        """An id that no other run's processes carry."""
        return f"{name}-{uuid.uuid4().hex[:8]}"

    # ---- what it gets --------------------------------------------------------------------------

    def test_what_a_program_gets(self):
        out = "printf '%s|%s' \"$1\" \"$2\" >\"$0.args\"; cat >\"$0.body\"; env >\"$0.env\"; pwd >\"$0.pwd\""
        node, _ = self.node_of(out)
        body = body_of("order:1", 7, text="caf\u00e9 \u2028")
        self.accepted(node.send("sw", body, "x/1 %", **{"X-Request-Id": "exec-req"}))
        self.ended(node, "x/1 %", "applied")

        def read(name):
            with open(node.path("record.sh." + name), "rb") as made:
                return made.read()

        self.assertEqual((read("args"), read("body")), (b"one|two words", body))
        env = dict(line.split("=", 1) for line in read("env").decode().splitlines() if "=" in line)
        for name, value in {
            "EVENT_ID": "x/1 %", "SOURCE": "sw", "TENANT": "acme", "TYPE": "thing.changed", "ENTITY": "order:1",
            "VERSION": "7", "ATTEMPT": "1", "ROUTE": "out", "REQUEST_ID": "exec-req",
            "IDEMPOTENCY_KEY": "acme/sw/x%2F1%20%25", "CONTENT_TYPE": "application/json",
        }.items():
            self.assertEqual(env["POSTERN_" + name], value, name)
        self.assertNotIn(node.token, read("env").decode())

    def test_no_shell_and_no_leaked_descriptors(self):
        node, _ = self.node_of("ls -l /proc/$$/fd | sed 1d | wc -l >\"$0.fds\"")
        send(node, "sw", "fds-1", "$(touch /tmp/postern-was-a-shell)")
        self.ended(node, "fds-1", "applied")
        with open(node.path("record.sh.fds"), encoding="ascii") as made:
            self.assertLessEqual(int(made.read()), 4, "stdin, stdout, stderr, and the script itself")
        self.assertFalse(os.path.exists("/tmp/postern-was-a-shell"))

    # ---- how it ends ---------------------------------------------------------------------------

    def test_exit_statuses(self):
        script = 'status=${POSTERN_EVENT_ID##*-}; [ "$POSTERN_ATTEMPT" = 1 ] && exit "$status"; exit 0'
        node, log = self.node_of(script)
        for status in (0, 1, 2, 64, 66, 126, 255, 65):
            send(node, "sw", f"exit-{status}", f"order:{status}", 1)
        for status, attempts in ((0, 1), (1, 2), (2, 2), (64, 2), (66, 2), (126, 2), (255, 2)):
            self.assertEqual(self.ended(node, f"exit-{status}", "applied")["attempts"], attempts, status)
        self.assertEqual(self.ended(node, "exit-65", "dead", "HANDLER_REFUSED")["attempts"], 1)
        self.assertEqual(len(self.starts(log, "exit-65")), 1)

    def test_a_crash_is_tried_again(self):
        node, _ = self.node_of('[ "$POSTERN_ATTEMPT" -lt 3 ] && kill -SEGV $$; exit 0')
        send(node, "sw", "crash-1", "order:1", 1)
        self.assertEqual(self.ended(node, "crash-1", "applied")["attempts"], 3)

    def test_a_program_that_is_not_there(self):
        node = self.small({"sw": mapped()}, routes=[{
            "name": "out", "match": {}, "handler": {"type": "exec", "argv": ["/nonexistent/program"]},
            "retry": {"base_ms": 10, "cap_ms": 10, "attempts": 2}}])
        node.start()
        send(node, "sw", "none-1", "order:1", 1)
        self.ended(node, "none-1", "dead", "ATTEMPTS_EXHAUSTED")

    def test_a_hang_ends_with_the_whole_group(self):
        event_id = self.unique("hang")
        node, _ = self.node_of("sleep 600 & sleep 600", {"attempts": 2}, timeout_ms=300)
        start = time.monotonic()
        send(node, "sw", event_id, "order:1", 1)
        send(node, "sw", "beside-1", "order:2", 1, type="other")
        self.assertEqual(self.ended(node, event_id, "dead", "ATTEMPTS_EXHAUSTED")["attempts"], 2)
        self.assertGreater(time.monotonic() - start, 0.6)
        self.assert_no_handlers({event_id})
        self.assertEqual(node.metrics()['postern_retries_total{route="out",reason="HANDLER_TIMEOUT"}'], 2)

    def test_a_flood_of_output(self):
        event_id = self.unique("flood")
        script = "head -c 60000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 0"
        node, _ = self.node_of(script, max_output_bytes=1000)
        send(node, "sw", event_id, "order:1", 1)
        self.ended(node, event_id, "applied")
        with open(f"/proc/{node.processes[-1].pid}/status", encoding="ascii") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        self.assertLess(peak, 200 * 1024, "KiB: what floods is thrown away")

    def test_a_large_body_that_nobody_reads(self):
        node, _ = self.node_of("exit 0")
        for number in range(4):
            send(node, "sw", f"unread-{number}", f"order:{number}", 1, fill="x" * 900000)
            self.ended(node, f"unread-{number}", "applied")

    # ---- death of the worker -------------------------------------------------------------------

    def test_an_event_that_kills_the_worker(self):
        """Three deaths, each alone in work, and it is dead; nobody else pays for it."""
        script = KILL_WORKER + 'case $POSTERN_EVENT_ID in killer*) kill -9 "$top"; sleep 5;; esac'
        node, log = self.node_of(script)
        killer = self.unique("killer")
        for number in range(6):
            send(node, "sw", f"innocent-{number}", f"order:{number}", 1)
        send(node, "sw", killer, "order:k", 1)
        deaths = 0

        def settled():
            nonlocal deaths
            if not node.processes[-1].alive():
                deaths += 1
                self.assertLessEqual(deaths, 8, "a crash loop")
                node.start(ready=False)
            # It may die at any moment: no answer is none.
            status, got = node.ask("/v1/events/" + killer)
            return status == 200 and got["items"][0]["outcome"] == "dead"

        until(settled, "the killer is dead", 40)
        self.assertEqual(node.event(killer)[0]["code"], "CRASH_LOOP")
        # The first death may have had company; three must have been its own.
        self.assertIn(deaths, (3, 4))
        self.assertEqual(len(self.starts(log, killer)), deaths)
        send(node, "sw", "after-1", "order:k", 2)
        for event_id in ("after-1", *(f"innocent-{number}" for number in range(6))):
            self.ended(node, event_id, "applied")
        self.assertEqual([row["event_id"] for row in node.cli_json("dlq", "ls")], [killer])
        self.assertTrue(node.processes[-1].alive())

    def test_a_program_that_kills_its_parent(self):
        """The parent is only a keeper: it is replaced, and the call is made again."""
        event_id = self.unique("parent")
        node, log = self.node_of('[ "$(wc -l <"${0%.sh}.log")" -gt 1 ] || { kill -9 $PPID; sleep 5; }; exit 0')
        send(node, "sw", event_id, "order:1", 1)
        self.ended(node, event_id, "applied")
        self.assertEqual(len(self.starts(log, event_id)), 2)
        self.assertTrue(node.processes[-1].alive())
        self.assert_no_handlers({event_id})

    def outlive(self, half, event_id, end):
        # One child in the group, one that left it, and a grandchild.
        script = "sleep 600 & setsid sleep 600 & (sleep 600 & wait) & wait"
        node, log = self.node_of(script, half=half, timeout_ms=60000)
        send(node, "sw", event_id, "order:1", 1)
        until(lambda: self.starts(log, event_id), "started")
        until(lambda: len(handler_processes({event_id})) >= 4, "all of them run")
        end(node.running("worker" if half != "run" else "run")[0])
        self.assert_no_handlers({event_id})
        return node

    def test_no_child_outlives_a_killed_worker(self):
        for half in ("run", "worker"):
            with self.subTest(half):
                self.outlive(half, self.unique("outlive-" + half), lambda process: process.kill())

    def test_no_child_outlives_a_stop(self):
        """A handler that does not end within shutdown_timeout_s is ended, and its event is not lost."""
        event_id = self.unique("stopped")
        node = self.outlive("run", event_id, lambda process: self.assertEqual(process.stop(), 0))
        path, _ = recording_script(node, "quick")
        node.config["routes"][0]["handler"]["argv"] = [path]
        node.write_config()
        node.start()
        self.ended(node, event_id, "applied")


if __name__ == "__main__":
    report.main()
