"""Every rule of the decision about a certificate, alone and against the others."""

from dataclasses import replace

import pytest

from certrotd.certs.decision import RECHECK, Adopt, Deploy, Renew, Sweep
from certrotd.certs.fitness import drift, usable
from certrotd.certs.policy import COPIES, Attempts, Policy
from certrotd.certs.rules import decide
from certrotd.lifecycle.decision import Asked, Wait
from certrotd.pki.generation import Generation, Standing
from tests.builders import (
    DAY,
    HOUR,
    LEFT,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    broken,
    facts,
    generation,
    meta,
    standing,
)

ELSEWHERE = replace(POLICY, elsewhere=True, request="new")


@pytest.mark.parametrize(
    ("on_disk", "reason"),
    [
        (standing(), "there is no certificate yet"),
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


@pytest.mark.parametrize(
    ("request_of", "policy", "mends"),
    [
        ("new", ELSEWHERE, True),
        ("old", ELSEWHERE, False),
        ("", ELSEWHERE, False),
        ("old", replace(ELSEWHERE, request=""), True),
        ("old", POLICY, False),
        ("", POLICY, True),
    ],
)
def test_a_certificate_of_another_key_never_stands_in(
    request_of: str, policy: Policy, mends: bool
) -> None:
    """An appliance has the key of its new request, and could not serve it; a service has none."""
    earlier = Generation(4, meta(request=request_of), facts())
    on_disk = replace(standing(broken()), earlier=(earlier,))
    decision = decide(policy, on_disk, Attempts(), now=NOW)
    assert isinstance(decision, Deploy if mends else Renew)


def test_a_renewal_shows_since_when_it_has_been_due() -> None:
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
        decision = decide(silent, on_disk, Attempts(), Asked(forced=True, by_hand=True), now=NOW)
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
    decision = decide(POLICY, on_disk, attempts, Asked(forced=True), now=NOW)
    assert decision == Renew("forced by hand", NOW, forced=True)


def test_an_undeployed_generation_is_deployed_without_an_order() -> None:
    """An issued certificate is never ordered twice."""
    expected = Deploy("generation 6 was issued and not deployed", 6)
    for live in (generation(), generation(age=91 * DAY), broken(), None):
        assert decide(POLICY, standing(live, generation(6)), Attempts(), now=NOW) == expected


@pytest.mark.parametrize(
    "newest",
    [
        generation(6, age=91 * DAY),
        generation(6, age=-HOUR),
        generation(6, age=61 * DAY),
        generation(6, names=("b.test",)),
        Generation(6, meta(issuer="other"), facts()),
        generation(4),
    ],
    ids=["expired", "not-yet-valid", "due", "drifted", "other-issuer", "older"],
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
        ({"web": 5, COPIES: 5}, "in place, not yet proven on mail"),
        ({"web": 4, "mail": 5, COPIES: 5}, "in place, not yet proven on web"),
        ({"web": 5, "mail": 6, COPIES: 5}, "in place, not yet proven on mail"),
        ({"web": 5, "mail": 5, COPIES: 4}, "not yet installed"),
    ],
)
def test_a_target_without_the_live_generation_gets_it(served: dict[str, int], reason: str) -> None:
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
        "left behind: 1 TXT record"
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
        (Generation(5, meta(), facts()), ELSEWHERE, "its key was made here"),
        (Generation(5, meta(request="new"), facts(key_type="rsa-3072")), ELSEWHERE, None),
        (Generation(5, meta(request="old"), facts()), ELSEWHERE, "the file of csr changed"),
        (Generation(5, meta(request="old"), facts()), replace(ELSEWHERE, request=""), None),
        (Generation(5, meta(request="new"), facts()), POLICY, "its key is elsewhere"),
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


@pytest.mark.parametrize("behind", [False, True])
def test_a_copy_that_is_not_as_it_should_be_is_deployed(behind: bool) -> None:
    """Without an order; a generation that is nowhere yet is the better reason."""
    policy = replace(POLICY, installs=True)
    found = standing(generation(), served={} if behind else {COPIES: 5})
    decision = decide(policy, replace(found, displaced="/x is gone"), Attempts(), now=NOW)
    why = "not yet installed" if behind else "the copies changed: /x is gone"
    assert decision == Deploy(why, 5)
    if not behind:
        assert isinstance(decide(policy, found, Attempts(), now=NOW), Wait)


def test_a_renewal_that_is_due_brings_the_copies_along() -> None:
    """They are not deployed twice."""
    due = replace(standing(generation(age=61 * DAY), served={COPIES: 5}), displaced="/x is gone")
    assert isinstance(decide(replace(POLICY, installs=True), due, Attempts(), now=NOW), Renew)


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
def test_only_an_intact_pair_in_date_may_be_served(
    generation: Generation | None, reason: str | None
) -> None:
    """A rollback never goes to an expired or mismatched pair (certbot #10655)."""
    assert usable(generation, now=NOW) == reason
