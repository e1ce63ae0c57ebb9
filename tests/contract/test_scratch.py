"""Rows of each kind of database are copied for a rehearsal: the table and the database stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.codecs.fernet import FernetTokens
from certrotd.datasets.configured import Opened
from certrotd.datasets.exposure import Exposure
from certrotd.datasets.port import Change
from certrotd.datasets.reencryption import Pass
from certrotd.datasets.scratch import Copy, Limits, contents, copied, rows_of
from certrotd.errors import Failure
from certrotd.keyring.material import Algorithm, KeySet
from tests.contract.codec_cases import key_of
from tests.contract.databases import DATABASES, Database, place
from tests.contract.test_datasets import HOSTILE, entry, quoted

OLD, NEW = (key_of(Algorithm.FERNET, number) for number in (1, 2))
BEFORE, AFTER = KeySet.of([OLD, NEW], active=2), KeySet.of([NEW], active=2)
ROWS = 250


@pytest.fixture(params=DATABASES)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """A table of two encrypted columns, one of which a short text ends at, and a trigger."""
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, request.param)
        execute(
            f"create table {quoted(HOSTILE)} (tenant varchar(20), id integer, "
            f'{quoted(HOSTILE)} varchar(200), "second" text, note varchar(20), '
            "primary key (tenant, id))"
        )
        for number in range(ROWS):
            value = FernetTokens().encrypt(b"value %d" % number, OLD).decode()
            execute(
                f"insert into {quoted(HOSTILE)} values (?, ?, ?, ?, 'kept')",
                *("a", number, value, None if number % 2 else value),
            )
        yield execute, url


def content(execute: Callable[..., list[Any]]) -> list[Any]:
    return execute(f"select * from {quoted(HOSTILE)} order by id")


def copy_of(url: str, limits: Limits, tmp_path: Path, use: Callable[[Copy, Opened], Any]) -> Any:
    told = entry(url, codec="fernet", keep=["note"], where="id >= 10")
    with (
        copied("rows", told, limits, tmp_path / "copies", lambda below: below - 1) as copy,
        copy.open(Exposure) as opened,
    ):
        return use(copy, opened)


def test_the_first_and_the_last_rows_are_re_encrypted_in_a_copy(
    database: Database, tmp_path: Path
) -> None:
    """By the statements of the real table, whose rows nobody touches; afterwards there is none."""
    execute, url = database
    before = content(execute)

    def use(copy: Copy, opened: Opened) -> None:
        assert (copy.rows, copy.of) == (150, ROWS - 10)
        rows = rows_of(opened)
        assert [each.key[1] for each in rows] == [*range(10, 85), *range(ROWS - 75, ROWS)]
        held = contents(opened, rows, BEFORE)
        assert not held.unopened
        passing = Pass(opened.dataset, opened.form, BEFORE, SystemClock(), opened.pace)
        assert passing.run().count == 0
        assert opened.tally(BEFORE).by_version == {1: 0, 2: len(held.held)}
        now = contents(opened, rows_of(opened), AFTER)
        digests = {place: each.digest for place, each in held.held.items()}
        assert {place: each.digest for place, each in now.held.items()} == digests
        assert len(contents(opened, rows, AFTER).unopened) == len(digests)
        assert content(execute) == before

    copy_of(url, Limits(150, 10**6), tmp_path, use)
    assert content(execute) == before
    with pytest.raises(Exception, match="certrotd_rehearsal"):
        execute("select * from certrotd_rehearsal")


def test_a_copy_ends_where_it_is_large_enough(database: Database, tmp_path: Path) -> None:
    """Within some rows: they are copied a hundred at a time."""
    _, url = database
    rows = copy_of(url, Limits(10_000, 1000), tmp_path, lambda copy, _: copy.rows)
    assert rows == 100


def test_a_value_that_has_no_room_in_the_table_has_none_in_the_copy(
    database: Database, tmp_path: Path
) -> None:
    """Columns are as wide as they are, where the database has a width."""
    execute, url = database

    def use(_copy: Copy, opened: Opened) -> int:
        [row] = rows_of(opened)
        return opened.dataset.replace([Change(row, (b"x" * 201, row.values[1]))])

    if url.startswith("sqlite"):
        assert copy_of(url, Limits(1, 10**6), tmp_path, use) == 1
        return
    with pytest.raises(Failure, match="rehearsal of rows"):
        copy_of(url, Limits(1, 10**6), tmp_path, use)
    assert len(content(execute)) == ROWS
