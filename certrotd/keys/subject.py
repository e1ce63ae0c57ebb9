"""A keyring as the rooms above see it: a Subject of the lifecycle, and what a look finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from certrotd.clock import Clock
from certrotd.keys.case import Case
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.keys.rules import decide, explain
from certrotd.lifecycle import managed
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Decision, Postpone, Tried
from certrotd.lifecycle.subject import Fate, OfAttempts, OfManaged, Unlimited, Validity
from certrotd.lifecycle.view import DISABLED, View
from certrotd.rotation.flight import Flight
from certrotd.rotation.step import title

if TYPE_CHECKING:  # what a listing does not need
    from certrotd.errors import Failure
    from certrotd.keys.world import World
    from certrotd.lifecycle.alert import AlertEvent
    from certrotd.lifecycle.details import Consumer, Details
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner


class Managed(managed.Managed, Protocol):
    """One keyring of the configuration with what its rotation needs."""

    @property
    def policy(self) -> Policy: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def within(self) -> Mapping[str, timedelta]:
        """By when each consumer is to have confirmed."""
        ...

    def world(self) -> World:
        """What one rotation acts upon."""
        ...

    def look(self, *, thorough: bool = False) -> Standing:
        """What there is of it; raises Failure and OSError.

        A ``thorough`` look compares every output with the keyring.
        """
        ...

    def exposed(self) -> Sequence[str]:
        """Who else may read or replace what its outputs hold, in words, and what to do about it."""
        ...

    def attempts(self) -> Attempts:
        """What its history says."""
        ...

    def problems(self, decision: Decision) -> Iterable[Failure]:
        """Everything that carrying it out would fail for, as far as it can be told."""
        ...


@dataclass(frozen=True, slots=True)
class KeyringFound(OfAttempts):
    """Found, of a keyring; ``decision`` is None where nothing could be found."""

    managed: Managed
    standing: Standing
    attempts: Attempts
    decision: Decision | None
    now: datetime

    claim: ClassVar[None] = None
    passed: ClassVar[None] = None

    @property
    def case(self) -> Case:
        return Case(self.managed.policy, self.standing, self.attempts, self.now, DAEMON)

    @property
    def condition(self) -> str:
        if not self.managed.policy.enabled:
            return DISABLED
        if self.standing.versions is None:
            return "missing"
        return "broken" if self.standing.strange or self.case.active is None else ""

    @property
    def validity(self) -> Validity | None:
        """The cryptoperiod of the active key."""
        active = self.case.active
        if active is None:
            return None
        return Validity(active.since, active.since + self.managed.policy.cryptoperiod)

    @property
    def version(self) -> int | None:
        active = self.case.active
        return active.number if active else None

    @property
    def names(self) -> Sequence[str]:
        return sorted(self.managed.policy.datasets)

    @property
    def renewal(self) -> tuple[datetime, str] | None:
        return self.case.expected

    @property
    def next_version(self) -> str:
        staged = self.case.staged
        return f"version {staged.number} is {staged.state}" if staged else ""

    @property
    def remark(self) -> str:
        return "; ".join(self.standing.strange)

    def decide(self, asked: Asked, *, now: datetime) -> Decision:
        return decide(self.managed.policy, self.standing, self.attempts, asked, now=now)

    def explain(self, *, now: datetime) -> Sequence[Tried]:
        return list(explain(self.managed.policy, self.standing, self.attempts, now=now))

    def steps(self) -> Sequence[str]:
        from certrotd.keys.plan import plan_of

        decision = self.decision
        due = decision.instead if isinstance(decision, Postpone) else decision
        return [title(each) for each in plan_of(self.case, due)] if isinstance(due, Action) else ()

    def problems(self, decision: Decision, flight: Flight | None) -> Iterable[Failure]:
        return self.managed.problems(decision) if flight is None else ()

    def consumers(self, *, ask: bool = False) -> Sequence[Consumer]:
        from certrotd.keys.details import consumers_of

        return consumers_of(self, ask=ask)

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        from certrotd.keys.details import json_of

        return json_of(self, ask=ask)

    def details(self) -> Details:
        from certrotd.keys.details import details_of

        return details_of(self)

    def alerts(self, view: View) -> Sequence[AlertEvent]:
        from certrotd.keys.alerts import of_look

        return of_look(view, self)


@dataclass(frozen=True, slots=True)
class KeyringSubject(OfManaged, Unlimited):
    """Subject, of a keyring."""

    managed: Managed

    @property
    def fate(self) -> Fate:
        return Fate("keys", self.id.name)

    def look(self, *, now: datetime, thorough: bool = False) -> KeyringFound:
        managed = self.managed
        standing, attempts = managed.look(thorough=thorough), managed.attempts()
        decision = decide(managed.policy, standing, attempts, now=now)
        return KeyringFound(managed, standing, attempts, decision, now)

    def unseen(self) -> KeyringFound:
        now = self.managed.clock.now()
        return KeyringFound(self.managed, Standing(), Attempts(), None, now)

    def rotate(self, runner: Runner, asked: Asked) -> Report:
        from certrotd.keys.rotation import KeyringRotation

        return runner.rotate(KeyringRotation(self.managed), asked)

    def cancel(self, runner: Runner) -> Report:
        from certrotd.keys.rotation import KeyringRotation

        return runner.cancel(KeyringRotation(self.managed))

    def rollback(self, runner: Runner, to: int | None) -> Report:
        from certrotd.keys.rotation import rollback

        return rollback(self.managed, runner, to)
