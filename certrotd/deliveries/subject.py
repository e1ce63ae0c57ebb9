"""A delivery as the rooms above see it: a Subject of the lifecycle, and what a look finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from certrotd.deliveries.policy import Policy, Standing
from certrotd.deliveries.rules import decide, explain
from certrotd.id import Id
from certrotd.lifecycle.decision import Action, Asked, Decision, Postpone, Tried
from certrotd.lifecycle.subject import Fate, OfAttempts, OfManaged, Unlimited, Validity
from certrotd.lifecycle.view import DISABLED, View
from certrotd.rotation.flight import Flight

if TYPE_CHECKING:  # what a listing does not need
    from certrotd.deliveries.rotation import Managed
    from certrotd.errors import Failure
    from certrotd.lifecycle.alert import AlertEvent
    from certrotd.lifecycle.attempts import Attempts
    from certrotd.lifecycle.details import Consumer, Details
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner


@dataclass(frozen=True, slots=True)
class DeliveryFound(OfAttempts):
    """Found, of a delivery; ``decision`` is None where nothing could be found."""

    policy: Policy
    standing: Standing
    decision: Decision | None

    claim: ClassVar[None] = None
    passed: ClassVar[None] = None

    @property
    def attempts(self) -> Attempts:
        return self.standing.attempts

    @property
    def condition(self) -> str:
        if not self.policy.enabled:
            return DISABLED
        known = self.standing.delivered
        if known is None:
            return "missing"
        return "broken" if known.drift else ""

    @property
    def validity(self) -> Validity | None:
        """Of what is on the other host."""
        known = self.standing.delivered
        return Validity(known.not_before, known.not_after) if known else None

    @property
    def version(self) -> int | None:
        known = self.standing.delivered
        return known.generation if known else None

    @property
    def remark(self) -> str:
        known = self.standing.delivered
        return f"old folders stay there: {known.unpruned}" if known and known.unpruned else ""

    @property
    def names(self) -> Sequence[str]:
        return self.policy.names

    @property
    def renewal(self) -> tuple[datetime, str] | None:
        """It follows its certificate."""
        return None

    @property
    def next_version(self) -> str:
        live, known = self.standing.live, self.standing.delivered
        if live is None or live.placeholder or (known and known.generation == live.number):
            return ""
        return f"generation {live.number} is live here and not delivered yet"

    def decide(self, asked: Asked, *, now: datetime) -> Decision:
        return decide(self.policy, self.standing, asked, now=now)

    def explain(self, *, now: datetime) -> Sequence[Tried]:
        return list(explain(self.policy, self.standing, now=now))

    def steps(self) -> Sequence[str]:
        from certrotd.deliveries.steps import plan
        from certrotd.rotation.step import title

        due = self.decision.instead if isinstance(self.decision, Postpone) else self.decision
        if not isinstance(due, Action):
            return ()
        return [title(each) for each in plan(self.policy, 0, "", None)]

    def problems(self, decision: Decision, flight: Flight | None) -> Iterable[Failure]:
        """Only its host could tell, and a look does not ask it."""
        del decision, flight
        return ()

    def consumers(self, *, ask: bool = False) -> Sequence[Consumer]:
        from certrotd.deliveries.details import consumers_of

        del ask
        return consumers_of(self)

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        from certrotd.deliveries.details import json_of

        del ask
        return json_of(self)

    def details(self) -> Details:
        from certrotd.deliveries.details import details_of

        return details_of(self)

    def alerts(self, view: View) -> Sequence[AlertEvent]:
        """Its rotations and the check of its host raise them."""
        del view
        return ()


@dataclass(frozen=True, slots=True)
class DeliverySubject(OfManaged, Unlimited):
    """Subject, of a delivery."""

    managed: Managed

    @property
    def after(self) -> Id:
        """As Follows: its certificate."""
        return self.managed.policy.certificate

    @property
    def fate(self) -> Fate:
        return Fate(f"host {self.managed.policy.host}", self.id.name)

    def look(self, *, now: datetime, thorough: bool = False) -> DeliveryFound:
        """What the last delivery and the last check saw; never asks the host."""
        policy, standing = self.managed.policy, self.managed.look(thorough=thorough)
        return DeliveryFound(policy, standing, decide(policy, standing, now=now))

    def unseen(self) -> DeliveryFound:
        return DeliveryFound(self.managed.policy, Standing(), None)

    def rotate(self, runner: Runner, asked: Asked) -> Report:
        from certrotd.deliveries.rotation import DeliveryRotation

        with closing(self.managed.session()) as session:
            return runner.rotate(DeliveryRotation(self.managed, session), asked)

    def cancel(self, runner: Runner) -> Report:
        from certrotd.deliveries.rotation import DeliveryRotation

        with closing(self.managed.session()) as session:
            return runner.cancel(DeliveryRotation(self.managed, session))
