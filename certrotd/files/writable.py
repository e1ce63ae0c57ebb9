"""Whether something could be written, before it is: room, rights, owners, modes, links."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import explained
from certrotd.files.ownership import set_owner
from certrotd.files.writing import create_new, make_link, open_directory, temporary_of, write_all


def check_directory(path: Path, *, room: int = 0) -> None:
    """Whether ``path`` is there, or could be made, and files of ``room`` bytes be written in it.

    Changes nothing, and so believes what the system says. Raises DiskTrouble.
    """
    nearest = path
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    doing = f"write in {path}" if nearest == path else f"create {path} in {nearest}"
    with explained(doing):
        if number := _hindrance(nearest, room):
            raise OSError(number, os.strerror(number))


def _hindrance(directory: Path, room: int) -> int:
    """The number of the error that writing in ``directory`` would end with; 0 if it would not."""
    if not stat.S_ISDIR(os.stat(directory).st_mode):
        return errno.ENOTDIR
    system = os.statvfs(directory)
    if system.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        return errno.EACCES
    root = os.geteuid() == 0
    free = system.f_bfree if root else system.f_bavail
    names = system.f_ffree if root else system.f_favail
    # a file system that makes inodes as it needs them counts none
    full = free * system.f_frsize < room or (system.f_files and not names)
    return errno.ENOSPC if full else 0


def probe_file(path: Path, size: int) -> None:
    """Whether a file of so many bytes could be written at ``path``; raises DiskTrouble if not.

    Not synced: local file systems refuse at once what they have no room for.
    """
    with explained(f"write {path}"), open_directory(path.parent) as folder:
        handle = create_new(path.name, folder)
        try:
            write_all(handle, bytes(size))
        finally:
            os.close(handle)
            os.unlink(path.name, dir_fd=folder)


def probe_replacing(path: Path, *, mode: int, owner: tuple[int, int] | None) -> None:
    """Whether a file with that mode and owner could replace ``path``; raises Failure if not."""
    with explained(f"write {path}"), open_directory(path.parent) as folder:
        temporary = temporary_of(path).name
        handle = create_new(temporary, folder)
        try:
            set_owner(handle, mode, owner)
            there = stat.S_IMODE(os.fstat(handle).st_mode)
        finally:
            os.close(handle)
            os.unlink(temporary, dir_fd=folder)
    if there & ~mode:
        raise NeedsOperator(
            f"the file system of {path.parent} keeps no modes: {path} would have {there:04o} and "
            f"not {mode:04o}",
            hint="mount it with a umask of 077, or install the copy elsewhere",
        )


def probe_symlink(directory: Path) -> None:
    """Whether ``directory`` can hold symbolic links; NeedsOperator if not, else DiskTrouble."""
    with explained(f"make a symbolic link in {directory}"), open_directory(directory) as folder:
        temporary = temporary_of(directory / "check").name
        try:
            make_link(temporary, "check", folder)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                raise
            raise NeedsOperator(
                f"{directory} cannot hold symbolic links: {error.strerror}",
                hint="choose a store_dir on a file system that can (not vfat, exFAT or SMB)",
            ) from error
        os.unlink(temporary, dir_fd=folder)
