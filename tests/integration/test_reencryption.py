"""What databases store is re-encrypted under writes, however often certrotd is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.tink import Tink
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.integration.keyring_shop import keyset
from tests.parts import Parts
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PASSWORD, PostgreSQL
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.parts.sqlite import SqliteFile

pytestmark = pytest.mark.integration
ROWS = int(os.environ.get("CERTROTD_REENCRYPTION_ROWS", "6000"))
KILLS = min(10, max(1, ROWS // 2000))
"""Ten from 20,000 rows on; the start of a process takes longer than its rows."""
BETWEEN = ROWS // KILLS // 2
"""So many rows at least are re-encrypted between two of them."""
WITHIN = max(100.0, ROWS / 500)
"""Seconds, for what looks at all of them on a slow machine."""
WRITES = 1000
"""So many at least compete with the re-encryption."""
TINK = Tink()
TABLE = """
create table customers (
  tenant varchar(9), id bigint, email BINARY, phone BINARY, note text,
  lock_version integer default 0,
  primary key (tenant, id)
)
"""
DATABASE = "shop"
Database = PostgreSQL | MariaDB | SqliteFile
Where = tuple[str, int]
Stored = tuple[str | None, str | None, str, int]
"""The plaintexts, and the neighbours."""


class Application:
    """It reads its keys from the keyset, and knows of each row what was written last."""

    def __init__(self, server: Database, keys: Path, seed: int) -> None:
        self.server = server
        self.keys = keys
        self.chance = random.Random(seed)
        self.written: dict[Where, Stored] = {}
        self.writes = 0
        self.lags = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._error: BaseException | None = None

    def key(self, *, old: bool = False) -> DataKey:
        """That which encrypts, or the one before it."""
        primary, keys = keyset(self.keys)
        number = next(each for each in keys if (each == primary) is not old)
        return DataKey(1, Algorithm.AES_256_GCM, Material(keys[number]), str(number))

    def fill(self) -> None:
        """Rows under the first key, some of them with only one value, or an empty one."""
        key = self.key()
        for number in range(ROWS):
            where = f"t{number % 3}", number
            email = None if number % 50 == 0 else f"{number}@example.test"
            phone = "x" * (number % 7 * 60) if number % 70 else None
            self.written[where] = email, phone, f"note {number}", 0
        binary = "bytea" if isinstance(self.server, PostgreSQL) else "blob"
        rows = [
            (*w, seal(key, w, "email", one), seal(key, w, "phone", other), note)
            for w, (one, other, note, _) in self.written.items()
        ]
        sql = "insert into customers (tenant, id, email, phone, note) values (%s, %s, %s, %s, %s)"
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute(TABLE.replace("BINARY", binary))
            cursor.execute("begin")
            cursor.executemany(sql, rows)
            cursor.execute("commit")

    def __enter__(self) -> Application:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def is_over(self) -> bool:
        """Whether it writes no more, by an error for example."""
        return not self._thread.is_alive()

    def _write(self) -> None:
        try:
            with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
                new, old, number = self.key(), self.key(old=True), ROWS
                while not self._over.wait(0.001):
                    key = old if self.lags.is_set() and self.chance.random() < 0.3 else new
                    match self.chance.randrange(4):
                        case 0:
                            number += 1
                            self._insert(cursor, key, (f"t{number % 3}", number))
                        case 1:
                            self._annotate(cursor)
                        case _:
                            self._update(cursor, key)
                    self.writes += 1
        except BaseException as error:  # noqa: BLE001  # the test's own thread raises it
            self._error = error

    def _some(self) -> Where:
        number = self.chance.randrange(ROWS)
        return f"t{number % 3}", number

    def _insert(self, cursor: Any, key: DataKey, where: Where) -> None:
        stored = (f"new {where}", None, "inserted", 0)
        told = (*where, seal(key, where, "email", stored[0]), stored[2])
        sql = "insert into customers (tenant, id, email, note) values (%s, %s, %s, %s)"
        cursor.execute(sql, told)
        self.written[where] = stored

    def _annotate(self, cursor: Any) -> None:
        """Only a neighbour."""
        where = self._some()
        email, phone, _, lock = self.written[where]
        note = f"noted {self.writes}"
        sql = "update customers set note = %s where tenant = %s and id = %s"
        cursor.execute(sql, (note, *where))
        self.written[where] = email, phone, note, lock

    def _update(self, cursor: Any, key: DataKey) -> None:
        where = self._some()
        _, phone, note, lock = self.written[where]
        email = f"changed {self.writes}"
        sql = "update customers set email = %s, lock_version = %s where tenant = %s and id = %s"
        cursor.execute(sql, (seal(key, where, "email", email), lock + 1, *where))
        self.written[where] = email, phone, note, lock + 1

    def stored(self, key: DataKey) -> dict[Where, Stored]:
        """What is there, by that key alone."""
        found = {}
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("select * from customers")
            for tenant, number, email, phone, *rest in cursor:
                where = tenant, number
                opened = unseal(key, where, "email", email), unseal(key, where, "phone", phone)
                found[where] = (*opened, *rest)
        return found

    def under(self, key: DataKey) -> int:
        """How many rows have an e-mail address under a key."""
        begins = TINK.sql_prefixes(key.id)[0]
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select count(*) from customers where substr(email, 1, 5) = %s", (begins,)
            )
            return int(next(iter(cursor))[0])


def seal(key: DataKey, where: Where, column: str, value: str | None) -> bytes | None:
    bound = f"customers/{column}/{where[0]}/{where[1]}".encode()
    return None if value is None else TINK.encrypt(value.encode(), key, bound)


def unseal(key: DataKey, where: Where, column: str, value: bytes | None) -> str | None:
    bound = f"customers/{column}/{where[0]}/{where[1]}".encode()
    return None if value is None else TINK.decrypt(value, key, bound).decode()


@pytest.fixture(params=[PostgreSQL, MariaDB, SqliteFile])
def application(site: Site, parts: Parts, request: pytest.FixtureRequest) -> Application:
    """Rows under a key that was replaced."""
    server, keys = _database(site, parts, request.param), site.directory / "keys.json"
    dataset: dict[str, Any] = {"type": "sql", "url": server.url(DATABASE)}
    if not isinstance(server, SqliteFile):
        password = site.directory / "password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD)
        dataset["password"] = {"file": str(password)}
    dataset |= {"table": "customers", "key": ["tenant", "id"], "columns": ["email", "phone"]}
    dataset |= {"associated_data": "{table}/{column}/{pk}", "batch": max(20, ROWS // 2000)}
    site.config["keyrings"] = {
        "orders": {
            "outputs": [{"type": "tink", "path": str(keys)}],
            "datasets": {"customers": dataset},
        }
    }
    assert site.run("rotate", "key/orders").code == 0
    found = Application(server, keys, seed=13)
    found.fill()
    assert site.run("keys", "rotate", "orders", "--reason", "test").code == 0
    return found


def _database(site: Site, parts: Parts, kind: type[Any]) -> Database:
    if kind is SqliteFile:
        return SqliteFile(site.directory / "app.db")
    server: PostgreSQL | MariaDB = parts.start(kind)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {DATABASE}")
    return server


def counts(site: Site) -> dict[int, int]:
    """The values under each version, as the dry run counts them."""
    ran = site.run("keys", "reencrypt", "orders", "--dry-run", "--json", within=WITHIN)
    assert ran.code == 0, ran
    [told] = ran.json
    return {each["version"]: each["count"] for each in told["values"]}


def test_nothing_is_lost_however_often_it_is_killed_under_writes(
    site: Site, application: Application
) -> None:
    """Every plaintext is what it was or what was written last, and the old key has nothing left."""
    new, old, chance = application.key(), application.key(old=True), random.Random(7)
    assert counts(site)[1] == sum(
        each is not None for stored in application.written.values() for each in stored[:2]
    )
    kills = 0
    with application:
        application.lags.set()  # some of its processes still encrypt with the old key
        while kills < KILLS and application.under(old) > ROWS // 20:
            before = application.under(new)
            started = site.start("keys", "reencrypt", "orders")
            wait_until(
                lambda: started.is_over or application.under(new) > before + BETWEEN,  # noqa: B023
                within=WITHIN,
            )
            time.sleep(chance.random() * 0.3)
            kills += not started.is_over
            started.signal(signal.SIGKILL)
            started.end()
        assert kills >= KILLS // 2
        stopped = site.start("keys", "reencrypt", "orders")
        stopped.signal(signal.SIGTERM)
        assert "Traceback" not in stopped.end().stderr
        wait_until(lambda: application.is_over or application.writes > WRITES)
        application.lags.clear()
        wait_until(
            lambda: site.run("keys", "reencrypt", "orders", within=WITHIN).code == 0, within=WITHIN
        )
    assert application.writes > WRITES
    assert application.stored(new) == application.written
    assert application.under(old) == 0
    assert counts(site)[1] == 0
    assert site.run("rotate", "key/orders", within=WITHIN).code == 0
    ran = site.run("keys", "list", "--json")
    assert [each["state"] for each in ran.row("orders")["versions"]] == ["retired", "active"]
    everything = "".join(
        p.read_text(errors="replace") for p in site.state.rglob("*") if p.is_file()
    )
    assert PASSWORD not in everything
    with application.server.connect(DATABASE) as connection, connection.cursor() as cursor:
        application._update(cursor, new)
    assert application.stored(new) == application.written
    where = next(iter(application.written))  # the negative control: a write that was lost
    application.written[where] = ("later", *application.written[where][1:])
    assert application.stored(new) != application.written


@pytest.mark.parametrize("application", [PostgreSQL], indirect=True)
def test_a_compromised_key_is_replaced_while_another_process_re_encrypts(
    site: Site, application: Application
) -> None:
    """Nothing is stopped by hand; then everything comes under the newest key."""
    site.config["keyrings"]["orders"]["datasets"]["customers"]["rows_per_second"] = 1000
    second = application.key()
    started = site.start("keys", "reencrypt", "orders")
    wait_until(lambda: started.is_over or application.under(second) > 500)
    assert not started.is_over
    ran = site.run("keys", "compromise", "orders", "--reason", "test", "--confirm", "orders")
    assert ran.code == 0, ran
    assert started.end(within=WITHIN).code == 0
    ran = site.run("keys", "list", "--json")
    states = [each["state"] for each in ran.row("orders")["versions"]]
    assert states == ["decrypt-only", "compromised", "active"]
    assert application.under(application.key()) == 0
    del site.config["keyrings"]["orders"]["datasets"]["customers"]["rows_per_second"]
    assert site.run("rotate", "key/orders", within=WITHIN).code == 0
    assert application.stored(application.key()) == application.written
