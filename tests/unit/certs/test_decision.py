"""Every rule of the decision about a certificate, alone and against the others."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.decision import (
    BACKOFF,
    RECHECK,
    Adopt,
    Deploy,
    Postpone,
    Renew,
    Sweep,
    Wait,
    backoff,
    decide,
    drift,
    renewal_time,
    usable,
)
from certrotd.certs.policy import COPIES, Attempts, Policy
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Meta, Standing, State, TargetState

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
POLICY = Policy(
    name="web", names=("a.test",), issuer="le", authority="https://ca.test/dir", jitter=0.0
)
LEFT = ({"solver": "dns", "record": {}},)


def facts(
    *,
    age: timedelta = 10 * DAY,
    lifetime: timedelta = 90 * DAY,
    names: tuple[str, ...] = ("a.test",),
    key_type: str = "ecdsa-p256",
) -> CertificateFacts:
    """A certificate that became valid ``age`` ago."""
    begins = NOW - age
    return CertificateFacts(
        names, key_type, "a.test", "CA", "1", begins, begins + lifetime, "ab", is_ca=False
    )


def meta(**changes: Any) -> Meta:
    """What a generation of POLICY's remembers."""
    known = Meta(NOW - 10 * DAY, "issued", "le", "https://ca.test/dir", 0.0, "", ("a.test",))
    return replace(known, **changes)


def generation(number: int = 5, **about: Any) -> Generation:
    """A good generation with facts(**about)."""
    return Generation(number, meta(), facts(**about))


def broken(number: int = 5) -> Generation:
    """A generation that cannot be used."""
    return Generation(number, None, None, "privkey.pem is missing")


def standing(
    live: Generation | None = None,
    newest: Generation | None = None,
    *,
    served: Mapping[str, int] | None = None,
    withdrawn: tuple[int, ...] = (),
    held: datetime | None = None,
) -> Standing:
    """A standing whose targets were proven to serve the generations of ``served``."""
    targets = {
        name: TargetState(number, "ab", NOW - DAY) for name, number in (served or {}).items()
    }
    return Standing(live, newest or live, State(targets, withdrawn, held))


@pytest.mark.parametrize(
    ("on_disk", "reason"),
    [
        (standing(), "there is none yet"),
        (standing(None, broken()), "no generation is live"),
        (standing(broken()), "privkey.pem is missing"),
        (standing(generation(age=90 * DAY)), "it expired at 2026-06-01 12:00:00Z"),
        (standing(generation(age=90 * DAY), broken(6)), "it expired at"),
        (standing(generation(names=("b.test",))), "+a.test"),
        (standing(generation(age=60 * DAY)), "two thirds of its lifetime has passed"),
        (standing(generation(age=70 * DAY), generation(6, age=61 * DAY)), "two thirds"),
        (standing(None, generation(5, age=90 * DAY)), "no generation is live"),
        (standing(None, generation(5, age=-HOUR)), "no generation is live"),
    ],
)
def test_a_certificate_is_renewed_for_a_reason_it_can_tell(on_disk: Standing, reason: str) -> None:
    """Nothing usable, drifted, or its time has come; the words end in the log and the history."""
    decision = decide(POLICY, on_disk, Attempts(), now=NOW)
    assert isinstance(decision, Renew)
    assert reason in decision.why


def test_a_renewal_tells_since_when_it_has_been_due() -> None:
    """Alerts are about how long nobody managed to do it."""
    late = decide(POLICY, standing(generation(age=61 * DAY)), Attempts(), now=NOW)
    gone = decide(POLICY, standing(generation(age=91 * DAY)), Attempts(), now=NOW)
    assert isinstance(late, Renew)
    assert isinstance(gone, Renew)
    assert (late.at, gone.at) == (NOW - DAY, NOW - DAY)


def test_a_good_certificate_waits_until_its_time() -> None:
    """The decision of nearly every look at nearly every certificate."""
    decision = decide(POLICY, standing(generation()), Attempts(), now=NOW)
    assert decision == Wait("renewal at two thirds of its lifetime", NOW + 50 * DAY)


def test_the_last_second_before_renewal_is_still_waited_for() -> None:
    """The edge of the rule."""
    just = decide(POLICY, standing(generation(age=60 * DAY - SECOND)), Attempts(), now=NOW)
    assert just == Wait("renewal at two thirds of its lifetime", NOW + SECOND)


def test_a_disabled_certificate_is_left_alone_whoever_asks() -> None:
    """An operator's word in the configuration is above one on the command line."""
    silent = replace(POLICY, enabled=False)
    for on_disk in (standing(), standing(generation(age=91 * DAY)), standing(broken())):
        decision = decide(silent, on_disk, Attempts(), now=NOW, forced=True, by_hand=True)
        assert decision == Wait("disabled in the configuration", NOW + RECHECK)


