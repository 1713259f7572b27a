"""The config as a user meets it: each kind of mistake, lint, show and explain, overrides, reload."""

import json
import os

from lib import report
from lib.destination import Destination, always
from lib.kit import Kit, body_of, json_lines, mapped, send, until
from lib.postern import signal
from lib.senders import GitHub, StandardWebhooks

# What is wrong: (line of the file, what stands there now, what is put there, pointer, words of the message).
KEY = '{"file": "keys/sw.key"}'
WHOLE = """{
"ingress": {"listen": "127.0.0.1:1", "max_body_bytes": 4096},
"admin": {"token_file": "keys/admin.token"},
"sources": {
"sw": {"preset": "standard-webhooks", "keys": [{"file": "keys/sw.key"}]},
"own": {"verify": {"alg": "hmac-sha256", "sig": "header:X-S", "match": "{hex}"}, "id": "json:/id", "keys": [KEY]}
},
"routes": [
{"name": "ci", "match": {"source": "sw"}, "handler": {"type": "none"}},
{"name": "rest", "match": {}, "handler": {"type": "exec", "argv": ["/bin/true"]}}
]
}
""".replace("KEY", KEY)
MISTAKES = (
    (2, '"max_body_bytes"', '"max_body_byte"', "/ingress/max_body_byte", 'did you mean "max_body_bytes"'),
    (2, "4096", '"much"', "/ingress/max_body_bytes", "whole number"),
    (2, "4096", "0", "/ingress/max_body_bytes", "from 1"),
    (2, "127.0.0.1:1", "nowhere", "/ingress/listen", "127.0.0.1:8080"),
    (2, '"ingress"', '"ingres"', "/ingres", 'did you mean "ingress"'),
    (3, '"token_file": "keys/admin.token"', '"token": "hush"', "/admin/token", "never inline"),
    (5, "standard-webhooks", "standard-webhoks", "/sources/sw/preset", 'did you mean "standard-webhooks"'),
    (5, '[{"file": "keys/sw.key"}]', '["hush-hush-hush"]', "/sources/sw/keys/0", "never inline"),
    (5, '[{"file": "keys/sw.key"}]', "[]", "/sources/sw", "keys"),
    (5, '"file": "keys/sw.key"', '"file": "a", "env": "B"', "/sources/sw/keys/0", ""),
    (5, KEY, KEY[:-1] + ', "role": "curent"}', "/sources/sw/keys/0/role", 'did you mean "current"'),
    (5, '"preset"', '"tolerance": -1, "preset"', "/sources/sw/tolerance", "0"),
    (6, '"hmac-sha256"', '"hmac-sha255"', "/sources/own/verify/alg", "hmac-sha256"),
    (6, '"header:X-S"', '"heder:X-S"', "/sources/own/verify/sig", "header"),
    (6, '"json:/id"', '"json:id"', "/sources/own/id", ""),
    (6, '"match": "{hex}"', '"match": "{hexx"', "/sources/own/verify/match", ""),
    (9, '"type": "none"', '"type": "nonne"', "/routes/0/handler/type", 'did you mean "none"'),
    (9, '"type": "none"', '"type": "plugin"', "/routes/0/handler/type", "not supported yet"),
    (9, '"type": "none"', '"type": "http"', "/routes/0/handler", "url"),
    (9, '"type": "none"', '"type": "http", "url": "ftp://x"', "/routes/0/handler/url", "http"),
    (9, '"type": "none"', '"type": "http", "url": "http://127.0.0.1:9/", "sign_key": {"env": "NOT_HERE"}',
     "/routes/0/handler/sign_key", "NOT_HERE is not set"),
    (9, '"type": "none"', '"type": "http", "url": "http://127.0.0.1:9/", "sign_key": {"file": "keys/odd.key"}',
     "/routes/0/handler/sign_key", "base64"),
    (2, '"max_body_bytes"', '"tls": {"cert": "keys/no.pem", "key": "keys/sw.key"}, "max_body_bytes"',
     "/ingress/tls", "keys/no.pem"),
    (2, '"max_body_bytes"', '"tls": {"cert": "keys/sw.key", "key": "keys/sw.key"}, "max_body_bytes"',
     "/ingress/tls", "PEM"),
    (3, "keys/admin.token", "keys/odd.key", "/admin/token_file", "at least 16"),
    (9, '"name": "ci", ', "", "/routes/0", "name"),
    (9, '"name": "ci"', '"name": "rest"', "/routes/1", ""),
    (9, '"name": "ci"', '"name": "ci", "version_rule": "newest"', "/routes/0/version_rule", 'did you mean "newer"'),
    (9, '"match": {"source": "sw"}', '"match": {"sorce": "sw"}', "/routes/0/match/sorce", 'did you mean "source"'),
    (10, "/bin/true", '"', "", ""),
    (10, '"argv": ["/bin/true"]', '"argv": []', "/routes/1/handler", "program"),
    (10, '"exec"', '"exec", "type": "none"', "/routes/1/handler/type", "duplicate"),
    (1, "{", '{ "queue": {"backend": "kafka"},', "/queue", "bootstrap.servers"),
    (1, "{", '{ "lanes": {},', "/lanes", "not supported yet"),
)


