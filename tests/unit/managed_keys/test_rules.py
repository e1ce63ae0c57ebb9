"""What is due of a managed key: each rule, what holds it back, and that it explains itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.lifecycle.attempts import Attempts
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Postpone, Wait
from certrotd.managed_keys.decision import Look, Retire, Rotate, SetPeriod
from certrotd.managed_keys.policy import Seen, Standing, after
from certrotd.managed_keys.retention import Retention
from certrotd.managed_keys.rules import RULES, WAITS, decide, explain
from certrotd.window import Window
from tests.fakes.managed_keys import POLICY

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BY_SERVICE = replace(POLICY, by_service=True)
FORCED = Asked(forced=True, by_hand=True, named=True)
CLOSED = Window(frozenset(range(7)), time(1), time(5), UTC)


def standing(
    age: timedelta = 10 * DAY, *, ago: timedelta = timedelta(hours=1), **changes: object
) -> Standing:
    """One version, that old, seen so long ago."""
    first = KeyVersion("1", NOW - age)
    state = replace(ManagedState("vault", "the key", (first,)), **changes)  # type: ignore[arg-type]
    return Standing(Seen(state, NOW - ago, NOW - age, POLICY.key))


def two_versions(**changes: object) -> Standing:
    """The second encrypts for 40 days."""
    versions = (KeyVersion("1", NOW - 90 * DAY), KeyVersion("2", NOW - 40 * DAY))
    known = standing(40 * DAY, versions=versions)
    assert known.seen is not None
    return replace(known, seen=replace(known.seen, **changes))  # type: ignore[arg-type]


KEEPING = replace(POLICY, retention=Retention(1, 30 * DAY))
CASES = {
    "disabled": (replace(POLICY, enabled=False), Standing()),
    "unknown": (POLICY, Standing()),
    "stale": (POLICY, standing(ago=DAY)),
    "key_disabled": (POLICY, standing(versions=(KeyVersion("1", NOW - DAY, decrypts=False),))),
    "rotating": (POLICY, standing(90 * DAY, rotating=True)),
    "used_up": (POLICY, standing(90 * DAY, rotations_left=0)),
    "period": (BY_SERVICE, standing()),
    "cryptoperiod": (POLICY, standing(82 * DAY)),
    "lowered": (KEEPING, two_versions(retired_before="2")),
    "retention": (KEEPING, two_versions()),
    "not_due": (POLICY, standing()),
}


@pytest.mark.parametrize("code", CASES)
def test_a_rule_matches_and_says_so(code: str) -> None:
    """The decision has the rule's code, and plan --explain ends with it."""
    policy, known = CASES[code]
    decision = decide(policy, known, now=NOW)
    assert decision.code == code
    tried = list(explain(policy, known, now=NOW))
    assert [each.code for each in tried if each.matched] == [code]
    assert all(each.why for each in tried)
    assert next(each for each in tried if each.matched).why == decision.why


def test_every_rule_has_a_case() -> None:
    """A rule that nothing shows would go unnoticed."""
    assert {each.code for each in RULES} - {"forced"} == CASES.keys()


@pytest.mark.parametrize(
    ("policy", "known", "kind"),
    [
        (POLICY, Standing(), Look),
        (POLICY, standing(82 * DAY), Rotate),
        (POLICY, standing(81 * DAY), Wait),
        (BY_SERVICE, standing(200 * DAY, period=91 * DAY), Wait),
        (BY_SERVICE, standing(period=365 * DAY), SetPeriod),
        (BY_SERVICE, standing(period=30 * DAY), SetPeriod),
        (POLICY, standing(period=365 * DAY), Wait),
        (BY_SERVICE, standing(90 * DAY, period=91 * DAY, rotations_left=0), Wait),
    ],
)
def test_what_is_due_is_decided_by_who_rotates(
    policy: object, known: Standing, kind: type[object]
) -> None:
    """The service keeps its own period; certrotd begins when a tenth is left."""
    assert type(decide(policy, known, now=NOW)) is kind  # type: ignore[arg-type]


