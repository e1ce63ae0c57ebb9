"""Tables of what applications stored, re-encrypted in SQLite: known answers, and many more rows."""

from __future__ import annotations

import base64
import json
import pickle
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.clock import ManualClock
from certrotd.codecs.errors import CodecError
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.census import BY_BEGINNING, BY_TRIAL
from certrotd.datasets.configured import opened
from certrotd.datasets.port import Row
from certrotd.datasets.process_child import told, values_of
from certrotd.datasets.reencryption import Pass
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.contract.codec_cases import key_of

VECTORS = Path(__file__).parent.parent / "vectors"
Known = Sequence[tuple[bytes, bytes]]
"""Plaintexts, and what an application made of them."""


@dataclass(frozen=True)
class Table:
    """What a dataset's ``codec`` is, the key that ``known`` answers are under, and options."""

    codec: object
    key: DataKey
    known: Known
    associated_data: str | None = None
    salt: str = "no salt"
    new_id: str = ""

    @cached_property
    def new(self) -> DataKey:
        """The key that its values come under."""
        made = key_of(self.key.algorithm, 2, seed="new")
        return replace(made, id=self.new_id, iv=b"")


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def laravel(cipher: str) -> Table:
    """Serialized strings, as Laravel's encrypter stores them."""
    values = [v for v in vectors("laravel.json")["values"] if v["cipher"].lower() == cipher]
    secret = base64.b64decode(values[0]["app_key"].removeprefix("base64:"))
    texts = [(v["plaintext"].encode(), v["ciphertext"].encode()) for v in values]
    known = [(b's:%d:"%s";' % (len(text), text), stored) for text, stored in texts]
    return Table("laravel", DataKey(1, Algorithm(cipher), Material(secret)), known)


def rails(*, deterministic: bool = False, sha1: bool = False, references: bool = False) -> Table:
    """Attributes of Active Record, of the first primary key or of the deterministic one."""
    kind = "deterministic" if deterministic else "nondeterministic"
    values = [
        value
        for value in vectors("rails.json")["values"]
        if value["hash_digest"].endswith("SHA1") is sha1
        and value["store_key_references"] is references
        and (deterministic or references or len(value["primary_key"]) == 1)
    ]
    secret = values[0]["deterministic_key" if deterministic else "primary_key"]
    codec = {"type": "rails", "salt": {"env": "SALT"}, "deterministic": deterministic}
    codec |= {"digest": "sha1" if sha1 else "sha256", "key_references": references}
    return Table(
        codec,
        passphrase(secret if deterministic else secret[-1]),
        [(value["plaintext"].encode(), value[kind].encode()) for value in values],
        salt=values[0]["key_derivation_salt"],
    )


def node_json() -> Table:
    """Objects that name the number of their key, which need not be its version."""
    key = "3", vectors("node/keystore.json")["keys"]["3"]["key"]
    values = [
        value
        for value in vectors("node/ciphertexts.json")
        if str(value["ciphertext"]["keyVersion"]) == key[0]
    ]
    known = [(v["plaintext"].encode(), json.dumps(v["ciphertext"]).encode()) for v in values]
    old = DataKey(1, Algorithm.AES_256_GCM, Material(bytes.fromhex(key[1])), key[0])
    return Table("node-json", old, known, new_id="4")


def secretbox() -> Table:
    """Values with the slot of their key in front, as PHP's extension made them."""
    told = vectors("secretbox.json")
    secret = Material(bytes.fromhex(told["keys"]["v1"]))
    known = [
        (value["plaintext"].encode(), value["ciphertext"].encode())
        for value in told["values"]
        if value["version"] == "v1"
    ]
    old = DataKey(1, Algorithm.XSALSA20_POLY1305, secret, "v1")
    return Table("secretbox", old, known, new_id="v2")


def passphrase(text: str) -> DataKey:
    return DataKey(1, Algorithm.PASSPHRASE, Material(text.encode()))


def jwe() -> Table:
    """Directly encrypted, as jwcrypto writes it: not as certrotd does."""
    told = vectors("python.json")["jwe"]
    secret, value = told["jwk"]["k"], told["values"][0]
    material = Material(base64.urlsafe_b64decode(secret + "="))
    key = DataKey(1, Algorithm.AES_256_GCM, material, told["jwk"]["kid"])
    known = [(value["plaintext"].encode(), value["compact"].encode())]
    return Table({"type": "jwe"}, key, known, new_id="k2")


def jwe_wrapped() -> Table:
    """Each value by a key of its own, of RFC 7520."""
    [value] = [each for each in vectors("jwe.json") if each["source"].endswith("5.7")]
    material = Material(base64.urlsafe_b64decode(value["k"] + "="))
    key = DataKey(1, Algorithm.AES_256_GCM, material, value["kid"])
    known = [(value["plaintext"].encode(), value["compact"].encode())]
    return Table({"type": "jwe", "alg": "A256GCMKW"}, key, known, new_id="k2")


