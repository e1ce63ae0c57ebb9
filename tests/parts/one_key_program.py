"""A web application that holds one key: it reads ENCRYPTION_KEY of a file when it starts.

Run with a port, that file, and a database: a path of SQLite, or a connection string of PostgreSQL.
GET and PUT /NUMBER read and write a value; GET /reads decrypts the newest and the oldest one.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken


class Handler(BaseHTTPRequestHandler):
    """Everything comes from the server."""

    server: Application

    def do_GET(self) -> None:
        """One value, or whether they can be read."""
        try:
            self._say(self.server.reads() if self.path == "/reads" else self.server.get(self._row))
        except InvalidToken:
            self.send_error(500, "it does not decrypt")

    def do_PUT(self) -> None:
        """Write one value."""
        value = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.put(self._row, value)
        self._say(b"written")

    @property
    def _row(self) -> int:
        return int(self.path[1:])

    def _say(self, value: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(value)))
        self.end_headers()
        self.wfile.write(value)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class Application(ThreadingHTTPServer):
    """The key is in memory, and read once."""

    daemon_threads = True

    def __init__(self, port: int, key: Path, database: str) -> None:
        [line] = [each for each in key.read_text().splitlines() if "ENCRYPTION_KEY=" in each]
        self.cipher = Fernet(line.partition("=")[2].strip("'\""))
        self.database = database
        super().__init__(("127.0.0.1", port), Handler)

    def get(self, row: int) -> bytes:
        [(value,)] = self._run("select secret from secrets where id = ?", row)
        return self.cipher.decrypt(value.encode())

    def put(self, row: int, value: bytes) -> None:
        token = self.cipher.encrypt(value).decode()
        sql = "insert into secrets (id, secret) values (?, ?) "
        self._run(f"{sql} on conflict (id) do update set secret = excluded.secret", row, token)

    def reads(self) -> bytes:
        for order in ("asc", "desc"):
            for (value,) in self._run(f"select secret from secrets order by id {order} limit 1"):
                self.cipher.decrypt(value.encode())
        return b"readable"

    def _run(self, sql: str, *told: object) -> list[Any]:
        with self._connected() as connection:
            cursor = connection.execute(sql if self._lite else sql.replace("?", "%s"), told)
            return list(cursor.fetchall()) if cursor.description else []

    @property
    def _lite(self) -> bool:
        return self.database.startswith("/")

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        if self._lite:
            made = sqlite3.connect(self.database, timeout=20, isolation_level=None)
            with closing(made) as connection:
                yield connection
            return
        import psycopg

        with psycopg.connect(self.database, autocommit=True) as connection:
            yield connection


if __name__ == "__main__":
    port, key, database = sys.argv[1:]
    Application(int(port), Path(key), database).serve_forever()
