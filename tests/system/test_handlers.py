"""Destinations and programs that fail, hang, flap, flood and kill: every event ends as it should."""

import time

from lib import destination as dest
from lib import report
from lib.destination import Destination, Reply
from lib.postern import MAPPING, SystemTest, body_of, handler_processes, recorded, recording_script
from lib.senders import StandardWebhooks

QUICK = {"attempts": 6, "base_ms": 50, "cap_ms": 200}


def route(handler, **members):
    return {"name": "out", "match": {}, "handler": handler, "retry": QUICK, **members}


def http(destination, path="/in", **members):
    return {"type": "http", "url": destination.url(path), "timeout_ms": 2000, **members}


class WithSource(SystemTest):
    def make(self, *routes, **config):
        """A running node with one source, `things`."""
        node = self.node({"things": (StandardWebhooks(), MAPPING)}, list(routes), **config)
        node.start()
        return node

    def send(self, node, event_id, entity=None, version=None, **members):
        answer = node.send("things", body_of(entity, version, **members), event_id)
        self.assertEqual((answer.status, answer.code), (200, "ACCEPTED"))

    def ends(self, node, event_id, outcome, **members):
        """The event ends so; its row."""
        row = node.wait_outcome(event_id, "applied", "stale", "dead", "quarantined", "duplicate")
        self.assertEqual(row["outcome"], outcome, row)
        for name, value in members.items():
            self.assertEqual(row[name], value, row)
        return row


    def dead_letter(self, node, event_id):
        """Its row in `dlq ls`: it is published once the outcome is committed, so it may take a moment."""
        def look():
            return [row for row in node.cli_json("dlq", "ls") if row["event_id"] == event_id]

        (row,) = self.until(look, f"{event_id} in the dlq")
        return row


