"""One contract for datasets: a table of SQLite, PostgreSQL and MariaDB, and one in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.configured import CODECS, opened
from certrotd.datasets.port import Advising, BeginningCounts, Busy, Change, Dataset, Key, Row
from certrotd.datasets.reencryption import Pass
from certrotd.datasets.values import Values as Looked
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.material import Algorithm, KeySet
from tests.contract.codec_cases import key_of
from tests.contract.databases import DATABASES, Database, place
from tests.fakes.datasets import MemoryDataset, Values
from tests.parts.postgresql import PASSWORD
from tests.parts.process import wait_until

HOSTILE = 'x"; drop table "t\'); --%s :p'
"""The name of a table, and of a column in it."""


class Rig:
    """A table of two encrypted columns and one that is nobody's business."""

    def __init__(self, dataset: Dataset, execute: Callable[..., list[Any]]) -> None:
        self.dataset = dataset
        self.execute = execute

    def fill(self, rows: dict[Key, Values]) -> None:
        """The rows of the table, by (tenant, id)."""
        if isinstance(self.dataset, MemoryDataset):
            self.dataset.content = dict(rows)
            return
        for (tenant, number), values in rows.items():
            self.execute(f"insert into {quoted(HOSTILE)} values (?, ?, ?, ?, 'as it was')",
                         tenant, number, *values)  # fmt: skip

    def write(self, key: Key, first: bytes | None) -> None:
        """Somebody else writes a value."""
        if isinstance(self.dataset, MemoryDataset):
            self.dataset.content[key] = (first, self.dataset.content[key][1])
            return
        self.execute(f"update {quoted(HOSTILE)} set {quoted(HOSTILE)} = ? where tenant = ? "
                     "and id = ?", first, *key)  # fmt: skip

    def content(self) -> dict[Key, Values]:
        """What is there."""
        if isinstance(self.dataset, MemoryDataset):
            return self.dataset.content
        told = self.execute(f"select * from {quoted(HOSTILE)}")
        assert all(each[4] == "as it was" for each in told)
        return {tuple(each[:2]): tuple(each[2:4]) for each in told}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


COLUMNS = f'(tenant varchar(20), id integer, {quoted(HOSTILE)} BINARY, "second" BINARY, note text, '
COLUMNS += "primary key (tenant, id))"


def entry(url: str, **more: Any) -> SqlDatasetEntry:
    told: dict[str, Any] = {"type": "sql", "url": url, "table": HOSTILE, "key": ["tenant", "id"]}
    told |= {"columns": [HOSTILE, "second"], **more}
    if not url.startswith("sqlite"):
        told["password"] = {"env": "DATABASE_PASSWORD"}
    return SqlDatasetEntry.model_validate(told)


@pytest.fixture(params=["memory", *DATABASES])
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """Each of the places, empty."""
    with ExitStack() as stack:
        if request.param == "memory":
            yield Rig(MemoryDataset(fields=(HOSTILE, "second")), lambda *_: [])
            return
        execute, url = place(request, tmp_path, monkeypatch, stack, request.param)
        binary = "bytea" if request.param == "postgresql" else "blob"
        execute(f"create table {quoted(HOSTILE)} {COLUMNS.replace('BINARY', binary)}")
        yield Rig(stack.enter_context(opened("rows", entry(url))).dataset, execute)


ROWS: dict[Key, Values] = {
    ("a", 1): (b"\x01old-1", b"\x01old-2"),
    ("a", 2): (None, b"\x01new-3"),
    ("a", 10): (b"\x01old-4", None),
    ("b", 1): (b"", b""),
    ("b", 2): (b"\x01new-5", b"plain"),
}


def test_values_are_counted_by_how_they_begin(rig: Rig) -> None:
    """NULL and the empty value are none."""
    rig.fill(ROWS)
    counted = rig.dataset.counts([b"\x01old", b"\x01new", b"\x01ne\xff"])
    assert (counted.filled, counted.by_beginning) == (6, (3, 2, 0))
    assert rig.dataset.remaining([b"\x01new"]) == 3
    assert rig.dataset.remaining([]) == 4


def test_nothing_is_counted_in_an_empty_table(rig: Rig) -> None:
    """Zero, and no NULL."""
    assert rig.dataset.counts([b"x"]) == BeginningCounts(0, (0,))
    assert list(rig.dataset.rows(None, 10, ())) == []


