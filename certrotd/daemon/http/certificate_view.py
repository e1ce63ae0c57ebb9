"""What the list and the page of one certificate both show of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certrotd.certs.fitness import renewal_time
from certrotd.certs.inventory import Row
from certrotd.certs.policy import COPIES
from certrotd.daemon.http.time_format import span, stamp
from certrotd.id import Id
from certrotd.pki.certificate import CertificateFacts
from certrotd.reporting.snapshot import Snapshot, moment
from certrotd.reporting.status import code_of, target_words, targets_of
from certrotd.wording import count

FEW = 5
"""Fewer attempts than that are alarming."""


@dataclass(frozen=True)
class Lifetime:
    """How much of a certificate's lifetime has passed, in percent, and where its renewal lies."""

    passed: float
    renewal: float
    tone: str
    label: str


@dataclass(frozen=True)
class CertificateView:
    """One certificate at ``now``; ``row`` is None if its configuration has just gone."""

    snapshot: Snapshot
    subject: Id
    row: Row | None
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
        return code_of(self.row) if self.row else None

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
    def facts(self) -> CertificateFacts | None:
        """What is in the live certificate; None without one that an issuer has signed."""
        live = self.row.standing.live if self.row else None
        return live.facts if live and not live.placeholder else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its names, from the live certificate if there is one."""
        if self.facts is not None:
            return self.facts.names
        return self.row.managed.policy.names if self.row else ()

    @property
    def renewal(self) -> tuple[datetime, str]:
        """When the live certificate is renewed, and by which rule; it must have facts."""
        assert self.row is not None
        live = self.row.standing.live
        assert live is not None
        assert live.facts is not None
        draw = live.meta.draw if live.meta else 0.0
        return renewal_time(live.facts, draw, self.row.managed.policy)

    @property
    def time_left(self) -> str:
        """How long the live certificate is valid yet; it must have facts."""
        assert self.facts is not None
        left = (self.facts.not_after - self.now).total_seconds()
        return f"{span(left)} left" if left > 0 else f"expired {span(left)} ago"

    @property
    def lifetime(self) -> Lifetime:
        """Where now is between the beginning and the end; it must have facts."""
        facts, (renewal, _) = self.facts, self.renewal
        assert facts is not None
        whole = max(1.0, (facts.not_after - facts.not_before).total_seconds())

        def share(at: datetime) -> float:
            passed = (at - facts.not_before).total_seconds()
            return round(min(100.0, max(0.0, passed / whole * 100)), 2)

        passed = share(self.now)
        label = f"{passed:.0f} % of {span(whole)} passed; renewal {stamp(renewal)}"
        tone = "work" if self.now >= renewal else "good"
        if self.now >= facts.not_after:
            tone, label = "bad", "expired"
        return Lifetime(passed, share(renewal), tone, label)

    @property
    def waiting(self) -> str:
        """A generation that was issued and is not in use yet, in words; empty without one."""
        standing = self.row.standing if self.row else None
        if standing is None or standing.newest is None:
            return ""
        if standing.live is not None and standing.newest.number <= standing.live.number:
            return ""
        return f"generation {standing.newest.number} is issued and not deployed yet"

    @property
    def copies(self) -> tuple[str, str] | None:
        """The tone and the words for its copies; None if it has none."""
        if self.row is None or not self.row.managed.policy.installs:
            return None
        standing = self.row.standing
        state, live = standing.state.targets.get(COPIES), standing.live
        if standing.displaced:
            return "work", standing.displaced
        if state is None or live is None:
            return "calm", "not installed yet"
        if state.generation != live.number:
            return "work", f"of generation {state.generation}"
        return "good", "up to date"

    @property
    def targets(self) -> list[dict[str, Any]]:
        """What its targets serve, each with ``words`` for it."""
        told = targets_of(self.row) if self.row else []
        words = ("serves it" if each["current"] else target_words(each) for each in told)
        return [{**each, "words": word} for each, word in zip(told, words, strict=True)]

    @property
    def well(self) -> bool:
        """Whether it says nothing that anybody has to know: a phone shows it in a line."""
        return (
            self.row is not None
            and self.state == "ok"
            and not self.failing
            and not self.waiting
            and (self.copies is None or self.copies[0] == "good")
            and all(target["current"] or _without_probe(target) for target in self.targets)
        )


def _without_probe(target: Mapping[str, Any]) -> bool:
    return target["generation"] is not None and target["serves"] is None
