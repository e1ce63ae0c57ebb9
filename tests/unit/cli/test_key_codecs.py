"""Applications of frameworks, as a person rotates them: adopted, rotated, re-encrypted, proven."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.codecs.errors import CodecError
from certrotd.codecs.laravel import Laravel
from certrotd.codecs.port import Codec
from certrotd.codecs.rails import ActiveRecord
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture
VECTORS = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))["values"]


def filled(host: Host, values: Sequence[str], codec: object) -> Path:
    """A table of what an application stored, and the dataset that is it."""
    path = host.place / "app.db"
    told = {"type": "sql", "url": f"sqlite:///{path}", "table": "t", "columns": ["v"]}
    host.orders["datasets"] = {"rows": {**told, "codec": codec}}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table t (id integer primary key, v text)")
        connection.executemany("insert into t (v) values (?)", [(each,) for each in values])
    return path


def rotated(host: Host, old: int) -> None:
    """Adopt, rotate and re-encrypt; each command does what it says, and a dry run agrees."""
    host.keys("adopt", "orders")
    host.keys("rotate", "orders", "--reason", "test")
    for counts, left in ([old, 0], old), ([0, old], 0):
        [row] = host.json("reencrypt", "orders", "--dry-run")
        assert [each["count"] for each in row["values"]] == counts
        assert (row["left"], row["unopened"], row["plaintext"]) == (left, 0, 0)
        if left:
            host.keys("reencrypt", "orders")
    assert host.states() == {1: "decrypt-only", 2: "active"}


def opens(path: Path, codec: Codec, new: DataKey, old: DataKey) -> list[bytes]:
    """The plaintexts by the new key; the old one opens none of them."""
    with closing(sqlite3.connect(path)) as connection:
        stored = [v.encode() for (v,) in connection.execute("select v from t order by id")]
    for value in stored:
        with pytest.raises(CodecError):
            codec.decrypt(value, old)
    return [codec.decrypt(value, new) for value in stored]


def test_a_laravel_application_reads_all_that_it_stored_with_its_new_key(host: Host) -> None:
    """The old key is under APP_PREVIOUS_KEYS, and the other variables stay."""
    values = [value for value in vectors("laravel.json") if value["cipher"] == "AES-256-CBC"]
    environment = host.place / ".env"
    environment.write_text(f"APP_NAME=shop\nAPP_KEY={values[0]['app_key']}\nAPP_PREVIOUS_KEYS=\n")
    output = {"type": "dotenv", "path": str(environment), "prefix": "base64:"}
    output |= {"key": "APP_KEY", "previous": "APP_PREVIOUS_KEYS"}
    host.orders.update({"algorithm": "aes-256-cbc", "outputs": [output]})
    path = filled(host, [each["ciphertext"] for each in values], "laravel")
    rotated(host, len(values))
    name, new, old = environment.read_text().splitlines()
    assert name == "APP_NAME=shop"
    assert old == f"APP_PREVIOUS_KEYS={values[0]['app_key']}"
    keys = [
        DataKey(1, Algorithm.AES_256_CBC, Material(base64.b64decode(line.partition("base64:")[2])))
        for line in (new, old)
    ]
    texts = [value["plaintext"].encode() for value in values]
    assert opens(path, Laravel(), *keys) == [b's:%d:"%s";' % (len(t), t) for t in texts]


def test_a_rails_application_reads_all_that_it_stored_with_its_new_key(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of any text is adopted; the last one of the list encrypts, and others stay."""
    salt, secret = "a salt of the application", "any-text,that-somebody-chose"
    codec, old = ActiveRecord(salt.encode()), passphrase(secret)
    environment = host.place / "encryption.yml"
    document = {"active_record_encryption": {"primary_key": [secret]}}
    environment.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("SALT", salt)
    output = {"type": "key-list", "path": str(environment), "encoding": "text"}
    host.orders.update({"algorithm": "passphrase", "outputs": [output]})
    plaintexts = [b"row %d " % n * n for n in range(30)]
    values = [codec.encrypt(each, old).decode() for each in plaintexts]
    path = filled(host, values, {"type": "rails", "salt": {"env": "SALT"}})
    rotated(host, len(values))
    found = yaml.safe_load(environment.read_text())["active_record_encryption"]["primary_key"]
    assert found[0].encode() == old.material.reveal()
    assert [len(each) for each in found[1:]] == [32]
    assert opens(path, codec, passphrase(found[-1]), old) == plaintexts


def passphrase(text: str) -> DataKey:
    return DataKey(1, Algorithm.PASSPHRASE, Material(text.encode()))
