"""The live generation is damaged: what is decided, and what a run makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.certs.decision import Deploy, Renew
from certrotd.certs.policy import Attempts
from certrotd.certs.rules import decide
from certrotd.cli.reports import report_words
from certrotd.errors import Transient
from certrotd.lifecycle.decision import Asked, Postpone, Wait
from certrotd.pki.generation import PLACEHOLDER, Generation, Standing
from certrotd.rotation.engine import Finished, RolledBack
from tests.builders import (
    DAY,
    MINUTE,
    NOW,
    POLICY,
    broken,
    facts,
    generation,
    meta,
    standing,
)
from tests.fakes.store import Pair
from tests.model import scenarios
from tests.unit.certs.rotating import Case

ORDERED = Attempts(failures=3, at=NOW - MINUTE, why="no answer", authority=POLICY.authority)
DEPLOYED = Attempts(failures=3, at=NOW - MINUTE, why="nginx -t failed")


def damaged(number: int = 5, **about: timedelta) -> Generation:
    """A generation of which a file is lost."""
    return replace(generation(number, **about), damaged="cert.pem is missing")


def fallen(*earlier: Generation, **about: object) -> Standing:
    """Generation 5 is live and broken."""
    return replace(standing(broken(5), **about), earlier=earlier)  # type: ignore[arg-type]


class TestDeciding:
    @pytest.mark.parametrize("age", [10 * DAY, 61 * DAY])
    @pytest.mark.parametrize("forced", [False, True])
    def test_damaged_files_are_restored_before_anything_else(
        self, age: timedelta, forced: bool
    ) -> None:
        """A service that is restarted meanwhile would not come up, whatever else is due."""
        decision = decide(
            POLICY, standing(damaged(age=age)), Attempts(), Asked(forced=forced), now=NOW
        )
        assert decision == Deploy("generation 5 is damaged: cert.pem is missing", 5, mends=True)

    @pytest.mark.parametrize("on_disk", [standing(damaged()), fallen(generation(4))])
    def test_a_ca_that_is_away_keeps_no_file_from_being_mended(self, on_disk: Standing) -> None:
        """What failed was to get another one."""
        assert isinstance(decide(POLICY, on_disk, ORDERED, now=NOW), Deploy)

    @pytest.mark.parametrize("on_disk", [standing(damaged(age=61 * DAY)), fallen(generation(4))])
    def test_a_generation_that_cannot_be_restored_is_renewed_in_turn(
        self, on_disk: Standing
    ) -> None:
        """Neither keeps the other away."""
        decision = decide(POLICY, on_disk, DEPLOYED, now=NOW)
        assert isinstance(decision, Postpone)
        assert isinstance(decision.instead, Renew)

    def test_a_damaged_placeholder_is_restored_too(self) -> None:
        """So that the service starts."""
        placeholder = replace(damaged(), meta=meta(origin=PLACEHOLDER))
        assert isinstance(decide(POLICY, standing(placeholder), Attempts(), now=NOW), Deploy)
        instead = replace(generation(4), meta=meta(origin=PLACEHOLDER))
        assert isinstance(decide(POLICY, fallen(instead), Attempts(), now=NOW), Renew)

    def test_a_failed_repair_is_retried_when_nothing_else_is_due(self) -> None:
        """A full disk, a target that was stopped."""
        decision = decide(POLICY, standing(damaged()), DEPLOYED, now=NOW + DAY)
        assert isinstance(decision, Deploy)

    def test_an_expired_one_is_renewed_and_not_mended(self) -> None:
        """Whole files of an expired certificate help nobody."""
        decision = decide(POLICY, standing(damaged(age=91 * DAY)), Attempts(), now=NOW)
        assert isinstance(decision, Renew)

    @pytest.mark.parametrize(
        "live",
        [generation(age=91 * DAY), replace(generation(), meta=meta(origin=PLACEHOLDER))],
        ids=["expired", "placeholder"],
    )
    @pytest.mark.parametrize(
        "newest",
        [generation(6, age=61 * DAY), generation(6, names=("b.test",))],
        ids=["due", "other-names"],
    )
    def test_a_usable_generation_replaces_an_unusable_one(
        self, live: Generation, newest: Generation
    ) -> None:
        """It could not be deployed when it came; the CA may be away now."""
        decision = decide(POLICY, standing(live, newest), ORDERED, now=NOW)
        assert isinstance(decision, Deploy)
        assert (decision.generation, decision.mends) == (6, True)
        withdrawn = standing(live, newest, withdrawn=(6,))
        assert not isinstance(decide(POLICY, withdrawn, ORDERED, now=NOW), Deploy)
        deployed = decide(POLICY, standing(newest), Attempts(), now=NOW)
        assert isinstance(deployed, Renew)

    def test_the_newest_that_can_be_used_takes_the_place_of_a_broken_one(self) -> None:
        """Although its time to be renewed has come."""
        decision = decide(
            POLICY,
            fallen(broken(4), generation(3, age=61 * DAY), generation(2)),
            Attempts(),
            now=NOW,
        )
        assert decision == Deploy(
            "the live certificate cannot be used: privkey.pem is missing; generation 3 is deployed "
            "in its place",
            3,
            mends=True,
        )

    def test_a_live_link_to_nothing_costs_no_order(self) -> None:
        """A good one is there."""
        gone = Generation(9, None, None, "No such file or directory")
        due = generation(8, age=61 * DAY)
        for newest in (generation(8), due):
            decision = decide(POLICY, Standing(gone, newest), Attempts(), now=NOW)
            assert isinstance(decision, Deploy)
            assert decision.generation == 8
        nothing = decide(POLICY, Standing(None, due), Attempts(), now=NOW)
        assert isinstance(nothing, Deploy)

    @pytest.mark.parametrize(
        "on_disk",
        [
            fallen(generation(4, age=91 * DAY)),
            fallen(generation(4, age=-DAY)),
            fallen(broken(4)),
            fallen(generation(4), withdrawn=(4,)),
            fallen(),
        ],
        ids=["expired", "not-yet-valid", "mismatched", "withdrawn", "none"],
    )
    def test_an_unusable_generation_never_replaces_another(self, on_disk: Standing) -> None:
        """Then another one is ordered."""
        assert isinstance(decide(POLICY, on_disk, Attempts(), now=NOW), Renew)

    def test_a_new_certificate_is_ordered_while_an_older_one_is_live(self) -> None:
        """As soon as the CA is back, whatever the older one's dates say."""
        decision = decide(POLICY, standing(generation(5), broken(6)), Attempts(), now=NOW)
        assert decision == Renew(
            "generation 6 cannot be used: privkey.pem is missing; generation 5 is live in its "
            "place",
            NOW,
        )
        withdrawn = standing(generation(5), broken(6), withdrawn=(6,))
        assert isinstance(decide(POLICY, withdrawn, Attempts(), now=NOW), Wait)

    def test_a_generation_with_other_names_is_better_than_none(self) -> None:
        """It is replaced as soon as it can be."""
        other = Generation(4, meta(), facts(names=("b.test",)))
        assert isinstance(decide(POLICY, fallen(other), Attempts(), now=NOW), Deploy)


