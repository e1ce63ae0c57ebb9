"""Searchable columns, as a person rotates their key: refused, counted, and named in the proof."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.blind_index import BlindIndex
from certrotd.codecs.tink import Tink
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.unit.cli.ring import Host, host
from tests.unit.cli.test_key_proof import IDENTITY, RECIPIENT, destroy, lacking, until

__all__ = ["host"]  # a fixture
REASON = ("--reason", "test")
INDEX = BlindIndex()


@pytest.fixture
def table(host: Host) -> Path:
    """One value with its blind index; the keyring has one key."""
    path = host.place / "app.db"
    rows: dict[str, Any] = {"type": "sql", "url": f"sqlite:///{path}", "table": "t"}
    rows |= {"columns": ["v"], "searchable": {"v": {"blind_index": "v_bidx"}}}
    host.orders["datasets"] = {"rows": {**rows, "search_two_keys": True}}
    host("rotate", "key/orders")
    [entry] = json.loads((host.place / "keys.json").read_text())["key"]
    key = DataKey(1, Algorithm.AES_256_GCM, Material(host.secrets()[1]), str(entry["keyId"]))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table t (id integer primary key, v blob, v_bidx text)")
        told = Tink().encrypt(b"ada", key), index(host, 1)
        connection.execute("insert into t values (1, ?, ?)", told)
    return path


def index(host: Host, version: int) -> str:
    """That of the value under a version."""
    return INDEX.of(b"ada", host.secrets()[version]).decode()


def stored(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        [(told,)] = connection.execute("select v_bidx from t").fetchall()
    return str(told)


def test_a_key_stays_while_one_row_has_a_blind_index_under_it(
    host: Host, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although its ciphertext is under the new one; the proof says how that was seen."""
    identity = host.place / "identity"
    identity.write_bytes(IDENTITY.text.reveal())
    identity.chmod(0o600)
    backup = {"directory": str(host.place / "backups"), "recipients": list(RECIPIENT.recipients)}
    host.orders.update(backup=backup, grace="0s", watch="0s", confirm="two")
    host.keys("rotate", "orders", *REASON)
    told = host.keys("reencrypt", "orders", "--dry-run")
    assert "1 row would be read, and 1 value re-encrypted and 1 blind index made anew, in" in told
    assert ["rows", "1", "blind", "index", "-", "1"] in [line.split() for line in told.splitlines()]
    assert "rows: v is searched by: meanwhile the application searches under both keys" in told
    host.keys("reencrypt", "orders")
    assert stored(table) == index(host, 2)
    [row] = host.json("reencrypt", "orders", "--dry-run")
    assert (row["blind_indexes"], row["blind_indexes_left"], row["left"]) == ({"2": 1}, 0, 0)

    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("update t set v_bidx = ?", (index(host, 1),))
    host("watch")
    assert "blind-index-remains" in lacking(host)
    assert "rows still has 1 blind index under the key" in host.keys("show", "orders")
    host.keys("reencrypt", "orders")
    assert stored(table) == index(host, 2)

    host.keys("drill", "orders", "--identity", str(identity))
    host.keys("scan", "orders")
    until(host, "disabled")
    destroy(host, monkeypatch)
    shown = host.keys("prove", "orders", "1")
    assert "by opening every value and making its blind indexes" in shown
    [count] = host.json("prove", "orders", "1")["proof"]["census"].values()
    assert (count["left"], count["blind_indexes"]) == (0, 0)


def test_a_rotation_in_stages_is_refused_where_the_application_searches_under_one_key(
    host: Host, table: Path
) -> None:
    """Before there is a second key; the words name the cut-over. A compromise does not wait."""
    host.orders["datasets"]["rows"]["search_two_keys"] = False
    words = "v is searched under one key (search_two_keys: false)"
    refused = host.failed("rotate", "orders", *REASON)
    assert words in refused
    assert "Stop it for the rotation, by cutover: see docs/keys/cut-over.md" in refused
    assert host.states() == {1: "active"}
    told = host("keys", "reencrypt", "orders", "--dry-run")
    assert (host.code, words in told) == (1, True)

    host.keys("compromise", "orders", "--reason", "test", "--confirm", "orders")
    host("rotate", "key/orders")
    assert stored(table) == index(host, 2)
    host("keys", "reencrypt", "orders")
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("update t set v_bidx = ?", (index(host, 1),))
    host.keys("reencrypt", "orders")
    assert stored(table) == index(host, 2)


