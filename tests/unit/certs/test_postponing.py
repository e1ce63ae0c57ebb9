"""When what is due is put off: after failures, when the CA asks to wait, and during a hold."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.decision import Adopt, Deploy, Renew
from certrotd.certs.policy import Attempts
from certrotd.certs.rules import decide
from certrotd.lifecycle.attempts import BACKOFF, backoff
from certrotd.lifecycle.decision import DAEMON, Asked, Postpone
from certrotd.pki.generation import Generation, Standing
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    SPANS,
    broken,
    generation,
    standing,
)

FAILED = Attempts(failures=2, at=NOW - 5 * MINUTE, why="refused")


@pytest.mark.parametrize(
    ("on_disk", "instead"),
    [
        (standing(), Renew),
        (standing(generation(age=61 * DAY)), Renew),
        (standing(generation(), generation(6)), Deploy),
    ],
)
def test_after_failures_the_same_is_due_but_later(on_disk: Standing, instead: type) -> None:
    """A loop burns the CA's rate limit (caddy #2223), and a hook that fails need not fail twice."""
    decision = decide(POLICY, on_disk, FAILED, now=NOW)
    assert isinstance(decision, Postpone)
    assert isinstance(decision.instead, instead)
    assert decision.until == NOW + 5 * MINUTE
    assert decision.why.endswith("after 2 failures, the last: refused")
    again = decide(POLICY, on_disk, FAILED, now=decision.until)
    assert isinstance(again, instead)


def test_an_unproven_deployment_is_reported_beside_the_failure() -> None:
    """The files are there: a service that is started now serves them."""
    policy = replace(POLICY, waves=(("web",),))
    decision = decide(policy, standing(generation()), FAILED, now=NOW)
    said = "in place, not yet proven on web; after 2 failures, the last: refused"
    assert decision.why == said