@pytest.mark.parametrize(
    "on_disk",
    [
        standing(),
        standing(generation()),
        standing(generation(), generation(6)),
        standing(generation(), held=NOW + HOUR),
        standing(broken()),
        standing(generation(age=-HOUR)),
    ],
)
def test_a_forced_renewal_is_done_whatever_there_is(on_disk: Standing) -> None:
    """A key that leaked is replaced today."""
    attempts = Attempts(failures=3, at=NOW - SECOND, why="x")
    decision = decide(POLICY, on_disk, attempts, now=NOW, forced=True)
    assert decision == Renew("asked for by hand", NOW)


def test_what_was_issued_and_not_deployed_is_deployed_without_an_order() -> None:
    """An issued certificate is never ordered twice."""
    expected = Deploy("generation 6 was issued and not deployed", 6)
    for live in (generation(), generation(age=91 * DAY), broken(), None):
        assert decide(POLICY, standing(live, generation(6)), Attempts(), now=NOW) == expected


@pytest.mark.parametrize(
    "newest",
    [
        broken(6),
        generation(6, age=91 * DAY),
        generation(6, age=-HOUR),
        generation(6, age=61 * DAY),
        generation(6, names=("b.test",)),
        Generation(6, meta(issuer="other"), facts()),
        generation(4),
    ],
    ids=["broken", "expired", "not-yet-valid", "due", "drifted", "other-issuer", "older"],
)
def test_a_newer_generation_that_is_no_better_is_not_deployed(newest: Generation) -> None:
    """It would be put in front of users, or replaced at once."""
    decision = decide(POLICY, standing(generation(), newest), Attempts(), now=NOW)
    assert isinstance(decision, Wait)


@pytest.mark.parametrize("live", [generation(), broken(), None, generation(age=91 * DAY)])
def test_a_withdrawn_generation_is_never_deployed_again_by_itself(live: Generation | None) -> None:
    """Somebody rolled it back by hand and knows why."""
    free = decide(POLICY, standing(live, generation(6)), Attempts(), now=NOW)
    withdrawn = standing(live, generation(6), withdrawn=(6,))
    assert isinstance(free, Deploy)
    assert not isinstance(decide(POLICY, withdrawn, Attempts(), now=NOW), Deploy)


def test_the_first_look_adopts_a_pair_only_where_one_is_configured() -> None:
    """So that there is something to go back to."""
    adopting = replace(POLICY, adopts=True)
    assert decide(adopting, standing(), Attempts(), now=NOW) == Adopt("no generation yet")
    assert isinstance(decide(POLICY, standing(), Attempts(), now=NOW), Renew)
    assert isinstance(decide(adopting, standing(generation()), Attempts(), now=NOW), Wait)
    assert isinstance(decide(adopting, standing(broken()), Attempts(), now=NOW), Renew)


def test_a_certificate_from_the_future_is_waited_for_and_not_replaced() -> None:
    """The clock is wrong more often than the CA; a new order would be as early."""
    soon = decide(POLICY, standing(generation(age=-HOUR)), Attempts(), now=NOW)
    late = decide(POLICY, standing(generation(age=-9 * DAY)), Attempts(), now=NOW)
    reason = "it is not valid before 2026-06-01 13:00:00Z; is the clock right?"
    assert soon == Wait(reason, NOW + HOUR)
    assert isinstance(late, Wait)
    assert late.until == NOW + RECHECK


def test_a_certificate_a_moment_early_is_used() -> None:
    """Clocks differ by seconds, and CAs do not all backdate."""
    decision = decide(POLICY, standing(generation(age=-2 * MINUTE)), Attempts(), now=NOW)
    assert decision == Wait("renewal at two thirds of its lifetime", NOW + 60 * DAY + 2 * MINUTE)


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        ({}, "not yet installed and not yet proven on web, mail"),
        ({"web": 5, COPIES: 5}, "not yet proven on mail"),
        ({"web": 4, "mail": 5, COPIES: 5}, "not yet proven on web"),
        ({"web": 5, "mail": 6, COPIES: 5}, "not yet proven on mail"),
        ({"web": 5, "mail": 5, COPIES: 4}, "not yet installed"),
    ],
)
def test_a_place_the_live_generation_has_not_reached_is_told_of_it(
    served: dict[str, int], reason: str
) -> None:
    """A hook that failed is tried again (dehydrated #375), and a new target is told."""
    policy = replace(POLICY, waves=(("web",), ("mail",)), installs=True)
    behind = standing(generation(), served=served)
    assert decide(policy, behind, Attempts(), now=NOW) == Deploy(reason, 5)


