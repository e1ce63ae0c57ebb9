"""What is due of a delivery: each rule, what holds it back, and that it explains itself."""

from dataclasses import replace
from datetime import UTC, time, timedelta

import pytest

from certrotd.deliveries.decision import Deliver
from certrotd.deliveries.policy import Policy, Standing, folder_of
from certrotd.deliveries.rules import RULES, WAITS, decide, explain
from certrotd.lifecycle.attempts import Attempts
from certrotd.lifecycle.decision import DAEMON, Asked, Postpone, Wait
from certrotd.ssh.folder import is_folder
from certrotd.window import Window
from tests.unit.deliveries.examples import DAY, NOW, POLICY, delivered, generation, standing

FORCED = Asked(forced=True, by_hand=True, named=True)
CLOSED = Window(frozenset(range(7)), time(1), time(5), UTC)
NEWER = standing(2, 1)
DRIFTED = replace(standing(), delivered=replace(delivered(), drift="live is gone"))
CASES = {
    "disabled": (replace(POLICY, enabled=False), NEWER, DAEMON),
    "nothing_live": (POLICY, Standing(generation(origin="placeholder")), DAEMON),
    "unusable": (POLICY, Standing(generation(end=NOW)), DAEMON),
    "rotating": (POLICY, replace(NEWER, rotating=True), DAEMON),
    "first": (POLICY, Standing(generation()), DAEMON),
    "newer": (POLICY, NEWER, DAEMON),
    "configured_otherwise": (replace(POLICY, asked="otherwise"), standing(), DAEMON),
    "drifted": (POLICY, DRIFTED, DAEMON),
    "forced": (POLICY, standing(), FORCED),
    "not_due": (POLICY, standing(), DAEMON),
}


def test_every_rule_is_tried_here() -> None:
    """In the order of the rules."""
    assert list(CASES) == [each.code for each in RULES]


@pytest.mark.parametrize("code", CASES)
def test_each_rule_decides_what_it_is_for(code: str) -> None:
    """Those that deliver, deliver the live generation; the others wait."""
    policy, known, asked = CASES[code]
    decision = decide(policy, known, asked, now=NOW)
    assert decision.code == code
    if code in ("first", "newer", "configured_otherwise", "drifted", "forced"):
        assert isinstance(decision, Deliver)
        assert known.live is not None
        assert decision.generation == known.live.number
    else:
        assert isinstance(decision, Wait)
        assert decision.until > NOW


def test_a_damaged_generation_is_given_to_nobody() -> None:
    """It is repaired here first."""
    live = replace(generation(2), damaged="privkey.pem is gone")
    decision = decide(POLICY, replace(NEWER, live=live), FORCED, now=NOW)
    assert (decision.code, decision.act) == ("unusable", "wait")


def test_what_is_there_already_is_put_right_while_its_certificate_rotates() -> None:
    """An order may take days: only a generation that may be taken back has to wait."""
    assert isinstance(decide(POLICY, replace(DRIFTED, rotating=True), now=NOW), Deliver)


def test_a_host_that_was_away_is_tried_again_later_unless_a_person_asks() -> None:
    """By the same steps as everything else."""
    failed = replace(NEWER, attempts=Attempts(2, NOW - timedelta(minutes=9), "away"))
    decision = decide(POLICY, failed, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.until == NOW + timedelta(minutes=1)
    assert isinstance(decide(POLICY, failed, Asked(by_hand=True), now=NOW), Deliver)
    later = decide(POLICY, failed, now=NOW + timedelta(minutes=1))
    assert isinstance(later, Deliver)


def test_the_window_of_the_certificate_holds_for_its_deliveries() -> None:
    """Services there are reloaded, too."""
    policy = replace(POLICY, window=CLOSED)
    assert decide(policy, NEWER, now=NOW).code == "window"
    assert isinstance(decide(policy, NEWER, FORCED, now=NOW), Deliver)


def test_the_explanation_ends_with_what_decides() -> None:
    """And with every gate, if none holds it."""
    tried = list(explain(POLICY, NEWER, now=NOW))
    assert [each.code for each in tried if each.matched] == ["newer"]
    assert [each.code for each in tried][-len(WAITS) :] == [each.code for each in WAITS]


def test_a_second_attempt_uses_the_folder_of_the_first() -> None:
    """But what was changed there, or is asked for otherwise, gets another one."""

    def folder(policy: Policy = POLICY, over: str = "") -> str:
        return folder_of(policy, 7, "ab" * 32, over)

    assert folder() == folder()
    assert is_folder(folder())
    assert len({folder(), folder(over=folder()), folder(replace(POLICY, asked="x"))}) == 3


def test_the_example_is_of_one_moment() -> None:
    """Else the cases above would say less than they seem to."""
    assert delivered().not_after - NOW == 60 * DAY