def wso2() -> Table:
    """With and without keyId, by AES-GCM."""
    values = [
        value
        for value in vectors("wso2.json")
        if value["db_value"] and value["plaintext"] and value["algorithm"] != "AES"
    ]
    values = [value for value in values if value["key"] == values[0]["key"]]
    old = DataKey(1, Algorithm.AES_256_GCM, Material(values[0]["key"].encode()))
    known = [(v["plaintext"].encode(), v["db_value"].encode()) for v in values]
    return Table({"type": "wso2"}, old, known)


def documented(name: str) -> dict[str, Any]:
    """The codec that the page shows under this name."""
    page = (Path(__file__).parents[2] / "docs/keys/codecs.md").read_text(encoding="utf-8")
    [block] = re.findall(rf"```yaml\n(codec:  # {re.escape(name)}.*?)```", page, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)["codec"]
    return found


def lockbox() -> Table:
    """Base64 of nonce, ciphertext and tag, under the key of an attribute."""
    values = vectors("lockbox.json")["values"]
    key = DataKey(1, Algorithm.AES_256_GCM, Material(bytes.fromhex(values[0]["attribute_key"])))
    known = [(v["plaintext"].encode(), v["ciphertext"].encode()) for v in values]
    return Table(documented("Lockbox"), key, known)


def cloak() -> Table:
    """Of @47ng/cloak: each value names its key."""
    told = vectors("node/libs.json")["cloak47"]
    secret = base64.urlsafe_b64decode(told["key"].split(".")[2])
    key = DataKey(1, Algorithm.AES_256_GCM, Material(secret), told["fingerprint"])
    known = [(v["plaintext"].encode(), v["ciphertext"].encode()) for v in told["values"]]
    return Table(documented("@47ng/cloak"), key, known, new_id="feed0001")


def sqlalchemy_utils() -> Table:
    """By a key that is one hash of a passphrase."""
    told = vectors("python.json")["sqlalchemy_utils"]
    values = [value for value in told["values"] if value["engine"] == "AesGcmEngine"]
    known = [(v["plaintext"].encode(), v["stored"].encode()) for v in values]
    return Table(documented("sqlalchemy-utils"), passphrase(told["key"]), known)


def n8n() -> Table:
    """By a key that HKDF makes for each value."""
    told = vectors("node/libs.json")["n8n_gcm"]
    key = DataKey(1, Algorithm.PASSPHRASE, Material(bytes.fromhex(told["key_hex"])))
    known = [(v["plaintext"].encode(), v["ciphertext"].encode()) for v in told["values"]]
    return Table(documented("n8n"), key, known)


def grafana() -> Table:
    """By a key that PBKDF2 makes for each value, in columns of bytes."""
    told = vectors("grafana.json")
    stored = b"*YWVzLWdjbQ*" + bytes.fromhex(told["aes-gcm_hex"])
    known = [(told["plaintext"].encode(), stored)]
    return Table(documented("Grafana"), passphrase(told["secret"]), known)


def message_encryptor() -> Table:
    """Of Rails, with the salt from a secret."""
    [told, *_] = vectors("rails_messages.json")
    derived = told["derived_from"]
    codec = documented("Rails' MessageEncryptor")
    codec["kdf"]["salt"] = {"env": "SALT"}
    known = [(json.dumps(told["plaintext"]).encode(), told["message"].encode())]
    return Table(codec, passphrase(derived["secret_key_base"]), known, salt=derived["salt"])


def bound_to_its_row() -> Table:
    """Bytes with associated data, by a key that PBKDF2 makes with a salt from a secret."""
    codec: dict[str, Any] = {
        "type": "layout",
        "layout": "raw({iv}{ct}{tag})",
        "cipher": "chacha20-poly1305",
    }
    codec |= {"kdf": {"name": "pbkdf2", "iterations": 2, "salt": {"env": "SALT"}}}
    return Table(codec, passphrase("correct horse"), [], "{table}/{pk}")


TABLES: dict[str, Callable[[], Table]] = {
    "node-json": node_json,
    "secretbox": secretbox,
    "laravel-cbc": lambda: laravel("aes-256-cbc"),
    "laravel-gcm": lambda: laravel("aes-128-gcm"),
    "rails": lambda: rails(),
    "rails-sha1": lambda: rails(sha1=True),
    "rails-key-references": lambda: rails(references=True),
    "rails-deterministic": lambda: rails(deterministic=True),
    "jwe": jwe,
    "jwe-wrapped": jwe_wrapped,
    "wso2": wso2,
    "layout-lockbox": lockbox,
    "layout-cloak": cloak,
    "layout-sqlalchemy-utils": sqlalchemy_utils,
    "layout-n8n": n8n,
    "layout-grafana": grafana,
    "layout-message-encryptor": message_encryptor,
    "layout-bound": bound_to_its_row,
}
OWN = 60
"""So many rows are written here, besides those that applications wrote."""


