"""Days of one certificate by its decisions alone, whatever is on disk and whatever fails meanwhile.

Each decision is right by itself; here they follow one another, as the daemon's looks do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.decision import Bootstrap, Deploy, Renew, Sweep
from certrotd.certs.fitness import drift, to_outdo, usable, worse
from certrotd.certs.policy import Attempts, Policy
from certrotd.certs.rules import decide, fallen_back
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import PLACEHOLDER, CertificateState, Generation, Standing, TargetState
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    broken,
    facts,
    generation,
    meta,
)

MOST_LOOKS = 2000
LOST = "privkey.pem is missing"


def _kinds(number: int) -> dict[str, Generation]:
    """What a generation can be."""
    good = generation(number)
    holder = replace(good, meta=meta(origin=PLACEHOLDER))
    return {
        "good": good,
        "due": generation(number, age=61 * DAY),
        "expired": generation(number, age=91 * DAY),
        "short": generation(number, age=HOUR, lifetime=6 * DAY),
        "broken": broken(number),
        "damaged": replace(good, damaged=LOST),
        "due and damaged": replace(generation(number, age=61 * DAY), damaged=LOST),
        "of other names": generation(number, names=("b.test",)),
        "placeholder": holder,
        "placeholder, damaged": replace(holder, damaged=LOST),
        "placeholder, broken": replace(holder, facts=None, broken=LOST),
    }


KINDS = sorted(_kinds(1))
ATTEMPTS = {
    "none": Attempts(),
    "orders failed": Attempts(3, NOW - MINUTE, "x", authority=POLICY.authority),
    "deployments failed": Attempts(3, NOW - MINUTE, "x"),
    "the CA asked to wait": Attempts(
        1, NOW - MINUTE, "x", timedelta(days=30), authority=POLICY.authority
    ),
}
LIFETIMES = {"90 days": 90 * DAY, "47 days": 47 * DAY, "a day": DAY, "away": None}
POLICIES = [
    replace(POLICY, bootstraps=bootstraps, waves=waves)
    for bootstraps in (False, True)
    for waves in ((), (("nginx",),))
]


@dataclass
class Days:
    """One certificate; ``issues`` is the lifetime that the CA gives, None while it is away."""

    policy: Policy
    disk: dict[int, Generation]
    live: int | None
    state: CertificateState
    attempts: Attempts
    issues: timedelta | None
    deploys: bool
    now: datetime = NOW
    done: list[str] = field(default_factory=list)

    @property
    def standing(self) -> Standing:
        """As a store tells it."""
        numbers = sorted(self.disk, reverse=True)
        newest = self.disk[numbers[0]] if numbers else None
        live = self.disk.get(self.live) if self.live is not None else None
        if self.live is not None and live is None:
            live = Generation(self.live, None, None, "No such file or directory")
        unreadable = live is None or live.facts is None
        others = [self.disk[n] for n in numbers[1:] if n != self.live]
        return Standing(live, newest, self.state, earlier=tuple(others) if unreadable else ())

    def last(self, until: datetime) -> None:
        """Looks, and does what is decided, until then."""
        for _ in range(MOST_LOOKS):
            if self.now >= until:
                return
            decision = decide(self.policy, self.standing, self.attempts, now=self.now)
            following = self.now + SECOND
            if isinstance(decision, Wait | Postpone):
                following = min(max(decision.until, following), self.now + DAY)
            else:
                self._do(decision)
            self.now = min(following, until)
        raise AssertionError(f"it goes on for ever: {self.done[-9:]}")

    def _do(self, action: object) -> None:
        self.done.append(type(action).__name__)
        match action:
            case Bootstrap(generation=number):
                self.disk[number] = Generation(number, meta(origin=PLACEHOLDER), self._fresh(DAY))
                self.live, self.attempts = number, Attempts()
            case Renew():
                self._renew()
            case Deploy(generation=number):
                self._switch(number, "")
            case Sweep():
                self.attempts = Attempts()
            case _:
                raise AssertionError(f"{action} was not to come")

    def _renew(self) -> None:
        authority, outdo = self.policy.authority, to_outdo(self.policy, self.standing, now=self.now)
        if self.issues is None:
            self._failed(authority)
            return
        new = self._fresh(self.issues)
        if outdo and worse(new, outdo.not_before, outdo.not_after, now=self.now):
            self._failed(authority)
            return
        number = max(0, self.live or 0, *self.disk) + 1
        self.disk[number] = Generation(number, meta(created=self.now), new)
        self._switch(number, authority)

    def _switch(self, number: int, authority: str) -> None:
        before = self.disk.get(self.live) if self.live is not None else None
        back = before is not None and (before.placeholder or usable(before, now=self.now) is None)
        if self.deploys or not back or number == self.live:
            self.live, self.disk[number] = number, replace(self.disk[number], damaged=None)
        if not self.deploys:
            self._failed(authority)
            return
        told = {name: TargetState(number, "ab", self.now) for name in self.policy.places}
        held = self.state.held if before is not None and before.number == number else None
        withdrawn = tuple(n for n in self.state.withdrawn if n != number)
        self.state, self.attempts = CertificateState(told, withdrawn, held), Attempts()

    def _fresh(self, lifetime: timedelta) -> CertificateFacts:
        return facts(age=NOW - self.now, lifetime=lifetime)

    def _failed(self, authority: str) -> None:
        failures = self.attempts.failures + 1
        self.attempts = Attempts(failures, self.now, "x", authority=authority)


WITHDRAWN: list[tuple[int, ...]] = [(), (), (6,), (5, 6), (4,)]


@st.composite
def days(draw: st.DrawFn) -> Days:
    """Generations 4, 5 and 6, of which 5 or none is live, or what is live is gone."""
    kinds = st.sampled_from([None, *KINDS])
    disk = {
        number: _kinds(number)[kind]
        for number in (4, 5, 6)
        if (kind := draw(kinds, label=f"generation {number}"))
    }
    live = draw(st.sampled_from([5, 5, 5, None]), label="live")
    withdrawn = draw(st.sampled_from(WITHDRAWN))
    held, proven = draw(st.tuples(st.booleans(), st.booleans()), label="held, proven")
    return Days(
        draw(st.sampled_from(POLICIES)),
        disk,
        live,
        CertificateState(
            {"nginx": TargetState(5, "ab", NOW)} if proven else {},
            withdrawn,
            NOW + DAY if withdrawn and held else None,
        ),
        ATTEMPTS[draw(st.sampled_from(sorted(ATTEMPTS)), label="attempts")],
        LIFETIMES[draw(st.sampled_from(sorted(LIFETIMES)), label="the CA")],
        deploys=draw(st.sampled_from([True, False]), label="deploys"),
    )


@given(days())
def test_a_lasting_failure_does_not_repeat_orders_and_deployments(case: Days) -> None:
    """Whatever fails for three days: orders and deployments in turn come to a few a day."""
    case.last(NOW + 3 * DAY)
    assert case.done.count("Renew") <= 50
    assert len(case.done) <= 200


@given(days())
def test_a_certificate_recovers_soon_after_the_last_failure(case: Days) -> None:
    """A worse certificate, a hold, a withdrawal or a fallback never keep it from being renewed."""
    asked = case.attempts.retry_after
    case.last(NOW + 3 * DAY)
    case.issues, case.deploys = 90 * DAY, True
    case.last(case.now + (30 * DAY if asked else 2 * DAY))
    live = case.standing.live
    assert usable(live, now=case.now) is None
    assert live is not None
    assert live.facts is not None
    assert (live.damaged, drift(live.facts, live, case.policy)) == (None, None)
    assert fallen_back(case.standing) is None
    assert isinstance(decide(case.policy, case.standing, case.attempts, now=case.now), Wait)


@given(days())
def test_a_usable_generation_is_served_while_the_ca_is_down(case: Days) -> None:
    """The newest, or where what is live cannot be read any older one: within two minutes."""
    case.attempts, case.issues, case.deploys = Attempts(), None, True
    found = case.standing
    there = (found.live, found.newest, *found.earlier)
    may = [
        each
        for each in there
        if usable(each, now=NOW) is None and each and each.number not in found.state.withdrawn
    ]
    case.last(NOW + 2 * MINUTE)
    assert (usable(case.standing.live, now=case.now) is None) or not may


@given(days())
def test_a_service_that_waits_for_a_placeholder_can_start(case: Days) -> None:
    """Where there never was a certificate, whatever became of the placeholder."""
    case.policy, case.issues, case.deploys = replace(POLICY, bootstraps=True), None, True
    case.disk = {n: each for n, each in case.disk.items() if each.placeholder}
    case.last(NOW + 2 * MINUTE)
    live = case.standing.live
    assert live is not None
    assert live.facts is not None


def test_the_days_of_a_healthy_certificate_are_quiet() -> None:
    """The control: nothing is done before its time, and then once."""
    case = Days(
        POLICY, {5: generation(5)}, 5, CertificateState(), Attempts(), 90 * DAY, deploys=True
    )
    case.last(NOW + 49 * DAY)
    assert case.done == []
    case.last(NOW + 99 * DAY)
    assert case.done == ["Renew"]


@pytest.mark.parametrize("lifetime", [DAY, 47 * DAY])
def test_a_ca_that_gives_less_than_before_is_asked_once_a_day(lifetime: timedelta) -> None:
    """What it gives is taken in the end, and never is what is live let expire."""
    case = Days(
        POLICY, {5: generation(5)}, 5, CertificateState(), Attempts(), lifetime, deploys=True
    )
    for day in range(1, 100):
        case.last(NOW + day * DAY)
        assert usable(case.standing.live, now=case.now) is None
    assert case.live != 5
