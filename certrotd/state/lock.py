"""One worker per name: an advisory lock that dies with its process and says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from certrotd.clock import Deadline
from certrotd.errors import LockHeld
from certrotd.files.disktrouble import explained
from certrotd.files.writing import make_directory, open_or_create
from certrotd.jsontext import parsed
from certrotd.state.ports import Fenced

_POLL = 0.02
_NOTE = 2048  # more than a note of 200 characters of command can take


class FileLease:
    """A flock(2) that is held; the kernel keeps others out as long as the file is that of the path.

    Who removes a lock file, or puts another in its place, lets a second process in.
    """

    def __init__(self, path: Path, handle: int, token: int) -> None:
        self.token = token
        self._path = path
        self._status = os.fstat(handle)

    def check(self) -> None:
        """As Lease.check; raises DiskTrouble where nobody can tell."""
        with explained(f"look at {self._path}"):
            try:
                if os.path.samestat(os.lstat(self._path), self._status):
                    return
            except FileNotFoundError:
                pass
        raise Fenced(f"{self._path} was removed while it was locked")


class NoLease:
    """The Lease of who changes nothing, and needs no lock."""

    token = 0

    def check(self) -> None:
        """Nothing to lose."""


@contextlib.contextmanager
def hold(
    path: Path,
    *,
    what: str,
    command: str,
    now: datetime,
    wait: Deadline | None = None,
    shared: bool = False,
) -> Iterator[FileLease]:
    """Hold a flock(2) on ``path`` for the block; ``shared`` keeps out only who wants it alone.

    ``what`` names the thing in the LockHeld raised when another process (or thread) has it,
    at once or when ``wait`` has passed; ``command`` and ``now`` are shown to whoever meets the
    lock. The file stays behind, unlocked: removing it would let two processes lock two files.
    """
    handle = _open(path)
    try:
        while not _try(handle, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if wait is None or wait.passed:
                raise LockHeld(what, holder=_holder(handle))
            wait.pause(_POLL)
        lease = FileLease(path, handle, _token(handle) + 1)
        note = {
            "pid": os.getpid(),
            "command": command[:200],
            "since": now.isoformat(timespec="seconds"),
            "token": lease.token,
        }
        with contextlib.suppress(OSError):  # the note is a courtesy; a full disk must not unlock
            # padded, not truncated: one cheap write covers whatever note was there before
            os.pwrite(handle, json.dumps(note).encode().ljust(_NOTE), 0)
        try:
            yield lease
        finally:
            # closing would leave it locked as long as a program that another thread is just
            # starting has the file too, as it has all of them between fork(2) and execve(2)
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether anybody holds the lock at ``path`` alone; nothing is written. Raises DiskTrouble.

    To find out it shares the lock for an instant: whoever wants it alone just then is refused.
    """
    with explained(f"look at the lock {path}"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    try:
        if not _try(handle, path, fcntl.LOCK_SH):
            return True
        fcntl.flock(handle, fcntl.LOCK_UN)  # as in hold()
        return False
    finally:
        os.close(handle)


def holder_of(path: Path, *, table: Path = Path("/proc/locks")) -> str | None:
    """Who holds the lock at ``path`` alone, in words; None if nobody does, or nobody can tell.

    The kernel's table of locks tells, so that nobody is kept out meanwhile (proc_locks(5)). The
    file systems of containers show other devices there than stat(2), so the note must agree.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        inode, note = os.fstat(handle).st_ino, _note(handle)
        lines = table.read_text().splitlines()
    except OSError:
        return None
    finally:
        os.close(handle)
    alone = re.compile(
        rf"\d+: FLOCK +ADVISORY +WRITE {note.get('pid')} [0-9a-f]+:[0-9a-f]+:{inode} "
    )
    return _words(note) if any(map(alone.match, lines)) else None


@contextlib.contextmanager
def hold_any(
    paths: Sequence[Path], *, what: str, command: str, now: datetime, wait: Deadline
) -> Iterator[None]:
    """As hold, the first of several locks that is free: as many may be at it as there are paths."""
    with contextlib.ExitStack() as held:
        while True:
            over = wait.passed  # each is tried once more then
            for path in paths:
                try:
                    held.enter_context(hold(path, what=what, command=command, now=now))
                except LockHeld:
                    if over and path == paths[-1]:
                        raise
                else:
                    yield
                    return
            wait.pause(_POLL)


def _open(path: Path) -> int:
    with explained(f"lock {path}"), contextlib.suppress(FileNotFoundError):
        return open_or_create(path, os.O_RDWR)
    make_directory(path.parent, mode=0o700)
    with explained(f"lock {path}"):
        return open_or_create(path, os.O_RDWR)


def _try(handle: int, path: Path, kind: int) -> bool:
    with explained(f"lock {path}"):
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _token(handle: int) -> int:
    """That of the last who held it; 0 where the note is lost, which the kernel's lock survives."""
    try:
        return int(parsed(os.pread(handle, _NOTE, 0))["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _holder(handle: int) -> str:
    try:
        return _words(_note(handle))
    except OSError:
        return "another process"


def _note(handle: int) -> dict[str, Any]:
    """What the last holder wrote; empty where that is no note. Raises OSError."""
    try:
        note = parsed(os.pread(handle, 2 * _NOTE, 0))
        return {"pid": int(note["pid"]), "command": note["command"], "since": note["since"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _words(note: Mapping[str, Any]) -> str:
    if not note:
        return "another process"
    return f"process {note['pid']} ({note['command']}, since {note['since']})"
