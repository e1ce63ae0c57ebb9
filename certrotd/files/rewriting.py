"""The content of a file replaced, and everything else of it kept.

For files that belong to an application: their mode, owner, access lists, other extended attributes
and times stay. Directories and files are named by a handle of the directory and a name in it, so
that no link on the way is followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from certrotd.errors import InvalidInput
from certrotd.files.ownership import give
from certrotd.files.writing import TEMPORARY

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}" + re.escape(TEMPORARY) + r"\Z")
_NOT_OURS = {errno.ELOOP, errno.EISDIR, errno.EACCES, errno.EPERM}
"""A link, a directory, or a file of somebody else stands where a temporary file would."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
"""A file system without hard links, as FAT, says one of these."""
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.ENOSYS}
OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotKept(InvalidInput):
    """The new file could not be like the old one, which stays."""


class Occupied(BlockingIOError):
    """Another process writes a temporary file of the same name, and so the same file."""


class Signature(NamedTuple):
    """What changes whenever somebody writes a file, or puts another one in its place."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """That of a file's status."""
        times = status.st_mtime_ns, status.st_ctime_ns
        return cls(status.st_dev, status.st_ino, status.st_size, *times)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that rewrite() writes."""
    return _TEMPORARY.match(name) is not None


@contextlib.contextmanager
def opened_in(folder: int, name: str, flags: int) -> Iterator[int]:
    """A handle of a file in a directory, no link followed; raises OSError."""
    handle = os.open(name, flags | OPEN, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)


def rewrite(folder: int, name: str, as_read: Signature, fill: Callable[[int, int], object]) -> bool:
    """Replace a file by what ``fill`` writes, given handles of the old file and of the new one.

    False, with nothing done, if it is not ``as_read`` any more, before or after, or if somebody has
    it open for writing, or replaces it, too. Raises NotKept, OSError, and what ``fill`` raises.
    """
    with opened_in(folder, name, os.O_RDONLY) as old:
        status = os.fstat(old)
        if Signature.of(status) != as_read or _is_written(old):
            return False
        if status.st_nlink > 1:
            others = f"{status.st_nlink - 1} more names (hard links)"
            raise NotKept(f"it has {others}, and would be replaced under this one alone")
        temporary = _temporary_of(name)
        try:
            with _new(folder, temporary) as new:
                _be_like(new, old, status)
                fill(old, new)
                _end(new, status)
                if _is_written(old) or not is_as_read(folder, name, as_read):
                    return False
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except Occupied:
            return False
    os.fsync(folder)
    return True


def create(
    folder: int,
    name: str,
    fill: Callable[[int], object],
    *,
    mode: int,
    times: os.stat_result,
    overwrite: bool,
) -> None:
    """A new file of what ``fill`` writes, given a handle of it, with ``times`` of another.

    It belongs to the owner of the directory where root writes. Before ``fill``, it raises
    FileExistsError for a name that is taken unless it may ``overwrite``, and NotKept for a device
    or a directory; and OSError, and what ``fill`` raises.
    """
    with contextlib.suppress(FileNotFoundError):
        kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            raise NotKept(f"{name} is there, and no regular file: it is not replaced")
    temporary = _temporary_of(name)
    with _new(folder, temporary) as new:
        give(new, folder)
        os.fchmod(new, mode)
        fill(new)
        _end(new, times)
        if overwrite:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            _put(folder, temporary, name)
    os.fsync(folder)


def _put(folder: int, temporary: str, name: str) -> None:
    """Under a name that is free: a rename would replace what another process has put there."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def is_as_read(folder: int, name: str, as_read: Signature) -> bool:
    """Whether the file of this name is the one that was read; raises OSError."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return Signature.of(status) == as_read


def _is_written(handle: int) -> bool:
    """Whether somebody has a file open for writing, as far as the system tells (fcntl(2), leases).

    It does of local files that are one's own, or with CAP_LEASE.
    """
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored: the other would kill
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


def sweep(folder: int, name: str) -> None:
    """Remove a temporary file that nobody writes any more; raises OSError."""
    try:
        with opened_in(folder, name, os.O_RDONLY) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=folder)
    except (FileNotFoundError, BlockingIOError):
        return


@contextlib.contextmanager
def _new(folder: int, name: str) -> Iterator[int]:
    """A new file, locked for as long as it is written, and gone unless it was renamed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        sweep(folder, name)  # a crash left it
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        raise NotKept(f"{name} is in its way, and certrotd did not write it") from None
    try:
        handle = os.open(name, flags | OPEN, 0o600, dir_fd=folder)
    except FileExistsError:
        raise _occupied(name) from None
    inode = os.fstat(handle).st_ino
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _occupied(name) from None
        if not os.fstat(handle).st_nlink:  # swept before it was locked
            raise _occupied(name)
        yield handle
    finally:
        os.close(handle)
        _removed(folder, name, inode)


def _temporary_of(name: str) -> str:
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}{TEMPORARY}"


def _end(new: int, times: os.stat_result) -> None:
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.fsync(new)


def _occupied(name: str) -> Occupied:
    return Occupied(errno.EAGAIN, "another process writes it", name)


def _removed(folder: int, name: str, inode: int) -> None:
    """Without the temporary file, unless another process has begun one of the same name."""
    with contextlib.suppress(OSError):
        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == inode:
            os.unlink(name, dir_fd=folder)


def _be_like(new: int, old: int, status: os.stat_result) -> None:
    """Owner, attributes and mode of ``old``, in this order: each may undo the ones after it."""
    mine = os.fstat(new)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(new, status.st_uid, status.st_gid)
        except PermissionError:
            owner = f"user {status.st_uid}, group {status.st_gid}"
            raise NotKept(f"it belongs to {owner}, to whom it could not be given again") from None
    have = _attributes(new)
    for attribute, value in _attributes(old).items():
        if have.get(attribute) == value:
            continue
        try:
            os.setxattr(new, attribute, value)
        except OSError as error:
            why = error.strerror
            raise NotKept(f"its attribute {attribute} could not be kept: {why}") from None
    if stat.S_IMODE(os.fstat(new).st_mode) != stat.S_IMODE(status.st_mode):
        os.fchmod(new, stat.S_IMODE(status.st_mode))


def _attributes(handle: int) -> dict[str, bytes]:
    try:
        return {each: os.getxattr(handle, each) for each in os.listxattr(handle)}
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return {}
        raise
