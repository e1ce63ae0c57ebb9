"""Where a rotation stands and what comes next, as functions of its journal."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.rotation.recovery import (
    MAX_INTERRUPTIONS,
    Act,
    Close,
    GiveUp,
    Move,
    Park,
    Progress,
    Reach,
    Status,
    Undo,
    apply,
    next_move,
    read_progress,
    to_look_at,
)
from certrotd.rotation.step import Savepoint

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=7)

# first, second, ─ held ─, third, fourth, ─ over ─, fifth
SAVEPOINTS = {2: Savepoint("held", stop_undoes=True), 5: Savepoint("over", forward_only=True)}
SIZE = 7


def after(*records: Mapping[str, Any]) -> Progress:
    """How far a plan of seven items has come."""
    return read_progress(records, SIZE)


def move(*records: Mapping[str, Any], now: datetime = NOW) -> Move:
    """What comes next."""
    return next_move(after(*records), SAVEPOINTS, now=now)


def tried(index: int) -> dict[str, Any]:
    """A step is begun."""
    return {"t": "try", "i": index}


def done(index: int, **facts: Any) -> list[dict[str, Any]]:
    """A step is done."""
    return [tried(index), {"t": "done", "i": index, "facts": facts}]


def reached(index: int) -> dict[str, Any]:
    """A savepoint holds."""
    return {"t": "reached", "i": index}


def failed(index: int, why: str = "refused") -> dict[str, Any]:
    """A step could not be done."""
    return {"t": "failed", "i": index, "why": why, "at": "then", "retry_after": 60.0}


def undone(index: int) -> dict[str, Any]:
    """A step is no longer in effect."""
    return {"t": "undone", "i": index}


HELD = [*done(0), *done(1), reached(2)]
OVER = [*HELD, *done(3), *done(4), reached(5)]


class TestForwards:
    def test_a_fresh_rotation_begins_with_its_first_step(self) -> None:
        """Crash-only: an empty journal is read as any other."""
        assert move() == Act(0, look_first=False)

    def test_a_step_that_was_cut_off_is_looked_at_before_it_is_done_again(self) -> None:
        """The crash may have come after the act."""
        assert move(tried(0)) == Act(0, look_first=True)

    def test_a_done_step_is_not_done_again(self) -> None:
        """The journal is believed for what it says is done."""
        assert move(*done(0)) == Act(1, look_first=False)

    def test_a_savepoint_is_reached_when_all_before_it_is_done(self) -> None:
        """From then on an undo comes back only as far as here."""
        assert move(*done(0), *done(1)) == Reach(2)
        assert after(*HELD).saved == 2

    def test_the_end_of_the_plan_closes_the_rotation_as_finished(self) -> None:
        """There is nothing else to do."""
        assert move(*OVER, *done(6)) == Close(finished=True)

    def test_an_empty_plan_is_finished(self) -> None:
        """Nothing to do is soon done."""
        assert next_move(read_progress([], 0), {}, now=NOW) == Close(finished=True)

    def test_facts_add_up_and_later_ones_win(self) -> None:
        """A step is told of everything noted before it."""
        begin = {"left": 1}
        records = [*done(0, url="a", left=2), {"t": "note", "i": 1, "facts": {"url": "b"}}]
        assert read_progress(records, SIZE, begin).facts == {"left": 2, "url": "b"}
        assert begin == {"left": 1}

    def test_the_end_is_remembered(self) -> None:
        """A crash may come between the last record and the removal of the journal."""
        assert after({"t": "end", "outcome": "finished"}).outcome == "finished"


class TestWaiting:
    WAIT = (tried(0), {"t": "wait", "i": 0, "until": LATER.isoformat(), "why": "grace"})

    def test_a_step_that_waits_parks_the_rotation_until_then(self) -> None:
        """Grace periods last for days; no process waits for them."""
        assert move(*self.WAIT) == Park(LATER, "grace")

    def test_a_wait_that_is_over_continues_without_a_look(self) -> None:
        """It was not cut off, so there is nothing unknown about it."""
        assert move(*self.WAIT, now=LATER) == Act(0, look_first=False)

    def test_a_step_that_was_lost_no_longer_waits(self) -> None:
        """Somebody undid it: its grace period begins again."""
        assert move(*self.WAIT, {"t": "lost", "i": 0}) == Act(0, look_first=False)

    def test_a_failure_ends_the_wait(self) -> None:
        """Going back has no grace."""
        assert move(*self.WAIT, failed(0)) == Undo(0)

    def test_waits_are_not_interruptions(self) -> None:
        """A rotation may be parked as often as it likes."""
        assert move(*(self.WAIT * (MAX_INTERRUPTIONS + 1))) == Park(LATER, "grace")


class TestInterruptions:
    def test_a_step_that_killed_its_process_three_times_is_given_up(self) -> None:
        """A rotation that ends its process must not do so for ever."""
        given_up = move(*[tried(0)] * MAX_INTERRUPTIONS)
        assert isinstance(given_up, GiveUp)
        assert given_up.index == 0
        assert "3 times" in given_up.why

    def test_twice_is_not_enough(self) -> None:
        """The negative control: a host may well be rebooted twice."""
        assert move(*[tried(0)] * (MAX_INTERRUPTIONS - 1)) == Act(0, look_first=True)

    @pytest.mark.parametrize("between", [{"t": "paused", "i": 0}, {"t": "lost", "i": 0}])
    def test_a_try_that_ended_by_itself_does_not_count(self, between: dict[str, Any]) -> None:
        """Being told to stop is no crash."""
        tries = [tried(0), between] * MAX_INTERRUPTIONS
        assert isinstance(move(*tries), Act)

    @pytest.mark.parametrize("times", [MAX_INTERRUPTIONS, 2 * MAX_INTERRUPTIONS, 100])
    def test_a_harmless_step_is_tried_as_often_as_it_is_cut_off(self, times: int) -> None:
        """It is somebody else that ends the process, and an issued certificate waits for it."""
        progress = after(*[tried(0)] * times)
        assert next_move(progress, SAVEPOINTS, harmless={0}, now=NOW) == Act(0, look_first=True)
        assert isinstance(next_move(progress, SAVEPOINTS, harmless={1}, now=NOW), GiveUp)

    def test_steps_are_counted_apart(self) -> None:
        """Three reboots over a long rotation are nobody's fault."""
        assert move(tried(0), *done(0), tried(1), tried(1)) == Act(1, look_first=True)


