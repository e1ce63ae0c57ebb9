"""What re-encryption of a table costs, beside the same UPDATE without cryptography.

Both read the same rows in the same batches, one table each, and write them by the same
compare-and-swap, certrotd's through its whole engine, the other one by a bare loop. They take
turns; of each turn there is a ratio, and the median of those counts, so that what else the machine
does falls on both. From turn to turn the two keys change places.
"""

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import ProgramFailed
from certrotd.clock import SystemClock
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets.census import beginnings_of, tally
from certrotd.datasets.configured import Opened, opened
from certrotd.datasets.port import Change, Key
from certrotd.datasets.process_pool import CHILD
from certrotd.datasets.reencryption import Pass
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.parts import Parts
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PASSWORD, PostgreSQL

ROWS = 20_000
SIZE = 64
TURNS, TURNS_OF_OTHERS = 9, 3
WITHIN = 1.5
"""A codec has no more rows than it encrypts in so many seconds."""
BUDGET = 0.75
"""The part of the rows a second without cryptography that Tink reaches on PostgreSQL."""
MEMORY = 200
"""MiB that the process has at most, and those that it starts."""
Place = PostgreSQL | MariaDB | Path
"""Where the tables are: a server, or a file of SQLite."""

_LAYOUT = {"type": "layout", "layout": "base64({iv}{ct}{tag})", "cipher": "aes-256-gcm"}
_RAILS = {"type": "rails", "salt": {"env": "BENCH_SALT"}}
_PBKDF2 = {"name": "pbkdf2", "iterations": 10_000}
CODECS: Mapping[str, object] = {
    "tink": "tink",
    "fernet": "fernet",
    "secretbox": "secretbox",
    "laravel": "laravel",
    "node-json": "node-json",
    "rails": _RAILS,
    "rails, deterministic": {**_RAILS, "deterministic": True},
    "jwe": {"type": "jwe"},
    "jwe, A256GCMKW": {"type": "jwe", "alg": "A256GCMKW"},
    "wso2": {"type": "wso2"},
    "layout": _LAYOUT,
    "layout, PBKDF2": {**_LAYOUT, "layout": "base64({salt}{iv}{ct}{tag})", "kdf": _PBKDF2},
}
"""Those with a MAC; the last one has a key of its own for each value, as Grafana has it."""


