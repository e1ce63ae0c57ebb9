"""A file whose content is replaced: everything else of it stays, or it is not replaced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from certrotd.files import rewriting
from certrotd.files.acl import NAME as ACL
from certrotd.files.rewriting import NotKept, Signature, is_temporary, rewrite, sweep

OLD, NEW = b"old content", b"new content, which is longer"
NAMED = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *each)
    for each in (
        (1, 6, 2**32 - 1),
        (2, 4, 1),
        (4, 4, 2**32 - 1),
        (16, 4, 2**32 - 1),
        (32, 0, 2**32 - 1),
    )
)
"""An access list that lets user 1 read."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    os.utime(path, ns=(10**18, 10**18 + 1))
    return path


@contextlib.contextmanager
def folder_of(path: Path) -> Iterator[int]:
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def replaced(path: Path, content: bytes = NEW, as_read: Signature | None = None) -> bool:
    """Whether it was."""
    wanted = as_read or Signature.of(path.stat())
    with folder_of(path) as folder:
        return rewrite(folder, path.name, wanted, lambda _old, new: os.write(new, content))


def alone(path: Path) -> bool:
    return os.listdir(path.parent) == [path.name]


def test_owner_mode_attributes_access_list_and_times_stay(file: Path) -> None:
    """And the content is new, under another inode."""
    os.chown(file, 1, 2)
    os.chmod(file, 0o2640)
    os.setxattr(file, ACL, NAMED)
    os.setxattr(file, "user.note", b"kept")
    os.utime(file, ns=(10**18, 10**18 + 1))
    before = file.stat()
    assert replaced(file)
    after = file.stat()
    assert file.read_bytes() == NEW
    assert after.st_ino != before.st_ino
    names = ("st_mode", "st_uid", "st_gid", "st_mtime_ns")
    assert [getattr(after, each) for each in names] == [getattr(before, each) for each in names]
    assert os.getxattr(file, ACL) == NAMED
    assert os.getxattr(file, "user.note") == b"kept"
    assert alone(file)


def test_the_new_file_is_nobody_elses_before_it_has_its_owner(file: Path) -> None:
    """Its content comes last."""
    os.chmod(file, 0o640)
    seen: list[int] = []

    def fill(_old: int, new: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(new).st_mode))
        assert os.fstat(new).st_size == 0

    with folder_of(file) as folder:
        assert rewrite(folder, file.name, Signature.of(file.stat()), fill)
    assert seen == [0o640]


def written(path: Path) -> None:
    path.write_bytes(OLD[::-1])


def renamed(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OLD)
    os.rename(other, path)


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("change", [written, renamed, linked, Path.unlink])
def test_what_somebody_wrote_meanwhile_stays(file: Path, change: object) -> None:
    """While the new content was written, or before."""
    assert callable(change)
    read = Signature.of(file.stat())

    def fill(_old: int, new: int) -> None:
        os.write(new, NEW)
        change(file)

    with folder_of(file) as folder:
        assert not rewrite(folder, file.name, read, fill)
    there = [*file.parent.iterdir()]
    assert file.is_symlink() or not there or file.read_bytes() != NEW
    assert there in ([file], [])
    if there and not file.is_symlink():
        assert not replaced(file, as_read=read)
        assert file.read_bytes() != NEW


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_file_that_somebody_writes_into_is_left(file: Path, when: str) -> None:
    """What is written through an open handle would be lost; one that reads has what it reads."""
    with file.open("rb"):
        assert replaced(file, OLD)
    read = Signature.of(file.stat())
    with contextlib.ExitStack() as stack, folder_of(file) as folder:

        def fill(_old: int, _new: int) -> None:
            stack.enter_context(file.open("r+b"))

        if when == "before":
            stack.enter_context(file.open("ab"))
        assert not rewrite(folder, file.name, read, fill)
    assert file.read_bytes() == OLD
    assert alone(file)
    assert replaced(file)


