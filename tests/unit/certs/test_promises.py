"""What every decision promises, whatever is on disk, configured, remembered or asked for."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.decision import Deploy, Renew
from certrotd.certs.fitness import usable
from certrotd.certs.policy import COPIES, Attempts, Policy
from certrotd.certs.rules import decide
from certrotd.lifecycle.decision import Asked, Postpone, Wait
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing, TargetState
from tests.builders import DAY, DRAWS, LEFT, LIFETIMES, NOW, POLICIES, SPANS, facts, meta

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
    lambda number, known, about, damaged: Generation(
        number, known, about, *((None, damaged) if about else ("broken", None))
    ),
    st.integers(1, 4),
    st.none() | METAS,
    st.none() | FACTS,
    st.sampled_from([None, None, "damaged"]),
)
STANDINGS = st.builds(
    Standing,
    st.none() | GENERATIONS,
    st.none() | GENERATIONS,
    st.builds(
        CertificateState,
        st.dictionaries(
            st.sampled_from(["web", "mail", COPIES]),
            st.builds(TargetState, st.integers(1, 4), st.just("ab"), MOMENTS),
        ),
        st.sets(st.integers(1, 4)).map(lambda numbers: tuple(sorted(numbers))),
        st.none() | MOMENTS,
    ),
    st.sampled_from([None, None, "its state is damaged"]),
    earlier=st.lists(GENERATIONS, max_size=2).map(tuple),
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
    decision = decide(policy, on_disk, attempts, Asked(forced=forced, by_hand=by_hand), now=NOW)
    action = decision.instead if isinstance(decision, Postpone) else decision
    assert decision.why
    assert (on_disk.damaged or "") in decision.why
    if isinstance(decision, Wait | Postpone):
        assert decision.until > NOW
    if not policy.enabled:
        assert isinstance(decision, Wait)
        return
    if forced:
        assert isinstance(action, Renew) or (isinstance(action, Deploy) and action.mends)
    if isinstance(action, Renew):
        assert action.at <= NOW
    if isinstance(action, Deploy):
        live = on_disk.live.number if on_disk.live else None
        if action.generation != live:
            there = (on_disk.newest, *(on_disk.earlier if action.mends else ()))
            chosen = [each for each in there if each and each.number == action.generation]
            assert any(usable(each, now=NOW) is None for each in chosen)
            assert action.generation not in on_disk.state.withdrawn


@given(ANY_POLICIES, STANDINGS, ATTEMPTS, st.integers(0, 3600), st.booleans())
def test_a_postponed_rotation_is_still_due_when_its_time_has_come(
    policy: Policy, on_disk: Standing, attempts: Attempts, ago: int, forced: bool
) -> None:
    """It is not forgotten."""
    recent = replace(attempts, at=NOW - timedelta(seconds=ago))
    decision = decide(policy, on_disk, recent, Asked(forced=forced), now=NOW)
    if isinstance(decision, Postpone):
        later = decide(policy, on_disk, recent, Asked(forced=forced), now=decision.until)
        assert not isinstance(later, Wait)


@given(ANY_POLICIES, STANDINGS, ATTEMPTS)
def test_a_person_at_the_prompt_is_never_told_to_wait_longer(
    policy: Policy, on_disk: Standing, attempts: Attempts
) -> None:
    """``by_hand`` takes waits away and adds none."""
    alone = decide(policy, on_disk, attempts, now=NOW)
    by_hand = decide(policy, on_disk, attempts, Asked(by_hand=True), now=NOW)
    if isinstance(by_hand, Postpone):
        assert isinstance(alone, Postpone)
        why = by_hand.why.removesuffix(f"; {on_disk.damaged}")
        assert why in ("the CA asked to wait", "held after a rollback by hand")
    elif not isinstance(by_hand, Wait):
        assert by_hand in (alone, getattr(alone, "instead", None))


@given(ANY_POLICIES, STANDINGS, METAS, SPANS)
def test_an_expired_certificate_is_renewed_or_replaced_whatever_is_held(
    policy: Policy, on_disk: Standing, known: Meta, held: timedelta
) -> None:
    """No hold and no withdrawal may leave an expired certificate in front of users."""
    live = Generation(2, known, facts(age=91 * DAY))
    newest = on_disk.newest if on_disk.newest and on_disk.newest.number > 2 else live
    expired = Standing(live, newest, replace(on_disk.state, held=NOW + held))
    enabled = replace(policy, enabled=True)
    decision = decide(enabled, expired, Attempts(), now=NOW)
    assert isinstance(decision, Renew | Deploy)
    if isinstance(decision, Deploy):
        assert decision.generation > live.number
