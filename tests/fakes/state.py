"""A State in memory that misbehaves as a cluster's API can, when it is asked to."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from certrotd.clock import Deadline
from certrotd.errors import Failure, InvalidInput, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.state.history import with_line
from certrotd.state.ports import ABSENT, Conflict, Content, Fenced, TooLarge, everybody
from certrotd.state.records import encode

MIB = 1024 * 1024


@dataclass
class MemoryState:
    """What outlives processes; each process has one ``view`` of it, under which it holds locks.

    ``limit`` is the size of a document, as of a Secret. ``conflicts`` says how many of the next
    compared writes lose, ``stale`` how many of the next reads show what was there before the last
    write, ``slow`` is called before every access.
    """

    limit: int = MIB
    conflicts: int = 0
    stale: int = 0
    documents: dict[str, list[bytes | None]] = field(default_factory=dict)
    asides: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, dict[str, bytes]] = field(default_factory=dict)
    journals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)
    wakes: set[str] = field(default_factory=set)
    tokens: Counter[str] = field(default_factory=Counter)
    holders: dict[str, int] = field(default_factory=dict)
    sharers: Counter[str] = field(default_factory=Counter)
    accesses: int = 0

    def slow(self) -> None:
        """Something takes its time here."""
        self.accesses += 1

    def document(self, name: str) -> MemoryDocument:
        return MemoryDocument(self, name)

    def folder(self, name: str) -> MemoryFolder:
        return MemoryFolder(self, name)

    def journal(self, subject: str) -> MemoryRecords:
        return MemoryRecords(self, subject)

    def in_flight(self) -> frozenset[str]:
        self.slow()
        return frozenset(self.journals)

    def flying(self, subject: str) -> bool:
        return subject in self.journals

    def changes(self, kind: str, mine: Callable[[str], bool] = everybody) -> MemoryChanges:
        return MemoryChanges(self, f"{kind}/", mine)

    def wake(self, subject: str) -> None:
        self.slow()
        self.wakes.add(subject)

    def holder(self, name: str) -> str | None:
        self.slow()
        return "another process" if name in self.holders else None

    def problems(self, kinds: Iterable[str]) -> Iterable[Failure]:
        del kinds
        return ()

    @contextlib.contextmanager
    def lock(
        self, name: str, what: str, *, wait: Deadline | None = None, shared: bool = False
    ) -> Iterator[MemoryLease]:
        while name in self.holders or (self.sharers[name] and not shared):
            if wait is None or wait.passed:
                raise LockHeld(what, holder="another process")
            wait.pause(1)
        if shared:
            self.sharers[name] += 1
            try:
                yield MemoryLease(self, name, 0)
            finally:
                self.sharers[name] -= 1
            return
        self.tokens[name] += 1
        lease = MemoryLease(self, name, self.tokens[name])
        self.holders[name] = lease.token
        try:
            yield lease
        finally:
            if self.holders.get(name) == lease.token:
                del self.holders[name]

    def lose(self, name: str) -> None:
        """The lease of that lock has run out, and its holder does not know yet."""
        del self.holders[name]
        self.tokens[name] += 1


@dataclass(frozen=True)
class MemoryLease:
    """A lock that is held until it is lost."""

    state: MemoryState
    name: str
    token: int

    def check(self) -> None:
        if self.token and self.state.holders.get(self.name) != self.token:
            raise Fenced(f"the lease {self.name} is another's")


@dataclass(frozen=True)
class MemoryDocument:
    """All that was ever written, the last of which counts."""

    state: MemoryState
    name: str

    @property
    def place(self) -> str:
        return f"memory:{self.name}"

    @property
    def _writes(self) -> list[bytes | None]:
        return self.state.documents.setdefault(self.name, [])

    def read(self) -> Content | None:
        self.state.slow()
        count = len(self._writes)
        if self.state.stale and count:
            self.state.stale -= 1
            count -= 1
        found = self._writes[count - 1] if count else None
        return None if found is None else Content(found, str(count))

    def revision(self) -> str:
        self.state.slow()
        writes = self._writes
        return str(len(writes)) if writes and writes[-1] is not None else ABSENT

    def write(self, data: bytes, *, expected: str | None = None) -> str:
        self.state.slow()
        if len(data) > self.state.limit:
            raise TooLarge(f"{self.place} would be larger than {self.state.limit} bytes")
        if expected is not None and self.state.conflicts:
            self.state.conflicts -= 1
            raise Conflict(f"{self.place} is just being written")
        if expected is not None and expected != self.revision():
            raise Conflict(f"{self.place} was changed")
        self._writes.append(data)
        return self.revision()

    def set_aside(self) -> str:
        content = self.read()
        if content is not None:
            self.state.asides[self.name] = content.data
        self._writes.append(None)
        return f"{self.place}.unreadable"


@dataclass(frozen=True)
class MemoryFolder:
    """Files that are written at once."""

    state: MemoryState
    name: str

    @property
    def place(self) -> str:
        return f"memory:{self.name}"

    def where(self, name: str) -> str:
        return f"{self.place}/{name}"

    @property
    def _files(self) -> dict[str, bytes]:
        self.state.slow()
        return self.state.folders.setdefault(self.name, {})

    def names(self) -> frozenset[str]:
        return frozenset(self._files)

    def read(self, name: str, *, limit: int) -> bytes | None:
        data = self._files.get(name)
        if data is not None and len(data) > limit:
            raise InvalidInput(f"{self.where(name)} is larger than {limit} bytes")
        return data

    def write(self, name: str, data: bytes) -> None:
        self._files[name] = data

    def add(self, name: str, data: bytes) -> None:
        if name in self._files:
            raise Conflict(f"{self.where(name)} was made meanwhile")
        self._files[name] = data

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def create(self, files: Mapping[str, bytes]) -> None:
        if self._files:
            raise DiskTrouble(f"make {self.place}", OSError(errno.ENOTEMPTY, "not empty"))
        self._files.update(files)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def locked(self, what: str, wait: Deadline) -> contextlib.AbstractContextManager[MemoryLease]:
        return self.state.lock(f"folder/{self.name}", what, wait=wait)


class MemoryRecords:
    """A journal; what is not synced is this process's alone, as in a file that is not open yet."""

    def __init__(self, state: MemoryState, subject: str) -> None:
        self._state = state
        self._subject = subject
        self._late: list[dict[str, Any]] = []

    @property
    def history(self) -> MemoryLines:
        return MemoryLines(self._state, self._subject)

    def records(self) -> list[dict[str, Any]]:
        self.release()
        return list(self._state.journals.get(self._subject, ()))

    def peek(self) -> list[dict[str, Any]] | None:
        found = self._state.journals.get(self._subject)
        return None if found is None else list(found)

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        encode(record)
        self._late.append(dict(record))
        if sync:
            self.release()

    def replace(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.release()
        self._state.journals[self._subject] = [dict(each) for each in records]

    def release(self) -> None:
        if self._late:
            self._state.slow()
            self._state.journals.setdefault(self._subject, []).extend(self._late)
            self._touched()
        self._late = []

    def drop(self) -> None:
        self._late = []

    def close(self, summary: Mapping[str, Any]) -> None:
        lines = self._state.histories.setdefault(self._subject, [])
        lines[:] = with_line(lines, summary)
        self.clear()

    def clear(self) -> None:
        self._late = []
        if self._state.journals.pop(self._subject, None) is not None:
            self._touched()

    def _touched(self) -> None:
        self._state.touched.append(self._subject)


@dataclass(frozen=True)
class MemoryLines:
    """A history."""

    state: MemoryState
    subject: str

    def lines(self) -> list[dict[str, Any]]:
        return list(self.state.histories.get(self.subject, ()))

    def last(self) -> dict[str, Any] | None:
        lines = self.lines()
        return lines[-1] if lines else None


class MemoryChanges:
    """What was touched, or somebody asked for, since it was asked last."""

    def __init__(self, state: MemoryState, prefix: str, mine: Callable[[str], bool]) -> None:
        self._state = state
        self._prefix = prefix
        self._mine = mine
        self._seen: int | None = None

    def subjects(self) -> frozenset[str]:
        seen, self._seen = self._seen, len(self._state.touched)
        touched = () if seen is None else self._state.touched[seen:]
        return frozenset(each for each in touched if each.startswith(self._prefix))

    def woken(self) -> frozenset[str]:
        told = self._state.wakes.copy()
        woken = frozenset(e for e in told if e.startswith(self._prefix) and self._mine(e))
        self._state.wakes -= woken
        return woken
