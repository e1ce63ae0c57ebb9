"""The engine over tiny steps: forward, back, parked, stopped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.rotation.engine import RETRY, Finished, Parked, RolledBack, Stopped, Stuck, titles
from certrotd.rotation.recovery import MAX_INTERRUPTIONS
from certrotd.rotation.step import Done, Later, Ledger, NotYet, Plan
from tests.unit.rotation.small import (
    BEFORE,
    FORWARD,
    NOW,
    SAVED,
    A,
    B,
    C,
    Crash,
    Put,
    Small,
    World,
    cut_off,
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
        assert (line["id"], line["subject"], line["why"]) == ("r1", "web", "it is due")
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
        assert (first.rotation, first.subject, first.detail) == ("r1", "web", "it is due")
        assert [event.index for event in small.events] == [-1, 0, 0, 1, 2, 2, -1]
        assert {event.size for event in small.events} == {3}

    def test_the_listener_hears_of_undos_too(self) -> None:
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
        small.rebuild = lambda _kind, intent: Noting(str(intent["name"]))
        outcome = small.begin()
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
        small.world.on["do a"] = [NotYet(NOW + HOUR, "not yet")]
        assert small.engine().in_flight() is None
        small.begin()
        assert (small.engine().in_flight() or {})["id"] == "r1"
        with pytest.raises(AssertionError, match="in flight"):
            small.begin()

    def test_a_plan_lists_the_titles_of_its_steps(self) -> None:
        """For --dry-run."""
        assert list(titles((A, SAVED, B))) == ["a", "saved", "b"]


class TestBackward:
    """A step fails."""

    def test_all_steps_since_the_beginning_are_undone_in_reverse(self) -> None:
        """The failed step too, for it may have done half."""
        small = Small((A, B, C))
        small.world.on["do c"] = [Transient("the CA is down", retry_after=HOUR)]
        outcome = small.begin()
        assert outcome == RolledBack("", "c", "the CA is down", 3600.0, {"a": "done", "b": "done"})
        assert small.world.log[3:] == ["undo c", "undo b", "undo a"]
        assert small.world.there == []
        (line,) = small.history()
        assert line["outcome"] == "nothing was changed"
        assert (line["failed_step"], line["failure"]) == ("c", "the CA is down")
        assert (line["retry_after"], line["failures"]) == (3600.0, 1)

    def test_steps_before_the_savepoint_are_not_undone(self) -> None:
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

    def test_an_undo_that_is_woken_by_the_stop_continues(self) -> None:
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

    def test_later_is_not_tried_before_it_was_asked_to_be(self) -> None:
        """A CA that named a time is left alone until then, and it is said to have failed once."""
        small = Small((A, B))
        small.world.on["do b"] = [Later("too many requests", retry_after=HOUR)]
        until = NOW + HOUR
        assert small.begin() == Parked(until, "b: too many requests", failed=True)
        assert small.resume() == Parked(until, "b: too many requests", failed=False)
        assert small.world.log == ["do a", "do b", "look a"]
        small.clock.advance(HOUR)
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
        small.world.on["do a"] = [NotYet(NOW + HOUR, "validating")]
        parked = Parked(NOW + HOUR, "validating")
        assert small.begin() == parked
        assert small.told[-1] == "waiting a"
        small.clock.advance(HOUR - timedelta(seconds=1))
        assert small.resume() == parked
        assert small.world.log == ["do a"]
        small.clock.advance(timedelta(seconds=1))
        assert isinstance(small.resume(), Finished)
        assert small.world.log == ["do a", "do a", "do b"]  # without a look: it was not cut off

    def test_a_wait_is_over_when_the_clock_is_set_back(self) -> None:
        """It was reckoned by a clock that was wrong: years may lie between then and now."""
        small = Small((A, B))
        small.world.on["do a"] = [NotYet(NOW + HOUR, "validating")]
        small.begin()
        small.clock.jump(-timedelta(days=900))
        assert isinstance(small.resume(), Finished)

    def test_the_wait_of_a_failed_step_is_kept_too(self) -> None:
        """Its Retry-After was counted from a moment that has not come yet."""
        small = Small((A,))
        small.world.on["do a"] = [Later("busy", retry_after=HOUR)]
        assert small.begin() == Parked(NOW + HOUR, "a: busy", failed=True)
        assert isinstance(small.resume(), Parked)
        small.clock.jump(-timedelta(days=900))
        assert isinstance(small.resume(), Finished)


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

    def test_what_is_begun_is_left_to_another_process_that_goes_on(self) -> None:
        """Between two steps, and in the middle of one that waits; an undo is ended all the same."""
        small = Small((A, SAVED, B, C), hands_over=True)
        small.world.on["do b"] = [lambda _world: setattr(small, "told_to_stop", True)]
        small.world.on["do c"] = [Stopped("woken")]
        for _ in range(2):
            assert isinstance(small.begin() if not small.records() else small.resume(), Parked)
            assert small.world.there == ["a", "b"]
            small.told_to_stop = False
        assert isinstance(small.resume(), Finished)
        assert small.world.there == ["a", "b", "c"]
        assert small.history()[-1]["failures"] == 0

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

    def test_a_committed_step_is_not_undone(self) -> None:
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

    def test_an_undo_continues_to_its_end(self) -> None:
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