def test_a_retry_after_of_one_ca_does_not_delay_another() -> None:
    """Whoever configures another CA because of a rate limit does so to have a certificate now."""
    asked = Attempts(1, NOW - 5 * MINUTE, "x", retry_after=7 * DAY, authority=POLICY.authority)
    due = standing(generation(age=61 * DAY))
    decision = decide(POLICY, due, asked, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.why == "the CA asked to wait"
    elsewhere = replace(POLICY, authority="https://another.example/directory")
    assert isinstance(decide(elsewhere, due, asked, now=NOW), Renew)
    assert isinstance(decide(elsewhere, due, replace(asked, authority=""), now=NOW), Postpone)


def test_a_single_failure_is_reported_in_the_singular() -> None:
    """Said of the first failure and to people."""
    once = decide(POLICY, standing(), Attempts(1, NOW, "no route"), now=NOW)
    assert isinstance(once, Postpone)
    assert once.why == "after 1 failure, the last: no route"
    assert once.until == NOW + MINUTE


def test_a_person_at_the_prompt_does_not_wait_for_the_backoff() -> None:
    """They have just put right what failed."""
    due = standing(generation(age=61 * DAY))
    assert isinstance(decide(POLICY, due, FAILED, Asked(by_hand=True), now=NOW), Renew)
    assert isinstance(decide(POLICY, due, FAILED, now=NOW), Postpone)


@pytest.mark.parametrize("asked", [DAEMON, Asked(by_hand=True)])
@pytest.mark.parametrize("adopts", [False, True])
def test_a_retry_after_holds_for_runs_by_hand_too(asked: Asked, adopts: bool) -> None:
    """Asking again sooner would only be refused, and prolong it."""
    attempts = replace(FAILED, failures=1, retry_after=HOUR)
    policy = replace(POLICY, adopts=adopts)
    decision = decide(policy, standing(), attempts, asked, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.until == NOW + 55 * MINUTE
    assert decision.why == "the CA asked to wait"
    later = decide(policy, standing(), attempts, asked, now=decision.until)
    assert isinstance(later, Renew | Adopt)


def test_force_overrides_the_time_the_ca_asked_for() -> None:
    """A person who insists may know more than the CA's answer did."""
    attempts = replace(FAILED, failures=1, retry_after=HOUR)
    assert isinstance(decide(POLICY, standing(), attempts, Asked(forced=True), now=NOW), Renew)


@pytest.mark.parametrize("left", [DAY, 29 * DAY])
def test_a_ca_that_asks_for_a_year_is_asked_three_times_at_least_before_the_end(
    left: timedelta,
) -> None:
    """One long Retry-After must not outlive the certificate."""
    live = generation(age=90 * DAY - left)
    assert live.facts is not None
    end, moment, tries = live.facts.not_after, NOW, 0
    while tries < 3:
        attempts = Attempts(1, moment, "busy", retry_after=365 * DAY)
        decision = decide(POLICY, standing(live), attempts, now=moment)
        assert isinstance(decision, Postpone)
        assert decision.why == "the CA asked to wait"
        moment, tries = decision.until, tries + 1
        assert moment < end
        assert isinstance(decide(POLICY, standing(live), attempts, now=moment), Renew)


def test_without_a_certificate_a_ca_is_asked_again_after_a_day_at_the_latest() -> None:
    """There is nothing to lose but a refusal a day."""
    attempts = Attempts(1, NOW, "busy", retry_after=365 * DAY)
    decision = decide(POLICY, standing(), attempts, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.until == NOW + DAY


def test_a_configuration_that_was_mended_does_not_wait_for_the_old_backoff() -> None:
    """Somebody has just put right what failed; the CA's own wish stands all the same."""
    due = standing(generation(age=61 * DAY))
    mended = replace(FAILED, mended=True)
    assert isinstance(decide(POLICY, due, mended, now=NOW), Renew)
    asked = replace(mended, retry_after=HOUR)
    assert isinstance(decide(POLICY, due, asked, now=NOW), Postpone)


def test_attempts_by_hand_do_not_lengthen_the_backoff() -> None:
    """Whoever tries five times in a row must not find certrotd resting for a day because of it."""
    due = standing(generation(age=61 * DAY))
    by_hand = Attempts(6, NOW, "no", by_hand=5, unasked_at=NOW - MINUTE)
    assert isinstance(decide(POLICY, due, by_hand, now=NOW), Renew)
    early = replace(by_hand, unasked_at=NOW - MINUTE / 2)
    decision = decide(POLICY, due, early, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.until == NOW + MINUTE / 2
    assert isinstance(decide(POLICY, due, Attempts(2, NOW, "no", by_hand=2), now=NOW), Renew)


def test_a_deployment_does_not_wait_for_the_ca() -> None:
    """It needs no order."""
    attempts = Attempts(1, NOW - 5 * MINUTE, "x", retry_after=HOUR)
    decision = decide(POLICY, standing(generation(), generation(6)), attempts, now=NOW)
    assert isinstance(decision, Deploy)


def test_a_failure_in_the_future_says_nothing() -> None:
    """The clock was wrong then, and has been put right: else nothing happened for years."""
    due = standing(generation(age=61 * DAY))
    ahead = Attempts(2, NOW + 900 * DAY, "x", retry_after=HOUR)
    assert isinstance(decide(POLICY, due, ahead, now=NOW), Renew)
    assert isinstance(decide(POLICY, due, replace(ahead, at=NOW), now=NOW), Postpone)


def test_a_hold_keeps_renewals_back_and_nothing_else() -> None:
    """Whoever rolled back by hand must not find the new certificate there again in a minute."""
    held = NOW + HOUR
    due = standing(generation(age=61 * DAY), held=held)
    decision = decide(POLICY, due, Attempts(), now=NOW)
    assert isinstance(decision, Postpone)
    assert (decision.until, decision.why) == (held, "held after a rollback by hand")
    assert isinstance(decide(POLICY, due, Attempts(), now=held), Renew)
    assert isinstance(decide(POLICY, due, Attempts(), Asked(by_hand=True), now=NOW), Postpone)
    behind = replace(POLICY, waves=(("web",),))
    assert isinstance(
        decide(behind, standing(generation(), held=held), Attempts(), now=NOW), Deploy
    )


@pytest.mark.parametrize("live", [generation(age=90 * DAY), broken(), None])
def test_a_hold_does_not_keep_an_expired_or_broken_certificate(live: Generation | None) -> None:
    """It protects what is served, and this serves nobody."""
    on_disk = standing(live, generation(6), held=NOW + HOUR, withdrawn=(6,))
    assert isinstance(decide(POLICY, on_disk, Attempts(), now=NOW), Renew)


@given(st.integers(1, 1000), st.none() | SPANS)
def test_backoff_grows_with_every_failure_and_stays_bounded(
    failures: int, left: timedelta | None
) -> None:
    """From a minute to a day."""
    here, next_one = backoff(failures, left), backoff(failures + 1, left)
    assert BACKOFF[0] <= here <= next_one <= BACKOFF[-1]
    assert backoff(1, left) == MINUTE


@given(st.integers(1, 1000), SPANS)
def test_backoff_leaves_several_attempts_before_the_end(failures: int, left: timedelta) -> None:
    """A day's pause must not run over the end of a certificate."""
    assert backoff(failures, left) <= max(MINUTE, left / 10)
    assert backoff(failures, left) <= backoff(failures, left * 2)


def test_an_order_with_nothing_live_is_tried_more_often_than_daily() -> None:
    """There is nothing to lose but the CA's patience."""
    assert [backoff(n, None) for n in (1, 2, 3, 4, 9)] == [
        MINUTE,
        10 * MINUTE,
        100 * MINUTE,
        100 * MINUTE,
        100 * MINUTE,
    ]
    assert backoff(4, 90 * DAY) == DAY
