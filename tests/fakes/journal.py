"""A journal in a byte buffer, torn and cut as a file would be."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any

from certrotd.files.disktrouble import DiskTrouble
from certrotd.state.history import FileHistory, with_line
from certrotd.state.ports import JournalBroken
from certrotd.state.records import decode, encode
from tests.fakes.chance import CALM, Chance, Refused


class MemoryDisk:
    """The bytes that outlive the process; of ``journal``, the first ``synced`` survive a power cut.

    The rest may or may not. ``late`` is what a process keeps in memory, and takes with it.
    """

    def __init__(self) -> None:
        self.journal = b""
        self.late = b""
        self.synced = 0
        self.history = b""

    def cut(self) -> None:
        """Lose what was never synced."""
        self.journal = self.journal[: self.synced]


class MemoryHistory(FileHistory):
    """History over a MemoryDisk."""

    def __init__(self, disk: MemoryDisk, chance: Chance) -> None:
        self.path = Path("memory")
        self._disk = disk
        self._chance = chance

    def lines(self) -> list[dict[str, Any]]:
        return decode(self._disk.history, what="the history")[0]

    def last(self) -> dict[str, Any] | None:
        lines = self.lines()
        return lines[-1] if lines else None

    def add(self, summary: Mapping[str, Any]) -> None:
        data = b"".join(encode(line) for line in with_line(self.lines(), summary))
        if data == self._disk.history:
            return

        def change() -> None:
            self._disk.history = data

        try:
            self._chance.act("journal: add to the history", change)
        except Refused:
            raise DiskTrouble("write the history", _full()) from None


class MemoryJournal:
    """The Journal port with the real encoding; as FileJournal, it writes over what was torn."""

    def __init__(self, disk: MemoryDisk, chance: Chance = CALM) -> None:
        self.disk = disk
        self.history = MemoryHistory(disk, chance)
        self._chance = chance
        self._size: int | None = None

    def records(self) -> list[dict[str, Any]]:
        records, self._size = decode(self.disk.journal, what="the journal")
        return records

    def peek(self) -> list[dict[str, Any]] | None:
        """As FileJournal.peek."""
        return decode(self.disk.journal, what="the journal")[0] or None

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        if self._size is None:
            self.records()
        self._put(record["t"], encode(record), sync=sync)

    def _put(self, what: str, data: bytes, *, sync: bool) -> None:
        size = self._size or 0

        def put(share: float) -> None:
            self.disk.journal = self.disk.journal[:size] + data[: int(len(data) * share)]
            if sync and share == 1.0:
                self.disk.synced = len(self.disk.journal)
            self.disk.synced = min(self.disk.synced, len(self.disk.journal))

        try:
            self._chance.write(f"journal: {what}", put)
        except Refused:
            raise JournalBroken("write the journal", _full()) from None
        self._size = size + len(data)

    def replace(self, records: Sequence[Mapping[str, Any]]) -> None:
        """As FileJournal.replace: by a rename, whole or not at all."""
        data = b"".join(encode(each) for each in records)

        def change() -> None:
            self.disk.journal, self.disk.synced = data, len(data)

        try:
            self._chance.act("journal: replace", change)
        except Refused:
            self._size = None
            raise DiskTrouble("write the journal", _full()) from None
        self._size = len(data)

    def release(self) -> None:
        """Nothing is late here: every record is a point of its own to break off at."""

    def drop(self) -> None:
        """As FileJournal.drop."""
        self._size = None

    def close(self, summary: Mapping[str, Any]) -> None:
        self.history.add(summary)
        self.clear()

    def clear(self) -> None:
        if not self.disk.journal:
            return

        def change() -> None:
            self.disk.journal, self.disk.synced = b"", 0

        try:
            self._chance.act("journal: remove", change)
        except Refused:
            raise DiskTrouble("remove the journal", _full()) from None
        self._size = 0


class LateJournal(MemoryJournal):
    """What need not be durable stays in memory until something must be, as FileJournal has it.

    A crash takes it, and what cannot be written is lost with all that was to be written with it.
    """

    def __init__(self, disk: MemoryDisk, chance: Chance = CALM) -> None:
        super().__init__(disk, chance)
        disk.late = b""

    def records(self) -> list[dict[str, Any]]:
        self.release()
        return super().records()

    def append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        if self._size is None:
            self.records()
        self.disk.late += encode(record)
        if sync:
            self._write(record["t"], sync=True)

    def release(self) -> None:
        broken_off = sys.exc_info()[1]
        if self.disk.late and (broken_off is None or isinstance(broken_off, Exception)):
            self._write("late", sync=False)

    def drop(self) -> None:
        self.disk.late = b""
        super().drop()

    def clear(self) -> None:
        self.disk.late = b""
        super().clear()

    def _write(self, what: str, *, sync: bool) -> None:
        data, self.disk.late = self.disk.late, b""
        try:
            self._put(what, data, sync=sync)
        except JournalBroken:
            self._size = None
            raise


def _full() -> OSError:
    return OSError(ENOSPC, "No space left on device")
