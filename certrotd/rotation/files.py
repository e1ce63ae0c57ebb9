"""Whole files or none: written beside, synced, renamed; links replaced, never followed.

What root creates belongs to whoever the directory belongs to: the user that a daemon runs as goes
on with what ``sudo certrotd rotate`` wrote.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeGuard

from certrotd.errors import InvalidInput, NeedsOperator, Transient, of_the_machine
from certrotd.rotation.acl import set_acl

TEMPORARY = ".certrotd-tmp"
_TRIES = 3
_CHUNK = 64 * 1024
_HINTS = {
    errno.ENOSPC: "free some space on that file system",
    errno.EDQUOT: "raise the quota",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "give the user certrotd runs as the right to do so",
    errno.EPERM: "give the user certrotd runs as the right to do so",
    errno.ENOENT: "create the directory",
    errno.ENOTDIR: "a file stands where a directory belongs; move it away",
    errno.EISDIR: "a directory stands where a file belongs; move it away",
    errno.ELOOP: "a symbolic link stands where a file or directory belongs; remove it",
}


class DiskTrouble(Transient):
    """The file system refused; ``errno`` is the system's number for why."""

    def __init__(self, doing: str, error: OSError, *, hint: str = "") -> None:
        reason = f"{_unnamed(doing, error)}{error.strerror or error}"
        hint = of_the_machine(error) or hint or _HINTS.get(error.errno or 0, "")
        super().__init__(f"cannot {doing}: {reason}", hint=hint)
        self.errno = error.errno


def _unnamed(doing: str, error: OSError) -> str:
    """The paths that the error is about and ``doing`` says nothing of, for a message."""
    names = [os.fsdecode(each) for each in (error.filename, error.filename2) if _is_path(each)]
    return "".join(f"{name}: " for name in names if os.path.isabs(name) and name not in doing)


