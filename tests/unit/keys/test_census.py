"""What programs of the operator's count, and what is made of those that do not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import ManualClock, SystemClock
from certrotd.config.datasets import CommandDatasetEntry, SqlDatasetEntry
from certrotd.datasets.census import Tally
from certrotd.datasets.port import CutShort
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keyring.evidence import Count, Lacking, NotCounted
from certrotd.keyring.states import Versions
from certrotd.keys import census
from certrotd.keys.census import Census, Counts, census_in, counted, not_counted, still_of, take
from tests.fakes.state import MemoryState
from tests.unit.keys.rings import script

NOW = datetime(2027, 3, 4, tzinfo=UTC)
SECRET = "hunter2"
MOMENTS = st.datetimes(timezones=st.just(UTC))


def entry(program: Path, **more: Any) -> CommandDatasetEntry:
    return CommandDatasetEntry.model_validate({"census": [str(program)], **more})


def no_tally(name: str) -> Tally:
    raise AssertionError(f"{name} is counted by a program")


def test_a_table_is_counted_once_for_all_versions() -> None:
    """What does not open may be under any of them; a database that is away keeps the last count."""
    told = {"type": "sql", "url": "sqlite:////db", "table": "t", "columns": ["v"]}
    datasets = {"rows": SqlDatasetEntry.model_validate(told)}
    asked: list[str] = []

    def tally(name: str) -> Tally:
        asked.append(name)
        if len(asked) > 1:
            raise Transient("the database is away")
        return Tally({1: 4, 2: 0, 3: 9}, 7, 2, (), "test")

    taken = take(datasets, {1: "", 2: ""}, {}, ManualClock(NOW), "orders", tally)
    one, two = Count(6, NOW, 2, None, "test"), Count(2, NOW, 2, None, "test")
    assert taken.census.counts == {1: {"rows": one}, 2: {"rows": two}}
    later = ManualClock(NOW.replace(year=2028))
    again = take(datasets, {1: "", 2: ""}, taken.census.counts, later, "orders", tally)
    assert again.census.counts == taken.census.counts
    why = NotCounted(Lacking.UNREACHABLE, later.now(), "the database is away")
    assert again.census.failed == {"rows": why}
    assert [name for name, _ in again.failures] == asked[1:] == ["rows"]


def test_a_program_is_told_what_to_count_and_prints_a_number(tmp_path: Path) -> None:
    """By its environment; the count is dated at its beginning."""
    program = script(
        tmp_path / "count",
        'echo "$CERTROTD_KEYRING $CERTROTD_VERSION $CERTROTD_KEY_ID $WHERE" > "$0.told"; echo 17',
    )
    clock = ManualClock(NOW)
    datasets = {"rows": entry(program, environment={"WHERE": "db"})}
    taken = take(datasets, {3: "id-3"}, {}, clock, "orders", no_tally)
    assert taken.census.counts == {3: {"rows": Count(17, NOW, method=f"by {program}")}}
    assert taken.failures == []
    assert (tmp_path / "count.told").read_text() == "orders 3 id-3 db\n"


@pytest.mark.parametrize(
    "body",
    [
        "echo none",
        "echo -1",
        "echo 1.5",
        "echo 1 2",
        ":",
        "echo 1000000000000000001",
        "printf '17\\n18\\n'",
        "printf '\\302\\262'",  # a digit, and no number
        "head -c 5000 /dev/zero | tr '\\0' 1",
    ],
)
def test_what_is_not_one_number_is_no_count(tmp_path: Path, body: str) -> None:
    """A key is not destroyed by a program that printed nonsense, and nothing of it is shown."""
    with pytest.raises(Failure, match="the census of rows was not taken") as caught:
        counted("rows", entry(script(tmp_path / "count", body)), {}, ManualClock(NOW))
    assert "11111" not in str(caught.value)


def test_a_program_that_fails_is_tried_again(tmp_path: Path) -> None:
    """What it printed before that is no count either."""
    program = script(tmp_path / "count", f"echo 0; echo {SECRET} >&2; exit 3")
    with pytest.raises(Transient, match="was not taken") as caught:
        counted("rows", entry(program), {}, ManualClock(NOW))
    assert SECRET not in str(caught.value)


def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """By the machine's clock."""
    program = script(tmp_path / "count", "sleep 60")
    with pytest.raises(Transient):
        counted("rows", entry(program, timeout="1s"), {}, SystemClock())


