"""``certrotd keys adopt --profile``: planned, adopted, rotated, and nothing is left."""

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
from cryptography.fernet import Fernet

from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture
VECTORS = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


class Application:
    """What an application has, and how it is named to the command."""

    def __init__(self, host: Host, profile: str, keys: str, *options: str) -> None:
        self.host = host
        self.database = host.place / "app.db"
        self.keys = host.place / "keys"
        self.keys.write_text(keys)
        self.keys.chmod(0o640)
        self.profile, self.options = profile, options
        host.config["targets"] = {"app": {"type": "command", "command": ["/bin/true"]}}
        (host.place / "conf.d").mkdir()

    def store(self, values: Sequence[str], table: str = "users") -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(f"create table {table} (id integer primary key, v text)")
            rows = [(each,) for each in values]
            connection.executemany(f"insert into {table} (v) values (?)", rows)

    def command(self, *more: str) -> Sequence[str]:
        place = f"sqlite:///{self.database}"
        told = ["--profile", self.profile, "--database", place, "--from", str(self.keys)]
        return ["adopt", "shop", *told, *self.options, *more]

    @property
    def written(self) -> Path:
        return self.host.place / "conf.d" / "shop.yaml"

    def keyring(self) -> Any:
        """As it was written."""
        return yaml.safe_load(self.written.read_text())["keyrings"]["shop"]


def laravel(host: Host) -> tuple[Application, Sequence[str]]:
    every = vectors("laravel.json")["values"]
    values = [value for value in every if value["cipher"] == "AES-256-CBC"]
    keys = f"APP_NAME=shop\nAPP_KEY={values[0]['app_key']}\nAPP_PREVIOUS_KEYS=\n"
    found = Application(host, "laravel", keys, "--table", "users=v")
    return found, [each["ciphertext"] for each in values]


def rails(host: Host) -> tuple[Application, Sequence[str]]:
    every = vectors("rails.json")["values"]
    values = [v for v in every if len(v["primary_key"]) == 1 and "SHA256" in v["hash_digest"]]
    salt = host.place / "salt"
    salt.write_text(values[0]["key_derivation_salt"])
    salt.chmod(0o600)
    keys = yaml.safe_dump({"active_record_encryption": {"primary_key": values[0]["primary_key"]}})
    options = "--table", "users(id)=v", "--set", f"salt_file={salt}"
    return Application(host, "rails", keys, *options), [v["nondeterministic"] for v in values]


def slots(host: Host) -> tuple[Application, Sequence[str]]:
    told = vectors("secretbox.json")
    key = base64.b64encode(bytes.fromhex(told["keys"]["v1"])).decode()
    options = [f"--set={each}" for each in ("key1=K1", "key2=K2", "version=V")]
    found = Application(
        host, "secretbox-slots", f"K1={key}\nK2=\nV=v1\n", "--table=users=v", *options
    )
    return found, [v["ciphertext"] for v in told["values"] if v["version"] == "v1"]


@pytest.mark.parametrize("make", [laravel, rails, slots])
def test_an_application_is_adopted_by_its_profile_and_rotated(make: Any, host: Host) -> None:
    """What the plan counts is what is re-encrypted, and then nothing is left under the old key."""
    application, values = make(host)
    application.store(values)
    before = application.keys.read_bytes()
    plan = host.json(*application.command())
    [row] = plan["datasets"]
    assert (row["left"], row["unopened"], row["plaintext"]) == (len(values), 0, 0)
    assert plan["keys"] == 1
    assert not application.written.exists()
    assert not (host.place / "state" / "keyrings").exists()

    host.keys(*application.command("--target", "app", "--write"))
    assert application.keys.read_bytes() == before
    assert application.keyring()["outputs"][0]["mode"] == "0640", "its reader still can"
    assert host.states("shop") == {1: "active"}
    host.keys("rotate", "shop", "--reason", "test")
    for counts in [len(values), 0], [0, len(values)]:
        [row] = host.json("reencrypt", "shop", "--dry-run")
        assert [each["count"] for each in row["values"]] == counts
        assert row["unopened"] == 0
        host.keys("reencrypt", "shop")


def test_an_application_that_is_stopped_for_it_is_cut_over(host: Host) -> None:
    """WSO2: no target, but the programs that stop and start it, and a probe."""
    values = [v for v in vectors("wso2.json") if v["plaintext"] and "GCM" in v["algorithm"]]
    key = values[0]["key"]
    stored = [v["db_value"] for v in values if v["key"] == key and v["selfContained"]]
    programs = [f"--set={each}=/bin/true" for each in ("stop", "start", "probe")]
    text = f'[encryption]\nkey = "{key}"\n'
    found = Application(host, "wso2", text, "--table=users=v", *programs)
    found.store(stored)
    assert "leave --target out" in host.refused(*found.command("--target", "app"))
    [row] = host.json(*found.command())["datasets"]
    assert (row["left"], row["unopened"]) == (len(stored), 0)
    host.keys(*found.command("--write"))
    host.keys("rotate", "shop", "--reason", "test")
    [row] = host.json("reencrypt", "shop", "--dry-run")
    assert [each["count"] for each in row["values"]] == [0, len(stored)]
    assert key not in found.keys.read_text()


