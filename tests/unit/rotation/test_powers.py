"""Checkpoints of long steps, waits that leave no trace, and rotations that are cancelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.rotation import journaled_rotation
from certrotd.rotation.engine import Finished, Parked, RolledBack
from certrotd.rotation.flight import flight_of, progress_words
from certrotd.rotation.ledger import JournalLedger
from certrotd.rotation.recovery import compacted, read_progress
from certrotd.rotation.step import Checkpoint, Done, NotYet
from certrotd.state.records import Unrecordable
from tests.unit.rotation.small import (
    AFTER,
    AWAIT,
    BEFORE,
    COUNT,
    FORWARD,
    NOW,
    SAVED,
    A,
    B,
    Count,
    Crash,
    Fate,
    Small,
    cut_off,
)

HOUR = timedelta(hours=1)


class TestCheckpoints:
    def test_a_step_of_many_checkpoints_survives_five_kills(self) -> None:
        """Three kills at one place give a step up; one that came further each time goes on."""
        small = Small((A, SAVED, Count(10), B))
        for number in range(1, 6):
            cut_off(small, f"count {number}", fault=AFTER)
        assert isinstance(small.resume(), Finished)
        assert (small.world.counted, small.world.there) == (set(range(10)), ["a", "b"])

    def test_a_step_that_is_killed_at_one_place_again_and_again_is_given_up(self) -> None:
        """The control: a checkpoint that is not reached clears nothing."""
        small = Small((A, SAVED, Count(10), B))
        cut_off(small, "count 4", times=4)  # before the first of them it came as far as 4
        assert isinstance(small.resume(), RolledBack)
        assert (small.world.counted, small.world.there) == (set(), ["a"])

    def test_a_step_goes_on_from_its_last_checkpoint(self) -> None:
        """An hour of work is not done twice."""
        small = Small((Count(5),))
        cut_off(small, "count 3")
        small.world.log.clear()
        small.resume()
        assert small.world.log == ["count 3", "count 4"]

    def test_a_listing_shows_how_far_a_step_is_how_fast_and_how_long_it_takes(self) -> None:
        """Whoever waits for it wants to know until when; the time it was down does not count."""
        small = Small((Count(10),))
        small.clock.sleep(1)
        small.world.on = {f"count {n}": [lambda _: small.clock.sleep(2)] * 2 for n in range(10)}
        cut_off(small, "count 3")
        small.clock.sleep(1000)
        cut_off(small, "count 6")
        checkpoint = flight_of(small.records()).checkpoint
        assert checkpoint is not None
        assert (checkpoint.done, checkpoint.total, checkpoint.rate) == (6, 10, 0.5)
        assert checkpoint.left == timedelta(seconds=8)
        shown = str(flight_of(small.records()))
        assert "6 of 10 (60 %), 0.5/s, 8 s left" in shown

    def test_a_time_longer_than_the_calendar_is_left_out(self) -> None:
        """A step that has hardly begun must not end the listing of all others."""
        now = datetime(2026, 6, 1, tzinfo=UTC)
        slow = Checkpoint({}, 1, 10**15, now + timedelta(hours=1), 0, now)
        assert slow.left is None
        assert progress_words(slow).endswith(", 0.0/s")

    def test_a_checkpoint_that_is_too_large_is_refused(self) -> None:
        """It is read at every look at the journal."""
        written: list[object] = []
        ledger = JournalLedger("r1", 0, dict, lambda: None, written.append, lambda: NOW)
        with pytest.raises(Unrecordable):
            ledger.checkpoint({"rows": "x" * 20_000}, done=1, total=None)
        assert not written

    def test_a_journal_does_not_grow_with_the_checkpoints(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The latest takes the place of those before."""
        monkeypatch.setattr(journaled_rotation, "COMPACT_AFTER", 5)
        small = Small((A, Count(23), B))
        small.world.on["do b"] = [NotYet(NOW + HOUR, "waits")]
        small.begin()
        assert small.kinds() == (
            "begin try0 done0 try1 checkpoint1 checkpoint1 checkpoint1 checkpoint1 done1 try2 wait2"
        )
        small.clock.advance(HOUR)
        assert isinstance(small.resume(), Finished)

    @pytest.mark.parametrize("fault", [BEFORE, AFTER, "it fails"])
    def test_a_journal_that_cannot_be_shortened_goes_on_as_it_is(
        self, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk may have room for a record and none for a copy of all."""
        monkeypatch.setattr(journaled_rotation, "COMPACT_AFTER", 2)
        small = Small((A, Count(5), B))
        small.world.fate = Fate({"journal: replace": fault})
        if fault == "it fails":
            assert isinstance(small.begin(), Finished)
        else:
            with pytest.raises(Crash):
                small.begin()
            small.world.fate = Fate()
            assert isinstance(small.resume(), Finished)
        assert small.world.counted == set(range(5))

    @given(st.lists(st.sampled_from(["try", "checkpoint", "note", "paused"]), max_size=30))
    def test_a_shortened_journal_says_the_same(self, kinds: list[str]) -> None:
        """Whatever comes between the checkpoints."""
        at = NOW.isoformat()
        more: dict[str, dict[str, object]] = {
            "checkpoint": {"kept": {}, "total": None, "first": 0, "began": at, "at": at},
            "note": {"facts": {}},
        }
        records = [
            {"t": kind, "i": 0, "done": number, **more.get(kind, {})}
            for number, kind in enumerate(kinds)
        ]
        assert read_progress(compacted(records), 1) == read_progress(records, 1)


class TestWaits:
    @pytest.fixture
    def small(self) -> Small:
        """A rotation that waits for an acknowledgement."""
        small = Small((A, SAVED, AWAIT, B))
        small.world.now = small.clock.now
        assert isinstance(small.begin(), Parked)
        return small

    def test_a_week_of_waiting_leaves_no_records(self, small: Small) -> None:
        """And each look says until when, and why."""
        before = small.kinds()
        for _ in range(7 * 24):
            small.clock.advance(HOUR)
            waits = small.engine().waits()
            assert waits == Parked(small.clock.now() + HOUR, "waits for an acknowledgement")
        assert small.kinds() == before
        small.world.acknowledged = True
        assert small.engine().waits() is None
        assert isinstance(small.resume(), Finished)

    def test_an_acknowledgement_ends_the_wait_before_its_time(self, small: Small) -> None:
        """Nobody waits for the hour to pass."""
        small.world.acknowledged = True
        assert isinstance(small.resume(), Parked)  # the control: nobody has looked
        engine = small.engine()
        assert engine.waits() is None
        assert isinstance(engine.resume(), Finished)

    def test_a_changed_reason_to_wait_is_recorded(self, small: Small) -> None:
        """A listing of another process shows it."""
        small.clock.advance(HOUR)
        other = NotYet(small.clock.now() + HOUR, "waits for the second of two")
        with mock.patch.object(type(AWAIT), "poll", return_value=other):
            assert small.engine().waits() == Parked(other.until, other.why)
            assert small.engine().waits() == Parked(other.until, other.why)
        assert small.kinds().endswith("wait2 wait2")
        assert flight_of(small.records()).why == other.why

    def test_a_failed_look_is_reported_and_leaves_no_records(self, small: Small) -> None:
        """It is tried again in a minute."""
        before = small.kinds()
        small.world.on["poll"] = [Failure("no answer")]
        waits = small.engine().waits()
        assert waits is not None
        assert (waits.failed, waits.why) == (True, "no answer")
        assert small.kinds() == before

    def test_a_wait_is_over_when_what_came_before_it_is_lost(self, small: Small) -> None:
        """Then there is something to do."""
        small.world.counted.clear()
        small.world.there.clear()
        small.plan = (A, AWAIT)
        again = Small((A, AWAIT))
        again.world.now = again.clock.now
        again.begin()
        again.world.there.clear()
        assert again.engine().waits() is None

    def test_a_step_that_cannot_look_is_asked_at_its_time(self) -> None:
        """The control: only who can look without a trace is looked at."""
        small = Small((A,))
        small.world.on["do a"] = [NotYet(NOW + HOUR, "waits"), Done()]
        small.begin()
        assert small.engine().waits() is None
        small.clock.advance(HOUR)
        assert isinstance(small.resume(), Finished)


class TestCancelling:
    def test_a_rotation_is_cancelled_back_to_its_last_savepoint(self) -> None:
        """What was in use before is in use again."""
        small = Small((A, SAVED, B, AWAIT))
        small.begin()
        outcome = small.engine().cancel()
        assert isinstance(outcome, RolledBack)
        assert (outcome.to, outcome.because) == ("saved", "cancelled by hand")
        assert small.world.there == ["a"]
        assert small.records() == []

    def test_a_committed_rotation_is_not_cancelled(self) -> None:
        """It says why, and goes on as before."""
        small = Small((A, FORWARD, AWAIT))
        small.begin()
        before = small.kinds()
        with pytest.raises(NeedsOperator, match="'forward'"):
            small.engine().cancel()
        assert small.kinds() == before

    def test_a_rotation_that_is_being_undone_goes_on_being_undone(self) -> None:
        """Cancelling it is finishing that."""
        small = Small((A, SAVED, B, COUNT))
        small.world.on = {"count 1": [Transient("no")], "undo b": [Failure("not now")]}
        small.begin()
        outcome = small.engine().cancel()
        assert isinstance(outcome, RolledBack)
        assert outcome.because == "no"

    def test_a_rotation_that_was_all_done_is_closed_as_done(self) -> None:
        """A kill came before its last record."""
        small = Small((A,))
        cut_off(small, "journal: end", fault=AFTER)
        assert isinstance(small.engine().cancel(), Finished)
