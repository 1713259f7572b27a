"""The first ten minutes: init, run, and the README's own lines, copied from the README as it is."""

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile

from lib import leaks, report
from lib.kit import Kit, Node, binary, json_lines, shell, until
from lib.wire import Http, free_ports

README = os.path.join(leaks._root(), "README.md")
RUN_SCRIPT = os.path.join(leaks._root(), "scripts", "run")


class Made(Node):
    """A node over a directory that `postern init` wrote; only the ports are changed."""

    def __init__(self, directory):
        self.directory, self.env = directory, {"PATH": os.environ["PATH"]}
        self.processes, self.senders = [], {}
        ingress, admin, worker = free_ports(3)
        self.listen, self.admin, self.worker_admin = (f"127.0.0.1:{port}" for port in (ingress, admin, worker))
        with open(self.config_path, encoding="utf-8") as text:
            self.config = json.load(text)
        self.config["ingress"]["listen"] = self.listen
        self.config["admin"].update(listen=self.admin, worker_listen=self.worker_admin)
        self.write_config()
        with open(self.path("keys", "admin.token"), encoding="ascii") as token:
            self.token = token.read().strip()
        leaks.note(leaks.TOKEN, self.token)
        for name in self.config["sources"]:
            with open(self.path("keys", name + ".key"), encoding="ascii") as key:
                leaks.note(leaks.KEY, key.read().strip())
        self.hooks, self.api = Http(self.listen, "hooks"), Http(self.admin, "admin")
        self.worker_api = Http(self.worker_admin, "admin")


def fresh(test, *args):
    """What `init ARGS --dir D` makes: (directory, what it printed)."""
    directory = os.path.join(tempfile.mkdtemp(prefix="postern-init-"), "site")
    test.addCleanup(shutil.rmtree, os.path.dirname(directory), ignore_errors=True)
    got = subprocess.run([binary(), "init", *args, "--dir", directory], capture_output=True, check=False)
    test.assertEqual(got.returncode, 0, got.stderr)
    return directory, got


def modes(directory):
    found = {}
    for where, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as content:
                found[os.path.relpath(path, directory)] = (stat.S_IMODE(os.stat(path).st_mode), content.read())
    return found


def readme_lines():
    """The commands of the README's second block: [(line, comment)], the alias first."""
    with open(README, encoding="utf-8") as text:
        blocks = re.findall(r"```sh\n(.*?)```", text.read(), re.S)
    block = next(block for block in blocks if "alias postern=" in block)
    made = []
    for line in block.splitlines():
        command, _, comment = line.partition("#")
        if command.strip():
            made.append((command.strip(), comment.strip()))
    return made


class Init(Kit):
    def test_what_it_writes(self):
        directory, got = fresh(self, "demo=standard-webhooks", "github")
        files = modes(directory)
        self.assertEqual(
            set(files),
            {"postern.json", "postern.schema.json", "keys/admin.token", "keys/demo.key", "keys/github.key"},
        )
        for name, (mode, _) in files.items():
            if name.startswith("keys/"):
                self.assertEqual(mode, 0o600, name)
        config = json.loads(files["postern.json"][1])
        self.assertEqual(set(config["sources"]), {"demo", "github"})
        self.assertEqual(config["$schema"], "postern.schema.json")
        self.assertIn("properties", json.loads(files["postern.schema.json"][1]))
        # What the sender must be told: the URL and the secret, each as it is in the key file.
        for source in ("demo", "github"):
            self.assertIn(f"/hooks/{source}".encode(), got.stdout)
            self.assertIn(files[f"keys/{source}.key"][1].strip(), got.stdout)

    def test_keys_are_fresh(self):
        first, second = (modes(fresh(self, "demo=standard-webhooks")[0]) for _ in range(2))
        for name in ("keys/demo.key", "keys/admin.token"):
            self.assertNotEqual(first[name][1], second[name][1])

    def test_it_never_overwrites(self):
        directory, _ = fresh(self, "demo=standard-webhooks")
        before = modes(directory)
        for args in (["demo=standard-webhooks"], ["github"]):
            again = subprocess.run([binary(), "init", *args, "--dir", directory], capture_output=True, check=False)
            self.assertEqual(again.returncode, 1, again.stderr)
            self.assertEqual(modes(directory), before)
        os.remove(os.path.join(directory, "postern.json"))
        before = modes(directory)
        again = subprocess.run(
            [binary(), "init", "demo=standard-webhooks", "--dir", directory], capture_output=True, check=False
        )
        self.assertEqual(again.returncode, 1, "a key is there already")
        self.assertEqual(modes(directory), before)

    def test_it_is_valid_as_it_is(self):
        presets = ["standard-webhooks", "svix", "github", "stripe", "slack", "shopify"]
        directory, _ = fresh(self, "demo=standard-webhooks", "shop=shopify", *presets)
        config = os.path.join(directory, "postern.json")
        lint = subprocess.run([binary(), "lint", "-c", config], capture_output=True, check=False)
        self.assertEqual(lint.returncode, 0, lint.stderr)
        for preset in presets:
            self.assertIn(preset.encode(), lint.stdout)

    def test_only_secrets_that_are_ours_to_give_are_shown(self):
        _, got = fresh(self, "asana", "github", "--json")
        told = [json.loads(line) for line in got.stdout.splitlines()]
        self.assertEqual([(one["source"], one["learns"], bool(one["secret"])) for one in told],
                         [("asana", True, False), ("github", False, True)])

    def test_usage(self):
        for args in (["nosuch"], ["a=nosuch"], ["../x=github"], ["github", "github"]):
            where = tempfile.mkdtemp(prefix="postern-init-")
            self.addCleanup(shutil.rmtree, where, ignore_errors=True)
            got = subprocess.run([binary(), "init", *args, "--dir", where], capture_output=True, check=False)
            self.assertEqual(got.returncode, 2, args)
            self.assertEqual(os.listdir(where), [])


