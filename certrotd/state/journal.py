"""The journal of one rotation in flight: JSON lines with checksums, synced where it matters."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_file
from certrotd.files.writing import (
    make_directory,
    open_or_create,
    remove_file,
    sync_directory,
    write_file,
)
from certrotd.id import is_kind
from certrotd.state.history import FileHistory
from certrotd.state.ports import JournalBroken
from certrotd.state.records import decode, encode

MAX_JOURNAL = 64 * 1024 * 1024


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
        return sorted(filter(is_kind, os.listdir(folder)))
    except FileNotFoundError:
        return []


class FileJournal:
    """A journal in ``<directory>/journal/ID.jsonl`` and ``<directory>/history/ID.jsonl``.

    An id is a kind and a name, ``certificate/web``: so each kind has a folder of its own.

    Each line is ``{"c": CRC-32 of the record's JSON in hex, "r": record}``. A record that need not
    be durable is written with the next one that must be: until release() it may be in memory only.
    """

    # a daemon has one for each of 10,000 subjects
    __slots__ = ("_directory", "_handle", "_late", "_size", "_subject")

    def __init__(self, directory: Path, subject: str) -> None:
        self._directory = directory
        self._subject = subject
        self._size: int | None = None  # of what is whole in the file; None if that is not known
        self._late = b""
        self._handle: int | None = None

    @property
    def history(self) -> FileHistory:
        """Where close() adds its line."""
        return FileHistory(self._directory, self._subject)

    @property
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
        self._late += line
        if sync:
            self._write(sync=True)

    def replace(self, records: Sequence[Mapping[str, Any]]) -> None:
        data = b"".join(encode(each) for each in records)
        self.release()
        self._size = None
        write_file(self.path, data, mode=0o600)
        self._size = len(data)

    def release(self) -> None:
        try:
            if self._late:
                self._write(sync=False)
        finally:
            self._close_file()

    def drop(self) -> None:
        self._late = b""
        self._size = None
        self._close_file()

    def close(self, summary: Mapping[str, Any]) -> None:
        self.history.add(summary)
        self.clear()

    def clear(self) -> None:
        """Remove the file: of a closed rotation, or of one whose first record was torn."""
        self._late = b""
        self._close_file()
        remove_file(self.path)
        self._size = 0

    def _write(self, *, sync: bool) -> None:
        """Write what is late; should that fail, it is forgotten, as if it had been torn."""
        data, size = self._late, self._size or 0
        self._late, self._size = b"", None
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
