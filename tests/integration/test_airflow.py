"""Airflow itself: its Fernet key is rotated by the runbook, and it reads all that it stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from tests.parts.locate import require_part
from tests.parts.site import PROGRAM

pytestmark = pytest.mark.integration
RUNBOOK = (Path(__file__).parents[2] / "docs/keys/airflow.md").read_text(encoding="utf-8")
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


class Host:
    """The files that the runbook names, in a directory, and Airflow started anew for each call."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.airflow = require_part("airflow") / "bin"
        self.environment = place / "airflow.env"
        self.restarts = place / "restarts"
        self.restart = place / "restart-airflow"
        self.environment.write_text(f"{VARIABLE}={Fernet.generate_key().decode()}\n")
        self.environment.chmod(0o600)
        # the processes of this test begin anew by themselves; what they would read is kept
        self._program(self.restart, f'cat "{self.environment}" >>"{self.restarts}"')
        programs = place / "bin"
        programs.mkdir()
        self._program(programs / "certrotd", f'exec "{PROGRAM}" -c "{place}/config.yaml" "$@"')
        load = f'set -a; . "{self.environment}"; set +a'
        self._program(programs / "airflow", f'{load}\nexec "{self.airflow}/airflow" "$@"')
        (place / "conf.d").mkdir()
        keks = {"local": {"type": "file", "path": str(place / "kek")}}
        config = {"state_dir": str(place / "state"), "keks": keks}
        (place / "config.yaml").write_text(yaml.safe_dump(config))

    def keys(self) -> list[str]:
        return self.environment.read_text().strip().removeprefix(f"{VARIABLE}=").split(",")

    def shell(self, script: str, *, code: int = 0, **more: str) -> str:
        """What a script of the runbook prints."""
        ended = subprocess.run(
            ["bash", "-euc", self._here(script)],
            env=self._variables(more),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert ended.returncode == code, (script, ended.stdout, ended.stderr)
        return ended.stdout

    def python(self, script: str, keys: str | None = None) -> str:
        """The last line of a script of Airflow's, which has all keys unless some are given."""
        ended = subprocess.run(
            [self.airflow / "python", "-c", script],
            env=self._variables({VARIABLE: keys or ",".join(self.keys())}),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout.strip().rpartition("\n")[2]

    def configure(self, text: str) -> None:
        (self.place / "conf.d" / "targets.yaml").write_text(self._here(text))

    def counts(self, text: str) -> dict[str, list[int]]:
        """How many values each dataset has under each version, by what a dry run printed."""
        found: dict[str, list[int]] = {}
        for name, count in re.findall(
            r"^(\S+) +\d+ +(?:active|decrypt-only) .* (\d+)$", text, re.M
        ):
            found.setdefault(name, []).append(int(count))
        return found

    def _here(self, text: str) -> str:
        text = text.replace("/srv/airflow/airflow.db", f"{self.place}/airflow.db")
        text = text.replace("/etc/airflow/airflow.env", str(self.environment))
        return text.replace("/usr/local/bin/restart-airflow", str(self.restart))

    def _variables(self, more: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.place}/bin:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(self.place / "home"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.place}/airflow.db",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **more,
        }

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@pytest.mark.timeout(1800)
def test_airflow_reads_its_connections_before_during_and_after_the_runbook(tmp_path: Path) -> None:
    """And with the new key alone all that it stored; with the old one alone nothing."""
    host = Host(tmp_path)
    stored: Any = json.loads(host.python(STORE + READ))
    [old] = host.keys()
    [configuration] = re.findall(r"^ +```yaml\n(.*?)^ +```", RUNBOOK, re.M | re.S)
    host.configure(configuration)
    scripts = re.findall(r"^```sh\n(.*?)^```", RUNBOOK, re.M | re.S)
    plan, write, scan, rotate, during, finish = scripts

    before = host.environment.read_bytes()
    every = {name: [count, 0] for name, count in VALUES.items()}
    assert host.counts(host.shell(plan)) == every
    assert [each.name for each in (tmp_path / "conf.d").iterdir()] == ["targets.yaml"]
    assert not (tmp_path / "state" / "keyrings").exists(), "a plan leaves nothing"
    host.shell(write)
    assert host.environment.read_bytes() == before
    host.shell(scan)  # the profile has forgotten no column of this Airflow

    assert "a password" in host.shell(rotate)
    new, second = host.keys()
    assert second == old
    seen = [line.removeprefix(f"{VARIABLE}=") for line in host.restarts.read_text().splitlines()]
    assert seen == [f"{old},{new}", f"{new},{old}"], "it was restarted with each"
    assert "a password" in host.shell(during)
    host.python(WRITE)
    stored[1] = sorted([*stored[1], "written during the rotation"])
    every["variables"] = [1, 1]

    finished = host.shell(finish)
    assert "a password" in finished
    _, first, last = finished.split("DATASET")
    assert host.counts(first) == every
    assert host.counts(last) == {name: [0, sum(counts)] for name, counts in every.items()}
    assert json.loads(host.python(READ, keys=new)) == stored
    host.environment.write_text(f"{VARIABLE}={old}\n")  # the control: by this key nothing opens
    assert "a password" not in host.shell("airflow connections get warehouse || true")
