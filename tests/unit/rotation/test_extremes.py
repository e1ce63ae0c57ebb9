"""Whatever a step answers or raises, the rotation ends, or waits with its reason in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certrotd.errors import Failure, Transient
from certrotd.rotation.engine import Finished, Outcome, Parked, RolledBack
from certrotd.rotation.step import Done, Later, NotYet
from certrotd.state.journal import FileJournal
from certrotd.state.records import Unrecordable, decode, encode
from tests.unit.rotation.small import FORWARD, NOW, A, B, Small

WAITS = [
    timedelta(0),
    timedelta(microseconds=1),
    timedelta(days=-1),
    timedelta(microseconds=-1),
    timedelta.min,
    timedelta.max,
    None,
]
MOMENTS = [
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    NOW,
    NOW + timedelta(microseconds=1),
]
WORDS = ["", "\x00", "\ud800", "é\u202e\U0001f512", "\n" * 5000, "x" * 100_000]


def nested(depth: int) -> list[Any]:
    """So many lists in each other."""
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def itself() -> dict[str, Any]:
    """A mapping that holds itself."""
    found: dict[str, Any] = {}
    found["self"] = found
    return found


NO_JSON = {
    "a span": timedelta(0),
    "a moment": NOW,
    "bytes": b"",
    "a set": set(),
    "a path": Path("x"),
    "no number": float("nan"),
    "no end": float("inf"),
    "a number too long": 10**5000,
    "too deep": nested(100_000),
    "itself": itself(),
    "keys of two kinds": {1: 1, "1": 1},
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def same(outcome: Outcome, small: Small) -> None:
    """What the engine says is what its journal or its history says too."""
    if isinstance(outcome, Parked):
        assert small.engine().in_flight() is not None
        return
    assert small.engine().in_flight() is None
    [line] = small.history()
    assert isinstance(outcome, Finished) == (line["failure"] is None)
    if isinstance(outcome, RolledBack):
        assert (line["failure"], line["retry_after"]) == (outcome.because, outcome.retry_after)


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("kind", [Transient, Later])
@pytest.mark.parametrize("before", [(), (FORWARD,)])
def test_a_failure_that_asks_for_an_odd_wait_is_closed_or_waits_with_its_reason(
    wait: timedelta | None, words: str, kind: type[Transient], before: tuple[Any, ...]
) -> None:
    """A CA's Retry-After of 0 left rotations in flight without a word."""
    small = Small((*before, A, B))
    small.world.on["do b"] = [kind(words, retry_after=wait)]
    outcome = small.begin()
    same(outcome, small)
    if isinstance(outcome, Parked):
        assert outcome.until > NOW  # not asked again at once for ever
        small.clock.advance(timedelta(days=400))
        assert isinstance(small.resume(), Finished)
    else:
        assert isinstance(outcome, RolledBack)
        if wait is None:
            assert outcome.retry_after is None
        else:
            assert outcome.retry_after is not None
            assert 0 <= outcome.retry_after <= 366 * 86400


@pytest.mark.parametrize("until", MOMENTS)
@pytest.mark.parametrize("words", WORDS)
def test_a_step_may_wait_until_any_moment(until: datetime, words: str) -> None:
    """What is written is read back."""
    small = Small((A, B))
    small.world.on["do b"] = [NotYet(until, words)]
    outcome = small.begin()
    assert isinstance(outcome, Parked)
    assert outcome.until == until
    same(outcome, small)
    assert isinstance(small.resume(), Finished if until <= NOW else Parked)


def test_a_wait_without_a_time_zone_fails_its_step() -> None:
    """Compared with the clock it would end every later start in an exception."""
    small = Small((A, B))
    small.world.on["do b"] = [NotYet(NOW.replace(tzinfo=None), "soon")]
    outcome = small.begin()
    assert isinstance(outcome, RolledBack)
    assert "no time zone" in outcome.because
    same(outcome, small)


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
def test_an_answer_that_no_journal_can_keep_fails_its_step(value: Any) -> None:
    """A defect costs this rotation, not its history."""
    small = Small((A, B))
    small.world.on["do b"] = [Done({"found": value})]
    outcome = small.begin()
    assert isinstance(outcome, RolledBack)
    assert "the journal cannot keep a done record" in outcome.because
    assert "defect" in outcome.because
    assert small.world.there == []
    same(outcome, small)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_is_kept_as_it_is(facts: dict[str, Any]) -> None:
    """Facts of a step are what the next start is told."""
    small = Small((A,), facts={"before": facts})
    small.world.on["do a"] = [Done({"answered": facts})]
    outcome = small.begin()
    assert isinstance(outcome, Finished)
    assert outcome.facts["answered"] == outcome.facts["before"] == facts
    same(outcome, small)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FileJournal]:
    """A file."""
    journal = FileJournal(tmp_path, "web")
    yield journal
    journal.release()


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("sync", [True, False])
def test_a_record_that_is_no_json_leaves_the_journal_as_it_is(
    journal: FileJournal, value: Any, *, sync: bool
) -> None:
    """Those before it, and those after it, are kept."""
    journal.append({"t": "one"}, sync=False)
    with pytest.raises(Unrecordable, match="cannot keep a bad record"):
        journal.append({"t": "bad", "facts": {"found": value}}, sync=sync)
    journal.append({"t": "two"}, sync=True)
    assert journal.records() == [{"t": "one"}, {"t": "two"}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(json_values, max_size=4))
def test_written_records_are_read_back_unchanged(values: list[Any]) -> None:
    """Numbers, texts with lone surrogates, and all else that JSON has."""
    data = b"".join(encode({"t": "note", "value": value}) for value in values)
    records, good = decode(data, what="it")
    assert [record["value"] for record in records] == json.loads(json.dumps(values))
    assert good == len(data)


def test_a_failure_of_any_words_is_one_line_of_history() -> None:
    """History is read back by lines."""
    small = Small((A,))
    small.world.on["do a"] = [Failure("\x85\u2028\n\ud800")]
    same(small.begin(), small)
