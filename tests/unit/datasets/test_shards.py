"""Shards: parts of all keys, and how their workers share a pace."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from certrotd.datasets.reencryption import Pace, Passed
from certrotd.datasets.row_values import Quarantined
from certrotd.datasets.shards import last_rows, shared, together


@given(rows=st.integers(0, 200), into=st.integers(1, 50))
def test_parts_differ_by_one_row_at_most(rows: int, into: int) -> None:
    """And there are as many as asked for, or as there are rows."""
    bounds = [0, *last_rows(rows, into), rows]
    sizes = [high - low for low, high in itertools.pairwise(bounds)]
    assert sum(sizes) == rows
    assert len(sizes) == max(1, min(into, rows))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= math.ceil(rows / min(into, max(rows, 1)))


def test_workers_share_the_pace() -> None:
    """And each rests for the whole of the pause."""
    pace = shared(Pace(rows_per_second=100, pause=0.5), lambda: 4)
    assert pace.rest(100, 1.0, 0.1) == 3.0
    assert pace.rest(1, 1.0, 0.1) == 0.5
    assert shared(Pace(), lambda: 4).rest(100, 1.0, 0.1) == 0.0


def test_what_is_left_alone_is_listed_together_up_to_a_limit() -> None:
    """The count has all of it."""
    one = Passed(2, (Quarantined((1,), 0, "a"), Quarantined((2,), 0, "b")), 5)
    assert together([one, one], 3) == Passed(4, (*one.quarantined, one.quarantined[0]), 10)
