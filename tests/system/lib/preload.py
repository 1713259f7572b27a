"""The libraries of tests/preload: where they are, how a process gets one, and numbers that it watches."""

import os
import struct

from .postern import binary


def library(name):
    """The built library; they lie beside the program under test."""
    path = os.path.join(os.path.dirname(os.path.abspath(binary())), "preload", name + ".so")
    if not os.path.exists(path):
        raise AssertionError(f"{path} is not there; run make preload")
    return path


class Number:
    """A file with one number that a preloaded library has mapped."""

    def __init__(self, path, value=0):
        self.path = path
        self.set(value)

    def set(self, value):
        """In place: the mapping of a running program must see it."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, struct.pack("=q", value), 0)
        finally:
            os.close(fd)

    def get(self):
        with open(self.path, "rb") as file:
            return struct.unpack("=q", file.read(8))[0]


class Clock:
    """The wall clock of a node's processes: `env` for those that shall have it, `step` to move it."""

    def __init__(self, node):
        self.number = Number(node.path("clock"))
        self.shift_s = 0
        self.env = {"LD_PRELOAD": library("clock"), "POSTERN_CLOCK": self.number.path}

    def step(self, seconds):
        self.shift_s += seconds
        self.number.set(self.shift_s * 1000000000)


class FailingSync:
    """Lets a sync of a file whose path contains `part` fail, or hang."""

    def __init__(self, node, part):
        self.number = Number(node.path("ioerr"))
        self.env = {
            "LD_PRELOAD": library("ioerr"), "POSTERN_IOERR": self.number.path, "POSTERN_IOERR_PATH": part,
        }

    def fail_in(self, count):
        """The count-th sync from now on fails, once."""
        self.number.set(count)

    def hang_next(self, seconds):
        """The next sync takes that long."""
        self.number.set(-int(seconds * 1000))

    def has_failed(self):
        return self.number.get() == 0
