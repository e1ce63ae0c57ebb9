"""What MariaDB does to a table that is rewritten, unless it is told not to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.port import Busy, Change, Dataset, Key, Row
from certrotd.errors import NeedsOperator, Transient
from tests.contract.kek_rigs import Part
from tests.parts import pki
from tests.parts.mariadb import PASSWORD, MariaDB
from tests.parts.process import wait_until

Execute = Callable[..., list[Any]]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def server(part: Part, monkeypatch: pytest.MonkeyPatch) -> MariaDB:
    """A server with a database d that is empty."""
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    found: MariaDB = part(MariaDB)
    with found.connect() as admin, admin.cursor() as cursor:
        cursor.execute("create or replace database d")
    return found


@pytest.fixture
def execute(server: MariaDB, stack: ExitStack) -> Execute:
    """The application, whose session is not strict."""
    connection = stack.enter_context(server.connect("d"))

    def run(sql: str, *told: object) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(sql, told or None)
            return list(cursor.fetchall())

    run("set time_zone = '+00:00'")
    return run


@pytest.fixture
def dataset(server: MariaDB, stack: ExitStack) -> Callable[..., Dataset]:
    """The table t, whatever it is."""

    def get(**more: Any) -> Dataset:
        told = {"type": "sql", "url": server.url("d"), "table": "t", "columns": ["v"], **more}
        told["password"] = {"env": "DATABASE_PASSWORD"}
        entry = SqlDatasetEntry.model_validate(told)
        return stack.enter_context(opened("rows", entry)).dataset

    return get


def walked(dataset: Dataset, most: int) -> list[Row]:
    """Every row, in batches of so many."""
    found: list[Row] = []
    after: Key | None = None
    while batch := dataset.rows(after, most, ()):
        found += batch
        after = batch[-1].key
    return found


def test_times_that_change_at_each_update_stay_as_they_are(
    execute: Execute, dataset: Callable[..., Dataset]
) -> None:
    """Also those of the hour that comes twice in autumn, and a date of zeros."""
    execute("create table t (id integer primary key, v blob, made timestamp default 0, "
            "at timestamp on update current_timestamp, "
            "other datetime(6) default 0 on update current_timestamp(6))")  # fmt: skip
    times = ["2026-10-25 00:30:00", "2026-10-25 01:30:00", "0000-00-00 00:00:00"]
    for n, at in enumerate(times):
        execute("insert into t values (%s, 'old', %s, %s, %s)", n, at, at, at)
    before = execute("select id, made, at, other from t")
    rows = dataset().rows(None, 10, ())
    assert dataset().replace([Change(row, (b"new",)) for row in rows]) == 3
    assert execute("select id, made, at, other from t") == before
    assert execute("select distinct v from t") == [(b"new",)]
    execute("update t set v = 'theirs' where id = 0")
    assert execute("select at from t where id = 0") != [before[0][2:3]]  # the negative control


def test_a_value_that_is_too_long_is_refused_where_the_server_would_cut_it(
    execute: Execute, dataset: Callable[..., Dataset]
) -> None:
    """Nothing of the batch is written."""
    execute("create table t (id integer primary key, v varchar(5))")
    execute("insert into t values (1, 'one'), (2, 'two')")
    rows = dataset(codec="fernet").rows(None, 10, ())
    changes = [Change(rows[0], (b"short",)), Change(rows[1], (b"canary-too-long",))]
    with pytest.raises(NeedsOperator, match="too long for column") as caught:
        dataset().replace(changes)
    assert "canary" not in str(caught.value)
    assert execute("select v from t") == [("one",), ("two",)]
    execute("update t set v = 'canary-too-long' where id = 2")
    assert execute("select v from t where id = 2") == [("canar",)]  # the negative control


@pytest.mark.parametrize("collation", ["latin1_swedish_ci", "utf8mb4_bin", "utf8mb4_unicode_ci"])
def test_neither_case_nor_trailing_space_nor_padding_makes_two_values_one(
    execute: Execute, dataset: Callable[..., Dataset], collation: str
) -> None:
    """In the columns of keys, too, whose order is that of their own collation."""
    charset = collation.partition("_")[0]
    text = f"varchar(40) character set {charset} collate {collation}"
    execute(f"create table t (tenant {text}, id bigint unsigned, v {text}, w blob, note {text}, "
            "primary key (tenant, id))")  # fmt: skip
    keys = [("Ä", 2**63 + 1), ("a", 2), ("a", 10), ("B", 1), ("c'\\", 1), ("ß", 3)]
    for key in keys:
        execute("insert into t values (%s, %s, 'v3:AbC', %s, 'ö')", *key, bytes(range(256)))
    data = dataset(key=["tenant", "id"], columns=["v", "w"])
    for most in (1, 2, 100):
        rows = walked(data, most)
        assert sorted(each.key for each in rows) == sorted(keys)
    assert {each.values for each in rows} == {(b"v3:AbC", bytes(range(256)))}
    assert data.counts([b"v3:A", b"v3:a", b"V3:A"]).by_beginning == (6, 0, 0)
    for theirs in ("V3:aBc", "v3:AbC ", "v3:Äbc"):
        [row] = data.again([("a", 2)])
        execute("update t set v = %s where tenant = 'a' and id = 2", theirs)
        assert data.replace([Change(row, (b"new", b"new"))]) == 0
        assert execute("select v from t where tenant = 'a' and id = 2") == [(theirs,)]
        assert data.again([("a", 2)])[0].values[0] == theirs.encode()
        execute("update t set v = 'v3:AbC' where tenant = 'a' and id = 2")
    changes = [Change(row, (b"v4:new", b"\0'\\%s")) for row in walked(data, 100)]
    assert data.replace(changes) == 6
    assert data.replace(changes) == 0
    assert execute("select distinct v, w, note from t") == [("v4:new", b"\0'\\%s", "ö")]


def test_the_number_of_rows_is_of_those_that_were_found(
    execute: Execute, dataset: Callable[..., Dataset]
) -> None:
    """Not of those that changed: a value that is the same already was not lost."""
    execute("create table t (id integer primary key, v blob)")
    execute("insert into t values (1, 'same'), (2, null)")
    rows = dataset().rows(None, 10, ())
    assert dataset().replace([Change(row, row.values) for row in rows]) == 1


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("timestamp", ["2026-10-25 00:30:00", "2026-10-25 01:30:00"]),
        ("datetime(3)", ["2026-10-25 00:30:00.125", "2026-10-25 00:30:00.250"]),
        ("date", ["2026-10-25", "2027-01-01"]),
        ("decimal(30,2)", ["1.10", "100000000000000000000000000.01"]),
        ("binary(16)", [b"\0" * 15 + b"'", b"\xff" * 16]),
        ("uuid", ["00000000-0000-0000-0000-000000000001", "ffffffff-0000-0000-0000-00000000000f"]),
    ],
)
def test_rows_are_found_by_keys_of_any_type(
    execute: Execute, dataset: Callable[..., Dataset], kind: str, keys: list[object]
) -> None:
    """Walked, read again and written, each of them alone."""
    execute(f"create table t (id {kind} primary key, v blob)")
    for key in keys:
        execute("insert into t values (%s, 'old')", key)
    data = dataset()
    first, second = walked(data, 1)
    assert [row.key for row in data.again([second.key])] == [second.key]
    assert data.replace([Change(second, (b"new",))]) == 1
    assert execute("select v from t order by id") == [(b"old",), (b"new",)]
    assert data.replace([Change(first, (b"new",))]) == 1


def test_a_batch_of_big_values_is_written_in_several_statements_or_not_at_all(
    execute: Execute, dataset: Callable[..., Dataset]
) -> None:
    """A server takes few MiB in one, and no 64 KiB in a list of values."""
    execute("create table t (id integer primary key, v longblob)")
    sizes = [0, 1, 4_000, 16_384, 65_530, 65_536, 66_000] * 20 + [500_000] * 20
    for n, size in enumerate(sizes):
        execute("insert into t values (%s, %s)", n, bytes([n]) * size)
    rows = dataset().rows(None, 1000, ())
    changes = [Change(row, (bytes(row.values[0] or b"") + b"the new",)) for row in rows]
    execute("alter table t add constraint short check (length(v) < 500001 or id < 159)")
    with pytest.raises(NeedsOperator):
        dataset().replace(changes)
    assert execute("select length(v) from t order by id") == [(size,) for size in sizes]
    execute("alter table t drop constraint short")
    assert dataset().replace(changes) == len(rows) == 140
    told = execute("select v from t where length(v) > 0 order by id")
    assert told == [(bytes([n]) * size + b"the new",) for n, size in enumerate(sizes) if size]


def test_a_deadlock_is_one_of_the_things_that_pass(
    execute: Execute, dataset: Callable[..., Dataset], server: MariaDB
) -> None:
    """Whoever is chosen to give way, nothing is half done."""
    execute("create table t (id integer primary key, v blob)")
    execute("insert into t values (1, 'old'), (2, 'old')")
    rows = dataset().rows(None, 10, ())
    execute("begin")
    execute("insert into t values (3, 'theirs'), (4, 'theirs'), (5, 'theirs')")  # makes it dear
    execute("update t set v = 'theirs' where id = 2")
    told: list[object] = []

    def replace() -> None:
        try:
            told.append(dataset().replace([Change(row, (b"new",)) for row in rows]))
        except Busy as busy:
            told.append(busy)

    thread = threading.Thread(target=replace)
    thread.start()
    waiting = "select count(*) from information_schema.innodb_lock_waits"
    wait_until(lambda: execute(waiting) == [(1,)] or bool(told))
    execute("update t set v = 'theirs' where id = 1")
    execute("commit")
    thread.join()
    assert isinstance(told[0], Busy)
    assert execute("select distinct v from t") == [(b"theirs",)]


def test_a_look_tells_what_a_table_keeps_and_what_a_batch_may_leave(
    execute: Execute, dataset: Callable[..., Dataset]
) -> None:
    """History and engines without transactions; a value behind the end of a column."""
    execute("create table t (id integer primary key, v varchar(3)) with system versioning")
    execute("insert into t values (1, 'one')")
    codes = [each.code for each in dataset(codec="fernet").findings()]
    assert codes == ["width", "history"]
    execute("drop table t")
    execute("create table t (id integer primary key, v text) engine = myisam")
    assert [each.code for each in dataset(codec="fernet").findings()] == ["engine"]


def test_a_column_that_is_written_as_it_is_has_to_be_granted_too(
    execute: Execute, dataset: Callable[..., Dataset], server: MariaDB
) -> None:
    """Before the first batch is refused for it."""
    execute("create table t (id integer primary key, v text, "
            "at timestamp on update current_timestamp)")  # fmt: skip
    execute(f"create or replace user writer identified by '{PASSWORD}'")
    execute("grant select, update (v) on t to writer")
    [found] = dataset(url=server.url("d", "writer"), codec="fernet").findings()
    assert (found.fatal, found.words) == (True, "the account may not SELECT and UPDATE at")
    execute("grant update (at) on t to writer")
    assert dataset(url=server.url("d", "writer"), codec="fernet").findings() == []


def test_a_server_whose_log_takes_no_read_committed_is_told_apart(
    execute: Execute, dataset: Callable[..., Dataset]
) -> None:
    """Before the first batch is refused by it."""
    execute("create table t (id integer primary key, v text)")
    execute("set global binlog_format = 'STATEMENT'")
    try:
        [found] = dataset(codec="fernet").findings()
    finally:
        execute("set global binlog_format = 'MIXED'")
    assert (found.code, found.fatal) == ("binlog", True)


def test_the_certificate_of_the_server_is_verified_by_the_authority_that_is_named(
    execute: Execute, dataset: Callable[..., Dataset], server: MariaDB, tmp_path: Path
) -> None:
    """Another one's is no server."""
    execute("create table t (id integer primary key, v text)")
    assert dataset(url=f"{server.url('d')}?ssl_ca={server.ca}").remaining([]) == 0
    other, _ = pki.make_root("another root").write(tmp_path, "other")
    with pytest.raises(Transient, match="CERTIFICATE"):
        dataset(url=f"{server.url('d')}?ssl_ca={other}").remaining([])


def test_an_account_that_may_not_connect_has_to_be_mended(
    execute: Execute, dataset: Callable[..., Dataset], server: MariaDB
) -> None:
    """It is not waited for as a server that is away."""
    for url in (server.url("d", "nobody"), server.url("no_such_database")):
        with pytest.raises(NeedsOperator) as caught:
            dataset(url=url).remaining([])
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("value", ["canary' for key 'x", "canary\n\n'", "canary" * 20])
def test_a_value_that_is_there_twice_is_in_no_message(
    execute: Execute, dataset: Callable[..., Dataset], value: str
) -> None:
    """The server would tell it."""
    execute("create table t (id integer primary key, v varchar(200) unique)")
    execute("insert into t values (1, %s), (2, 'b')", value)
    [_, row] = dataset().rows(None, 10, ())
    with pytest.raises(NeedsOperator, match="for key") as caught:
        dataset().replace([Change(row, (value.encode(),))])
    assert "canary" not in str(caught.value)
