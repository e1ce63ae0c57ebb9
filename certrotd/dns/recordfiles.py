"""The responder's records as files, shared by every process that uses the directory.

One file per record, named by the SHA-256 of name and value: contents never change under a name, so
two processes that write the same record cannot disagree, and a reader need not open a file twice.
A file that is not what its name says is no record.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from certrotd.dns.records import TxtRecord
from certrotd.errors import InvalidInput, NeedsOperator, Transient, of_the_machine
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.writing import make_directory, open_or_create
from certrotd.jsontext import parsed

MAX_RECORDS = 10_000

_FILE_NAME = re.compile(r"[0-9a-f]{64}")
_FILE_LIMIT = 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE})

Values = Mapping[str, tuple[str, ...]]
"""The TXT values by name."""

_Entry = tuple[str, int]
"""A file's name and inode: one that is written again is another entry."""


class RecordFiles:
    """The records in ``directory``, which is made (0700) when the first one is added."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[_Entry, TxtRecord | None] = {}
        self._values: Values = MappingProxyType({})

    def add(self, record: TxtRecord) -> None:
        """Write the record's file, whole or not at all; there already is fine.

        Raises Transient when the disk is full, NeedsOperator when it may not be written.
        """
        name = _file_name(record)
        # Named after its record: withdrawing that removes what a crash left of it.
        temporary = self._directory / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            make_directory(self._directory, mode=0o700)
            handle = open_or_create(temporary, os.O_WRONLY | os.O_EXCL)
            with open(handle, "w", encoding="ascii") as file:
                json.dump(record.to_json(), file)
            temporary.rename(self._directory / name)
        except (OSError, DiskTrouble) as error:
            with suppress(OSError):  # withdrawing the record tries that again
                temporary.unlink()
            raise self._unusable("write", error) from error

    def remove(self, record: TxtRecord) -> None:
        """Delete the record's file, and what crashed attempts to write it left; absent is fine."""
        name = _file_name(record)
        try:
            for entry, _inode in self._list():
                if entry == name or entry.startswith(f".{name}."):
                    (self._directory / entry).unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable("delete", error) from error

    def read(self) -> Values:
        """All records; not to be called from two threads at once. Raises OSError.

        Costs one listing of the directory, and one read for each file not seen before.
        """
        listing = [entry for entry in self._list() if _FILE_NAME.fullmatch(entry[0])]
        del listing[MAX_RECORDS:]
        if listing == list(self._known):
            return self._values
        known: dict[_Entry, TxtRecord | None] = {}
        for entry in listing:
            try:
                known[entry] = self._known[entry] if entry in self._known else self._load(entry[0])
            except FileNotFoundError:
                continue  # withdrawn just now; unknown, so that it is looked at if it comes back
        values: dict[str, list[str]] = defaultdict(list)
        for record in known.values():
            if record is not None:
                values[record.name].append(record.value)
        self._known = known
        self._values = MappingProxyType({name: tuple(sorted(v)) for name, v in values.items()})
        return self._values

    def _list(self) -> list[_Entry]:
        try:
            with os.scandir(self._directory) as entries:
                return [
                    (entry.name, entry.inode())
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []

    def _load(self, name: str) -> TxtRecord | None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(self._directory / name, flags), "rb") as file:
            octets = file.read(_FILE_LIMIT)
        try:
            record = TxtRecord.from_json(parsed(octets))
        except (InvalidInput, ValueError):
            return None
        return record if _file_name(record) == name else None

    def _unusable(self, verb: str, error: OSError | DiskTrouble) -> Transient | NeedsOperator:
        why = os.strerror(error.errno or 0)
        said = f"cannot {verb} DNS records in {self._directory}: {why}"
        if error.errno in _FULL:
            return Transient(said, hint="free some space")
        if isinstance(error, OSError) and (hint := of_the_machine(error)):
            return Transient(said, hint=hint)
        return NeedsOperator(said, hint="the directory belongs to the user certrotd runs as")


def _file_name(record: TxtRecord) -> str:
    return hashlib.sha256(f"{record.name}\n{record.value}".encode("ascii")).hexdigest()