def test_rows_are_walked_in_the_order_of_their_keys_from_any_of_them(rig: Rig) -> None:
    """Without those that are done, in batches of any size, each once."""
    rig.fill(ROWS)
    for most in (1, 2, 3, 100):
        found: list[Row] = []
        after: Key | None = None
        while batch := rig.dataset.rows(after, most, [b"\x01new"]):
            assert len(batch) <= most
            found += batch
            after = batch[-1].key
        assert [each.key for each in found] == [("a", 1), ("a", 10), ("b", 2)]
        assert [each.values for each in found] == [ROWS[each.key] for each in found]


def test_a_batch_replaces_what_is_as_it_was_and_nothing_that_others_wrote(rig: Rig) -> None:
    """The number tells; the row that was lost is read again, and what is gone is not."""
    rig.fill(ROWS)
    rows = rig.dataset.rows(None, 10, [b"\x01new"])
    changes = [Change(row, tuple(v and b"\x01new" for v in row.values)) for row in rows]
    rig.write(("a", 10), b"\x01theirs")
    assert rig.dataset.replace(changes) == 2
    assert rig.content() == {
        **ROWS,
        ("a", 1): (b"\x01new", b"\x01new"),
        ("a", 10): (b"\x01theirs", None),
        ("b", 2): (b"\x01new", b"\x01new"),
    }
    again = rig.dataset.again([("a", 10), ("gone", 1)])
    assert [(each.key, each.values[0]) for each in again] == [(("a", 10), b"\x01theirs")]
    assert rig.dataset.replace([Change(again[0], (b"\x01new", None))]) == 1


@pytest.mark.parametrize("theirs", [None, b"", b"\x01old-1".ljust(300, b"x")])
def test_a_long_value_is_compared_too(rig: Rig, theirs: bytes | None) -> None:
    """PostgreSQL compares the version of the row then."""
    rig.fill({("a", 1): (b"\x01" * 300, b"x" * 3000)})
    [row] = rig.dataset.rows(None, 10, ())
    rig.write(("a", 1), theirs)
    change = Change(row, (b"\x01new", b"y"))
    assert rig.dataset.replace([change]) == 0
    [row] = rig.dataset.again([("a", 1)])
    assert rig.dataset.replace([Change(row, (b"\x01new", b"y"))]) == 1
    assert rig.content() == {("a", 1): (b"\x01new", b"y")}


def test_a_look_finds_nothing_wrong_with_a_plain_table(rig: Rig) -> None:
    """With a composite primary key."""
    assert list(rig.dataset.findings()) == []


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_without_options_authenticates_and_has_a_beginning_of_its_own(name: str) -> None:
    """By which plaintext is told from damaged ciphertext."""
    assert CODECS[name].traits.authenticated
    assert CODECS[name].traits.beginning


def found(url: str, **more: Any) -> list[str]:
    """The codes of what a look at the table t finds; those that forbid it in capitals."""
    usual: dict[str, Any] = {"table": "t", "key": ["id"], "columns": ["v"], "codec": "fernet"}
    with opened("rows", entry(url, **{**usual, **more})) as place:
        return [e.code.upper() if e.fatal else e.code for e in place.dataset.findings()]


def test_a_look_finds_what_would_leave_rows_out(database: Database) -> None:
    """A key that is not unique, or may be NULL; a view."""
    execute, url = database
    execute("create table t (id integer primary key, a integer, b integer unique, v varchar(9))")
    assert found(url) == []
    assert found(url, key=["a"]) == ["KEY"]
    assert found(url, key=["b"]) == ["KEY"]
    execute("create view w as select * from t")
    assert "KIND" in found(url, table="w")


def test_postgresql_is_to_be_vacuumed_when_a_tenth_of_a_table_is_dead(database: Database) -> None:
    """The other databases clean up by themselves."""
    execute, url = database
    execute("create table t (id integer primary key, v text)")
    for number in range(100):
        execute(f"insert into t values ({number}, 'old')")
    told = entry(url, table="t", key=["id"], columns=["v"], codec="fernet")
    with opened("rows", told) as place:
        dataset = place.dataset
        assert isinstance(dataset, Advising)
        assert dataset.advice() is None
        rows = dataset.rows(None, 100, ())
        assert dataset.replace([Change(row, (b"new",)) for row in rows]) == 100
        if not url.startswith("postgresql"):
            assert dataset.advice() is None
            return
        # statistics are flushed by each session when it ends, or after a while
        wait_until(lambda: "VACUUM (ANALYZE) t: 100 of its rows" in (dataset.advice() or ""))
        execute("vacuum (analyze) t")
        wait_until(lambda: dataset.advice() is None)


def test_a_missing_table_or_column_is_named(database: Database) -> None:
    """Before anything is read."""
    execute, url = database
    execute("create table t (id integer primary key, v text)")
    with pytest.raises(NeedsOperator, match="no table u"):
        found(url, table="u")
    told = entry(url, table="t", key=["id"], columns=["w"])
    with pytest.raises(NeedsOperator, match="has no column w"), opened("rows", told) as place:
        place.dataset.counts([])