@dataclass(frozen=True)
class Turn:
    """One pass over a table: seconds, and those of the client's and the server's processors."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        """Of both."""
        return self.client + self.server


@dataclass(frozen=True)
class Speed:
    """Medians of one codec in one database: rows a second, and microseconds of processors a row.

    ``bare`` are the rows a second of the UPDATE alone; ``ratio`` and ``cpu_ratio`` tell how much of
    it is reached, by the clock and by the time of processors.
    """

    database: str
    codec: str
    rows: int
    per_second: float
    client: float
    server: float
    bare: float
    ratio: float
    cpu_ratio: float


@dataclass(frozen=True)
class Reencryption:
    """Every figure, and the most memory that the process and its children had, in MiB."""

    speeds: list[Speed]
    peak: float

    @property
    def within_memory(self) -> bool:
        """Whether it is no more than it may be."""
        return self.peak <= MEMORY

    def of(self, database: str, codec: str) -> Speed:
        """The figures of one codec in one database."""
        return next(s for s in self.speeds if (s.database, s.codec) == (database, codec))


def measure() -> Reencryption:
    """Measures with a PostgreSQL, a MariaDB and a SQLite file of its own."""
    os.environ |= {"DATABASE_PASSWORD": PASSWORD, "BENCH_SALT": "salt"}
    speeds: list[Speed] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="certrotd-bench-")))
        parts = Parts(directory / "parts", stack)
        memory = stack.enter_context(_watched())
        places: Mapping[str, Place] = {
            "PostgreSQL": parts.start(PostgreSQL),
            "MariaDB": parts.start(MariaDB),
            "SQLite": directory / "a.db",
        }
        for codec in CODECS:
            for database, place in places.items():
                speeds.append(measured(place, database, codec, ROWS))
        return Reencryption(speeds, memory())


def measured(place: Place, database: str, codec: str, rows: int) -> Speed:
    """The turns of one codec in one database; ``rows`` at most."""
    with (
        opened("ours", _entry(place, "ours", codec)) as ours,
        opened("bare", _entry(place, "bare", codec)) as bare,
    ):
        keys = [_keys(codec, active=n) for n in (1, 2)]
        rows = min(rows, _affordable(ours, keys[0]))
        _fill(place, ours, keys[0], rows)
        turns: list[tuple[Turn, Turn]] = []
        _bare(bare, keys[1])  # connects, and asks for the types of columns
        _reencrypted(ours, keys[1])
        for number in range(TURNS if codec == "tink" else TURNS_OF_OTHERS):
            active = keys[number % 2]
            _tidied(place)
            without = _timed(place, partial(_bare, bare, active))
            with_it = _timed(place, partial(_reencrypted, ours, active))
            if tally(ours.dataset, ours.form, active).by_version[active.active] != rows:
                raise ProgramFailed("values are left under the old key")
            turns.append((with_it, without))
    median = statistics.median
    return Speed(
        database,
        codec,
        rows,
        rows / median(a.wall for a, _ in turns),
        median(a.client for a, _ in turns) / rows * 1e6,
        median(a.server for a, _ in turns) / rows * 1e6,
        rows / median(b.wall for _, b in turns),
        median(b.wall / a.wall for a, b in turns),
        median(b.cpu / a.cpu for a, b in turns),
    )


def _entry(place: Place, table: str, codec: str) -> SqlDatasetEntry:
    url = f"sqlite:///{place}" if isinstance(place, Path) else place.url()
    told: dict[str, Any] = {"type": "sql", "url": url, "table": table, "columns": ["v"]}
    told |= {"codec": CODECS[codec]}
    if codec == "tink":
        told["associated_data"] = "{column}/{pk}"
    if codec == "rails, deterministic":
        told["search_two_keys"] = True
    if not isinstance(place, Path):
        told["password"] = {"env": "DATABASE_PASSWORD"}
    return SqlDatasetEntry.model_validate(told)


def _keys(codec: str, *, active: int) -> KeySet:
    """Two keys, always the same."""
    wanted = Algorithm.AES_256_GCM
    if codec in ("fernet", "laravel"):
        wanted = Algorithm.FERNET if codec == "fernet" else Algorithm.AES_256_CBC
    elif codec == "secretbox":
        wanted = Algorithm.XSALSA20_POLY1305
    elif codec.startswith("rails") or "PBKDF2" in codec:
        wanted = Algorithm.PASSPHRASE
    ids = ("v1", "v2") if codec == "secretbox" else ("", "")
    made = (DataKey(n, wanted, Material(bytes([n]) * 32), ids[n - 1]) for n in (1, 2))
    return KeySet.of(made, active=active)


def _affordable(place: Opened, keys: KeySet) -> int:
    """How many rows are encrypted in the time that there is."""
    place.form.codec.encrypt(bytes(SIZE), keys.encrypting)  # loads what it needs
    begun, count = time.thread_time(), 0
    while (took := time.thread_time() - begun) < 0.02:
        place.form.codec.encrypt(bytes(SIZE), keys.encrypting)
        count += 1
    return max(200, int(WITHIN / (3 * took / count)))


def _timed(place: Place, act: Callable[[], None]) -> Turn:
    server, client, begun = _server_cpu(place), _client_cpu(), time.perf_counter()
    act()
    wall = time.perf_counter() - begun
    return Turn(wall, _client_cpu() - client, _server_cpu(place) - server)


def _reencrypted(place: Opened, keys: KeySet) -> None:
    Pass(place.dataset, place.form, keys, SystemClock(), place.pace).run()


def _bare(place: Opened, keys: KeySet) -> None:
    """Every row is read, and written with other bytes of the same length."""
    done = beginnings_of(place.form, keys).get(keys.active, ())
    after: Key | None = None
    while rows := place.dataset.rows(after, place.pace.batch, done):
        changes = []
        for row in rows:
            [value] = row.values
            assert value is not None, "every row has one"
            new = done[0] + value[len(done[0]) :] if done else value[::-1]
            changes.append(Change(row, (new,)))
        if place.dataset.replace(changes) != len(changes):
            raise ProgramFailed("a row was not written")
        after = rows[-1].key


def _client_cpu() -> float:
    """Of this process, and of those that encrypt for it."""
    return time.process_time() + sum(map(_cpu, _children()))


def _server_cpu(place: Place) -> float:
    """Of a server and all of its processes, also those that ended."""
    if isinstance(place, Path):
        return 0.0
    return _cpu(place.pid, ended=True) + sum(map(_cpu, _children_of(place.pid)))


def _cpu(pid: int, *, ended: bool = False) -> float:
    """Seconds of processor of a process, 0 if it is gone; with those of its children that ended."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, told[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


