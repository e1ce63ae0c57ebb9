"""The states of a key version and of a keyring, after NIST SP 800-57 part 1: pure transitions.

At most one version is active. A version that was retired or compromised never encrypts again,
and none is destroyed without evidence. Values that break these rules cannot be made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from certrotd.errors import InvalidInput, NeedsOperator, listed
from certrotd.keyring.evidence import Evidence, Freshness, Missing, missing


class State(StrEnum):
    """What a key version may be used for."""

    PRE_ACTIVE = "pre-active"
    """Durable, and given to nobody yet."""
    SECONDARY = "secondary"
    """Consumers may decrypt with it, and not yet encrypt."""
    ACTIVE = "active"
    """Consumers encrypt with it."""
    DECRYPT_ONLY = "decrypt-only"
    """Replaced; its ciphertext is being re-encrypted."""
    RETIRED = "retired"
    """No ciphertext is left that anybody knows of; consumers still have it, for a grace period."""
    DISABLED = "disabled"
    """Withheld from every consumer, and watched for whom it is missed by."""
    DESTROYED = "destroyed"
    """The material is gone; what is known about it stays."""
    COMPROMISED = "compromised"
    """Others may know it: it decrypts what is left under it, until that is re-encrypted."""

    @property
    def delivered(self) -> bool:
        """Whether consumers are given the key."""
        return self not in (State.PRE_ACTIVE, State.DISABLED, State.DESTROYED)


class Code(StrEnum):
    """Why a version came into a state."""

    GENERATED = "generated"
    ADOPTED = "adopted"
    DISTRIBUTED = "distributed"
    ACTIVATED = "activated"
    REPLACED = "replaced"
    ROLLED_BACK = "rolled-back"
    RETIRED = "retired"
    RESTORED = "restored"
    DISABLED = "disabled"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


_FOLLOWING: dict[State, frozenset[State]] = {
    State.PRE_ACTIVE: frozenset({State.SECONDARY, State.DESTROYED, State.COMPROMISED}),
    State.SECONDARY: frozenset(
        {State.ACTIVE, State.PRE_ACTIVE, State.DECRYPT_ONLY, State.COMPROMISED}
    ),
    State.ACTIVE: frozenset({State.DECRYPT_ONLY, State.SECONDARY, State.COMPROMISED}),
    State.DECRYPT_ONLY: frozenset({State.RETIRED, State.ACTIVE, State.COMPROMISED}),
    State.RETIRED: frozenset({State.DISABLED, State.DECRYPT_ONLY, State.COMPROMISED}),
    State.DISABLED: frozenset({State.DESTROYED, State.DECRYPT_ONLY, State.COMPROMISED}),
    State.COMPROMISED: frozenset({State.DESTROYED}),
    State.DESTROYED: frozenset({State.DESTROYED}),  # its compromise is learned of afterwards
}
_FIRST = {State.PRE_ACTIVE, State.ACTIVE, State.DECRYPT_ONLY}


class NotAllowed(NeedsOperator):
    """The version, or the keyring, is not in a state from which this can be done."""


class NotProven(NeedsOperator):
    """The key may still be needed; ``missing`` is what was not shown."""

    def __init__(self, number: int, lacking: tuple[Missing, ...]) -> None:
        words = listed((each.why for each in lacking), most=3)
        super().__init__(
            f"version {number} is not destroyed: {words}",
            hint="a destroyed key is never to be had back: show all of it first",
        )
        self.missing = lacking


@dataclass(frozen=True, slots=True)
class Transition:
    """When a version came into a state, by which rule, and why in words."""

    to: State
    at: datetime
    code: Code
    why: str


@dataclass(frozen=True, slots=True)
class Version:
    """One key version and every transition of it, oldest first; raises InvalidInput for no path.

    ``number`` is its own for ever; ``before`` is the version that it took the place of.
    """

    number: int
    transitions: tuple[Transition, ...]
    before: int | None = None

    def __post_init__(self) -> None:
        path = [each.to for each in self.transitions]
        if not path or path[0] not in _FIRST:
            raise InvalidInput(f"version {self.number} begins in no state that a key begins in")
        for one, other in pairwise(path):
            if other not in _FOLLOWING[one]:
                raise InvalidInput(f"version {self.number} went from {one} to {other}")
        if State.RETIRED in path and State.ACTIVE in path[path.index(State.RETIRED) :]:
            raise InvalidInput(f"version {self.number} was retired, and active again")

    @property
    def state(self) -> State:
        return self.transitions[-1].to

    @property
    def since(self) -> datetime:
        """When it came into its state."""
        return self.transitions[-1].at

    @property
    def compromised(self) -> bool:
        """Whether others may know it, be it destroyed by now."""
        return any(each.code is Code.COMPROMISED for each in self.transitions)

    @property
    def encrypted_until(self) -> datetime | None:
        """When it last ceased to encrypt, or came in already used; None if it never encrypted."""
        ended = [two.at for one, two in pairwise(self.transitions) if one.to is State.ACTIVE]
        if ended:
            return ended[-1]
        first = self.transitions[0]
        return None if first.to is State.PRE_ACTIVE and not self.was(State.ACTIVE) else first.at

    @property
    def counted_from(self) -> datetime | None:
        """From when on a count shows what is left under it: as others came to know it, anew.

        What was wrapped by it before, and by another key since, counts again.
        """
        until = self.encrypted_until
        known = (each.at for each in self.transitions if each.code is Code.COMPROMISED)
        return max([until, *known]) if until is not None else None

    def was(self, state: State) -> bool:
        """Whether it is, or ever was, in ``state``."""
        return any(each.to is state for each in self.transitions)

    def moved(self, transition: Transition) -> Version:
        """The version after one more transition; raises NotAllowed.

        By a clock that was put back it is at the time of the last one: whatever counts from the
        time that a key stopped encrypting ends too late rather than too early.
        """
        to = transition.to
        if to not in _FOLLOWING[self.state]:
            raise NotAllowed(f"version {self.number} is {self.state} and cannot become {to}")
        if to is State.ACTIVE and self.was(State.RETIRED):
            raise NotAllowed(
                f"version {self.number} was retired: it never encrypts again",
                hint="rotate to a new key instead",
            )
        transition = replace(transition, at=max(transition.at, self.since))
        return replace(self, transitions=(*self.transitions, transition))


@dataclass(frozen=True, slots=True)
class Versions:
    """Every version of a keyring; each method gives the keyring as it is after one act.

    ``at`` is when, ``why`` the words that are kept. All raise NotAllowed and change nothing.
    InvalidInput for what can be no keyring.
    """

    all: tuple[Version, ...] = ()

    def __post_init__(self) -> None:
        numbers = Counter(each.number for each in self.all)
        if twice := [number for number, count in numbers.items() if count > 1]:
            raise InvalidInput(f"version {twice[0]} is there twice")
        for state in (State.ACTIVE, State.SECONDARY):
            if len(found := self.in_state(state)) > 1:
                names = " and ".join(str(each.number) for each in found)
                raise InvalidInput(f"versions {names} are both {state}")

    def in_state(self, *states: State) -> tuple[Version, ...]:
        """The versions in one of ``states``, oldest first."""
        return tuple(each for each in self.all if each.state in states)

    @property
    def active(self) -> Version | None:
        return next(iter(self.in_state(State.ACTIVE)), None)

    @property
    def secondary(self) -> Version | None:
        return next(iter(self.in_state(State.SECONDARY)), None)

    @property
    def moves(self) -> int:
        """How many transitions there were in all: higher after every act."""
        return sum(len(each.transitions) for each in self.all)

    @property
    def next_number(self) -> int:
        """The number of the version that is added next."""
        return max((each.number for each in self.all), default=0) + 1

    def version(self, number: int) -> Version:
        """The version of that number; raises NotAllowed if there is none."""
        for each in self.all:
            if each.number == number:
                return each
        raise NotAllowed(f"there is no version {number}")

    def generate(self, *, at: datetime, why: str) -> Versions:
        """Add a version that nobody has yet."""
        first = Transition(State.PRE_ACTIVE, at, Code.GENERATED, why)
        return Versions((*self.all, Version(self.next_number, (first,))))

    def adopt(self, *, active: bool, at: datetime, why: str) -> Versions:
        """Add a key that the application has already: the one it encrypts with, or an older one."""
        if active and (now := self.active):
            raise NotAllowed(f"version {now.number} is active: only one key can be")
        state = State.ACTIVE if active else State.DECRYPT_ONLY
        first = Transition(state, at, Code.ADOPTED, why)
        return Versions((*self.all, Version(self.next_number, (first,))))

    def distribute(self, number: int, *, at: datetime, why: str) -> Versions:
        """Let consumers decrypt with a version, before any encrypts with it."""
        if (now := self.secondary) and now.number != number:
            raise NotAllowed(
                f"version {now.number} is secondary: one rotation is in flight at a time",
                hint="activate it, or roll it back",
            )
        self._demand(number, State.PRE_ACTIVE)
        return self._with(number, Transition(State.SECONDARY, at, Code.DISTRIBUTED, why))

    def activate(self, number: int, *, at: datetime, why: str) -> Versions:
        """Encrypt with the secondary version from now on; the active one only decrypts."""
        hint = "distribute it first: who lacks it could not read what others encrypt"
        self._demand(number, State.SECONDARY, hint=hint)
        moved = self
        if former := self.active:
            moved = moved._with(
                former.number,
                Transition(State.DECRYPT_ONLY, at, Code.REPLACED, f"version {number} is active"),
            )
        moved = moved._with(number, Transition(State.ACTIVE, at, Code.ACTIVATED, why))
        return moved._put(replace(moved.version(number), before=former.number if former else None))

    def rollback(self, *, at: datetime, why: str) -> Versions:
        """Undo the last step of the newest rotation.

        A secondary version is withdrawn. Otherwise the version before the active one encrypts
        again, and the active one is secondary as it was: ciphertext under it stays readable. Where
        the version before is retired or disabled already, it decrypts again and never encrypts.
        """

        def step(to: State) -> Transition:
            return Transition(to, at, Code.ROLLED_BACK, why)

        if pending := self.secondary:
            used = pending.was(State.ACTIVE)  # then ciphertext under it exists
            return self._with(
                pending.number, step(State.DECRYPT_ONLY if used else State.PRE_ACTIVE)
            )
        former = self._before_active()
        if former.state is not State.DECRYPT_ONLY:
            return self._with(former.number, step(State.DECRYPT_ONLY))
        active = self.active
        assert active is not None, "it has a version before it"
        back = self._with(active.number, step(State.SECONDARY))
        return back._with(former.number, step(State.ACTIVE))

    def retire(self, number: int, *, at: datetime, why: str) -> Versions:
        """End the use of a version that nothing is left under."""
        return self._with(number, Transition(State.RETIRED, at, Code.RETIRED, why))

    def restore(self, number: int, *, at: datetime, why: str) -> Versions:
        """Let a retired or disabled version decrypt again: something needs it."""
        self._demand(number, State.RETIRED, State.DISABLED)
        return self._with(number, Transition(State.DECRYPT_ONLY, at, Code.RESTORED, why))

    def disable(self, number: int, *, at: datetime, why: str) -> Versions:
        """Withhold a retired version from every consumer."""
        return self._with(number, Transition(State.DISABLED, at, Code.DISABLED, why))

    def compromise(self, number: int, *, at: datetime, why: str) -> Versions:
        """Never encrypt with a version again, whatever state it is in.

        If it was active none is, until another is activated. A destroyed one stays destroyed.
        """
        version = self.version(number)
        if version.compromised:
            raise NotAllowed(f"version {number} is known to be compromised")
        gone = version.state is State.DESTROYED
        to = State.DESTROYED if gone else State.COMPROMISED
        return self._with(number, Transition(to, at, Code.COMPROMISED, why))

    def destroy(
        self, number: int, evidence: Evidence, fresh: Freshness, *, at: datetime, why: str
    ) -> Versions:
        """Record that the material is to be gone for ever; raises NotProven, too."""
        version = self.version(number)
        if version.state is State.DESTROYED:
            raise NotAllowed(f"version {number} is destroyed already")
        gone = version.moved(Transition(State.DESTROYED, at, Code.DESTROYED, f"{why} ({evidence})"))
        lacking = missing(evidence, fresh, encrypted_until=version.counted_from, now=at)
        if found := tuple(lacking):
            raise NotProven(number, found)
        return self._put(gone)

    def _demand(self, number: int, *states: State, hint: str = "") -> None:
        state = self.version(number).state
        if state not in states:
            wanted = " or ".join(states)
            raise NotAllowed(f"version {number} is {state}, not {wanted}", hint=hint)

    def _before_active(self) -> Version:
        """The version that the active one took the place of; raises NotAllowed."""
        if not (active := self.active):
            raise NotAllowed(
                "no version is active, so there is none to go back from",
                hint="distribute a new key and activate it",
            )
        if active.before is None:
            raise NotAllowed(f"version {active.number} is the first: there is none before it")
        former = self.version(active.before)
        if former.state in (State.DESTROYED, State.COMPROMISED):
            raise NotAllowed(
                f"version {former.number}, the one before, is {former.state}",
                hint="rotate to a new key instead",
            )
        return former

    def _with(self, number: int, transition: Transition) -> Versions:
        return self._put(self.version(number).moved(transition))

    def _put(self, version: Version) -> Versions:
        return Versions(
            tuple(version if each.number == version.number else each for each in self.all)
        )
