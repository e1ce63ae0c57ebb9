"""What a journal says of a rotation in flight."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certrotd.rotation.flight import Flight, flight_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BEGIN: dict[str, Any] = {
    "t": "begin",
    "at": NOW.isoformat(),
    "plan": [{"kind": "obtain"}, {"savepoint": "issued"}, {"kind": "prove"}, {"kind": "prove"}],
}


def record(kind: str, index: int = 0, minute: int = 1, **more: Any) -> dict[str, Any]:
    """One record of the journal."""
    at = (NOW + timedelta(minutes=minute)).isoformat()
    return {"t": kind, "i": index, "at": at, **more}


def test_failed_attempts_are_counted_and_the_last_one_is_shown() -> None:
    """46 retries are another thing than one."""
    tries = [
        each
        for minute in range(46)
        for each in (record("try"), record("paused", minute=minute, why=f"obtain: no {minute}"))
    ]
    last = NOW + timedelta(minutes=45)
    assert flight_of([BEGIN, *tries]) == Flight("obtain", NOW, "no 45", None, 46, last)
    assert str(flight_of([BEGIN, *tries])) == (
        "obtain: no 45 (in flight since 2026-06-01 12:00Z, failed 46 times)"
    )
    again = flight_of([BEGIN, *tries, record("try")])
    assert (again.why, again.tries) == ("no 45", 46)  # until it is known how this one ends
    gone_on = flight_of([BEGIN, *tries, record("done"), record("reached", 1), record("try", 2)])
    assert gone_on == Flight("prove", NOW)


def test_a_wait_is_shown_with_its_end_and_is_no_failure_by_itself() -> None:
    """A CA that takes its time is not a fault of anybody."""
    until = (NOW + timedelta(hours=1)).isoformat()
    planned = flight_of([BEGIN, record("try"), record("wait", why="a day", until=until)])
    assert (planned.why, planned.until, planned.tries) == ("a day", NOW + timedelta(hours=1), 0)
    failed = record("wait", why="obtain: busy", until=until, failed=True)
    assert flight_of([BEGIN, record("try"), failed]).tries == 1


def test_a_failed_undo_is_shown_as_such() -> None:
    """Neither the old nor the new state may be in use."""
    records = [BEGIN, record("failed", 3, why="it serves the old one"), record("undone", 3)]
    going_back = flight_of(records)
    assert (going_back.step, going_back.undoing, going_back.why) == ("prove", True, "")
    stuck = [record("stuck", 2, why="exit code 1"), record("stuck", 2, minute=9, why="exit code 2")]
    flight = flight_of([*records, *stuck])
    assert (flight.tries, flight.at) == (2, NOW + timedelta(minutes=9))
    assert str(flight).startswith("undoing prove: exit code 2 (in flight since")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "in flight: it is running, or waits"),
        ([BEGIN], "in flight since 2026-06-01 12:00Z: it is running, or waits"),
        ([BEGIN, record("try")], "in flight since 2026-06-01 12:00Z: obtain is running, or"),
    ],
)
def test_a_rotation_that_says_nothing_is_under_way_or_was_cut_off(
    records: list[dict[str, Any]], words: str
) -> None:
    """The journal alone cannot tell one from the other."""
    assert str(flight_of(records)).startswith(words)


@pytest.mark.parametrize(
    "records",
    [
        [{"t": "begin"}],
        [{**BEGIN, "at": "yesterday"}],
        [{**BEGIN, "plan": [1]}],
        [BEGIN, record("try", 9)],
        [BEGIN, record("wait", until=None)],
    ],
)
def test_a_journal_of_another_version_is_in_flight_all_the_same(
    records: list[dict[str, Any]],
) -> None:
    """It is somebody's rotation, whoever can read it."""
    assert flight_of(records).why.startswith("its journal cannot be understood: ")
