"""Under a service manager: what it is told and when, the socket it passes, the units, the installed files."""

import glob
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from lib import report
from lib.kit import Kit, SMALL_QUEUE, mapped
from lib.postern import ROOT, binary, body_of, signal
from lib.preload import FailingSync
from lib.wire import Http, free_ports

_numbers = itertools.count(1)
EXPOSURE = 15  # tenths: systemd-analyze security, lower is better


class Manager:
    """The other end of the notify socket: every message, with the time of its arrival."""

    def __init__(self, directory):
        self.path = os.path.join(directory, f"notify-{next(_numbers)}")
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except OSError:
                return
            if text == "end":
                return
            fields = dict(line.split("=", 1) for line in text.split("\n") if line)
            self.messages.append((time.monotonic(), fields))

    def all(self, name):
        """The values of a field, in order."""
        return [fields[name] for _, fields in list(self.messages) if name in fields]

    def times(self, name):
        return [at for at, fields in list(self.messages) if name in fields]

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"end", self.path)
        self.thread.join()
        self.socket.close()


class Told(Kit):
    def start(self, node, half="run", **env):
        manager = self.cleanup(Manager(node.directory))
        process = node.start(half, env={"NOTIFY_SOCKET": manager.path, **env})
        self.until(lambda: manager.all("READY"), f"{half} says that it is ready")
        return manager, process

    def test_ready_reload_status_and_stop(self):
        node = self.small({"things": mapped()})
        manager, process = self.start(node)
        self.assertEqual(manager.all("READY"), ["1"])
        node.config["sources"]["more"] = {**node.config["sources"]["things"]}
        node.write_config()
        process.signal(signal.SIGHUP)
        self.until(lambda: len(manager.all("READY")) == 2, "ready after the reload")
        self.assertEqual(manager.all("RELOADING"), ["1"])
        self.assertGreater(int(manager.all("MONOTONIC_USEC")[0]), 0)
        self.until(lambda: manager.all("STATUS"), "a line of status", 15)
        self.assertRegex(manager.all("STATUS")[0], r"^ready; accepted [\d.]+/s, refused [\d.]+/s; lag 0, parked 0$")
        self.assertEqual(process.stop(), 0)
        self.assertEqual(manager.all("STOPPING"), ["1"])
        self.assertGreater(int(manager.all("EXTEND_TIMEOUT_USEC")[0]), 10 * 1000000)

    def test_a_bad_reload_is_over_too(self):
        node = self.small({"things": mapped()})
        manager, process = self.start(node)
        with open(node.config_path, "w", encoding="ascii") as config:
            config.write("{")
        process.signal(signal.SIGHUP)
        self.until(lambda: len(manager.all("READY")) == 2, "ready with the config it had")
        self.assertEqual(manager.all("RELOADING"), ["1"])

    def test_each_half_says_that_it_is_ready(self):
        node = self.small({"things": mapped()})
        for half in ("ingress", "worker"):
            self.start(node, half)

    def test_the_watchdog_hears_of_progress_only(self):
        node = self.small({"things": mapped()})
        disk = FailingSync(node, "/main/state")
        manager, process = self.start(node, WATCHDOG_USEC="2000000", **disk.env)
        self.until(lambda: len(manager.all("WATCHDOG")) >= 4, "signs of life")
        disk.hang_next(3)
        self.accepted(node.send("things", body_of("a", 1), "slow"))
        self.until(lambda: any(line["event"] == "standstill" for line in process.log()), "standstill is noticed")
        said = len(manager.all("WATCHDOG"))
        self.until(lambda: len(manager.all("WATCHDOG")) >= said + 2, "life again")
        times = manager.times("WATCHDOG")
        # A hang of 3 s leaves a hole; one that is alive is heard of more often than the watchdog needs.
        self.assertGreater(max(b - a for a, b in zip(times, times[1:])), 1.5)
        self.ended(node, "slow", "applied")


