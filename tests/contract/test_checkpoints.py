"""Shards in a table beside the rows: each is one worker's at a time, in every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.port import Change, Refused
from certrotd.datasets.reencryption import Passed, Position
from certrotd.datasets.row_values import Quarantined
from certrotd.datasets.shards import LeaseLost, Part, Run, parts_between
from certrotd.datasets.sql import SqlDataset
from certrotd.errors import NeedsOperator
from tests.contract.databases import DATABASES, Database, place

RUN = Run("r.0", 2)


class Table:
    """Seven rows, whose key has two columns, one of them text."""

    def __init__(self, database: Database, stack: ExitStack) -> None:
        self.execute, url = database
        columns = "a varchar(9), b integer, v varchar(200) check (v <> 'refused')"
        self.execute(f"create table t ({columns}, primary key (a, b))")
        for n in range(7):
            self.execute("insert into t values (?, ?, ?)", f"t{n // 4}", n, f"old {n}")
        told: dict[str, Any] = {"type": "sql", "url": url, "table": "t", "key": ["a", "b"]}
        told |= {"columns": ["v"], "codec": "fernet"}
        if not url.startswith("sqlite"):
            told["password"] = {"env": "DATABASE_PASSWORD"}
        entry = SqlDatasetEntry.model_validate(told)
        dataset = stack.enter_context(opened("rows", entry)).dataset
        assert isinstance(dataset, SqlDataset)
        self.dataset = dataset
        self.kept = dataset.checkpoints("orders/rows")
        assert self.kept.run() is None, "there is no table yet"
        self.kept.prepare()
        self.kept.prepare()

    def open(self, run: Run = RUN, shards: int = 2) -> None:
        self.kept.open(run, lambda: self.dataset.divided(shards, ()), shards)

    def expire(self) -> None:
        """Nothing was heard of any worker for long."""
        self.execute("update certrotd_checkpoints set held_until = 1 where held_until > 0")

    def values(self) -> list[object]:
        return [each[0] for each in self.execute("select v from t order by a, b")]


@pytest.fixture(params=DATABASES)
def table(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Table]:
    with ExitStack() as stack:
        yield Table(place(request, tmp_path, monkeypatch, stack, request.param), stack)


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
    assert "new" not in table.values()
    assert [each.held for each in table.kept.shards()] == [True, False]
    mine = table.dataset.part(second.shard.part, second)
    assert mine.replace(changes) == 3
    assert table.values()[:4] == ["new", "new", "new", "old 3"]


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
    with pytest.raises(Refused):
        mine.replace([Change(rows[6], (b"refused",))])
    assert reached() == (("t1", 5), 6)
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


def test_an_account_that_may_make_no_table_is_told_what_to_do(table: Table) -> None:
    """Here it has no schema to make it in."""
    if table.dataset.one_writer:
        pytest.skip("a file of SQLite has no accounts")
    from certrotd.datasets.sql_checkpoints import SqlCheckpoints

    strange = SqlCheckpoints(table.dataset.engine, "orders/rows", "no_such_schema")
    with pytest.raises(NeedsOperator, match="checkpoints: journal"):
        strange.prepare()
