"""How a rotation stands when the engine lets go of it, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from certrotd.errors import Failure
from certrotd.rotation.step import JSON

CANCELLED = "cancelled by hand"


class Stopped(Failure):
    """The process was told to stop while a step was waiting for something."""


@dataclass(frozen=True)
class Event:
    """Something a watcher may show: ``what`` happened to the item ``index`` of ``size``.

    ``subject`` is the id of what is rotated. ``what`` is one of began, trying, done, waiting,
    failed, undoing, undone, stuck, reached, paused, closed; ``detail`` is for people.
    """

    rotation: str
    subject: str
    what: str
    index: int
    size: int
    item: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Finished:
    """Every step is done; ``facts`` are what they answered."""

    facts: Mapping[str, JSON]


@dataclass(frozen=True)
class Parked:
    """The rotation goes on at ``until`` or at the next start after it.

    ``failed`` tells a step that could not be done from one that waits as planned.
    """

    until: datetime
    why: str
    failed: bool = False


@dataclass(frozen=True)
class RolledBack:
    """Everything after the savepoint ``to`` ("" is the beginning) was undone.

    But for what the fact ``kept`` tells of, in words: where there is nothing to go back to. The
    fact ``unproven`` says which former state was put back, but could not be proven.
    ``retry_after`` is in seconds; ``facts`` are what the steps, and their undoing, answered.
    ``stopped``: nothing failed, the process was told to stop.
    """

    to: str
    step: str
    because: str
    retry_after: float | None = None
    facts: Mapping[str, JSON] = field(default_factory=dict)
    stopped: bool = False

    @property
    def left(self) -> str:
        """What was left behind, in words."""
        if kept := self.facts.get("kept"):
            return str(kept)
        back = f"rolled back to {self.to}" if self.to else "nothing was changed"
        return "; ".join(filter(None, (back, remark_of(self.facts))))


@dataclass(frozen=True)
class Stuck:
    """An undo failed; it is tried again at every start until it works."""

    step: str
    because: str
    undo_failed: str


def remark_of(facts: Mapping[str, JSON]) -> str:
    """What an undo kept, or could not prove, in words; empty if everything is as it was."""
    return str(facts.get("kept") or facts.get("unproven") or "")


Outcome = Finished | Parked | RolledBack | Stuck