def private(path, flags):
    return os.open(path, flags, 0o600)


class Mistakes(Kit):
    def write(self, node, text):
        with open(node.config_path, "w", encoding="utf-8") as out:
            out.write(text)

    def node_of(self, text):
        node = self.small({"sw": mapped()})
        self.write(node, text)
        return node

    def test_each_is_named_with_pointer_line_and_nearest_name(self):
        node = self.node_of(WHOLE)
        node.cli("lint")
        with open(node.path("keys/odd.key"), "w", encoding="ascii", opener=private) as out:
            out.write("a token?\n")
        for line, old, new, pointer, words in MISTAKES:
            with self.subTest(pointer=pointer, new=new):
                lines = WHOLE.split("\n")
                self.assertIn(old, lines[line - 1])
                lines[line - 1] = lines[line - 1].replace(old, new, 1)
                self.write(node, "\n".join(lines))
                got = node.cli("lint", "--json", check=3)
                errors = [row for row in json_lines(got.stdout) if row.get("level") == "error"]
                fits = [
                    row for row in errors if (row["pointer"] or "").startswith(pointer) and words in row["text"]
                    and row["line"] in (line, line + (1 if pointer == "/routes/1" else 0))
                ]
                self.assertTrue(fits, errors)
                people = node.cli("lint", check=3).stderr.decode()
                self.assertIn(f"{node.config_path}:{fits[0]['line']}: {pointer}", people)
                self.assertNotIn("hush", people)
                self.assertEqual(sum(": warning: " not in said for said in people.splitlines()), len(errors),
                                 "each is said once")
                if "tls" in pointer or "sign_key" in pointer or "token" in pointer:  # lint says what a start says
                    self.assertEqual(node.start(ready=False).wait(), 3)

    def test_every_command_refuses_a_bad_config(self):
        node = self.node_of(WHOLE.replace('"ingress"', '"ingres"'))
        for args in (["run"], ["worker"], ["ingress"], ["send", "sw"], ["events", "ls"], ["dlq", "replay", "x"],
                     ["status"], ["reload"], ["config", "show"], ["lint"], ["verify", "sw", "--body", "x"],
                     ["sign", "sw", "--body", "x"]):
            with self.subTest(args=args):
                got = node.cli(*args, check=3)
                self.assertIn(b"/ingres", got.stderr)
                self.assertIn(os.fsencode(node.config_path), got.stderr)

    def test_no_config_at_all(self):
        node = self.node_of(WHOLE)
        os.remove(node.config_path)
        for command in ("lint", "status"):
            self.assertIn(os.fsencode(node.config_path), node.cli(command, check=3).stderr)
        os.mkdir(node.config_path)
        for command in ("lint", "status"):
            self.assertIn(os.fsencode(node.config_path), node.cli(command, check=3).stderr)

    def test_a_token_file_that_is_missing(self):
        node = self.node_of(WHOLE)
        os.remove(node.path("keys/admin.token"))
        rows = json_lines(node.cli("lint", "--json").stdout)
        self.assertTrue([row for row in rows if row.get("pointer") == "/admin/token_file"], rows)
        self.assertEqual(node.start(ready=False).wait(), 3)

    def test_a_key_file_that_is_missing(self):
        node = self.node_of(WHOLE)
        os.remove(node.path("keys/sw.key"))
        rows = json_lines(node.cli("lint", "--json", check=3).stdout)
        self.assertTrue([row for row in rows if row.get("pointer", "").startswith("/sources/sw/keys/0")], rows)
        self.assertEqual(node.start(ready=False).wait(), 3)

    def test_comments_and_lint_warnings(self):
        node = self.small({"sw": mapped(), "gh": (GitHub(), {})}, routes=[
            {"//": "nothing for gh", "name": "only", "match": {"source": "sw"}, "handler": {"type": "none"}}])
        node.config["// anything"] = {"goes": ["here"]}
        node.write_config()
        rows = json_lines(node.cli("lint", "--json").stdout)
        self.assertTrue([r for r in rows if r.get("level") == "warning" and r["pointer"].startswith("/routes")], rows)
        node.cli("lint", "--strict", check=3)  # github's id is not signed
        for preset, count in (("github", 0), ("gitlab", 1)):  # a token is not kept, to verify it again
            node.config["sources"]["gh"].update(preset=preset, quarantine_refused=True)
            node.write_config()
            self.assertEqual(node.cli("lint", check=None).stderr.count(b"quarantine_refused: "), count, preset)
        node.config["sources"].pop("gh")
        node.write_config()
        node.cli("lint", "--strict")


