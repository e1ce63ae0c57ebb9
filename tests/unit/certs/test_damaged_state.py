"""A certificate whose state is damaged goes on, and costs nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from certrotd.certs.decision import Deploy
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.rotation.engine import Finished, RolledBack
from tests.model import scenarios
from tests.unit.certs.rotating import Case

DAY = timedelta(days=1)


class TestDamagedState:
    """What was known of targets, holds and withdrawals cannot be read any more."""

    def damaged(self, scenario: str) -> Case:
        """A case whose state is damaged."""
        case = Case(scenario)
        self.damage(case)
        return case

    def damage(self, case: Case) -> None:
        """Something else than a state is in its place now."""
        shelves = case.world.store.shelves
        shelves[scenarios.NAME] = replace(shelves[scenarios.NAME], damaged=True)

    def test_a_damaged_state_file_does_not_block_a_renewal(self) -> None:
        """And costs no more than one order; that it was so is said once, and remembered."""
        case = self.damaged("renewal")
        report = case.rotate()
        assert isinstance(report.outcome, Finished)
        assert (case.live, len(case.world.issuer.orders)) == (3, 1)
        said = "the state is damaged: kept as the state of 00:00 and replaced"
        assert case.world.remarks == [f"{scenarios.NAME}: {said}"]
        [line] = case.world.managed().journal.history.lines()
        assert said in line["why"]
        again = case.rotate()
        assert isinstance(again.decision, Wait)
        assert len(case.world.remarks) == 1

    def test_every_target_is_reloaded_and_proven_once_more(self) -> None:
        """Of the same generation, and only once: one reload each."""
        case = Case("new_target")
        case.rotate()
        self.damage(case)
        case.trouble.log.clear()
        report = case.rotate()
        assert isinstance(report.decision, Deploy)
        assert "not yet installed and not yet proven on web, mail-copies" in report.decision.why
        assert isinstance(report.outcome, Finished)
        told = [what for what in case.trouble.log if what.endswith(": apply")]
        assert told == ["target web: apply", "target mail-copies: apply"]
        assert not case.world.issuer.orders
        assert isinstance(case.rotate().decision, Wait)

    def test_a_damaged_state_without_any_place_is_begun_anew(self) -> None:
        """Else it would be said for ever, and nobody could be held to a rollback."""
        case = Case("new_target")
        case.policy(waves=(), installs=False)
        self.damage(case)
        report = case.rotate()
        assert isinstance(report.decision, Deploy)
        assert "its state file was lost" in report.decision.why
        assert isinstance(report.outcome, Finished)
        assert isinstance(case.rotate().decision, Wait)

    def test_an_undeployed_generation_is_deployed_despite_a_damaged_state(self) -> None:
        """That is told by the generations."""
        case = self.damaged("deployment")
        report = case.rotate()
        assert isinstance(report.outcome, Finished)
        assert (case.live, len(case.world.issuer.orders)) == (3, 0)

    def test_a_generation_rolled_back_by_hand_is_not_deployed_again(self) -> None:
        """The history knows that a person decided so, and since when it is held."""
        case = Case("rollback")
        case.rollback()
        before = case.world.store.shelf(scenarios.NAME).recorded
        self.damage(case)
        report = case.rotate(after=timedelta(hours=1))
        assert isinstance(report.outcome, Finished)
        after = case.world.store.shelf(scenarios.NAME).recorded
        assert (case.live, after.withdrawn, after.held) == (1, (2,), before.held)

    def test_a_rollback_before_the_last_issuance_no_longer_counts(self) -> None:
        """What was issued since and could not be deployed is deployed."""
        case = Case("rollback")
        case.rollback()
        case.trouble.refuse = {"target web: apply": 1}
        assert isinstance(case.rotate(forced=True).outcome, RolledBack)
        self.damage(case)
        report = case.rotate(after=2 * DAY)
        assert isinstance(report.outcome, Finished)
        assert case.live == 3

    def test_a_rollback_that_did_not_come_about_does_not_count(self) -> None:
        """Nobody's decision stands then."""
        case = Case("deployment")
        case.rotate()
        case.trouble.refuse = {"target web: apply": 1}
        assert isinstance(case.rollback().outcome, RolledBack)
        self.damage(case)
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        assert case.live == 3
        assert case.world.store.shelf(scenarios.NAME).recorded.withdrawn == ()

    def test_a_rollback_by_hand_goes_on_from_it(self) -> None:
        """It too needs a state to begin with."""
        case = self.damaged("rollback")
        assert isinstance(case.rollback().outcome, Finished)
        assert (case.live, len(case.world.remarks)) == (1, 1)

    def test_a_damaged_state_with_failures_behind_it_waits_its_turn(self) -> None:
        """A broken target is not told at every tick because a file is broken too."""
        case = Case("renewal")
        case.trouble.refuse = {"target web: apply": 1}
        case.rotate()
        self.damage(case)
        report = case.rotate()
        assert isinstance(report.decision, Postpone)
        assert "after 1 failure" in report.decision.why
        assert "the state is damaged" in report.decision.why

    def test_a_state_that_cannot_be_put_aside_is_left_and_said(self) -> None:
        """Nothing is begun on a state that would be forgotten again."""
        case = self.damaged("renewal")
        case.trouble.refuse = {"store: mend": 1}
        report = case.rotate()
        assert report.failure is not None
        assert not case.world.issuer.orders
        assert isinstance(case.rotate().outcome, Finished)
