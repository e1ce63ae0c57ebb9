"""The engine after its process ended in the middle, or somebody changed something meanwhile."""

from __future__ import annotations

import pytest

from certrotd.errors import Failure, NeedsOperator
from certrotd.rotation.engine import RETRY, Finished, Parked, RolledBack, Stuck
from certrotd.rotation.recovery import MAX_INTERRUPTIONS
from certrotd.rotation.step import NotYet, Plan
from tests.unit.rotation.small import (
    AFTER,
    BEFORE,
    FORWARD,
    NOW,
    SAVED,
    TELL,
    TORN,
    A,
    B,
    C,
    Crash,
    D,
    Put,
    Small,
    World,
    cut_off,
)


class TestCutOff:
    """The process ends in the middle."""

    def test_a_step_that_was_done_is_seen_and_not_done_again(self) -> None:
        """An order that was placed is not placed twice."""
        small = Small((A, B))
        cut_off(small, "put a", fault=AFTER)
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["do a", "look a", "do b"]

    @pytest.mark.parametrize(
        "look", [Failure("cannot look"), OSError(5, "I/O"), None], ids=["failure", "os", "not done"]
    )
    def test_a_step_that_is_not_seen_to_be_done_is_done_again(self, look: Exception | None) -> None:
        """Where looking fails, acting says what is wrong."""
        small = Small((A, B))
        cut_off(small, "put a", fault=BEFORE)
        small.world.on["look a"] = [look]
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["do a", "look a", "do a", "do b"]

    def test_a_defect_in_a_look_fails_the_step(self) -> None:
        """As a defect in the act does."""
        small = Small((A,))
        cut_off(small, "put a", fault=BEFORE)
        small.world.on["look a"] = [ValueError("a defect")]
        outcome = small.resume()
        assert isinstance(outcome, RolledBack)
        assert "unexpected ValueError" in outcome.because

    def test_three_cut_offs_give_it_up(self) -> None:
        """A step that kills its process must not do so for ever."""
        small = Small((A, SAVED, B, TELL))
        cut_off(small, "do b", times=MAX_INTERRUPTIONS)
        outcome = small.resume()
        assert isinstance(outcome, RolledBack)
        assert outcome.because == "the process ended 3 times during this step"
        assert (outcome.step, outcome.retry_after) == ("b", None)
        assert small.world.there == ["a"]

    def test_two_cut_offs_do_not(self) -> None:
        """The control of the test above."""
        small = Small((A, SAVED, B))
        cut_off(small, "do b", times=MAX_INTERRUPTIONS - 1)
        assert isinstance(small.resume(), Finished)

    def test_a_step_that_cannot_be_what_kills_is_never_given_up(self) -> None:
        """Six kills in a row gave up certificates that the CA had issued."""
        small = Small((A, Put("b", can_kill=False), SAVED, C))
        cut_off(small, "do b", times=2 * MAX_INTERRUPTIONS)
        assert isinstance(small.resume(), Finished)
        assert small.world.there == ["a", "b", "c"]

    def test_interruptions_of_a_step_do_not_count_for_the_next_step(self) -> None:
        """And that one is given up as any other."""
        small = Small((Put("a", can_kill=False), SAVED, B))
        cut_off(small, "do a", times=2 * MAX_INTERRUPTIONS)
        cut_off(small, "do b", times=MAX_INTERRUPTIONS)
        outcome = small.resume()
        assert isinstance(outcome, RolledBack)
        assert outcome.step == "b"

    def test_a_forward_only_step_is_parked_instead_of_given_up(self) -> None:
        """And then has three tries again."""
        small = Small((FORWARD, A))
        cut_off(small, "do a", times=MAX_INTERRUPTIONS)
        parked = small.resume()
        assert isinstance(parked, Parked)
        assert parked.failed
        assert isinstance(small.resume(), Finished)

    def test_a_torn_begin_record_is_no_rotation(self) -> None:
        """It never happened, and the next one begins."""
        small = Small((A,))
        small.world.fate.faults = {"journal: begin": TORN}
        with pytest.raises(Crash):
            small.begin()
        small.world.fate.faults = {}
        assert small.engine().in_flight() is None
        assert isinstance(small.begin(), Finished)

    def test_a_journal_of_another_version_is_left_to_the_operator(self) -> None:
        """Guessing at what a newer certrotd meant is worse than stopping."""
        for record in (
            {"t": "new kind"},
            {"t": "wait", "i": 0, "until": "soon", "why": ""},
            {"t": "try", "i": []},
            {"t": "done", "i": 0},
        ):
            small = Small((A,))
            small.world.on["do a"] = [NotYet(NOW, "wait")]
            small.begin()
            small.journal().append(record, sync=True)
            with pytest.raises(NeedsOperator, match="cannot be understood") as refused:
                small.resume()
            assert "version" in refused.value.hint

    @pytest.mark.parametrize(
        "plan", [[{"kind": "a"}], [{"kind": "a", "intent": {"new": 1}}], ["a"], None]
    )
    def test_a_plan_of_another_version_is_left_to_the_operator(self, plan: object) -> None:
        """As its records are."""
        small = Small((A,))
        begin = {"t": "begin", "id": "r", "name": "web", "why": "", "facts": {}, "at": ""}
        small.journal().append({**begin, "plan": plan}, sync=True)
        with pytest.raises(NeedsOperator, match="cannot be understood"):
            small.resume()