class TestRunning:
    """Generation 2 is live."""

    def worn(self) -> Case:
        """A file of it is damaged."""
        return Case("damaged_files")

    def broken(self) -> Case:
        """Its key is lost."""
        case = Case("new_target")
        shelves = case.world.store.shelves
        shelf = shelves[scenarios.NAME]
        (first, (number, pair, known)) = shelf.generations
        lost = (number, Pair(None, pair.chain), known)
        shelves[scenarios.NAME] = replace(shelf, generations=(first, lost))
        return case

    def test_damaged_files_are_restored_without_an_order_and_proven(self) -> None:
        """Services are told to read them again."""
        case = self.worn()
        case.trouble.log.clear()
        report = case.rotate()
        assert isinstance(report.outcome, Finished)
        assert case.world.store.shelf(scenarios.NAME).worn == ()
        assert (case.live, case.world.issuer.orders) == (2, [])
        log = case.trouble.log
        assert log.index("store: rebuild") < log.index("target web: apply")
        assert isinstance(case.rotate().decision, Wait)

    def test_targets_are_not_asked_while_the_files_they_read_are_damaged(self) -> None:
        """`nginx -t` fails for that very reason, and would keep them from being mended."""
        case = self.worn()
        case.trouble.refuse = {"target web: check": 1}
        assert isinstance(case.rotate().outcome, Finished)

    def test_a_broken_one_is_replaced_by_the_one_before_while_the_ca_is_away(self) -> None:
        """Proven on every target; a new one follows as soon as it can be had."""
        case = self.broken()
        case.trouble.refuse = {"issuer: order": 2}
        report = case.rotate()
        assert isinstance(report.decision, Deploy)
        assert isinstance(report.outcome, Finished)
        assert "generation 1 is deployed in its place" in report_words(report)[1]
        assert case.live == 1
        old = case.world.store.generation(scenarios.NAME, 1).facts
        assert old is not None
        assert case.serves() == {old.fingerprint}
        again = case.rotate()
        assert isinstance(again.decision, Renew)
        assert isinstance(again.outcome, RolledBack)
        assert "generation 1 is live in its place" in again.decision.why
        assert case.live == 1
        back = case.rotate(after=DAY)
        assert isinstance(back.decision, Postpone | Renew)
        case.rotate(after=DAY)
        assert case.live == 3
        assert isinstance(case.rotate().decision, Wait)

    @pytest.mark.parametrize("away", [False, True])
    def test_a_run_by_hand_restores_and_renews_in_one_go(self, away: bool) -> None:
        """And is told of both."""
        case = self.broken()
        if away:
            case.world.issuer.faults["order"] = Transient("no answer")
        report = case.rotate(by_hand=True)
        word, why = report_words(report)
        assert "before that: the live certificate cannot be used" in why
        assert (word, case.live) == (("failed", 1) if away else ("done", 3))

    def test_by_hand_a_renewal_that_is_forced_follows_the_mending(self) -> None:
        """Even where the CA is away, the files are whole."""
        case = self.worn()
        case.trouble.refuse = {"issuer: order": 1}
        report = case.rotate(forced=True, by_hand=True)
        assert isinstance(report.outcome, RolledBack)
        assert case.world.store.shelf(scenarios.NAME).worn == ()

    def test_a_mending_that_goes_on_later_is_not_followed(self) -> None:
        """Its journal is in flight."""
        case = self.worn()
        case.trouble.then = {"store: rebuild": lambda: setattr(case, "told_to_stop", True)}
        report = case.rotate(by_hand=True, forced=True)
        assert isinstance(report.decision, Deploy)

    def test_a_rollback_by_hand_to_a_damaged_generation_restores_it(self) -> None:
        """What becomes live is whole, whichever way."""
        case = Case("rollback")
        shelves = case.world.store.shelves
        shelves[scenarios.NAME] = replace(shelves[scenarios.NAME], worn=(1,))
        assert isinstance(case.rollback().outcome, Finished)
        assert (case.live, case.world.store.shelf(scenarios.NAME).worn) == (1, ())