def airflow(host: Host) -> tuple[Application, Fernet]:
    """As an Airflow without the newer tables."""
    key = Fernet.generate_key().decode()
    found = Application(host, "airflow", f"AIRFLOW__CORE__FERNET_KEY={key}\n")
    with closing(sqlite3.connect(found.database)) as connection:
        connection.executescript(
            "create table connection (id integer primary key, password text, extra text,"
            " is_encrypted boolean, is_extra_encrypted boolean);"
            "create table variable (id integer primary key, val text, is_encrypted boolean);"
            "create table trigger (id integer primary key, kwargs text);"
        )
    return found, Fernet(key)


def insert(found: Application, value: str) -> None:
    with closing(sqlite3.connect(found.database)) as connection, connection:
        connection.execute("insert into variable (val, is_encrypted) values (?, 1)", (value,))


def test_tables_that_this_version_does_not_have_are_left_out(host: Host) -> None:
    """And are said; those that every version has stay, empty or not."""
    found, key = airflow(host)
    insert(found, key.encrypt(b"a value").decode())
    plan = host.json(*found.command())
    assert plan["absent"] == ["connection-test-extras", "connection-test-passwords"]
    datasets = yaml.safe_load(plan["configuration"])["keyrings"]["shop"]["datasets"]
    assert datasets.keys() == {
        "connection-passwords",
        "connection-extras",
        "variables",
        "triggers",
    }
    empty = {name for name, each in datasets.items() if each.get("may_be_empty")}
    assert empty == datasets.keys() - {"variables"}, "of what has values, none is not believed"
    printed = host.keys(*found.command())
    assert "connection-test-extras: left out: the database has no such table" in printed
    assert yaml.safe_load(plan["configuration"]) == yaml.safe_load(printed.split("\n/")[0])


def test_a_value_that_does_not_open_is_listed(host: Host) -> None:
    """Of another key; it is no reason not to adopt."""
    found, key = airflow(host)
    insert(found, key.encrypt(b"a value").decode())
    insert(found, Fernet(Fernet.generate_key()).encrypt(b"another").decode())
    host("keys", *found.command())
    assert host.code == 1
    assert "variables: cannot be re-encrypted" in host.out
    host.keys(*found.command("--target", "app", "--write"))
    assert host.states("shop") == {1: "active"}


def test_a_database_in_which_nothing_opens_is_refused(host: Host) -> None:
    """An empty one, or one of another application: its census of 0 would prove nothing."""
    found, _ = airflow(host)
    for value in (None, Fernet(Fernet.generate_key()).encrypt(b"another").decode()):
        if value:
            insert(found, value)
        host("keys", *found.command("--target", "app", "--write"))
        assert host.code != 0
        assert "no value of the database opens with a key of the application" in host.err
        assert not found.written.exists()


def test_what_nobody_restarts_is_planned_but_not_written(host: Host) -> None:
    """Its processes would not read what others encrypt."""
    found, key = airflow(host)
    insert(found, key.encrypt(b"a value").decode())
    assert "No --target" in host.keys(*found.command())
    host("keys", *found.command("--write"))
    assert host.code != 0
    assert "--target NAME" in host.err
    assert not found.written.exists()


def test_a_file_of_the_configuration_is_never_replaced(host: Host) -> None:
    """Whatever it is."""
    found, key = airflow(host)
    insert(found, key.encrypt(b"a value").decode())
    found.written.write_text("# mine\n")
    host("keys", *found.command("--target", "app", "--write"))
    assert host.code != 0
    assert "is there already" in host.err
    assert found.written.read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--set", "color=red"], "the profile has no option color"),
        (["--set", "variable"], "--set takes NAME=VALUE"),
        (["--table", "users=v"], "the profile knows its tables"),
        (["--output", "fernet-list"], "leave --output out"),
        (["--target", "nobody"], "nobody"),
        (["--set", "variable=OTHER"], "there is no key in"),
        (["--password-env", "A", "--password-file", "/b"], "the password has two places"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(more: list[str], why: str, host: Host) -> None:
    """Before anything is written."""
    found, key = airflow(host)
    insert(found, key.encrypt(b"a value").decode())
    host("keys", *found.command(*more, "--write"))
    assert host.code != 0
    assert why in host.err
    assert not found.written.exists()


def test_a_database_that_is_not_there_is_said(host: Host) -> None:
    """As is a profile."""
    found, _ = airflow(host)
    found.database = host.place / "other.db"
    host("keys", *found.command())
    assert host.code != 0
    assert "the database" in host.err
    found.profile = "cobol"
    assert host.refused(*found.command()).startswith("there is no profile cobol")


def test_nothing_is_written_while_a_table_cannot_be_counted(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that is missing: the application would have a new key, and its data never."""
    found, _ = airflow(host)
    monkeypatch.setattr("certrotd.datasets.configured.installed", lambda _module: False)
    host("keys", *found.command("--write"))
    assert host.code == 1
    assert "needs the Python module sqlalchemy, which is not installed" in host.out
    assert "nothing is written while" in host.err
    assert not list((host.place / "conf.d").glob("*"))


def test_a_password_is_a_reference(host: Host) -> None:
    """The file is named, and what is in it is nowhere."""
    found, key = airflow(host)
    insert(found, key.encrypt(b"a value").decode())
    secret = host.place / "password"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    printed = host.keys(*found.command("--password-file", str(secret)))
    assert "hunter2" not in printed + host.err
    assert f"file: {secret}" in printed