class Effective(Kit):
    def test_show_explain_and_overrides(self):
        node = self.small({"sw": mapped()}, ingress={"max_body_bytes": 2048})
        shown = json.loads(node.cli("config", "show").stdout)
        self.assertEqual(shown["ingress"]["max_body_bytes"], 2048)
        self.assertEqual(shown["ingress"]["idle_timeout_s"], 60)
        self.assertNotIn(node.senders["sw"].key_text(), json.dumps(shown))
        one = json.loads(node.cli("config", "show", "--json").stdout)
        self.assertEqual(one, shown)
        self.assertEqual(node.cli("config", "show", "--json").stdout.count(b"\n"), 1)

        def explain(pointer, **env):
            node.env = {"PATH": os.environ["PATH"], **env}
            return json.loads(node.cli("config", "explain", pointer, "--json").stdout)

        row = explain("/ingress/max_body_bytes")
        self.assertEqual((row["value"], row["from"], row["default"]), (2048, "file", 1048576))
        row = explain("/ingress/idle_timeout_s")
        self.assertEqual((row["value"], row["from"]), (60, "default"))
        row = explain("/ingress/max_body_bytes", POSTERN__INGRESS__MAX_BODY_BYTES="4096")
        self.assertEqual((row["value"], row["from"]), (4096, "environment"))
        self.assertIn("POSTERN__INGRESS__MAX_BODY_BYTES", json.dumps(row))
        node.env = {"PATH": os.environ["PATH"]}
        people = node.cli("config", "explain", "/sources/sw/verify/sig").stdout.decode()
        self.assertIn("standard-webhooks", people)
        node.cli("config", "explain", "/ingress/nosuch", check=1)

    def test_names_in_the_environment(self):
        node = self.small({"my-source.1": mapped(), "a-b": mapped()})
        for name, value, pointer, want in (
            ("POSTERN__sources__MY_SOURCE.1__Tenant", "acme", "/sources/my-source.1/tenant", "acme"),
            ("POSTERN__SOURCES__A_B__TOLERANCE", "77", "/sources/a-b/tolerance", 77),
            ("POSTERN__ROUTES__0__VERSION_RULE", "none", "/routes/0/version_rule", "none"),
        ):
            with self.subTest(name):
                node.env = {"PATH": os.environ["PATH"], name: value}
                row = json.loads(node.cli("config", "explain", pointer, "--json").stdout)
                self.assertEqual((row["value"], row["from"]), (want, "environment"))
        node.env = {"PATH": os.environ["PATH"], "POSTERN__INGRESS__MAX_BODY_BYTE": "1"}
        self.assertEqual(
            node.cli("lint", check=3).stderr.decode(),
            "POSTERN__INGRESS__MAX_BODY_BYTE in the environment: no such option; did you mean "
            "POSTERN__INGRESS__MAX_BODY_BYTES (/ingress/max_body_bytes)?\n",
        )
        row = json_lines(node.cli("lint", "--json", check=3).stdout)[0]
        self.assertEqual((row["variable"], row["line"]), ("POSTERN__INGRESS__MAX_BODY_BYTE", None))
        node.env = {"PATH": os.environ["PATH"], "POSTERN__INGRESS__MAX_BODY_BYTES": "x"}
        self.assertIn(b"POSTERN__INGRESS__MAX_BODY_BYTES", node.cli("lint", check=3).stderr)
        node.env = {"PATH": os.environ["PATH"]}
        node.config["sources"]["a_b"] = node.config["sources"]["a-b"]
        node.write_config()
        node.env = {"PATH": os.environ["PATH"], "POSTERN__SOURCES__A_B__TOLERANCE": "77"}
        self.assertIn(b"POSTERN__SOURCES__A_B__TOLERANCE", node.cli("lint", check=3).stderr, "ambiguous")

    def test_a_key_from_the_environment(self):
        sender = StandardWebhooks()
        node = self.small({"sw": (None, {"preset": "standard-webhooks", "keys": [{"env": "SW_KEY"}]})},
                          env={"SW_KEY": sender.key_text()})
        node.start()
        body = body_of()
        self.accepted(node.post("sw", body, sender.headers(body, "env-1")), "env-1")