def test_text_is_compared_by_its_bytes_whatever_the_collation(database: Database) -> None:
    """Two ciphertexts that differ in case are two."""
    execute, url = database
    kind = "text collate nocase"
    if url.startswith("mariadb"):
        kind = "varchar(20)"  # as everything is there
    if url.startswith("postgresql"):
        execute("create collation nocase (provider = icu, locale = 'und-u-ks-level2', "
                "deterministic = false)")  # fmt: skip
    execute(f"create table t (id integer primary key, v {kind})")
    execute("insert into t values (1, 'gAAAabc')")
    told = entry(url, table="t", key=["id"], columns=["v"], codec="fernet")
    with opened("rows", told) as place:
        dataset = place.dataset
        assert dataset.counts([b"GAAA", b"gAAA"]).by_beginning == (0, 1)
        [row] = dataset.rows(None, 10, [b"GAAA"])
        execute("update t set v = 'gAAAABC'")
        assert dataset.replace([Change(row, (b"gAAAnew",))]) == 0
        [row] = dataset.again([(1,)])
        assert dataset.replace([Change(row, (b"gAAAnew",))]) == 1
    assert execute("select v from t") in ([("gAAAnew",)], [["gAAAnew"]])


def test_values_within_json_are_re_encrypted_and_nothing_else_of_it_changes(
    database: Database,
) -> None:
    """Compared by the whole document: a write of others to another part of it wins, too."""
    execute, url = database
    codec = CODECS["fernet"]
    keys = KeySet.of([key_of(Algorithm.FERNET, n, seed=str(n)) for n in (1, 2)], active=2)
    sealed = [codec.encrypt(b"one", keys.keys[1]).decode() for _ in range(3)]
    document = '{"z": 1.50, "a": {"secret": "%s", "näme": "ö", "n": 12345678901234567890}}'
    documents = [document % each for each in sealed]
    for kind in ("text", "json", "jsonb") if url.startswith("postgresql") else ("text", "json"):
        execute("drop table if exists t")
        execute(f"create table t (id integer primary key, v {kind})")
        execute("insert into t values (1, ?), (2, ?), (3, ?), (4, null)", *documents)
        before = [each[0] for each in execute(f"select {text('v', url)} from t order by id")]
        told = entry(url, table="t", key=["id"], columns=["v"], codec="fernet",
                     json_paths={"v": ["$.a.secret"]}, batch=2)  # fmt: skip
        with opened("rows", told) as place:
            assert list(place.dataset.findings()) == []
            rows = place.dataset.rows(None, 10, ())
            assert place.tally(keys).by_version == {1: 3, 2: 0}
            execute("update t set v = ? where id = 2", documents[1].replace("1.50", "2.5"))
            batch = Looked(place.form, keys).reencrypted(rows)
            assert place.dataset.replace(batch.changes) == 2
            Pass(place.dataset, place.form, keys, SystemClock(), place.pace).run()
            assert place.tally(keys).by_version == {1: 0, 2: 3}
        after = [each[0] for each in execute(f"select {text('v', url)} from t order by id")]
        assert after[3] is None
        for n, (was, now) in enumerate(zip(before[:3], after[:3], strict=True)):
            secret = json.loads(now)["a"]["secret"]
            assert codec.decrypt(secret.encode(), keys.keys[2]) == b"one"
            expected = was.replace("1.50", "2.5") if n == 1 else was
            assert now.replace(secret, sealed[n]) == expected


def text(column: str, url: str) -> str:
    return f"{column}::text" if url.startswith("postgresql") else column


def test_ciphertext_of_bytes_is_refused_in_columns_of_text_but_for_those_of_sqlite(
    database: Database,
) -> None:
    """There each value has a type of its own: text that is encrypted becomes bytes."""
    execute, url = database
    raw = {"type": "layout", "layout": r"raw(\x02{iv}{ct}{tag})", "cipher": "aes-256-gcm"}
    execute("create table t (id integer primary key, v text)")
    execute("insert into t values (1, 'plain')")
    if not url.startswith("sqlite"):
        assert found(url, codec=raw) == found(url, codec="tink") == ["TYPE"]
        return
    keys = KeySet.of([key_of(Algorithm.AES_256_GCM, 1)], active=1)
    for codec in (raw, "tink"):
        execute("update t set v = 'plain'")
        told = entry(url, table="t", key=["id"], columns=["v"], codec=codec, plaintext="encrypt")
        with opened("rows", told) as place:
            assert list(place.dataset.findings()) == []
            Pass(place.dataset, place.form, keys, SystemClock(), place.pace).run()
            assert place.tally(keys).by_version == {1: 1}
            [(kind, value)] = execute("select typeof(v), v from t")
            assert kind == "blob"
            assert place.form.codec.decrypt(value, keys.keys[1]) == b"plain"


