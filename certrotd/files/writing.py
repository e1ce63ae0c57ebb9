"""Whole files or none: written beside, synced, renamed; links replaced, never followed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.ownership import give, heir_of, set_owner

TEMPORARY = ".certrotd-tmp"
_TRIES = 3
_making = threading.Lock()


def temporary_of(path: Path) -> Path:
    """Where the content of ``path`` is written before it is renamed into place.

    The name is a function of the path, so that a crash leaves at most one such file and the next
    write of the same path replaces it.
    """
    return path.with_name(f".{path.name}{TEMPORARY}")


def write_file(path: Path, data: bytes, *, mode: int, sync: bool = True) -> None:
    """Replace ``path`` atomically and durably; raises DiskTrouble and leaves the old file whole.

    The temporary file has its final mode and, where root writes, the owner of the directory before
    its content. A symbolic link at ``path`` is replaced, never followed. Without ``sync`` a power
    cut may leave the old file, or an empty one.
    """
    with explained(f"write {path}"), open_directory(path.parent) as folder:
        temporary = temporary_of(path).name
        _until_not_swept(
            partial(_fill, temporary, data, mode, None, folder, sync=sync),
            partial(_into_place, temporary, path.name, folder),
        )
        if sync:
            os.fsync(folder)


@dataclass(frozen=True)
class NewFile:
    """What a file is to be: ``owner`` is uid and gid, where -1 keeps one; ``acl`` as acl(5).

    No owner is that of the directory where root writes.
    """

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
                        folders[parent] = opened.enter_context(open_directory(parent))
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
    with explained(f"write files into {directory}"), open_directory(directory) as folder:
        for name, data, mode in files:
            with explained(f"write {directory}/{name}"):
                _fill(name, data, mode, None, folder)
        if sync:
            os.fsync(folder)


def create_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file where there is nothing yet, whole and durably; never over anything.

    Raises DiskTrouble, of errno EEXIST where there is something, be it a link.
    """
    with explained(f"create {path}"), open_directory(path.parent) as folder:
        temporary = temporary_of(path).name
        _fill(temporary, data, mode, None, folder)
        try:
            # a rename would replace what another process has put there meanwhile
            os.link(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            _unlink(temporary, folder)
        os.fsync(folder)


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
            set_owner(handle, mode, owner, acl)
            # over the old content, and cut afterwards: a full disk has room for what was there
            write_all(handle, data)
            os.ftruncate(handle, len(data))
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_symlink(link: Path, target: str) -> None:
    """Point ``link`` at ``target`` by one rename; whoever reads sees the old or the new target."""
    with explained(f"point {link} at {target}"), open_directory(link.parent) as folder:
        temporary = temporary_of(link).name
        _until_not_swept(
            partial(make_link, temporary, target, folder),
            partial(_into_place, temporary, link.name, folder),
        )
        os.fsync(folder)


def make_link(temporary: str, target: str, folder: int) -> None:
    """A symbolic link in the directory ``folder``; raises OSError."""
    try:
        os.symlink(target, temporary, dir_fd=folder)
    except FileExistsError:  # a crash left it
        os.unlink(temporary, dir_fd=folder)
        os.symlink(target, temporary, dir_fd=folder)
    if heir := heir_of(folder, os.stat(temporary, dir_fd=folder, follow_symlinks=False)):
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


def remove_tree(directory: Path) -> None:
    """Remove a directory of plain files and its one level of content; absent is fine.

    Links inside are removed, never followed; a link in its place is refused. What cannot be removed
    does not keep the rest. Raises DiskTrouble.
    """
    with explained(f"remove {directory}"):
        try:
            with open_directory(directory, os.O_NOFOLLOW) as folder:
                do_each([partial(_unlink_any, name, folder) for name in os.listdir(folder)])
        except FileNotFoundError:
            return
        os.rmdir(directory)
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
    """Create ``path`` and its missing parents durably, each with ``mode``. Raises DiskTrouble.

    One thread at a time: what another has made is root's until it is given to its heir.
    """
    with _making, explained(f"create directory {path}"):
        if os.path.isdir(path):
            return
        missing = [path]
        while not os.path.exists(folder := missing[-1].parent):
            missing.append(folder)
        for each in reversed(missing):
            try:
                os.mkdir(each, mode)
                with open_directory(each.parent) as above:
                    if heir := heir_of(above, os.stat(each, follow_symlinks=False)):
                        os.chown(each, *heir, follow_symlinks=False)
                os.chmod(each, mode)  # whatever the umask
            except FileExistsError:  # another process was quicker
                if not os.path.isdir(each):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
            sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; raises OSError."""
    with open_directory(path) as folder:
        os.fsync(folder)


def open_or_create(path: Path, flags: int) -> int:
    """A handle of ``path``, made with mode 0600 if it is not there; raises OSError.

    Where root opens it, it belongs to the directory's owner from then on.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            with open_directory(path.parent) as folder:
                give(handle, folder)
    except BaseException:
        os.close(handle)
        raise
    return handle


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
def open_directory(path: Path, flags: int = 0) -> Iterator[int]:
    """A handle of the directory, for as long as the block lasts; raises OSError."""
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
    handle = create_new(name, folder)
    try:
        if owner is None:
            give(handle, folder)
        set_owner(handle, mode, owner, acl)
        write_all(handle, data)
        if sync:
            os.fsync(handle)
    except (OSError, DiskTrouble):
        _unlink(name, folder)
        raise
    finally:
        os.close(handle)


def create_new(name: str, folder: int) -> int:
    """A handle of a new file in the directory ``folder``; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o600, dir_fd=folder)
    except FileExistsError:  # a crash left it
        os.unlink(name, dir_fd=folder)
        return os.open(name, flags, 0o600, dir_fd=folder)


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data``; raises OSError, after which a part of it may be there."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _unlink(name: str, folder: int) -> None:
    # what is being cleaned up may not be there, and a failure here must not hide the first one:
    # the name is deterministic, so the next write of the same path removes it
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
