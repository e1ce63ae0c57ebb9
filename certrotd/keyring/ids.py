"""Ids by which ciphertext names its key, in the space that an application leaves for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from certrotd.errors import NeedsOperator

TRIES = 64
"""So many misses in a row never happen in a space of 32 bits."""


class NoFreeId(NeedsOperator):
    """Every id is another key's; no rotation is begun."""


class IdSpace(Protocol):
    """Picks an id.

    ``live`` are those of keys that are not destroyed; ``past``, oldest first, those of destroyed
    keys, by which old backups name them: they are taken again only where the space is small.
    """

    def pick(self, live: Collection[str], past: Sequence[str]) -> str:
        """An id; raises NoFreeId."""
        ...


@dataclass(frozen=True)
class Numbers:
    """Whole numbers, as the byte of symmetric-encryption's header (1 to 255)."""

    first: int
    last: int

    def pick(self, live: Collection[str], past: Sequence[str]) -> str:
        """The lowest that no key ever had, else the one whose key is destroyed longest."""
        return _first_free([str(n) for n in range(self.first, self.last + 1)], live, past)


@dataclass(frozen=True)
class Slots:
    """Names that an application has, as v1 and v2."""

    names: tuple[str, ...]

    def pick(self, live: Collection[str], past: Sequence[str]) -> str:
        """As Numbers.pick."""
        return _first_free(self.names, live, past)


@dataclass(frozen=True)
class Drawn:
    """Numbers of so many bits, not 0, drawn at random by ``below``, as Tink's key ids of 32."""

    bits: int
    below: Callable[[int], int]

    def pick(self, live: Collection[str], past: Sequence[str]) -> str:
        """One that no key ever had, drawn again while it is another key's."""
        for _ in range(TRIES):
            drawn = str(self.below((1 << self.bits) - 1) + 1)
            if drawn not in live and drawn not in past:
                return drawn
        raise NoFreeId(
            f"{TRIES} ids in a row are those of other keys",
            hint="destroy keys that are no longer needed, or check the source of random numbers",
        )


def _first_free(names: Sequence[str], live: Collection[str], past: Sequence[str]) -> str:
    for name in names:
        if name not in live and name not in past:
            return name
    last = {name: index for index, name in enumerate(past)}
    free = [name for name in names if name not in live]
    if not free:
        raise NoFreeId(
            f"all {len(names)} ids of the application are taken by keys that are not destroyed",
            hint="finish the rotations before: re-encrypt, retire and destroy an old key",
        )
    return min(free, key=last.__getitem__)
