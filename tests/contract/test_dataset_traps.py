"""What tables of applications have in them, on every database: nothing is lost by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from certrotd.clock import SystemClock
from certrotd.codecs.errors import Damaged, WrongKey
from certrotd.codecs.port import KeyIds, Traits
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.configured import CODECS, Opened, opened
from certrotd.datasets.keys import AssociatedData
from certrotd.datasets.port import Limited
from certrotd.datasets.reencryption import Pass, Passed, trial
from certrotd.datasets.values import Form
from certrotd.errors import NeedsOperator
from certrotd.keyring.material import Algorithm, DataKey, KeySet
from tests.contract.codec_cases import key_of
from tests.contract.databases import Database, place
from tests.parts.postgresql import PostgreSQL

FERNET = CODECS["fernet"]
KEYS = KeySet.of([key_of(Algorithm.FERNET, n, seed=str(n)) for n in (1, 2)], active=2)
STRANGE = key_of(Algorithm.FERNET, 3, seed="3")


@contextmanager
def table(url: str, **more: Any) -> Iterator[Opened]:
    """The table t, whose column v has Fernet tokens."""
    told: dict[str, Any] = {"type": "sql", "url": url, "table": "t", "columns": ["v"]}
    told |= {"codec": "fernet", "batch": 4, **more}
    if not url.startswith("sqlite"):
        told["password"] = {"env": "DATABASE_PASSWORD"}
    with opened("rows", SqlDatasetEntry.model_validate(told)) as place:
        yield place


def passed(place: Opened, keys: KeySet = KEYS) -> Passed:
    return Pass(place.dataset, place.form, keys, SystemClock(), place.pace).run()


def sealed(text: str | bytes, key: DataKey | None = None) -> str:
    plaintext = text.encode() if isinstance(text, str) else text
    return FERNET.encrypt(plaintext, key or KEYS.keys[1]).decode()


def content(database: Database) -> dict[int, Any]:
    return {each[0]: each[1] for each in database[0]("select id, v from t order by id")}


@pytest.mark.parametrize("plaintext", ["refuse", "encrypt", "leave"])
def test_what_is_no_ciphertext_of_the_keyring_stays_and_is_counted(
    database: Database, plaintext: str
) -> None:
    """Only what opens, once, is re-encrypted; plaintext is what the operator makes of it."""
    execute, url = database
    whole = sealed("whole")
    rows = {
        1: sealed("one"),
        2: None,
        3: "",
        4: "plain text",
        5: sealed(sealed("inner")),
        6: whole[:-8],
        7: sealed("another keyring's", STRANGE),
        8: sealed("done", KEYS.keys[2]),
        9: sealed("nine"),
    }
    execute("create table t (id integer primary key, v varchar(1000))")
    for number, value in rows.items():
        execute("insert into t values (?, ?)", number, value)
    with table(url, plaintext=plaintext) as place:
        before = place.tally(KEYS)
        assert (before.by_version, before.total) == ({1: 2, 2: 1}, 7)
        result = passed(place)
        after = place.tally(KEYS)
        left = place.left(after, 2)
    new = content(database)
    changed = {1, 9, *([4] if plaintext == "encrypt" else [])}
    assert {number for number in rows if new[number] != rows[number]} == changed
    opens = {n: FERNET.decrypt(new[n].encode(), KEYS.keys[2]) for n in changed}
    texts = {1: b"one", 4: b"plain text", 9: b"nine"}
    assert opens == {number: texts[number] for number in changed}
    stuck = [5, 6, 7] if plaintext != "refuse" else [4, 5, 6, 7]
    assert [each.key for each in result.quarantined] == [(n,) for n in stuck]
    assert (after.unopened, left, result.count) == (len(stuck),) * 3
    assert after.plaintext == (1 if plaintext == "leave" else 0)


def test_a_value_that_does_not_fit_holds_up_no_other(database: Database) -> None:
    """The dry run tells before; the row keeps what it has, whole."""
    execute, url = database
    execute("create table t (id integer primary key, v varchar(120), check (length(v) <= 120))")
    long = "x" * 60
    for number in range(12):
        execute("insert into t values (?, ?)", number, long if number == 5 else sealed("one"))
    with table(url, plaintext="encrypt") as place:
        assert place.dataset.findings() == []
        tried = trial(place.dataset, place.form, KEYS, place.pace, SystemClock())
        assert tried.rows == 12
        assert tried.growth[0] > 60
        assert isinstance(place.dataset, Limited)
        narrow = place.dataset.too_narrow(tried.growth)
        assert [each.code for each in narrow] == ([] if url.startswith("sqlite") else ["width"])
        assert place.dataset.too_narrow({0: 0}) == []
        result = passed(place)
        assert place.tally(KEYS).by_version == {1: 0, 2: 11}
    assert [each.key for each in result.quarantined] == [(5,)]
    assert long not in result.quarantined[0].why
    assert content(database)[5] == long


SEARCHABLE = Traits(KeyIds.STRICT, frozenset({Algorithm.AES_256_GCM}), deterministic=True)


@dataclass(frozen=True)
class Deterministic:
    """A codec whose ciphertext can be searched for: AES-SIV (RFC 5297) behind "vN:"."""

    traits: Traits = SEARCHABLE

    def key_id_of(self, ciphertext: bytes) -> str:
        version, colon, _ = ciphertext.partition(b":")
        if not colon or not version.startswith(b"v"):
            raise Damaged("it has no version")
        return version.decode()

    def key_id_for(self, key: DataKey) -> str:
        return f"v{key.version}"

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        try:
            stored = bytes.fromhex(ciphertext.partition(b":")[2].decode())
            return AESSIV(key.material.reveal()).decrypt(stored, [b"-"])
        except (InvalidTag, ValueError):
            raise WrongKey from None

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        stored = AESSIV(key.material.reveal()).encrypt(plaintext or b"-", [b"-"])
        return f"v{key.version}:{stored.hex()}".encode()

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        return (f"{key_id}:".encode(),)


def test_the_same_plaintext_under_both_keys_isolates_itself_from_a_unique_column(
    database: Database,
) -> None:
    """It is listed with the other row, and so is each further one; everything else is done."""
    execute, url = database
    codec = Deterministic()
    keys = KeySet.of([key_of(Algorithm.AES_256_GCM, n, seed=str(n)) for n in (1, 2)], active=2)
    execute("create table t (id integer primary key, v varchar(200) unique)")
    for number in range(20):
        value = codec.encrypt(f"value {number}".encode(), keys.keys[1]).decode()
        execute("insert into t values (?, ?)", number, value)
    for twin, number in ((101, 3), (102, 11)):
        value = codec.encrypt(f"value {number}".encode(), keys.keys[2]).decode()
        execute("insert into t values (?, ?)", twin, value)
    before = content(database)
    with table(url, batch=10) as made:
        place = replace(made, form=Form(codec))
        assert [each.code for each in place.dataset.findings()] == ["unique"]
        result = passed(place, keys)
        assert place.tally(keys).by_version == {1: 2, 2: 20}
    told = {each.key: each.why for each in result.quarantined}
    assert set(told) == {(3,), (11,)}
    assert told[3,].endswith("; so has row 101")
    assert told[11,].endswith("; so has row 102")
    assert all(value[3:] not in why for value in before.values() for why in told.values())
    after = content(database)
    assert {n for n in before if after[n] == before[n]} == {3, 11, 101, 102}


def test_only_the_row_that_is_in_the_way_is_named(database: Database) -> None:
    """A column that is unique together with another has the value elsewhere, too, rightly."""
    execute, url = database
    codec = Deterministic()
    keys = KeySet.of([key_of(Algorithm.AES_256_GCM, n, seed=str(n)) for n in (1, 2)], active=2)
    execute("create table t (id integer primary key, tenant varchar(9), v varchar(200), "
            "unique (tenant, v))")  # fmt: skip
    for number, tenant, version in ((0, "b", 2), (1, "a", 1), (2, "a", 2)):
        value = codec.encrypt(b"same", keys.keys[version]).decode()
        execute("insert into t values (?, ?, ?)", number, tenant, value)
    with table(url) as made:
        result = passed(replace(made, form=Form(codec)), keys)
    [left] = result.quarantined
    assert left.key == (1,)
    assert left.why.endswith("; so has row 2")


def audited(database: Database) -> None:
    """The table t, whose changes are kept in the table log, and that tells when it was changed."""
    execute, url = database
    execute("create table t (id integer primary key, v varchar(200), at integer, note integer)")
    execute("create table log (id integer primary key, v varchar(200))")
    old = "insert into log (id, v) values (old.id, old.v)"
    if url.startswith("postgresql"):
        execute(f"create function audit() returns trigger language plpgsql as 'begin {old}; "
                "new.at = 7; return new; end'")  # fmt: skip
        execute("create trigger audit before update on t for each row execute function audit()")
    elif url.startswith("mariadb"):
        execute(f"create trigger audit before update on t for each row begin {old}; "
                "set new.at = 7; end")  # fmt: skip
    else:
        execute(f"create trigger audit after update of v on t begin {old}; "
                "update t set at = 7 where id = old.id; end")  # fmt: skip
    for number in range(3):
        execute("insert into t values (?, ?, 1, 1)", number, sealed("one"))


def test_a_trigger_that_keeps_old_ciphertext_is_reported_and_its_table_is_a_dataset(
    database: Database,
) -> None:
    """The key is needed for what it keeps."""
    audited(database)
    _, url = database
    with table(url) as place:
        [found] = place.dataset.findings()
        assert (found.code, found.fatal) == ("trigger", False)
        assert "audit" in found.words
        assert "old ciphertext" in found.words
        assert passed(place).count == 0
        assert place.tally(KEYS).by_version == {1: 0, 2: 3}
    with table(url, table="log") as log:
        assert log.tally(KEYS).by_version == {1: 3, 2: 0}
        assert passed(log).count == 0
        assert log.tally(KEYS).by_version == {1: 0, 2: 3}


def test_a_column_that_has_to_stay_stays_or_nothing_is_written(database: Database) -> None:
    """A trigger that changes it ends the pass; one of another column is no matter."""
    audited(database)
    execute, url = database
    before = execute("select * from t order by id")
    changes = pytest.raises(NeedsOperator, match="a column of keep changes with row 0")
    with table(url, keep=["at"]) as place, changes:
        passed(place)
    assert execute("select * from t order by id") == before
    assert execute("select * from log") in ([], ())
    with table(url, keep=["note"]) as place:
        assert passed(place).count == 0
        assert place.tally(KEYS).by_version == {1: 0, 2: 3}
    missing = pytest.raises(NeedsOperator, match="has no column none_such")
    with table(url, keep=["none_such"]) as place, missing:
        passed(place)


def test_a_census_of_nothing_at_all_is_not_believed(database: Database) -> None:
    """An empty database that somebody made just now would release every key."""
    execute, url = database
    execute("create table t (id integer primary key, v varchar(200))")
    execute("insert into t values (1, null), (2, '')")
    with table(url) as place, pytest.raises(NeedsOperator, match="holds no value at all"):
        place.tally(KEYS)
    with table(url, may_be_empty=True) as place:
        assert place.tally(KEYS).total == 0
    execute("insert into t values (3, ?)", sealed("one"))
    with table(url, where="id = 2") as place, pytest.raises(NeedsOperator, match="condition"):
        place.tally(KEYS)


def test_text_that_is_not_utf8_holds_up_no_other_row(tmp_path: Path) -> None:
    """SQLite takes any bytes as text, in keys, too; a NUL at the beginning hides no value."""
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as database:
        database.execute("create table t (id text primary key, v text, w text)")
        for number in range(6):
            key, strange = b"\xff%d" % number, b"\xfe" if number == 3 else None
            told = (key, sealed(key), strange)
            database.execute("insert into t values (cast(? as text), ?, cast(? as text))", told)
        database.execute("insert into t values ('nul', ?, null)", [f"\0{sealed('x')}"])
        with table(f"sqlite:///{tmp_path}/app.db", columns=["v", "w"], batch=2) as place:
            found = passed(place)
            assert sorted(each.field for each in found.quarantined) == [0, 1]
            after = place.tally(KEYS)
            assert (after.by_version, after.unopened) == ({1: 0, 2: 6}, 2)
            data = AssociatedData("{pk}", "t", ("v",), ("id",))
            keys = [row.key for row in place.dataset.rows(None, 100, ())]
            assert b"\xff5" in [data.of(key, 0) for key in keys]
        query = "select cast(id as blob), v, cast(w as blob) from t where id != 'nul'"
        for key, value, strange in database.execute(query):
            assert FERNET.decrypt(value.encode(), KEYS.keys[2]) == key
            assert strange == (b"\xfe" if key.endswith(b"3") else None)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_rows_are_walked_only_by_keys_that_compare_as_they_sort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str
) -> None:
    """Of others rows would be left out, by the census too, or come again for ever."""
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, kind)
        told = {"char(9)": True, "varchar(9)": True, "bit(8)": False, "time": False}
        if kind == "postgresql":
            execute("create extension citext")
            execute("create type mood as enum ('sad', 'ok')")
            execute("create domain short as varchar(9)")
            told |= {"short": True, "citext": False, "mood": False, "boolean": False, "real": False}
        else:
            told |= {"enum('sad', 'ok')": False, "set('sad', 'ok')": False, "double": False}
        for number, (type_, fits) in enumerate(told.items()):
            execute(f"create table t{number} (id {type_} primary key, v char(250))")
            with table(url, table=f"t{number}", batch=1) as at:
                if not fits:
                    with pytest.raises(NeedsOperator, match="cannot be read in the order of id"):
                        at.tally(KEYS)
                    continue
                for key in ("B", "a", "c"):
                    execute(f"insert into t{number} values (?, ?)", key, sealed(key))
                assert passed(at) == Passed(0, (), 3)
                assert at.tally(KEYS).by_version == {1: 0, 2: 3}
        if kind == "postgresql":
            execute("create table u (id integer primary key, v text[])")
            with table(url, table="u") as at:
                [found] = at.findings(staged=True)
                assert (found.code, found.fatal) == ("type", True)


def test_values_of_megabytes_hold_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """MariaDB closes the connection over a statement that is too long, and says nothing."""
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, "mariadb")
        [(_, most)] = execute("show global variables like 'max_allowed_packet'")
        stack.callback(execute, f"set global max_allowed_packet = {most}")
        execute("create table t (id integer primary key, v longtext charset latin1, w longblob)")
        long, medium, plain = sealed("x" * 2_000_000), sealed("x" * 1_200_000), "plain" * 700_000
        for told in ((1, long, None), (2, plain, None), (3, sealed("3"), None), (4, None, medium)):
            execute("insert into t values (?, ?, ?)", *told)
        execute(f"set global max_allowed_packet = {4 * 1024 * 1024}")
        with table(url, columns=["v", "w"], plaintext="encrypt") as at:
            [quarantined] = passed(at).quarantined
            assert (quarantined.key, quarantined.why[:40]) == (
                (2,),
                "it is longer than max_allowed_packet of ",
            )
            assert at.tally(KEYS).by_version == {1: 0, 2: 3}
        [(value,)] = execute("select v from t where id = 1")
        assert FERNET.decrypt(value.encode(), KEYS.keys[2]) == b"x" * 2_000_000


def test_a_trigger_that_refuses_a_row_holds_up_no_other(database: Database) -> None:
    """As a constraint does."""
    execute, url = database
    execute("create table t (id integer primary key, v varchar(500))")
    for number in range(6):
        execute("insert into t values (?, ?)", number, sealed(str(number)))
    if url.startswith("sqlite"):
        execute("create trigger no before update on t when new.id = 3 "
                "begin select raise(abort, 'not this one'); end")  # fmt: skip
    elif url.startswith("mariadb"):
        execute("create trigger no before update on t for each row if new.id = 3 then "
                "signal sqlstate '45000' set message_text = 'not this one'; end if")  # fmt: skip
    else:
        execute("create function no() returns trigger language plpgsql as "
                "$$begin raise exception 'not this one'; end$$")  # fmt: skip
        execute("create trigger no before update on t for each row when (new.id = 3) "
                "execute function no()")  # fmt: skip
    with table(url) as at:
        [quarantined] = passed(at).quarantined
        assert quarantined.words(at.dataset.fields) == "v of row 3: the dataset rows: not this one"
        assert at.tally(KEYS).by_version == {1: 1, 2: 5}


def test_a_database_without_a_character_set_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """SQL_ASCII, as old installations of PostgreSQL have it."""
    with ExitStack() as stack:
        execute, url = place(request, tmp_path, monkeypatch, stack, "postgresql")
        execute("drop database if exists ascii")
        execute("create database ascii template template0 encoding 'SQL_ASCII' "
                "lc_collate 'C' lc_ctype 'C'")  # fmt: skip
        part = request.getfixturevalue("part")
        with part(PostgreSQL).connect("ascii") as connection:
            connection.execute("set client_encoding to 'UTF8'")
            connection.execute("create table t (id text primary key, v text)")
            connection.execute("insert into t values ('é', %s)", [sealed("one")])
        with table(url.rpartition("/")[0] + "/ascii") as at:
            assert passed(at).count == 0
            assert at.tally(KEYS).by_version == {1: 0, 2: 1}
