"""What can be done about a managed key, each with one word for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from certrotd.lifecycle.decision import Action

RECHECK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Look(Action):
    """Ask the service how the key is."""

    act: ClassVar[str] = "look"


@dataclass(frozen=True, slots=True)
class Rotate(Action):
    """Have the service make a new version."""

    act: ClassVar[str] = "rotate"
    needs_clock: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class SetPeriod(Action):
    """Have the service rotate it by itself, each cryptoperiod."""

    act: ClassVar[str] = "set_period"


@dataclass(frozen=True, slots=True)
class Retire(Action):
    """Have the service decrypt by no version older than ``oldest``."""

    act: ClassVar[str] = "retire"
    needs_clock: ClassVar[bool] = True
    oldest: str


ACTS = (Look, Rotate, SetPeriod, Retire)
