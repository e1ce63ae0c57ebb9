"""A re-encryption that is killed leaves each row with the ciphertext and the index of one key."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.blind_index import BlindIndex, IndexEncoding, Step
from certrotd.codecs.tink import Tink
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.integration.keyring_shop import keyset
from tests.parts import Parts
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PASSWORD, PostgreSQL
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.integration
ROWS = 3000
DATABASE = "shop"
INDEX = BlindIndex(encoding=IndexEncoding.HEX, steps=(Step.LOWER,))


class Application:
    """It searches by e-mail address, under every key that it has."""

    def __init__(self, server: PostgreSQL | MariaDB, keys: Path) -> None:
        self.server = server
        self.path = keys

    def known(self) -> list[DataKey]:
        """That which encrypts comes first."""
        primary, found = keyset(self.path)
        order = sorted(found, key=lambda number: number != primary)
        return [
            DataKey(1, Algorithm.AES_256_GCM, Material(found[number]), str(number))
            for number in order
        ]

    def fill(self) -> None:
        [key] = self.known()
        binary = "bytea" if isinstance(self.server, PostgreSQL) else "varbinary(500)"
        rows = [
            (number, Tink().encrypt(b"%d@Example.org" % number, key), index(number, key))
            for number in range(ROWS)
        ]
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute(f"create table users (id integer primary key, email {binary}, "
                           "email_bidx char(64) unique)")  # fmt: skip
            cursor.execute("begin")
            cursor.executemany("insert into users values (%s, %s, %s)", rows)
            cursor.execute("commit")

    def under(self) -> dict[int, str]:
        """The key of each row, which both its ciphertext and its index have."""
        names = {Tink().sql_prefixes(key.id)[0]: key for key in self.known()}
        found: dict[int, str] = {}
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("select id, email, email_bidx from users")
            for number, email, stored in cursor:
                key = names[bytes(email)[:5]]
                assert Tink().decrypt(bytes(email), key) == b"%d@Example.org" % number
                assert stored == index(number, key), number
                found[number] = key.id
        return found

    def search(self, number: int) -> list[int]:
        """The rows with that address."""
        every = [index(number, key) for key in self.known()]
        marks = ", ".join(["%s"] * len(every))
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute(f"select id from users where email_bidx in ({marks})", every)
            return [each[0] for each in cursor]


def index(number: int, key: DataKey) -> str:
    return INDEX.of(b"%d@EXAMPLE.ORG" % number, key.material.reveal()).decode()


@pytest.fixture(params=[PostgreSQL, MariaDB])
def application(site: Site, parts: Parts, request: pytest.FixtureRequest) -> Application:
    """Rows under a key that was replaced."""
    server, keys = parts.start(request.param), site.directory / "keys.json"
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {DATABASE}")
    password = site.directory / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    users: dict[str, Any] = {"type": "sql", "url": server.url(DATABASE), "table": "users"}
    users |= {"password": {"file": str(password)}, "columns": ["email"], "search_two_keys": True}
    searchable = {"blind_index": "email_bidx", "encoding": "hex", "normalize": ["lower"]}
    users |= {"searchable": {"email": searchable}, "batch": 50, "rows_per_second": 1500}
    outputs = [{"type": "tink", "path": str(keys)}]
    site.config["keyrings"] = {"orders": {"outputs": outputs, "datasets": {"users": users}}}
    assert site.run("rotate", "key/orders").code == 0
    found = Application(server, keys)
    found.fill()
    assert site.run("keys", "rotate", "orders", "--reason", "test").code == 0
    return found


def test_a_killed_re_encryption_leaves_every_row_to_be_found(
    site: Site, application: Application
) -> None:
    """By one of two keys while it is half done, by the new one in the end."""
    new, old = (key.id for key in application.known())
    started = site.start("keys", "reencrypt", "orders")
    wait_until(lambda: started.is_over or new in application.under().values())
    started.signal(signal.SIGKILL)
    started.end()
    half = application.under()
    assert {*half.values()} == {old, new}
    first = {key: next(number for number, k in half.items() if k == key) for key in (old, new)}
    assert [application.search(number) for number in first.values()] == [
        [n] for n in first.values()
    ]
    assert application.search(ROWS) == []

    ran = site.run("keys", "reencrypt", "orders")
    assert ran.code == 0, ran
    assert {*application.under().values()} == {new}
    assert application.search(ROWS - 1) == [ROWS - 1]
    [told] = site.run("keys", "reencrypt", "orders", "--dry-run", "--json").json
    assert told["blind_indexes"] == {"2": ROWS}
    assert told["counted"] == "by opening every value and making its blind indexes"