def test_a_program_that_is_missing_needs_an_operator(tmp_path: Path) -> None:
    """It will not be there the next time either."""
    with pytest.raises(NeedsOperator, match="gone"):
        counted("rows", entry(tmp_path / "gone"), {}, ManualClock(NOW))


def test_a_failure_keeps_the_last_count_of_that_dataset_alone(tmp_path: Path) -> None:
    """With its old time; the others are counted, and a version that is new has no count."""
    good, bad = script(tmp_path / "good", "echo 5"), script(tmp_path / "bad", "exit 1")
    before: Counts = {1: {"bad": Count(9, NOW.replace(year=2026)), "gone": Count(1, NOW)}}
    datasets = {"bad": entry(bad), "good": entry(good)}
    taken = take(datasets, {1: "", 2: ""}, before, ManualClock(NOW), "orders", no_tally)
    good_count = Count(5, NOW, method=f"by {good}")
    assert taken.census.counts == {1: {**before[1], "good": good_count}, 2: {"good": good_count}}
    assert [name for name, _ in taken.failures] == ["bad"]


@given(
    st.dictionaries(
        st.integers(1, 9),
        st.dictionaries(
            st.text("abc-", min_size=1, max_size=4),
            st.builds(
                Count,
                st.integers(0, census.LARGEST),
                MOMENTS,
                st.integers(0, 9),
                st.none() | MOMENTS,
                st.text(),
            ),
            max_size=3,
        ),
        max_size=3,
    ),
    st.dictionaries(st.text(), st.builds(NotCounted, st.sampled_from(Lacking), MOMENTS, st.text())),
)
def test_what_was_counted_is_read_as_it_was_written(
    told: dict[int, dict[str, Count]], failed: dict[str, NotCounted]
) -> None:
    """Every count, with its time."""
    kept = census_in(MemoryState().document("census/orders"))
    kept.write(Census(told, failed))
    assert kept.read() == Census(told, failed)


def test_a_series_of_zeros_begins_anew_after_one_value() -> None:
    """And when the key was in use again: what was counted before that shows nothing."""
    day = timedelta(days=1)
    first = Count(0, NOW).after(None)
    second = Count(0, NOW + day).after(first)
    assert (first.zero_since, second.zero_since) == (NOW, NOW)
    found = Count(1, NOW + 2 * day).after(second)
    assert found.zero_since is None
    assert Count(0, NOW + 3 * day).after(found).zero_since == NOW + 3 * day
    used = Versions().adopt(active=True, at=NOW - day, why="there")
    used = used.generate(at=NOW, why="due").distribute(2, at=NOW, why="due")
    used = used.activate(2, at=NOW + day / 2, why="due")
    assert still_of({1: {"rows": first}, 2: {"rows": first}}, used) == {1: {}}
    assert still_of({1: {"rows": second}}, used) == {
        1: {"rows": replace(second, zero_since=NOW + day)}
    }


def test_a_listing_that_was_cut_short_has_a_reason_of_its_own() -> None:
    """It counted something, and not all."""
    failed = not_counted(CutShort("2 directories of logs cannot be read"), NOW)
    assert failed == NotCounted(Lacking.CUT_SHORT, NOW, "2 directories of logs cannot be read")


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{}",
        b'{"counts": {"1": 7}, "failed": {}}',
        b'{"counts": {"1": {"rows": 7}}, "failed": {}}',
        b'{"counts": {"1": {"rows": [7, 8, 0, null, ""]}}, "failed": {}}',
        b'{"counts": {"one": {}}, "failed": {}}',
        b'{"counts": {"1": {"rows": ["x", "2027-03-04", 0, null, ""]}}, "failed": {}}',
        b'{"counts": {"1": {"rows": [7, "2027-03-04T00:00:00", 0, null, ""]}}, "failed": {}}',
        b'{"counts": {}, "failed": {"rows": 7}}',
        b'{"counts": {}, "failed": {"rows": ["odd", "2027-03-04T00:00:00+00:00", "away"]}}',
        b"{half",
    ],
)
def test_counts_that_were_garbled_are_no_counts(data: bytes) -> None:
    """They are taken anew, and prove nothing until then."""
    document = MemoryState().document("census/orders")
    document.write(data)
    assert census_in(document).peek() is None
