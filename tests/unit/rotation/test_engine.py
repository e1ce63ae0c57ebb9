"""The engine over tiny steps: forward, back, parked, stopped, cut off, journal broken."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.rotation.engine import RETRY, Finished, Parked, RolledBack, Stopped, Stuck, titles
from certrotd.rotation.files import DiskTrouble
from certrotd.rotation.journal import FileJournal, JournalBroken
from certrotd.rotation.recovery import MAX_INTERRUPTIONS
from certrotd.rotation.step import Done, Later, Ledger, Plan, Wait
from tests.unit.rotation.small import (
    AFTER,
    BEFORE,
    BELIED,
    FORWARD,
    NOW,
    REFUSED,
    SAVED,
    TEAR,
    TELL,
    TORN,
    A,
    B,
    C,
    Crash,
    D,
    Fate,
    Put,
    Small,
    World,
)

HOUR = timedelta(hours=1)


class TestForward:
    """A rotation in which everything works."""

    def test_every_step_is_done_in_order_and_the_journal_is_closed(self) -> None:
        """What a rotation is for."""
        small = Small((A, SAVED, B, C))
        outcome = small.begin()
        assert outcome == Finished({"a": "done", "b": "done", "c": "done"})
        assert small.world.log == ["do a", "do b", "do c"]
        assert small.disk.journal == b""
        (line,) = small.history()
        assert (line["outcome"], line["to"], line["failure"]) == ("finished", "", None)
        assert (line["id"], line["name"], line["why"]) == ("r1", "web", "it is due")
        assert line["began"] == line["ended"] == NOW.isoformat()

    def test_the_listener_hears_of_everything_in_order(self) -> None:
        """The progress display and the audit log live on this."""
        small = Small((A, SAVED, B))
        small.begin()
        assert small.told == [
            "began",
            "trying a",
            "done a",
            "reached saved",
            "trying b",
            "done b",
            "closed",
        ]
        first = small.events[0]
        assert (first.rotation, first.name, first.detail) == ("r1", "web", "it is due")
        assert [event.index for event in small.events] == [-1, 0, 0, 1, 2, 2, -1]
        assert {event.size for event in small.events} == {3}

    def test_the_listener_hears_of_the_way_back_too(self) -> None:
        """An operator who watches a failure sees what is restored."""
        small = Small((SAVED, A, B))
        small.world.on["do b"] = [Failure("no")]
        small.begin()
        assert small.told[2:] == [
            "trying a",
            "done a",
            "trying b",
            "failed b",
            "undoing b",
            "undone b",
            "undoing a",
            "undone a",
            "closed",
        ]

    def test_an_intent_is_in_the_journal_before_its_act(self) -> None:
        """After a crash the journal must name whatever may have been begun."""
        small = Small((A, B))
        seen: list[str] = []
        small.world.on["do b"] = [lambda _world: seen.append(small.kinds())]
        small.begin()
        assert seen == ["begin try0 done0 try1"]
        assert small.disk.journal == b""

    def test_facts_and_notes_reach_later_steps_and_what_was_carried_in_does_too(self) -> None:
        """Steps know of each other by nothing else."""

        class Noting(Put):
            def do(self, world: World, ledger: Ledger) -> Done:
                world.log.append(f"{self.name} knows {dict(ledger.facts)}")
                ledger.note(noted=self.name)
                world.log.append(f"{self.name} now knows {ledger.facts['noted']}")
                return Done({self.name: 1})

        small = Small((Noting("a"), Noting("b")), facts={"earlier": True})
        engine = small.engine()
        engine.rebuild = lambda _kind, intent: Noting(str(intent["name"]))
        outcome = engine.begin("r1", "web", "why", small.plan, facts=small.facts)
        assert small.world.log == [
            "a knows {'earlier': True}",
            "a now knows a",
            "b knows {'earlier': True, 'noted': 'a', 'a': 1}",
            "b now knows b",
        ]
        assert outcome == Finished({"earlier": True, "noted": "b", "a": 1, "b": 1})

    def test_a_plan_of_nothing_finishes(self) -> None:
        """The edge of the loop."""
        assert Small(()).begin() == Finished({})

    def test_a_second_rotation_cannot_begin_beside_one_in_flight(self) -> None:
        """Two plans in one journal would undo each other."""
        small = Small((A,))
        small.world.on["do a"] = [Wait(NOW + HOUR, "not yet")]
        assert small.engine().in_flight() is None
        small.begin()
        assert (small.engine().in_flight() or {})["id"] == "r1"
        with pytest.raises(AssertionError, match="in flight"):
            small.begin()

    def test_what_a_plan_is_called_is_listed(self) -> None:
        """For --dry-run."""
        assert list(titles((A, SAVED, B))) == ["a", "saved", "b"]


class TestBackward:
    """A step fails."""

    def test_everything_since_the_beginning_is_undone_in_reverse(self) -> None:
        """The failed step too, for it may have done half."""
        small = Small((A, B, C))
        small.world.on["do c"] = [Transient("the CA is down", retry_after=HOUR)]
        outcome = small.begin()
        assert outcome == RolledBack("", "c", "the CA is down", 3600.0, {"a": "done", "b": "done"})
        assert small.world.log[3:] == ["undo c", "undo b", "undo a"]
        assert small.world.there == []
        (line,) = small.history()
        assert line["outcome"] == "rolled back to the beginning"
        assert (line["failed_step"], line["failure"]) == ("c", "the CA is down")
        assert (line["retry_after"], line["failures"]) == (3600.0, 1)

    def test_nothing_before_the_savepoint_is_undone(self) -> None:
        """What was issued stays issued."""
        small = Small((A, SAVED, B, C))
        small.world.on["do c"] = [NeedsOperator("no", hint="say yes")]
        assert small.begin() == RolledBack(
            "saved", "c", "no (say yes)", None, {"a": "done", "b": "done"}
        )
        assert small.world.log[3:] == ["undo c", "undo b"]
        assert small.world.there == ["a"]
        assert small.history()[0]["outcome"] == "rolled back to saved"

    def test_an_unexpected_exception_rolls_back_and_says_where(self) -> None:
        """A bug must not leave half a rotation in place, and must be found."""
        small = Small((A, B))
        small.world.on["do b"] = [ZeroDivisionError("by\nzero")]
        outcome = small.begin()
        assert isinstance(outcome, RolledBack)
        assert outcome.because.startswith("unexpected ZeroDivisionError: by zero at ")
        assert "small.py:" in outcome.because
        assert "report it" in outcome.because
        assert small.world.there == []

    def test_an_error_of_the_system_says_what_was_being_done(self) -> None:
        """No step needs to translate every OSError."""
        small = Small((A,))
        small.world.on["do a"] = [OSError(28, "No space left on device")]
        outcome = small.begin()
        assert isinstance(outcome, RolledBack)
        assert outcome.because.startswith("cannot finish step 'a': No space left on device (free")

    def test_a_failed_undo_is_stuck_and_tried_again_at_every_start(self) -> None:
        """Neither forgotten nor given up: something is half-way."""
        small = Small((A, SAVED, B, C))
        small.world.on = {"do c": [Failure("no")], "undo b": [Failure("cannot"), OSError(5, "I/O")]}
        assert small.begin() == Stuck("b", "no", "cannot")
        assert small.resume() == Stuck(
            "b",
            "no",
            "cannot undo step 'b': I/O (the disk reports an error; look at the kernel log)",
        )
        assert small.told[-1] == "stuck b"
        outcome = small.resume()
        assert isinstance(outcome, RolledBack)
        assert (outcome.to, outcome.because) == ("saved", "no")
        assert small.world.log.count("undo c") == 1
        assert small.world.there == ["a"]

    def test_a_defect_in_an_undo_is_stuck_too(self) -> None:
        """As any other failure of it."""
        small = Small((A,))
        small.world.on = {"do a": [Failure("no")], "undo a": [KeyError("x")]}
        outcome = small.begin()
        assert isinstance(outcome, Stuck)
        assert "unexpected KeyError" in outcome.undo_failed

    def test_an_undo_that_is_woken_by_the_stop_goes_on(self) -> None:
        """What has begun to go back goes back before the process ends."""
        small = Small((SAVED, A))
        small.world.on = {"do a": [Failure("no")], "undo a": [Stopped("told to stop")]}
        outcome = small.begin()
        assert isinstance(outcome, RolledBack)
        assert small.world.log[-2:] == ["undo a", "undo a"]


class TestKept:
    """Failures that do not undo."""

    def test_later_keeps_everything_and_tries_again(self) -> None:
        """A certificate the CA has issued is not thrown away for a full disk."""
        small = Small((A, B))
        small.world.on["do b"] = [Later("the disk is full")]
        assert small.begin() == Parked(NOW + RETRY, "b: the disk is full", failed=True)
        assert small.world.there == ["a"]
        assert isinstance(small.resume(), Finished)
        assert "undo" not in " ".join(small.world.log)

    def test_later_is_tried_for_ever(self) -> None:
        """A step that ended by itself was not cut off, however often."""
        small = Small((A,))
        small.world.on["do a"] = [Later("full")] * (MAX_INTERRUPTIONS + 2)
        small.begin()
        for _ in range(MAX_INTERRUPTIONS + 1):
            assert isinstance(small.resume(), Parked)
        assert isinstance(small.resume(), Finished)

    def test_after_a_forward_only_savepoint_a_failure_parks_and_is_tried_again(self) -> None:
        """There is nothing to go back to."""
        small = Small((A, FORWARD, B))
        small.world.on["do b"] = [Failure("no"), ValueError("a defect")]
        assert small.begin() == Parked(NOW + RETRY, "b: no", failed=True)
        parked = small.resume()
        assert isinstance(parked, Parked)
        assert "unexpected ValueError" in parked.why
        assert isinstance(small.resume(), Finished)
        assert "undo" not in " ".join(small.world.log)

    def test_a_wait_parks_and_goes_on_at_its_time(self) -> None:
        """A CA that validates for hours occupies no process."""
        small = Small((A, B))
        small.world.on["do a"] = [Wait(NOW + HOUR, "validating")]
        parked = Parked(NOW + HOUR, "validating")
        assert small.begin() == parked
        assert small.told[-1] == "waiting a"
        small.clock.advance(HOUR - timedelta(seconds=1))
        assert small.resume() == parked
        assert small.world.log == ["do a"]
        small.clock.advance(timedelta(seconds=1))
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["do a", "do a", "do b"]  # without a look: it was not cut off


class TestStopping:
    """The process is told to stop."""

    def test_before_anything_must_be_whole_it_parks(self) -> None:
        """An order goes on at the next start."""
        small = Small((A, SAVED, B), told_to_stop=True)
        assert small.begin() == Parked(NOW, "the process was told to stop")
        assert small.world.log == []
        small.told_to_stop = False
        assert isinstance(small.resume(), Finished)

    def test_between_two_steps_before_the_savepoint_it_parks(self) -> None:
        """Nothing of what was done is undone."""
        small = Small((A, B, SAVED, C))
        small.world.on["do a"] = [lambda _world: setattr(small, "told_to_stop", True)]
        assert isinstance(small.begin(), Parked)
        assert (small.world.there, small.told[-1]) == (["a"], "paused b")

    def test_after_a_savepoint_that_says_so_what_is_begun_is_undone(self) -> None:
        """Services are not left with files nobody has proven."""
        small = Small((A, SAVED, B, C))
        small.world.on["do b"] = [lambda _world: setattr(small, "told_to_stop", True)]
        outcome = small.begin()
        assert isinstance(outcome, RolledBack)
        assert (outcome.to, outcome.because) == ("saved", "the process was told to stop")
        assert outcome.stopped
        assert small.history()[-1]["failures"] == 0
        assert small.world.there == ["a"]

    def test_after_such_a_savepoint_with_nothing_begun_it_parks(self) -> None:
        """There is nothing half-way."""
        small = Small((A, SAVED, B))
        small.world.on["do a"] = [lambda _world: setattr(small, "told_to_stop", True)]
        small.begin()
        assert small.kinds() == "begin try0 done0"
        small.told_to_stop = False
        small.world.fate.faults = {"journal: try": BEFORE}
        with pytest.raises(Crash):
            small.resume()
        small.world.fate.faults = {}
        small.told_to_stop = True
        assert isinstance(small.resume(), Parked)
        assert small.world.there == ["a"]

    def test_what_is_committed_is_not_undone(self) -> None:
        """A stop after forward_only only waits."""
        small = Small((A, FORWARD, B, C))
        small.world.on["do b"] = [lambda _world: setattr(small, "told_to_stop", True)]
        assert isinstance(small.begin(), Parked)
        assert small.world.there == ["a", "b"]

    @pytest.mark.parametrize(("plan", "expected"), [((A, B), Parked), ((SAVED, A, B), RolledBack)])
    def test_a_step_that_is_woken_ends_as_the_savepoint_says(
        self, plan: Plan[World], expected: type
    ) -> None:
        """A step that waits for something raises Stopped."""
        small = Small(plan)
        small.world.on["do b"] = [Stopped("woken")]
        assert isinstance(small.begin(), expected)
        assert small.world.there == (["a"] if expected is Parked else [])
        if expected is Parked:
            assert small.kinds().endswith("try1 paused1")
            assert isinstance(small.resume(), Finished)

    def test_a_way_back_is_gone_to_its_end(self) -> None:
        """Being told to stop is no reason to stay half-way."""
        small = Small((SAVED, A, B))
        small.world.on["do b"] = [Failure("no")]
        small.world.on["undo b"] = [lambda _world: setattr(small, "told_to_stop", True)]
        outcome = small.begin()
        assert isinstance(outcome, RolledBack)
        assert outcome.because == "no"

    def test_a_stop_does_not_forgive_what_a_crash_cut_off(self) -> None:
        """Or a step that kills its process would never be given up by a service that restarts."""
        small = Small((A,))
        cut_off(small, "put a", times=MAX_INTERRUPTIONS - 1)
        small.told_to_stop = True
        assert isinstance(small.resume(), Parked)
        small.told_to_stop = False
        cut_off(small, "put a", times=1)
        assert isinstance(small.resume(), RolledBack)


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
        assert outcome.because == "the process ended in the middle of it 3 times"
        assert (outcome.step, outcome.retry_after) == ("b", None)
        assert small.world.there == ["a"]

    def test_two_cut_offs_do_not(self) -> None:
        """The control of the test above."""
        small = Small((A, SAVED, B))
        cut_off(small, "do b", times=MAX_INTERRUPTIONS - 1)
        assert isinstance(small.resume(), Finished)

    def test_what_cannot_go_back_is_parked_instead_of_given_up(self) -> None:
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
            small.world.on["do a"] = [Wait(NOW, "wait")]
            small.begin()
            small.engine().journal.append(record, sync=True)
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
        small.engine().journal.append({**begin, "plan": plan}, sync=True)
        with pytest.raises(NeedsOperator, match="cannot be understood"):
            small.resume()


class TestBehindTheBack:
    """Somebody changed something while no process ran."""

    def parked(self, plan: Plan[World], at: str) -> Small:
        """A rotation that waits in one step."""
        small = Small(plan)
        small.world.on[f"do {at}"] = [Wait(NOW, "wait")]
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

    def test_what_is_as_the_journal_says_is_left_alone(self) -> None:
        """The control of the test above."""
        small = self.parked((A, SAVED, B, C, D), "d")
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look b", "look c", "do d"]  # what was saved is not looked at

    def test_what_cannot_be_seen_is_believed(self) -> None:
        """A reload leaves nothing to look at."""
        small = self.parked((A, TELL, C), "c")
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look a", "do c"]

    def test_what_was_built_on_it_is_undone_with_it_when_it_cannot_be_done_again(self) -> None:
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
    def test_without_a_look_it_goes_back_where_it_must_not_stay_half_way(
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

    def test_on_the_way_back_nobody_looks(self) -> None:
        """An undo restores whatever it meets."""
        small = Small((SAVED, A, B))
        small.world.on = {"do b": [Failure("no")], "undo a": [Failure("stuck")]}
        assert isinstance(small.begin(), Stuck)
        small.world.log.clear()
        assert isinstance(small.resume(), RolledBack)
        assert small.world.log == ["undo a"]


class TestBrokenJournal:
    """The journal cannot be written."""

    def test_what_was_done_since_the_savepoint_is_put_back(self) -> None:
        """Nothing may be in use that nobody remembers."""
        small = Small((A, SAVED, B, C))
        small.world.on["do b"] = [lambda world: world.fate.faults.update({"journal: try": TEAR})]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.there == ["a"]
        assert small.told[-2:] == ["undoing b", "undone b"]
        small.world.fate.faults.clear()
        small.world.log.clear()
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["look b", "do b", "do c"]

    def test_before_the_savepoint_what_was_staged_is_kept(self) -> None:
        """Nothing of it is in use."""
        small = Small((A, B, SAVED, C))
        small.world.on["do a"] = [lambda world: world.fate.faults.update({"journal: try": REFUSED})]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.there == ["a"]
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_what_cannot_be_put_back_is_told_and_left_to_the_next_start(self) -> None:
        """Two faults at once: the second is said, the first is raised."""
        small = Small((SAVED, A, B, C))
        small.world.on["do b"] = [lambda world: world.fate.faults.update({"journal: try": REFUSED})]
        small.world.on["undo b"] = [Failure("cannot")]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.told[-2:] == ["undoing b", "stuck b"]
        assert small.world.there == ["a", "b"]  # and not a without b
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_a_defect_in_putting_back_does_not_hide_the_broken_journal(self) -> None:
        """The caller is told of the disk, not of what came of it."""
        small = Small((SAVED, A, B))
        small.world.on["do a"] = [lambda world: world.fate.faults.update({"journal: try": REFUSED})]
        small.world.on["undo a"] = [KeyError("x")]
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.told[-1] == "stuck a"

    def test_a_journal_that_cannot_be_read_either_is_told(self) -> None:
        """Without it nobody knows what to put back."""
        small = Small((SAVED, A, B))
        engine = small.engine()

        def broken() -> None:
            def records() -> list[dict[str, object]]:
                raise DiskTrouble("read the journal", OSError(5, "I/O error"))

            engine.journal.records = records  # type: ignore[method-assign]
            small.world.fate.faults["journal: try"] = REFUSED

        small.world.on["do a"] = [lambda _world: broken()]
        with pytest.raises(JournalBroken):
            engine.begin("r1", "web", "why", small.plan)
        assert (small.told[-1], small.world.there) == ("stuck", ["a"])
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)

    def test_a_note_that_cannot_be_written_ends_the_act(self) -> None:
        """What a step cannot remember it must not do; and it is no failure of the step."""

        class Noting(Put):
            def do(self, world: World, ledger: Ledger) -> Done:
                ledger.note(previous="x")
                world.log.append("acted")
                return Done()

        small = Small((SAVED, Noting("a")))
        small.world.fate.faults["journal: note"] = REFUSED
        engine = small.engine()
        engine.rebuild = lambda _kind, intent: Noting(str(intent["name"]))
        with pytest.raises(JournalBroken):
            engine.begin("r1", "web", "why", small.plan)
        assert small.world.log == ["undo a"]
        assert small.kinds() == "begin reached0 try1"

    def test_an_undo_whose_note_cannot_be_written_is_not_called_stuck(self) -> None:
        """The journal is what failed."""

        class Noting(Put):
            def undo(self, world: World, ledger: Ledger) -> None:
                if world.fate.faults:
                    ledger.note(undoing=True)
                super().undo(world, ledger)

        small = Small((SAVED, A))
        small.world.on["do a"] = [Failure("no")]
        small.world.fate.faults["journal: note"] = REFUSED
        engine = small.engine()
        engine.rebuild = lambda _kind, intent: Noting(str(intent["name"]))
        with pytest.raises(JournalBroken):
            engine.begin("r1", "web", "why", small.plan)
        assert "stuck" not in small.kinds()
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), RolledBack)

    def test_a_rotation_whose_end_is_written_is_not_put_back(self) -> None:
        """The next start reads that it finished, and so it must have."""
        small = Small((SAVED, A))
        small.world.fate.faults["journal: end"] = BELIED
        with pytest.raises(JournalBroken):
            small.begin()
        assert small.world.there == ["a"]
        small.world.fate.faults.clear()
        assert isinstance(small.resume(), Finished)
        assert small.world.there == ["a"]

    def test_a_history_that_cannot_be_written_leaves_the_rotation_to_be_closed(self) -> None:
        """Everything is done; only the line about it is missing."""
        small = Small((SAVED, A))
        small.world.fate.faults["journal: add to the history"] = REFUSED
        with pytest.raises(DiskTrouble, match="history"):
            small.begin()
        small.world.fate.faults.clear()
        small.world.log.clear()
        assert isinstance(small.resume(), Finished)
        assert (small.world.log, len(small.history())) == ([], 1)

    def test_a_begin_record_that_cannot_be_written_begins_nothing(self) -> None:
        """No act without an intent."""
        small = Small((A,))
        small.world.fate.faults["journal: begin"] = TEAR
        with pytest.raises(JournalBroken):
            small.begin()
        assert (small.world.log, small.engine().in_flight()) == ([], None)

    def test_a_file_that_takes_no_begin_record_begins_nothing_either(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a file it is written together with the first intent, and there is nothing without."""
        small = Small((A, SAVED, B))
        engine = small.engine()
        engine.journal = FileJournal(tmp_path, "web")

        def full(*_: object) -> int:
            return 0

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(JournalBroken, match="No space left"):
            engine.begin("r1", "web", "why", small.plan)
        monkeypatch.undo()
        assert (small.world.log, engine.in_flight()) == ([], None)
        assert isinstance(engine.begin("r2", "web", "why", small.plan), Finished)
        assert small.world.log == ["do a", "do b"]


