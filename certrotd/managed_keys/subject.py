"""A managed key as the rooms above see it: a Subject of the lifecycle, and what a look finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from certrotd.lifecycle.decision import DAEMON, Action, Asked, Decision, Postpone, Tried
from certrotd.lifecycle.subject import Fate, OfAttempts, OfManaged, Unlimited, Validity
from certrotd.lifecycle.view import DISABLED, View
from certrotd.managed_keys.policy import Policy, Seen, Standing
from certrotd.managed_keys.rules import Case, decide, explain
from certrotd.rotation.flight import Flight
from certrotd.rotation.step import title

if TYPE_CHECKING:  # what a listing does not need
    from certrotd.errors import Failure
    from certrotd.lifecycle.alert import AlertEvent
    from certrotd.lifecycle.attempts import Attempts
    from certrotd.lifecycle.details import Consumer, Details
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner
    from certrotd.managed_keys.rotation import Managed


@dataclass(frozen=True, slots=True)
class ManagedKeyFound(OfAttempts):
    """Found, of a managed key; ``decision`` is None where nothing could be found."""

    policy: Policy
    standing: Standing
    decision: Decision | None
    now: datetime

    claim: ClassVar[None] = None
    passed: ClassVar[None] = None
    next_version: ClassVar[str] = ""
    version: ClassVar[None] = None
    names: ClassVar[Sequence[str]] = ()

    @property
    def seen(self) -> Seen | None:
        return self.standing.of(self.policy)

    @property
    def attempts(self) -> Attempts:
        return self.standing.attempts

    @property
    def condition(self) -> str:
        if not self.policy.enabled:
            return DISABLED
        seen = self.seen
        return "broken" if seen is not None and not seen.state.present.decrypts else ""

    @property
    def validity(self) -> Validity | None:
        """The cryptoperiod of the present version."""
        seen = self.seen
        return Validity(seen.since, seen.since + self.policy.cryptoperiod) if seen else None

    @property
    def renewal(self) -> tuple[datetime, str] | None:
        seen = self.seen
        if seen is None:
            return None
        if (due := Case(self.policy, self.standing, self.now, DAEMON).due) is not None:
            return due, "a tenth of its cryptoperiod is left"
        period = seen.state.period
        return (seen.since + period, "its service rotates it by itself") if period else None

    @property
    def remark(self) -> str:
        left = self.seen.state.rotations_left if self.seen else None
        return "" if left is None else f"{left} rotations on demand are left"

    def decide(self, asked: Asked, *, now: datetime) -> Decision:
        return decide(self.policy, self.standing, asked, now=now)

    def explain(self, *, now: datetime) -> Sequence[Tried]:
        return list(explain(self.policy, self.standing, now=now))

    def steps(self) -> Sequence[str]:
        from certrotd.managed_keys.rotation import step_of

        decision = self.decision
        due = decision.instead if isinstance(decision, Postpone) else decision
        if not isinstance(due, Action):
            return ()
        return [title(step_of(self.policy, self.standing, due))]

    def problems(self, decision: Decision, flight: Flight | None) -> Iterable[Failure]:
        """Only its service could tell, and a look does not ask it."""
        del decision, flight
        return ()

    def consumers(self, *, ask: bool = False) -> Sequence[Consumer]:
        """Nobody is given the key."""
        del ask
        return ()

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        from certrotd.managed_keys.details import json_of

        del ask
        return json_of(self)

    def details(self) -> Details:
        from certrotd.managed_keys.details import details_of

        return details_of(self)

    def alerts(self, view: View) -> Sequence[AlertEvent]:
        """Its check raises them."""
        del view
        return ()


@dataclass(frozen=True, slots=True)
class ManagedKeySubject(OfManaged, Unlimited):
    """Subject, of a managed key."""

    managed: Managed

    @property
    def fate(self) -> Fate:
        return Fate(self.managed.policy.place, self.id.name)

    def look(self, *, now: datetime, thorough: bool = False) -> ManagedKeyFound:
        """What its check saw last; never asks the service."""
        del thorough
        policy, standing = self.managed.policy, self.managed.look()
        return ManagedKeyFound(policy, standing, decide(policy, standing, now=now), now)

    def unseen(self) -> ManagedKeyFound:
        return ManagedKeyFound(self.managed.policy, Standing(), None, self.managed.clock.now())

    def rotate(self, runner: Runner, asked: Asked) -> Report:
        from certrotd.managed_keys.rotation import ManagedKeyRotation

        return runner.rotate(ManagedKeyRotation(self.managed), asked)

    def cancel(self, runner: Runner) -> Report:
        from certrotd.managed_keys.rotation import ManagedKeyRotation

        return runner.cancel(ManagedKeyRotation(self.managed))
