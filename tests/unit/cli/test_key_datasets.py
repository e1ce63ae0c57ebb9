"""``certrotd keys reencrypt``, as a person uses it."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.stream import encrypt
from certrotd.codecs.stream_header import new_header
from certrotd.codecs.tink import Tink
from certrotd.datasets.port import PreflightFinding
from certrotd.datasets.sql import SqlDataset
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture


@pytest.fixture
def table(host: Host) -> Path:
    """Three values under a key that was replaced, one that nobody can open, and one empty."""
    path = host.place / "app.db"
    dataset = {"type": "sql", "url": f"sqlite:///{path}", "table": "t", "columns": ["v"]}
    host.orders["datasets"] = {"rows": dataset}
    host("rotate", "key/orders")
    [entry] = json.loads((host.place / "keys.json").read_text())["key"]
    key = DataKey(1, Algorithm.AES_256_GCM, Material(host.secrets()[1]), str(entry["keyId"]))
    rows: list[tuple[int, Any]] = [(n, Tink().encrypt(b"x", key)) for n in range(3)]
    rows += [(3, b"canary"), (4, None)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table t (id integer primary key, v blob)")
        connection.executemany("insert into t values (?, ?)", rows)
        connection.execute("create trigger tr after update on t begin select 1; end")
    host("keys", "rotate", "orders", "--reason", "test")
    assert host.code == 0, host.err
    return path


def content(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("select * from t").fetchall()


def test_a_dry_run_counts_and_looks_and_changes_nothing(host: Host, table: Path) -> None:
    """What does not open is named by its row, and is not shown."""
    before = content(table)
    told = host("keys", "reencrypt", "orders", "--dry-run")
    assert host.code == 1
    assert "canary" not in told
    assert [line.split()[-1] for line in told.splitlines()[1:4]] == ["3", "0", "1"]
    assert "rows: cannot be re-encrypted: v of row 3: the ciphertext is not of Tink's" in told
    assert "rows: the trigger tr runs at each UPDATE" in told
    assert "4 rows would be read, and 3 values re-encrypted, in at least" in told
    assert "(judged by 4 of them, in memory)" in told
    assert content(table) == before
    [row] = json.loads(host("keys", "reencrypt", "orders", "--dry-run", "--json"))
    assert (row["unopened"], row["rows"], row["left"]) == (1, 4, 3)


def test_a_column_that_is_too_narrow_is_told_before_anything_is_written(
    host: Host, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By how much the values grew that were tried; SQLite itself heeds no length."""
    asked: list[object] = []

    def narrow(_self: SqlDataset, growth: object) -> list[PreflightFinding]:
        asked.append(growth)
        return [PreflightFinding("width", "v takes 30 characters", fatal=True)]

    monkeypatch.setattr(SqlDataset, "too_narrow", narrow)
    told = host("keys", "reencrypt", "orders", "--dry-run")
    assert host.code == 1
    assert "rows: cannot be re-encrypted: v takes 30 characters" in told
    assert asked == [{0: 0}]


def test_what_does_not_open_is_mended_and_the_rest_is_done(host: Host, table: Path) -> None:
    """The first run says why it failed; the second one has nothing to complain about."""
    host("keys", "reencrypt", "orders")
    assert host.code == 1
    assert "what was re-encrypted stays so" in host.out
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("delete from t where id = 3")
    host("keys", "reencrypt", "orders")
    assert host.code == 0, host.out
    told = host.keys("reencrypt", "orders", "--dry-run")
    assert host.code == 0
    assert [line.split()[-1] for line in told.splitlines()[1:3]] == ["0", "3"]


def test_a_keyring_without_such_a_dataset_has_nothing_to_reencrypt(host: Host) -> None:
    """In one line, dry or not; and a database that is away is named."""
    host("rotate", "key/orders")
    for more in ((), ("--dry-run",)):
        host("keys", "reencrypt", "orders", *more)
        assert host.code != 0
        assert "no dataset that certrotd re-encrypts" in host.out + host.err
    gone = {"type": "sql", "url": "sqlite:////nowhere/a.db", "table": "t", "columns": ["v"]}
    host.orders["datasets"] = {"rows": gone}
    host("keys", "reencrypt", "orders", "--dry-run")
    assert host.code == 1
    assert (
        "the dataset rows cannot be reached: unable to open database file: /nowhere/a.db"
        in host.out
    )


def test_files_get_new_content_keys_once_the_old_key_is_known_to_others(host: Host) -> None:
    """Although they are wrapped by the new key already: the census says so, and a run ends it."""
    root = host.place / "docs"
    root.mkdir()
    host.orders["datasets"] = {"docs": {"type": "files", "roots": [str(root)]}}
    host("rotate", "key/orders")
    [entry] = json.loads((host.place / "keys.json").read_text())["key"]
    key = DataKey(1, Algorithm.AES_256_GCM, Material(host.secrets()[1]), str(entry["keyId"]))
    header = new_header(key)
    path, content = root / "one", io.BytesIO()
    encrypt(header, io.BytesIO(b"content").readinto, content.write)
    path.write_bytes(header.data + content.getvalue())
    strange = root / os.fsdecode(b"two\xff\x1b[31m")
    strange.write_bytes(b"canary")
    host("keys", "rotate", "orders", "--reason", "test")
    host("keys", "reencrypt", "orders")
    assert host.code == 1
    assert f"{root}/two\\udcff\\x1b[31m: it is no encrypted file" in host.out
    assert "canary" not in host.out + host.err
    for more in ((), ("--json",)):
        assert "two\\udcff\\" in host("keys", "reencrypt", "orders", "--dry-run", *more)
        assert host.code == 1
    strange.unlink()
    host.keys("reencrypt", "orders")
    host.keys("compromise", "orders", "1", "--reason", "test", "--confirm", "orders")
    [told] = json.loads(host.keys("reencrypt", "orders", "--dry-run", "--json"))
    assert [each["count"] for each in told["values"]] == [1, 0]
    assert path.read_bytes().endswith(content.getvalue())
    host.keys("reencrypt", "orders")
    assert [line.split()[-1] for line in host.keys("reencrypt", "orders", "--dry-run").splitlines()
            [1:3]] == ["0", "1"]  # fmt: skip
    assert not path.read_bytes().endswith(content.getvalue())


def test_a_dry_run_takes_no_workers(host: Host) -> None:
    """It is one process that counts; a shard is a worker's, and is never tried."""
    for more in (["--dry-run", "--workers=2"], ["--dry-run", "--shard=0/2"]):
        host("keys", "reencrypt", "orders", *more)
        assert host.code == 2, more
        assert "a dry run has no workers" in host.err or "only --wait goes with it" in host.err
