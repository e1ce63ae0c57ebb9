"""MariaDB: a server of its own, on loopback, that flushes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.parts import locate, pki
from tests.parts.process import Server, free_port

if TYPE_CHECKING:
    import pymysql

PASSWORD = "canary-database-password"
_SYSTEM = ("mysql_system_tables.sql", "mysql_performance_tables.sql")


class MariaDB(Server):
    """A server with the account ``root``, whose password is PASSWORD.

    Its defaults are not those that certrotd needs: it cuts values that are too long, texts are in
    Latin-1, and times are those of a place with summer time. ``ca`` signed its certificate.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.binary = locate.require("mariadbd")
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="certrotd-mariadb-"))
        self.data = self._home / "data"
        self.data.mkdir()
        root = pki.make_root()
        self.ca, _ = root.write(directory, "ca")
        self._certificate, self._key = pki.make_leaf(root, "127.0.0.1").write(directory, "server")
        shared = next(p for p in map(Path, _SHARED) if (p / _SYSTEM[0]).exists())
        made = [
            "create database mysql;",
            "use mysql;",
            "set @auth_root_socket=null;",
            *((shared / name).read_text() for name in _SYSTEM),
            "flush privileges;",
            f"create user root@'127.0.0.1' identified by '{PASSWORD}';",
            "grant all on *.* to root@'127.0.0.1' with grant option;",
        ]
        subprocess.run(
            [self.binary, *self._options(), "--bootstrap"],
            input="\n".join(made) + "\n",
            text=True,
            check=True,
            capture_output=True,
        )

    def _options(self) -> Sequence[str]:
        settings = {
            "server-id": self.port,
            "datadir": self.data,
            "tmpdir": self._home,  # a server that starts removes what others have in theirs
            "bind-address": "127.0.0.1",
            "port": self.port,
            "socket": self._home / "socket",
            "pid-file": self._home / "pid",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-log-file-size": "64M",
            "innodb-buffer-pool-size": "64M",
            "log-bin": self._home / "binlog",
            "ssl-cert": self._certificate,
            "ssl-key": self._key,
            "character-set-server": "latin1",
            "sql-mode": "",
            "user": "root",
        }
        if os.geteuid() != 0:
            del settings["user"]
        return ["--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]

    def command(self) -> Sequence[str | Path]:
        return [self.binary, *self._options()]

    def environment(self) -> Mapping[str, str]:
        return {"TZ": "Europe/Berlin"}

    def is_ready(self) -> bool:
        import pymysql

        try:
            with self.connect():
                return True
        except pymysql.err.OperationalError:
            return False

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def replicate(self, primary: MariaDB) -> None:
        """Be its replica from now on: what it has already is not copied."""
        with primary.connect() as told, told.cursor() as cursor:
            cursor.execute("select @@global.gtid_binlog_pos")
            [(at,)] = cursor.fetchall()
        with self.connect() as told, told.cursor() as cursor:
            cursor.execute("set global gtid_slave_pos = %s", (at,))
            cursor.execute(
                "change master to master_host = '127.0.0.1', master_port = %s, "
                "master_user = 'root', master_password = %s, master_use_gtid = slave_pos",
                (primary.port, PASSWORD),
            )
            cursor.execute("start slave")

    def url(self, database: str = "mysql", user: str = "root") -> str:
        """As the configuration has it, without the password."""
        return f"mariadb://{user}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def connect(self, database: str | None = None) -> Iterator[pymysql.connections.Connection[Any]]:
        """A connection of root that commits each statement."""
        import pymysql

        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            password=PASSWORD,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=10,
        )
        with connection:
            yield connection


_SHARED = ("/usr/share/mysql", "/usr/share/mariadb", "/usr/local/share/mysql")
