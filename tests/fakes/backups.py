"""Backups in memory, which are as full or as broken as they are told to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC

from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.escrow.backup import header_of
from certrotd.escrow.place import Kept, in_order


@dataclass
class MemoryBackups:
    """The Backups port over a dict; ``failure`` is raised by whatever is asked."""

    keyring: str
    keep: int = 3
    place: str = "memory"
    failure: Failure | None = None
    held: dict[Kept, bytes] = field(default_factory=dict)

    def check(self, size: int = 0) -> None:
        """As Backups.check."""
        if self.failure:
            raise self.failure

    def put(self, data: bytes) -> Kept:
        """As Backups.put."""
        header = header_of(data)
        if header.keyring != self.keyring:
            raise InvalidInput(f"a backup of {header.keyring} is not kept as one of {self.keyring}")
        self.check(len(data))
        made = header.made.astimezone(UTC).replace(microsecond=0)
        kept = Kept(f"{header.revision}-{made}", self.keyring, header.revision, made)
        self.held[kept] = data
        for old in self.list()[self.keep :]:
            if old != kept:
                del self.held[old]
        return kept

    def list(self) -> Sequence[Kept]:
        """As Backups.list."""
        self.check()
        return in_order(iter(self.held))

    def remove(self, kept: Kept) -> None:
        """As Backups.remove."""
        self.check()
        self.held.pop(kept, None)

    def read(self, kept: Kept) -> bytes:
        """As Backups.read."""
        self.check()
        try:
            return self.held[kept]
        except KeyError:
            raise NeedsOperator(f"the backup {kept.name} is gone") from None
