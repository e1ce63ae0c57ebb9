"""The profile of symmetric-encryption, by a keystore that the gem itself has made and rotated."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from base64 import b64decode, b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture
VECTORS = Path(__file__).parents[2] / "vectors" / "symmetric_encryption"
KEYS = json.loads((VECTORS / "keystore" / "resolved.json").read_text())
TEXTS = ["hunter2", "123-45-6789", "x" * 200]


def gem_value(text: str, key: dict[str, Any]) -> str:
    """As the gem writes it with a random iv, in base64."""
    padder, iv = PKCS7(128).padder(), os.urandom(16)
    context = Cipher(algorithms.AES(bytes.fromhex(key["key_hex"])), modes.CBC(iv)).encryptor()
    sealed = context.update(padder.update(text.encode()) + padder.finalize()) + context.finalize()
    head = b"@EnC" + bytes([key["version"], 0x40]) + (16).to_bytes(2, "little") + iv
    return b64encode(head + sealed).decode()


def decrypted(key: bytes, iv: bytes, data: bytes) -> bytes:
    context, unpadder = (
        Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor(),
        PKCS7(128).unpadder(),
    )
    return unpadder.update(context.update(data) + context.finalize()) + unpadder.finalize()


class Binary(yaml.SafeLoader):
    """It takes the tag that Ruby writes."""


def _binary(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bytes:
    return b64decode(str(loader.construct_scalar(node)))


Binary.add_constructor("!binary", _binary)


class Gem:
    """Its configuration of one environment, its key files, and a table."""

    def __init__(self, host: Host) -> None:
        self.host, self.folder = host, host.place / "gem"
        self.folder.mkdir()
        self.file = self.folder / "symmetric-encryption.yml"
        text = (VECTORS / "keystore" / "symmetric-encryption-rolling.yml").read_text()
        text = text.replace("KEYDIR", str(self.folder))
        self.file.write_text("---\n" + text[text.index("production:") :].split("\ntest:")[0])
        self.file.chmod(0o600)
        for each in (VECTORS / "keystore").glob("my_app_*"):
            shutil.copy(each, self.folder)
            (self.folder / each.name).chmod(0o600)
        self.database = host.place / "app.db"
        host.config["targets"] = {"app": {"type": "command", "command": ["/bin/true"]}}
        (host.place / "conf.d").mkdir()
        self.execute("create table users (id integer primary key, encrypted_ssn varchar(400))")
        for text in TEXTS:
            self.insert(gem_value(text, KEYS[0]))

    def execute(self, sql: str, *told: object) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(sql, told).fetchall()

    def insert(self, value: str) -> None:
        self.execute("insert into users (encrypted_ssn) values (?)", value)

    def values(self) -> list[str]:
        return [value for (value,) in self.execute("select encrypted_ssn from users order by id")]

    def ciphers(self) -> dict[int, bytes]:
        """The keys by their versions, in the order of the file, as the gem opens them."""
        found = {}
        for each in yaml.load(self.file.read_text(), Binary)["production"]["ciphers"]:
            kek, kekek = (
                each["key_encrypting_key"],
                each["key_encrypting_key"]["key_encrypting_key"],
            )
            outer = Path(kekek["key_filename"]).read_bytes()
            inner = decrypted(outer, kekek["iv"], kek["encrypted_key"])
            wrapped = Path(each["key_filename"]).read_bytes()
            found[each["version"]] = decrypted(inner, kek["iv"], wrapped)
        return found

    def text(self, value: str) -> tuple[int, str]:
        """The version of its key, and what it is."""
        data = b64decode(value)
        assert (data[:4], data[5]) == (b"@EnC", 0x40)
        return data[4], decrypted(self.ciphers()[data[4]], data[8:24], data[24:]).decode()

    def command(self, *more: str) -> list[str]:
        told = ["--profile", "symmetric-encryption", "--database", f"sqlite:///{self.database}"]
        told += ["--from", str(self.file), "--table", "users=encrypted_ssn"]
        told += [f"--set=key_directory={self.folder}", "--set=stem=my_app_production"]
        return ["adopt", "shop", *told, *more]


@pytest.fixture
def gem(host: Host) -> Gem:
    return Gem(host)


def test_the_gem_s_own_file_is_adopted_and_every_value_comes_under_a_new_cipher(
    gem: Gem, host: Host
) -> None:
    """Its file stays to the byte until there is a new key."""
    known = {each["version"]: bytes.fromhex(each["key_hex"]) for each in KEYS}
    assert gem.ciphers() == known
    plan = host.json(*gem.command())
    [row] = plan["datasets"]
    assert (row["left"], row["unopened"], row["problems"]) == (len(TEXTS), 0, [])
    before = gem.file.read_bytes()
    host.keys(*gem.command("--target", "app", "--write"))
    assert gem.file.read_bytes() == before
    assert host.states("shop") == {1: "decrypt-only", 2: "active"}
    host.keys("rotate", "shop", "--reason", "test")
    assert [*gem.ciphers()] == [3, 1, 2]
    assert {n: key for n, key in gem.ciphers().items() if n < 3} == known
    host.keys("reencrypt", "shop")
    [row] = host.json("reencrypt", "shop", "--dry-run")
    assert [each["count"] for each in row["values"]] == [0, 0, len(TEXTS)]
    assert row["counted"] == "by the beginnings of ciphertext"
    assert [gem.text(value) for value in gem.values()] == [(3, text) for text in TEXTS]


def test_what_opens_to_something_else_is_listed_and_not_touched(gem: Gem, host: Host) -> None:
    """It names the key, and was written by another one; or it has no header at all."""
    host.keys(*gem.command("--target", "app", "--write"))
    wrong = gem_value("x" * 64, {**KEYS[1], "version": 1})
    bare = gem_value("bare", KEYS[0])[32:]
    gem.insert(wrong)
    gem.insert(bare)
    host.keys("rotate", "shop", "--reason", "test")
    words = host.failed("reencrypt", "shop")
    assert "2 values of users cannot be re-encrypted" in words
    assert gem.values()[3:] == [wrong, bare]
    assert [gem.text(value)[0] for value in gem.values()[:3]] == [3, 3, 3]
