"""Whoever does what to a keyring in whatever order: every promise of its states holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from certrotd.keyring.states import (
    NotAllowed,
    NotProven,
    State,
    Versions,
)
from tests.unit.keyring.versions import FRESH, NOW, activated, proof, states


class AnyOrder(RuleBasedStateMachine):
    """Whoever does what in whatever order, the promises hold."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Versions()
        self.now = NOW
        self.never: set[int] = set()
        """Versions that were retired or compromised once."""
        self.leaked: set[int] = set()
        self.shown: set[int] = set()
        """Versions that were destroyed with all of the evidence."""

    def attempt(self, act: Callable[[], Versions]) -> bool:
        self.now += timedelta(minutes=1)
        try:
            self.ring = act()
        except (NotAllowed, NotProven):
            return False
        return True

    numbers = st.integers(min_value=1, max_value=3)

    @precondition(lambda self: len(self.ring.all) < 3)
    @rule()
    def generate(self) -> None:
        self.ring = self.ring.generate(at=self.now, why="due")

    @precondition(lambda self: len(self.ring.all) < 3)
    @rule(active=st.booleans())
    def adopt(self, active: bool) -> None:
        self.attempt(lambda: self.ring.adopt(active=active, at=self.now, why="found"))

    @precondition(lambda self: len(self.ring.all) < 3 and not self.ring.secondary)
    @rule()
    def rotate(self) -> None:
        """The usual steps, which chance alone would seldom take one after the other."""
        self.ring = activated(self.ring, self.now)

    @rule(number=numbers)
    def distribute(self, number: int) -> None:
        before = states(self.ring)
        if self.attempt(lambda: self.ring.distribute(number, at=self.now, why="given")):
            assert states(self.ring.rollback(at=self.now, why="undone")) == before

    @rule(number=numbers)
    def activate(self, number: int) -> None:
        before, active = states(self.ring), self.ring.active
        if not self.attempt(lambda: self.ring.activate(number, at=self.now, why="acknowledged")):
            return
        if active and number not in self.never and not active.was(State.RETIRED):
            assert states(self.ring.rollback(at=self.now, why="undone")) == before

    @rule()
    def rollback(self) -> None:
        readable = {each.number for each in self.ring.all if each.was(State.ACTIVE)}
        gone = {each.number for each in self.ring.in_state(State.DESTROYED, State.DISABLED)}
        if self.attempt(lambda: self.ring.rollback(at=self.now, why="errors")):
            delivered = {each.number for each in self.ring.all if each.state.delivered}
            assert readable - gone <= delivered, "what has encrypted is readable"

    @rule(number=numbers)
    def retire(self, number: int) -> None:
        if self.attempt(lambda: self.ring.retire(number, at=self.now, why="census 0")):
            self.never.add(number)
            back = self.ring.restore(number, at=self.now, why="missed")
            assert back.version(number).state is State.DECRYPT_ONLY

    @rule(number=numbers)
    def restore(self, number: int) -> None:
        self.attempt(lambda: self.ring.restore(number, at=self.now, why="missed"))

    @rule(number=numbers)
    def disable(self, number: int) -> None:
        self.attempt(lambda: self.ring.disable(number, at=self.now, why="grace is over"))

    @rule(number=numbers)
    def compromise(self, number: int) -> None:
        if self.attempt(lambda: self.ring.compromise(number, at=self.now, why="leaked")):
            self.never.add(number)
            self.leaked.add(number)

    @rule(number=numbers, left=st.integers(0, 1), lacks=st.sampled_from(["", "drill"]))
    def destroy(self, number: int, left: int, lacks: str) -> None:
        evidence = proof(self.now + timedelta(minutes=1), left)
        if lacks == "drill":
            evidence = replace(evidence, drilled=None)
        if self.attempt(
            lambda: self.ring.destroy(number, evidence, FRESH, at=self.now, why="over")
        ):
            assert not left
            assert not lacks
            self.shown.add(number)

    @invariant()
    def at_most_one_key_encrypts(self) -> None:
        assert len(self.ring.in_state(State.ACTIVE)) <= 1

    @invariant()
    def a_retired_or_compromised_key_never_encrypts(self) -> None:
        assert not self.never & {each.number for each in self.ring.in_state(State.ACTIVE)}

    @invariant()
    def a_compromise_is_never_forgotten(self) -> None:
        for version in self.ring.all:
            assert version.compromised == (version.number in self.leaked)
            if version.compromised:
                assert version.state in (State.COMPROMISED, State.DESTROYED)

    @invariant()
    def only_what_was_proven_is_destroyed(self) -> None:
        assert {each.number for each in self.ring.in_state(State.DESTROYED)} == self.shown

    @invariant()
    def every_transition_has_its_time_and_reason(self) -> None:
        for version in self.ring.all:
            times = [each.at for each in version.transitions]
            assert times == sorted(times)
            assert all(each.why and each.code for each in version.transitions)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
