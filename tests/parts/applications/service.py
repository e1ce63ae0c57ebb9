"""What the services of the tests have in common: values over HTTP, from a table of PostgreSQL."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Protocol

import psycopg


class Cipher(Protocol):
    """It opens and makes values; ValueError where one does not open."""

    def encrypt(self, text: str) -> str: ...
    def decrypt(self, stored: str) -> str: ...


class Handler(BaseHTTPRequestHandler):
    """Everything comes from the server."""

    server: Service

    def do_GET(self) -> None:
        """Every value, or 500 and which one does not open."""
        try:
            self._say(200, json.dumps(self.server.values()) if self.path == "/" else "")
        except ValueError as error:
            self._say(500, str(error))

    def do_PUT(self) -> None:
        """Store one."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.put(int(self.path[1:]), text)
        self._say(200, "")

    def _say(self, code: int, text: str) -> None:
        data = text.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class Service(HTTPServer):
    """The column of a table, whose database libpq finds by PGHOST and so on."""

    def __init__(self, port: int, cipher: Cipher, table: str, column: str) -> None:
        self._cipher, self._table, self._column = cipher, table, column
        self._database: psycopg.Connection[Any] = psycopg.connect("", autocommit=True)
        super().__init__(("127.0.0.1", port), Handler)

    def values(self) -> list[str]:
        sql = f"select id, {self._column} from {self._table} order by id"
        found = []
        for number, stored in self._database.execute(sql).fetchall():
            try:
                found.append(self._cipher.decrypt(stored))
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from error
        return found

    def put(self, number: int, text: str) -> None:
        sql = f"insert into {self._table} (id, {self._column}) values (%s, %s)"
        self._database.execute(sql, (number, self._cipher.encrypt(text)))