def test_targets_that_serve_the_live_generation_are_left_alone() -> None:
    """No reload without a reason; a target no longer configured is nobody's."""
    policy = replace(POLICY, waves=(("web", "mail"),), installs=True)
    served = {"web": 5, "mail": 5, COPIES: 5, "gone": 2}
    assert isinstance(
        decide(policy, standing(generation(), served=served), Attempts(), now=NOW), Wait
    )
    assert isinstance(decide(POLICY, standing(generation()), Attempts(), now=NOW), Wait)


def test_records_left_behind_are_swept_when_nothing_else_is_due() -> None:
    """They break the next validation (acme.sh #2037)."""
    left = Attempts(left=LEFT)
    assert decide(POLICY, standing(generation()), left, now=NOW) == Sweep(
        "1 TXT records were left behind"
    )
    assert isinstance(decide(POLICY, standing(generation(age=61 * DAY)), left, now=NOW), Renew)
    assert isinstance(decide(POLICY, standing(generation()), Attempts(), now=NOW), Wait)


@pytest.mark.parametrize(
    ("generation", "policy", "difference"),
    [
        (generation(), POLICY, None),
        (generation(names=("a.test", "b.test")), replace(POLICY, names=("b.test", "a.test")), None),
        (generation(), replace(POLICY, names=("a.test", "b.test")), "names changed: +b.test"),
        (
            Generation(5, meta(asked=("a.test", "b.test")), facts(names=("a.test", "b.test"))),
            POLICY,
            "names changed: -b.test",
        ),
        (
            Generation(5, meta(asked=()), facts(names=("a.test", "b.test"))),
            replace(POLICY, names=("c.test", "a.test")),
            "names changed: +c.test -b.test",
        ),
        (Generation(5, None, facts(names=("a.test", "b.test"))), POLICY, "names changed: -b.test"),
        (generation(key_type="rsa-2048"), POLICY, "the key is rsa-2048"),
        (Generation(5, meta(issuer="old"), facts()), POLICY, "it was issued by old"),
        (Generation(5, meta(authority="x"), facts()), POLICY, "le is another CA now"),
        (Generation(5, meta(origin="adopted", issuer="R3", authority=""), facts()), POLICY, None),
        (Generation(5, None, facts()), POLICY, None),
        (
            Generation(5, meta(origin="adopted", issuer="R3"), facts(key_type="rsa-2048")),
            POLICY,
            "the key is rsa-2048",
        ),
    ],
)
def test_drift_is_every_difference_from_the_configuration(
    generation: Generation, policy: Policy, difference: str | None
) -> None:
    """A changed configuration takes effect at the next look, not at the next renewal."""
    assert generation.facts is not None
    found = drift(generation.facts, generation, policy)
    if difference is None:
        assert found is None
    else:
        assert found is not None
        assert difference in found


def test_a_name_that_the_ca_adds_by_itself_is_no_drift() -> None:
    """Else a CA that adds the apex to every wildcard is asked again at every look, for ever."""
    added = Generation(5, meta(), facts(names=("a.test", "www.a.test")))
    assert isinstance(decide(POLICY, standing(added), Attempts(), now=NOW), Wait)
    lacking = Generation(5, meta(), facts(names=("www.a.test",)))
    assert isinstance(decide(POLICY, standing(lacking), Attempts(), now=NOW), Renew)


@pytest.mark.parametrize(
    ("generation", "reason"),
    [
        (None, "there is none"),
        (broken(), "privkey.pem is missing"),
        (Generation(5, None, None), "it is unreadable"),
        (generation(age=90 * DAY), "it expired at 2026-06-01 12:00:00Z"),
        (generation(age=-HOUR), "it is not valid before 2026-06-01 13:00:00Z"),
        (generation(age=90 * DAY - SECOND), None),
        (generation(age=61 * DAY), None),
        (generation(names=("b.test",)), None),
    ],
)
def test_only_a_whole_pair_in_date_may_be_put_in_front_of_users(
    generation: Generation | None, reason: str | None
) -> None:
    """A rollback never goes to an expired or mismatched pair (certbot #10655)."""
    assert usable(generation, now=NOW) == reason


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
    assert decision.why == "after 2 failures, the last: refused"
    again = decide(POLICY, on_disk, FAILED, now=decision.until)
    assert isinstance(again, instead)