class Http(WithSource):
    def test_what_a_destination_gets(self):
        destination = self.cleanup(Destination())
        signer = StandardWebhooks()
        node = self.node({"things": (StandardWebhooks(), MAPPING)}, [])
        key = node.write_key("out.key", signer.key_text())
        node.config["routes"] = [route(http(destination, sign_key={"file": key}))]
        node.write_config()
        node.start()
        body = body_of("order:1", 7, type="order.paid")
        self.assertEqual(node.send("things", body, "evt 1/2%").status, 200)
        self.ends(node, "evt 1/2%", "applied", attempts=1)
        (effect,) = destination.snapshot()
        self.assertEqual(effect.body, body)
        self.assertEqual(effect.path, "/in")
        self.assertEqual(effect.headers["idempotency-key"], "default/things/evt%201%2F2%25")
        self.assertEqual(effect.headers["ce-specversion"], "1.0")
        self.assertEqual(effect.headers["ce-source"], "/default/things")
        self.assertEqual(effect.headers["ce-type"], "order.paid")
        self.assertEqual(effect.headers["ce-subject"], "order:1")
        self.assertEqual(effect.headers["content-type"], "application/json")
        self.assertIn("traceparent", effect.headers)
        self.assertTrue(signer.verify(effect.headers, effect.body))

    def test_failures_that_may_pass_are_retried(self):
        for status in (408, 425, 429, 500, 503):
            with self.subTest(status=status):
                destination = self.cleanup(Destination(dest.failing_first(2, status)))
                node = self.make(route(http(destination)))
                self.send(node, "e1", "a", 1)
                self.ends(node, "e1", "applied", attempts=3)
                self.assertEqual(destination.count(), 3)
                node.stop()

    def test_failures_that_will_not_pass_are_dead(self):
        for status in (302, 400, 404, 410):
            with self.subTest(status=status):
                destination = self.cleanup(Destination(dest.always(status, headers={"Location": "/elsewhere"})))
                node = self.make(route(http(destination)))
                self.send(node, "e1", "a", 1)
                self.ends(node, "e1", "dead", attempts=1)
                self.assertEqual([effect.path for effect in destination.snapshot()], ["/in"])
                self.dead_letter(node, "e1")
                self.assertIsNone(node.state("a"))
                node.stop()

    def test_attempts_are_bounded(self):
        destination = self.cleanup(Destination(dest.always(503)))
        node = self.make(route(http(destination), retry={**QUICK, "attempts": 3}))
        self.send(node, "e1", "a", 1)
        self.ends(node, "e1", "dead", attempts=3)
        self.assertEqual(destination.count(), 3)

    def test_retry_after_is_respected(self):
        destination = self.cleanup(Destination(dest.busy(1, retry_after=2)))
        node = self.make(route(http(destination)))
        self.send(node, "e1", "a", 1)
        self.ends(node, "e1", "applied", attempts=2)
        first, second = destination.snapshot()
        self.assertGreaterEqual(second.started - first.started, 1.9)

    def test_one_that_hangs_or_resets_is_tried_again(self):
        for reply in (Reply(hang=True), Reply(reset=True)):
            with self.subTest(reply=vars(reply)):
                destination = self.cleanup(Destination(lambda effect, nth, r=reply: r if nth == 1 else Reply()))
                node = self.make(route(http(destination, timeout_ms=300)))
                self.send(node, "e1", "a", 1)
                self.ends(node, "e1", "applied", attempts=2)
                node.stop()

    def test_one_that_is_away_gets_everything_when_it_is_back(self):
        away = Destination()
        port = away.port
        away.close()
        node = self.make(route(http(away), retry={**QUICK, "attempts": 1000}, breaker={"open_s": 1}))
        for n in range(1, 11):
            self.send(node, f"e{n}", f"entity-{n % 3}", n)
        node.wait_outcome("e1", "parked")
        back = self.cleanup(Destination(port=port))
        for n in range(1, 11):
            self.ends(node, f"e{n}", "applied")
        order = {}
        for effect in back.snapshot():
            order.setdefault(effect.entity, []).append(effect.version)
        for versions in order.values():
            self.assertEqual(versions, sorted(versions))

    def test_an_open_breaker_uses_no_attempts_up(self):
        destination = self.cleanup(Destination(dest.always(503)))
        node = self.make(
            route(http(destination), retry={**QUICK, "attempts": 30}, breaker={"failures": 5, "open_s": 2})
        )
        for n in range(20):
            self.send(node, f"e{n}", f"entity-{n}", 1)

        def breaker():
            return node.ask("/v1/status")[1]["routes"]["out"]["breaker"]

        self.until(lambda: breaker() == "open", "the breaker is open")
        destination.behave = dest.always(200)
        for n in range(20):
            self.ends(node, f"e{n}", "applied")
        self.until(lambda: breaker() == "closed", "the breaker is closed")
        self.assertLess(destination.count(), 20 + 40)

    def test_one_that_flaps_loses_nothing(self):
        destination = self.cleanup(Destination(dest.flapping(0.5)))
        node = self.make(
            route(http(destination), retry={**QUICK, "attempts": 200}, breaker={"failures": 1000, "ratio": 1, "open_s": 1})
        )
        for n in range(1, 61):
            self.send(node, f"e{n}", f"entity-{n % 6}", n)
            time.sleep(0.03)
        node.wait_drained(patience=60)
        self.assertTrue(any(effect.status == 503 for effect in destination.snapshot()))
        for n in range(1, 61):
            self.assertEqual(node.outcome(f"e{n}"), "applied")
        for entity in range(6):
            good = [e.version for e in destination.snapshot() if e.ok and e.entity == f"entity-{entity}"]
            self.assertEqual(good, sorted(set(good)))

    def test_one_hanging_key_delays_no_other(self):
        def p99(node, destination, name):
            sent, waits = {}, []
            for n in range(100):
                sent[f"{name}{n}"] = time.monotonic()
                self.send(node, f"{name}{n}", f"{name}-{n % 10}", n + 1)
                time.sleep(0.01)
            node.wait_outcome(f"{name}99", "applied")
            self.until(lambda: sum(e.event_id in sent for e in destination.snapshot()) >= 100, "all effects")
            for effect in destination.snapshot():
                if effect.event_id in sent:
                    waits.append(effect.started - sent[effect.event_id])
            return sorted(waits)[98]

        destination = self.cleanup(Destination(dest.only(lambda e: e.entity == "slow", lambda e, n: Reply(hang=True))))
        node = self.make(route(http(destination, timeout_ms=5000)))
        alone = p99(node, destination, "alone")
        self.send(node, "hanging", "slow", 1)
        self.until(lambda: destination.of("hanging"), "the hanging call")
        beside = p99(node, destination, "beside")
        print(f"    p99 alone {alone * 1000:.1f} ms, beside a hanging key {beside * 1000:.1f} ms")
        # Twice, and a few turns of a busy machine's scheduler.
        self.assertLessEqual(beside, 2 * alone + 0.1)
        self.assertIn(node.outcome("hanging"), ("parked", "pending"))


