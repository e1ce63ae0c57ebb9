"""The words of the command line: what is meant by them, and what they may become."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from certrotd.cli.app import app, run
from tests.unit.cli.conftest import COMMANDS, Certrotd

PROGRAM = Path(sysconfig.get_path("scripts")) / "certrotd"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("renew", "certrotd rotate"),
        ("help", "certrotd --help"),
        ("version", "certrotd --version"),
        ("config validate", "certrotd config check"),
        ("audit list", "certrotd audit show"),
        ("keyrings", "certrotd keys list"),
        ("keys status", "certrotd keys list"),
        ("keys undo", "certrotd keys rollback"),
        ("rotat", "'rotate'"),
    ],
)
def test_a_command_of_another_program_is_answered_with_ours(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str], said: str, meant: str
) -> None:
    """Whoever comes from certbot types renew."""
    assert certrotd(*said.split()) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"No such command '{said.split()[-1]}'. Did you mean" in last
    assert last.rstrip("?").endswith(meant)


def test_a_word_that_nobody_knows_is_an_error_still(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control."""
    assert certrotd("qqq") == 2
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "export", "\x1b[2J\u202e"],
        ["\x1b[2J\u202e"],
        ["--\x1b[2J\u202e"],
        ["rotate", "\x1b[2J\u202e"],
    ],
)
def test_typed_words_never_control_the_terminal(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """A line that was pasted cannot clear the screen, nor turn the message around."""
    assert certrotd(*words) == 2
    said = capsys.readouterr().err
    assert "\\x1b[2J\\u202e" in said
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_configuration_may_be_named_after_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """That is where people put it, and where other programs have it."""
    monkeypatch.setattr(sys, "argv", ["certrotd", *command.split(), "--help"])
    assert run() == 0
    reads = command not in ("inspect", "import", "config schema", "keys shares")
    assert ("--config" in capsys.readouterr().out) is reads


def test_a_configuration_after_the_command_is_the_one_that_is_read(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nearer goes before further away."""
    other = tmp_path / "other.yaml"
    other.write_text(
        f"state_dir: {tmp_path}/other\nissuers: {{ca: {{type: internal}}}}\n"
        "certificates: [{name: elsewhere, names: [example.test]}]\n"
    )
    assert certrotd("status", "-c", str(other)) == 0
    assert "elsewhere" in capsys.readouterr().out
    assert certrotd("status", f"--config={other}", "elsewhere") == 0


def test_the_version_is_reported_beside_other_options(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
) -> None:
    """``certrotd -c FILE --version``."""
    assert certrotd("--version") == 0
    assert capsys.readouterr().out.startswith("certrotd ")


class TestQuiet:
    """``rotate --all -q``, for cron: what it prints is mailed."""

    def test_a_quiet_run_with_nothing_due_prints_nothing(
        self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert certrotd("rotate", "--all", "-q") == 0
        first = capsys.readouterr()
        assert (first.err, "done" in first.out) == ("", True)
        assert certrotd("rotate", "--all", "-q") == 0
        assert capsys.readouterr() == ("", "")

    def test_a_quiet_run_reports_failures(
        self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str], config: dict[str, object]
    ) -> None:
        """And nothing of what does not."""
        assert certrotd("rotate", "--all", "-q") == 0
        config["targets"] = {"bad": {"type": "command", "command": ["/bin/false"]}}
        config["certificates"][0]["targets"] = ["bad"]  # type: ignore[index]
        capsys.readouterr()
        assert certrotd("rotate", "--all", "-q") == 1
        said = capsys.readouterr()
        assert "web: apply failed" in said.err
        assert [line.split()[0] for line in said.out.splitlines()] == ["NAME", "web"]


class TestCompletion:
    def completed(self, tmp_path: Path, line: str) -> list[str]:
        """What bash offers at the end of the line."""
        words = line.split(" ")
        script = (
            f"source <(_CERTROTD_COMPLETE=source_bash {PROGRAM})\n"
            f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
            f'_certrotd_completion {PROGRAM}\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        ran = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return ran.stdout.split()

    def test_bash_completes_commands_options_and_certificates(self, tmp_path: Path) -> None:
        """By a real bash, with the script that the program prints."""
        (tmp_path / "c.yaml").write_text(
            "state_dir: /nowhere\nissuers: {ca: {type: internal}}\n"
            "certificates: [{name: web, names: [a.test]}, {name: wiki, names: [b.test]}]\n"
        )
        assert self.completed(tmp_path, "certrotd st") == ["status"]
        assert self.completed(tmp_path, "certrotd rotate --dr") == ["--dry-run"]
        assert self.completed(tmp_path, "certrotd -c c.yaml status w") == ["web", "wiki"]
        assert self.completed(tmp_path, "certrotd rotate -c c.yaml wi") == ["wiki"]
        by_id = self.completed(tmp_path, "certrotd rotate -c c.yaml certificate/wi")
        assert by_id == ["certificate/wiki"]
        assert self.completed(tmp_path, "certrotd rotate -c c.yaml key/wi") == []
        assert self.completed(tmp_path, "certrotd -c none.yaml status w") == []

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_every_shell_has_its_script(self, shell: str) -> None:
        """What is written into its folder calls the program back."""
        script = subprocess.run(
            [str(PROGRAM)],
            env={**os.environ, "_CERTROTD_COMPLETE": f"source_{shell}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"_CERTROTD_COMPLETE=complete_{shell}" in script


@pytest.mark.parametrize("words", [["status"], ["keys", "list"], ["config", "check"]])
def test_only_what_the_first_word_names_is_built(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its help is the same as that of all commands together; a wrong word is compared with all."""
    monkeypatch.setattr(sys, "argv", ["certrotd", *words, "--help"])
    assert run() == 0
    part = capsys.readouterr().out
    assert app([*words, "--help"], standalone_mode=False) == 0
    assert part == capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["certrotd", f"{words[0]}x"])
    assert run() == 2
    assert f"Did you mean '{words[0]}'?" in capsys.readouterr().err
