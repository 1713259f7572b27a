"""Handlers end to end: what is retried, when, how often; what is given up; what waits and what must not wait."""

import email.utils
import json
import time

from lib import report
from lib.destination import Destination, Reply, always, busy, failing_first, only
from lib.kit import FAST_RETRY, Kit, body_of, mapped, percentile, send, until
from lib.senders import StandardWebhooks
from lib.wire import free_ports

DLQ_HEADERS = ("reason", "route", "attempts", "error", "topic", "partition", "offset", "first-failed", "last-failed")


def to(destination, name="out", match=None, **members):
    """A route to a destination."""
    route = {"name": name, "match": match or {}, "handler": {"type": "http", "url": destination.url("/in")},
             "retry": dict(FAST_RETRY), "breaker": {"open_s": 1}}
    for member, value in members.items():
        route[member] = {**route[member], **value} if isinstance(route.get(member), dict) else value
    return route


class Handlers(Kit):
    def started(self, behave=None, sources=None, **route):
        """A node whose one route leads to one destination."""
        destination = self.cleanup(Destination(behave))
        node = self.small(sources or {"sw": mapped()}, routes=[to(destination, **route)])
        node.start()
        return node, destination

    # ---- the request ---------------------------------------------------------------------------

    def test_what_a_destination_gets(self):
        out = StandardWebhooks()
        destination = self.cleanup(Destination())
        route = to(destination)
        route["handler"]["sign_key"] = {"file": "keys/out.key"}
        node = self.small({"sw": mapped(tenant="acme")}, routes=[route])
        node.write_key("out.key", out.key_text())
        node.start()
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        body = body_of("order:1", 7)
        event_id = "evt/1 %x"
        self.accepted(node.send("sw", body, event_id, traceparent=trace), event_id)
        effect = until(destination.snapshot, "an effect")[0]
        self.assertEqual((effect.path, effect.body), ("/in", body))
        headers = effect.headers
        self.assertEqual(headers["idempotency-key"], "acme/sw/evt%2F1%20%25x")
        self.assertEqual(headers["ce-specversion"], "1.0")
        self.assertEqual(headers["ce-source"], "/acme/sw")
        self.assertEqual((headers["ce-type"], headers["ce-subject"]), ("thing.changed", "order:1"))
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(headers["traceparent"].split("-")[1], trace.split("-")[1])
        self.assertTrue(out.verify(headers, body))
        self.assertEqual(self.ended(node, event_id, "applied")["attempts"], 1)

    # ---- retries -------------------------------------------------------------------------------

    def test_retried_until_it_passes(self):
        node, destination = self.started(failing_first(4), retry={"base_ms": 40, "cap_ms": 150, "attempts": 10})
        send(node, "sw", "retry-1", "order:1", 1)
        self.assertEqual(self.ended(node, "retry-1", "applied")["attempts"], 5)
        effects = destination.of("retry-1")
        self.assertEqual([e.ok for e in effects], [False] * 4 + [True])
        for before, after in zip(effects, effects[1:]):  # random(0, min(cap, base * 2^n)), and some way to go
            self.assertLess(after.started - before.ended, 0.15 + 0.5)
        self.assertEqual(len({e.key for e in effects}), 1, "one idempotency key")
        self.assertEqual(node.metrics()['postern_retries_total{route="out",reason="HANDLER_FAILED"}'], 4)

    def test_retry_after_is_respected(self):
        node, destination = self.started(busy(1, 1))
        send(node, "sw", "after-1", "order:1", 1)
        self.ended(node, "after-1", "applied")
        first, second = destination.of("after-1")
        self.assertGreater(second.started - first.ended, 0.95)
        # As a date too: whole seconds, so that at least one of the three is left.
        destination.behave = busy(1, email.utils.formatdate(time.time() + 3, usegmt=True))
        send(node, "sw", "after-2", "order:2", 1)
        self.ended(node, "after-2", "applied")
        first, second = destination.of("after-2")
        self.assertGreater(second.started - first.ended, 0.95)

    def test_each_status(self):
        """What may pass is tried again; what will not is dead at once, a redirect too."""
        passing, final = (408, 425, 429, 500, 503, 599), (301, 302, 307, 400, 401, 404, 409, 410, 422)

        def behave(effect, nth):
            status = int(effect.event_id.split("-")[1])
            return Reply(status, {"Location": "/elsewhere"} if status < 400 else {}) if nth == 1 else Reply()

        node, destination = self.started(behave, breaker={"failures": 100})
        for status in (*passing, *final):
            send(node, "sw", f"status-{status}", f"order:{status}", 1)
        for status in passing:
            self.assertEqual(self.ended(node, f"status-{status}", "applied")["attempts"], 2)
        for status in final:
            row = self.ended(node, f"status-{status}", "dead", "HANDLER_REFUSED")
            self.assertEqual((row["attempts"], len(destination.of(f"status-{status}"))), (1, 1))
        self.assertFalse([e for e in destination.snapshot() if e.path != "/in"], "a redirect was followed")

    def test_given_up(self):
        node, destination = self.started(always(503), retry={"attempts": 3}, breaker={"failures": 1000})
        send(node, "sw", "gone-1", "order:1", 1)
        self.assertEqual(self.ended(node, "gone-1", "dead", "ATTEMPTS_EXHAUSTED")["attempts"], 3)
        self.assertEqual(len(destination.of("gone-1")), 3)
        node, _ = self.started(always(503), retry={"attempts": 1000, "max_age_s": 1}, breaker={"failures": 100000})
        send(node, "sw", "old-1", "order:1", 1)
        self.ended(node, "old-1", "dead", "AGE_EXHAUSTED")

    def test_nobody_listens_and_nobody_answers(self):
        port = free_ports(1)[0]
        routes = [{
            "name": "out", "match": {},
            "handler": {"type": "http", "url": f"http://127.0.0.1:{port}/in", "timeout_ms": 300},
            "retry": {**FAST_RETRY, "attempts": 200}, "breaker": {"failures": 1000, "open_s": 1},
        }]
        node = self.small({"sw": mapped()}, routes=routes)
        node.start()
        send(node, "sw", "away-1", "order:1", 1)
        unreachable = 'postern_retries_total{route="out",reason="HANDLER_UNREACHABLE"}'
        until(lambda: node.metrics()[unreachable] >= 2, "it was tried")
        row = self.ended(node, "away-1", "parked")
        self.assertEqual((row["parked"], row["code"] is not None or row["error"] is not None), ("retry", True))
        hanging = Destination(lambda effect, nth: Reply(hang=True) if nth <= 2 else Reply(), port)
        self.cleanup(hanging)
        self.ended(node, "away-1", "applied")
        self.assertGreaterEqual(node.metrics()['postern_retries_total{route="out",reason="HANDLER_TIMEOUT"}'], 2)

    def test_dead_letters_hold_everything(self):
        node, _ = self.started(always(400), sources={"sw": mapped(tenant="acme")})
        body = body_of("order:1", 7, note="caf\u00e9 \u2028 \\u0000")
        self.accepted(node.send("sw", body, "dead-1", **{"X-Request-Id": "dead-req"}))
        self.ended(node, "dead-1", "dead")
        listed = until(lambda: node.cli_json("dlq", "ls"), "listed")[0]
        self.assertEqual((listed["event_id"], listed["route"], listed["reason"]), ("dead-1", "out", "HANDLER_REFUSED"))
        for name in (listed["id"], "dead-1"):
            row = node.cli_json("dlq", "show", name, shows_records=True)[0]
            self.assertEqual((row["body"].encode(), row["key"]), (body, "acme/order:1"))
            headers = row["headers"]
            self.assertEqual([n for n in DLQ_HEADERS if f"postern-dlq-{n}" not in headers], [])
            self.assertEqual(headers["postern-dlq-reason"], "HANDLER_REFUSED")
            self.assertEqual((headers["postern-dlq-route"], headers["postern-dlq-attempts"]), ("out", "1"))
            self.assertIn("400", headers["postern-dlq-error"])
            self.assertEqual((headers["ce_id"], headers["ce_subject"]), ("dead-1", "order:1"))
            self.assertEqual(headers["ce_source"], "/acme/sw")
            self.assertEqual((headers["postern-request-id"], headers["postern-version"]), ("dead-req", "7"))
            self.assertIn("postern-h-webhook-id", headers)
        self.assertEqual(node.metrics()['postern_dead_letters_total{route="out",reason="HANDLER_REFUSED"}'], 1)
        self.assertIsNone(node.state("order:1", "acme"), "nothing was applied")

    # ---- the breaker ---------------------------------------------------------------------------

    def test_an_open_breaker_burns_no_attempts(self):
        node, destination = self.started(
            always(503), retry={"attempts": 60}, breaker={"failures": 3, "window_s": 5, "open_s": 1}, concurrency=2)

        def breaker():
            return node.ask("/v1/status")[1]["routes"]["out"]["breaker"]

        for number in range(12):
            send(node, "sw", f"broken-{number}", f"order:{number}", 1)
        until(lambda: breaker() == "open", "open")
        destination.behave = always(200)
        for number in range(12):
            row = self.ended(node, f"broken-{number}", "applied")
            self.assertEqual(row["attempts"], len(destination.of(f"broken-{number}")), "only calls count")
        started = [effect.started for effect in destination.snapshot()]
        rests = [after - before for before, after in zip(started, started[1:])]
        self.assertGreater(max(rests), 0.5, "it rested")
        until(lambda: breaker() == "closed", "closed")

    # ---- waiting -------------------------------------------------------------------------------

    def test_parked_per_key(self):
        """A failing entity keeps its order and holds up nobody else."""
        failing = only(lambda e: e.entity == "order:bad", always(503))
        node, destination = self.started(failing, retry={"attempts": 1000}, breaker={"failures": 10000})
        for version in (1, 2, 3):
            send(node, "sw", f"bad-{version}", "order:bad", version)
        for number in range(20):
            send(node, "sw", f"good-{number}", f"order:{number}", 1)
        for number in range(20):
            self.ended(node, f"good-{number}", "applied")
        self.ended(node, "bad-1", "parked")
        until(lambda: len(destination.of("bad-1")) > 2, "tried again and again")
        self.assertEqual([destination.of(f"bad-{v}") for v in (2, 3)], [[], []], "the ones behind wait")
        self.assertEqual(node.ask("/v1/status")[1]["routes"]["out"]["parked"], 3)
        self.assertEqual(node.metrics()["postern_parked_events"], 3)
        destination.behave = always(200)
        for version in (1, 2, 3):
            self.ended(node, f"bad-{version}", "applied")
        good = [e.event_id for e in destination.snapshot() if e.ok and e.entity == "order:bad"]
        self.assertEqual(good, ["bad-1", "bad-2", "bad-3"])
        self.assertEqual(node.state("order:bad")["version"], "3")

    def latencies(self, node, destination, round_, count=150):
        """Seconds from the request to the effect, for events of many entities."""
        sent = {}
        for number in range(count):
            event_id = f"{round_}-{number}"
            sent[event_id] = time.monotonic()
            send(node, "sw", event_id, f"{round_}:{number % 25}", number)
        until(lambda: all(destination.of(f"{round_}-{number}") for number in range(count)), "all had their effect")
        return [destination.of(event_id)[0].started - start for event_id, start in sent.items()]

    def test_one_hanging_key_delays_nobody(self):
        hanging = only(lambda e: e.entity == "order:hang", lambda e, nth: Reply(hang=True))
        node, destination = self.started(hanging, handler={"timeout_ms": 20000})
        self.latencies(node, destination, "warm", 30)
        alone = percentile(self.latencies(node, destination, "alone"), 0.99)
        send(node, "sw", "hang-1", "order:hang", 1)
        until(lambda: destination.of("hang-1"), "it hangs")
        beside = percentile(self.latencies(node, destination, "beside"), 0.99)
        self.assertLess(beside, 2 * alone + 0.02, f"{alone:.4f} s alone")
        row = self.ended(node, "hang-1", "parked")
        self.assertEqual(row["parked"], "running")
        self.assertEqual(len(destination.of("hang-1")), 1)

    def test_a_full_park_pauses_the_worker_and_loses_nothing(self):
        destination = self.cleanup(Destination(always(503)))
        node = self.small(
            {"sw": mapped()}, worker={"parked_max_events": 5},
            routes=[to(destination, retry={"attempts": 1000}, breaker={"failures": 100000})])
        node.start("ingress")
        node.start("worker")
        for number in range(20):
            send(node, "sw", f"full-{number}", f"order:{number}", 1)
        ready = until(lambda: node.worker_api.get("/readyz").status == 503 and node.worker_api.get("/readyz"), "paused")
        self.assertTrue(ready.json()["reasons"][0]["detail"])
        self.assertTrue(node.ask("/v1/status", node.worker_api)[1]["paused"])
        parked = node.metrics(node.worker_api)["postern_parked_events"]
        for number in range(20, 60):
            send(node, "sw", f"full-{number}", f"order:{number}", 1)
        self.assertEqual(self.ended(node, "full-59", "pending")["attempts"], 0)
        self.assertEqual(node.metrics(node.worker_api)["postern_parked_events"], parked, "it takes no more")
        self.assertEqual(node.api.get("/readyz").status, 200, "the ingress has room")
        destination.behave = always(200)
        for number in range(60):
            self.ended(node, f"full-{number}", "applied")
        until(lambda: node.worker_api.get("/readyz").status == 200, "ready again")

    # ---- restarts ------------------------------------------------------------------------------

    def test_attempts_survive_restarts(self):
        for stop in ("stop", "kill"):
            with self.subTest(stop):
                node, destination = self.started(
                    always(503), retry={"attempts": 6, "base_ms": 250, "cap_ms": 250}, breaker={"failures": 1000})
                send(node, "sw", "again-1", "order:1", 1)
                until(lambda: len(destination.of("again-1")) >= 2, "two attempts")
                until(lambda: node.event("again-1")[0]["attempts"] >= 2, "written down")
                getattr(node.processes[-1], stop)()
                node.start()
                row = self.ended(node, "again-1", "dead", "ATTEMPTS_EXHAUSTED")
                self.assertEqual(row["attempts"], 6)
                # A kill may cost the memory of the attempt that was under way, no other.
                self.assertIn(len(destination.of("again-1")), (6,) if stop == "stop" else (6, 7))

    def test_a_stop_waits_for_what_runs(self):
        """SIGTERM: a handler that ends within the timeout has its result kept, and no second call."""
        node, destination = self.started(always(200, delay=0.6))
        for number in range(5):
            send(node, "sw", f"last-{number}", f"order:{number}", 1)
        until(lambda: destination.count() >= 1, "under way")
        node.stop()
        destination.behave = always(200)
        node.start()
        for number in range(5):
            self.ended(node, f"last-{number}", "applied")
            self.assertEqual(len(destination.of(f"last-{number}")), 1, f"last-{number}")

    def test_the_first_route_that_fits(self):
        one, two = self.cleanup(Destination()), self.cleanup(Destination())
        node = self.small({"sw": mapped(tenant="acme"), "other": mapped()}, routes=[
            to(one, "one", {"source": "s*", "type": "order.*"}), to(two, "two", {"tenant": "acme"}),
        ])
        node.start()
        send(node, "sw", "r-1", type="order.paid")
        send(node, "sw", "r-2", type="user.made")
        send(node, "other", "r-3", "order:3", 4)
        for event_id, route in (("r-1", "one"), ("r-2", "two"), ("r-3", "")):
            self.assertEqual(self.ended(node, event_id, "applied")["route"], route)
        self.assertEqual((one.count(), two.count()), (1, 1))
        self.assertEqual(json.loads(node.cli("state", "get", "order:3", "--json").stdout)["version"], "4")


if __name__ == "__main__":
    report.main()