def test_a_key_that_its_service_rotates_is_forced_on_demand() -> None:
    """A person may have a reason, such as a suspicion."""
    known = standing(period=91 * DAY)
    assert decide(BY_SERVICE, known, now=NOW).code == "not_due"
    assert decide(BY_SERVICE, known, FORCED, now=NOW) == Rotate("forced by hand")
    assert decide(BY_SERVICE, known, FORCED, now=NOW).code == "forced"


def test_a_key_whose_rotations_are_used_up_is_not_forced() -> None:
    """Its service would refuse, and say no more."""
    known = standing(rotations_left=0)
    assert decide(POLICY, known, FORCED, now=NOW).code == "used_up"
    assert decide(POLICY, known, now=NOW).code == "not_due"


def test_a_key_of_another_entry_is_looked_at_first() -> None:
    """What is known is of the key that the configuration named before."""
    other = replace(POLICY, key="another")
    decision = decide(other, standing(90 * DAY), now=NOW)
    assert decision.code == "unknown"
    assert "names another key" in decision.why


def test_old_versions_are_retired_only_where_that_is_asked_for() -> None:
    """What is encrypted by them cannot be read afterwards."""
    decision = decide(KEEPING, two_versions(), now=NOW)
    assert isinstance(decision, Retire)
    assert (decision.oldest, decision.needs_clock) == ("2", True)
    assert decision.why == (
        "raises min_decryption_version from 1 to 2: version 2 encrypts since 2026-04-22 12:00Z"
    )
    assert decide(POLICY, two_versions(), now=NOW).code == "not_due"
    longer = replace(POLICY, retention=Retention(1, 41 * DAY))
    waits = decide(longer, two_versions(), now=NOW)
    assert waits.code == "not_due"
    soon = replace(POLICY, retention=Retention(1, 40 * DAY + timedelta(minutes=5)))
    waits = decide(soon, two_versions(), now=NOW)
    assert isinstance(waits, Wait)
    assert waits.until == NOW + timedelta(minutes=5)
    closed = replace(KEEPING, window=CLOSED)
    assert decide(closed, two_versions(), now=NOW).code == "window"


def test_a_rotation_goes_before_the_retirement_of_a_version() -> None:
    """It is what the cryptoperiod asks for."""
    short = replace(KEEPING, cryptoperiod=20 * DAY)
    assert decide(short, two_versions(), now=NOW).code == "cryptoperiod"


def test_what_somebody_lowered_is_raised_by_a_person_alone() -> None:
    """They needed an old version, at night perhaps."""
    lowered = two_versions(retired_before="2")
    waits = decide(KEEPING, lowered, now=NOW)
    assert waits.why == (
        "somebody lowered min_decryption_version from 2: certrotd raises it again by certrotd "
        "rotate managed-key/orders"
    )
    assert decide(KEEPING, lowered, Asked(by_hand=True), now=NOW).code == "lowered"
    named = Asked(by_hand=True, named=True)
    assert isinstance(decide(KEEPING, lowered, named, now=NOW), Retire)
    more = replace(POLICY, retention=Retention(2, 30 * DAY))
    assert decide(more, lowered, now=NOW).code == "not_due"
    trimmed = two_versions(retired_before="9")
    assert isinstance(decide(KEEPING, trimmed, now=NOW), Retire)


WAITING = {
    "window": (replace(POLICY, window=CLOSED), standing(90 * DAY)),
    "backoff": (
        POLICY,
        replace(standing(90 * DAY), attempts=Attempts(1, NOW - timedelta(seconds=9), "away")),
    ),
}


