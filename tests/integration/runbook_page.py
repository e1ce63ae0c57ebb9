"""A runbook of docs/keys with its application and database, carried out script by script."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]

from tests.parts.application import Application
from tests.parts.pages import blocks
from tests.parts.postgresql import PASSWORD, PostgreSQL
from tests.parts.runbook import Host
from tests.parts.systemctl import Systemctl

_RECIPIENT = "age1" + "q" * 58
_SECRET = "canary-role-password"


class RunbookPage:
    """The scripts of ``page`` on a host at ``place``; the database, and its account, are there.

    Units that it names are processes of the test.
    """

    def __init__(
        self, page: str, name: str, place: Path, server: PostgreSQL, systemctl: Systemctl
    ) -> None:
        self.page, self.server, self.systemctl = page, server, systemctl
        self.scripts = blocks(page, "sh")
        known = {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "postgres"}
        known |= {"PASSWORD": PASSWORD, "DATABASE": name}
        self.database = {f"PG{each}": value for each, value in known.items()}
        identity = pyrage.x25519.Identity.generate()
        instead = {
            "db.example.com": f"127.0.0.1:{server.port}",
            _RECIPIENT: str(identity.to_public()),
            "password '…'": f"password '{_SECRET}'",
        }
        self.host = Host(place, instead)
        self.host.variables |= self.database
        self.host.write(f"/etc/certrotd/{name}-db", _SECRET)
        self.host.write("/media/usb/certrotd-backup.identity", str(identity))
        for folder in ("/mnt/backups/keys", "/root"):
            self.host.at(folder).mkdir(parents=True)
        with server.connect() as connection:
            connection.execute("drop role if exists certrotd")
            connection.execute(f"create database {name}")
        self._name = name
        self._stack = ExitStack()

    def execute(self, sql: str, *told: object) -> list[Any]:
        """One statement of the superuser."""
        with self.server.connect(self._name) as connection:
            cursor = connection.execute(sql, told or None)
            return list(cursor.fetchall()) if cursor.description else []

    def unit(
        self,
        name: str,
        command: Sequence[object],
        *,
        variables: Mapping[str, str] | None = None,
        environment: Path | None = None,
    ) -> Application:
        """A process that is that unit, and runs; ``environment`` is its EnvironmentFile."""
        made = Application(command, {**self.database, **(variables or {})}, environment)
        self.systemctl.units[name] = made.unit
        self._stack.callback(made.stop)
        made.start()
        return made

    def configure(self, *, later: Sequence[str] = ()) -> None:
        """What the page has an operator write, but what it shows ``later``."""
        for sql in blocks(self.page, "sql"):
            self.execute(self.host.here(sql))
        self.host.install(self.page, later=later)

    def next(self, *, code: int = 0) -> str:
        """Carry out the next script of the page; what it prints."""
        return self.host.shell(self.scripts.pop(0), code=code)

    def __enter__(self) -> RunbookPage:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        with self.server.connect() as connection:
            connection.execute(f"drop database {self._name} with (force)")


def base64_key() -> str:
    """A key of 32 bytes."""
    return base64.b64encode(os.urandom(32)).decode()
