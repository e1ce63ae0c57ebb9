"""``certrotd audit`` as a user, a script and a security officer meet it."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from certrotd.audit.record import Happened
from certrotd.cli.app import app
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import open_site

PROGRAM = Path(sysconfig.get_path("scripts")) / "certrotd"
EVENTS = [
    "rotation.began",
    "root.made",
    "certificate.issued",
    "certificate.deployed",
    "rotation.finished",
]


class Host:
    """Two certificates of an internal CA; ``web`` has been rotated by the program itself."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.path = folder / "config.yaml"
        names = {"web": "example.test", "mail": "mail.example.test"}
        certificates = [{"name": key, "names": [value]} for key, value in names.items()]
        config = {
            "state_dir": str(self.state),
            "issuers": {"ca": {"type": "internal"}},
            "certificates": certificates,
        }
        self.path.write_text(json.dumps(config))
        self.log = self.state / "audit" / "audit.jsonl"

    def program(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(PROGRAM), "-c", str(self.path), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def audit(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["-c", str(self.path), "audit", *arguments])

    def json(self, *arguments: str) -> Any:
        return json.loads(self.audit(*arguments, "--json").stdout)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    done = host.program("rotate", "web")
    assert done.returncode == 0, done.stderr
    return host


def test_a_rotation_is_shown_from_beginning_to_end(host: Host) -> None:
    """In JSON every field of the record, in the table what fits a line."""
    records = host.json("show")
    assert [record["event"] for record in records] == EVENTS
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5]
    assert records[2]["details"]["names"] == ["example.test"]
    heading, *rows = host.audit("show").stdout.splitlines()
    assert heading.split() == ["SEQ", "AT", "EVENT", "SUBJECT", "ROTATION", "DETAILS"]
    assert len(rows) == 5
    assert "names: example.test" in rows[2]


def test_audit_show_lists_one_certificate_or_the_last_records(host: Host) -> None:
    """The newest last, as in history."""
    assert host.program("rotate", "mail").returncode == 0
    assert {record["subject"] for record in host.json("show", "mail")} == {"certificate/mail"}
    assert host.json("show", "certificate/mail") == host.json("show", "mail")
    assert [record["seq"] for record in host.json("show", "-n", "2")] == [8, 9]
    assert [record["seq"] for record in host.json("show", "web", "-n", "1")] == [5]
    assert host.json("show", "other") == []
    assert "no record is about 'other'" in host.audit("show", "other").stderr


def test_an_intact_log_verifies(host: Host) -> None:
    """Exit code 0, and what to compare with a head kept elsewhere."""
    result = host.audit("verify")
    last = host.json("show", "-n", "1")[0]
    assert result.exit_code == 0
    assert result.stdout == f"the audit log is intact: 5 records, head {last['hash']}\n"
    assert host.json("verify") == {
        "whole": True,
        "records": 5,
        "hash": last["hash"],
        "notes": [],
        "broken": None,
    }


def test_a_broken_log_is_reported_with_its_first_broken_record(host: Host) -> None:
    """Exit code 1, for a timer to notice."""
    host.log.write_bytes(host.log.read_bytes().replace(b"example.test", b"examqle.test"))
    result = host.audit("verify")
    assert result.exit_code == 1
    assert "the audit log is broken: record 3: changed: " in result.stderr
    found = host.json("verify")
    assert found["whole"] is False
    assert (found["broken"]["seq"], found["broken"]["what"]) == (3, "changed")
    shown = host.audit("show", "--json")
    assert [record["seq"] for record in json.loads(shown.stdout)] == [1, 2, 4, 5]
    assert "not a record: 1 line;" in shown.stderr


def test_an_end_cut_off_is_reported(host: Host) -> None:
    """The last records are the ones somebody would like to be gone."""
    host.log.write_bytes(b"".join(host.log.read_bytes().splitlines(keepends=True)[:2]))
    result = host.audit("verify")
    assert result.exit_code == 1
    assert "record 3: truncated: the log ends with record 2" in result.stderr


def test_a_torn_record_of_a_crash_is_a_note(host: Host) -> None:
    """No alarm, and no silence either."""
    with host.log.open("ab") as file:
        file.write(b'{"at":')
    result = host.audit("verify")
    assert result.exit_code == 0
    assert "note: a torn record after record 5" in result.stderr


def test_audit_export_prints_all_records_oldest_first(host: Host) -> None:
    """From every file, byte for byte, so that it can be verified elsewhere."""
    before = host.log.read_bytes()
    host.log.rename(host.log.with_name("audit-000001.jsonl"))
    assert host.program("rotate", "mail").returncode == 0
    result = host.program("audit", "export")
    assert result.returncode == 0
    assert result.stdout.encode() == before + host.log.read_bytes()
    assert host.audit("verify").exit_code == 0


def test_a_host_without_a_log_verifies(tmp_path: Path) -> None:
    """Before the first rotation there is nothing to show, and nothing broken."""
    host = Host(tmp_path)
    assert host.json("show") == []
    assert host.audit("verify").exit_code == 0
    assert host.program("audit", "export").stdout == ""
    assert not host.log.parent.exists()


def test_control_characters_stay_out_of_terminals(host: Host) -> None:
    """A reason may quote what a server said."""
    with open_site(host.path, clock=SystemClock(), command="test") as site:
        site.audit.record(Happened("rotation.stuck", "web", "r", {"why": "\x1b[31mred\nline"}))
    shown = host.audit("show", "-n", "1").stdout
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2


def test_a_rotation_that_cannot_be_audited_does_not_start(tmp_path: Path) -> None:
    """Said with what is in the way; nothing is issued."""
    host = Host(tmp_path)
    host.log.parent.mkdir(parents=True, mode=0o700)
    os.symlink("/dev/null", host.log)
    result = host.program("rotate", "web")
    assert result.returncode == 1
    assert "a rotation that cannot be recorded in the audit log does not begin" in result.stdout
    assert "symbolic link" in result.stdout
    assert not (host.state / "certificates" / "web" / "live").exists()
    host.log.unlink()
    assert host.program("rotate", "web").returncode == 0