def _is_path(name: object) -> TypeGuard[str | bytes]:
    return isinstance(name, str | bytes)  # or the number of a descriptor


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an OSError within into a DiskTrouble that says what was being done."""
    try:
        yield
    except OSError as error:
        raise DiskTrouble(doing, error) from error


def temporary_of(path: Path) -> Path:
    """Where the content of ``path`` is written before it is renamed into place.

    The name is a function of the path, so that a crash leaves at most one such file and the next
    write of the same path replaces it.
    """
    return path.with_name(f".{path.name}{TEMPORARY}")


def write_file(
    path: Path,
    data: bytes,
    *,
    mode: int,
    owner: tuple[int, int] | None = None,
    sync: bool = True,
) -> None:
    """Replace ``path`` atomically and durably; raises DiskTrouble and leaves the old file whole.

    The temporary file has its final ``mode`` and ``owner`` (uid, gid; -1 keeps one; None is that
    of the directory where root writes) before its content. A symbolic link at ``path`` is
    replaced, never followed. Without ``sync`` a power cut may leave the old file, or an empty one.
    """
    with explained(f"write {path}"), _directory(path.parent) as folder:
        temporary = temporary_of(path).name
        _until_not_swept(
            partial(_fill, temporary, data, mode, owner, folder, sync=sync),
            partial(_into_place, temporary, path.name, folder),
        )
        if sync:
            os.fsync(folder)


@dataclass(frozen=True)
class NewFile:
    """What a file is to be; ``owner`` as in write_file, ``acl`` is its access control list."""

    path: Path
    data: bytes
    mode: int
    owner: tuple[int, int] | None = None
    acl: bytes | None = None


def replace_files(files: Sequence[NewFile]) -> None:
    """Replace several files, each as write_file does, the renames following one upon the other.

    Whatever takes time or can fail comes before the first of them: who reads several meets the old
    ones or the new ones, but for the moment between two renames.
    """
    with contextlib.ExitStack() as opened:
        folders: dict[Path, int] = {}
        staged: list[NewFile] = []
        try:
            for each in files:
                parent, name = each.path.parent, temporary_of(each.path).name
                with explained(f"write {each.path}"):
                    if parent not in folders:
                        folders[parent] = opened.enter_context(_directory(parent))
                    _fill(name, each.data, each.mode, each.owner, folders[parent], acl=each.acl)
                staged.append(each)
            while staged:
                path, name = staged[0].path, temporary_of(staged[0].path).name
                with explained(f"write {path}"):
                    _into_place(name, path.name, folders[path.parent])
                del staged[0]
        except DiskTrouble:
            for each in staged:
                _unlink(temporary_of(each.path).name, folders[each.path.parent])
            raise
        for parent, folder in folders.items():
            with explained(f"write into {parent}"):
                os.fsync(folder)


def create_files(directory: Path, files: Iterable[tuple[str, bytes, int]], *, sync: bool) -> None:
    """Write files (name, content, mode) that are not there yet, each of them synced itself.

    For staging: nobody reads the directory yet, and it is renamed into place when all its files
    are written, so they need no rename of their own. With ``sync`` their names are durable, too.
    Raises DiskTrouble.
    """
    with explained(f"write files into {directory}"), _directory(directory) as folder:
        for name, data, mode in files:
            with explained(f"write {directory}/{name}"):
                _fill(name, data, mode, None, folder)
        if sync:
            os.fsync(folder)


def probe_file(path: Path, size: int) -> None:
    """Whether a file of so many bytes could be written at ``path``; raises DiskTrouble if not.

    Not synced: local file systems refuse at once what they have no room for.
    """
    with explained(f"write {path}"), _directory(path.parent) as folder:
        handle = _new(path.name, folder)
        try:
            _write_all(handle, bytes(size))
        finally:
            os.close(handle)
            os.unlink(path.name, dir_fd=folder)


def probe_replacing(path: Path, *, mode: int, owner: tuple[int, int] | None) -> None:
    """Whether a file with that mode and owner could replace ``path``; raises Failure if not."""
    with explained(f"write {path}"), _directory(path.parent) as folder:
        temporary = temporary_of(path).name
        handle = _new(temporary, folder)
        try:
            _own(handle, mode, owner)
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
    with explained(f"make a symbolic link in {directory}"), _directory(directory) as folder:
        temporary = temporary_of(directory / "check").name
        try:
            _link(temporary, "check", folder)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                raise
            raise NeedsOperator(
                f"{directory} cannot hold symbolic links: {error.strerror}",
                hint="choose a store_dir on a file system that can (not vfat, exFAT or SMB)",
            ) from error
        os.unlink(temporary, dir_fd=folder)


def write_in_place(
    path: Path,
    data: bytes,
    *,
    mode: int,
    owner: tuple[int, int] | None,
    acl: bytes | None = None,
) -> None:
    """Overwrite the content of ``path`` keeping its inode, for single-file bind mounts.

    Not atomic: a reader may see a part. A missing file is created as write_file does. Raises
    DiskTrouble; a symbolic link is refused, and so is anything that is not a regular file.
    """
    with explained(f"overwrite {path}"):
        try:
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(path, flags)
        except FileNotFoundError:
            replace_files([NewFile(path, data, mode, owner, acl)])
            return
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            _own(handle, mode, owner, acl)
            # over the old content, and cut afterwards: a full disk has room for what was there
            _write_all(handle, data)
            os.ftruncate(handle, len(data))
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_symlink(link: Path, target: str) -> None:
    """Point ``link`` at ``target`` by one rename; whoever reads sees the old or the new target."""
    with explained(f"point {link} at {target}"), _directory(link.parent) as folder:
        temporary = temporary_of(link).name
        _until_not_swept(
            partial(_link, temporary, target, folder),
            partial(_into_place, temporary, link.name, folder),
        )
        os.fsync(folder)


def _link(temporary: str, target: str, folder: int) -> None:
    try:
        os.symlink(target, temporary, dir_fd=folder)
    except FileExistsError:  # a crash left it
        os.unlink(temporary, dir_fd=folder)
        os.symlink(target, temporary, dir_fd=folder)
    if heir := _heir(folder, os.stat(temporary, dir_fd=folder, follow_symlinks=False)):
        os.chown(temporary, *heir, dir_fd=folder, follow_symlinks=False)


def _until_not_swept(prepare: Callable[[], None], finish: Callable[[], None]) -> None:
    """Do both, again where another process, which begins just then, swept the temporary file."""
    for left in range(_TRIES, 0, -1):
        prepare()
        try:
            finish()
        except FileNotFoundError:
            if left == 1:
                raise
        else:
            return


def _into_place(temporary: str, name: str, folder: int) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        _unlink(temporary, folder)
        raise


def remove_file(path: Path) -> None:
    """Remove a file or link durably; one that is not there is fine. Raises DiskTrouble."""
    with explained(f"remove {path}"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        sync_directory(path.parent)


def rename(source: Path, target: Path) -> None:
    """Rename within one directory, durably. Raises DiskTrouble."""
    with explained(f"rename {source} to {target.name}"):
        os.rename(source, target)
        sync_directory(target.parent)


def remove_tree(directory: Path, *, sync: bool = True) -> None:
    """Remove a directory of plain files and its one level of content; absent is fine.

    Links inside are removed, never followed; a link in its place is refused. What cannot be removed
    does not keep the rest. Without ``sync`` it may be back after a power cut. Raises DiskTrouble.
    """
    with explained(f"remove {directory}"):
        try:
            with _directory(directory, os.O_NOFOLLOW) as folder:
                do_each([partial(_unlink_any, name, folder) for name in os.listdir(folder)])
        except FileNotFoundError:
            return
        os.rmdir(directory)
        if sync:
            sync_directory(directory.parent)


def _unlink_any(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):  # then somebody else was quicker
        os.unlink(name, dir_fd=folder)


def do_each(acts: Iterable[Callable[[], None]]) -> None:
    """Do each, whatever becomes of the others; raises the first DiskTrouble or OSError at last."""
    first: DiskTrouble | OSError | None = None
    for act in acts:
        try:
            act()
        except (DiskTrouble, OSError) as error:
            first = first or error
    if first is not None:
        raise first


def make_directory(path: Path, *, mode: int) -> None:
    """Create ``path`` and its missing parents durably, each with ``mode``. Raises DiskTrouble."""
    with explained(f"create directory {path}"):
        if os.path.isdir(path):
            return
        missing = [path]
        while not os.path.exists(folder := missing[-1].parent):
            missing.append(folder)
        for each in reversed(missing):
            try:
                os.mkdir(each, mode)
                with _directory(each.parent) as above:
                    if heir := _heir(above, os.stat(each, follow_symlinks=False)):
                        os.chown(each, *heir, follow_symlinks=False)
                os.chmod(each, mode)  # whatever the umask
            except FileExistsError:  # another process was quicker
                if not os.path.isdir(each):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
            sync_directory(each.parent)


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
    return errno.ENOSPC if system.f_bavail * system.f_frsize < room else 0


def is_there(path: str | Path) -> bool:
    """Whether there is anything at ``path``, be it a link; raises DiskTrouble if nobody can tell.

    os.path.exists and its kin take a disk that fails for a file that is not there.
    """
    with explained(f"look at {path}"):
        try:
            os.lstat(path)
        except FileNotFoundError:
            return False
    return True


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; raises OSError."""
    with _directory(path) as folder:
        os.fsync(folder)


