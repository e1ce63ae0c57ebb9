"""What every place for backups promises; a new one is one more line of PLACES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.escrow.backup import header_of, sealed_backup
from certrotd.escrow.errors import BackupUnreadable
from certrotd.escrow.place import Backups, FileBackups, newest
from tests.fakes.backups import MemoryBackups
from tests.unit.escrow.samples import AT, at_revision, keys, payments

TO, _ = keys()
KEEP = 3


def data(revision: int, *, after: timedelta = timedelta(0)) -> bytes:
    return sealed_backup(at_revision(payments(), revision), TO, at=AT + after)


PLACES: dict[str, Callable[[Path], Backups]] = {
    "file": lambda tmp: FileBackups(tmp / "a", "payments", KEEP, tmp / "state"),
    "memory": lambda tmp: MemoryBackups("payments", KEEP),
}


@pytest.fixture(params=PLACES)
def backups(request: pytest.FixtureRequest, tmp_path: Path) -> Backups:
    """Each of the places, empty."""
    return PLACES[request.param](tmp_path)


def test_there_is_no_backup_at_first(backups: Backups) -> None:
    """And that could be checked, before there is anything to keep."""
    backups.check(1000)
    assert list(backups.list()) == []
    assert newest(backups) is None
    assert backups.place


def test_a_backup_that_is_kept_is_read(backups: Backups) -> None:
    """Byte for byte."""
    made = data(4)
    kept = backups.put(made)
    assert (kept.keyring, kept.revision, kept.made) == ("payments", 4, AT.replace(microsecond=0))
    assert newest(backups) == kept
    assert backups.read(kept) == made


def test_a_backup_that_is_removed_is_gone(backups: Backups) -> None:
    """The others stay, and removing it twice does nothing more."""
    first, second = backups.put(data(4)), backups.put(data(5))
    for _ in range(2):
        backups.remove(first)
        assert list(backups.list()) == [second]


def test_the_newest_ones_are_kept(backups: Backups) -> None:
    """By revision, then by time; the oldest make room."""
    second = timedelta(seconds=1)
    for revision, after in [(2, 0), (9, 0), (10, 0), (10, 2), (11, 1)]:
        backups.put(data(revision, after=after * second))
    assert [(each.revision, each.made - AT.replace(microsecond=0)) for each in backups.list()] == [
        (11, second),
        (10, 2 * second),
        (10, 0 * second),
    ]


def test_a_new_backup_is_kept_whatever_its_revision(backups: Backups) -> None:
    """After the state was lost, revisions begin anew: the backup just made is not the one to go."""
    for revision in (7, 8, 9):
        backups.put(data(revision))
    kept = backups.put(data(1, after=timedelta(days=1)))
    assert kept in backups.list()


def test_a_backup_of_another_keyring_is_refused(backups: Backups) -> None:
    """It would be taken for this one's at a restore."""
    other = sealed_backup(replace(payments(), name="users"), TO, at=AT)
    with pytest.raises(InvalidInput, match="of users is not kept as one of payments"):
        backups.put(other)
    with pytest.raises(BackupUnreadable):
        backups.put(b"anything")
    assert list(backups.list()) == []


def test_a_backup_that_is_gone_is_reported(backups: Backups) -> None:
    """Somebody removed it between the list and the read."""
    kept = backups.put(data(1))
    with pytest.raises(NeedsOperator, match="is gone"):
        backups.read(replace(kept, name="payments.r0000000002.20260701T030405Z.backup"))
    assert header_of(backups.read(kept)).revision == 1