@pytest.mark.parametrize("name", TABLES)
def test_a_table_comes_under_the_new_key_and_nothing_is_left_under_the_old_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every plaintext stays, no neighbour changes, and a second pass writes nothing."""
    table = TABLES[name]()
    monkeypatch.setenv("SALT", table.salt)
    keys = KeySet.of([table.key, table.new], active=2)
    path, clock = tmp_path / "app.db", ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as database,
        opened("rows", entry_of(table, path)) as place,
    ):
        codec = place.form.codec
        assert codec.traits.authenticated
        plaintexts = filled(database, table, place.form.binds, codec.encrypt)
        before, new = content(database), len(plaintexts) - OWN - len(table.known)
        tally = place.tally(keys)
        assert tally.by_version == {1: OWN + len(table.known), 2: new}
        begins = codec.sql_prefixes(codec.key_id_for(table.key) or "")
        assert tally.method == (BY_BEGINNING if begins else BY_TRIAL)

        passed = Pass(place.dataset, place.form, keys, clock, replace(place.pace, batch=7))
        assert passed.run().count == 0

        tally, after = place.tally(keys), content(database)
        assert tally.by_version == {1: 0, 2: len(plaintexts)}
        assert (tally.plaintext, tally.unopened) == (0, 0)
        for number, plaintext in plaintexts.items():
            bound = place.form.binds((number,), 0)
            assert codec.decrypt(after[number], table.new, bound) == plaintext
            with pytest.raises(CodecError):
                codec.decrypt(after[number], table.key, bound)
            if codec.traits.deterministic:  # or the application's queries no longer find it
                assert after[number] == codec.encrypt(plaintext, table.new)
        assert all(after[n] == before[n] for n in plaintexts if n > OWN + len(table.known))
        assert database.execute("select distinct note from t").fetchall() == [("as it was",)]
        assert database.execute("select id from t where v is null").fetchall() == [(0,)]
        passed.run()
        assert content(database) == after


@pytest.mark.parametrize("name", TABLES)
def test_another_process_makes_the_same_of_its_values(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it is told can be sent there."""
    table = TABLES[name]()
    monkeypatch.setenv("SALT", table.salt)
    keys = KeySet.of([table.key, table.new], active=2)
    (tmp_path / "app.db").touch()
    with opened("rows", entry_of(table, tmp_path / "app.db")) as place:
        form = place.form
        assert form.travels
        there = values_of(pickle.loads(pickle.dumps(told(form, keys))))
        row = Row((1,), (form.codec.encrypt(b"text", table.key, form.binds((1,), 0)),), None)
        [change] = there.reencrypted([row]).changes
        [new] = change.values
        assert new is not None
        assert form.codec.decrypt(new, table.new, form.binds((1,), 0)) == b"text"


def entry_of(table: Table, path: Path) -> SqlDatasetEntry:
    told: dict[str, Any] = {
        "type": "sql",
        "url": f"sqlite:///{path}",
        "table": "t",
        "columns": ["v"],
    }
    told |= {"codec": table.codec, "associated_data": table.associated_data}
    if isinstance(table.codec, dict) and table.codec.get("deterministic"):
        told["search_two_keys"] = True
    return SqlDatasetEntry.model_validate(told)


def filled(
    database: sqlite3.Connection,
    table: Table,
    binds: Callable[[tuple[int], int], bytes],
    encrypt: Callable[[bytes, DataKey, bytes], bytes],
) -> dict[int, bytes]:
    """The plaintexts of a new table: known answers, rows of its old key and some of its new one."""
    database.execute("create table t (id integer primary key, v, note text)")
    plaintexts: dict[int, bytes] = {}
    rows: list[tuple[int, bytes | None]] = [(0, None)]
    for plaintext, stored in table.known:
        plaintexts[len(rows)] = plaintext
        rows.append((len(rows), stored))
    for key, count in ((table.key, OWN), (table.new, 5)):
        for n in range(count):
            number = len(rows)
            plaintexts[number] = b"row %d, " % n * n
            rows.append((number, encrypt(plaintexts[number], key, binds((number,), 0))))
    text = [(n, v.decode() if v and v.isascii() else v, "as it was") for n, v in rows]
    database.executemany("insert into t values (?, ?, ?)", text)
    return plaintexts


def content(database: sqlite3.Connection) -> dict[int, bytes]:
    """Every value as bytes."""
    rows = database.execute("select id, v from t where v is not null")
    return {number: v.encode() if isinstance(v, str) else v for number, v in rows}
