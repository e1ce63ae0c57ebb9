"""Columns that applications search by, on every database: each row is found, under one key only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.codecs.blind_index import BlindIndex, IndexEncoding, Step
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.blind_indexes import PREVIOUS
from certrotd.datasets.census import BY_INDEX
from certrotd.datasets.configured import CODECS, Opened, opened
from certrotd.datasets.port import Limited
from certrotd.datasets.reencryption import Pass, Passed, trial
from certrotd.keyring.material import Algorithm, KeySet
from tests.contract.codec_cases import key_of
from tests.contract.databases import Database

KEYS = KeySet.of([key_of(Algorithm.AES_256_GCM, n, seed=str(n)) for n in (1, 2)], active=2)
OLD, NEW = KEYS.keys[1], KEYS.keys[2]
TINK = CODECS["tink"]
STEPS = (Step.STRIP, Step.LOWER)
EXACT, FOLDED = BlindIndex(encoding=IndexEncoding.RAW), BlindIndex(steps=STEPS)
SEARCHABLE: Any = [
    {"blind_index": "exact", "encoding": "raw"},
    {"blind_index": "folded", "normalize": ["strip", "lower"]},
]


@contextmanager
def table(url: str, **more: Any) -> Iterator[Opened]:
    """The table t, whose column v has two blind indexes: bytes and text."""
    told: dict[str, Any] = {"type": "sql", "url": url, "table": "t", "columns": ["v"]}
    told |= {"searchable": {"v": SEARCHABLE}, "search_two_keys": True, "batch": 4, **more}
    if not url.startswith("sqlite"):
        told["password"] = {"env": "DATABASE_PASSWORD"}
    with opened("rows", SqlDatasetEntry.model_validate(told)) as place:
        yield place


def passed(place: Opened, keys: KeySet = KEYS) -> Passed:
    return Pass(place.dataset, place.form, keys, SystemClock(), place.pace).run()


def exact(text: str, version: int) -> bytes:
    return EXACT.of(text.encode(), KEYS.keys[version].material.reveal())


def folded(text: str, version: int) -> str:
    return FOLDED.of(text.encode(), KEYS.keys[version].material.reveal()).decode()


def made(database: Database, *, unique: str = "") -> None:
    """The empty table; ``unique`` is a constraint."""
    execute, url = database
    binary = {"p": "bytea", "m": "varbinary(200)", "s": "blob"}[url[0]]
    narrow = binary.replace("200", "32")
    execute(f"create table t (id integer primary key, tenant integer, v {binary}, exact {narrow}, "
            f"folded varchar(44), note varchar(20) default 'as it was'{unique})")  # fmt: skip


def add(database: Database, number: int, text: str, version: int, index: int | None = None) -> None:
    """A row whose value is under ``version``, and whose blind indexes are under ``index``."""
    under = version if index is None else index
    value = TINK.encrypt(text.encode(), KEYS.keys[version])
    told = (number, 1, value, exact(text, under), folded(text, under))
    database[0]("insert into t (id, tenant, v, exact, folded) values (?, ?, ?, ?, ?)", *told)


def content(database: Database) -> dict[int, tuple[Any, ...]]:
    rows = database[0]("select id, v, exact, folded, note from t order by id")
    return {each[0]: tuple(_plain(one) for one in each[1:]) for each in rows}


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def test_a_blind_index_comes_under_the_new_key_with_its_ciphertext(database: Database) -> None:
    """Each is found by the new key alone; what has none gets none, and no other column changes."""
    execute, url = database
    made(database)
    texts = {n: f" Somebody {n}@Example.org" for n in range(10)}
    for number, text in texts.items():
        add(database, number, text, 1)
    add(database, 10, "new already", 2)
    add(database, 11, "only its index is old", 2, index=1)
    add(database, 12, "only its index is new", 1, index=2)
    execute("update t set folded = null where id = 3")
    execute("insert into t (id) values (13)")
    texts |= {10: "new already", 11: "only its index is old", 12: "only its index is new"}
    with table(url) as place:
        assert [each.code for each in place.findings(staged=True)] == ["search"]
        assert place.findings(staged=False) == []
        before = place.tally(KEYS)
        assert (before.by_version, before.indexes) == ({1: 11, 2: 2}, {1: 21, 2: 4})
        assert (before.left(1), place.left(before, 2), before.method) == (32, 32, BY_INDEX)
        tried = trial(place.dataset, place.form, KEYS, place.pace, SystemClock())
        assert tried.rows == 13
        assert isinstance(place.dataset, Limited)
        assert place.dataset.too_narrow(tried.growth) == []
        assert passed(place).count == 0
        after = place.tally(KEYS)
        assert (after.by_version, after.indexes) == ({1: 0, 2: 13}, {2: 25})
        assert (after.left(1), place.left(after, 2)) == (0, 0)
        stored = content(database)
        assert passed(place).count == 0
    assert content(database) == stored
    assert stored.pop(13) == (None, None, None, "as it was")
    for number, (value, one, other, note) in stored.items():
        text = texts[number]
        assert TINK.decrypt(value, NEW) == text.encode()
        assert one == exact(text, 2)
        assert other == (None if number == 3 else folded(text, 2))
        assert note == "as it was"


def test_a_row_whose_index_alone_changes_meanwhile_is_not_overwritten(database: Database) -> None:
    """The batch compares it as it compares the ciphertext; the next look takes what is there."""
    execute, url = database
    made(database)
    for number in range(3):
        add(database, number, f"value {number}", 1)
    with table(url) as place:
        rows = place.dataset.rows(None, 10, ())
        batch = place.form.values(KEYS).reencrypted(rows)
        execute("update t set folded = ? where id = 1", folded("value 1", 2))
        assert place.dataset.replace(batch.changes) == 2
        assert place.tally(KEYS).indexes == {1: 1, 2: 5}
        assert passed(place).count == 0
        assert place.tally(KEYS).indexes == {2: 6}


@pytest.mark.parametrize("unique", [", unique (exact)", ", unique (tenant, folded)"])
def test_the_same_value_under_both_keys_isolates_itself_with_both_rows(
    database: Database, unique: str
) -> None:
    """A unique blind index; the rest of the batch is done, and what is left keeps the old key."""
    _, url = database
    made(database, unique=unique)
    for number in range(20):
        add(database, number, f"value {number}", 1)
    add(database, 103, "value 3", 2)
    add(database, 111, "value 11", 2)
    before = content(database)
    with table(url, batch=10) as place:
        assert {e.code for e in place.findings(staged=True)} == {"search", "unique"}
        result = passed(place)
        tally = place.tally(KEYS)
        assert (tally.by_version, tally.indexes) == ({1: 2, 2: 20}, {1: 4, 2: 40})
        assert result.count == place.left(tally, 2) == 6
    told = {each.key: each.why for each in result.quarantined}
    assert set(told) == {(3,), (11,)}
    assert told[3,].endswith("; so has row 103")
    assert told[11,].endswith("; so has row 111")
    after = content(database)
    assert {n for n in before if after[n] == before[n]} == {3, 11, 103, 111}


def test_an_index_that_no_key_makes_stays_and_so_does_its_value(database: Database) -> None:
    """A wrong function would else replace every index by one that nobody searches for."""
    execute, url = database
    made(database)
    for number in range(3):
        add(database, number, f"value {number}", 1)
    execute("update t set folded = ? where id = 1", folded("something else", 1))
    execute("insert into t (id, folded) values (7, ?)", folded("of a value that is gone", 1))
    before = content(database)
    with table(url) as place:
        result = passed(place)
        tally = place.tally(KEYS)
        assert (tally.by_version, tally.indexes, tally.unopened) == ({1: 1, 2: 2}, {1: 1, 2: 4}, 2)
        assert result.count == place.left(tally, 2) == 4
    words = {each.words(place.dataset.fields) for each in result.quarantined}
    assert {each.partition(":")[0] for each in words} == {
        "folded of row 1", "v of row 1", "exact of row 1", "folded of row 7"
    }  # fmt: skip
    assert any("no key at hand makes this blind index" in each for each in words)
    after = content(database)
    assert {n for n in before if after[n] == before[n]} == {1, 7}
    wrong: Any = {"v": {"blind_index": "folded", "function": "pbkdf2-sha256", "iterations": 2}}
    with table(url, searchable=wrong) as place:
        assert passed(place).count > 3
    assert content(database) == after


def test_a_new_column_is_filled_and_a_key_of_the_index_alone_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As blind_index and Lockbox have it: the keyring stays, and only indexes change."""
    execute, url = database
    made(database)
    monkeypatch.setenv("INDEX_KEY", "1" * 64)
    monkeypatch.setenv("NEXT_INDEX_KEY", "2" * 64)
    for number in range(3):
        add(database, number, f"value {number}", 2)
    execute("update t set exact = null, folded = null where id < 2")
    before = content(database)
    own: dict[str, Any] = {"blind_index": "folded", "key": {"env": "INDEX_KEY"}, "fill": True}
    with table(url, searchable={"v": own}) as place:
        assert passed(place).count == 1  # that of row 2 is of another key
    execute("update t set folded = null where id = 2")
    with table(url, searchable={"v": own}) as place:
        assert passed(place).count == 0
        assert place.tally(KEYS).indexes == {}
    filled = {n: each[2] for n, each in content(database).items()}
    own |= {"previous_key": own["key"], "key": {"env": "NEXT_INDEX_KEY"}}
    with table(url, searchable={"v": own}) as place:
        tally = place.tally(KEYS)
        assert (tally.indexes, tally.left(1), place.left(tally, 2)) == ({PREVIOUS: 3}, 0, 3)
        assert passed(place).count == 0
        assert place.left(place.tally(KEYS), 2) == 0
    after = content(database)
    for number in range(3):
        text = f"value {number}".encode()
        assert filled[number] == BlindIndex().of(text, bytes.fromhex("1" * 64)).decode()
        assert after[number][2] == BlindIndex().of(text, bytes.fromhex("2" * 64)).decode()
        assert after[number][0] == before[number][0]


