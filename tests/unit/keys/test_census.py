"""What programs of the operator's count, and what is made of those that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import ManualClock, SystemClock
from certrotd.config.datasets import CommandDatasetEntry, SqlDatasetEntry
from certrotd.datasets.census import Tally
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keyring.evidence import Count
from certrotd.keys import census
from certrotd.keys.census import Census, census_in, counted, take
from tests.fakes.state import MemoryState
from tests.unit.keys.rings import script

NOW = datetime(2027, 3, 4, tzinfo=UTC)
SECRET = "hunter2"


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
    assert taken.census == {1: {"rows": Count(6, NOW)}, 2: {"rows": Count(2, NOW)}}
    later = ManualClock(NOW.replace(year=2028))
    again = take(datasets, {1: "", 2: ""}, taken.census, later, "orders", tally)
    assert again.census == taken.census
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
    assert taken.census == {3: {"rows": Count(17, NOW)}}
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
    before: Census = {1: {"bad": Count(9, NOW.replace(year=2026)), "gone": Count(1, NOW)}}
    datasets = {"bad": entry(bad), "good": entry(good)}
    taken = take(datasets, {1: "", 2: ""}, before, ManualClock(NOW), "orders", no_tally)
    assert taken.census == {
        1: {**before[1], "good": Count(5, NOW)},
        2: {"good": Count(5, NOW)},
    }
    assert [name for name, _ in taken.failures] == ["bad", "bad"]


@given(
    st.dictionaries(
        st.integers(1, 9),
        st.dictionaries(
            st.text("abc-", min_size=1, max_size=4),
            st.builds(Count, st.integers(0, census.LARGEST), st.datetimes(timezones=st.just(UTC))),
            max_size=3,
        ),
        max_size=3,
    )
)
def test_what_was_counted_is_read_as_it_was_written(told: dict[int, dict[str, Count]]) -> None:
    """Every count, with its time."""
    kept = census_in(MemoryState().document("census/orders"))
    kept.write(told)
    assert kept.read() == told


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'{"1": 7}',
        b'{"1": {"rows": 7}}',
        b'{"1": {"rows": [7]}}',
        b'{"1": {"rows": [[], "2027-03-04T00:00:00+00:00"]}}',
        b'{"1": {"rows": [7, 8]}}',
        b'{"one": {}}',
        b'{"1": {"rows": ["x", "2027-03-04T00:00:00+00:00"]}}',
        b'{"1": {"rows": [7, "2027-03-04T00:00:00"]}}',
        b"{half",
    ],
)
def test_counts_that_were_garbled_are_no_counts(data: bytes) -> None:
    """They are taken anew, and prove nothing until then."""
    document = MemoryState().document("census/orders")
    document.write(data)
    assert census_in(document).peek() is None
