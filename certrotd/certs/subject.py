"""A certificate as the rooms above see it: a Subject of the lifecycle, and what a look finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from certrotd.certs.fallback import too_long, waits_of
from certrotd.certs.fitness import its_time, missed_chain, standing_in
from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import Attempts
from certrotd.certs.rules import decide, explain
from certrotd.errors import Failure
from certrotd.lifecycle.decision import Asked, Decision, Tried
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.subject import Fate, OfAttempts, OfManaged, Validity
from certrotd.lifecycle.view import DISABLED, View
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Standing
from certrotd.pki.revocation import Revocation, revocations_to_json
from certrotd.value import value

if TYPE_CHECKING:  # what a listing does not need
    from certrotd.certs.limits.budget import Budget
    from certrotd.certs.limits.sliding_windows import Over
    from certrotd.lifecycle.alert import AlertEvent
    from certrotd.lifecycle.details import Consumer, Details
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner
    from certrotd.lifecycle.subject import DeletionForeseen, RevocationForeseen
    from certrotd.pki.revocation import RevocationAsked
    from certrotd.rotation.flight import Flight

BACKDATED = timedelta(hours=25)
"""How far a CA may date a certificate back: public ones do by an hour or a day."""


@dataclass(frozen=True, slots=True)
class PossibleOrder:
    """An order at a CA that may count them; ``renewal``: for the same names as before."""

    issuer: str
    authority: str
    renewal: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """An order at the first of these CAs that has room in time.

    ``served_until`` is when the certificate that is served ends, None if none is; ``waits`` says
    until when CAs, by their authority, want no order.
    """

    orders: tuple[PossibleOrder, ...]
    served_until: datetime | None
    waits: Mapping[str, datetime] = field(default_factory=dict)


@value
class CertificateFound(OfAttempts):
    """Found, of a certificate."""

    managed: Managed
    standing: Standing
    attempts: Attempts
    decision: Decision | None
    facts: CertificateFacts | None = field(init=False, compare=False)
    """What is in the live certificate; None without one that an issuer has signed."""

    def __post_init__(self) -> None:
        # once: 10,000 certificates are asked for it in one listing
        live = self.standing.live
        facts = live.facts if live and not live.placeholder else None
        object.__setattr__(self, "facts", facts)

    @property
    def issued_by(self) -> str | None:
        """The issuer of the live certificate, by its name in the configuration then."""
        meta = self.standing.live.meta if self.standing.live else None
        return meta.issuer if meta and meta.origin == "issued" else None

    @property
    def condition(self) -> str:
        live = self.standing.live
        if not self.managed.policy.enabled:
            return DISABLED
        if live is None:
            return "missing"
        if live.facts is None:
            return "broken"
        if live.placeholder:
            return "placeholder"
        return "" if live.damaged is None else "broken"

    @property
    def validity(self) -> Validity | None:
        facts = self.facts
        return Validity(facts.not_before, facts.not_after) if facts else None

    @property
    def version(self) -> int | None:
        live = self.standing.live
        return live.number if live else None

    @property
    def passed(self) -> datetime | None:
        """The beginning of a certificate of a CA elsewhere: its own clock has shown that.

        An adopted certificate may have been made by anybody, and our own CA has our own clock.
        """
        live = self.standing.live
        if live is None or live.facts is None or live.meta is None:
            return None
        meta = live.meta
        if meta.origin != "issued" or not elsewhere(meta.authority):
            return None
        begin = live.facts.not_before
        # written down by our own clock, which may have been wrong then
        return meta.created if begin <= meta.created <= begin + BACKDATED else begin

    @property
    def claim(self) -> Claim | None:
        policy, decision = self.managed.policy, self.decision
        if decision is None or not decision.needs_clock:
            return None
        from certrotd.certs.limits.sliding_windows import renews

        orders = [
            PossibleOrder(
                each.issuer, each.authority, renews(self.standing, each.names, each.authority)
            )
            for each in policy.one_by_one()
        ]
        # a CA of our own has no limits
        if not any(elsewhere(each.authority) for each in orders):
            return None
        facts, waits = self.facts, waits_of(self.attempts) if policy.others else {}
        return Claim(tuple(orders), facts.not_after if facts else None, waits)

    @property
    def names(self) -> Sequence[str]:
        facts = self.facts
        return facts.names if facts else self.managed.policy.names

    @property
    def renewal(self) -> tuple[datetime, str] | None:
        live, facts = self.standing.live, self.facts
        if live is None or facts is None:
            return None
        return its_time(live, self.standing.state, self.managed.policy)

    @property
    def next_version(self) -> str:
        live, newest = self.standing.live, self.standing.newest
        if newest is None or (live is not None and newest.number <= live.number):
            return ""
        return f"generation {newest.number} is issued and not deployed yet"

    @property
    def remark(self) -> str:
        live, policy = self.standing.live, self.managed.policy
        words = [each.words(number) for number, each in self.standing.state.revoked.items()]
        of_live = standing_in(live, policy), missed_chain(live, policy)
        return "; ".join(filter(None, (*of_live, *words)))

    def consumers(self, *, ask: bool = False) -> Sequence[Consumer]:
        from certrotd.certs.details import consumers_of

        return consumers_of(self, ask=ask)

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        from certrotd.certs.details import targets_of

        facts, newest = self.facts, self.standing.newest
        return {
            "names": list(self.names),
            "newest_generation": newest.number if newest else None,
            "issuer": facts.issuer if facts else None,
            "issuers": list(self.managed.policy.issuers),
            "issued_by": self.issued_by,
            "issued_instead": standing_in(self.standing.live, self.managed.policy),
            "key_type": facts.key_type if facts else None,
            "fingerprint": facts.fingerprint if facts else None,
            "targets": targets_of(self, ask=ask),
            "revocations": revocations_to_json(self.standing.state.revoked),
        }

    def details(self) -> Details:
        from certrotd.certs.details import details_of

        return details_of(self)

    def alerts(self, view: View) -> Sequence[AlertEvent]:
        from certrotd.certs.alerts import of_look

        return of_look(view, self)

    def decide(self, asked: Asked, *, now: datetime) -> Decision:
        return decide(self.managed.policy, self.standing, self.attempts, asked, now=now)

    def explain(self, *, now: datetime) -> Sequence[Tried]:
        return list(explain(self.managed.policy, self.standing, self.attempts, now=now))

    def steps(self) -> Sequence[str]:
        from certrotd.certs.wiring.foresight import steps_of

        return steps_of(self, self.decision)

    def problems(self, decision: Decision, flight: Flight | None) -> Iterable[Failure]:
        from certrotd.certs.wiring.foresight import problems_of

        return problems_of(self, decision, flight)


@value
class CertificateSubject(OfManaged):
    """Subject, of a certificate."""

    managed: Managed
    accounts: Accounts

    @property
    def fate(self) -> Fate:
        from certrotd.certs.limits.sliding_windows import registered_domain

        policy = self.managed.policy
        return Fate(policy.issuer, registered_domain(policy.names[0]))

    @property
    def names(self) -> Sequence[str]:
        return self.managed.policy.names

    def look(self, *, now: datetime, thorough: bool = False) -> CertificateFound:
        managed = self.managed
        standing, attempts = managed.look(thorough=thorough), attempts_of(managed)
        decision = decide(managed.policy, standing, attempts, now=now)
        return CertificateFound(managed, standing, attempts, decision)

    def unseen(self) -> CertificateFound:
        return CertificateFound(self.managed, Standing(), Attempts(), None)

    def reserve(self, claim: Claim, *, now: datetime) -> Held | None:
        policy, name = self.managed.policy, str(self.id)

        def hold(order: PossibleOrder) -> Over | None:
            budget = self.accounts.budget(order.issuer)
            if budget is None:
                return None
            return budget.hold(name, policy.names, renewal=order.renewal, now=now)

        over, passed = first_with_room(claim, hold, now=now)
        self.accounts.pass_over(name, passed)
        for each in claim.orders:
            if each.authority in passed and (budget := self.accounts.budget(each.issuer)):
                budget.release(name)  # it waits for none of those
        return by_budget(over) if over else None

    def release(self) -> None:
        self.accounts.pass_over(str(self.id), {})
        for issuer in self.managed.policy.issuers:
            if (budget := self.accounts.budget(issuer)) is not None:
                budget.release(str(self.id))

    def foresee(self, claim: Claim, *, now: datetime) -> Held | None:
        names = self.managed.policy.names

        def look(order: PossibleOrder) -> Over | None:
            return self.accounts.foresee(order.issuer, names, order.renewal, now)

        try:
            over, _ = first_with_room(claim, look, now=now)
        except Failure as failure:
            return Held(Gate.BUDGET, str(failure))
        return by_budget(over) if over else None

    def rotate(self, runner: Runner, asked: Asked) -> Report:
        from certrotd.certs.rotate import CertificateRotation

        return runner.rotate(CertificateRotation(self.managed), asked)

    def cancel(self, runner: Runner) -> Report:
        from certrotd.certs.rotate import CertificateRotation

        return runner.cancel(CertificateRotation(self.managed))

    def rollback(self, runner: Runner, to: int | None) -> Report:
        from certrotd.certs.rotate import CertificateRotation

        return CertificateRotation(self.managed).rollback(runner, to)

    def foresee_revocation(
        self, version: int | None, reason: str, *, at_once: bool, now: datetime
    ) -> RevocationForeseen:
        from certrotd.certs.revoking_by_hand import foreseen

        return foreseen(self.managed, version, reason, at_once=at_once, now=now)

    def revoke(self, runner: Runner, asked: RevocationAsked) -> Report:
        from certrotd.certs.revoking_by_hand import RevokingRotation

        return RevokingRotation(self.managed).revoke(runner, asked)

    def revocations(self) -> Mapping[int, Revocation]:
        return self.managed.look().state.revoked

    @property
    def enabled(self) -> bool:
        return self.managed.policy.enabled

    def foresee_deletion(self) -> DeletionForeseen:
        return self.managed.deletion()

    def delete(self, runner: Runner) -> Report:
        from certrotd.certs.deleting import DeletingRotation

        return DeletingRotation(self.managed).delete(runner)


class Accounts(Protocol):
    """What the accounts at the issuers' CAs may still order."""

    def budget(self, issuer: str) -> Budget | None:
        """That of an issuer; None where nothing is limited."""
        ...

    def foresee(
        self, issuer: str, names: Sequence[str], renewal: bool, now: datetime
    ) -> Over | None:
        """What an order would exceed, as files tell; raises Failure where they do not."""
        ...

    def pass_over(self, name: str, until: Mapping[str, datetime]) -> None:
        """For that certificate, those CAs (by authority) have no room until then; forget others."""
        ...


def elsewhere(authority: str) -> bool:
    """Whether a CA has limits, and a clock of its own."""
    return authority.startswith("https://")


def first_with_room(
    claim: Claim, ask: Callable[[PossibleOrder], Over | None], *, now: datetime
) -> tuple[Over | None, dict[str, datetime]]:
    """Why an order has to wait, or None; and the CAs passed over for another, each until when.

    As fallback.choose(), of which CAs ``ask`` says that their accounts have no room.
    """
    left = claim.served_until - now if claim.served_until and claim.served_until > now else None
    passed: dict[str, datetime] = {}
    soonest: Over | None = None
    for each in claim.orders:
        if (until := claim.waits.get(each.authority)) and too_long(until - now, left):
            continue
        over = ask(each)
        if over is None or not too_long(over.until - now, left):
            return over, passed
        passed[each.authority] = over.until
        soonest = over if soonest is None or over.until < soonest.until else soonest
    return soonest, {}


def by_budget(over: Over) -> Held:
    """The CA's limit is used up."""
    return Held(Gate.BUDGET, f"the CA's limit is used up: {over.why}", over.until)