def test_one_failure_is_told_as_one() -> None:
    """Said of the first failure and to people."""
    once = decide(POLICY, standing(), Attempts(1, NOW, "no route"), now=NOW)
    assert isinstance(once, Postpone)
    assert once.why == "after 1 failure, the last: no route"
    assert once.until == NOW + MINUTE


def test_a_person_at_the_prompt_does_not_wait_for_the_backoff() -> None:
    """They have just put right what failed."""
    due = standing(generation(age=61 * DAY))
    assert isinstance(decide(POLICY, due, FAILED, now=NOW, by_hand=True), Renew)
    assert isinstance(decide(POLICY, due, FAILED, now=NOW), Postpone)


@pytest.mark.parametrize("flags", [{}, {"by_hand": True}, {"forced": True}])
@pytest.mark.parametrize("adopts", [False, True])
def test_nobody_overrides_the_time_the_ca_asked_for(flags: dict[str, bool], adopts: bool) -> None:
    """Asking again sooner would only be refused, and prolong it."""
    attempts = replace(FAILED, failures=1, retry_after=HOUR)
    policy = replace(POLICY, adopts=adopts)
    decision = decide(policy, standing(), attempts, now=NOW, **flags)
    assert isinstance(decision, Postpone)
    assert decision.until == NOW + 55 * MINUTE
    assert decision.why == "the CA asked to wait"
    later = decide(policy, standing(), attempts, now=decision.until, **flags)
    assert isinstance(later, Renew | Adopt)


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
    assert isinstance(decide(POLICY, due, Attempts(), now=NOW, by_hand=True), Postpone)
    behind = replace(POLICY, waves=(("web",),))
    assert isinstance(
        decide(behind, standing(generation(), held=held), Attempts(), now=NOW), Deploy
    )


@pytest.mark.parametrize("live", [generation(age=90 * DAY), broken(), None])
def test_a_hold_does_not_keep_an_expired_or_broken_certificate(live: Generation | None) -> None:
    """It protects what is served, and this serves nobody."""
    on_disk = standing(live, generation(6), held=NOW + HOUR, withdrawn=(6,))
    assert isinstance(decide(POLICY, on_disk, Attempts(), now=NOW), Renew)


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
        (3 * DAY, 6 * DAY, replace(POLICY, before=30 * DAY), "(30d before its end is too near"),
        (3 * DAY, 6 * DAY, replace(POLICY, before=6 * DAY), "too near its beginning"),
        (3 * DAY, 6 * DAY, replace(POLICY, before=5.9 * DAY), "too near its beginning"),
    ],
)
def test_each_rule_gives_its_moment(
    age: timedelta, lifetime: timedelta, policy: Policy, rule: str
) -> None:
    """Fixed days fail with 6-day certificates (certbot #9261)."""
    at, why = renewal_time(facts(age=age, lifetime=lifetime), 0.0, policy)
    assert abs(at - NOW) < MINUTE / 1000
    assert rule in why


LIFETIMES = st.one_of(
    st.sampled_from([5 * MINUTE, HOUR, 6 * DAY, 10 * DAY, 45 * DAY, 90 * DAY, 398 * DAY]),
    st.integers(60, 400 * 86400).map(lambda s: timedelta(seconds=s)),
)
SPANS = st.integers(1, 1000 * 86400).map(lambda s: timedelta(seconds=s))
DRAWS = st.floats(0, 1, exclude_max=True)
SHARES = st.floats(0.01, 0.99)
POLICIES = st.builds(
    lambda jitter, when: replace(POLICY, jitter=jitter, **when),
    st.floats(0, 0.5),
    st.one_of(
        st.just({}),
        SHARES.map(lambda share: {"fraction": share}),
        SPANS.map(lambda span: {"before": span}),
    ),
)


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


def test_with_nothing_live_it_is_tried_more_often_than_daily() -> None:
    """There is nothing to lose but the CA's patience."""
    assert [backoff(n, None) for n in (1, 2, 3, 4, 9)] == [
        MINUTE,
        10 * MINUTE,
        100 * MINUTE,
        100 * MINUTE,
        100 * MINUTE,
    ]
    assert backoff(4, 90 * DAY) == DAY


