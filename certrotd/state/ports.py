"""Where state lives, as ports: documents, journals, histories, locks.

A directory on a host implements them (state/directory.py); a Secret or a Lease in a cluster can,
for nothing here speaks of files. Names of documents are words with slashes, ``budget/letsencrypt``;
subjects are ids as text, ``certificate/web``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble

MAX_DOCUMENT = 64 * 1024 * 1024
"""Bytes of a document, unless an implementation can keep less."""

ABSENT = ""
"""The revision of a document that is not there."""


def everybody(_subject: str) -> bool:
    """Whoever looks after all subjects."""
    return True


class Conflict(Transient):
    """Somebody else changed the document since it was read: read it again and decide anew."""


class TooLarge(NeedsOperator):
    """The document is larger than its place can keep; nothing was written."""


class JournalBroken(DiskTrouble):
    """The journal cannot be written: nothing may be begun that it would have to remember."""


class Fenced(Exception):
    """The lock is another's by now: stop and touch nothing any more, not even to undo.

    No Failure, for nothing that answers those by cleaning up may catch this.
    """


@dataclass(frozen=True)
class Content:
    """What a document said, and the revision that a write must still find."""

    data: bytes
    revision: str


class Document(Protocol):
    """A few bytes to megabytes under a name, replaced whole or not at all."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def read(self) -> Content | None:
        """What it says; None before the first write. Raises DiskTrouble, or InvalidInput.

        The latter for something in its place that can be no document.
        """
        ...

    def revision(self) -> str:
        """The revision that read() would find, cheaply; ABSENT without a document."""
        ...

    def write(self, data: bytes, *, expected: str | None = None) -> str:
        """Replace it, durably; its new revision.

        With ``expected`` only if it still has that revision, else Conflict. Raises TooLarge or
        DiskTrouble, and then the old one stands.
        """
        ...

    def set_aside(self) -> str:
        """Make room for a new one, and keep what is there; where that is, for people."""
        ...


class Journal(Protocol):
    """Where a rotation's records go; the engine is the only writer, under the lock of its id."""

    @property
    def history(self) -> History:
        """What close() adds a line to."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """Every whole record, oldest first; a torn last one is one that never happened.

        NeedsOperator if a record before the last is damaged.
        """
        ...

    def peek(self) -> list[dict[str, Any]] | None:
        """The records as they are now, None while no rotation is in flight; raises as records().

        Nothing is touched: the journal may be in use by another thread or process.
        """
        ...

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        """Add a record; with ``sync`` it and those before it are durable when this returns.

        Raises Unrecordable, JournalBroken, Fenced, or another DiskTrouble before the first record.
        """
        ...

    def replace(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Have these records in the place of all there are, durably.

        Raises DiskTrouble, and then those from before stand.
        """
        ...

    def release(self) -> None:
        """Write down every record, durable or not, and hold nothing open; raises JournalBroken."""
        ...

    def drop(self) -> None:
        """Forget what is not written yet, and hold nothing open: the lock is another's."""
        ...

    def close(self, summary: Mapping[str, Any]) -> None:
        """Shrink the rotation to one line of history and forget its records; repeatable."""
        ...

    def clear(self) -> None:
        """Forget every record: of a closed rotation, or of one whose first record was torn."""
        ...


class History(Protocol):
    """What rotations of one subject came to, oldest first; the last 500 are kept."""

    def lines(self) -> list[dict[str, Any]]:
        """Every line that can be read: it is for people and for backoff, not for recovery."""
        ...

    def last(self) -> dict[str, Any] | None:
        """The newest line; None before the first."""
        ...


class Folder(Protocol):
    """A few small files that stay for good: the key of an account, the root of a private CA."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def where(self, name: str) -> str:
        """Where a file of it is, for people."""
        ...

    def names(self) -> frozenset[str]:
        """The files that are there; raises DiskTrouble."""
        ...

    def read(self, name: str, *, limit: int) -> bytes | None:
        """A file, of at most ``limit`` bytes; None if there is none.

        Raises DiskTrouble, and InvalidInput for what is larger or no file.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put one file, durably, and leave the others; raises DiskTrouble."""
        ...

    def add(self, name: str, data: bytes) -> None:
        """Put one file, durably, where there is none of that name, else Conflict.

        So it is for one that has lost the lock without knowing. Raises DiskTrouble.
        """
        ...

    def remove(self, name: str) -> None:
        """Take one file away, durably; one that is not there is fine. Raises DiskTrouble."""
        ...

    def create(self, files: Mapping[str, bytes]) -> None:
        """Put all of these, durably, or none, where there are no files; raises DiskTrouble."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """A block within which this thread reads, and may be told what was there at the first."""
        ...

    def locked(self, what: str, wait: Deadline) -> AbstractContextManager[Lease]:
        """Keep other threads and processes out for a block; raises LockHeld, DiskTrouble."""
        ...


class Lease(Protocol):
    """A lock that is held."""

    @property
    def token(self) -> int:
        """Higher than that of everyone who held the lock before."""
        ...

    def check(self) -> None:
        """Raise Fenced if the lock is another's by now."""
        ...


class Changes(Protocol):
    """Which subjects of one kind to look at, because of another process; asked every second."""

    def subjects(self) -> frozenset[str]:
        """Those that were rotated since it was asked last; none the first time.

        Their ids, or what looks like one. Raises OSError, DiskTrouble.
        """
        ...

    def woken(self) -> frozenset[str]:
        """Those that State.wake() was called for since it was asked last, by whomever.

        A call while this is answered may count twice, and never not at all. Raises OSError,
        DiskTrouble; then the next answer has them.
        """
        ...


class State(Protocol):
    """All of it; nothing here is opened before it is used."""

    def document(self, name: str) -> Document: ...

    def folder(self, name: str) -> Folder: ...

    def journal(self, subject: str) -> Journal: ...

    def in_flight(self) -> frozenset[str]:
        """The subjects whose journals are open; raises DiskTrouble."""
        ...

    def flying(self, subject: str) -> bool:
        """Whether the journal of this one is open."""
        ...

    def changes(self, kind: str, mine: Callable[[str], bool] = everybody) -> Changes:
        """Of one kind; a wake is left for others unless the subject is ``mine``."""
        ...

    def wake(self, subject: str) -> None:
        """Ask that this one is looked at now; raises DiskTrouble.

        By any process, at any time: it is kept until somebody asks Changes.woken(). Repeatable.
        """
        ...

    def lock(
        self,
        name: str,
        what: str,
        *,
        wait: Deadline | None = None,
        shared: bool = False,
    ) -> AbstractContextManager[Lease]:
        """Hold the lock of that name for a block; ``shared`` keeps out only who wants it alone.

        ``what`` names the thing in the LockHeld raised when another process or thread has it, at
        once or when ``wait`` has passed.
        """
        ...

    def holder(self, name: str) -> str | None:
        """Who holds the lock of that name alone, in words; None if nobody. Raises Failure."""
        ...

    def problems(self, kinds: Iterable[str]) -> Iterable[Failure]:
        """What would keep rotations of these kinds from being recorded; nothing is changed."""
        ...