def test_bytes_do_not_go_into_a_column_of_text(database: Database) -> None:
    """SQLite takes both."""
    _, url = database
    made(database)
    with table(url, searchable={"v": {"blind_index": "folded", "encoding": "raw"}}) as place:
        fatal = [each.words for each in place.findings(staged=True) if each.fatal]
    wanted = [] if url.startswith("sqlite") else ["folded holds text, and its blind index is bytes"]
    assert fatal == wanted


def test_a_search_under_both_keys_finds_every_row_at_every_moment(database: Database) -> None:
    """While batches are written, and the application writes into them with either key."""
    execute, url = database
    made(database)
    texts = {n: f"value {n}" for n in range(10)}
    for number, text in texts.items():
        add(database, number, text, 1)
    turn = iter(range(1000))

    def search() -> None:
        for number, text in texts.items():
            both = exact(text, 1), exact(text, 2)
            rows = execute("select id from t where exact = ? or exact = ?", *both)
            assert [tuple(each) for each in rows] == [(number,)]
        number = next(turn)
        texts[number % 10], version = f"theirs {number}", 1 + number % 2
        value = TINK.encrypt(texts[number % 10].encode(), KEYS.keys[version])
        indexes = exact(texts[number % 10], version), folded(texts[number % 10], version)
        told = (value, *indexes, number % 10)
        execute("update t set v = ?, exact = ?, folded = ? where id = ?", *told)

    with table(url) as place:
        clock, pace = SystemClock(), place.pace
        assert Pass(place.dataset, place.form, KEYS, clock, pace, search).run().count == 0
        assert next(turn) > 6
        assert passed(place).count == 0
        assert place.tally(KEYS).indexes == {2: 20}
    stored = content(database)
    assert {n: TINK.decrypt(each[0], NEW).decode() for n, each in stored.items()} == texts
    assert {n: each[1] for n, each in stored.items()} == {n: exact(t, 2) for n, t in texts.items()}
