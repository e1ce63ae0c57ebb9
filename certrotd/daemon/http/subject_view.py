"""What the list and the page of one subject both show of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certrotd.daemon.http.time_format import span
from certrotd.id import Id
from certrotd.lifecycle.details import Consumer
from certrotd.lifecycle.subject import Validity
from certrotd.lifecycle.view import View
from certrotd.reporting.snapshot import Snapshot, moment
from certrotd.wording import count, stamp

FEW = 5
"""Fewer attempts than that are alarming."""


@dataclass(frozen=True)
class Lifetime:
    """How much of a lifetime has passed, in percent, and where its renewal lies."""

    passed: float
    renewal: float
    tone: str
    label: str


@dataclass(frozen=True)
class SubjectView:
    """One subject at ``now``; ``view`` is None if its configuration has just gone."""

    snapshot: Snapshot
    subject: Id
    view: View | None
    now: datetime

    @property
    def state(self) -> str:
        """Its state in one word."""
        return self.snapshot.state(self.subject)

    @property
    def failing(self) -> bool:
        """Whether somebody should look at it."""
        return self.snapshot.failing(self.subject)

    @property
    def why(self) -> str:
        """The reason behind the state."""
        return self.snapshot.why(self.subject)

    @property
    def code(self) -> str | None:
        """The code of that reason, as ``certrotd plan --explain`` lists it."""
        return self.view.code if self.view else None

    @property
    def failures(self) -> str:
        """How often it failed and why, unless the reason behind the state says so."""
        known = self.snapshot.known[self.subject]
        if known is None or not known.failures or known.failure in self.why:
            return ""
        return f"{count(known.failures, 'failure')}, the last: {known.failure}"

    @property
    def attempts_left(self) -> int | None:
        """How many attempts remain after a failure; None without one."""
        known = self.snapshot.known[self.subject]
        return self.snapshot.attempts_left(self.subject) if known and known.failures else None

    @property
    def few_left(self) -> bool:
        """Whether the remaining attempts are alarmingly few."""
        return self.attempts_left is not None and self.attempts_left < FEW

    @property
    def next_check(self) -> datetime | None:
        """When it is looked at again; None if nobody knows."""
        known = self.snapshot.known[self.subject]
        return moment(known.next) if known and known.next is not None else None

    @property
    def validity(self) -> Validity | None:
        """When what is in use begins and ends; None without anything."""
        return self.view.found.validity if self.view else None

    @property
    def names(self) -> Sequence[str]:
        """What it is for."""
        return self.view.found.names if self.view else ()

    @property
    def time_left(self) -> str:
        """How long what is in use is valid yet; it must have a validity."""
        assert self.validity is not None
        left = (self.validity.not_after - self.now).total_seconds()
        return f"{span(left)} left" if left > 0 else f"expired {span(left)} ago"

    @property
    def lifetime(self) -> Lifetime:
        """Where now is between the beginning and the end; it must have a validity."""
        assert self.view is not None
        validity, planned = self.validity, self.view.found.renewal
        assert validity is not None
        renewal = planned[0] if planned else validity.not_after
        whole = max(1.0, (validity.not_after - validity.not_before).total_seconds())

        def share(at: datetime) -> float:
            passed = (at - validity.not_before).total_seconds()
            return round(min(100.0, max(0.0, passed / whole * 100)), 2)

        passed = share(self.now)
        label = f"{passed:.0f} % of {span(whole)} passed; renewal {stamp(renewal)}"
        tone = "work" if self.now >= renewal else "good"
        if self.now >= validity.not_after:
            tone, label = "bad", "expired"
        return Lifetime(passed, share(renewal), tone, label)

    @property
    def waiting(self) -> str:
        """A newer one that is ready and not in use yet, in words; empty without one."""
        return self.view.found.next_version if self.view else ""

    @property
    def consumers(self) -> Sequence[Consumer]:
        """Who uses it, and what they have."""
        return self.view.found.consumers() if self.view else ()

    @property
    def well(self) -> bool:
        """Whether it says nothing that anybody has to know: a phone shows it in a line."""
        return (
            self.view is not None
            and self.state == "ok"
            and not self.failing
            and not self.waiting
            and all(each.current or each.unproven for each in self.consumers)
        )
