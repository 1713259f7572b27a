#!/usr/bin/env python3
"""powerloss.py - what a disk may hold after a power loss, made from a trace of tests/preload/powerloss.c.

    images = build_images(trace, out_dir, count, seed)

makes `count` directories below out_dir, each the state of the traced directory after a power loss at some
moment, and returns them as Image(path, cut, mode): cut is a length of the trace in bytes, so that whoever
noted the length of the trace file when an answer came knows whether the answer was before the loss.

The model, which promises no more than POSIX does:
  * a write, a truncation or a change of size is durable when a sync of that file, or of the file system's
    range (O_DSYNC), began after it and has ended. What is not may be there or not, as a whole, in any
    order, or torn: each sector of 512 bytes for itself, in any of its versions.
  * a new name, a rename, an unlink is durable when its directory was synced after it. What is not may have
    happened or not, each for itself, as far as that is possible.
Stores through memory maps are not in a trace; such pages are as they were written last.

As a program: powerloss.py TRACE OUT_DIR COUNT SEED prints a line for each image.
"""

import collections
import os
import random
import struct
import sys

SECTOR = 512
ENTRY = struct.Struct("=BBHHHQQQ")
(CREATE, WRITE, ZEROS, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, RMDIR, LINK,
 RANGE_SYNCED) = range(1, 13)

Op = collections.namedtuple("Op", "kind ino at size path path2 data end")
Image = collections.namedtuple("Image", "path cut mode")

# How the writes that are not durable are treated in one image.
MODES = ("none", "all", "whole", "torn", "prefix")


def read_trace(name):
    """The entries of a trace. A last one that is cut (the program was killed) is left out."""
    with open(name, "rb") as file:
        raw = file.read()
    ops, pos = [], 0
    while pos + ENTRY.size <= len(raw):
        kind, _, len1, len2, _, ino, at, size = ENTRY.unpack_from(raw, pos)
        body = pos + ENTRY.size
        data_len = size if kind == WRITE else 0
        end = body + len1 + len2 + data_len
        if end > len(raw):
            break
        path = raw[body:body + len1].decode()
        path2 = raw[body + len1:body + len1 + len2].decode()
        ops.append(Op(kind, ino, at, size, path, path2, raw[body + len1 + len2:end], end))
        pos = end
    return ops


class File:
    """Content that is surely there, and what was done since."""

    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # (number, op), in order
        self.begun = {}  # number of a sync that runs: how many ops it covers
        self.count = 0

    def add(self, op):
        self.pending.append((self.count, op))
        self.count += 1

    def sync_begin(self, number):
        self.begun[number] = self.count

    def sync_end(self, number):
        upto = self.begun.pop(number, 0)
        while self.pending and self.pending[0][0] < upto:
            apply_op(self.durable, self.pending.pop(0)[1])

    def range_synced(self, at, size):
        for i in range(len(self.pending) - 1, -1, -1):
            op = self.pending[i][1]
            if op.kind in (WRITE, ZEROS) and op.at == at and op.size == size:
                apply_op(self.durable, op)
                del self.pending[i]
                return


def apply_op(content, op):
    if op.kind == TRUNCATE:
        if op.at < len(content):
            del content[op.at:]
        else:
            content.extend(bytes(op.at - len(content)))
        return
    end = op.at + op.size
    if end > len(content):
        content.extend(bytes(end - len(content)))
    content[op.at:end] = op.data if op.kind == WRITE else bytes(op.size)


def torn_op(rng, content, op):
    """Each sector of a write for itself."""
    at, end = op.at, op.at + op.size
    while at < end:
        upto = min(end, at - at % SECTOR + SECTOR)
        if rng.random() < 0.5:
            part = op.data[at - op.at:upto - op.at] if op.kind == WRITE else bytes(upto - at)
            apply_op(content, Op(WRITE, 0, at, upto - at, "", "", part, 0))
        at = upto


def content_after_loss(rng, file, mode):
    content = bytearray(file.durable)
    pending = [op for _, op in file.pending]
    if mode == "prefix":
        pending = pending[:rng.randint(0, len(pending))]
    for op in pending:
        if mode == "none":
            continue
        if mode in ("all", "prefix"):
            apply_op(content, op)
        elif mode == "whole" or op.kind == TRUNCATE:
            if rng.random() < 0.5:
                apply_op(content, op)
        else:
            torn_op(rng, content, op)
    return content


