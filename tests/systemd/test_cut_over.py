"""A unit of a real systemd that holds one key is stopped, given another, and started."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts import one_key_program
from tests.systemd.machine import Machine

ROWS = 60
PORT = 8099
PLACE = "/srv/ledger"
UNIT, CUT, LOAD = "ledger.service", "cut.service", "load.service"
RULE = """
polkit.addRule(function (action, subject) {
  if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "certrotd" &&
      action.lookup("unit") == "ledger.service" &&
      ["start", "stop"].indexOf(action.lookup("verb")) >= 0) {
    return polkit.Result.YES;
  }
});
"""
FILL = f"""
import sqlite3
from cryptography.fernet import Fernet
[line] = [each for each in open("{PLACE}/env").read().splitlines() if "ENCRYPTION_KEY=" in each]
cipher = Fernet(line.partition("=")[2].strip("'\\""))
with sqlite3.connect("{PLACE}/app.db") as lite:
    lite.execute("create table secrets (id integer primary key, secret text)")
    rows = [(n, cipher.encrypt(b"value %d" % n).decode()) for n in range({ROWS})]
    lite.executemany("insert into secrets values (?, ?)", rows)
"""
LOOK = f"""
import json, sqlite3
from cryptography.fernet import Fernet
text = open("{PLACE}/env").read()
[line] = [each for each in text.splitlines() if "ENCRYPTION_KEY=" in each]
cipher = Fernet(line.partition("=")[2].strip("'\\""))
rows = sqlite3.connect("{PLACE}/app.db").execute("select secret from secrets order by id")
print(json.dumps([text, [cipher.decrypt(each.encode()).decode() for (each,) in rows]]))
"""
ASK = f"""
import http.client, sys
for number in range(10**9):
    connection = http.client.HTTPConnection("127.0.0.1", {PORT}, timeout=20)
    try:
        connection.request("GET", f"/{{number % {ROWS}}}")
        status = connection.getresponse().status
    except OSError:
        status = 0
    except http.client.HTTPException:
        status = 0
    with open("{PLACE}/statuses", "a") as file:
        print(status, file=file)
"""


@pytest.fixture(scope="module")
def _databases(_machine: Machine) -> Iterator[None]:
    with _machine.extra("sql"):
        yield


@pytest.fixture
def ledger(machine: Machine, _databases: None) -> Iterator[Machine]:
    """A web application with one key, run by systemd; certrotd may stop and start it."""
    output = {"type": "dotenv", "path": f"{PLACE}/env", "key": "ENCRYPTION_KEY"}
    dataset = {"type": "sql", "url": f"sqlite:///{PLACE}/app.db", "table": "secrets"}
    machine.config = {
        "keks": {"local": {"type": "file", "path": "/var/lib/certrotd/kek"}},
        "keyrings": {
            "ledger": {
                "algorithm": "fernet",
                "outputs": [{**output, "encoding": "base64url"}],
                "datasets": {
                    "secrets": {**dataset, "columns": ["secret"], "codec": "fernet", "batch": 7}
                },
                "cutover": {
                    "units": [UNIT],
                    "probe": {"http": f"http://127.0.0.1:{PORT}/reads", "contains": "readable"},
                },
            }
        },
    }
    machine.write("/etc/polkit-1/rules.d/60-ledger.rules", RULE)
    machine.run("systemctl", "try-restart", "polkit")
    machine.write("/opt/ledger.py", Path(one_key_program.__file__).read_bytes())
    argv = f"/opt/certrotd/bin/python /opt/ledger.py {PORT} {PLACE}/env {PLACE}/app.db"
    machine.write(f"/etc/systemd/system/{UNIT}", f"[Service]\nUser=certrotd\nExecStart={argv}\n")
    machine.systemctl("daemon-reload")
    machine.run("install", "-d", "-o", "certrotd", "-m", "0700", PLACE)
    machine.run("install", "-d", "-o", "certrotd", "-m", "0700", "/var/lib/certrotd")
    machine.configure()
    machine.certrotd("rotate", "key/ledger")
    python(machine, FILL)
    machine.systemctl("start", UNIT)
    machine.until(lambda: serves(machine))
    yield machine
    machine.run("systemctl", "stop", UNIT, LOAD, CUT, check=False)


def python(machine: Machine, program: str) -> str:
    """What a program prints there, as certrotd's user."""
    return machine.run("/opt/certrotd/bin/python", "-I", "-c", program, user="certrotd")


def serves(machine: Machine) -> bool:
    asked = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/reads').read())"
    ran = machine.run("/opt/certrotd/bin/python", "-I", "-c", asked, check=False)
    return "b'readable'" in ran


def key_of(machine: Machine) -> str:
    """The application serves, and everything is under the very key that it has; that key."""
    assert serves(machine)
    text, values = json.loads(python(machine, LOOK).splitlines()[-1])
    assert values == [f"value {n}" for n in range(ROWS)]
    return str(text)


def begun(machine: Machine, unit: str, user: str, *argv: str) -> None:
    """Something that goes on by itself, as a unit."""
    options = (f"--unit={unit}", f"--uid={user}", "--collect")
    machine.run("systemd-run", "--quiet", *options, *argv)


def test_a_unit_is_cut_over_under_load(ledger: Machine) -> None:
    """Requests fail only while it is stopped; it is another process with another key then."""
    old, process = key_of(ledger), ledger.show("MainPID", UNIT)
    begun(ledger, LOAD, "certrotd", "/opt/certrotd/bin/python", "-I", "-c", ASK)
    ledger.until(lambda: ledger.exists(f"{PLACE}/statuses"))
    said = ledger.certrotd("keys", "rotate", "ledger", "--reason", "yearly")
    ledger.run("systemctl", "stop", LOAD)
    assert "the application was stopped for" in said
    assert key_of(ledger) != old
    assert ledger.show("ActiveState", UNIT) == "active"
    assert ledger.show("MainPID", UNIT) != process
    counts = Counter(ledger.read(f"{PLACE}/statuses").split())
    assert counts["200"]
    assert set(counts) <= {"0", "200"}


def test_a_kill_of_certrotd_leaves_the_unit_to_the_next_run(ledger: Machine) -> None:
    """Stopped, it is started by whoever goes on: with one key for all of its data."""
    rotate = ("keys", "rotate", "ledger", "--reason", "yearly")
    begun(ledger, CUT, "certrotd", "/usr/local/bin/certrotd", *rotate)
    ledger.until(lambda: ledger.show("ActiveState", UNIT) == "inactive")
    ledger.run("systemctl", "kill", "--signal=KILL", CUT, check=False)
    ledger.until(lambda: ledger.show("ActiveState", CUT) in ("inactive", "failed"))
    ledger.certrotd("rotate", "key/ledger")
    assert key_of(ledger)
    assert ledger.show("ActiveState", UNIT) == "active"
    versions: Any = yaml.safe_load(ledger.certrotd("keys", "list", "--json"))[0]["versions"]
    assert [each["state"] for each in versions].count("active") == 1


def test_what_certrotd_may_not_stop_is_said_before(ledger: Machine) -> None:
    """Without a rule of polkit: nothing was stopped, and nothing changed."""
    old, process = key_of(ledger), ledger.show("MainPID", UNIT)
    ledger.run("rm", "/etc/polkit-1/rules.d/60-ledger.rules")
    ledger.run("systemctl", "try-restart", "polkit")
    said = ledger.run(
        *("runuser", "-u", "certrotd", "--", "certrotd"),
        *("keys", "rotate", "ledger", "--reason", "yearly"),
        check=False,
    )
    assert "ledger.service" in said
    assert key_of(ledger) == old
    assert ledger.show("MainPID", UNIT) == process
