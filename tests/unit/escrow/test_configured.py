"""What the configuration says of backups becomes what makes, keeps and opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.config.escrow import BackupEntry
from certrotd.errors import NeedsOperator
from certrotd.escrow.age import Identities, Passphrase, PublicKeys, Shared
from certrotd.escrow.configured import backups_of, drill_key_of, recipients_of
from tests.unit.escrow.samples import keys

RECIPIENT = keys()[0].recipients[0]


def entry(**given: object) -> BackupEntry:
    return BackupEntry.model_validate({"directory": "/mnt/backups", **given})


def test_recipients_need_a_person_for_a_drill() -> None:
    """Unless an identity is reachable."""
    plain = entry(recipients=[RECIPIENT])
    assert recipients_of(plain) == PublicKeys((RECIPIENT,))
    assert drill_key_of(plain) is None


def test_an_identity_drills_by_itself(tmp_path: Path) -> None:
    """Read from where the reference points."""
    file = tmp_path / "identity"
    file.write_text("AGE-SECRET-KEY-1X\n")
    found = drill_key_of(entry(recipients=[RECIPIENT], drill={"identity": {"file": str(file)}}))
    assert isinstance(found, Identities)
    assert found.text.reveal() == b"AGE-SECRET-KEY-1X"


def test_a_passphrase_seals_and_drills(tmp_path: Path) -> None:
    """The host that makes such backups can open them."""
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery staple\n")
    with_one = entry(passphrase={"file": str(file)})
    for found in (recipients_of(with_one), drill_key_of(with_one)):
        assert isinstance(found, Passphrase)
        assert found.passphrase.reveal() == b"correct horse battery staple"
    file.unlink()
    with pytest.raises(NeedsOperator, match="cannot be read"):
        recipients_of(with_one)


def test_custodians_are_needed_for_a_drill() -> None:
    """The host has the recipient alone."""
    shared = entry(shares={"threshold": 2, "of": 3, "recipient": RECIPIENT})
    assert recipients_of(shared) == Shared(RECIPIENT, 2, 3)
    assert drill_key_of(shared) is None


def test_the_place_knows_what_it_must_not_be_beside() -> None:
    """The state, and every file that an application reads."""
    made = entry(recipients=[RECIPIENT], keep=5)
    there = backups_of(made, "payments", state=Path("/state"), outputs=[Path("/srv/keys")])
    assert (there.directory, there.keyring, there.keep) == (Path("/mnt/backups"), "payments", 5)
    assert (there.state, there.outputs) == (Path("/state"), (Path("/srv/keys"),))
