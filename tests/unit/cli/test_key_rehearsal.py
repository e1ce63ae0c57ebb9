"""``certrotd keys rehearse``, and what a listing says of the last rehearsal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.fernet import FernetTokens
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture


@pytest.fixture
def table(host: Host) -> Path:
    """Three values of a key, and a dataset that a program counts."""
    path = host.place / "app.db"
    rows = {"type": "sql", "url": f"sqlite:///{path}", "table": "t", "columns": ["v"]}
    host.orders.update(
        datasets={"rows": {**rows, "codec": "fernet"}, "logs": {"census": ["/bin/true"]}},
        algorithm="fernet",
        outputs=[],
    )
    host("rotate", "key/orders")
    assert host.code == 0, host.err
    key = DataKey(1, Algorithm.FERNET, Material(host.secrets()[1]))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table t (id integer primary key, v text)")
        values = [(n, FernetTokens().encrypt(b"x", key).decode()) for n in range(3)]
        connection.executemany("insert into t values (?, ?)", values)
    return path


def test_a_rehearsal_is_shown_in_words_and_in_json(host: Host, table: Path) -> None:
    """How much was copied, how long it took, what was left out; a listing remembers it."""
    assert table.exists()
    told = host("keys", "rehearse", "orders")
    assert host.code == 0, host.err
    line = next(each for each in told.splitlines() if each.startswith("rows"))
    assert line.split()[1:3] == ["3", "3"]
    assert "logs is not rehearsed" in told
    assert "the rehearsal of version 1: a new key in" in told
    found: dict[str, Any] = json.loads(host("keys", "rehearse", "orders", "--json"))
    assert (found["version"], found["problems"], found["left_out"]) == (1, [], ["logs"])
    assert "rehearsed at" in host("keys", "show", "orders")
    report = json.loads(host("keys", "report", "--format", "json"))
    assert [each["version"] for each in report["rehearsals"]] == [1, 1]


def test_a_rehearsal_that_fails_says_why_and_exits_with_1(host: Host, table: Path) -> None:
    """The report for assessors has it as an exception."""
    table.unlink()
    told = host("keys", "rehearse", "orders")
    assert host.code == 1
    assert "the rehearsal of version 1: failed: " in told
    report = json.loads(host("keys", "report", "--format", "json"))
    assert "rehearsal-failed" in [each["kind"] for each in report["exceptions"]]
    assert report["totals"]["rehearsals failed"] == 1
