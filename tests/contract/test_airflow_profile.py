"""The profile of Airflow, whose tables have the names of SQL's own words, in each database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from certrotd.clock import ManualClock
from certrotd.codecs.fernet import FernetTokens
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.connecting import tables_there
from certrotd.datasets.reencryption import Pass
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from certrotd.profiles.plan import Installation, configuration
from certrotd.profiles.schema import profile
from tests.contract.databases import Database
from tests.parts.postgresql import PASSWORD

OLD, NEW = (DataKey(n, Algorithm.FERNET, Material(bytes([n]) * 32)) for n in (1, 2))
KEYS = KeySet.of([OLD, NEW], active=2)
TOKENS = FernetTokens()


def test_its_conditions_choose_what_airflow_encrypted(database: Database) -> None:
    """Not what it left in the clear: rows without the flag, and arguments of older triggers."""
    execute, url = database
    execute(
        "create table connection (id integer primary key, password varchar(5000), extra text,"
        " is_encrypted boolean, is_extra_encrypted boolean)"
    )
    execute("create table variable (id integer primary key, val text, is_encrypted boolean)")
    execute('create table "trigger" (id integer primary key, kwargs text not null)')
    token = TOKENS.encrypt(b"a secret", OLD).decode()
    execute("insert into connection values (1, ?, ?, true, true)", token, token)
    execute("insert into connection values (2, null, 'in the clear', false, false)")
    execute("insert into variable values (1, ?, true)", token)
    execute("insert into variable values (2, 'in the clear', false)")
    execute('insert into "trigger" values (1, ?)', token)
    execute('insert into "trigger" values (2, ?)', '{"argument": "100%"}')

    there = tables_there(url, PASSWORD.encode, ["connection", "nothing"], what="the database")
    assert there == {"connection"}
    password = None if url.startswith("sqlite") else {"env": "DATABASE_PASSWORD"}
    told = profile("airflow")
    absent = [name for name, each in told.tables.items() if each.optional]
    place = Installation("airflow", url, "/srv/airflow.env", password=password)
    keyring: dict[str, Any] = configuration(told, place, absent)["keyrings"]["airflow"]
    for name, entry in keyring["datasets"].items():
        with opened(name, SqlDatasetEntry.model_validate(entry)) as found:
            assert [each.words for each in found.dataset.findings() if each.fatal] == []
            assert found.tally(KEYS).by_version == {1: 1, 2: 0}, name
            clock = ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
            assert Pass(found.dataset, found.form, KEYS, clock, found.pace).run().count == 0
            tally = found.tally(KEYS)
            assert (tally.by_version, tally.plaintext, tally.unopened) == ({1: 0, 2: 1}, 0, 0)
    assert execute('select kwargs from "trigger" where id = 2') == [('{"argument": "100%"}',)]
    assert execute("select extra from connection where id = 2") == [("in the clear",)]
