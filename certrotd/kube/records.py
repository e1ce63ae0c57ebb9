"""The journal and the history of one subject, in one Secret: a rotation is closed in one write.

It has one writer, who holds the lock of the subject. So a write that finds it changed means that
the lock is another's by now: Fenced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.kube.api import Object, revision_of
from certrotd.kube.objects import KIND, Objects, data_of, label, secret
from certrotd.state.history import with_line
from certrotd.state.ports import Conflict, Fenced, JournalBroken, TooLarge
from certrotd.state.records import decode, decode_line, encode

IN_FLIGHT = "certrotd.io/in-flight"
"""The label of those whose journal is open."""
MAX_JOURNAL = 700_000
MAX_LINES = 250_000
"""Bytes of both: together they fit a Secret."""
_JOURNAL, _HISTORY = "journal", "history"


def in_flight(objects: Objects) -> frozenset[str]:
    """The ids whose journals are open; raises DiskTrouble."""
    return frozenset(filter(None, map(objects.whose, objects.find({IN_FLIGHT: "true"}))))


def is_in_flight(found: Object | None) -> bool:
    """Whether the journal of a record is open."""
    return found is not None and label(found, IN_FLIGHT) == "true"


class SecretHistory:
    """As ports.History."""

    def __init__(self, objects: Objects, subject: str) -> None:
        self._objects = objects
        self._subject = subject

    def lines(self) -> list[dict[str, Any]]:
        found = self._objects.read(self._subject)
        place = self._objects.place(self._subject)
        return _lines(data_of(found, place).get(_HISTORY, b"")) if found else []

    def last(self) -> dict[str, Any] | None:
        lines = self.lines()
        return lines[-1] if lines else None


class SecretJournal:
    """As ports.Journal.

    A record that need not be durable is written with the next one that must be: until release() it
    is in memory only.
    """

    __slots__ = ("_data", "_history", "_late", "_objects", "_revision", "_subject")

    def __init__(self, objects: Objects, subject: str) -> None:
        self._objects = objects
        self._subject = subject
        self._revision: str | None = None  # that of the Secret as it was seen last; None: not known
        self._data: bytes | None = None
        self._history = b""
        self._late = b""

    @property
    def history(self) -> SecretHistory:
        return SecretHistory(self._objects, self._subject)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self._objects.place(self._subject)

    def records(self) -> list[dict[str, Any]]:
        self.release()
        self._load()
        return decode(self._data or b"", what=self.place)[0]

    def peek(self) -> list[dict[str, Any]] | None:
        found = self._objects.read(self._subject)
        data = data_of(found, self.place).get(_JOURNAL) if found else None
        return None if data is None else decode(data, what=self.place)[0]

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        self._late += encode(record)
        if sync:
            self.release()

    def replace(self, records: Sequence[Mapping[str, Any]]) -> None:
        data = b"".join(encode(each) for each in records)
        self.release()
        self._known()
        self._write(data, self._history)

    def release(self) -> None:
        if not self._late:
            return
        self._known()
        late, self._late = self._late, b""
        self._write((self._data or b"") + late, self._history)

    def drop(self) -> None:
        self._late = b""
        self._revision = None

    def close(self, summary: Mapping[str, Any]) -> None:
        self._late = b""
        self._known()
        lines = _lines(self._history)
        added = with_line(lines, summary)
        history = self._history if added == lines else _joined(added)
        if self._data is not None or history != self._history:
            self._write(None, history)

    def clear(self) -> None:
        self._late = b""
        self._known()
        if self._data is not None:
            self._write(None, self._history)

    def _known(self) -> None:
        if self._revision is None:
            self._load()

    def _load(self) -> None:
        found = self._objects.read(self._subject)
        data = data_of(found, self.place) if found else {}
        self._data, self._history = data.get(_JOURNAL), data.get(_HISTORY, b"")
        self._revision = revision_of(found) if found else ""

    def _write(self, journal: bytes | None, history: bytes) -> None:
        """Replace both; should that fail, what is there is not known any more."""
        revision, self._revision = self._revision, None
        assert revision is not None, "it was loaded"
        if journal is not None and len(journal) > MAX_JOURNAL:
            words = f"the journal would be larger than {MAX_JOURNAL} bytes"
            raise JournalBroken(f"write {self.place}", OSError(words))
        labels = {KIND: Id.parse(self._subject).kind}
        data = {_HISTORY: history}
        if journal is not None:
            labels[IN_FLIGHT] = "true"
            data[_JOURNAL] = journal
        try:
            found = self._objects.write(
                self._subject, secret(data), revision=revision, labels=labels
            )
        except Conflict as conflict:
            raise Fenced(f"{self.place} was changed or removed: {conflict.message}") from None
        except DiskTrouble as trouble:
            why = trouble.message.removeprefix(f"cannot write {self.place}: ")
            raise JournalBroken(f"write {self.place}", OSError(why)) from trouble
        except (TooLarge, NeedsOperator) as failure:
            raise JournalBroken(f"write {self.place}", OSError(str(failure))) from failure
        self._revision, self._data, self._history = revision_of(found), journal, history


def _lines(data: bytes) -> list[dict[str, Any]]:
    """Every line that can be read: history is for people and for backoff, not for recovery."""
    found = (decode_line(line) for line in data.split(b"\n") if line)
    return [each for each in found if each is not None]


def _joined(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """The newest lines that fit."""
    kept: list[bytes] = []
    room = MAX_LINES
    for line in map(encode, reversed(lines)):
        room -= len(line)
        if room < 0 and kept:
            break
        kept.append(line)
    return b"".join(reversed(kept))