def test_a_file_system_without_leases_is_no_hindrance(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network, or files of others without the capability."""

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fcntl, "fcntl", refused)
    assert replaced(file)


def test_a_file_with_several_names_is_not_replaced_under_one(file: Path) -> None:
    """The others would keep the old content."""
    os.link(file, file.with_name("second"))
    with pytest.raises(NotKept, match="1 more names"):
        replaced(file)
    assert file.read_bytes() == OLD
    assert len(os.listdir(file.parent)) == 2


def test_what_cannot_be_kept_leaves_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner, an attribute."""
    os.setxattr(file, "user.note", b"kept")
    os.chown(file, 1, 1)

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "setxattr", refused)
        with pytest.raises(NotKept, match=r"user\.note could not be kept"):
            replaced(file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchown", refused)
        with pytest.raises(NotKept, match="belongs to user 1, group 1"):
            replaced(file)
    assert file.read_bytes() == OLD
    assert alone(file)


def test_a_failure_leaves_the_file_and_nothing_beside_it(file: Path) -> None:
    """A full disk, or anything that fill raises."""

    def fill(_old: int, new: int) -> None:
        os.write(new, NEW)
        raise OSError(28, "No space left on device")

    with folder_of(file) as folder, pytest.raises(OSError, match="No space"):
        rewrite(folder, file.name, Signature.of(file.stat()), fill)
    assert file.read_bytes() == OLD
    assert alone(file)


def test_what_a_kill_left_is_swept_but_not_what_somebody_writes(file: Path) -> None:
    """Whoever writes one holds its lock."""
    names: list[str] = []

    def fill(_old: int, new: int) -> None:
        names.extend(filter(is_temporary, os.listdir(file.parent)))
        sweep(folder, names[0])
        assert os.fstat(new).st_nlink == 1

    with folder_of(file) as folder:
        assert rewrite(folder, file.name, Signature.of(file.stat()), fill)
        [name] = names
        left = file.with_name(name)
        left.write_bytes(b"half")
        with left.open("rb") as theirs:
            fcntl.flock(theirs, fcntl.LOCK_EX)
            sweep(folder, name)
            assert left.exists()
        sweep(folder, name)
        assert alone(file)
        sweep(folder, name)
        left.write_bytes(b"half")
        assert replaced(file, OLD)
    assert alone(file)


def test_of_two_that_replace_a_file_one_does(file: Path) -> None:
    """The other begins while the first one writes, and leaves it and its temporary file alone."""
    seen: list[bool] = []
    read = Signature.of(file.stat())

    def fill(_old: int, new: int) -> None:
        seen.append(rewrite(folder, file.name, read, lambda _old, new: os.write(new, b"second")))
        os.write(new, NEW)

    with folder_of(file) as folder:
        assert rewrite(folder, file.name, read, fill)
    assert seen == [False]
    assert file.read_bytes() == NEW
    assert alone(file)


def test_a_temporary_file_that_is_swept_before_it_is_locked_is_not_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody renames what another process has made of the same name."""
    flock, turns = fcntl.flock, iter(["removed", "locked"])

    def racing(handle: int, how: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")
        match next(turns, None):
            case "removed":
                os.unlink(name)
            case "locked":
                raise BlockingIOError(11, "Resource temporarily unavailable")
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", racing)
    assert not replaced(file)
    assert not replaced(file)
    assert file.read_bytes() == OLD
    assert replaced(file)
    assert alone(file)


def test_a_name_of_any_length_has_a_temporary_one(tmp_path: Path) -> None:
    """255 bytes are the most."""
    path = tmp_path / ("n" * 255)
    path.write_bytes(OLD)
    assert replaced(path)
    assert path.read_bytes() == NEW
    assert not is_temporary(".file.certrotd-tmp"), "those of other writers"
    assert rewriting.is_temporary(".0123456789abcdef.certrotd-tmp")
