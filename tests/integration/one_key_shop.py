"""A web application that holds one key, its database, and a keyring that cuts it over."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.parts import one_key_program
from tests.parts.postgresql import PASSWORD, PostgreSQL
from tests.parts.process import free_port, wait_until
from tests.parts.site import Run, Site

ROWS = 60
TABLE = "create table secrets (id integer primary key, secret text, note text default 'n')"
_START = """
[ -e {folder}/only ] && ! cmp -s {folder}/only {key} && exit 7
kill -0 "$(cat {pid} 2>/dev/null)" 2>/dev/null && exit 0
setsid {python} {program} {port} {key} '{database}' >>{folder}/app.log 2>&1 </dev/null &
echo $! > {pid}
"""
_STOP = """
date +%s.%N >> {folder}/stop.log
[ -e {folder}/no-stop ] && exit 9
kill "$(cat {pid})" 2>/dev/null || exit 0
n=0
while kill -0 "$(cat {pid})" 2>/dev/null; do sleep 0.02; n=$((n+1)); [ $n -lt 1500 ] || exit 1; done
while [ -e {folder}/after-stop ]; do sleep 0.05; done
"""
_STOPPED = """
! kill -0 "$(cat {pid} 2>/dev/null)" 2>/dev/null
"""


class OneKeyShop:
    """The keyring ``shop``; its key is in ``key``, and the application is started and stopped."""

    def __init__(self, site: Site, server: PostgreSQL | None = None) -> None:
        self.site, self.server = site, server
        self.folder = site.directory
        self.key, self.pid = self.folder / "app.env", self.folder / "app.pid"
        self.port = free_port()
        self.database = str(self.folder / "app.db") if server is None else _conninfo(server)
        self.scripts = {
            name: self._script(name, body)
            for name, body in (("start", _START), ("stop", _STOP), ("stopped", _STOPPED))
        }
        self._configure()

    def _configure(self) -> None:
        dataset: dict[str, Any] = {"type": "sql", "table": "secrets", "columns": ["secret"]}
        dataset |= {"codec": "fernet", "batch": 7}
        if self.server is None:
            dataset["url"] = f"sqlite:///{self.database}"
        else:
            password = self.folder / "password"
            password.touch(mode=0o600)
            password.write_text(PASSWORD)
            dataset |= {"url": self.server.url(), "password": {"file": str(password)}}
        probe = {"http": f"http://127.0.0.1:{self.port}/reads", "contains": "readable"}
        cutover = {name: [str(path)] for name, path in self.scripts.items()}
        output = {"type": "dotenv", "path": str(self.key), "key": "ENCRYPTION_KEY"}
        self.site.config["keyrings"] = {
            "shop": {
                "algorithm": "fernet",
                "outputs": [{**output, "encoding": "base64url"}],
                "datasets": {"secrets": dataset},
                "cutover": {**cutover, "probe": {**probe, "within": "20s"}},
            }
        }

    @property
    def entry(self) -> dict[str, Any]:
        """The configuration of the keyring."""
        entry: dict[str, Any] = self.site.config["keyrings"]["shop"]
        return entry

    def begin(self) -> OneKeyShop:
        """A first key, values under it, and the application running."""
        assert self.run("rotate", "key/shop").code == 0
        return self.fill()

    def fill(self) -> OneKeyShop:
        """Values under the key that is there, and the application running."""
        self.execute(TABLE)
        cipher = self.cipher()
        for row in range(ROWS):
            token = cipher.encrypt(f"value {row}".encode()).decode()
            self.execute("insert into secrets (id, secret) values (?, ?)", row, token)
        self.switch("start")
        wait_until(self.serves)
        return self

    def run(self, *arguments: str) -> Run:
        """The program; it never ends with a traceback."""
        ran = self.site.run(*arguments)
        assert "Traceback" not in ran.stderr + ran.stdout, ran
        return ran

    def cut_over(self, *, code: int | None = 0) -> Run:
        """By hand."""
        ran = self.run("keys", "rotate", "shop", "--reason", "test")
        assert code is None or ran.code == code, ran
        return ran

    # The application.

    def switch(self, name: str) -> None:
        """Start or stop it, as certrotd does."""
        assert os.spawnl(os.P_WAIT, str(self.scripts[name]), name) == 0

    def ask(self, method: str, path: str, value: bytes | None = None) -> tuple[int, bytes]:
        """What it answers; raises OSError or HTTPException while it is away."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body=value)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def told(self, name: str) -> list[float]:
        """When it was told to stop."""
        log = self.folder / f"{name}.log"
        return [float(line) for line in log.read_text().split()] if log.exists() else []

    def serves(self) -> bool:
        """Whether it reads what is stored."""
        try:
            return self.ask("GET", "/reads") == (200, b"readable")
        except (OSError, http.client.HTTPException):
            return False

    def cipher(self) -> Fernet:
        """By the key that the application would read now."""
        [line] = [each for each in self.key.read_text().splitlines() if "ENCRYPTION_KEY=" in each]
        return Fernet(line.partition("=")[2].strip("'\""))

    def end(self) -> None:
        """Whatever of it runs."""
        if self.pid.exists():
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(self.pid.read_text()), signal.SIGKILL)

    # The database.

    def execute(self, sql: str, *told: object) -> list[Any]:
        """One statement, committed."""
        if self.server is None:
            lite = sqlite3.connect(self.database, isolation_level=None, timeout=20)
            with closing(lite) as connection:
                return connection.execute(sql, told).fetchall()
        with self.server.connect() as server:
            cursor = server.execute(sql.replace("?", "%s"), told)
            return list(cursor.fetchall()) if cursor.description else []

    def is_whole(self) -> str:
        """The application serves, and everything is under the very key that it has; that key."""
        assert self.serves()
        cipher = self.cipher()
        for _, token, note in self.execute("select id, secret, note from secrets"):
            cipher.decrypt(token.encode())
            assert note == "n"
        return self.key.read_text()

    def versions(self) -> dict[int, str]:
        """The state of each version."""
        row = self.run("keys", "list", "--json").row("shop")
        return {each["version"]: each["state"] for each in row["versions"]}

    def _script(self, name: str, body: str) -> Path:
        names = {"folder": self.folder, "pid": self.pid, "port": self.port, "key": self.key}
        more = {"python": sys.executable, "program": one_key_program.__file__}
        path = self.folder / f"{name}.sh"
        path.write_text("#!/bin/sh\n" + body.format(**names, **more, database=self.database))
        path.chmod(0o755)
        return path


def _conninfo(server: PostgreSQL) -> str:
    return f"host=127.0.0.1 port={server.port} user=postgres password={PASSWORD} dbname=postgres"


class Client:
    """It reads and writes through the application, and remembers what was said to be written."""

    def __init__(self, shop: OneKeyShop) -> None:
        self.shop = shop
        self.written: dict[int, bytes] = {}
        self.failed: list[float] = []
        self.wrong: list[object] = []
        self.done = 0
        self._over = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[Client]:
        """While it asks one question after the other."""
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _work(self) -> None:
        number = 0
        while not self._over.wait(0.005):
            number += 1
            row, value = number % (ROWS + 40), f"written {number}".encode()
            try:
                self._one(row, value)
                self.done += 1
            except (OSError, http.client.HTTPException):
                self.failed.append(time.time())
                self.written.pop(row, None)  # it may have been written, or not

    def _one(self, row: int, value: bytes) -> None:
        status, _ = self.shop.ask("PUT", f"/{row}", value)
        self.written[row] = value
        read = self.shop.ask("GET", f"/{row}")
        if (status, read) != (200, (200, value)):
            self.wrong.append((row, status, read))
