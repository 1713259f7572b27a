"""The checkers themselves: a good history passes, and each kind of broken one is found out."""

import os
import tempfile
import unittest

from lib import leaks, report
from lib.destination import Destination, failing_first
from lib.history import History
from lib.postern import body_of
from lib.senders import GitHub, Shopify, StandardWebhooks, Stripe
from lib.wire import Answer, Http


class Seen:
    """An effect, as the destination notes it."""

    def __init__(self, event_id, entity, version, ok=True, life=1):
        self.event_id, self.entity, self.version, self.ok, self.life = event_id, entity, version, ok, life


def good_history():
    """Two entities; an event that is stale, one that is dead, one refused, one without an answer."""
    history = History()
    for event_id, entity, version, status, code, outcome in (
        ("e1", "a", 1, 200, "ACCEPTED", "applied"),
        ("e2", "a", 3, 200, "ACCEPTED", "applied"),
        ("e2", "a", 3, 200, "ACCEPTED", "applied"),
        ("e3", "a", 2, 200, "ACCEPTED", "stale"),
        ("e4", "b", 9, 200, "ACCEPTED", "dead"),
        ("e5", "b", 4, None, None, "applied"),
        ("e6", "b", 5, None, None, None),
        ("e7", "b", 99, 503, "UNAVAILABLE", None),
    ):
        history.note(event_id, entity, version, _answer(status, code))
        if outcome:
            history.events[event_id] = [{"event_id": event_id, "outcome": outcome}]
    history.note("bad", "a", 1000, _answer(401, "BAD_SIGNATURE"), good=False)
    history.states = {"a": {"version": "3", "event_id": "e2"}, "b": {"version": "4", "event_id": "e5"}}
    history.dead = [{"event_id": "e4"}]
    history.effects = [
        Seen("e1", "a", 1, ok=False), Seen("e1", "a", 1), Seen("e4", "b", 9, ok=False),
        Seen("e2", "a", 3), Seen("e5", "b", 4),
    ]
    return history


def _answer(status, code):
    body = b"" if code in (None, "ACCEPTED") else b'{"code":"%s"}' % code.encode()
    return Answer(status, {}, body)


def _drop_event(history):
    del history.events["e1"]


def _pending(history):
    history.events["e1"] = [{"event_id": "e1", "outcome": "pending"}]


def _odd_outcome(history):
    history.events["e1"] = [{"event_id": "e1", "outcome": "refused"}]


def _refused_known(history):
    history.events["bad"] = [{"event_id": "bad", "outcome": "applied"}]


def _refused_effect(history):
    history.effects.append(Seen("bad", "", None))


def _refused_state(history):
    history.states["a"] = {"version": "1000", "event_id": "bad"}


def _twice(history):
    history.events["e1"] = history.events["e1"] * 2


def _not_in_dlq(history):
    history.dead = []


def _twice_in_dlq(history):
    history.dead = history.dead * 2


def _applied_in_dlq(history):
    history.dead.append({"event_id": "e1"})


def _old_version(history):
    history.states["a"] = {"version": "1", "event_id": "e1"}


def _wrong_event(history):
    history.states["a"] = {"version": "3", "event_id": "e1"}


def _dead_version(history):
    history.states["b"] = {"version": "9", "event_id": "e4"}


def _no_state(history):
    history.states["b"] = None


def _highest_stale(history):
    history.events["e2"] = [{"event_id": "e2", "outcome": "stale"}]


def _unsent_effect(history):
    history.effects.append(Seen("ghost", "c", 1))


def _no_effect(history):
    history.effects = [effect for effect in history.effects if effect.event_id != "e2"]


def _stale_effect(history):
    history.effects.append(Seen("e3", "a", 2))


def _repeated(history):
    history.effects.insert(2, Seen("e1", "a", 1))


def _reordered(history):
    history.effects.append(Seen("e1", "a", 1, ok=False))


def _skipped(history):
    """The second life runs an event that the first one passed over."""
    history.effects = [Seen("e2", "a", 3), Seen("e4", "b", 9, ok=False), Seen("e5", "b", 4), Seen("e1", "a", 1, life=2)]


def _reordered_life(history):
    history.effects += [Seen("e2", "a", 3, life=2), Seen("e1", "a", 1, life=2)]


def _older_later(history):
    history.effects.append(Seen("e5", "a", 2))


BROKEN = {
    "lost: e1": _drop_event,
    "not ended: e1": _pending,
    "odd outcome: e1": _odd_outcome,
    "refused but known: bad": _refused_known,
    "refused but had an effect: bad": _refused_effect,
    "refused but in the state: bad": _refused_state,
    "twice: e1": _twice,
    "dead but not in dlq: e4": _not_in_dlq,
    "dlq lists e4 more than once": _twice_in_dlq,
    "in dlq but applied: e1": _applied_in_dlq,
    "a: version 1, but the highest is 3": _old_version,
    "a: version 3 is said to come from e1": _wrong_event,
    "b: version 9, but the highest is 4": _dead_version,
    "b: no state": _no_state,
    "a: the highest version 3 (e2) is stale": _highest_stale,
    "effect of an event that nobody sent there: ghost": _unsent_effect,
    "applied without a successful effect: e2": _no_effect,
    "stale, but had an effect: e3": _stale_effect,
    "2 successful effects of e1": _repeated,
    "a: e1 again after e2": _reordered,
    "a: version 2 after 3": _older_later,
    "a: version 1 after 3": _skipped,
    "a: version 1 after 3 in one life": _reordered_life,
}


