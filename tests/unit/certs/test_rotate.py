"""Rotations of one certificate, in a world in memory where single things go wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.certs.decision import Renew
from certrotd.errors import NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.pki.generation import CertificateState, Standing
from certrotd.rotation.engine import Event, Finished, Parked, RolledBack
from tests.model import scenarios
from tests.unit.certs.rotating import Case

DAY = timedelta(days=1)


class TestStopping:
    def test_a_process_told_to_stop_begins_nothing(self) -> None:
        """And says so."""
        case = Case("renewal")
        case.told_to_stop = True
        report = case.rotate()
        assert report.failure is not None
        assert "told to stop" in report.failure.message
        assert case.trouble.log == []

    def test_an_adoption_that_is_stopped_is_not_begun_over(self) -> None:
        """Its journal is in flight: nothing else may begin in it."""
        case = Case("adoption")
        case.trouble.then = {"store: stage key": lambda: setattr(case, "told_to_stop", True)}
        report = case.rotate()
        assert isinstance(report.outcome, Parked)
        case.told_to_stop = False
        assert isinstance(case.rotate().recovered, Finished)
        assert len(case.world.issuer.orders) == 0


class TestListeners:
    @pytest.mark.parametrize("scenario", ["renewal", "adoption"])
    def test_a_listener_that_fails_is_reported_when_the_rotation_is_over(
        self, scenario: str
    ) -> None:
        """A view that cannot be drawn is no step: all of them are done, and then it is said."""
        case, heard = Case(scenario), []

        def listen(event: Event) -> None:
            heard.append(event.what)
            raise BrokenPipeError(32, "Broken pipe")

        rotator = replace(case.rotator(), listen=listen)
        report = rotator.rotate(case.world.managed())
        assert isinstance(report.outcome, Finished)
        assert heard[-1] == "closed"
        assert case.world.managed().journal.records() == []
        assert "cannot show how the rotation goes on: Broken pipe" in str(report.failure)
        assert report.failed

    def test_a_rollback_is_no_step_of_its_listener_either(self) -> None:
        """The way back is as long."""
        case = Case("renewal")
        case.rotate(forced=True)

        def listen(_event: Event) -> None:
            raise ValueError("I/O operation on closed file")

        report = replace(case.rotator(), listen=listen).rollback(case.world.managed())
        assert isinstance(report.outcome, Finished), report
        assert "closed file" in str(report.failure)


class TestHistory:
    def test_a_history_that_cannot_be_written_does_not_hide_what_is_live(self) -> None:
        """All is done but the line about it: nobody has to look which pair is served now."""
        case = Case("renewal")
        case.rotate(forced=True)
        before = case.world.managed().look().live
        case.trouble.refuse = {"journal: add to the history": 1}
        report = case.rotate(forced=True)
        after = case.world.managed().look().live
        assert before is not None
        assert after is not None
        assert after.number == before.number + 1
        assert str(report.failure).startswith("cannot write the history: No space left on device")
        assert f"; generation {after.number} is live (free some space" in str(report.failure)
        assert isinstance(case.rotate().recovered, Finished)

    def test_a_disk_that_says_nothing_more_is_asked_no_further(self) -> None:
        """The first trouble is what is told."""
        case = Case("renewal")
        case.rotate(forced=True)
        managed = replace(case.world.managed(), look=refuses)
        report = case.rotator().rotate(managed, forced=True)
        assert report.failure is not None
        assert report.failure.message == "cannot read it: Input/output error"


def refuses(**_: bool) -> Standing:
    """A disk with an error."""
    raise DiskTrouble("read it", OSError(5, "Input/output error"))


class TestAskedToWait:
    @pytest.mark.parametrize("authority", ["memory://ca", "memory://another"])
    def test_the_wait_is_for_the_ca_that_asked(self, authority: str) -> None:
        """Another one is configured because of it: the history knows who it was."""
        case = Case("renewal")
        busy = Transient("too many requests", retry_after=timedelta(days=6))
        case.world.issuer.faults["order"] = busy
        assert isinstance(case.rotate().outcome, RolledBack)
        case.policy(authority=authority)
        report = case.rotate(after=DAY, by_hand=True)
        if authority == "memory://ca":
            assert isinstance(report.decision, Postpone)
        else:
            assert isinstance(report.outcome, Finished)


class TestAdopting:
    def test_without_a_pair_a_certificate_of_our_own_is_ordered(self) -> None:
        """Whatever came of the adoption, there must be one."""
        case = Case("adoption")
        case.world.adoptable = None
        report = case.rotate()
        assert isinstance(report.decision, Renew)
        assert isinstance(report.outcome, Finished)

    def test_a_pair_that_does_not_match_is_not_adopted(self) -> None:
        """Serving it would break every client."""
        case = Case("adoption")
        assert case.world.adoptable is not None
        case.world.adoptable = (scenarios.keys()[3], case.world.adoptable[1])
        report = case.rotate()
        assert isinstance(report.decision, Renew)
        line = case.world.managed().journal.history.lines()[0]
        assert "does not belong" in line["failure"]

    def test_an_adoption_that_fails_does_not_hide_what_the_ca_asked(self) -> None:
        """The order that would follow it has to wait."""
        case = Case("adoption")
        case.world.adoptable = None
        busy = Transient("too many requests", retry_after=timedelta(hours=20))
        case.world.issuer.faults["order"] = busy
        assert isinstance(case.rotate().outcome, RolledBack)
        assert isinstance(case.rotate(after=DAY / 2).decision, Postpone)
        assert isinstance(case.rotate(after=DAY / 2).outcome, Finished)


class TestRollingBack:
    def test_the_generation_before_comes_back_and_is_held(self) -> None:
        """Nothing is renewed unasked for a day, and what was withdrawn stays so."""
        case = Case("rollback")
        report = case.rollback()
        assert isinstance(report.outcome, Finished)
        state = case.world.store.shelf(scenarios.NAME).recorded
        assert (case.live, state.withdrawn) == (1, (2,))
        assert state.held == scenarios.NOW + DAY
        assert isinstance(case.rotate().decision, Wait)

    @pytest.mark.parametrize(
        ("to", "said"),
        [(2, "it is live already"), (9, "there is none"), (None, "no earlier generation")],
    )
    def test_a_rollback_without_a_usable_generation_is_refused(
        self, to: int | None, said: str
    ) -> None:
        """And nothing is touched."""
        case = Case("rollback" if to else "first_issuance")
        report = case.rollback(to)
        assert isinstance(report.failure, NeedsOperator)
        assert said in report.failure.message

    def test_a_refusal_says_which_generations_could_be_used(self) -> None:
        """Nobody has to look into the store for a number."""
        case = Case("rollback")
        refused = case.rollback(9).failure
        assert refused is not None
        assert refused.hint == "usable generations: 1"
        assert isinstance(case.rollback(1).outcome, Finished)
        refused = case.rollback(9).failure
        assert refused is not None
        assert refused.hint == "usable generations: 2"

    def test_a_refusal_says_that_no_generation_could_be_used(self) -> None:
        """The other one has expired, or is live."""
        case = Case("renewal")
        refused = case.rollback(2).failure
        assert refused is not None
        assert refused.hint == "no other generation is usable"

    @pytest.mark.parametrize("to", [1, None])
    def test_a_generation_whose_key_is_elsewhere_is_refused(self, to: int | None) -> None:
        """Since `csr` was taken out, the services read a key: a generation without would not do."""
        case = Case("rollback")
        shelf = case.world.store.shelf(scenarios.NAME)
        asked = tuple(
            (number, pair, replace(meta, request="digest" if number == 1 else ""))
            for number, pair, meta in shelf.generations
        )
        case.world.store.shelves[scenarios.NAME] = replace(shelf, generations=asked)
        refused = case.rollback(to).failure
        assert isinstance(refused, NeedsOperator)
        assert case.live == 2
        if to:
            assert "its key is elsewhere, the configuration asks" in refused.message
        case.policy(elsewhere=True)
        assert isinstance(case.rollback(to).outcome, Finished), "the control"

    def test_an_expired_generation_is_refused(self) -> None:
        """Not even by hand."""
        case = Case("renewal")
        report = case.rollback(1)
        assert isinstance(report.failure, NeedsOperator)
        assert "expired" in report.failure.message
        assert case.live == 2

    def test_a_rotation_in_flight_is_brought_to_its_end_first(self) -> None:
        """And if that does not go well, it is what there is to know."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 2}
        case.rotate()
        report = case.rollback()
        assert isinstance(report.recovered, Parked)
        assert report.outcome is None

    def test_a_defect_ends_in_the_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the place where it is."""
        case = Case("rollback")

        def broken(_name: str, *, thorough: bool = False) -> CertificateState:
            raise ZeroDivisionError

        monkeypatch.setattr(case.world.store, "look", broken)
        for report in (case.rollback(), case.rotate()):
            assert report.failure is not None
            assert "unexpected ZeroDivisionError" in report.failure.message


def test_a_damaged_journal_is_reported_and_stops_that_certificate() -> None:
    """Somebody has to look, and nobody guesses meanwhile."""
    case = Case("renewal")
    case.trouble.refuse = {"issuer: finalize": 1}
    case.rotate()
    data = case.world.disk.journal
    case.world.disk.journal = data[:30] + b"X" + data[31:]
    report = case.rotate()
    assert isinstance(report.failure, NeedsOperator)
    assert "damaged" in report.failure.message
    assert case.live == 2
