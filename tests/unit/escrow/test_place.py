"""A directory of backups: who may see it, where it may not be, what is in it besides."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from certrotd.errors import Failure, NeedsOperator
from certrotd.escrow import place
from certrotd.escrow.backup import sealed_backup
from certrotd.escrow.place import FileBackups, named
from certrotd.files.disktrouble import DiskTrouble
from tests.unit.escrow.samples import AT, DAY, keys, payments

TO, _ = keys()
DATA = sealed_backup(payments(), TO, at=AT)


def backups(tmp_path: Path, directory: Path | None = None) -> FileBackups:
    return FileBackups(directory or tmp_path / "backups", "payments", 3, tmp_path / "state")


def test_a_backup_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The file and a directory that certrotd makes."""
    there = backups(tmp_path)
    kept = there.put(DATA)
    assert kept.name == "payments.r0000000000.20260701T030405Z.backup"
    assert stat.S_IMODE((there.directory / kept.name).stat().st_mode) == 0o600
    assert stat.S_IMODE(there.directory.stat().st_mode) == 0o700


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Those of other keyrings, whose name may begin alike, and whatever somebody put there."""
    there = backups(tmp_path)
    there.directory.mkdir(mode=0o700)
    others = [
        "payments.r1.20260701T030405Z.backup",
        "payments.eu.r0000000001.20260701T030405Z.backup",
        "payments.r0000000001.20261301T030405Z.backup",
        "payments.r0000000001.20260701T030405Z.backup.bak",
        "notes",
    ]
    for name in others:
        (there.directory / name).write_text("")
    temporary = there.directory / ".payments.r0000000001.20260701T030405Z.backup.certrotd-tmp"
    temporary.write_text("a crash left it")
    kept = there.put(DATA)
    assert list(there.list()) == [kept]
    assert sorted(os.listdir(there.directory)) == sorted([*others, kept.name])
    assert named(others[1], "payments.eu") is not None


@pytest.mark.parametrize(
    "below", ["state", "state/backups", ".", "link", "link/x", "outputs", "outputs/keys.json"]
)
def test_a_place_beside_the_data_is_refused(tmp_path: Path, below: str) -> None:
    """Who loses the data, or takes it, would have the backup with it; links do not hide that."""
    for each in ("state", "outputs"):
        (tmp_path / each).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    output = tmp_path / "outputs" / "keys.json"
    there = FileBackups(tmp_path / below, "payments", 3, tmp_path / "state", (output,))
    with pytest.raises(NeedsOperator, match="backups are not kept in") as refused:
        there.put(DATA)
    assert "name a directory elsewhere" in refused.value.hint
    FileBackups(tmp_path / "elsewhere", "payments", 3, tmp_path / "state", (output,)).put(DATA)


def test_a_place_that_others_write_in_is_refused(tmp_path: Path) -> None:
    """Who deletes backups can destroy keys."""
    there = backups(tmp_path)
    there.directory.mkdir()
    there.directory.chmod(0o770)
    with pytest.raises(NeedsOperator, match="others than its owner may write"):
        there.check()
    there.directory.chmod(0o750)
    there.check()


def test_a_disk_that_is_not_mounted_is_noticed(tmp_path: Path) -> None:
    """Nothing is made on another one in its place; the control: its folder is there."""
    disk = tmp_path / "disk"
    there = backups(tmp_path, disk / "keys" / "certrotd")
    disk.mkdir()
    for act in (there.check, there.list, lambda: there.put(DATA)):
        with pytest.raises(NeedsOperator, match=f"there is no {disk}/keys") as refused:
            act()
        assert f"mkdir -p {disk}/keys" in refused.value.hint
    assert os.listdir(disk) == []
    (disk / "keys").mkdir()
    assert list(there.list()) == []
    there.put(DATA)
    assert len(there.list()) == 1


def test_a_full_disk_is_reported_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written, or removed."""
    there = backups(tmp_path)
    kept = there.put(DATA)
    full = SimpleNamespace(f_flag=0, f_bfree=1, f_bavail=1, f_frsize=4096, f_files=0)
    full.f_ffree = full.f_favail = 0
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(DiskTrouble, match="No space left") as trouble:
        there.put(DATA)
    assert trouble.value.errno == errno.ENOSPC
    assert list(there.list()) == [kept]


def test_a_write_that_fails_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No old backup makes room for one that is not there."""
    there = FileBackups(tmp_path / "backups", "payments", 1, tmp_path / "state")
    kept = there.put(DATA)
    newer = sealed_backup(payments(), TO, at=AT + DAY)

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse)
        with pytest.raises(DiskTrouble, match="No space left"):
            there.put(newer)
    assert list(there.list()) == [kept]
    assert os.listdir(there.directory) == [kept.name]
    assert list(there.list()) != [there.put(newer)]
    assert len(there.list()) == 1


def test_a_backup_that_is_no_file_or_too_large_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's memory is filled by it, and no link is followed."""
    there = backups(tmp_path)
    kept = there.put(DATA)
    monkeypatch.setattr(place, "MAX_BACKUP", 100)
    with pytest.raises(NeedsOperator, match="larger than 100 bytes"):
        there.read(kept)
    file = there.directory / kept.name
    file.rename(tmp_path / "moved")
    file.symlink_to(tmp_path / "moved")
    with pytest.raises(DiskTrouble):
        there.read(kept)


def test_a_place_that_is_a_file_is_reported(tmp_path: Path) -> None:
    """As the disk's trouble, for the list and for a write."""
    there = backups(tmp_path)
    there.directory.write_text("")
    for act in (there.list, there.check):
        with pytest.raises(DiskTrouble):
            act()


def test_one_disk_for_both_is_worth_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is better than none, and no more than that."""
    there = backups(tmp_path)
    [words] = there.warnings()
    assert "is on the file system of" in words
    real = Path.stat

    def elsewhere(path: Path, *, follow_symlinks: bool = True) -> object:
        found = real(path, follow_symlinks=follow_symlinks)
        return SimpleNamespace(st_dev=id(there), st_mode=found.st_mode) if path == state else found

    state = there.state
    state.mkdir()
    monkeypatch.setattr(Path, "stat", elsewhere)
    assert list(there.warnings()) == []
    assert issubclass(DiskTrouble, Failure)
