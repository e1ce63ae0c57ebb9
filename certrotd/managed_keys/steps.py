"""The steps at the service: each is one act, and what the service shows after it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from certrotd.clock import Clock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.kek.managed.port import ManagedKey, ManagedState, Retires
from certrotd.managed_keys.policy import Seen, after
from certrotd.rotation.step import JSON, Done, Journaled, Ledger, NotYet, Observed, Step
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

    def retire_before(self, version: str, mark: str) -> None:
        """Have the service decrypt by no older version, once ``mark`` is remembered."""
        key = self.key
        assert isinstance(key, Retires), "a configuration of another service is refused"
        self.remember(mark)
        self.tell(lambda: key.retire_before(version))

    def remember(self, mark: str) -> None:
        """Keep ``mark`` as Seen.retired_before."""
        seen = self.document.peek()
        assert seen is not None, "it was looked at"
        self.fence()
        self.document.write(replace(seen, retired_before=mark))

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


@dataclass(frozen=True)
class Retire(_Step):
    """Have the service decrypt by no version older than ``oldest``; ``before`` it did by more.

    ``mark`` is what Seen.retired_before was.
    """

    before: str
    oldest: str
    mark: str
    kind = "retire"

    def do(self, world: World, ledger: Ledger) -> Done:
        world.check(self.key)
        if not self._stands(world.look()):  # else somebody has done it, or more: that is left alone
            ledger.note(**{_ASKED: True})
            world.retire_before(self.oldest, self.oldest)
            if not self._stands(shown := world.look()):
                raise Transient(
                    f"{shown.place} took min_decryption_version, and does not show it",
                    hint="certrotd asks again later; if this lasts, set it there by hand",
                )
        return Done({"min_decryption_version": self.oldest})

    def observe(self, world: World, ledger: Ledger) -> Observed:
        """By what the service shows now."""
        del ledger
        if world.digest != self.key:
            return Observed.UNKNOWN
        stands = self._stands(world.tell(world.key.describe))
        return Observed.DONE if stands else Observed.NOT_DONE

    def undo(self, world: World, ledger: Ledger) -> None:
        """Let decrypt again what did before, unless that is trimmed or somebody changed it since.

        Nothing is done to another key than the one that this began with.
        """
        if not ledger.facts.get(_ASKED):
            return
        if world.digest != self.key:
            ledger.note(kept=f"versions before {self.oldest} stay retired at the former key")
            return
        state = world.look()
        if self.before not in [each.id for each in state.versions]:
            ledger.note(kept=f"versions before {self.oldest} stay retired: they are trimmed")
        elif state.oldest_decrypting.id == self.before:
            world.remember(self.mark)  # a service that refused the act refuses its undo, too
        elif state.oldest_decrypting.id == self.oldest:
            world.retire_before(self.before, self.mark)
            world.look()

    def _stands(self, state: ManagedState) -> bool:
        ids = [each.id for each in state.versions]
        wanted = ids.index(self.oldest) if self.oldest in ids else 0
        return ids.index(state.oldest_decrypting.id) >= wanted


STEPS: Mapping[str, type[Any]] = {each.kind: each for each in (Look, Rotate, SetPeriod, Retire)}


def rebuild(kind: str, intent: Mapping[str, JSON]) -> Step[World]:
    """A step from what the journal keeps of it; KeyError for an unknown kind."""
    step: Step[World] = STEPS[kind].rebuild(intent)
    return step