class TestBackwards:
    def test_steps_tried_since_the_savepoint_are_undone_latest_first(self) -> None:
        """What was built on something goes before it."""
        records = [*HELD, *done(3), tried(4), failed(4)]
        assert move(*records) == Undo(4)
        assert move(*records, undone(4)) == Undo(3)
        assert move(*records, undone(4), undone(3)) == Close(False, "held", "refused")

    def test_without_a_savepoint_it_goes_back_to_the_beginning(self) -> None:
        """Nothing was promised yet."""
        assert move(*done(0), tried(1), failed(1), undone(1)) == Undo(0)
        assert move(tried(0), failed(0), undone(0)) == Close(False, "", "refused")

    def test_a_failed_undo_is_tried_again(self) -> None:
        """A stuck rotation stays in flight until it is back."""
        records = [*HELD, tried(3), failed(3), {"t": "stuck", "i": 3, "why": "no"}]
        assert move(*records) == Undo(3)

    def test_a_failure_keeps_its_reason_and_the_wait_asked_for(self) -> None:
        """The next attempt must not come before the CA wants it."""
        progress = after(tried(0), failed(0, "429"))
        assert progress.failed is not None
        assert (progress.failed.why, progress.failed.retry_after) == ("429", 60.0)


class TestLost:
    def test_steps_after_a_lost_step_are_lost_with_it(self) -> None:
        """A target told of files that somebody took back has to be told again."""
        records = [*HELD, *done(3), *done(4), {"t": "lost", "i": 3}]
        assert after(*records).items[3:5] == (Status.LOST, Status.LOST)
        assert move(*records) == Act(3, look_first=False)
        assert move(*records, *done(3)) == Act(4, look_first=False)

    def test_a_lost_step_is_undone_too(self) -> None:
        """Only a part of it may be gone."""
        records = [*HELD, *done(3), *done(4), {"t": "lost", "i": 3}, tried(3), failed(3)]
        assert move(*records) == Undo(4)

    def test_a_step_that_was_never_tried_is_not_lost(self) -> None:
        """The negative control: there is nothing of it to undo."""
        assert after(*HELD, *done(3), {"t": "lost", "i": 3}).items[4] is Status.UNTRIED

    def test_steps_before_a_lost_step_stay(self) -> None:
        """The negative control: only what follows depends on it."""
        assert after(*HELD, *done(3), {"t": "lost", "i": 3}).items[1] is Status.DONE

    def test_steps_done_since_the_savepoint_are_looked_at_again(self) -> None:
        """Between two processes somebody may have undone them."""
        assert to_look_at(after(*HELD, *done(3), tried(4)), list(SAVEPOINTS)) == [3]

    def test_behind_a_savepoint_nothing_is_looked_at(self) -> None:
        """What is committed is not begun anew."""
        assert to_look_at(after(*OVER), list(SAVEPOINTS)) == []

    def test_a_rotation_being_undone_looks_at_nothing(self) -> None:
        """It will be undone anyway."""
        assert to_look_at(after(*HELD, *done(3), tried(4), failed(4)), list(SAVEPOINTS)) == []


