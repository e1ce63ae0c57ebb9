"""The state in a directory of a host: files, and locks that die with their process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from pathlib import Path

from certrotd.clock import Deadline
from certrotd.errors import Failure, failed
from certrotd.files.reading import is_there
from certrotd.files.writable import check_directory
from certrotd.files.writing import make_directory
from certrotd.state.changes import FileChanges
from certrotd.state.check import sweep_state
from certrotd.state.document import FileDocument
from certrotd.state.folder import FileFolder
from certrotd.state.format import migrate, require_known
from certrotd.state.journal import FileJournal, in_flight
from certrotd.state.lock import FileLease, hold, holder_of, is_held
from certrotd.state.ports import everybody
from certrotd.state.wake_notes import leave_note

DAEMON_LOCK = "_daemon"
"""Held as long as a daemon runs; no subject's lock lies beside it."""
PAGE = 4096


class StateDirectory:
    """The State in ``path``; ``command`` and ``now`` are shown to whoever meets a lock."""

    def __init__(self, path: Path, *, command: str, now: Callable[[], datetime]) -> None:
        self.path = path
        self._command = command
        self._now = now

    def prepare(self, *, held: bool = False) -> str:
        """Make the directory, or migrate one of an older format; what there was to it, in words.

        ``held``: the caller holds DAEMON_LOCK. Raises as format.migrate() does.
        """
        self.make()
        lock = None if held else self._lock_path(DAEMON_LOCK)
        return migrate(self.path, self.lock_file, daemon=lock)

    def daemon_runs(self) -> bool:
        """Whether a daemon runs on the directory; raises DiskTrouble."""
        return is_held(self._lock_path(DAEMON_LOCK))

    def make(self) -> None:
        """Make the directory; raises NeedsOperator for one of a newer format, and DiskTrouble."""
        require_known(self.path)
        make_directory(self.path, mode=0o700)

    def sweep(self) -> None:
        """Remove the temporary files that a kill left; raises DiskTrouble."""
        sweep_state(self.path)

    def document(self, name: str) -> FileDocument:
        return FileDocument(self.path, name)

    def folder(self, name: str) -> FileFolder:
        return FileFolder(self.path / name, self.lock_file)

    def journal(self, subject: str) -> FileJournal:
        return FileJournal(self.path, subject)

    def in_flight(self) -> frozenset[str]:
        return in_flight(self.path)

    def flying(self, subject: str) -> bool:
        return is_there(f"{self.path}/journal/{subject}.jsonl")

    def changes(self, kind: str, mine: Callable[[str], bool] = everybody) -> FileChanges:
        return FileChanges(self.path, kind, mine)

    def wake(self, subject: str) -> None:
        leave_note(self.path, subject)

    def lock(
        self, name: str, what: str, *, wait: Deadline | None = None, shared: bool = False
    ) -> AbstractContextManager[FileLease]:
        return self.lock_file(self._lock_path(name), what, wait=wait, shared=shared)

    def _lock_path(self, name: str) -> Path:
        return self.path / "locks" / f"{name}.lock"

    def lock_file(
        self, path: Path, what: str, *, wait: Deadline | None = None, shared: bool = False
    ) -> AbstractContextManager[FileLease]:
        """As lock(), at a path: for who knows where an older certrotd had its locks."""
        now = self._now()
        return hold(path, what=what, command=self._command, now=now, wait=wait, shared=shared)

    def holder(self, name: str) -> str | None:
        return holder_of(self._lock_path(name))

    def problems(self, kinds: Iterable[str]) -> Iterator[Failure]:
        """The first of the folders that cannot be written; it would be said of the rest again."""
        shared = "", "audit"
        own = (f"{folder}/{k}" for k in kinds for folder in ("journal", "history", "locks"))
        for folder in (*shared, *own):
            problem = next(failed(partial(check_directory, self.path / folder, room=PAGE)), None)
            if problem is not None:
                yield problem
                return