def test_the_condition_of_the_operator_holds_for_everything(database: Database) -> None:
    """Its colons, percent signs and comments are SQL's own."""
    execute, url = database
    execute("create table t (id integer primary key, v text, note text)")
    execute("insert into t values (1, 'one', 'a:b 5%'), (2, 'two', 'c')")
    where = "note like '%:b 5!%' escape '!' -- ours"
    told = entry(url, table="t", key=["id"], columns=["v"], codec="fernet", where=where)
    with opened("rows", told) as place:
        assert place.dataset.counts([]).filled == 1
        assert place.dataset.remaining([]) == 1
        assert [each.key for each in place.dataset.rows(None, 10, [])] == [(1,)]


def test_a_trigger_and_a_unique_index_are_reported(database: Database) -> None:
    """They do not forbid it."""
    execute, url = database
    execute("create table t (id integer primary key, v text unique, at text)")
    if url.startswith("postgresql"):
        execute("create function touch() returns trigger language plpgsql as "
                "'begin new.at = now(); return new; end'")  # fmt: skip
        execute("create trigger touch before update on t for each row execute function touch()")
    elif url.startswith("mariadb"):
        execute("create trigger touch before update on t for each row set new.at = now()")
    else:
        execute("create trigger touch after update on t begin select 1; end")
    assert found(url) == ["unique", "trigger"]


def test_a_generated_column_is_refused(database: Database) -> None:
    """Nobody can write into it."""
    execute, url = database
    made = "v text generated always as (n) stored"
    execute(f"create table t (id integer primary key, n varchar(9), {made})")
    assert found(url) == ["GENERATED"]


def test_what_a_database_says_against_it_shows_neither_values_nor_the_password(
    database: Database,
) -> None:
    """And tells who has to do something."""
    execute, url = database
    execute("create table t (id integer primary key, v text, "
            "constraint short check (length(v) < 5))")  # fmt: skip
    execute("insert into t values (1, 'one')")
    with opened("rows", entry(url, table="t", key=["id"], columns=["v"], codec="fernet")) as place:
        [row] = place.dataset.rows(None, 10, ())
        with pytest.raises(NeedsOperator) as caught:
            place.dataset.replace([Change(row, (b"canary-value",))])
    assert "canary-value" not in f"{caught.value} {caught.value.__cause__}"
    gone = "sqlite:////nowhere/at/all.db"
    if not url.startswith("sqlite"):
        gone = url.replace("127.0.0.1", "localhost.invalid")
    with pytest.raises(Transient) as unreachable:
        found(gone)
    assert PASSWORD not in str(unreachable.value)
    if url.startswith("sqlite"):
        assert not Path("/nowhere").exists()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_an_account_that_may_not_write_or_sees_not_every_row_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str
) -> None:
    """A census of rows that are hidden would be too low."""
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, kind)
        execute("create table t (id integer primary key, v text)")
        if kind == "postgresql":
            execute("drop role if exists reader")
            execute(f"create role reader login password '{PASSWORD}'")
            reader = url.replace("postgres@", "reader@")
        else:
            execute(f"create or replace user reader identified by '{PASSWORD}'")
            reader = url.replace("root@", "reader@")
        execute("grant select on t to reader")
        assert found(reader) == ["PERMISSION"]
        execute("grant update (v) on t to reader")
        assert found(reader) == []
        if kind == "postgresql":
            execute("alter table t enable row level security")
            assert found(reader) == ["ROW_SECURITY"]
            execute("drop table t")
            execute("drop role reader")
        else:
            execute("set global read_only = on")
            assert found(reader) == ["REPLICA"]
            execute("set global read_only = off")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_locked_row_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str
) -> None:
    """It is busy, and the batch is tried again; so it is after a deadlock."""
    monkeypatch.setattr("certrotd.datasets.connecting.LOCK_SECONDS", 1)
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, kind)
        execute("create table t (id integer primary key, v text)")
        execute("insert into t values (1, 'one')")
        told = entry(url, table="t", key=["id"], columns=["v"], codec="fernet")
        dataset = stack.enter_context(opened("rows", told)).dataset
        [row] = dataset.rows(None, 10, ())
        execute("begin")
        execute("select * from t for update")
        with pytest.raises(Busy):
            dataset.replace([Change(row, (b"new",))])
        execute("rollback")
        assert dataset.replace([Change(row, (b"new",))]) == 1
