"""Which of several daemons looks after a subject."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` of ``of``, from 1: the subjects whose ids hash to it, whoever asks."""

    number: int = 1
    of: int = 1

    def has(self, subject: str) -> bool:
        """Whether the subject of that id, or what else has that name, belongs to it."""
        digest = sha256(subject.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:8]) % self.of == self.number - 1

    @property
    def others(self) -> tuple[Shard, ...]:
        """All but this one, the next one first."""
        return tuple(
            Shard((self.number - 1 + step) % self.of + 1, self.of) for step in range(1, self.of)
        )

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"


ALL = Shard()
"""Of one daemon that looks after everything."""
