"""Shards: ranges of keys in a table beside the rows, each of which one worker has at a time."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from certrotd.datasets.port import Change
from certrotd.datasets.reencryption import Pace, Passed, Position
from certrotd.datasets.shards import (
    LeaseLost,
    Part,
    Run,
    last_rows,
    parts_between,
    shared,
    together,
)
from certrotd.datasets.sql import SqlDataset, TableSpec
from certrotd.datasets.sql_dialect import Sqlite
from certrotd.datasets.values import Quarantined

RUN = Run("r.0", 2)


class Table:
    """Seven rows of a SQLite file, whose key has two columns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.execute("create table t (a text, b integer, v blob, primary key (a, b))")
        for n in range(7):
            self.execute("insert into t values (?, ?, ?)", f"t{n // 4}", n, b"old %d" % n)
        self.engine = sa.create_engine(f"sqlite:///{path}")
        self.dataset = SqlDataset("rows", self.engine, TableSpec("t", ("a", "b"), ("v",)), Sqlite())
        self.kept = self.dataset.checkpoints("orders/rows")
        self.kept.prepare()

    def execute(self, sql: str, *told: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql, told).fetchall()

    def open(self, run: Run = RUN, shards: int = 2) -> None:
        self.kept.open(run, lambda: self.dataset.divided(shards, ()), shards)

    def expire(self) -> None:
        """Nothing was heard of any worker for long."""
        self.execute("update certrotd_checkpoints set held_until = 1 where held_until > 0")

    def values(self) -> list[object]:
        return [each[0] for each in self.execute("select v from t order by a, b")]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path / "app.db")
    yield made
    made.engine.dispose()


@given(rows=st.integers(0, 200), into=st.integers(1, 50))
def test_parts_differ_by_one_row_at_most(rows: int, into: int) -> None:
    """And there are as many as asked for, or as there are rows."""
    bounds = [0, *last_rows(rows, into), rows]
    sizes = [high - low for low, high in itertools.pairwise(bounds)]
    assert sum(sizes) == rows
    assert len(sizes) == max(1, min(into, rows))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= math.ceil(rows / min(into, max(rows, 1)))


def test_every_row_is_in_one_part_whatever_comes_between(table: Table) -> None:
    """Also rows that come later, before the first key and behind the last."""
    parts = table.dataset.divided(3, ())
    assert parts == parts_between([("t0", 1), ("t0", 3)])
    table.execute("insert into t values ('a', 0, 'x'), ('z', 9, 'x'), ('t0', 9, 'x')")
    found = [row.key for part in parts for row in table.dataset.part(part).rows(None, 99, ())]
    assert found == [each.key for each in table.dataset.rows(None, 99, ())]
    assert len(found) == 10
    assert [table.dataset.part(part).remaining(()) for part in parts] == [3, 2, 5]
    table.execute("delete from t")
    assert table.dataset.divided(3, ()) == [Part()]


def test_a_shard_is_of_one_worker_and_of_the_next_after_its_lease(table: Table) -> None:
    """The one that was too slow writes nothing more: not its rows, and not how far it is."""
    table.open()
    first = table.kept.take(RUN, 0, "one")
    assert first is not None
    assert table.kept.take(RUN, 0, "two") is None
    other = table.kept.take(RUN, None, "two")
    assert other is not None
    assert (other.shard.number, other.holders) == (1, 2)
    assert table.kept.take(RUN, None, "three") is None
    table.expire()
    second = table.kept.take(RUN, 0, "two")
    assert second is not None
    slow = table.dataset.part(first.shard.part, first)
    changes = [Change(row, (b"new",)) for row in slow.rows(None, 99, ())]
    with pytest.raises(LeaseLost, match="shard 0 of orders/rows is another's"):
        slow.replace(changes)
    for act in (first.renew, lambda: first.keep(Position(("t0", 1), 2))):
        with pytest.raises(LeaseLost):
            act()
    with pytest.raises(LeaseLost):
        first.finish(Passed(0, ()))
    first.release()  # which is not its own any more
    assert not any(value == b"new" for value in table.values())
    assert [each.held for each in table.kept.shards()] == [True, False]
    mine = table.dataset.part(second.shard.part, second)
    assert mine.replace(changes) == 3
    assert table.values()[:4] == [b"new", b"new", b"new", b"old 3"]


def test_a_checkpoint_is_of_the_transaction_of_its_batch(table: Table) -> None:
    """It is never behind a row that was not written; a batch that fails leaves no checkpoint."""
    table.open(shards=1)
    lease = table.kept.take(RUN, None, "one")
    assert lease is not None
    mine = table.dataset.part(lease.shard.part, lease)
    rows = mine.rows(None, 99, ())

    def reached() -> tuple[object, int]:
        [shard] = table.kept.shards()
        return shard.position.after, shard.position.seen

    mine.replace([Change(row, (b"new",)) for row in rows[:2]])
    assert reached() == (("t0", 1), 2)
    lease.keep(Position(("t0", 2), 3))  # the third was done already
    table.execute("update t set v = 'theirs' where b = 4")
    assert mine.replace([Change(row, (b"new",)) for row in rows[3:5]]) == 1
    assert mine.replace([Change(row, (b"new",)) for row in rows[5:6]]) == 1
    assert reached() == (("t0", 2), 3), "one of them is to be looked at again"
    lease.keep(Position(("t1", 5), 6))
    assert reached() == (("t1", 5), 6)
    table.execute("create trigger no before update on t begin select raise(abort, 'no'); end")
    with pytest.raises(Exception, match="no"):
        mine.replace([Change(rows[6], (b"new",))])
    assert reached() == (("t1", 5), 6)
    table.execute("drop trigger no")
    lease.finish(Passed(1, (Quarantined(("t1", 6), 0, "it does not open"),), 7))
    [shard] = table.kept.shards()
    assert shard.done
    assert shard.passed == Passed(1, (Quarantined(("t1", 6), 0, "it does not open"),), 7)
    assert table.kept.take(RUN, None, "two") is None


def test_a_run_that_is_paused_or_replaced_has_no_workers(table: Table) -> None:
    """The same run goes on where it was; another begins anew."""
    table.open()
    lease = table.kept.take(RUN, 0, "one")
    assert lease is not None
    lease.keep(Position(("t0", 1), 2))
    table.kept.pause(RUN)
    with pytest.raises(LeaseLost):
        lease.renew()
    assert table.kept.take(RUN, 0, "one") is None
    assert table.kept.run() == (RUN, False)
    table.open()
    again = table.kept.take(RUN, 0, "one")
    assert again is not None
    assert again.shard.position == Position(("t0", 1), 2)
    later = Run("r.1", 3)
    table.open(later, shards=9)
    with pytest.raises(LeaseLost):
        again.renew()
    assert table.kept.take(RUN, 0, "one") is None
    assert table.kept.run() == (later, True)
    assert [each.done for each in table.kept.shards()] == [False] * 7 + [True] * 2


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
