"""A drill proves each living version, and says of everything else what is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from certrotd.config.secrets import Secret
from certrotd.errors import InvalidInput, Transient
from certrotd.escrow import drill as drills
from certrotd.escrow.age import Identities, Passphrase
from certrotd.escrow.backup import header_of, sealed_backup
from certrotd.escrow.drill import Drilled, DrillFinding, Found, drill, missed, tried
from certrotd.escrow.errors import NotOpened
from certrotd.escrow.place import FileBackups
from certrotd.keyring.keyring import Entry, Keyring, Wrapped
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.fakes.backups import MemoryBackups
from tests.unit.escrow.samples import AT, DAY, activated, at_revision, destroyed, keys, payments

TO, BY = keys()


def kept(*keyrings: Keyring) -> MemoryBackups:
    """Backups of these."""
    place = MemoryBackups("payments")
    for keyring in keyrings:
        place.put(sealed_backup(keyring, TO, at=AT))
    return place


def codes(drilled: Drilled) -> list[Found]:
    return [each.code for each in drilled.findings]


def test_a_drill_proves_every_living_version() -> None:
    """Those that decrypt only, too; what was destroyed needs no proof."""
    present = destroyed(activated(payments(), revision=5), 1, revision=6)
    drilled = drill(kept(present), BY, present, at=AT + DAY)
    assert drilled.succeeded
    assert (drilled.revision, drilled.made, drilled.versions) == (6, AT, (2, 3))
    assert drilled.still_held == ()
    assert len(drilled.sha256) == 64


def test_a_drill_uses_the_newest_backup() -> None:
    """And says where a destroyed key is still in it."""
    old = at_revision(activated(payments(), revision=1), 3)
    present = destroyed(old, 1, revision=4)
    drilled = drill(kept(payments(), old), BY, present, at=AT)
    assert drilled.succeeded
    assert drilled.revision == 3
    assert drilled.still_held == (1,)


def test_a_key_that_is_not_in_the_backup_is_found() -> None:
    """The negative control: a rotation without a backup after it."""
    present = activated(payments(), revision=5)
    drilled = drill(kept(payments()), BY, present, at=AT)
    assert codes(drilled) == [Found.MISSING]
    assert drilled.findings[0].why == "version 3 is not in the backup"
    assert drilled.versions == (1, 2)
    assert not drilled.succeeded


def test_without_a_backup_the_drill_fails() -> None:
    """Nothing to restore from is the worst finding."""
    drilled = drill(kept(), BY, payments(), at=AT)
    assert codes(drilled) == [Found.NO_BACKUP]
    assert (drilled.revision, drilled.made, drilled.sha256) == (None, None, "")


def test_a_place_that_fails_is_a_finding() -> None:
    """The disk of the backups is what a drill is to tell of."""
    place = kept(payments())
    place.failure = Transient("the disk is away", hint="mount it")
    assert drill(place, BY, payments(), at=AT).findings == (
        DrillFinding(Found.UNREADABLE, "the disk is away", "mount it"),
    )


def test_a_wrong_passphrase_is_no_finding() -> None:
    """It says nothing of the backup; what is no backup is found, whoever opens it."""
    by = Passphrase(Secret(b"correct horse"))
    with pytest.raises(NotOpened, match="does not open"):
        drill(kept(payments()), by, payments(), at=AT)
    assert codes(tried(b"junk", by, payments(), at=AT)) == [Found.UNREADABLE]


def test_damage_is_found_where_there_is_no_keyring() -> None:
    """The identity fits, and what was encrypted to it was changed."""
    data = bytearray(sealed_backup(payments(), TO, at=AT))
    data[-1] ^= 1
    failed = tried(bytes(data), BY, None, at=AT)
    assert codes(failed) == [Found.UNREADABLE]
    assert "is damaged" in failed.findings[0].why


def test_a_forged_backup_is_found() -> None:
    """Of another seal, of another keyring, or changed since."""
    mine = payments()
    other = replace(mine, seal=Wrapped(Material(b"\x01" * 32)))
    data = sealed_backup(mine, TO, at=AT)
    for each in (
        sealed_backup(other, TO, at=AT),
        sealed_backup(replace(mine, name="users"), TO, at=AT),
        data.replace(b'"revision":0', b'"revision":9'),
    ):
        assert codes(tried(each, BY, mine, at=AT)) == [Found.FORGED]
    assert tried(data, BY, mine, at=AT).succeeded


def test_a_backup_is_tried_where_there_is_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine of its own: it opens, is whole, and decrypts its canaries."""
    data = sealed_backup(destroyed(payments(), 1, revision=4), TO, at=AT)
    drilled = tried(data, BY, None, at=AT)
    assert drilled.succeeded
    assert (drilled.keyring, drilled.revision, drilled.versions) == ("payments", 4, (2,))
    changed = data.replace(b'"revision":4', b'"revision":9')
    failed = tried(changed, BY, None, at=AT)
    assert codes(failed) == [Found.UNREADABLE]
    assert failed.keyring == "payments"
    assert tried(b"junk", BY, None, at=AT).keyring == ""
    told = replace(header_of(data), canaries={2: b"x" * 45})
    monkeypatch.setattr(drills, "header_of", lambda _data: told)
    assert codes(tried(data, BY, None, at=AT)) == [Found.CANARY]