class Reload(Kit):
    def node_with_two_ways(self):
        destination = self.cleanup(Destination(always(200)))
        node = self.small({"sw": mapped()}, routes=[{"name": "rest", "match": {}, "handler": {"type": "none"}}])
        node.start()
        return node, destination

    def reloaded(self, node, by_signal):
        if not by_signal:
            return node.cli("reload")
        before = len([line for line in node.processes[-1].log() if line["event"] == "config_reloaded"])
        node.processes[-1].signal(signal.SIGHUP)
        return until(
            lambda: len([l for l in node.processes[-1].log() if l["event"] == "config_reloaded"]) > before, "reloaded"
        )

    def test_a_good_one(self):
        node, destination = self.node_with_two_ways()
        for by_signal in (False, True):
            with self.subTest(by_signal=by_signal):
                fresh, name = StandardWebhooks(), f"new-{by_signal}".lower()
                node.write_key(name + ".key", fresh.key_text())
                node.config["sources"][name] = {"preset": "standard-webhooks", "keys": [{"file": f"keys/{name}.key"}]}
                node.config["routes"].insert(0, {
                    "name": "out-" + name, "match": {"source": name},
                    "handler": {"type": "http", "url": destination.url()}})
                node.config["ingress"]["max_body_bytes"] = 512
                node.write_config()
                self.reloaded(node, by_signal)
                body = body_of()
                self.accepted(node.post(name, body, fresh.headers(body, name + "-1")))
                self.assertEqual(self.ended(node, name + "-1", "applied")["route"], "out-" + name)
                self.assertEqual(len(destination.of(name + "-1")), 1)
                large = body_of(fill="x" * 600)
                self.refused(node.post(name, large, fresh.headers(large, "large")), 413, "TOO_LARGE")
                running = json.loads(node.cli("config", "show", "--running").stdout)
                self.assertIn(name, running["sources"])

    def test_a_bad_one_changes_nothing(self):
        node, _ = self.node_with_two_ways()
        good = json.dumps(node.config)
        for change in (
            lambda c: c["sources"].update(x={"preset": "nosuch"}),
            lambda c: c["sources"].update(x={"preset": "github", "keys": [{"file": "keys/nosuch.key"}]}),
            lambda c: c["routes"].insert(0, {"name": "x", "match": {}, "handler": {"type": "htp"}}),
            lambda c: c.update(nonsense=1),
            lambda c: c["ingress"].update(tls={"cert": "keys/nosuch.pem", "key": "keys/nosuch.key"}),
        ):
            config = json.loads(good)
            config["ingress"]["max_body_bytes"] = 64
            change(config)
            with open(node.config_path, "w", encoding="utf-8") as out:
                json.dump(config, out)
            self.assertTrue(node.cli("reload", check=3).stderr)
            seen = len(node.processes[-1].log())
            node.processes[-1].signal(signal.SIGHUP)
            until(lambda: any(l["event"] == "config_reload_failed" for l in node.processes[-1].log()[seen:]), "logged")
            self.assertEqual(node.metrics()["postern_config_reload_ok"], 0)
            self.assertEqual(node.api.get("/readyz").status, 200)
            name = f"kept-{seen}"
            send(node, "sw", name, fill="x" * 100)
            self.assertEqual(self.ended(node, name, "applied")["route"], "rest")
        node.write_config()
        self.assertEqual([row["result"] for row in json_lines(node.cli("reload", "--json").stdout)], ["reloaded"])
        self.assertEqual(node.metrics()["postern_config_reload_ok"], 1)

    def test_what_needs_a_restart_is_named(self):
        node, _ = self.node_with_two_ways()
        node.config["ingress"]["listen"] = "127.0.0.1:1"
        node.config["worker"] = {"dedupe_hours": 24}
        node.write_config()
        said = node.cli("reload", check=None)
        self.assertEqual(said.returncode, 0)
        lines = [line for line in node.processes[-1].log() if line["event"] == "config_reloaded"]
        self.assertEqual(len(lines), 1, "one reload")
        for pointer in ("/ingress/listen", "/worker/dedupe_hours"):
            self.assertIn(pointer, lines[0]["needs_restart"])
            self.assertIn(pointer, said.stderr.decode())
        send(node, "sw", "still-here")
        self.ended(node, "still-here", "applied")


if __name__ == "__main__":
    report.main()
