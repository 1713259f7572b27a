"""How a test program says what came of it: a line for each test, and a count for the runner."""

import json
import os
import signal
import sys
import time
import unittest


_did = {}  # what -> how often


class Stopped(Exception):
    """The program was told to end."""


def did(**counts):
    """What a test has done, for who runs it: kills=500. Counts of the same name add up."""
    for what, count in counts.items():
        _did[what.replace("_", " ")] = _did.get(what.replace("_", " "), 0) + count


class _Result(unittest.TestResult):
    """Prints each test as it ends, with its duration; failures at once, so that a hang hides nothing."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self._started = 0.0

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        if told_to_end():
            self.stop()

    def _say(self, verdict, test, text=""):
        took = time.monotonic() - self._started
        print(f"  {verdict:4} {test.id().split('.', 1)[-1]} ({took:.1f} s)", flush=True)
        if text:
            print("    " + text.rstrip().replace("\n", "\n    "), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self._say("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say("FAIL", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._say("FAIL", test, self.errors[-1][1])

    def addSkip(self, test, reason):
        """A test that did not run proved nothing: it counts as failed unless it is allowed to be absent."""
        super().addSkip(test, reason)
        self._say("skip", test, reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._say("FAIL", subtest, self._exc_info_to_string(err, test))


def _stop(*_):
    """The test that runs fails, and cleans up behind itself."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped("told to end")


def told_to_end():
    """For a test that goes on with the next part after one has failed."""
    return signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def main():
    """In place of unittest.main(): arguments are parts of test names; exit 1 when one failed. SIGTERM ends it in
    order: without processes that stay behind."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = _Result()
    signal.signal(signal.SIGTERM, _stop)
    wanted = [t for t in _flat(suite) if len(sys.argv) < 2 or any(part in t.id() for part in sys.argv[1:])]
    unittest.TestSuite(wanted).run(result)  # with what classes set up
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    counts = {"passed": result.passed, "failed": failed, "skipped": len(result.skipped), "did": _did}
    path = os.environ.get("POSTERN_SUITE_RESULT")
    if path:
        with open(path, "w", encoding="ascii") as out:
            json.dump(counts, out)
    else:
        print(counts)
    sys.exit(1 if failed or result.passed + len(result.skipped) == 0 else 0)


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test