class Disk:
    """The traced directory: files and directories by their inode numbers, and names."""

    ROOT = 0

    def __init__(self):
        self.objects = {}  # inode -> File
        self.dirs = {"": self.ROOT}  # path -> key of a directory, as the program sees it
        self.dir_inodes = {}  # inode -> path
        self.names = {}  # path -> object, as the program sees it
        self.durable = {}  # path -> object; a directory is None
        self.pending = []  # (number, directory, op, object)
        self.begun = {}
        self.count = 0

    def name_op(self, op, thing):
        where = os.path.dirname(op.path2 if op.kind in (RENAME, LINK) else op.path)
        self.pending.append((self.count, where, op, thing))
        self.count += 1

    def step(self, op):
        kind = op.kind
        if kind == CREATE:
            file = self.objects[op.ino] = File()
            self.dir_inodes.pop(op.ino, None)
            self.names[op.path] = file
            self.name_op(op, file)
        elif kind in (WRITE, ZEROS, TRUNCATE):
            if op.ino in self.objects:
                self.objects[op.ino].add(op)
        elif kind == RANGE_SYNCED:
            if op.ino in self.objects:
                self.objects[op.ino].range_synced(op.at, op.size)
        elif kind in (SYNC_BEGIN, SYNC_END):
            self.sync(op)
        elif kind == MKDIR:
            self.dir_inodes[op.ino] = op.path
            self.objects.pop(op.ino, None)
            self.name_op(op, None)
        else:
            self.rename_like(op)

    def rename_like(self, op):
        if op.kind in (RENAME, LINK):
            thing = self.names.get(op.path)
            self.names[op.path2] = thing
            if op.kind == RENAME:
                self.names.pop(op.path, None)
        else:
            thing = self.names.pop(op.path, None)
        self.name_op(op, thing)

    def sync(self, op):
        if op.ino in self.objects:
            file = self.objects[op.ino]
            if op.kind == SYNC_BEGIN:
                file.sync_begin(op.at)
            else:
                file.sync_end(op.at)
            return
        # The traced directory itself has no MKDIR in the trace.
        where = self.dir_inodes.get(op.ino, "")
        if op.kind == SYNC_BEGIN:
            self.begun[op.at] = self.count
            return
        upto = self.begun.pop(op.at, 0)
        rest = []
        for entry in self.pending:
            if entry[1] == where and entry[0] < upto:
                apply_name(self.durable, entry[2], entry[3])
            else:
                rest.append(entry)
        self.pending = rest

    def names_after_loss(self, rng):
        names = dict(self.durable)
        how = rng.choice(("none", "all", "prefix", "some"))
        pending = self.pending
        if how == "none":
            pending = []
        elif how == "prefix":
            pending = pending[:rng.randint(0, len(pending))]
        for _, _, op, thing in pending:
            if how != "some" or rng.random() < 0.5:
                apply_name(names, op, thing)
        return names


def apply_name(names, op, thing):
    """One change of a name, if it is possible."""
    if op.kind in (CREATE, MKDIR):
        names[op.path] = thing
    elif op.kind == LINK:
        names[op.path2] = thing
    elif op.kind == RENAME:
        # A rename that reached the disk before what made its source is that file's only name.
        if names.get(op.path) is thing:
            names.pop(op.path, None)
        names[op.path2] = thing
    else:
        if op.kind == RMDIR or names.get(op.path) is thing:
            names.pop(op.path, None)


def write_image(rng, disk, mode, where):
    names = disk.names_after_loss(rng)
    contents = {}
    os.makedirs(where)
    for path in sorted(names):
        thing = names[path]
        full = os.path.join(where, path)
        # What lies in a directory whose own name was lost is lost with it.
        parent = os.path.dirname(path)
        if parent and parent not in names:
            continue
        if parent and not os.path.isdir(os.path.dirname(full)):
            continue
        if thing is None:
            os.makedirs(full, exist_ok=True)
            continue
        if id(thing) not in contents:
            contents[id(thing)] = content_after_loss(rng, thing, mode)
        with open(full, "wb") as file:
            file.write(contents[id(thing)])


def choose_cuts(rng, ops, count):
    """Moments, as numbers of entries. Half of them shortly after a write, where most is at stake."""
    writes = [i + 1 for i, op in enumerate(ops) if op.kind in (WRITE, RENAME, SYNC_BEGIN)]
    cuts = []
    for i in range(count):
        if i % 2 == 0 and writes:
            cuts.append(rng.choice(writes))
        else:
            cuts.append(rng.randint(0, len(ops)))
    return sorted(cuts)


def build_images(trace, out_dir, count, seed):
    rng = random.Random(seed)
    ops = read_trace(trace)
    disk, done, images = Disk(), 0, []
    os.makedirs(out_dir, exist_ok=True)
    for number, cut in enumerate(choose_cuts(rng, ops, count)):
        while done < cut:
            disk.step(ops[done])
            done += 1
        mode = rng.choice(MODES)
        where = os.path.join(out_dir, "%05d" % number)
        write_image(rng, disk, mode, where)
        images.append(Image(where, ops[cut - 1].end if cut else 0, mode))
    return images


def main(argv):
    if len(argv) != 5:
        print("usage: powerloss.py TRACE OUT_DIR COUNT SEED", file=sys.stderr)
        return 2
    for image in build_images(argv[1], argv[2], int(argv[3]), int(argv[4])):
        print(image.path, image.cut, image.mode)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
