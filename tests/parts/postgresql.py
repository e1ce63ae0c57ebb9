"""PostgreSQL: a cluster of its own, on loopback, without fsync."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.parts import locate
from tests.parts.process import Server, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

PASSWORD = "canary-database-password"


class PostgreSQL(Server):
    """A server with the superuser ``postgres``, whose password is PASSWORD.

    It refuses to run as root: then it is the user postgres, in a directory that this user may
    enter.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.binary = locate.require("postgres")
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="certrotd-postgresql-"))
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if os.geteuid() != 0:
            self._as = []
        else:
            shutil.chown(self._home, "postgres", "postgres")
        self.data = self._home / "data"
        self._fill()

    def _fill(self) -> None:
        """Make the directory of its data."""
        secret = self._home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        made: list[str | Path] = [
            locate.require("initdb"),
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
        ]
        more: list[str | Path] = ["-E", "UTF8", "--locale=C.UTF-8", "--pwfile", secret, "-N"]
        self._run([*made, *more])
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 0.0.0.0/0 scram-sha-256\n")  # pods are led to its loopback

    def _run(self, argv: Sequence[str | Path]) -> None:
        run = [*self._as, *map(str, argv)]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(run, check=True, capture_output=True, cwd="/", env=environment)

    def command(self) -> Sequence[str | Path]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 30,
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self._as, self.binary, "-D", self.data, *options]

    def is_ready(self) -> bool:
        import psycopg

        with socket.create_connection(("127.0.0.1", self.port)):
            pass
        try:
            with self.connect():
                return True
        except psycopg.OperationalError:
            return False

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def own(self, path: Path) -> None:
        """Makes a file one of the server's user."""
        if self._as:
            shutil.chown(path, "postgres", "postgres")

    def kill(self) -> None:
        """SIGKILL; returns once nothing of it is left, so that it can be started again."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_running and not self._processes())

    def _processes(self) -> list[str]:
        """Those whose working directory is that of the data."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if each.readlink() == self.data:
                    found.append(each.parent.name)
        return found

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """As the configuration has it, without the password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def connect(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A connection of the superuser that commits each statement."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        ) as connection:
            yield connection


class PostgreSQLReplica(PostgreSQL):
    """A standby that streams from a primary, from the state that this has now."""

    def __init__(self, directory: Path, primary: PostgreSQL) -> None:
        self._primary = primary
        super().__init__(directory)

    def _fill(self) -> None:
        source = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        more: list[str | Path] = [
            "-d",
            source,
            "-D",
            self.data,
            "-R",
            "-X",
            "stream",
            "--checkpoint=fast",
            "-N",
        ]
        self._run([locate.require("pg_basebackup"), *more])
