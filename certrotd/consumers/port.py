"""How a consumer confirms which keys it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Expected:
    """What a consumer is to have: any of these hashes confirms it, in hex.

    ``delivery`` is that of the keyring (keyring.delivery.delivery_hash), ``files`` the SHA-256 of
    each file that was written for applications.
    """

    keyring: str
    delivery: str
    files: Mapping[Path, str]

    @property
    def hashes(self) -> frozenset[str]:
        return frozenset({self.delivery, *self.files.values()})


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the consumer has what is expected, and in words what it has instead."""

    acknowledged: bool
    words: str = ""


class Acknowledgement(Protocol):
    """Asks one consumer; changes nothing."""

    def ask(self, expected: Expected) -> Answer:
        """What it has. One that is away, or answers nonsense, has not acknowledged.

        Raises NeedsOperator only for what its operator has to mend here.
        """
        ...
