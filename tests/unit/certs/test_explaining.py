"""Every decision has a code, and can say of every rule why it matched or did not."""

from dataclasses import replace
from datetime import UTC, time, timedelta

import pytest

from certrotd.certs.policy import Attempts, Policy
from certrotd.certs.rules import RULES, decide, explain
from certrotd.certs.wait_rules import WAITS
from certrotd.lifecycle.decision import Asked, Postpone
from certrotd.pki.generation import Behind, CertificateState, Standing
from certrotd.pki.renewal import RenewalInfo, Suggestion
from certrotd.pki.revocation import Revocation
from certrotd.window import Window
from tests.builders import DAY, LEFT, MINUTE, NOW, POLICY, broken, facts, generation, standing

FAILED = Attempts(failures=1, at=NOW - timedelta(seconds=1), why="no answer")
ASKED = replace(FAILED, retry_after=timedelta(hours=2))
DUE = standing(generation(age=60 * DAY))
HELD = replace(DUE, state=replace(DUE.state, held=NOW + DAY))

ASKABLE = replace(generation(), facts=replace(facts(), authority_key="aa"))
EARLY = replace(
    standing(ASKABLE),
    state=CertificateState(
        suggested=Suggestion(5, NOW + DAY, RenewalInfo(NOW - DAY, NOW), NOW - DAY)
    ),
)
LATE = replace(standing(generation()), behind={"box": (Behind("web", "has an older copy"),)})
NIGHT = Window(frozenset(range(7)), time(1), time(5), UTC)


def condemned(number: int) -> CertificateState:
    """Of a certificate of which that generation is still to be revoked."""
    return CertificateState(revoked={number: Revocation("superseded", NOW, "ab", NOW + DAY)})


CASES: dict[str, tuple[Policy, Standing, Attempts]] = {
    "disabled": (replace(POLICY, enabled=False), standing(), Attempts()),
    "disabled_to_revoke": (
        replace(POLICY, enabled=False),
        replace(standing(generation()), state=condemned(4)),
        Attempts(),
    ),
    "placeholder_wanted": (replace(POLICY, bootstraps=True), standing(), Attempts()),
    "to_revoke_first": (
        POLICY,
        replace(DUE, state=condemned(4)),
        replace(FAILED, at=NOW - DAY, act="renew"),
    ),
    "issued": (POLICY, standing(generation(age=60 * DAY), generation(6)), Attempts()),
    "adopt": (replace(POLICY, adopts=True), standing(), Attempts()),
    "first": (POLICY, standing(), Attempts()),
    "unusable": (POLICY, standing(broken()), Attempts()),
    "expired": (POLICY, standing(generation(age=90 * DAY)), Attempts()),
    "not_yet_valid": (POLICY, standing(generation(age=-DAY)), Attempts()),
    "differs": (POLICY, standing(generation(names=("b.test",))), Attempts()),
    "pulled_forward": (replace(POLICY, renewal_info=True), EARLY, Attempts()),
    "renewal_time": (POLICY, DUE, Attempts()),
    "behind": (replace(POLICY, waves=(("web",),)), standing(generation()), Attempts()),
    "copies_changed": (POLICY, replace(standing(generation()), displaced="gone"), Attempts()),
    "state_lost": (POLICY, replace(standing(generation()), damaged="lost"), Attempts()),
    "somebody_behind": (POLICY, LATE, Attempts()),
    "revoked": (POLICY, replace(standing(generation()), state=condemned(5)), Attempts()),
    "to_revoke": (POLICY, replace(standing(generation()), state=condemned(4)), Attempts()),
    "records_left": (POLICY, standing(generation()), Attempts(left=LEFT)),
    "not_due": (POLICY, standing(generation()), Attempts()),
    "retry_after": (POLICY, DUE, ASKED),
    "hold": (POLICY, HELD, Attempts()),
    "backoff": (POLICY, DUE, FAILED),
    "window": (replace(POLICY, window=NIGHT), DUE, Attempts()),
}


@pytest.mark.parametrize("code", CASES)
def test_the_last_rule_that_matches_is_the_reason_and_has_its_code(code: str) -> None:
    """One answer to "why is it not renewed?", and the same in every listing."""
    policy, on_disk, attempts = CASES[code]
    decision = decide(policy, on_disk, attempts, now=NOW)
    tried = list(explain(policy, on_disk, attempts, now=NOW))
    *due, last = (each for each in tried if each.matched)
    assert (decision.code, last.code) == (code, code)
    assert last.why in decision.why
    assert all(each.why for each in tried)
    waits = {wait.code for wait in WAITS}
    assert [each.code for each in due] == (["renewal_time"] if code in waits else [])


