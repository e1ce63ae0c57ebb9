"""Airflow itself: its Fernet key is rotated by the runbook, and it reads all that it stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.parts.locate import require_part
from tests.parts.pages import blocks
from tests.parts.runbook import Host

pytestmark = pytest.mark.integration
RUNBOOK = "airflow.md"
VARIABLE = "AIRFLOW__CORE__FERNET_KEY"
STORE = """
from airflow.models import Connection, Trigger, Variable
from airflow.models.connection_test import ConnectionTestRequest
from airflow.utils.db import initdb
from airflow.utils.session import create_session

initdb()
with create_session() as session:
    extra = '{"token": "an extra"}'
    session.add(Connection("warehouse", "postgres", password="a password", extra=extra))
    session.add(Connection("bare", "http"))
    session.add(Trigger("some.Trigger", {"secret": "an argument"}))
    session.add(Trigger("old.Trigger", {}))
    session.add(
        ConnectionTestRequest(
            connection_id="tested", conn_type="http", password="a tested one", extra=extra
        )
    )
    Variable.set("plan", "a variable", session=session)
    session.flush()
    old = session.query(Trigger).filter_by(classpath="old.Trigger").one()
    old.encrypted_kwargs = '{"of": "an Airflow without encryption"}'
"""
WRITE = """
from airflow.models import Variable

Variable.set("late", "written during the rotation")
"""
READ = """
import json
from airflow.models import Connection, Trigger, Variable
from airflow.models.connection_test import ConnectionTestRequest
from airflow.utils.session import create_session

with create_session() as session:
    print(json.dumps([
        sorted([c.conn_id, c.password, c.extra] for c in session.query(Connection)),
        sorted(v.val for v in session.query(Variable)),
        [t.kwargs for t in session.query(Trigger).order_by(Trigger.id)],
        [[t.password, t.extra] for t in session.query(ConnectionTestRequest)],
    ]))
"""
VALUES = {
    "connection-extras": 1,
    "connection-passwords": 1,
    "connection-test-extras": 1,
    "connection-test-passwords": 1,
    "triggers": 1,
    "variables": 1,
}


class Airflow:
    """Airflow on a host that has what the runbook asks for; it is started anew for each call."""

    def __init__(self, place: Path) -> None:
        self.host = Host(place, {})
        self.installed = require_part("airflow") / "bin"
        first = f"{VARIABLE}={Fernet.generate_key().decode()}\n"
        self.environment = self.host.write("/etc/airflow/airflow.env", first)
        self.restarts = place / "restarts"
        # the processes of this test begin anew by themselves; what they would read is kept
        restart = f'#!/bin/sh\ncat "{self.environment}" >>"{self.restarts}"\n'
        self.host.write("/usr/local/bin/restart-airflow", restart, 0o755)
        load = f'set -a; . "{self.environment}"; set +a'
        self.host.program("airflow", f'{load}\nexec "{self.installed}/airflow" "$@"')
        database = self.host.at("/srv/airflow/airflow.db")
        database.parent.mkdir(parents=True)
        self.host.variables |= {
            "AIRFLOW_HOME": str(place / "home"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }

    def keys(self) -> list[str]:
        return self.environment.read_text().strip().removeprefix(f"{VARIABLE}=").split(",")

    def python(self, script: str, keys: str | None = None) -> str:
        """The last line of a script of Airflow's, which has all keys unless some are given."""
        ended = subprocess.run(
            [self.installed / "python", "-c", script],
            env={**os.environ, **self.host.variables, VARIABLE: keys or ",".join(self.keys())},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout.strip().rpartition("\n")[2]


def counts(text: str) -> dict[str, list[int]]:
    """How many values each dataset has under each version, by what a dry run printed."""
    found: dict[str, list[int]] = {}
    for name, count in re.findall(r"^(\S+) +\d+ +(?:active|decrypt-only) .* (\d+)$", text, re.M):
        found.setdefault(name, []).append(int(count))
    return found


@pytest.mark.timeout(1800)
def test_airflow_reads_its_connections_before_during_and_after_the_runbook(tmp_path: Path) -> None:
    """And with the new key alone all that it stored; with the old one alone nothing."""
    airflow = Airflow(tmp_path)
    shell = airflow.host.shell
    stored: Any = json.loads(airflow.python(STORE + READ))
    [old] = airflow.keys()
    airflow.host.install(RUNBOOK)
    plan, write, scan, rotate, during, finish = blocks(RUNBOOK, "sh")

    before = airflow.environment.read_bytes()
    every = {name: [count, 0] for name, count in VALUES.items()}
    assert counts(shell(plan)) == every
    configured = airflow.host.at("/etc/certrotd/conf.d").iterdir()
    assert [each.name for each in configured] == ["targets.yaml"]
    assert not (tmp_path / "state" / "keyrings").exists(), "a plan leaves nothing"
    shell(write)
    assert airflow.environment.read_bytes() == before
    shell(scan)  # the profile has forgotten no column of this Airflow

    assert "a password" in shell(rotate)
    new, second = airflow.keys()
    assert second == old
    seen = [line.removeprefix(f"{VARIABLE}=") for line in airflow.restarts.read_text().splitlines()]
    assert seen == [f"{old},{new}", f"{new},{old}"], "it was restarted with each"
    assert "a password" in shell(during)
    airflow.python(WRITE)
    stored[1] = sorted([*stored[1], "written during the rotation"])
    every["variables"] = [1, 1]

    finished = shell(finish)
    assert "a password" in finished
    _, first, last = finished.split("DATASET")
    assert counts(first) == every
    assert counts(last) == {name: [0, sum(each)] for name, each in every.items()}
    assert json.loads(airflow.python(READ, keys=new)) == stored
    airflow.environment.write_text(f"{VARIABLE}={old}\n")  # the control: by this key nothing opens
    assert "a password" not in shell("airflow connections get warehouse || true")