def test_another_key_under_the_same_number_is_found() -> None:
    """After a restore somewhere, two rotations may have given a number twice."""
    mine = payments()
    secret = Material(b"\x07" * 32)
    entry = Entry.of(DataKey(2, Algorithm.AES_256_GCM, secret, id="v2"), mine.seal.material)
    other = replace(mine, entries={**mine.entries, 2: entry})
    drilled = tried(sealed_backup(other, TO, at=AT), BY, mine, at=AT)
    assert codes(drilled) == [Found.OTHER_KEY]
    assert drilled.versions == (1,)


def test_a_key_of_another_id_does_not_open_the_canary() -> None:
    """Its material is right, and ciphertext would not be found to be its own."""
    mine = payments()
    entry = replace(mine.entries[2], id="v9")
    other = replace(mine, entries={**mine.entries, 2: entry})
    drilled = tried(sealed_backup(other, TO, at=AT), BY, mine, at=AT)
    assert codes(drilled) == [Found.CANARY]


def test_a_canary_that_the_backup_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what shows that the key was whole when the backup was made."""
    mine = payments()
    data = sealed_backup(mine, TO, at=AT)
    told = replace(header_of(data), canaries={1: header_of(data).canaries[1]})
    monkeypatch.setattr(drills, "header_of", lambda _data: told)
    assert codes(tried(data, BY, mine, at=AT)) == [Found.CANARY]


def test_a_drill_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The restored keyring is in memory alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    place = FileBackups(tmp_path / "backups", "payments", 3, tmp_path / "state")
    place.put(sealed_backup(payments(), TO, at=AT))
    opened: list[object] = []
    real = os.open

    def watched(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            opened.append(path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", watched)
    assert drill(place, BY, payments(), at=AT).succeeded
    assert opened == []
    assert [each.name for each in tmp_path.iterdir()] == ["backups"]


def test_what_a_drill_came_to_is_kept_and_read() -> None:
    """In the state, and in the audit log, where nothing of a key may be."""
    for drilled in (
        drill(kept(), BY, payments(), at=AT),
        drill(kept(payments()), BY, activated(payments(), revision=5), at=AT),
        tried(b"junk", Identities(Secret(b"x")), payments(), at=AT),
    ):
        text = json.dumps(drilled.to_json())
        assert Drilled.from_json(json.loads(text)) == drilled


@pytest.mark.parametrize("told", [None, {}, {"keyring": "a", "at": "x"}, [], {"keyring": 1}])
def test_what_is_no_drill_is_refused(told: object) -> None:
    """As an input that is not what it must be."""
    with pytest.raises(InvalidInput, match="last restore drill cannot be read"):
        Drilled.from_json(told)


def test_a_drill_that_was_not_made_is_missed() -> None:
    """As one that failed, is too old, or of the future is; a new keyring has its time."""
    good = drill(kept(payments()), BY, payments(), at=AT)
    bad = drill(kept(), BY, payments(), at=AT)

    def code(last: Drilled | None, days: int) -> Found | None:
        found = missed(last, every=30 * DAY, since=AT, now=AT + days * DAY)
        return found.code if found else None

    assert code(None, 30) is None
    assert code(None, 31) is Found.NEVER
    assert code(good, 30) is None
    assert code(good, 31) is Found.OVERDUE
    assert code(good, -1) is Found.OVERDUE
    assert code(bad, 1) is Found.FAILED


def test_a_drill_that_was_missed_is_dated_to_the_minute() -> None:
    """People read it; a moment has microseconds."""
    for place, words in ((kept(payments()), "is of"), (kept(), "of")):
        last = drill(place, BY, payments(), at=AT)
        found = missed(last, every=DAY, since=AT, now=AT + 2 * DAY)
        assert found is not None
        assert f"restore drill {words} 2026-07-01 03:04Z" in found.why
