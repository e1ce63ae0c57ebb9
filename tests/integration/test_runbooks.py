"""The runbooks of docs/keys, command for command, with applications that read all the while."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.runbook_page import RunbookPage, base64_key
from tests.parts import Parts, locate
from tests.parts.application import APPLICATIONS, Unreadable
from tests.parts.postgresql import PostgreSQL
from tests.parts.process import wait_until
from tests.parts.systemctl import Systemctl

pytestmark = pytest.mark.integration
Begin = Callable[[str, str], RunbookPage]
QUICK, SLOW = "rows_per_second: 2000", "rows_per_second: 5\n        batch: 5"
ROWS = 8
GEM = Path(__file__).parents[1] / "vectors" / "symmetric_encryption" / "keystore"


@pytest.fixture(scope="module")
def server(module_parts: Parts) -> PostgreSQL:
    """A database server of all runbooks."""
    return module_parts.start(PostgreSQL)


@pytest.fixture
def begin(tmp_path: Path, server: PostgreSQL, systemctl: Systemctl) -> Iterator[Begin]:
    """Begins the runbook of a page; the name is that of the database."""
    with ExitStack() as stack:
        yield lambda page, name: stack.enter_context(
            RunbookPage(page, name, tmp_path / "host", server, systemctl)
        )


def python(module: str, *arguments: str | Path) -> Sequence[object]:
    """A service of the tests, which has its port first."""
    return [sys.executable, "-m", f"tests.parts.applications.{module}", "{port}", *arguments]


class TestTwoKeys:
    ROWS = 3000

    def test_the_transition_works_command_for_command(self, begin: Begin) -> None:
        """Back in the middle, forward again, and at the end the old key opens nothing."""
        page = begin("two-keys.md", "tickets")
        self._fill(page)
        page.host.instead[QUICK] = SLOW  # there is time to look at it, and to end it
        page.configure()
        page.next()
        assert page.next().count("messages") > 1
        page.next()  # the drill
        page.next()  # the control
        page.next()
        assert self.tickets.restarts == 2
        self._put("after the rotation")
        assert self._counts(page.next()) == {"1": self.ROWS, "2": 1}
        self._stop_in_the_middle(page)
        del page.host.instead[QUICK]
        page.host.put(page.page, "/etc/certrotd/conf.d/tickets.yaml")

        counts = dict(line.split("|") for line in page.next().splitlines()[-2:])
        assert set(counts) == {"v1", "v2"}, "both are stored, and both are read"
        self._put("after the rollback")
        [(last,)] = page.execute("select left(body, 2) from messages order by id desc limit 1")
        assert last == "v1"
        page.next()
        assert self.tickets.values() == self.stored
        assert page.next().splitlines()[-1] == "0"
        self._remove_the_old_key(page)
        assert not page.scripts

    def _stop_in_the_middle(self, page: RunbookPage) -> None:
        """Progress is seen from another terminal, and Ctrl-C ends it."""
        begun = page.host.start(page.scripts.pop(0))
        status = page.scripts.pop(0)
        wait_until(lambda: f" of {self.ROWS:,} (" in page.host.shell(status), within=240)
        assert self.tickets.values() == self.stored, "while it is re-encrypted"
        begun.send_signal(signal.SIGINT)
        out, error = begun.communicate(timeout=60)
        assert "told to stop" in out, (out, error)

    def _remove_the_old_key(self, page: RunbookPage) -> None:
        page.next()
        assert "TICKETS_KEY_V1=\n" not in self.file.read_text()
        page.host.later(8)
        page.next()
        assert "TICKETS_KEY_V1=\n" in self.file.read_text()
        page.host.later(40)
        assert "destroyed" in page.next()
        assert self.tickets.values() == self.stored
        assert "row 0" in page.next(code=1)
        with pytest.raises(Unreadable, match="row 0"):
            self.tickets.values()
        page.next()
        assert self.tickets.values() == self.stored

    def _fill(self, page: RunbookPage) -> None:
        """The service with what it stored."""
        text = f"TICKETS_KEY_V1={base64_key()}\nTICKETS_KEY_V2=\nTICKETS_KEY_VERSION=v1\n"
        self.file = page.host.write("/etc/tickets/env", text)
        page.execute("create table messages (id bigint primary key, body text not null)")
        self.tickets = page.unit("tickets.service", python("tickets"), environment=self.file)
        self.stored: list[str] = []
        for number in range(10):
            self._put(f"message {number}")
        page.execute(
            "insert into messages select n, (select body from messages where id = mod(n, 10) + 1)"
            f" from generate_series(11, {self.ROWS}) n"
        )
        self.stored = self.tickets.values()

    def _put(self, text: str) -> None:
        self.stored.append(text)
        self.tickets.put(len(self.stored), text)

    @staticmethod
    def _counts(said: str) -> dict[str, int]:
        """The values under each version, by a dry run."""
        rows = [line.split() for line in said.splitlines() if line.startswith("messages ")]
        return {row[1]: int(row[-1].replace(",", "")) for row in rows}


def test_a_php_application_goes_from_slot_to_slot_and_back(begin: Begin) -> None:
    """PHP itself reads every row at each stage; a value of the first v1 opens under no other."""
    page = begin("php.md", "psap")
    text = f"PSAP_KEY_V1={base64_key()}\nPSAP_KEY_V2=\nPSAP_KEY_VERSION=v1\n"
    file = page.host.write("/srv/psap/.env.local", text)
    for table, column in (("incidents", "description"), ("incident_communications", "body")):
        page.execute(f"create table {table} (id bigint primary key, {column} text not null)")
    php = [locate.require("php"), "-S", "127.0.0.1:{port}", APPLICATIONS / "psap.php"]
    psap = page.unit("psap.service", php, environment=file)
    for number in range(1, ROWS + 1):
        psap.put(number, f"incident {number}")
    stored = psap.values()
    page.configure()

    found = {line.split()[1]: line.split()[0] for line in page.next().splitlines()}
    assert found == dict.fromkeys(("public.incidents", "public.incident_communications"), str(ROWS))
    page.next()
    assert psap.values() == stored
    page.next()
    page.next()  # backup, drill and scan
    assert page.next().endswith("PSAP_KEY_VERSION=v2\n")
    assert psap.restarts == 2
    psap.put(ROWS + 1, "written under v2")
    stored = psap.values()
    assert len(stored) == 2 * (ROWS + 1)
    [(old,)] = page.execute("select description from incidents where id = 1")
    page.next()
    assert psap.values() == stored
    assert page.next() == "0\n0\n"

    page.next(code=1)
    page.next()
    page.host.later(8)
    page.next()
    page.host.later(40)
    page.next()
    assert page.next().endswith("\n0\n"), "the third key is in slot v1"
    assert psap.values() == stored
    page.execute("insert into incidents values (0, %s)", old)
    with pytest.raises(Unreadable, match="slot v1 has another key"):
        psap.values()
    assert not page.scripts


def test_a_node_application_goes_on_with_its_keystore(begin: Begin) -> None:
    """Node reads every row at each stage; a rotation of its own is noticed, and refused."""
    page = begin("node.md", "blog")
    entry = {"key": secrets.token_hex(32), "createdAt": "2026-01-02T03:04:05.678Z"}
    keystore = {"currentVersion": 1, "keys": {"1": {**entry, "status": "active"}}}
    file = page.host.write("/srv/blog/keystore.json", json.dumps(keystore))
    page.execute("create table posts (id bigint primary key, secret text not null)")
    program = [locate.require("node"), APPLICATIONS / "blog.js", "{port}", file]
    blog = page.unit("blog.service", program, variables={"KEY_ROTATION": "off"})
    page.host.instead["127.0.0.1:8080"] = f"127.0.0.1:{blog.port}"
    for number in range(1, ROWS + 1):
        blog.put(number, f"post {number}")
    stored = blog.values()
    page.configure()

    page.next()
    said = page.next()
    assert "present keys" in said, said
    assert blog.restarts == 2
    assert json.loads(file.read_text())["currentVersion"] == 2
    blog.put(ROWS + 1, "written under version 2")
    stored.append("written under version 2")
    assert blog.values() == stored
    page.next()
    assert blog.values() == stored
    assert page.next() == "0\n"
    page.next()
    page.host.later(8)
    page.next()
    assert list(json.loads(file.read_text())["keys"]) == ["2"]
    assert blog.values() == stored

    blog.variables["KEY_ROTATION"] = "on"
    blog.job("restart")
    blog.put(ROWS + 2, "under a key of its own")
    assert page.next() == f"2|{ROWS + 1}\n3|1\n"
    said = page.host.shell("certrotd keys rotate blog --reason x 2>&1", code=1)
    assert "was changed by something else" in said


def test_a_cipher_list_is_deployed_process_by_process(begin: Begin) -> None:
    """After each restart every process reads what any other writes."""
    page = begin("ruby.md", "shop")
    folder = page.host.at("/srv/shop/encryption")
    text = (GEM / "symmetric-encryption-rolling.yml").read_text()
    first = text.split("production:")[1].split("  - keystore")[1]
    first = f"production:\n  ciphers:\n  - keystore{first}".replace("KEYDIR", str(folder))
    file = page.host.write("/srv/shop/encryption/symmetric-encryption.yml", first)
    for kind in ("encrypted_key", "kekek"):
        name = f"my_app_production_v1.{kind}"
        (folder / name).write_bytes((GEM / name).read_bytes())
        (folder / name).chmod(0o600)
    page.execute("create table customers (id bigint primary key, email text)")
    command = [locate.require("ruby"), APPLICATIONS / "customers.rb", "{port}", file]
    webs = [page.unit(f"shop-web@{number}.service", command) for number in (1, 2)]
    for number, web in enumerate(webs, 1):
        page.host.instead[f"127.0.0.1:808{number}"] = f"127.0.0.1:{web.port}"
    rows = 0

    def each_writes_and_all_read() -> None:
        nonlocal rows
        for web in webs:
            rows += 1
            web.put(rows, f"customer {rows}")
        for web in webs:
            assert web.values() == [f"customer {number}" for number in range(1, rows + 1)]

    each_writes_and_all_read()
    page.configure()
    page.next()
    for web in webs:
        web.restarted = each_writes_and_all_read
    page.next()
    assert [web.restarts for web in webs] == [2, 2]
    assert rows == 2 + 4 * 2
    page.next()
    assert page.next() == "0\n"
    each_writes_and_all_read()
    page.next()
    page.host.later(8)
    page.next()
    assert not list(folder.glob("*_v1.*")), "the key files of the old cipher are gone"
    each_writes_and_all_read()
    assert not page.scripts


def test_a_server_with_an_old_key_is_cut_over_first_and_staged_then(begin: Begin) -> None:
    """It is staged only when no value lacks a key id: those the server would not read."""
    page = begin("key-and-old-key.md", "identity")
    text = f'[encryption]\nkey = "{os.urandom(32).hex()}"\nold_key = ""\nenable_key_id = false\n'
    file = page.host.write("/srv/identity/deployment.toml", text)
    page.execute("create table idn_secret (id bigint primary key, secret_value text not null)")
    identity = page.unit("identity.service", python("identity", file))
    page.host.instead["127.0.0.1:8080"] = f"127.0.0.1:{identity.port}"
    for number in range(1, ROWS + 1):
        identity.put(number, f"secret {number}")
    stored = identity.values()
    file.write_text(file.read_text().replace("enable_key_id = false", "enable_key_id = true"))
    identity.job("restart")
    staged = "/etc/certrotd/conf.d/identity.yaml"
    page.configure(later=[staged])

    page.next()
    page.next()
    written = page.host.at(staged).read_text()
    page.host.put(page.page, staged)
    refused = page.host.shell("certrotd keys rotate identity --dry-run", code=1)
    assert f"{ROWS} values of idn_secret name no key" in refused
    assert f"{ROWS} values" in page.host.shell("certrotd keys rotate identity --reason x", code=1)
    page.host.write(staged, written)
    told = page.next()
    assert "the application stopped for at least" in told
    assert "the application was stopped for" in told
    assert identity.values() == stored

    page.next()
    page.host.later(8)
    page.next()
    page.host.put(page.page, staged)
    page.next()
    restarts = identity.restarts
    page.next()
    assert identity.restarts == restarts + 2
    assert identity.values() == stored
    assert not page.scripts