class TestBehindTheBack:
    """Somebody changed something while no process ran."""

    def parked(self, plan: Plan[World], at: str) -> Small:
        """A rotation that waits in one step."""
        small = Small(plan)
        small.world.on[f"do {at}"] = [NotYet(NOW, "wait")]
        assert isinstance(small.begin(), Parked)
        small.world.log.clear()
        return small

    def test_a_step_that_somebody_undid_is_done_again_and_what_was_built_on_it(self) -> None:
        """The journal is not believed where one can look."""
        small = self.parked((SAVED, A, B, C), "c")
        small.world.there.remove("a")
        small.world.there.remove("b")
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look a", "do a", "do b", "do c"]
        assert small.world.there == ["a", "b", "c"]

    def test_a_step_in_effect_is_left_alone(self) -> None:
        """The control of the test above."""
        small = self.parked((A, SAVED, B, C, D), "d")
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look b", "look c", "do d"]  # what was saved is not looked at

    def test_a_step_without_a_visible_effect_is_believed(self) -> None:
        """A reload leaves nothing to look at."""
        small = self.parked((A, TELL, C), "c")
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look a", "do c"]

    def test_later_steps_are_undone_with_a_lost_step_that_cannot_be_repeated(self) -> None:
        """Somebody took the one away; the other must not stay as the only part of a rotation."""
        small = self.parked((SAVED, A, B, C), "c")
        small.world.there.remove("a")
        small.world.on["do a"] = [Failure("no")]
        assert isinstance(small.resume(), RolledBack)
        assert small.world.there == []

    def test_losing_a_step_does_not_forgive_what_a_crash_cut_off_after_it(self) -> None:
        """Whoever restores the old files at every start must not keep a deadly step alive."""
        small = Small((SAVED, A, B))
        for _ in range(MAX_INTERRUPTIONS):
            cut_off(small, "do b")
            small.world.there.clear()
        small.world.there.append("a")
        outcome = small.resume()
        assert isinstance(outcome, RolledBack)
        assert "3 times" in outcome.because

    @pytest.mark.parametrize("error", [Failure("no"), OSError(5, "I/O error"), KeyError("x")])
    def test_a_step_without_a_look_is_undone_if_it_must_not_stay_half_done(
        self, error: Exception
    ) -> None:
        """Going on would build on what nobody has seen."""
        small = self.parked((SAVED, A, B), "b")
        small.world.on["look a"] = [error]
        assert isinstance(small.resume(), RolledBack)
        assert small.world.there == []

    @pytest.mark.parametrize("error", [Failure("no"), OSError(5, "I/O error"), KeyError("x")])
    def test_without_a_look_it_waits_where_nothing_is_in_use(self, error: Exception) -> None:
        """The disk may be back in a minute."""
        small = self.parked((A, B), "b")
        small.world.on["look a"] = [error]
        parked = small.resume()
        assert isinstance(parked, Parked)
        assert (parked.until, parked.failed) == (NOW + RETRY, True)
        assert small.world.there == ["a"]
        assert isinstance(small.resume(), Finished)

    def test_an_undo_looks_at_nothing(self) -> None:
        """An undo restores whatever it meets."""
        small = Small((SAVED, A, B))
        small.world.on = {"do b": [Failure("no")], "undo a": [Failure("stuck")]}
        assert isinstance(small.begin(), Stuck)
        small.world.log.clear()
        assert isinstance(small.resume(), RolledBack)
        assert small.world.log == ["undo a"]
