"""Where the fakes ask what happens next, so that a test may have anything happen anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Refused(Exception):
    """What a fake is told by its chance, and tells its caller as the real adapter would."""


class Chance(Protocol):
    """Asked at every look and every effect; may raise Refused, or end the process."""

    def look(self, what: str) -> None:
        """Before anything is read."""
        ...

    def act(self, what: str, effect: Callable[[], T]) -> T:
        """Carry out one indivisible effect, or not."""
        ...

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        """Carry out an effect that may stop in the middle: ``effect(share)`` of 0.5 or 1."""
        ...


class Calm:
    """The chance by which everything works."""

    def look(self, what: str) -> None:
        """Nothing is in the way."""

    def act(self, what: str, effect: Callable[[], T]) -> T:
        """It is done."""
        return effect()

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        """All of it is written."""
        effect(1.0)


CALM = Calm()