def read_file(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises FileNotFoundError, DiskTrouble, or InvalidInput for anything larger or not a file.
    """
    return read_status(path, limit=limit, follow=follow)[0]


def read_status(path: Path, *, limit: int, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """As read_file, with the status of the very file that was read."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskTrouble(f"read {path}", error) from error
    try:
        with explained(f"read {path}"):
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInput(f"{path} is not a regular file")
            data = _read_up_to(handle, limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise InvalidInput(
            f"{path} is larger than {limit} bytes", hint="it cannot be what it is for"
        )
    return data, status


def _read_up_to(handle: int, limit: int) -> bytes:
    # a file object would ask the system four things more of every file
    data, asked = b"", min(limit, _CHUNK)
    while part := os.read(handle, asked):
        data += part
        if len(part) < asked or len(data) == limit:
            break  # a regular file gives less than was asked for at its end only (read(2))
        asked = min(limit - len(data), max(_CHUNK, len(data)))
    return data


def open_or_create(path: Path, flags: int) -> int:
    """A handle of ``path``, made with mode 0600 if it is not there; raises OSError.

    Where root opens it, it belongs to the directory's owner from then on.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            with _directory(path.parent) as folder:
                give(handle, folder)
    except BaseException:
        os.close(handle)
        raise
    return handle


def give(handle: int, folder: int) -> None:
    """Let the owner of the directory ``folder`` have what root opened; raises DiskTrouble."""
    if heir := _heir(folder, os.fstat(handle)):
        try:
            os.fchown(handle, *heir)
        except OSError as error:
            user = user_name(heir[0])
            raise DiskTrouble(
                f"give a file to {user}, whose directory it is in",
                error,
                hint=f"run this as {user}: runuser -u {user} -- certrotd …",
            ) from error


def _heir(folder: int, created: os.stat_result) -> tuple[int, int] | None:
    """Who is to own what root has created in ``folder``; None if nothing is to be changed."""
    if os.geteuid() != 0:
        return None
    home = os.fstat(folder)
    owner = home.st_uid, home.st_gid
    return None if owner == (created.st_uid, created.st_gid) else owner


def user_name(uid: int) -> str:
    """The user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def sweep_temporaries(directory: Path) -> None:
    """Remove temporary files a crash left directly in ``directory``; it need not exist.

    Whoever is writing one just then writes it again.
    """
    with explained(f"clean {directory}"):
        try:
            with os.scandir(directory) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.name.endswith(TEMPORARY) and not entry.is_dir(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # then its writer was quicker
                os.unlink(directory / name)


@contextlib.contextmanager
def _directory(path: Path, flags: int = 0) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
    try:
        yield handle
    finally:
        os.close(handle)


def _fill(
    name: str,
    data: bytes,
    mode: int,
    owner: tuple[int, int] | None,
    folder: int,
    *,
    acl: bytes | None = None,
    sync: bool = True,
) -> None:
    handle = _new(name, folder)
    try:
        if owner is None:
            give(handle, folder)
        _own(handle, mode, owner, acl)
        _write_all(handle, data)
        if sync:
            os.fsync(handle)
    except (OSError, DiskTrouble):
        _unlink(name, folder)
        raise
    finally:
        os.close(handle)


def _new(name: str, folder: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o600, dir_fd=folder)
    except FileExistsError:  # a crash left it
        os.unlink(name, dir_fd=folder)
        return os.open(name, flags, 0o600, dir_fd=folder)


def _own(handle: int, mode: int, owner: tuple[int, int] | None, acl: bytes | None = None) -> None:
    # the owner first: changing it clears set-id bits, and the wider mode must never meet the
    # wrong group
    now = os.fstat(handle)
    if owner is not None and (now.st_uid, now.st_gid) != tuple(
        have if want == -1 else want
        for want, have in zip(owner, (now.st_uid, now.st_gid), strict=True)
    ):
        os.fchown(handle, *owner)
    if acl is not None:
        set_acl(handle, acl)
    elif stat.S_IMODE(now.st_mode) != mode:
        os.fchmod(handle, mode)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _unlink(name: str, folder: int) -> None:
    # what is being cleaned up may not be there, and a failure here must not hide the first one:
    # the name is deterministic, so the next write of the same path removes it
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
