"""What the commands do on a state directory that another version wrote."""

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Certrotd

READING = ["status", "plan", "history", "watch", "rotate --all --dry-run", "audit show", "wake web"]


@pytest.fixture
def state(certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The state after two rotations, laid out as format 1."""
    assert certrotd("rotate", "--all") == 0
    state = tmp_path / "state"
    for folder in ("journal", "history", "locks"):
        for each in (state / folder / "certificate").iterdir():
            each.rename(state / folder / each.name)
        (state / folder / "certificate").rmdir()
    (state / "format.json").unlink()
    capsys.readouterr()
    return state


@pytest.mark.parametrize("command", READING)
def test_a_command_that_only_reads_refuses_an_older_state(
    certrotd: Certrotd, state: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """It would list histories and rotations in flight as if there were none."""
    assert certrotd(*command.split()) == 1
    assert "format 1 of an older certrotd" in capsys.readouterr().err
    assert not (state / "format.json").exists()


def test_a_rotation_by_hand_migrates_an_older_state(
    certrotd: Certrotd, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then everything is as it was."""
    assert certrotd("rotate", "--all") == 0
    capsys.readouterr()
    assert certrotd("history", "--json") == 0
    lines = json.loads(capsys.readouterr().out)
    assert {(each["kind"], each["name"]) for each in lines} == {
        ("certificate", "web"),
        ("certificate", "mail"),
    }
    assert all("subject" not in each for each in lines)
    assert certrotd("audit", "verify") == 0
    assert json.loads((state / "format.json").read_bytes()) == {"format": 2}


def test_files_of_an_older_version_after_a_downgrade_are_taken_over_and_said(
    certrotd: Certrotd, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody would miss them, before a failure or an order is."""
    (state / "history/mail.jsonl").rename(state / "mail.jsonl")
    assert certrotd("rotate", "web") == 0
    (state / "history/certificate/mail.jsonl").unlink(missing_ok=True)
    (state / "mail.jsonl").rename(state / "history/mail.jsonl")
    capsys.readouterr()
    assert certrotd("status") == 1
    assert "files in the format 1 of an older certrotd" in capsys.readouterr().err
    assert certrotd("rotate", "--all") == 0
    assert "took over what it wrote for mail" in capsys.readouterr().err
    assert certrotd("history", "mail") == 0


@pytest.mark.parametrize("command", [*READING, "rotate --all", "rollback web", "run"])
def test_every_command_refuses_a_newer_state(
    certrotd: Certrotd, state: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Nothing of it is touched."""
    shutil.rmtree(state)
    state.mkdir()
    (state / "format.json").write_text('{"format": 3}')
    assert certrotd(*command.split()) == 1
    assert "newer certrotd (format 3, this one knows 2)" in capsys.readouterr().err
    assert [each.name for each in state.iterdir()] == ["format.json"]


def test_an_id_names_its_certificate_on_the_command_line(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands in the audit log; another kind is none of these."""
    capsys.readouterr()
    assert certrotd("status", "certificate/web", "--json") == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["web"]
    assert certrotd("status", "key/web") == 2
    assert "there is no certificate 'key/web'" in capsys.readouterr().err