class Passed(Kit):
    def listener(self):
        listener = self.cleanup(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        return listener

    def spawn(self, node, half, *sockets, log):
        """A process that finds these sockets as a service manager passes them."""
        dups = [os.dup(s.fileno()) for s in sockets]
        moves = " ".join(f"{3 + i}<&{fd}" for i, fd in enumerate(dups))
        script = f"exec {moves}; export LISTEN_PID=$$ LISTEN_FDS={len(dups)}; exec '{binary()}' {half} -c '{node.config_path}'"
        with open(log, "ab") as err:
            process = subprocess.Popen(
                ["/bin/bash", "-c", script], stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=node.env, pass_fds=dups
            )
        for fd in dups:
            os.close(fd)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_a_restart_loses_no_connection(self):
        node = self.small({"things": mapped()})
        listener = self.listener()
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        log = node.path("passed.log")
        process = self.spawn(node, "run", listener, log=log)
        self.until(lambda: node.api.get("/readyz").status == 200, "ready")
        answers, stopping = [], threading.Event()

        def send_all():
            number = 0
            while not stopping.is_set():
                number += 1
                body = body_of("a", number)
                headers = node.senders["things"].headers(body, f"evt-{number}", None)
                headers["Content-Type"] = "application/json"
                headers["Connection"] = "close"
                answers.append(self.post_to(address, "/hooks/things", body, headers))

        sender = threading.Thread(target=send_all)
        sender.start()
        try:
            for _ in range(3):
                seen = len(answers)
                self.until(lambda: len(answers) > seen + 20, "requests")
                process.terminate()
                self.assertEqual(process.wait(30), 0)
                process = self.spawn(node, "run", listener, log=log)
            self.until(lambda: len(answers) > seen + 60, "requests after the last restart")
        finally:
            stopping.set()
            sender.join()
        self.assertEqual([a for a in answers if a != 200], [])

    def post_to(self, address, path, body, headers):
        """One request on a connection of its own; the status."""
        http = Http(address, "passed")
        try:
            return http.request("POST", path, body, headers).status
        finally:
            http.close()

    def test_the_configured_address_is_not_used(self):
        node = self.small({"things": mapped()})
        self.spawn(node, "run", self.listener(), log=node.path("passed.log"))
        self.until(lambda: node.api.get("/readyz").status == 200, "ready")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(node.listen.rsplit(":", 1)).close()

    def test_two_sockets_or_one_for_a_worker_are_refused(self):
        node = self.small({"things": mapped()})
        for half, count, words in (("run", 2, "2 sockets"), ("worker", 1, "takes no socket")):
            log = node.path(f"{half}.refused")
            process = self.spawn(node, half, *[self.listener() for _ in range(count)], log=log)
            self.assertEqual(process.wait(30), 3)
            with open(log, encoding="utf-8") as said:
                self.assertIn(words, said.read())

    def test_the_managers_own_activation_tool(self):
        tool = shutil.which("systemd-socket-activate")
        self.assertIsNotNone(tool)
        node = self.small({"things": mapped()})
        address = "127.0.0.1:%d" % free_ports(1)[0]
        with open(node.path("passed.log"), "ab") as log:
            process = subprocess.Popen(
                [tool, "-l", address, "--fdname=whatever", binary(), "run", "-c", node.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=node.env,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        body = body_of("a", 1)
        headers = node.senders["things"].headers(body, "evt-activated", None)
        self.until(lambda: self.post_to(address, "/hooks/things", body, headers) == 200, "activated, and answered")
        process.terminate()
        self.assertEqual(process.wait(30), 0)


class Installed(Kit):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="postern-root-")
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)

    def make(self, verb, prefix, destdir=""):
        got = subprocess.run(
            [os.path.join(ROOT, "scripts", "layout"), verb, destdir, prefix, os.path.dirname(binary())],
            capture_output=True, check=False,
        )
        self.assertEqual(got.returncode, 0, got.stderr)

    def files(self):
        found = glob.glob(os.path.join(self.root, "**"), recursive=True)
        return sorted(os.path.relpath(path, self.root) for path in found if os.path.isfile(path))

    def test_units_are_sound_and_tight(self):
        self.make("install", self.root)  # the real program stands where the units say
        units = sorted(glob.glob(os.path.join(self.root, "lib/systemd/system/*")))
        self.assertEqual(len(units), 5)
        got = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, check=False)
        self.assertEqual((got.returncode, got.stdout + got.stderr), (0, b""))
        for unit in (unit for unit in units if unit.endswith(".service")):
            got = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit],
                capture_output=True, check=False,
            )
            self.assertEqual(got.returncode, 0, got.stdout[-400:])

    def test_the_user_and_the_directories(self):
        self.make("install", "/usr", self.root)
        os.makedirs(os.path.join(self.root, "etc"))
        for tool, name, verb in (("systemd-sysusers", "sysusers", ()), ("systemd-tmpfiles", "tmpfiles", ("--create",))):
            got = subprocess.run(
                [tool, *verb, f"--root={self.root}", os.path.join(self.root, f"usr/lib/{name}.d/postern.conf")],
                capture_output=True, check=False,
            )
            self.assertEqual(got.returncode, 0, got.stderr)
        with open(os.path.join(self.root, "etc/passwd"), encoding="ascii") as users:
            self.assertIn("postern:", users.read())
        self.assertTrue(os.path.isdir(os.path.join(self.root, "etc/postern/keys")))
        self.assertEqual(os.stat(os.path.join(self.root, "etc/postern/keys")).st_mode & 0o777, 0o700)

    def test_uninstall_takes_what_was_installed_and_nothing_else(self):
        for path in ("etc/postern/postern.json", "var/lib/postern/main/log/1"):
            os.makedirs(os.path.dirname(os.path.join(self.root, path)))
            with open(os.path.join(self.root, path), "w", encoding="ascii") as file:
                file.write("mine")
        mine = self.files()
        self.make("install", "/usr", self.root)
        self.assertIn("usr/bin/postern", self.files())
        self.assertIn("usr/lib/systemd/system/postern.service", self.files())
        self.make("uninstall", "/usr", self.root)
        self.assertEqual(self.files(), mine)


if __name__ == "__main__":
    report.main()