class Tour(Kit):
    def made(self):
        directory, _ = fresh(self, "demo=standard-webhooks", "github")
        node = Made(directory)
        self.addCleanup(node.close)
        self.addCleanup(self._show_logs, node)
        node.start()
        return node

    def type(self, node, line, alias=""):
        """A line at the prompt, with this node's config and ports in the place of the README's."""
        script = f"shopt -s expand_aliases\n{alias}\n{line}\n"
        script = script.replace("build/postern -c data/postern.json", f"{binary()} -c {node.config_path}")
        script = script.replace("127.0.0.1:8080", node.listen).replace("127.0.0.1:8081", node.admin)
        got = shell(script, node.env)
        leaks.said("tour", got.stdout + got.stderr)
        return got

    def settled(self, node):
        """Nothing is on its way any more."""
        def open_events():
            return [row for row in node.cli_json("events", "ls") if row["outcome"] in ("pending", "parked")]

        until(lambda: not open_events(), "nothing is pending")
        # Duplicates have no line of their own: they are done when the worker has seen the end of the log.
        until(lambda: node.metrics().get("postern_queue_lag_records") == 0, "no lag")

    def test_the_readmes_lines(self):
        node = self.made()
        lines = readme_lines()
        alias = lines[0][0]
        self.assertTrue(alias.startswith("alias postern="), lines[0])
        said = []
        for line, comment in lines[1:]:
            self.settled(node)
            got = self.type(node, line, alias)
            self.assertEqual(got.returncode, 0, (line, got.stdout, got.stderr))
            said.append((line, comment, (got.stdout + got.stderr).decode()))
        texts = {line: text for line, _, text in said}
        comments = " ".join(comment for _, comment, _ in said)
        find = lambda *words: next(t for l, t in texts.items() if all(word in l for word in words))  # noqa: E731
        self.assertIn("200", find("send", "evt_1"))
        self.assertEqual(find("send", "evt_2").count("200"), 2)
        self.assertIn("401", find("--bad signature"))
        self.assertIn("BAD_SIGNATURE", find("--bad signature"))
        self.assertIn("applied", find("events get evt_1"))
        stale = find("events get evt_3")
        self.assertIn("stale", stale)
        self.assertIn("STALE_VERSION", stale)
        state = find("state get order:1")
        self.assertRegex(state, r"version\s+8\b")
        self.assertIn("evt_2", state)
        self.assertEqual(find("dlq ls").strip(), "nothing")
        metrics = find("/metrics")
        for series in (
            'postern_http_requests_total{source="demo",code="ACCEPTED"} 4',
            'postern_http_requests_total{source="demo",code="BAD_SIGNATURE"} 1',
            'postern_events_total{route="rest",outcome="applied"} 2',
            'postern_events_total{route="rest",outcome="duplicate"} 1',
            'postern_events_total{route="rest",outcome="stale"} 1',
        ):
            self.assertIn(series, metrics)
        # What the comments promise is what was checked.
        for word in ("200", "twice", "older", "401 BAD_SIGNATURE", "applied", "stale", "version 8", "nothing died"):
            self.assertIn(word, comments)

    def test_the_lines_that_make_run_prints(self):
        node = self.made()
        with open(RUN_SCRIPT, encoding="utf-8") as text:
            lines = re.findall(r"^  (build/postern .*|curl .*)$", text.read(), re.M)
        self.assertGreater(len(lines), 6)
        for line in lines:
            self.settled(node)
            got = self.type(node, line)
            self.assertEqual(got.returncode, 0, (line, got.stdout, got.stderr))

    def test_after_a_kill_it_is_there_once(self):
        """The README's last sentence."""
        node = self.made()
        node.cli("send", "demo", "--id", "evt_9", "--entity", "order:9", "--version", "1")
        node.processes[0].kill()
        node.start()
        self.ended(node, "evt_9", "applied")
        node.cli("send", "demo", "--id", "evt_9", "--entity", "order:9", "--version", "1")
        self.settled(node)
        rows = json_lines(node.cli("events", "get", "evt_9", "--json").stdout)
        self.assertEqual([(row["outcome"], row["version"]) for row in rows], [("applied", "1")])
        node.stop()

    def test_github_too(self):
        node = self.made()
        got = node.cli("send", "github", "--type", "push", "--id", "gh-1")
        self.assertIn(b"200", got.stdout)
        row = self.ended(node, "gh-1", "applied")
        self.assertEqual((row["source"], row["type"]), ("github", "push"))


if __name__ == "__main__":
    report.main()
