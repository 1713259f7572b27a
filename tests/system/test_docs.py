"""Pages that are written from tables: they say what the program does, are well-formed, and are not out of date."""

import os
import pty
import re
import select
import subprocess

from lib import report
from lib.kit import Kit, mapped
from lib.postern import ROOT, binary

WRITTEN = ("options.md",)  # pages that are kept in docs/


class Pages(Kit):
    def page(self, *words):
        got = subprocess.run([binary(), *words], capture_output=True, check=False)
        self.assertEqual((got.returncode, got.stderr), (0, b""))
        return got.stdout

    def test_pages_that_are_kept_are_not_out_of_date(self):
        for name in WRITTEN:
            with open(os.path.join(ROOT, "docs", name), "rb") as kept:
                self.assertEqual(kept.read(), self.page("docs", name), f"postern docs {name} > docs/{name}")

    def test_the_manual_is_well_formed_and_names_every_command_and_option(self):
        for name in ("postern.1", "postern.json.5"):
            got = subprocess.run(
                ["mandoc", "-T", "lint", "-W", "warning"], input=self.page("docs", name), capture_output=True, check=False
            )
            self.assertEqual(got.stdout, b"", name)
        commands = [line.split("  ")[1] for line in self.help() if line.startswith("  ")]
        shown = subprocess.run(["mandoc", "-O", "width=400"], input=self.page("docs", "postern.1"), capture_output=True)
        manual = _plain(shown.stdout.decode())
        self.assertGreater(len(commands), 20)
        for command in commands:
            self.assertIn(f"     postern {command}", manual)

    def help(self):
        """The lines of the overview that name commands."""
        lines = self.page("--help").decode().split("commands:\n")[1]
        return lines.split("\n\n")[0].splitlines()

    def test_another_page_is_a_usage_error(self):
        for words in (["docs", "postern.7"], ["completion", "tcsh"], ["docs", "bash"], ["docs"]):
            got = subprocess.run([binary(), *words], capture_output=True, check=False)
            self.assertEqual((got.returncode, got.stdout), (2, b""), words)


def _plain(overstruck):
    """Without the letters that a terminal prints twice to make them bold."""
    return re.sub(".\\x08", "", overstruck)


class Completion(Kit):
    """Each shell answers by its own machinery; the zsh one needs a terminal, so there mostly the table is asked."""

    CASES = (
        (["ev"], {"events"}, {"dlq"}),
        (["events", ""], {"get", "ls"}, {"replay"}),
        (["dlq", "re"], {"replay"}, {"drop"}),
        (["init", "sl"], {"slack"}, {"github"}),
    )

    def setUp(self):
        self.made = self.small({"things": mapped(), "others": mapped()})
        self.env = {**self.made.env, "PATH": os.path.dirname(binary()) + ":" + os.environ["PATH"]}

    def run_shell(self, *command):
        got = subprocess.run(command, capture_output=True, check=False, env=self.env)
        self.assertEqual((got.returncode, got.stderr), (0, b""), command)
        return set(got.stdout.decode().split())

    def ask(self, shell, words):
        ask = {
            "bash": lambda: self.run_shell(
                "bash", "-c",
                '. <(postern completion bash); COMP_WORDS=(postern "$@"); COMP_CWORD=$#; _postern;'
                ' echo "${COMPREPLY[@]}"', "bash", *words),
            "fish": lambda: {
                word for word in self.run_shell(
                    "fish", "-N", "-c",
                    f"postern completion fish | source; complete -C 'postern {' '.join(words)}' | string split -f 1 \\t; true")},
            "zsh": lambda: {
                word for word in self.run_shell(
                    "zsh", "-f", "-c",
                    "compdef() { }; . <(postern completion zsh); config=$1; shift; _postern_words \"$1\" \"$2\"; echo $choices",
                    "zsh", self.made.config_path, *[word for word in words[:-1] if word[:1] != "-"][-2:], "", "")},
        }
        return ask[shell]()

    def test_words_come_from_the_tables(self):
        for shell in ("bash", "fish", "zsh"):
            for words, there, not_there in self.CASES:
                got = self.ask(shell, words)
                self.assertEqual(there - got, set(), (shell, words))
                if shell != "zsh":  # it filters itself
                    self.assertEqual(got & not_there, set(), (shell, words))

    def test_options_of_a_command_and_names_of_sources(self):
        for shell in ("bash", "zsh"):
            self.assertIn("--bad", self.ask(shell, ["send", "things", "--"]), shell)
        self.assertIn("--bad", self.ask("fish", ["send", "things", "--"]))
        for shell in ("bash", "fish"):
            got = self.ask(shell, ["-c", self.made.config_path, "send", ""])
            self.assertEqual({"things", "others"} - got, set(), shell)
            got = self.ask(shell, ["-c", self.made.config_path, "dlq", "replay", "--source", "th"])
            self.assertEqual(got, {"things"}, shell)
        self.assertEqual({"things", "others"} - self.ask("zsh", ["send", ""]), set())

    def test_zsh_on_a_terminal(self):
        """As it is installed: found on fpath, and asked by the key."""
        with open(self.made.path("_postern"), "wb") as out:
            out.write(self.made.cli("completion", "zsh").stdout)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        shell = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**self.env, "TERM": "dumb", "PS1": "$ ", "HOME": self.made.directory})
        os.close(slave)
        self.addCleanup(shell.wait)
        self.addCleanup(shell.kill)
        for typed, shown in (
            (f"fpath=({self.made.directory} $fpath); autoload -Uz compinit; compinit -u -D; echo re''ady\n", "ready"),
            ("postern dlq rep\t", "postern dlq replay"), ("--sou\t", "--source"),
            (f"\x15postern -c {self.made.config_path} send thi\t", "send things"),
        ):
            os.write(master, typed.encode())
            seen = bytearray()

            def look():
                if select.select([master], [], [], 0.1)[0]:
                    seen.extend(os.read(master, 65536))
                return shown in seen.decode(errors="replace")

            self.until(look, f"{shown!r} on the terminal", 10)


if __name__ == "__main__":
    report.main()
