"""``python -m demo.consumer``: an application that encrypts what it stores, and never rests.

It reads its keys from one file (a Tink keyset, or two slots of a .env file), reads it again at
SIGHUP, and writes the SHA-256 of what it has read beside its name: its acknowledgement. Meanwhile
it stores messages in a table that all such processes share, and decrypts what the others stored. It
counts what it cannot decrypt.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TABLE = (
    "create table if not exists message (id integer primary key, writer text, value blob);"
    "create table if not exists result"
    " (reader text primary key, good integer, bad integer, last text)"
)
PAUSE = 0.004
NONCE = 12


@dataclass(frozen=True)
class Keys:
    """AES-GCM keys by the prefix of their ciphertext, and the prefix to encrypt with."""

    by_prefix: Mapping[bytes, AESGCM]
    active: bytes
    digest: str

    def encrypt(self, text: bytes) -> bytes:
        """The prefix, a nonce, and the ciphertext."""
        nonce = os.urandom(NONCE)
        return self.active + nonce + self.by_prefix[self.active].encrypt(nonce, text, b"message")

    def decrypt(self, value: bytes) -> bytes:
        """The text; raises KeyError for an unknown key."""
        size = len(self.active)
        prefix, nonce = value[:size], value[size : size + NONCE]
        return self.by_prefix[prefix].decrypt(nonce, value[size + NONCE :], b"message")


def tink(data: bytes) -> Keys:
    """The keys of a cleartext Tink keyset of AES-GCM keys."""
    told = json.loads(data)
    keys = {}
    for each in told["key"]:
        # AesGcmKey is one field of bytes: its tag, its length, the key
        secret = base64.b64decode(each["keyData"]["value"])[2:]
        keys[b"\x01" + int(each["keyId"]).to_bytes(4, "big")] = AESGCM(secret)
    active = b"\x01" + int(told["primaryKeyId"]).to_bytes(4, "big")
    return Keys(keys, active, hashlib.sha256(data).hexdigest())


def dotenv(data: bytes) -> Keys:
    """The keys of KEY_V1 and KEY_V2, of which KEY_VERSION names one."""
    lines = (line.partition("=") for line in data.decode().splitlines() if "=" in line)
    said = {name: value.strip("\"'") for name, _, value in lines}
    keys = {
        f"{slot}:".encode(): AESGCM(base64.b64decode(said[name]))
        for slot, name in (("v1", "KEY_V1"), ("v2", "KEY_V2"))
        if said.get(name)
    }
    return Keys(keys, f"{said['KEY_VERSION']}:".encode(), hashlib.sha256(data).hexdigest())


FORMS = {"tink": tink, "dotenv": dotenv}


class Consumer:
    """One process of the application."""

    def __init__(self, name: str, keys: Path, form: str, folder: Path) -> None:
        self.name = name
        self._path = keys
        self._form = FORMS[form]
        self._folder = folder
        self._stale = threading.Event()
        self._ended = threading.Event()
        self._stale.set()

    def run(self) -> None:
        """Store and read until told to stop."""
        signal.signal(signal.SIGHUP, lambda *_: self._stale.set())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ended.set())
        database = sqlite3.connect(self._folder / "messages.db", timeout=30, isolation_level=None)
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=off")
        database.executescript(TABLE)
        keys = self._read()
        (self._folder / f"{self.name}.pid").write_text(f"{os.getpid()}\n")
        good = bad = 0
        last = ""
        while not self._ended.is_set():
            if self._stale.is_set():
                keys = self._read()
            text = f"{self.name} {time.monotonic_ns()}".encode()
            add = "insert into message (writer, value) values (?, ?)"
            database.execute(add, (self.name, keys.encrypt(text)))
            for writer, value in _some(database):
                try:
                    good += keys.decrypt(value).startswith(writer.encode())
                except (KeyError, InvalidTag) as error:
                    bad += 1
                    last = f"{writer}: {type(error).__name__}"
            tell = "insert or replace into result values (?, ?, ?, ?)"
            database.execute(tell, (self.name, good, bad, last))
            time.sleep(PAUSE)

    def _read(self) -> Keys:
        """The keys as they are in the file, acknowledged once they are in use."""
        self._stale.clear()
        keys = self._form(self._path.read_bytes())
        said = self._folder / f"{self.name}.ack"
        new = said.with_suffix(".new")
        new.write_text(f"{keys.digest}\n")
        new.rename(said)
        return keys


def _some(database: sqlite3.Connection) -> list[Any]:
    """The newest messages, and some of any age."""
    [[most]] = database.execute("select coalesce(max(id), 0) from message")
    ids = [most, most - 1, most - 2, *(random.randint(1, max(1, most)) for _ in range(3))]
    marks = ", ".join("?" * len(ids))
    return database.execute(
        f"select writer, value from message where id in ({marks})", ids
    ).fetchall()


def main() -> None:
    """Run one process."""
    parser = argparse.ArgumentParser()
    for option in ("--name", "--keys", "--form", "--folder"):
        parser.add_argument(option, required=True)
    said = parser.parse_args()
    Consumer(said.name, Path(said.keys), said.form, Path(said.folder)).run()


if __name__ == "__main__":
    main()