def test_an_undeclared_blind_index_is_found_by_its_name(host: Host, table: Path) -> None:
    """It is a hash under the old key, which nothing else would tell; what is declared is none."""
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("alter table t add column v_ci_bidx_v2 text")
        connection.execute("create table other (id integer primary key, v_bidx text)")
        connection.execute("insert into other values (1, 'x')")
    host.keys("scan", "orders")
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("update t set v_ci_bidx_v2 = 'x'")
    host("keys", "scan", "orders")
    assert host.code == 1
    assert "by its name, it is a blind index of an encrypted column" in host.out
    assert "app.db/t.v_ci_bidx_v2" in host.out
    assert "other" not in host.out


PROBE = """
import base64, hmac, os, sqlite3, sys
place = os.path.dirname(__file__)
key = open(f"{place}/app.env").read().strip().partition("KEY=")[2]
if os.path.exists(f"{place}/reads") and open(f"{place}/reads").read() != key:
    sys.exit("it does not read")
index = base64.b64encode(hmac.digest(bytes.fromhex(key), b"ada", "sha256")).decode()
rows = sqlite3.connect(f"{place}/app.db").execute("select 1 from t where v_bidx = ?", (index,))
sys.exit(0 if len(rows.fetchall()) == 1 else "it does not find its row")
"""


def test_a_key_of_the_index_alone_is_replaced_by_hand(
    host: Host, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keyring has one key, and keeps it; the dry run says what is to be done."""
    monkeypatch.setenv("PREVIOUS_INDEX_KEY", host.secrets()[1].hex())
    monkeypatch.setenv("INDEX_KEY", "42" * 32)
    own = {"key": {"env": "INDEX_KEY"}, "previous_key": {"env": "PREVIOUS_INDEX_KEY"}}
    host.orders["datasets"]["rows"]["searchable"]["v"] |= own
    told = host.keys("reencrypt", "orders", "--dry-run")
    assert "0 values re-encrypted and 1 blind index made anew" in told
    assert ["rows", "previous", "blind", "index", "-", "1"] in map(str.split, told.splitlines())
    host.keys("reencrypt", "orders")
    assert stored(table) == INDEX.of(b"ada", b"\x42" * 32).decode()
    assert host.states() == {1: "active"}
    assert "42" * 32 not in host.out + host.err


def test_a_cut_over_takes_an_application_that_searches_under_one_key(
    host: Host, table: Path
) -> None:
    """It finds its row by the new key; after an undo, by the old one."""
    first = host.secrets()[1].hex()
    (host.place / "probe.py").write_text(PROBE)
    argv = [sys.executable, str(host.place / "probe.py")]
    mark = str(host.place / "stopped")
    cutover: dict[str, Any] = {"stop": ["touch", mark], "start": ["rm", "-f", mark]}
    cutover["stopped"] = ["test", "-e", mark]
    output = {"type": "dotenv", "path": str(host.place / "app.env"), "key": "KEY"}
    (host.place / "app.env").write_text(f"KEY={first}\n")
    host.orders["datasets"]["rows"]["search_two_keys"] = False
    host.orders["outputs"] = [{**output, "encoding": "hex"}]
    host.orders["cutover"] = {**cutover, "probe": {"command": argv, "within": "1s"}}
    backup = {"directory": str(host.place / "backups"), "recipients": list(RECIPIENT.recipients)}
    host.orders["backup"] = backup
    host("rotate", "key/orders")
    assert "1 row would be re-encrypted, and the" in host.keys("rotate", "orders", "--dry-run")
    assert "search" not in host.keys("reencrypt", "orders", "--dry-run")

    (host.place / "reads").write_text(first)
    assert "rolled back to proven" in host.failed("rotate", "orders", *REASON)
    assert stored(table) == index(host, 1)
    (host.place / "reads").unlink()
    host.keys("rotate", "orders", *REASON)
    [active] = [number for number, state in host.states().items() if state == "active"]
    assert active > 1
    assert stored(table) == index(host, active)