def _children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _children() -> list[int]:
    """The processes that encrypt for this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                if CHILD.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


@contextmanager
def _watched() -> Iterator[Any]:
    """What tells the most MiB that this process and those that encrypt for it had at once."""
    most, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.1):
            most = max(most, sum(map(_resident, [os.getpid(), *_children()])))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most
    finally:
        over.set()
        thread.join()


def _resident(pid: int) -> float:
    """MiB of a process, pages shared with others in part."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _fill(place: Place, ours: Opened, keys: KeySet, rows: int) -> None:
    """Both tables anew, under the old key."""
    codec, text = ours.form.codec, os.urandom(SIZE)
    binary = not codec.traits.text
    values = (
        (n, v if binary else v.decode())
        for n, v in _encrypted(ours, codec, keys.encrypting, text, rows)
    )
    if isinstance(place, Path):
        import sqlite3

        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute("pragma journal_mode = wal")
            for table in ("ours", "bare"):
                connection.execute(f"drop table if exists {table}")
                connection.execute(f"create table {table} (id integer primary key, v)")
            connection.executemany("insert into ours values (?, ?)", values)
            connection.execute("insert into bare select * from ours")
    elif isinstance(place, MariaDB):
        kind = "varbinary(1000)" if binary else "varchar(1000)"
        with place.connect("mysql") as told, told.cursor() as cursor:
            for table in ("ours", "bare"):
                cursor.execute(f"create or replace table {table} (id bigint primary key, v {kind})")
            cursor.executemany("insert into ours values (%s, %s)", values)
            cursor.execute("insert into bare select * from ours")
    else:
        _copy(place, "bytea" if binary else "text", values)


def _encrypted(
    ours: Opened, codec: Any, key: DataKey, text: bytes, rows: int
) -> Iterator[tuple[int, bytes]]:
    """Rows of that text; of a codec that is slow, some ciphertexts stand again and again."""
    bound = codec.traits.associated_data
    few = rows if bound else min(rows, 2000)
    made: list[bytes] = []
    for number in range(rows):
        if number >= few:
            yield number, made[number % few]
            continue
        value = codec.encrypt(text, key, ours.form.binds((number,), 0))
        if not bound:
            made.append(value)
        yield number, value


def _copy(server: PostgreSQL, kind: str, values: Iterable[tuple[int, Any]]) -> None:
    with server.connect() as connected:
        for table in ("ours", "bare"):
            connected.execute(f"drop table if exists {table}".encode())
            connected.execute(f"create table {table} (id bigint primary key, v {kind})".encode())
        with connected.cursor() as cursor, cursor.copy("copy ours from stdin") as into:
            for row in values:
                into.write_row(row)
        connected.execute("insert into bare select * from ours order by id")
        connected.execute("vacuum analyze ours")
        connected.execute("vacuum analyze bare")
        connected.execute("checkpoint")


def _tidied(place: Place) -> None:
    """What was replaced goes, so that no turn waits for what the one before it left."""
    if isinstance(place, PostgreSQL):
        with place.connect() as connected:
            connected.execute("vacuum ours")
            connected.execute("vacuum bare")


def as_json(found: Reencryption) -> dict[str, Any]:
    """The figures for programs."""
    return asdict(found)


def show(found: Reencryption) -> None:
    """The figures as a table."""
    print(f"Values of {SIZE} bytes re-encrypted, beside the same UPDATE without cryptography:\n")
    print(
        f"{'codec':22}{'database':12}{'rows':>8}{'rows/s':>9}{'UPDATE alone':>14}{'ratio':>7}"
        f"{'CPU a row: client':>19}{'server':>9}{'ratio':>7}"
    )
    for each in found.speeds:
        print(
            f"{each.codec:22}{each.database:12}{each.rows:>8,}{each.per_second:>9,.0f}"
            f"{each.bare:>14,.0f}{100 * each.ratio:>5.0f} %"
            f"{each.client:>16.1f} µs{each.server:>6.1f} µs{100 * each.cpu_ratio:>5.0f} %"
        )
    tink = found.of("PostgreSQL", "tink")
    print(
        f"\nTink on PostgreSQL: {100 * tink.ratio:.0f} % of the UPDATE alone by the clock "
        f"(≥{100 * BUDGET:.0f} %), {100 * tink.cpu_ratio:.0f} % by processor time"
    )
    told = "" if found.within_memory else ": TOO MUCH"
    print(f"peak memory, with the processes that encrypt: {found.peak:.0f} MiB (≤{MEMORY}){told}")
