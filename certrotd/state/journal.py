"""The journal of one rotation in flight: JSON lines with checksums, synced where it matters."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from certrotd.errors import Failure, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_file
from certrotd.files.writing import (
    make_directory,
    open_or_create,
    remove_file,
    sync_directory,
    write_file,
)
from certrotd.jsontext import parsed

MAX_JOURNAL = 64 * 1024 * 1024
HISTORY_LINES = 500
MAX_HISTORY = 16 * 1024 * 1024
MAX_LINE = 32 * 1024
_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)
_RECORD_AT = len(b'{"c":"00000000","r":')


def in_flight(directory: Path) -> frozenset[str]:
    """The ids whose journals are open in ``<directory>/journal``; raises DiskTrouble."""
    journals = f"{directory}/journal"
    try:
        return frozenset(
            f"{kind}/{name.removesuffix('.jsonl')}"
            for kind in _kinds(journals)
            for name in os.listdir(f"{journals}/{kind}")
            if name.endswith(".jsonl")
        )
    except OSError as error:
        raise DiskTrouble(f"list {error.filename}", error) from error


def _kinds(folder: str) -> list[str]:
    """What has the name of a kind in ``folder``, which need not exist; raises OSError."""
    try:
        return sorted(name for name in os.listdir(folder) if "." not in name)
    except FileNotFoundError:
        return []


class JournalBroken(DiskTrouble):
    """The journal cannot be written: nothing may be begun that it would have to remember."""


class Unrecordable(Failure):
    """A record is no JSON: nothing of it was written, and the journal is as it was."""


class Journal(Protocol):
    """Where a rotation's records go; the engine is the only writer, under the lock of its id."""

    def records(self) -> list[dict[str, Any]]:
        """Every whole record, oldest first; a torn last one is one that never happened."""
        ...

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        """Add a record; with ``sync`` it and those before it are durable when this returns.

        Raises Unrecordable, JournalBroken, or another DiskTrouble before the first record.
        """
        ...

    def release(self) -> None:
        """Write down every record, durable or not, and hold no file open; raises JournalBroken."""
        ...

    def close(self, summary: Mapping[str, Any]) -> None:
        """Shrink the rotation to one line of history and forget its records; repeatable."""
        ...


