"""Backups as the file says them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from certrotd.config.base import examined
from certrotd.config.escrow import BackupEntry

AGE = "age1" + "q" * 58
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " ops@example.com"
DIRECTORY = {"directory": "/mnt/backups"}


def entry(**given: object) -> BackupEntry:
    return BackupEntry.model_validate({**DIRECTORY, **given})


def test_a_directory_whose_disk_may_not_be_mounted_is_worth_a_warning(tmp_path: Path) -> None:
    """It may be at another time; the control: what it is in is there."""
    away = entry(recipients=[AGE], directory=str(tmp_path / "disk" / "certrotd"))
    [(loc, found)] = examined(away)
    assert (loc, found.fatal) == (("directory",), False)
    assert f"is to be in {tmp_path}/disk, which is not there" in found.message
    assert not list(examined(entry(recipients=[AGE], directory=str(tmp_path / "certrotd"))))


def test_backups_have_sensible_settings_of_their_own() -> None:
    """A directory and a recipient are enough."""
    made = entry(recipients=[AGE, SSH])
    assert made.directory == Path("/mnt/backups")
    assert made.recipients == (AGE, SSH)
    assert made.keep == 14
    assert (made.drill.every, made.drill.identity) == (timedelta(days=90), None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs one of recipients, passphrase and shares"),
        ({"recipients": [AGE], "passphrase": {"env": "X"}}, "needs one of recipients"),
        ({"recipients": ["AGE-SECRET-KEY-1QQQ"]}, "is an identity, which is secret"),
        ({"recipients": [AGE[:-1]]}, "must be a recipient of age"),
        ({"recipients": ["ssh-dss AAAA"]}, "must be a recipient of age"),
        ({"shares": {"threshold": 3, "of": 2, "recipient": AGE}}, "needs 3 shares of 2"),
        ({"shares": {"threshold": 1, "of": 2, "recipient": AGE}}, "greater than or equal to 2"),
        ({"shares": {"threshold": 2, "of": 17, "recipient": AGE}}, "less than or equal to 16"),
        ({"shares": {"threshold": 2, "of": 3, "recipient": SSH}}, "not an SSH public key"),
        ({"shares": {"threshold": 2, "of": 3}}, "Field required"),
        ({"passphrase": "horse"}, "must be a reference to the secret"),
        ({"passphrase": {"env": "X"}, "drill": {"identity": {"env": "Y"}}},
         "a drill with an identity, and the passphrase"),
        ({"shares": {"threshold": 2, "of": 3, "recipient": AGE},
          "drill": {"identity": {"env": "Y"}}}, "a drill with an identity, and shares"),
        ({"recipients": [AGE], "keep": 1}, "greater than or equal to 2"),
        ({"recipients": [AGE], "drill": {"every": "0s"}}, "must be longer than zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, object], words: str) -> None:
    """With what would be right."""
    with pytest.raises(ValidationError) as refused:
        entry(**given)
    assert words in str(refused.value)


def test_a_secret_in_the_place_of_a_recipient_is_not_shown() -> None:
    """The message goes to a terminal, and to a log."""
    with pytest.raises(ValidationError) as refused:
        entry(recipients=["AGE-SECRET-KEY-1QQQ"])
    assert "QQQ" not in refused.value.errors()[0]["msg"]


def test_what_an_entry_refers_to_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries, and the identity."""
    shared = entry(shares={"threshold": 2, "of": 3, "recipient": AGE})
    assert list(examined(shared)) == []
    own = entry(recipients=[AGE], drill={"identity": {"env": "CERTROTD_NO_SUCH"}})
    [(loc, finding)] = examined(own)
    assert loc == ("drill", "identity")
    assert "CERTROTD_NO_SUCH is not set" in finding.message
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert [loc for loc, _ in examined(shared)] == [("directory",), ("shares",)]
