"""Writing a planned configuration: secrets first, the configuration itself last, or nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from certrotd.errors import Failure, InvalidInput, LockHeld, NeedsOperator, UsageError, listed
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.reading import is_there, read_file
from certrotd.files.shared import OTHERS_WRITE, refuse_open_to_all
from certrotd.files.writing import (
    create_file,
    make_directory,
    open_directory,
    remove_file,
    write_file,
)
from certrotd.importing.configuration import SECRETS, Plan

CONFIG, STAGED = "config.yaml", ".config.yaml.new"


def write(plan: Plan, folder: Path, keep_accounts: Callable[[Path], None]) -> Path:
    """Write all files; the configuration gets its name once its accounts are kept.

    ``keep_accounts`` is given the configuration under another name. If anything fails, what was
    written here is removed again. Raises UsageError where there is a configuration or another
    secret already, or where everybody may write, LockHeld, DiskTrouble, NeedsOperator for what
    could not be removed, and what ``keep_accounts`` raises.
    """
    refuse_open_to_all(folder, why="and could choose what certrotd runs")
    _refuse_existing(folder)
    with _made() as made:
        made.directory(folder, mode=0o755)
        with _alone(folder):
            _write_secrets(plan, folder, made)
            # a command that another client kept to itself may hold a secret
            document, staged = plan.document.encode(), folder / STAGED
            made.files.append(staged)
            write_file(staged, document, mode=0o640)
            keep_accounts(staged)
            remove_file(staged)
            _publish(folder / CONFIG, document, made)
    return folder / CONFIG


class _Made:
    """The files and directories of a command, to be removed if it fails."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self._directories: list[Path] = []

    def directory(self, path: Path, *, mode: int) -> None:
        """As make_directory()."""
        self._directories += [each for each in (path, *path.parents) if not is_there(each)]
        make_directory(path, mode=mode)

    def undo(self) -> list[Path]:
        """Remove them but for directories with files of somebody else; what could not be."""
        left = []
        for path in self.files:
            try:
                remove_file(path)
            except DiskTrouble:
                left.append(path)
        for path in sorted(self._directories, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        return left


@contextlib.contextmanager
def _made() -> Iterator[_Made]:
    made = _Made()
    try:
        yield made
    except BaseException as error:
        if left := made.undo():
            raise NeedsOperator(
                f"{error}; it could not be undone: {listed(map(str, left))} left",
                hint="remove what is left, or repeat the command",
            ) from error
        raise


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One import at a time writes there; the lock is the directory's own, and leaves no file."""
    with explained(f"lock {folder}"), open_directory(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(str(folder), holder="another import") from None
        yield


def _write_secrets(plan: Plan, folder: Path, made: _Made) -> None:
    secrets = {folder / SECRETS / name: value + b"\n" for name, value in plan.secrets.items()}
    if not secrets:
        return
    made.directory(folder / SECRETS, mode=0o700)
    _refuse_shared(folder / SECRETS, folder)
    missing = {path: value for path, value in secrets.items() if not _is_same(path, value)}
    for path, value in missing.items():
        create_file(path, value, mode=0o600)
        made.files.append(path)


def _publish(path: Path, document: bytes, made: _Made) -> None:
    try:
        create_file(path, document, mode=0o640)
    except DiskTrouble as error:
        if error.errno == errno.EEXIST:
            raise _there(path) from None
        with contextlib.suppress(OSError, Failure):
            if read_file(path, limit=len(document), follow=False) == document:
                made.files.append(path)  # it has its name, and may lose it in a power cut
        raise


def _refuse_existing(folder: Path) -> None:
    path = folder / CONFIG
    if is_there(path):
        raise _there(path)


def _there(path: Path) -> UsageError:
    return UsageError(
        f"{path} is there already and is left alone",
        hint="choose another directory, and bring the entries together by hand",
    )


def _refuse_shared(secrets: Path, folder: Path) -> None:
    """A link leads out of ``folder``, and whoever can write here could read or replace secrets."""
    with explained(f"look at {secrets}"):
        found, around = secrets.lstat(), folder.stat()
    others = found.st_mode & OTHERS_WRITE or found.st_uid not in (around.st_uid, os.geteuid())
    if stat.S_ISLNK(found.st_mode) or others:
        raise UsageError(
            f"{secrets} is a link, has another owner than {folder}, or can be written by others",
            hint="move it away, or choose another directory",
        )


def _is_same(path: Path, value: bytes) -> bool:
    """Whether it is there, as an import that was killed left it; UsageError for another secret."""
    try:
        same = read_file(path, limit=len(value), follow=False) == value
    except FileNotFoundError:
        return False
    except InvalidInput:
        same = False
    if not same:
        raise UsageError(
            f"{path} is there already with another secret, and is left alone",
            hint="move it away if nothing needs it, or choose another directory",
        )
    return True