@pytest.mark.parametrize("code", WAITING)
def test_what_is_due_waits_and_says_why(code: str) -> None:
    """The rule that asks for it stays known; a person does not wait."""
    policy, known = WAITING[code]
    decision = decide(policy, known, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.code == code
    assert decision.instead.code == "cryptoperiod"
    assert decision.until > NOW
    assert list(explain(policy, known, now=NOW))[-1].why == decision.why
    by_hand = Asked(by_hand=True, named=True)
    assert isinstance(decide(policy, known, by_hand, now=NOW), Rotate)
    assert decide(policy, known, FORCED, now=NOW).code == "forced"


def test_a_rotation_in_its_window_is_not_held_back() -> None:
    """The negative control of the above."""
    policy = replace(POLICY, window=Window(frozenset(range(7)), time(11), time(13), UTC))
    known = standing(90 * DAY)
    assert isinstance(decide(policy, known, now=NOW), Rotate)
    tried = [(each.code, each.matched) for each in explain(policy, known, now=NOW)]
    assert tried[-3:] == [("cryptoperiod", True), ("window", False), ("backoff", False)]


def test_every_wait_has_a_case() -> None:
    """As of the rules."""
    assert {each.code.value for each in WAITS} == WAITING.keys()


@pytest.mark.parametrize(
    "known", [Standing(), standing(ago=DAY), standing(period=None)], ids=["look", "stale", "period"]
)
def test_a_window_holds_back_rotations_alone(known: Standing) -> None:
    """A look and a period change nothing that encrypts."""
    policy = replace(BY_SERVICE, window=CLOSED)
    assert isinstance(decide(policy, known, now=NOW), Look | SetPeriod)


@pytest.mark.parametrize(
    ("attempts", "waits"),
    [
        (Attempts(1, NOW - timedelta(seconds=59), "away"), True),
        (Attempts(1, NOW - timedelta(seconds=60), "away"), False),
        (Attempts(1, NOW - timedelta(seconds=60), "away", timedelta(hours=1)), True),
        (Attempts(1, NOW - timedelta(seconds=9), "away", mended=True), False),
        (Attempts(1, NOW + timedelta(seconds=9), "away"), False),
        (Attempts(), False),
    ],
)
def test_a_failure_is_followed_by_a_pause(attempts: Attempts, waits: bool) -> None:
    """As long as the service asks for, unless the configuration was mended."""
    decision = decide(POLICY, replace(standing(90 * DAY), attempts=attempts), now=NOW)
    assert isinstance(decision, Postpone) is waits


def test_a_version_without_a_date_counts_from_when_it_was_seen_first() -> None:
    """Some services do not say when it was made."""
    state = ManagedState("vault", "the key", (KeyVersion("1", None),))
    first = after(state, None, at=NOW, key="k")
    again = after(state, first, at=NOW + DAY, key="k")
    assert (again.since, again.at) == (NOW, NOW + DAY)
    assert after(state, first, at=NOW + DAY, key="other").since == NOW + DAY
    newer = replace(state, versions=(*state.versions, KeyVersion("2", None)))
    assert after(newer, first, at=NOW + DAY, key="k").since == NOW + DAY


def test_what_certrotd_retired_is_known_of_the_same_key_alone() -> None:
    """Version 3 of another key is another thing."""
    state = ManagedState("vault", "the key", (KeyVersion("1", NOW),))
    before = replace(after(state, None, at=NOW, key="k"), retired_before="3")
    assert after(state, before, at=NOW, key="k").retired_before == "3"
    assert after(state, before, at=NOW, key="other").retired_before == ""


@given(
    age=st.integers(-5, 400),
    ago=st.integers(0, 30),
    left=st.none() | st.integers(0, 25),
    period=st.none() | st.integers(1, 400),
    by_service=st.booleans(),
    asked=st.sampled_from([DAEMON, FORCED, Asked(by_hand=True)]),
    failures=st.integers(0, 9),
)
def test_whatever_is_seen_is_decided_and_explained(
    age: int,
    ago: int,
    left: int | None,
    period: int | None,
    by_service: bool,
    asked: Asked,
    failures: int,
) -> None:
    """A wait always ends later, nothing used up is asked for, and the last line is the reason."""
    known = replace(
        standing(
            age * DAY,
            ago=timedelta(hours=ago),
            rotations_left=left,
            period=None if period is None else period * DAY,
        ),
        attempts=Attempts(failures, NOW - timedelta(minutes=5), "away"),
    )
    policy = replace(POLICY, by_service=by_service)
    decision = decide(policy, known, asked, now=NOW)
    if isinstance(decision, Wait | Postpone):
        assert decision.until > NOW
    if isinstance(decision, Rotate):
        assert left != 0
    if isinstance(decision, Action):
        assert decision.act in ("look", "rotate", "set_period")
    tried, decision = list(explain(policy, known, now=NOW)), decide(policy, known, now=NOW)
    assert next(each for each in reversed(tried) if each.matched).code == decision.code