MOMENTS = st.integers(-200 * 86400, 200 * 86400).map(lambda s: NOW + timedelta(seconds=s))
FACTS = st.builds(
    facts,
    age=st.integers(-10 * 86400, 100 * 86400).map(lambda s: timedelta(seconds=s)),
    lifetime=LIFETIMES,
    names=st.sampled_from([("a.test",), ("a.test", "b.test"), ()]),
    key_type=st.sampled_from(["ecdsa-p256", "rsa-2048"]),
)
METAS = st.builds(
    meta,
    origin=st.sampled_from(["issued", "adopted"]),
    issuer=st.sampled_from(["le", "other"]),
    draw=DRAWS,
    asked=st.sampled_from([(), ("a.test",)]),
)
GENERATIONS = st.builds(
    lambda number, known, about: Generation(number, known, about, None if about else "broken"),
    st.integers(1, 4),
    st.none() | METAS,
    st.none() | FACTS,
)
STANDINGS = st.builds(
    Standing,
    st.none() | GENERATIONS,
    st.none() | GENERATIONS,
    st.builds(
        State,
        st.dictionaries(
            st.sampled_from(["web", "mail", COPIES]),
            st.builds(TargetState, st.integers(1, 4), st.just("ab"), MOMENTS),
        ),
        st.sets(st.integers(1, 4)).map(lambda numbers: tuple(sorted(numbers))),
        st.none() | MOMENTS,
    ),
)
ATTEMPTS = st.builds(
    Attempts,
    st.integers(0, 6),
    st.none() | MOMENTS,
    st.text(),
    st.none() | SPANS,
    st.sampled_from([(), LEFT]),
)
ANY_POLICIES = st.builds(
    lambda policy, **changes: replace(policy, **changes),
    POLICIES,
    enabled=st.sampled_from([True, True, True, False]),
    adopts=st.booleans(),
    installs=st.booleans(),
    waves=st.sampled_from([(), (("web",),), (("web",), ("mail",))]),
)


@given(ANY_POLICIES, STANDINGS, ATTEMPTS, st.booleans(), st.booleans())
def test_every_decision_holds_what_decisions_promise(
    policy: Policy, on_disk: Standing, attempts: Attempts, forced: bool, by_hand: bool
) -> None:
    """Whatever is on disk: no time in the past, no useless deployment, nothing while disabled."""
    decision = decide(policy, on_disk, attempts, now=NOW, forced=forced, by_hand=by_hand)
    action = decision.instead if isinstance(decision, Postpone) else decision
    assert decision.why
    if isinstance(decision, Wait | Postpone):
        assert decision.until > NOW
    if not policy.enabled:
        assert isinstance(decision, Wait)
        return
    if forced:
        assert isinstance(action, Renew)
    if isinstance(action, Renew):
        assert action.at <= NOW
    if isinstance(action, Deploy):
        live = on_disk.live.number if on_disk.live else None
        if action.generation != live:
            assert on_disk.newest is not None
            assert action.generation == on_disk.newest.number
            assert usable(on_disk.newest, now=NOW) is None
            assert action.generation not in on_disk.state.withdrawn


@given(ANY_POLICIES, STANDINGS, ATTEMPTS, st.integers(0, 3600), st.booleans())
def test_what_is_postponed_is_still_due_when_its_time_has_come(
    policy: Policy, on_disk: Standing, attempts: Attempts, ago: int, forced: bool
) -> None:
    """It is not forgotten."""
    recent = replace(attempts, at=NOW - timedelta(seconds=ago))
    decision = decide(policy, on_disk, recent, now=NOW, forced=forced)
    if isinstance(decision, Postpone):
        later = decide(policy, on_disk, recent, now=decision.until, forced=forced)
        assert not isinstance(later, Wait)


@given(ANY_POLICIES, STANDINGS, ATTEMPTS)
def test_a_person_at_the_prompt_is_never_told_to_wait_longer(
    policy: Policy, on_disk: Standing, attempts: Attempts
) -> None:
    """``by_hand`` takes waits away and adds none."""
    alone = decide(policy, on_disk, attempts, now=NOW)
    by_hand = decide(policy, on_disk, attempts, now=NOW, by_hand=True)
    if isinstance(by_hand, Postpone):
        assert isinstance(alone, Postpone)
        assert by_hand.why in ("the CA asked to wait", "held after a rollback by hand")
    elif not isinstance(by_hand, Wait):
        assert by_hand in (alone, getattr(alone, "instead", None))


@given(ANY_POLICIES, STANDINGS, METAS, SPANS)
def test_an_expired_certificate_is_renewed_or_replaced_whatever_is_held(
    policy: Policy, on_disk: Standing, known: Meta, held: timedelta
) -> None:
    """No hold and no withdrawal may leave an expired certificate in front of users."""
    live = Generation(2, known, facts(age=91 * DAY))
    expired = Standing(live, on_disk.newest or live, replace(on_disk.state, held=NOW + held))
    enabled = replace(policy, enabled=True)
    decision = decide(enabled, expired, Attempts(), now=NOW)
    assert isinstance(decision, Renew | Deploy)
    if isinstance(decision, Deploy):
        assert decision.generation > live.number
