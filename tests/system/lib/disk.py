"""A small disk: a tmpfs in a mount namespace of the test program, so that it goes away with it."""

import errno
import os
import subprocess
import sys

INSIDE = "POSTERN_TEST_MOUNTS"


def with_mounts():
    """Run the program again where a file system may be mounted."""
    if os.environ.get(INSIDE):
        return
    os.environ[INSIDE] = "1"
    flags = "-m" if os.geteuid() == 0 else "-rm"
    os.execvp("unshare", ["unshare", flags, sys.executable, *sys.argv])


class Disk:
    """A tmpfs of some MiB, and a file on it that takes room away."""

    def __init__(self, path, mib):
        self.path, self.filler = path, os.path.join(path, "filler")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "postern", path], check=True)

    def free(self):
        got = os.statvfs(self.path)
        return got.f_bavail * got.f_frsize

    def leave(self, count):
        """Take all room but so many bytes."""
        take = self.free() - count
        fd = os.open(self.filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            while take > 0:
                take -= os.write(fd, bytes(min(take, 4096)))
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
        finally:
            os.close(fd)

    def give_back(self):
        os.unlink(self.filler)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=True)


__all__ = ["Disk", "with_mounts"]
