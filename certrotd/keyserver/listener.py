"""A Unix socket at a path that one server has at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

from certrotd.errors import NeedsOperator, Transient
from certrotd.keyserver.wire import PATH_BYTES

BACKLOG = 64
_TIMEOUT = 1.0


class Listener:
    """Listens at ``path`` from the moment it is made; a lock beside it keeps a second server out.

    Raises Transient where another process has the place, NeedsOperator where nobody can have it.
    """

    def __init__(self, path: Path, *, mode: int) -> None:
        self._path = path
        _fit(path)
        self._lock = _locked(path)
        try:
            self.socket = _listening(path, mode)
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
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
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
        raise _taken(path) from None
    return handle


def _listening(path: Path, mode: int) -> socket.socket:
    _make_room(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        os.chmod(path, mode)  # before listen() nobody can connect
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:  # somebody was quicker who knows no lock
            raise _taken(path) from None
        raise NeedsOperator(f"cannot listen at unix:{path}: {error.strerror}") from None
    return listener


def _make_room(path: Path) -> None:
    """Remove a socket that nobody listens at: a crash left it. Anything else is left alone."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise NeedsOperator(
            f"cannot listen at unix:{path}: there is something that is no socket",
            hint="move it away, or choose another path",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:  # its backlog is full, say: somebody is there
            pass
    raise _taken(path)


def _taken(path: Path) -> Transient:
    return Transient(f"unix:{path} is taken by another process", hint="stop one of the two")
