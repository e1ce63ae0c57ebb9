"""What a rotation is made of: steps, savepoints, and the values they answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from certrotd.errors import Transient

JSON = None | bool | int | float | str | list[Any] | dict[str, Any]
WorldT = TypeVar("WorldT", contravariant=True)


@dataclass(frozen=True)
class Done:
    """The act is complete; ``facts`` are journaled and given to the steps after it."""

    facts: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class NotYet:
    """The act cannot be complete before ``until``; the rotation is parked and goes on later."""

    until: datetime
    why: str


class Later(Transient):
    """A step failed where undoing would lose something that cannot be had again.

    The rotation keeps everything, stays open, and the step is tried again at the next start, but
    not before ``retry_after``. Somebody may have to mend something first.
    """


@dataclass(frozen=True)
class Checkpoint:
    """How far a long step has come: ``kept`` is what it goes on from after a crash.

    What it has under "advice" is for people to do while it runs.

    ``done`` of ``total`` units (None if nobody knows) at the moment ``at``; this process was at
    ``first`` of them when it ``began``, which tells the rate.
    """

    kept: Mapping[str, JSON]
    done: int
    total: int | None
    at: datetime
    first: int
    began: datetime

    @property
    def rate(self) -> float | None:
        """Units a second in this process; None before there is any to tell from."""
        seconds = (self.at - self.began).total_seconds()
        return (self.done - self.first) / seconds if seconds > 0 else None

    @property
    def left(self) -> timedelta | None:
        """The time to the end at this rate; None if nobody knows."""
        if self.total is None or not self.rate or self.rate < 0:
            return None
        try:
            return timedelta(seconds=max(0, self.total - self.done) / self.rate)
        except OverflowError:
            return None


class Observed(Enum):
    """What a look at the world says of a step."""

    NOT_DONE = "not done"
    DONE = "done"
    UNKNOWN = "unknown"


class Ledger(Protocol):
    """What a step sees of its rotation's journal."""

    @property
    def rotation(self) -> str:
        """The id of the rotation, as in the audit log."""
        ...

    @property
    def facts(self) -> Mapping[str, JSON]:
        """Everything noted and answered so far by this and earlier steps, later ones winning."""
        ...

    def note(self, **facts: JSON) -> None:
        """Make facts durable in the middle of an act, before the act goes on."""
        ...

    @property
    def kept(self) -> Mapping[str, JSON]:
        """What the last checkpoint of this step kept; empty before the first."""
        ...

    def checkpoint(self, kept: Mapping[str, JSON], *, done: int, total: int | None) -> None:
        """Make durable how far the act has come, in the place of the checkpoint before.

        The process may be killed any number of times between two of them. Raises Unrecordable for
        more than 16 KiB.
        """
        ...


class Step(Protocol[WorldT]):
    """One journaled act, rebuilt after a crash from its ``kind`` and ``intent``.

    ``intent`` holds everything needed to do, undo or observe the act again, and never a secret.
    """

    @property
    def kind(self) -> str: ...

    @property
    def intent(self) -> Mapping[str, JSON]: ...

    @property
    def can_kill(self) -> bool:
        """Whether it may be what ends the process, and is given up after so many cut-off tries.

        A program it runs may restart the host, a service it reloads may be what certrotd runs in.
        """
        ...

    @property
    def announced(self) -> bool:
        """Whether it is durable that it is tried before it acts.

        It need not be of a step that notes what it is about to do, or that changes nothing which
        to undo, without having begun, would do harm. What a crash cut off of it is looked at anew.
        """
        ...

    def do(self, world: WorldT, ledger: Ledger) -> Done | NotYet:
        """Act; idempotent, for it may run again after a crash. Raises Failure."""
        ...

    def undo(self, world: WorldT, ledger: Ledger) -> None:
        """Restore what was there before; idempotent, and right after half an act too."""
        ...

    def observe(self, world: WorldT, ledger: Ledger) -> Observed:
        """Whether the act is in effect, by looking and changing nothing."""
        ...


@runtime_checkable
class Polled(Protocol[WorldT]):
    """A step that waits for others, for days perhaps, and can look whether they are done."""

    def poll(self, world: WorldT, ledger: Ledger) -> NotYet | None:
        """What it waits for still, changing nothing; None once do() can go on. Raises Failure."""
        ...


class Journaled:
    """What steps share that are frozen dataclasses of JSON values: their fields are the intent.

    A step of which nothing can be seen from outside is UNKNOWN, and so done again after a crash.
    """

    can_kill = True
    announced = True

    @property
    def intent(self) -> Mapping[str, JSON]:
        """Every field by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def rebuild(cls, intent: Mapping[str, Any]) -> Self:
        """The step of a journaled intent, in which JSON has made lists of tuples."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in intent.items()})

    def observe(self, world: Any, ledger: Ledger) -> Observed:  # noqa: ARG002
        """Nothing to be seen."""
        return Observed.UNKNOWN


@dataclass(frozen=True)
class Savepoint:
    """How far back an undo goes.

    ``forward_only``: what follows cannot be undone; a failure parks and is tried again.
    ``stop_undoes``: what follows must not be left half-way when the process is told to stop, unless
    another one goes on with it.
    """

    name: str
    forward_only: bool = False
    stop_undoes: bool = False


PlanItem = Step[WorldT] | Savepoint
Plan = tuple[PlanItem[WorldT], ...]
Rebuild = Callable[[str, Mapping[str, JSON]], Step[WorldT]]


def title(item: PlanItem[WorldT]) -> str:
    """What an item of a plan is called, for people."""
    return item.name if isinstance(item, Savepoint) else item.kind


def plan_to_json(plan: Plan[WorldT]) -> list[JSON]:
    """The plan as its begin record keeps it."""
    return [_item_to_json(item) for item in plan]


def plan_from_json(data: list[JSON], rebuild: Rebuild[WorldT]) -> Plan[WorldT]:
    """The plan of a begin record, each step rebuilt from its kind and intent."""
    items: list[PlanItem[WorldT]] = []
    for item in data:
        if not isinstance(item, dict):
            raise TypeError(f"{item!r} is neither a step nor a savepoint")
        if "savepoint" in item:
            items.append(Savepoint(item["savepoint"], item["forward_only"], item["stop_undoes"]))
        else:
            items.append(rebuild(item["kind"], item["intent"]))
    return tuple(items)


def _item_to_json(item: PlanItem[WorldT]) -> JSON:
    if isinstance(item, Savepoint):
        return {
            "savepoint": item.name,
            "forward_only": item.forward_only,
            "stop_undoes": item.stop_undoes,
        }
    return {"kind": item.kind, "intent": dict(item.intent)}