PLANS: Mapping[str, tuple[Plan[World], str | None]] = {
    "forward": ((A, SAVED, B, TELL, FORWARD, D), None),
    "back": ((A, SAVED, B, TELL, D), "do d"),
    "back to the beginning": ((A, TELL, C), "do c"),
    "ends after a savepoint": ((A, SAVED, B), None),
}


def rotate(plan: str, faults: Mapping[int | str, str], *, cut: bool = False) -> Small:
    """One rotation whose first processes meet ``faults``, until it is closed."""
    items, fails = PLANS[plan]
    small = Small(items)
    small.world.fate.faults = dict(faults)
    for _ in range(2 * len(faults) + 3):
        if fails:
            small.world.on[fails] = [Failure("no")] * 9
        try:
            small.resume() if small.engine().in_flight() else small.begin()
        except Crash:
            if cut:
                small.disk.cut()
        except DiskTrouble:
            pass  # the next process sees what came of it
        if small.history() and not small.disk.journal:
            return small
    raise AssertionError(f"not closed: {small.kinds()}")


def points(plan: str) -> list[str]:
    """Every point of an undisturbed rotation where something may go wrong."""
    return rotate(plan, {}).world.fate.points


def consistent(small: Small, plan: str) -> None:
    """All of it or, back at its savepoint, none."""
    items, fails = PLANS[plan]
    steps = [item.name for item in items if isinstance(item, Put)]
    (line,) = small.history()
    if not fails:
        assert (line["outcome"], small.world.there) == ("finished", steps)
        assert TELL not in items or small.world.told == ("a", "b")
    else:
        kept = ["a"] if SAVED in items else []
        assert (line["outcome"].split()[0], small.world.there) == ("rolled", kept)
        assert line["failed_step"] == steps[-1]