class Exec(WithSource):
    def program(self, then, **members):
        """A node whose only route is a program that runs `then`; the node and the program's records."""
        node = self.node({"things": (StandardWebhooks(), MAPPING)}, [])
        script, log = recording_script(node, then=then)
        node.config["routes"] = [route({"type": "exec", "argv": [script], "timeout_ms": 5000, **members})]
        node.write_config()
        node.start()
        return node, log

    def test_what_a_program_gets(self):
        node, _ = self.program('cat >"$0.body"; env >"$0.env"')
        body = body_of("order:1", 7, type="order.paid")
        self.assertEqual(node.send("things", body, "evt 1").status, 200)
        self.ends(node, "evt 1", "applied", attempts=1)
        with open(node.path("record.sh.body"), "rb") as got:
            self.assertEqual(got.read(), body)
        with open(node.path("record.sh.env"), encoding="utf-8") as lines:
            env = dict(line.rstrip("\n").split("=", 1) for line in lines)
        for name, value in {
            "EVENT_ID": "evt 1", "SOURCE": "things", "TENANT": "default", "TYPE": "order.paid",
            "ENTITY": "order:1", "VERSION": "7", "ATTEMPT": "1", "ROUTE": "out",
        }.items():
            self.assertEqual(env["POSTERN_" + name], value)

    def test_exit_statuses(self):
        for then, outcome, attempts in (
            ("exit 0", "applied", 1),
            ("exit 65", "dead", 1),
            ("exit 1", "dead", 6),
            ("kill -SEGV $$", "dead", 6),
            ('[ "$POSTERN_ATTEMPT" = 3 ]', "applied", 3),
        ):
            with self.subTest(then=then):
                node, log = self.program(then)
                self.send(node, "e1", "a", 1)
                self.ends(node, "e1", outcome, attempts=attempts)
                starts = [row for row in recorded(log) if row["what"] == "start"]
                self.assertEqual([row["attempt"] for row in starts], [str(n + 1) for n in range(attempts)])
                node.stop()

    def test_one_that_floods_its_output(self):
        node, _ = self.program("head -c 30000000 /dev/zero; head -c 30000000 /dev/zero >&2")
        self.send(node, "e1", "a", 1)
        self.ends(node, "e1", "applied", attempts=1)

    def test_one_that_prints_the_body_is_not_logged(self):
        """The leak search at the end of the suite reads the logs for it."""
        node, _ = self.program("cat; cat <&0 >&2; exit 3")
        self.send(node, "e1", "a", 1)
        self.ends(node, "e1", "dead")

    def test_one_that_reads_nothing(self):
        node, _ = self.program("exec 0<&-; exit 0")
        body = body_of("a", 1, filler="x" * 500000)
        self.assertEqual(node.send("things", body, "e1").status, 200)
        self.ends(node, "e1", "applied", attempts=1)

    def test_one_that_hangs_dies_with_its_children(self):
        node, _ = self.program("sleep 600 & sleep 600 & wait", timeout_ms=400)
        self.send(node, "hang-1", "a", 1)
        self.ends(node, "hang-1", "dead", attempts=6)
        self.assert_no_handlers({"hang-1"})

    def test_none_outlives_a_killed_worker(self):
        node, log = self.program("sleep 600 & setsid sleep 600 & wait")
        ids = {f"outlive-{n}" for n in range(5)}
        for event_id in ids:
            self.send(node, event_id, event_id, 1)
        self.until(lambda: len(recorded(log)) >= 5, "all programs run")
        self.assertGreaterEqual(len(handler_processes(ids)), 10)
        node.running()[0].kill()
        self.assert_no_handlers(ids)

    def test_an_event_that_kills_the_worker_is_dead_after_three(self):
        node = self.node({"things": (StandardWebhooks(), MAPPING)}, [])
        pid_file = node.path("worker.pid")
        poison = (
            'if [ "$POSTERN_EVENT_ID" = poison ]; then '
            f"until [ -s {pid_file} ]; do sleep 0.02; done; "
            f'kill -9 "$(cat {pid_file})"; sleep 600; fi'
        )
        script, _ = recording_script(node, then=poison)
        node.config["routes"] = [route({"type": "exec", "argv": [script], "timeout_ms": 20000})]
        node.write_config()

        def start():
            """The program waits for the file: it must not hold the pid of the one before."""
            open(pid_file, "w", encoding="ascii").close()
            process = node.start()
            with open(pid_file, "w", encoding="ascii") as out:
                out.write(str(process.pid))
            return process

        process = start()
        for n in range(1, 11):
            self.send(node, f"fine-{n}", f"entity-{n % 3}", n)
        self.send(node, "poison", "poison", 1)
        self.send(node, "after", "poison", 2)
        deaths = 0
        while deaths < 10:
            self.until(lambda: not process.alive() or self._poison_ended(node), "death or end of the poison")
            if process.alive():
                break
            deaths += 1
            process = start()
        self.ends(node, "poison", "dead")
        self.ends(node, "after", "applied")
        self.assertLessEqual(deaths, 4)
        for n in range(1, 11):
            self.ends(node, f"fine-{n}", "applied")
        self.assertEqual(self.dead_letter(node, "poison")["reason"], "CRASH_LOOP")

    @staticmethod
    def _poison_ended(node):
        try:
            rows = node.event("poison")
        except (AssertionError, OSError):
            return False
        return bool(rows) and rows[0]["outcome"] not in ("parked", "pending")


if __name__ == "__main__":
    report.main()
