"""What re-encryption of a table costs, beside the same UPDATE without cryptography.

Both read the same rows in the same batches, and write them by the same compare-and-swap. They take
turns, each on a table that is made anew, and the best of each counts.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ProgramFailed
from certrotd.clock import SystemClock
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.census import beginnings_of, tally
from certrotd.datasets.configured import CODECS, Opened, opened
from certrotd.datasets.port import Change, Key
from certrotd.datasets.reencryption import Pace, Pass
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.parts import Parts
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PASSWORD, PostgreSQL

ROWS = 200_000
MILLION = 1_000_000
SIZE = 64
TURNS = 3
BATCH = 1000
BUDGET = 0.75
"""The part of the rows a second without cryptography that Tink reaches on PostgreSQL."""
BARE = "no cryptography"
Place = PostgreSQL | MariaDB | Path
"""Where a table is: a server, or a file of SQLite."""


@dataclass(frozen=True)
class Speed:
    """Rows a second, and microseconds of the client's processor for each."""

    database: str
    codec: str
    rows: int
    per_second: float
    client: float


@dataclass(frozen=True)
class Reencryption:
    """Every figure, and the most memory that the process had, in MiB."""

    speeds: list[Speed]
    peak: float

    def ratio(self, database: str, codec: str) -> float:
        """Rows a second of a codec, in those of the UPDATE alone."""
        by = {(each.database, each.codec): each.per_second for each in self.speeds}
        return by[database, codec] / by[database, f"{codec}, {BARE}"]


def measure(rows: int) -> Reencryption:
    """Measures with a PostgreSQL, a MariaDB and a SQLite file of its own."""
    os.environ["DATABASE_PASSWORD"] = PASSWORD
    speeds: list[Speed] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="certrotd-bench-")))
        parts = Parts(directory / "parts", stack)
        for database, place in (
            ("PostgreSQL", parts.start(PostgreSQL)),
            ("MariaDB", parts.start(MariaDB)),
            ("SQLite", directory / "a.db"),
        ):
            for codec in CODECS:
                speeds += _turns(place, database, codec, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Reencryption(speeds, peak)


def _turns(place: Place, database: str, codec: str, rows: int) -> list[Speed]:
    url = f"sqlite:///{place}" if isinstance(place, Path) else place.url()
    told: dict[str, Any] = {"type": "sql", "url": url, "table": "t", "columns": ["v"]}
    told |= {
        "codec": codec,
        "associated_data": "{table}/{column}/{pk}" if codec == "tink" else None,
    }
    if not isinstance(place, Path):
        told["password"] = {"env": "DATABASE_PASSWORD"}
    entry, keys = SqlDatasetEntry.model_validate(told), _keys(codec)
    best: dict[str, Speed] = {}
    for _ in range(TURNS):
        for name in (codec, f"{codec}, {BARE}"):
            _fill(place, codec, keys, rows)
            with opened("t", entry) as found:
                began, cpu = time.perf_counter(), time.process_time()
                (_bare if name.endswith(BARE) else _reencrypted)(found, keys)
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
                if name == codec and tally(found.dataset, found.form, keys).by_version[1]:
                    raise ProgramFailed("values are left under the old key")
            speed = Speed(database, name, rows, rows / took, cpu / rows * 1e6)
            if name not in best or best[name].per_second < speed.per_second:
                best[name] = speed
    return list(best.values())


def _keys(codec: str) -> KeySet:
    usual = (Algorithm.AES_256_GCM, Algorithm.FERNET, Algorithm.XSALSA20_POLY1305)
    algorithm = next(each for each in usual if each in CODECS[codec].traits.algorithms)
    return KeySet.of([DataKey(n, algorithm, Material(os.urandom(32))) for n in (1, 2)], active=2)


def _reencrypted(place: Opened, keys: KeySet) -> None:
    Pass(place.dataset, place.form, keys, SystemClock(), Pace(BATCH)).run()


def _bare(place: Opened, keys: KeySet) -> None:
    """Every row is read, and written with other bytes of the same length."""
    done = beginnings_of(place.form, keys).get(2, ())
    after: Key | None = None
    while rows := place.dataset.rows(after, BATCH, done):
        changes = []
        for row in rows:
            [value] = row.values
            assert value is not None, "every row has one"
            changes.append(Change(row, (done[0] + value[5:] if done else value[::-1],)))
        if place.dataset.replace(changes) != len(changes):
            raise ProgramFailed("a row was not written")
        after = rows[-1].key


def _fill(place: Place, codec: str, keys: KeySet, rows: int) -> None:
    """The table anew, under the old key."""
    form, key, text = CODECS[codec], keys.keys[1], os.urandom(SIZE)
    bound = (f"t/v/{n}".encode() if codec == "tink" else b"" for n in range(rows))
    values = ((n, form.encrypt(text, key, aad)) for n, aad in enumerate(bound))
    if isinstance(place, Path):
        import sqlite3

        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute("drop table if exists t")
            connection.execute("create table t (id integer primary key, v blob)")
            connection.executemany("insert into t values (?, ?)", values)
    elif isinstance(place, MariaDB):
        kind = "varbinary(200)" if codec == "tink" else "varchar(200)"
        with place.connect("mysql") as told, told.cursor() as cursor:
            cursor.execute(f"create or replace table t (id bigint primary key, v {kind})")
            cursor.executemany("insert into t values (%s, %s)", list(values))
    else:
        _copy(place, codec, values)


def _copy(server: PostgreSQL, codec: str, values: Iterable[tuple[int, bytes]]) -> None:
    kind = "bytea" if codec == "tink" else "text"
    with server.connect() as connected:
        connected.execute("drop table if exists t")
        connected.execute(f"create table t (id bigint primary key, v {kind})".encode())
        with connected.cursor() as cursor, cursor.copy("copy t from stdin") as into:
            for number, value in values:
                into.write_row((number, value if codec == "tink" else value.decode()))
        connected.execute("vacuum analyze t")
        connected.execute("checkpoint")


def show(found: Reencryption) -> None:
    """The figures as a table."""
    print(f"{found.speeds[0].rows:,} rows of {SIZE} bytes re-encrypted, {BATCH:,} a transaction:\n")
    print(f"{'database':12}{'codec':26}{'rows/s':>10}{'client CPU a row':>19}{'ratio':>8}")
    for each in found.speeds:
        bare = each.codec.endswith(BARE)
        ratio = "" if bare else f"{100 * found.ratio(each.database, each.codec):.0f} %"
        cpu = f"{each.client:.1f} µs"
        print(f"{each.database:12}{each.codec:26}{each.per_second:>10,.0f}{cpu:>19}{ratio:>8}")
    reached = found.ratio("PostgreSQL", "tink")
    print(
        f"\nTink on PostgreSQL: {100 * reached:.0f} % of the UPDATE alone (≥{100 * BUDGET:.0f} %)"
    )
    print(f"peak memory {found.peak:.0f} MiB (≤200)", file=sys.stdout)
