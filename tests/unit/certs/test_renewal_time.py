"""When a certificate's renewal is due by each rule, and what the jitter may do to it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from certrotd.certs.fitness import renewal_time
from certrotd.certs.policy import Policy
from tests.builders import (
    DAY,
    DRAWS,
    HOUR,
    LIFETIMES,
    MINUTE,
    NOW,
    POLICIES,
    POLICY,
    SECOND,
    facts,
)


@pytest.mark.parametrize(
    ("age", "lifetime", "policy", "rule"),
    [
        (60 * DAY, 90 * DAY, POLICY, "two thirds of its lifetime"),
        (3 * DAY, 6 * DAY, POLICY, "half of its lifetime"),
        (5 * DAY - SECOND, 10 * DAY - 2 * SECOND, POLICY, "half of its lifetime"),
        (150 * SECOND, 5 * MINUTE, POLICY, "half of its lifetime"),
        (45 * DAY, 90 * DAY, replace(POLICY, fraction=0.5), "50% of its lifetime"),
        (60 * DAY, 90 * DAY, replace(POLICY, before=30 * DAY), "30d before its end"),
        (89 * DAY, 90 * DAY, replace(POLICY, before=DAY), "1d before its end"),
        (90 * DAY - 90 * MINUTE, 90 * DAY, replace(POLICY, before=90 * MINUTE), "90m before"),
        (90 * DAY - 2 * HOUR, 90 * DAY, replace(POLICY, before=2 * HOUR), "2h before"),
        (90 * DAY - 90 * SECOND, 90 * DAY, replace(POLICY, before=90 * SECOND), "90s before"),
        (3 * DAY, 6 * DAY, replace(POLICY, before=30 * DAY), "(30d before its end is too early"),
        (3 * DAY, 6 * DAY, replace(POLICY, before=6 * DAY), "before its end is too early"),
        (3 * DAY, 6 * DAY, replace(POLICY, before=5.9 * DAY), "before its end is too early"),
    ],
)
def test_every_renewal_rule_gives_its_moment(
    age: timedelta, lifetime: timedelta, policy: Policy, rule: str
) -> None:
    """Fixed days fail with 6-day certificates (certbot #9261)."""
    at, why = renewal_time(facts(age=age, lifetime=lifetime), 0.0, policy)
    assert abs(at - NOW) < MINUTE / 1000
    assert rule in why


@given(LIFETIMES, DRAWS, POLICIES)
def test_the_renewal_time_is_within_the_lifetime(
    lifetime: timedelta, draw: float, policy: Policy
) -> None:
    """At or before the beginning, a certificate would be due again as soon as it is there."""
    known = facts(lifetime=lifetime)
    at, _ = renewal_time(known, draw, policy)
    assert known.not_before < at < known.not_after


@given(LIFETIMES, DRAWS, DRAWS, POLICIES)
def test_jitter_comes_only_earlier_and_never_by_more_than_half(
    lifetime: timedelta, one: float, other: float, policy: Policy
) -> None:
    """It spreads a crowd of certificates; later would be nearer the end, much earlier a loop."""
    known = facts(lifetime=lifetime)
    latest, _ = renewal_time(known, 0.0, policy)
    first, second = sorted(renewal_time(known, draw, policy)[0] for draw in (one, other))
    assert first <= second <= latest
    assert first >= known.not_before + (latest - known.not_before) / 2 - SECOND
    assert latest - first <= lifetime * policy.jitter + SECOND


@given(LIFETIMES, DRAWS)
def test_the_same_draw_gives_the_same_moment(lifetime: timedelta, draw: float) -> None:
    """It is drawn once; drawn at every look, certificates would be renewed too early."""
    policy = replace(POLICY, jitter=0.05)
    known = facts(lifetime=lifetime)
    assert renewal_time(known, draw, policy) == renewal_time(known, draw, policy)
