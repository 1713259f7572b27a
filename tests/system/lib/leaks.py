"""Secrets that the suite used, and the search for them in everything the program said.

Helpers register each key, token, signature and body as they use it; at the end of the suite `search`
looks for all of them in every log line and every answer. A file of secrets and a directory of what was
said live in the suite's directory, so that all test programs of one run share them.

Bodies carry a marker of their own (see `marker`), because a body that leaks in part is a leak too.
"""

import json
import os
import re
import secrets as random
import threading

# The run of characters that keys, signatures (hex, base64) and markers are made of.
RUN = re.compile(rb"[A-Za-z0-9+/]{16,}")

KEY, TOKEN, SIGNATURE, BODY = "key", "token", "signature", "body"
# `dlq show` and `quarantine show` exist to show bodies and headers; keys and tokens never appear.
ALWAYS = (KEY, TOKEN)

_lock = threading.Lock()


def suite_dir():
    """Where this run of the suite collects; made on first use when no runner gave one."""
    path = os.environ.get("POSTERN_SUITE_DIR")
    if not path:
        path = os.path.join(_root(), "build", "system", f"alone-{os.getpid()}")
        os.environ["POSTERN_SUITE_DIR"] = path
    os.makedirs(os.path.join(path, "said"), exist_ok=True)
    return path


def _root():
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def marker():
    """A text that occurs in one body of the suite and nowhere else; it is registered at once."""
    text = "mark" + random.token_hex(12)
    note(BODY, text)
    return text


def note(kind, value):
    """Register a secret. Empty and very short values are no secrets: they would be found everywhere."""
    data = value.encode() if isinstance(value, str) else bytes(value)
    if len(data) < 12:
        return
    line = json.dumps({"kind": kind, "hex": data.hex()}) + "\n"
    with _lock, open(os.path.join(suite_dir(), "secrets.jsonl"), "a", encoding="ascii") as out:
        out.write(line)


def said(name, data, shows_records=False):
    """Keep what the program said: an answer, an output. Logs are written there by the program itself."""
    suffix = ".record" if shows_records else ".text"
    path = os.path.join(suite_dir(), "said", name + suffix)
    with _lock, open(path, "ab") as out:
        out.write(data + b"\n")


class Needles:
    """The secrets in a form that is quick to look for in megabytes of text."""

    def __init__(self, path):
        self.runs = {}
        self.exact = {}
        with open(path, encoding="ascii") as lines:
            for line in lines:
                entry = json.loads(line)
                self._add(entry["kind"], bytes.fromhex(entry["hex"]))

    def _add(self, kind, data):
        runs = RUN.findall(data)
        whole = max(runs, key=len, default=b"")
        if kind == BODY and len(whole) < len(data):
            # A body without marker: its ids may be logged, the body as a whole may not.
            self.exact[data] = kind
            self.exact[json.dumps(data.decode("utf-8", "replace"))[1:-1].encode()] = kind
        elif kind in ALWAYS:
            self.exact[data] = kind
            for run in runs:
                self.runs[run] = kind
        elif whole:
            self.runs[whole] = kind
        else:
            self.exact[data] = kind

    def find(self, text, kinds):
        """(kind, the line it stands in) of each secret in the text."""
        found = []
        for match in RUN.finditer(text):
            kind = self.runs.get(match.group())
            if kind in kinds:
                found.append((kind, _line(text, match.start())))
        for needle, kind in self.exact.items():
            at = text.find(needle) if kind in kinds else -1
            if at >= 0:
                found.append((kind, _line(text, at)))
        return found


def _line(text, at):
    start = text.rfind(b"\n", 0, at) + 1
    end = text.find(b"\n", at)
    return text[start : end if end >= 0 else len(text)][:300].decode("utf-8", "replace")


def search(directory=None):
    """All leaks of the suite as (file, kind, line), how many secrets there were, and how many bytes."""
    directory = directory or suite_dir()
    path = os.path.join(directory, "secrets.jsonl")
    if not os.path.exists(path):
        return [], 0, 0
    needles = Needles(path)
    found, size = [], 0
    for name in sorted(os.listdir(os.path.join(directory, "said"))):
        with open(os.path.join(directory, "said", name), "rb") as said_file:
            text = said_file.read()
        size += len(text)
        kinds = ALWAYS if name.endswith(".record") else (KEY, TOKEN, SIGNATURE, BODY)
        found += [(name, kind, line) for kind, line in needles.find(text, kinds)]
    return found, len(needles.runs) + len(needles.exact), size
