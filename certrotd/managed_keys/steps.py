"""The steps at the service: each is one act, and what the service shows after it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from certrotd.clock import Clock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.kek.managed.port import ManagedKey, ManagedState
from certrotd.managed_keys.policy import Seen, after
from certrotd.rotation.step import JSON, Done, Journaled, Ledger, NotYet, Step
from certrotd.state.typed import TypedDocument

ASK_AGAIN = timedelta(minutes=1)
_ASKED = "asked"
T = TypeVar("T")
_KEPT = "nothing at the service is undone: the next look tells what it has done"


@dataclass(frozen=True)
class World:
    """What a rotation acts upon: the key where it is kept, and what is known of it.

    ``digest`` says which key that is, ``heard`` takes what failed for the time being, or None for
    an answer; ``fence`` raises Fenced once the lock is another's.
    """

    key: ManagedKey
    digest: str
    document: TypedDocument[Seen]
    clock: Clock
    heard: Callable[[Failure | None], None] = lambda _failure: None
    fence: Callable[[], None] = lambda: None

    def look(self) -> ManagedState:
        """Ask the service, and keep what it shows."""
        state = self.tell(self.key.describe)
        self.fence()
        now = self.clock.now()
        self.document.write(after(state, self.document.peek(), at=now, key=self.digest))
        return state

    def tell(self, act: Callable[[], T]) -> T:
        """What ``act`` gives; whoever gathers the outages of services hears how it went."""
        self.fence()
        try:
            found = act()
        except Transient as failure:
            self.heard(failure)
            raise
        self.heard(None)
        return found

    def check(self, digest: str) -> None:
        """Raise NeedsOperator if a step is for another key."""
        if digest != self.digest:
            raise NeedsOperator(
                "the configuration names another key than when this began",
                hint="nothing more is done to either; the next rotation looks first",
            )


@dataclass(frozen=True)
class _Step(Journaled):
    """``key`` is World.digest."""

    key: str
    can_kill = False

    def undo(self, world: World, ledger: Ledger) -> None:
        """Nothing: no service takes a new version or a period back."""
        del world
        ledger.note(kept=_KEPT)


@dataclass(frozen=True)
class Look(_Step):
    """Ask the service how the key is."""

    kind = "look"

    def do(self, world: World, ledger: Ledger) -> Done:
        del ledger
        world.check(self.key)
        return Done({"version": world.look().present.id})

    def undo(self, world: World, ledger: Ledger) -> None:
        """Nothing was changed."""


@dataclass(frozen=True)
class Rotate(_Step):
    """Have the service make a version after ``present``, once, however often this is repeated."""

    present: str
    kind = "rotate"

    def do(self, world: World, ledger: Ledger) -> Done | NotYet:
        world.check(self.key)
        if not ledger.facts.get(_ASKED):
            world.tell(lambda: world.key.rotate(self.present))
            ledger.note(**{_ASKED: True})
        return self.poll(world, ledger) or Done({"version": self._shown(world)})

    def poll(self, world: World, ledger: Ledger) -> NotYet | None:
        """A service may take a while until it shows the new version."""
        if not ledger.facts.get(_ASKED) or world.look().present.id != self.present:
            return None
        return NotYet(world.clock.now() + ASK_AGAIN, "waits for its service to make the version")

    def _shown(self, world: World) -> str:
        seen = world.document.peek()
        return seen.state.present.id if seen is not None else ""


@dataclass(frozen=True)
class SetPeriod(_Step):
    """Have the service rotate it by itself every so many ``seconds``."""

    seconds: int
    kind = "set-period"

    def do(self, world: World, ledger: Ledger) -> Done:
        del ledger
        world.check(self.key)
        period = timedelta(seconds=self.seconds)
        world.tell(lambda: world.key.set_period(period))
        shown = world.look()
        if shown.period != period:
            raise Transient(
                f"{shown.place} took the period, and does not show it",
                hint="certrotd asks again later; if this lasts, set it there by hand",
            )
        return Done({"period": self.seconds})


STEPS: Mapping[str, type[Any]] = {each.kind: each for each in (Look, Rotate, SetPeriod)}


def rebuild(kind: str, intent: Mapping[str, JSON]) -> Step[World]:
    """A step from what the journal keeps of it; KeyError for an unknown kind."""
    step: Step[World] = STEPS[kind].rebuild(intent)
    return step
