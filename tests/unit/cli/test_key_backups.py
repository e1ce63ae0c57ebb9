"""``certrotd keys backup``, ``drill``, ``restore``, ``shares`` and ``report``."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.unit.cli.ring import Host, host
from tests.unit.escrow.samples import keys

__all__ = ["host"]
REASON = ("--reason", "audit finding 12")
RECIPIENT, IDENTITY = keys()


@pytest.fixture
def identity(host: Host) -> str:
    """The keyring is backed up; the file of the identity that opens the backups."""
    host.orders["backup"] = {
        "directory": str(host.place / "backups"),
        "recipients": list(RECIPIENT.recipients),
    }
    path = host.place / "identity"
    path.write_bytes(IDENTITY.text.reveal())
    path.chmod(0o600)
    host.keys("rotate", "orders", *REASON)
    return str(path)


class TestBackup:
    """Made by hand, and tried."""

    def test_a_backup_says_where_it_is(self, host: Host, identity: str) -> None:
        """As a line and as JSON."""
        [line] = host.keys("backup", "orders").splitlines()
        assert "on the file system of" in host.err  # which is where the tests have all of it
        assert Path(line).is_file()
        told = host.json("backup", "orders")
        assert told["name"] == "orders"
        assert Path(told["backup"]).is_file()
        assert "does not say where users is backed up" in host.refused("backup", "users", code=1)

    def test_a_drill_says_what_would_come_back(self, host: Host, identity: str) -> None:
        """In words, and as JSON."""
        assert "versions 1 would come back" in host.keys("drill", "orders", "--identity", identity)
        told = host.json("drill", "orders", "--identity", identity)
        assert (told["versions"], told["findings"]) == ([1], [])
        host.orders["backup"]["drill"] = {"identity": {"file": identity}}
        host.keys("drill", "orders")

    def test_a_drill_that_fails_has_an_exit_code(self, host: Host, identity: str) -> None:
        """With the finding and what to do."""
        old = next(path for path in (host.place / "backups").rglob("*") if path.is_file())
        kept = old.read_bytes()
        host.keys("rotate", "orders", *REASON)
        copy = host.place / "copy"
        copy.write_bytes(kept)
        for option in ((), ("--json",)):
            host("keys", "drill", "orders", "--identity", identity, "--file", str(copy), *option)
            assert host.code == 1
            assert "version-missing" in host.out
            assert "make a backup now" in host.out

    def test_what_opens_it_is_named_once(self, host: Host, identity: str) -> None:
        """Not at all, or twice, is wrong usage; a file that is missing is a line."""
        for verb in (("drill", "orders"), ("restore", "orders", "--from", "/nowhere")):
            assert "nothing is given that opens" in host.refused(*verb)
            twice = ("--identity", identity, "--passphrase", identity)
            assert "more than one of --identity" in host.refused(*verb, *twice)
        missing = ("--identity", identity)
        assert "there is no file /nowhere" in host.refused(
            "restore", "orders", "--from", "/nowhere", *missing
        )
        assert "/gone" in host.refused("drill", "orders", "--identity", "/gone", code=1)
        large = host.place / "large"
        with large.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        host.refused("drill", "orders", *missing, "--file", str(large), code=1)

    def test_a_passphrase_opens_it_too(self, host: Host) -> None:
        """The one of the configuration, or one that is given."""
        secret = host.place / "passphrase"
        secret.write_text("correct horse battery staple")
        secret.chmod(0o600)
        host.orders["backup"] = {
            "directory": str(host.place / "backups"),
            "passphrase": {"file": str(secret)},
        }
        host.keys("rotate", "orders", *REASON)
        host.keys("drill", "orders")
        host.keys("drill", "orders", "--passphrase", str(secret))


class TestShares:
    """A ceremony, and what it is for."""

    def test_a_drill_without_backups_says_what_is_missing(self, host: Host) -> None:
        """And does not ask for an identity first."""
        said = host.refused("drill", "orders", code=1)
        assert "does not say where orders is backed up (add backup: to keyrings.orders)" in said

    def test_shares_open_a_backup_together_and_not_alone(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From a file, or typed on standard input."""
        told = json.loads(_shown(host, "shares", "--threshold", "2", "--of", "3", "--json"))
        assert (told["threshold"], len(told["shares"])) == (2, 3)
        host.orders["backup"] = {
            "directory": str(host.place / "backups"),
            "shares": {"threshold": 2, "of": 3, "recipient": told["recipient"]},
        }
        host.keys("rotate", "orders", *REASON)
        file = host.place / "shares"
        file.write_text("\n".join(told["shares"][:2]) + "\n")
        file.chmod(0o600)
        host.keys("drill", "orders", "--shares", str(file))
        file.write_text(told["shares"][0] + "\n")
        host("keys", "drill", "orders", "--shares", str(file))
        assert host.code == 1
        assert told["shares"][0] not in host.out + host.err

        for terminal in (False, True):
            typed = io.TextIOWrapper(io.BytesIO("\n".join(told["shares"][1:]).encode()))
            monkeypatch.setattr(typed, "isatty", lambda terminal=terminal: terminal)
            monkeypatch.setattr(sys, "stdin", typed)
            host.keys("drill", "orders", "--shares", "-")
            assert ("Ctrl-D" in host.err) is terminal

    def test_a_ceremony_prints_a_line_for_each_custodian(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a terminal one after the other, each on a screen of its own."""
        asked: list[str] = []

        def enter(words: str) -> str:
            asked.append(words)
            return ""

        monkeypatch.setattr("builtins.input", enter)
        lines = _shown(host, "shares", "--threshold", "2", "--of", "3").splitlines()
        assert lines[0].startswith("recipient: age1")
        assert [line.split(":")[0] for line in lines[1:]] == [f"share {n} of 3" for n in (1, 2, 3)]
        assert asked == []
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        shown = _shown(host, "shares", "--threshold", "2", "--of", "3").split("\x1b[2J")
        assert [each.count("share ") for each in shown] == [1, 1, 1, 0]
        assert len(asked) == 6
        assert shown[-1].removeprefix("\x1b[3J") == shown[0].splitlines(keepends=True)[0]
        host("keys", "shares", "--threshold", "4", "--of", "3")
        assert host.code != 0
        assert len(host.err.splitlines()) == 1

    @pytest.mark.parametrize("left", [0, 1, 4])
    def test_a_ceremony_that_is_broken_off_shows_no_share_any_longer(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, left: int
    ) -> None:
        """As by Ctrl-D: one line says what to do, and it is no success."""
        entered = iter([""] * left)

        def enter(_words: str) -> str:
            try:
                return next(entered)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", enter)
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        host("keys", "shares", "--threshold", "2", "--of", "3")
        assert host.code == 1
        assert "make all shares anew" in host.err
        assert len(host.err.splitlines()) == 1
        assert host.out.endswith("\x1b[H\x1b[2J\x1b[3J")


def _shown(host: Host, *arguments: str) -> str:
    host("keys", *arguments)
    assert host.code == 0, host.err
    return host.out


class TestRestore:
    """Going on from a file."""

    def test_a_restore_goes_on_and_says_what_is_next(self, host: Host, identity: str) -> None:
        """The keyring was damaged; what is there is kept aside."""
        before = host.secrets()
        file = host.json("backup", "orders")["backup"]
        document = host.place / "state/keyrings/orders.json"
        document.write_bytes(b"garbage")
        shown = host.keys("restore", "orders", "--from", file, "--identity", identity)
        assert shown.splitlines()[0].startswith("orders: restored, at revision ")
        assert "certrotd keys deliver orders" in shown.splitlines()[-1]
        assert host.secrets() == before
        host.keys("deliver", "orders")

    def test_a_newer_keyring_is_replaced_only_where_it_is_said(
        self, host: Host, identity: str
    ) -> None:
        """And every note is a line, or in the JSON."""
        file = host.json("backup", "orders")["backup"]
        kept = host.place / "kept"
        kept.write_bytes(Path(file).read_bytes())
        host.keys("rotate", "orders", *REASON)
        given = ("restore", "orders", "--from", str(kept), "--identity", identity)
        host.refused(*given, code=1)
        shown = host.keys(*given, "--older")
        assert "orders: version 2 is newer than the backup, and is kept" in shown
        told = host.json(*given, "--older")
        assert told["revision"] > 6
        assert told["notes"]

    def test_a_key_that_was_destroyed_is_not_brought_back(self, host: Host, identity: str) -> None:
        """The audit log knows of it when the keyring cannot be read."""
        host.orders.update({"drains": {"cookies": "1s"}, "grace": "0s", "watch": "0s"})
        host.keys("rotate", "orders", *REASON)
        kept = host.place / "kept"
        kept.write_bytes(Path(host.json("backup", "orders")["backup"]).read_bytes())
        host.keys("drill", "orders", "--identity", identity)
        for _ in range(100):
            host("rotate", "key/orders")
            if host.states()[1] == "destroyed":
                break
        assert host.states()[1] == "destroyed"
        document = host.place / "state/keyrings/orders.json"
        document.write_bytes(b"garbage")
        host.keys("restore", "orders", "--from", str(kept), "--identity", identity)
        assert host.states() == {1: "destroyed", 2: "active"}
        assert set(host.secrets()) == {2}


class TestReport:
    """What assessors ask for."""

    def test_each_form_is_written_and_holds_no_key(self, host: Host, identity: str) -> None:
        """Markdown, JSON and CSV; the counts agree."""
        host.keys("rotate", "users", *REASON)
        assert host.keys("report").startswith("# Key management report")
        told = json.loads(host.keys("report", "--format", "json"))
        assert "orders" in json.dumps(told)
        log = (host.place / "state/audit/audit.jsonl").read_text()
        began = [json.loads(line) for line in log.splitlines()]
        known = {each["rotation"] for each in began if each["event"] == "rotation.began"}
        rotations = [each["rotation"] for each in told["rotations"]]
        assert len(rotations) == 2
        assert set(rotations) <= known  # which leads from a key to everything done for it
        rows = list(csv.reader(io.StringIO(host.keys("report", "--format", "csv"))))
        assert len(rows) > 2

    def test_a_report_of_one_keyring_has_no_exceptions_of_others(
        self, host: Host, identity: str
    ) -> None:
        """What the audit log knows of the other is none of its business."""
        host.keys("rotate", "users", *REASON)
        for arguments in ((), ("orders",), ("users",)):
            shown = host.keys("report", *arguments)
            assert "record-without-transition" not in shown, arguments
        assert "| users |" not in host.keys("report", "orders")

    def test_a_keyring_that_left_the_configuration_is_an_exception(
        self, host: Host, identity: str
    ) -> None:
        """The control: its records have no keyring any more."""
        host.keys("rotate", "users", *REASON)
        del host.config["keyrings"]["users"]
        assert "record-without-transition | users" in host.keys("report")
        assert "record-without-transition" not in host.keys("report", "orders")

    def test_a_file_is_signed_and_another_one_is_not(self, host: Host, identity: str) -> None:
        """By the key of this host, the same each time."""
        out = host.place / "report.md"
        host.keys("report", "-o", str(out))
        public = load_pem_public_key(out.with_name("report.md.pub").read_bytes())
        assert isinstance(public, Ed25519PublicKey)
        signature = out.with_name("report.md.sig").read_bytes()
        public.verify(signature, out.read_bytes())
        with pytest.raises(InvalidSignature):
            public.verify(signature, out.read_bytes() + b" ")
        before = out.with_name("report.md.pub").read_bytes()
        host.keys("report", "-o", str(out))
        assert out.with_name("report.md.pub").read_bytes() == before
        assert (host.place / "state/report.key").stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("kind", ["file", "link", "fifo", "folder"])
    def test_a_report_replaces_nothing_but_a_report(
        self, host: Host, identity: str, kind: str
    ) -> None:
        """Somebody names the file of an application, or a device, by a slip."""
        out = host.place / "x"
        if kind == "file":
            out.write_text("precious")
        elif kind == "link":
            out.symlink_to("keys.json")
        elif kind == "fifo":
            os.mkfifo(out)
        else:
            out.mkdir()
        before = out.lstat()
        assert "is there, and is no earlier report" in host.refused("report", "-o", str(out))
        after = out.lstat()
        same = (before.st_ino, before.st_mode, before.st_size, before.st_mtime_ns)
        assert (after.st_ino, after.st_mode, after.st_size, after.st_mtime_ns) == same

    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ("--to", "0001-01-01"),
            ("--to", "0001-01-01T00:00+14:00"),
            ("--to", "9999-12-31T23:59-14:00"),
            ("--from", "9999-12-31"),
            ("--from", "1969-12-31"),
        ],
    )
    def test_a_time_that_no_report_is_of_is_refused(
        self, host: Host, identity: str, option: str, text: str
    ) -> None:
        """In one line: some of them cannot even be counted with."""
        assert f"{option} is no date" in host.refused("report", option, text)

    def test_a_time_that_is_empty_is_refused(self, host: Host, identity: str) -> None:
        """The options were swapped."""
        arguments = ("--from", "2026-02-01", "--to", "2026-01-01")
        assert "--from is not before --to" in host.refused("report", *arguments)

    def test_a_keyring_that_cannot_be_read_stops_no_report(self, host: Host, identity: str) -> None:
        """It is the first exception, and the others are told as ever."""
        host.keys("rotate", "users", *REASON)
        (host.place / "state/keyrings/users.json").write_text("{}")
        shown = host.keys("report")
        assert "keyring-unreadable | users" in shown
        assert "record-without-transition" not in shown
        assert "| orders |" in shown

    def test_a_damaged_backup_stops_no_report(self, host: Host, identity: str) -> None:
        """It is an exception, and the keyring is told as ever."""
        host.keys("rotate", "orders", *REASON)
        [newest, *_] = sorted((host.place / "backups").rglob("*.backup"), reverse=True)
        newest.write_bytes(b"half")
        shown = host.keys("report")
        assert "backup-unreadable | orders" in shown
        assert "keyring-unreadable" not in shown

    def test_a_time_is_read_and_a_wrong_one_refused(self, host: Host, identity: str) -> None:
        """A date alone is in UTC."""
        span = ("--from", "2026-01-01", "--to", "2026-02-01T12:00:00+02:00")
        assert "2026-01-01 00:00:00 UTC to 2026-02-01 10:00:00 UTC" in host.keys("report", *span)
        assert "--from is no date: 'soon'" in host.refused("report", "--from", "soon")

    def test_a_broken_audit_log_is_said_and_an_exit_code(self, host: Host, identity: str) -> None:
        """The report is written all the same."""
        log = host.place / "state/audit/audit.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:1] + lines[2:]))
        host("keys", "report")
        assert host.code == 1
        assert host.out.startswith("# Key management report")