@pytest.mark.parametrize("cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("plan", PLANS)
def test_wherever_its_process_ends_a_rotation_is_whole_in_the_end(plan: str, cut: bool) -> None:
    """The promise: before, after and in the middle of every record and every act, twice over."""
    size = len(points(plan))
    crashes = [BEFORE, TORN, AFTER]
    for at, fault in itertools.product(range(size), crashes):
        consistent(rotate(plan, {at: fault}, cut=cut), plan)
        for later in range(at + 1, at + 9):
            consistent(rotate(plan, {at: fault, later: AFTER}, cut=cut), plan)


@pytest.mark.parametrize("plan", PLANS)
def test_wherever_its_journal_breaks_a_rotation_is_whole_in_the_end(plan: str) -> None:
    """Full, torn, or written and said not to be; and then the process may end as well."""
    writes = [at for at, what in enumerate(points(plan)) if what.startswith("journal: ")]
    for at, fault in itertools.product(writes, [REFUSED, TEAR, BELIED]):
        consistent(rotate(plan, {at: fault}), plan)
        for later in range(at + 1, at + 9):
            consistent(rotate(plan, {at: fault, later: AFTER}), plan)


def cut_off(small: Small, at: str, *, times: int = 1, fault: str = BEFORE) -> None:
    """So many processes that end ``at`` a point."""
    small.world.fate = Fate({at: fault})
    for _ in range(times):
        with pytest.raises(Crash):
            small.resume() if small.engine().in_flight() else small.begin()
    small.world.fate = Fate()
