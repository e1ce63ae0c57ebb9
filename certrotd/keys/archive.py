"""The backups of a keyring that certrotd made and reaches, when a key of it is destroyed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from certrotd.errors import Failure, NeedsOperator
from certrotd.escrow.backup import authentic, header_of
from certrotd.escrow.place import FileBackups, Kept, newest
from certrotd.keyring.keyring import Keyring


@dataclass(frozen=True)
class Holding:
    """The backups with one key and their SHA-256 in hex, and those that nobody can look into."""

    backups: Mapping[str, str]
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """Those in ``place``; ``copies`` of them are elsewhere, each kept for so long."""

    place: FileBackups
    copies: Mapping[str, timedelta] = field(default_factory=dict)

    def holding(self, number: int, keyring: Keyring) -> Holding:
        """What has the key of a version; raises Failure where nobody can look."""
        self.place.check()
        unreadable: list[str] = []
        found = {
            self._path(kept): hashlib.sha256(data).hexdigest()
            for kept, data in self._with(number, keyring, unreadable)
        }
        return Holding(found, tuple(unreadable))

    def remove(self, number: int, keyring: Keyring) -> None:
        """Remove every backup with the key of a version, once the newest one is without it.

        Raises NeedsOperator where the newest is not of ``keyring`` as it is, and as
        Backups.remove; then those that are left are removed when it is repeated.
        """
        last = newest(self.place)
        data = self.place.read(last) if last is not None else b""
        if last is None or last.revision != keyring.revision or not authentic(data, keyring):
            raise NeedsOperator(
                f"the newest backup in {self.place.place} is not of the keyring as it is",
                hint=f"no older one is removed before: certrotd keys backup {keyring.name}",
            )
        for kept, _ in list(self._with(number, keyring, [])):
            self.place.remove(kept)

    def _path(self, kept: Kept) -> str:
        return f"{self.place.place}/{kept.name}"

    def _with(
        self, number: int, keyring: Keyring, unreadable: list[str]
    ) -> Iterator[tuple[Kept, bytes]]:
        """Those with the key, of this keyring alone; the others are not touched."""
        for kept in self.place.list():
            try:
                data = self.place.read(kept)
                if number not in header_of(data).live:
                    continue
                if not authentic(data, keyring):
                    why = "it was not made by this keyring, or changed"
                    unreadable.append(f"{self._path(kept)}: {why}")
                    continue
            except Failure as failure:
                unreadable.append(f"{self._path(kept)}: {failure}")
                continue
            yield kept, data