def test_every_rule_has_a_code_of_its_own() -> None:
    """Programs go by them."""
    codes = [rule.code for rule in RULES] + [wait.code for wait in WAITS]
    assert len(codes) == len(set(codes))
    rest = {"damaged", "damaged_again", "forced", "placeholder", "fell_back"}
    assert set(codes) == set(CASES) | rest


def test_a_forced_renewal_says_so() -> None:
    """Nothing holds it back then."""
    tried = list(explain(POLICY, HELD, ASKED, Asked(forced=True), now=NOW))
    assert [each.code for each in tried if each.matched] == ["forced"]
    assert [each.code for each in tried[-4:]] == ["retry_after", "hold", "window", "backoff"]


def test_a_failed_repair_makes_room_for_a_renewal_and_says_why() -> None:
    """Neither keeps the other away for ever."""
    live = replace(generation(age=60 * DAY), damaged="chain.pem is missing")
    failed = Attempts(failures=1, at=NOW - 5 * MINUTE, why="the disk is full")
    tried = {each.code: each for each in explain(POLICY, standing(live), failed, now=NOW)}
    assert not tried["damaged"].matched
    assert "a due renewal comes first" in tried["damaged"].why
    assert tried["renewal_time"].matched
    fresh = standing(replace(generation(), damaged="chain.pem is missing"))
    again = explain(POLICY, fresh, replace(failed, at=NOW - DAY), now=NOW)
    assert [each.code for each in again if each.matched] == ["damaged_again"]


def test_a_state_without_a_hold_is_not_held() -> None:
    """The control."""
    assert (
        decide(POLICY, replace(HELD, state=CertificateState()), Attempts(), now=NOW).code
        == "renewal_time"
    )


class TestWindows:
    """A maintenance window, in which services may be reloaded; NOW is noon."""

    IN = replace(POLICY, window=NIGHT)

    def code(self, on_disk: Standing, policy: Policy = IN) -> str:
        return decide(policy, on_disk, Attempts(), now=NOW).code

    def test_a_due_renewal_waits_for_its_window(self) -> None:
        """And says which, and what is due."""
        decision = decide(self.IN, DUE, Attempts(), now=NOW)
        assert isinstance(decision, Postpone)
        assert decision.until == NOW + timedelta(hours=13)
        assert "waits for its window, 01:00-05:00 UTC; due: two thirds" in decision.why
        behind = replace(self.IN, waves=(("web",),))
        assert self.code(standing(generation()), behind) == "window"

    def test_a_renewal_due_in_the_window_is_done(self) -> None:
        """The control."""
        noon = replace(POLICY, window=Window(frozenset({0}), time(11), time(13), UTC))
        assert self.code(DUE, noon) == "renewal_time"  # NOW is a Monday

    @pytest.mark.parametrize("asked", [Asked(forced=True), Asked(named=True)])
    def test_a_person_does_not_wait_for_it(self, asked: Asked) -> None:
        """Whoever types it knows what they do."""
        decision = decide(self.IN, DUE, Attempts(), asked, now=NOW)
        assert decision.code in ("forced", "renewal_time")

    def test_a_timer_that_asks_for_all_waits_for_it(self) -> None:
        """`rotate --all` overrides a backoff, as a person does, and disturbs nobody at noon."""
        assert decide(self.IN, DUE, Attempts(), Asked(by_hand=True), now=NOW).code == "window"

    def test_a_window_near_expiry_is_not_waited_for(self) -> None:
        """A tenth of the lifetime is kept for what may go wrong."""
        weekly = replace(POLICY, window=Window(frozenset({6}), time(1), time(5), UTC))
        assert self.code(standing(generation(age=60 * DAY)), weekly) == "window"
        assert self.code(standing(generation(age=79 * DAY)), weekly) == "renewal_time"

    @pytest.mark.parametrize(
        "on_disk",
        [
            standing(),
            standing(broken()),
            standing(generation(age=90 * DAY)),
            standing(replace(generation(), damaged="chain.pem is missing")),
        ],
    )
    def test_a_broken_certificate_does_not_wait_for_the_window(self, on_disk: Standing) -> None:
        """Nothing is disturbed that works."""
        assert self.code(on_disk) in ("first", "unusable", "expired", "damaged")
