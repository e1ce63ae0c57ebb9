"""A Unix socket at a path that one server has at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from certrotd.errors import NeedsOperator
from certrotd.files.shared import others_replace
from certrotd.keyserver.wire import PATH_BYTES
from certrotd.unixsocket import listening, taken

BACKLOG = 64


class Listener:
    """Listens at ``path`` from the moment it is made; a lock beside it keeps a second server out.

    Raises Transient where another process has the place, NeedsOperator where nobody can have it.
    """

    def __init__(self, path: Path, *, mode: int) -> None:
        self._path = path
        _fit(path)
        self._lock = _locked(path)
        try:
            self.socket = listening(path, mode=mode, backlog=BACKLOG)
            self._inode = os.lstat(path).st_ino
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Listen no more, and take the socket away unless somebody put another in its place."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        os.close(self._lock)


def _fit(path: Path) -> None:
    if len(os.fsencode(path)) > PATH_BYTES:
        raise NeedsOperator(
            f"the path unix:{path} is too long", hint=f"{PATH_BYTES} bytes at most: see unix(7)"
        )
    try:
        folder = os.stat(path.parent)
    except OSError as error:
        raise NeedsOperator(
            f"cannot listen at unix:{path}: {error.strerror}", hint="create the directory"
        ) from None
    if others_replace(folder, stat.S_IWOTH):
        raise NeedsOperator(
            f"cannot listen at unix:{path}: everybody may write to {path.parent}",
            hint="whoever replaces the socket gives keys of their own: choose another directory",
        )


def _locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    except OSError as error:
        raise NeedsOperator(f"cannot lock unix:{path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise taken(path) from None
    return handle
