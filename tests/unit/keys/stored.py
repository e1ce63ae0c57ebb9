"""A keyring of the tests with all that it protects: a table, files, and a program's count."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from certrotd.codecs import stream
from certrotd.codecs.stream_header import new_header
from certrotd.codecs.tink import Tink
from certrotd.keyring.material import DataKey
from tests.unit.keys.rings import Rings, script

ROWS = 40
TABLE = {"type": "sql", "table": "t", "columns": ["v"], "keep": ["n"]}


class Stored(Rings):
    """A keyring with a table and a directory of encrypted files."""

    def __init__(self, place: Path, **told: Any) -> None:
        super().__init__(place)
        self.database, self.files = place / "app.db", place / "files"
        self.files.mkdir()
        datasets = {
            "rows": {**TABLE, "url": f"sqlite:///{self.database}"},
            "docs": {"type": "files", "roots": [str(self.files)]},
            "archive": {"census": [str(script(place / "count", "echo 0"))]},
        }
        self.orders.update({"datasets": datasets, "rehearsal": {"rows": 10}, **told})
        self.done()
        self.fill(self.key(1))

    def key(self, number: int) -> DataKey:
        with self.keyring() as keyring:
            found = keyring.store.read()
            assert found is not None
            return found.keyring.key(number)

    def fill(self, key: DataKey) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("create table t (id integer primary key, v blob, n int default 7)")
            rows = [(n, Tink().encrypt(b"value %d" % n, key)) for n in range(ROWS)]
            connection.executemany("insert into t (id, v) values (?, ?)", rows)
        for number in range(3):
            header, out = new_header(key), io.BytesIO()
            stream.encrypt(header, io.BytesIO(b"content %d" % number).readinto, out.write)
            folder = self.files / str(number)
            folder.mkdir()
            (folder / "file").write_bytes(header.data + out.getvalue())