class FileJournal:
    """A journal in ``<directory>/journal/ID.jsonl`` and ``<directory>/history/ID.jsonl``.

    An id is a kind and a name, ``certificate/web``: so each kind has a folder of its own.

    Each line is ``{"c": CRC-32 of the record's JSON in hex, "r": record}``. A record that need not
    be durable is written with the next one that must be: until release() it may be in memory only.
    """

    def __init__(self, directory: Path, subject: str) -> None:
        self._directory = directory
        self._subject = subject
        self.history = History(directory, subject)
        self._size: int | None = None  # of what is whole in the file; None if that is not known
        self._late: list[bytes] = []
        self._handle: int | None = None

    @cached_property
    def path(self) -> Path:
        """The journal's file; there only while a rotation is in flight."""
        return self._directory / "journal" / f"{self._subject}.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """As Journal.records; NeedsOperator if a record before the last is damaged."""
        self.release()
        try:
            data = read_file(self.path, limit=MAX_JOURNAL, follow=False)
        except FileNotFoundError:
            self._size = 0
            return []
        records, self._size = decode(data, what=str(self.path))
        return records

    def peek(self) -> list[dict[str, Any]] | None:
        """The records as they are now, None while no rotation is in flight; raises as records().

        Nothing of the journal is touched: it may be in use by another thread or process.
        """
        try:
            data = read_file(self.path, limit=MAX_JOURNAL, follow=False)
        except FileNotFoundError:
            return None
        return decode(data, what=str(self.path))[0]

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        line = encode(record)
        if self._size is None:
            self.records()
        if not self._size and not self._late:
            make_directory(self.path.parent, mode=0o700)
        self._late.append(line)
        if sync:
            self._write(sync=True)

    def release(self) -> None:
        try:
            if self._late:
                self._write(sync=False)
        finally:
            self._close_file()

    def close(self, summary: Mapping[str, Any]) -> None:
        self.history.add(summary)
        self.clear()

    def clear(self) -> None:
        """Remove the file: of a closed rotation, or of one whose first record was torn."""
        self._late.clear()
        self._close_file()
        remove_file(self.path)
        self._size = 0

    def _write(self, *, sync: bool) -> None:
        """Write what is late; should that fail, it is forgotten, as if it had been torn."""
        data, size = b"".join(self._late), self._size or 0
        self._late.clear()
        self._size = None
        try:
            handle = self._open(size)
            if os.pwrite(handle, data, size) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(handle)
            if size == 0:
                sync_directory(self.path.parent)
        except OSError as error:
            self._close_file()
            raise JournalBroken(f"write {self.path}", error) from error
        self._size = size + len(data)

    def _open(self, size: int) -> int:
        if self._handle is None:
            self._handle = open_or_create(self.path, os.O_WRONLY)
            # what a crash or a full disk left of a torn record is written over
            os.ftruncate(self._handle, size)
        return self._handle

    def _close_file(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class History:
    """What rotations of one id came to: JSON lines, oldest first, the last 500 kept."""

    def __init__(self, directory: Path, subject: str) -> None:
        self._directory = directory
        self._subject = subject

    @cached_property
    def path(self) -> Path:
        """The file of the lines."""
        return self._directory / "history" / f"{self._subject}.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        """Every line that can be read: history is for people and for backoff, not for recovery."""
        try:
            data = read_file(self.path, limit=MAX_HISTORY, follow=False)
        except FileNotFoundError:
            return []
        return _readable(data)

    def last(self) -> dict[str, Any] | None:
        """The newest line, read from the end of the file; None before the first."""
        try:
            # a path of text: this is asked of every certificate of a listing
            tail, size = _tail(f"{self._directory}/history/{self._subject}.jsonl")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DiskTrouble(f"read {self.path}", error) from error
        newest = next(_from_the_end(tail), None)
        if newest is None and size > MAX_LINE:
            lines = self.lines()  # the newest line is an unusually long one
            newest = lines[-1] if lines else None
        return newest

    def add(self, summary: Mapping[str, Any]) -> None:
        """Add a line, as with_line() says."""
        lines = self.lines()
        added = with_line(lines, summary)
        if added != lines:
            make_directory(self.path.parent, mode=0o700)
            write_file(self.path, b"".join(encode(line) for line in added), mode=0o600)


def with_line(lines: list[dict[str, Any]], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """History with one more line, unless the last is of the same rotation (a crash came between).

    ``failures`` is added to it: how many of the latest rotations in a row did not finish, where
    one that was stopped counts neither way. If some of them were begun by hand, so is their number
    and when the last of the others ``failed_at``, for nobody waits because of those. The oldest
    lines go when there are more than 500, or more than fit the size that is read back.
    """
    last = lines[-1] if lines else {}
    if last.get("id") == summary["id"]:
        return lines
    kept = [*lines, {**summary, **_failures(last, summary)}][-HISTORY_LINES:]
    room = MAX_HISTORY
    for number, line in enumerate(reversed(kept)):
        room -= len(encode(line))
        if room < 0:
            return kept[len(kept) - number :]
    return kept


def _failures(last: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    if summary["failure"] is None:
        return {"failures": 0}
    failures, by_hand = int(last.get("failures", 0)), int(last.get("by_hand_failures", 0))
    failed_at = last.get("failed_at") or (last.get("ended") if failures > by_hand else None)
    if not summary.get("stopped"):
        failures += 1
        by_hand += bool(summary.get("by_hand"))
        if not summary.get("by_hand"):
            failed_at = summary.get("ended")
    if not by_hand:
        return {"failures": failures}
    return {"failures": failures, "by_hand_failures": by_hand, "failed_at": failed_at}


def encode(record: Mapping[str, Any]) -> bytes:
    """One line of a journal; raises Unrecordable for what is no JSON."""
    try:
        text = _JSON.encode(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unrecordable(
            f"the journal cannot keep a {record.get('t', 'history')} record: {error}",
            hint="this is a defect of certrotd; please report it",
        ) from error
    return _line(text.encode()) + b"\n"


def _line(text: bytes) -> bytes:
    return b'{"c":"%08x","r":%s}' % (zlib.crc32(text), text)


def decode(data: bytes, *, what: str) -> tuple[list[dict[str, Any]], int]:
    """The records of a journal and how many bytes of it are whole.

    A damaged last line is torn and passed over; one before it raises NeedsOperator, for then
    something other than a crash has been at the file.
    """
    records: list[dict[str, Any]] = []
    good = 0
    *lines, rest = data.split(b"\n")  # what follows the last newline is nothing, or torn
    for number, line in enumerate(lines, start=1):
        record = _decode_line(line)
        if record is None:
            if number == len(lines) and not rest:
                break  # the newline was written and the middle was not
            raise NeedsOperator(
                f"{what}:{number}: the journal record is damaged",
                hint="move the file away; the generations themselves show what is deployed",
            )
        records.append(record)
        good += len(line) + 1
    return records, good


def _decode_line(line: bytes) -> dict[str, Any] | None:
    """The record of one line, None if the line is not exactly what encode() made of one."""
    text = line[_RECORD_AT:-1]
    if line != _line(text):
        return None
    try:
        record = parsed(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _readable(data: bytes) -> list[dict[str, Any]]:
    return [*_from_the_end(data)][::-1]


def _from_the_end(data: bytes) -> Iterator[dict[str, Any]]:
    for line in reversed(data.split(b"\n")):
        record = _decode_line(line) if line else None
        if record is not None:
            yield record


def _tail(path: str) -> tuple[bytes, int]:
    """The last 32 KiB of a file, and how large it is; raises OSError."""
    # not to wait for ever where somebody has put a FIFO
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(handle).st_size
        return os.pread(handle, MAX_LINE, max(0, size - MAX_LINE)), size
    finally:
        os.close(handle)