def test_a_record_of_an_unknown_kind_is_refused() -> None:
    """A journal of a newer version must not be half understood."""
    with pytest.raises(ValueError, match="unknown journal record 'dance'"):
        after({"t": "dance", "i": 0})


ANSWERS = ("done", "wait", "wait over", "crash", "stop", "fail", "later")


@st.composite
def journals(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What an engine may have written: it follows the moves, and anything comes of them."""
    records: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 30))):
        progress = after(*records)
        looked = to_look_at(progress, list(SAVEPOINTS))
        if draw(st.booleans()) and looked:
            records.append({"t": "lost", "i": draw(st.sampled_from(looked))})
            continue
        match next_move(progress, SAVEPOINTS, now=NOW):
            case Act(index, _):
                records += [tried(index), *_answer(index, draw(st.sampled_from(ANSWERS)))]
            case Reach(index):
                records.append(reached(index))
            case Undo(index):
                stuck = {"t": "stuck", "i": index, "why": "no"}
                records.append(draw(st.sampled_from([undone(index), stuck])))
            case GiveUp(index, why):
                records.append(failed(index, why))
            case Park() | Close():
                break
    return records


def _answer(index: int, answer: str) -> list[dict[str, Any]]:
    match answer:
        case "done":
            return done(index)[1:]
        case "wait" | "wait over":
            until = LATER if answer == "wait" else NOW
            return [{"t": "wait", "i": index, "until": until.isoformat(), "why": "grace"}]
        case "stop" | "later":
            return [{"t": "paused", "i": index}]
        case "fail":
            return [failed(index)]
        case _:
            return []


class TestWhateverTheEngineWrote:
    @given(journals())
    def test_every_journal_has_a_next_move(self, records: list[dict[str, Any]]) -> None:
        """Recovery has no path that ends in an exception."""
        assert move(*records)

    @given(journals())
    def test_a_harmless_step_is_never_given_up(self, records: list[dict[str, Any]]) -> None:
        """And for the rest it makes no difference."""
        progress, harmless = after(*records), range(SIZE)
        found = next_move(progress, SAVEPOINTS, harmless=harmless, now=NOW)
        match move(*records):
            case GiveUp(index, _):
                assert found == Act(index, look_first=True)
            case other:
                assert found == other

    @given(journals())
    def test_a_savepoint_is_never_left_again(self, records: list[dict[str, Any]]) -> None:
        """Monotone: what holds, holds."""
        progress, saved = after(), -1
        for record in records:
            progress = apply(progress, record)
            assert progress.saved >= saved
            saved = progress.saved

    @given(journals())
    def test_undoing_stays_behind_the_savepoint_and_goes_down(
        self, records: list[dict[str, Any]]
    ) -> None:
        """Each undo takes one step back, and none of what was saved."""
        progress = after(*records)
        if progress.failed is None:
            progress = replace(progress, failed=after(failed(0)).failed)
        last = SIZE
        while isinstance(step := next_move(progress, SAVEPOINTS, now=NOW), Undo):
            assert progress.saved < step.index < last
            last = step.index
            progress = apply(progress, undone(step.index))
        assert isinstance(step, Close)
        assert not step.finished

    @given(journals())
    def test_a_rotation_without_faults_finishes(self, records: list[dict[str, Any]]) -> None:
        """From anywhere, a bounded number of moves closes the rotation."""
        progress = after(*records)
        for _ in range(4 * SIZE):
            match next_move(progress, SAVEPOINTS, now=LATER):
                case Close():
                    return
                case Act(index, _):
                    for record in done(index):
                        progress = apply(progress, record)
                case Reach(index):
                    progress = apply(progress, reached(index))
                case Undo(index):
                    progress = apply(progress, undone(index))
                case GiveUp(index, why):
                    progress = apply(progress, failed(index, why))
                case parked:
                    pytest.fail(f"{parked} when the wait is over")
        pytest.fail("it goes on for ever")

    @given(journals())
    def test_steps_are_done_in_order(self, records: list[dict[str, Any]]) -> None:
        """Steps are done in order, whatever was lost in between."""
        progress = after(*records)
        acted = next_move(progress, SAVEPOINTS, now=LATER)
        if isinstance(acted, Act | Reach):
            before = progress.items[: acted.index]
            assert all(status is Status.DONE for status in before)