class HistoryChecker(unittest.TestCase):
    def test_a_good_history_passes(self):
        self.assertEqual(good_history().check(), [])

    def test_each_broken_history_is_found_out(self):
        for problem, breaks in BROKEN.items():
            history = good_history()
            breaks(history)
            found = history.check()
            self.assertTrue(any(line.startswith(problem) for line in found), f"{problem!r} not in {found}")

    def test_what_a_crash_explains_is_allowed(self):
        history = good_history()
        _repeated(history)
        self.assertEqual(history.check(repeats=1), [])
        history = good_history()
        history.effects += [Seen("e1", "a", 1, life=2), Seen("e2", "a", 3, life=2)]
        self.assertEqual(history.check(repeats=1), [])
        history = good_history()
        _pending(history)
        self.assertEqual(history.check(drained=False), [])


class LeakSearch(unittest.TestCase):
    def search(self, text, name="log.text"):
        """What is found when exactly this was said, in a directory of its own."""
        before = os.environ.get("POSTERN_SUITE_DIR")
        with tempfile.TemporaryDirectory() as directory:
            os.environ["POSTERN_SUITE_DIR"] = directory
            try:
                sender = StandardWebhooks(b"0123456789abcdefghijklmn")
                body = b'{"note":"a body without a marker"}'
                leaks.note(leaks.BODY, body)
                made = {
                    "key": sender.key_text(),
                    "half": sender.key_text().removeprefix("whsec_"),
                    "signature": sender.headers(body, "evt_1", 1700000000)["webhook-signature"],
                    "mark": leaks.marker(),
                    "body": body.decode(),
                }
                os.makedirs(os.path.join(directory, "said"), exist_ok=True)
                with open(os.path.join(directory, "said", name), "w", encoding="utf-8") as out:
                    out.write("first line\n" + text.format(**made) + "\nlast line\n")
                found, count, size = leaks.search(directory)
                self.assertGreaterEqual(count, 4)
                self.assertGreater(size, 0)
                return [kind for _, kind, _ in found]
            finally:
                if before is None:
                    del os.environ["POSTERN_SUITE_DIR"]
                else:
                    os.environ["POSTERN_SUITE_DIR"] = before

    def test_each_kind_is_found(self):
        self.assertEqual(self.search("nothing here, evt_1, mark"), [])
        self.assertIn("key", self.search('{{"key":"{key}"}}'))
        self.assertIn("key", self.search("key={half},"))
        self.assertIn("signature", self.search('"webhook-signature: {signature}"'))
        self.assertIn("body", self.search("x{{..{mark}.."))
        self.assertIn("body", self.search("it said {body}"))

    def test_records_may_show_bodies_but_no_keys(self):
        self.assertEqual(self.search("{body} {mark} {signature}", "show.record"), [])
        self.assertIn("key", self.search("{key}", "show.record"))


class Senders(unittest.TestCase):
    """Vectors that the providers publish, or that their documents let one compute with openssl alone."""

    def test_standard_webhooks_vector(self):
        import base64

        sender = StandardWebhooks(base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
        got = sender.headers(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330)
        self.assertEqual(got["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        self.assertTrue(sender.verify(got, b'{"test": 2432232314}'))
        self.assertFalse(sender.verify(got, b'{"test": 2432232315}'))

    def test_against_openssl(self):
        import subprocess

        def openssl(key, data):
            got = subprocess.run(
                ["openssl", "dgst", "-sha256", "-hmac", key.decode(), "-hex"], input=data, capture_output=True,
                check=True,
            )
            return got.stdout.decode().split()[-1]

        body = body_of("a", 1)
        stripe, github, shopify = Stripe(), GitHub(), Shopify()
        self.assertEqual(
            stripe.headers(body, "x", 1700000000)["Stripe-Signature"],
            "t=1700000000,v1=" + openssl(stripe.key, b"1700000000." + body),
        )
        self.assertEqual(
            github.headers(body, "x")["X-Hub-Signature-256"], "sha256=" + openssl(github.key, body)
        )
        import base64

        self.assertEqual(
            base64.b64decode(shopify.headers(body, "x")["X-Shopify-Hmac-Sha256"]).hex(), openssl(shopify.key, body)
        )


class TheDestination(unittest.TestCase):
    def test_it_records_and_misbehaves(self):
        destination = Destination(failing_first(2))
        self.addCleanup(destination.close)
        http = Http(f"127.0.0.1:{destination.port}", "selftest")
        self.addCleanup(http.close)
        head = {"Idempotency-Key": "t/s/e1", "ce-id": "e1", "ce-subject": "a"}
        got = [http.request("POST", "/x", b'{"version":7}', head).status for _ in range(3)]
        self.assertEqual(got, [503, 503, 200])
        effects = destination.of("e1")
        self.assertEqual([(e.entity, e.version, e.ok) for e in effects], [("a", 7, False)] * 2 + [("a", 7, True)])


if __name__ == "__main__":
    report.main()
