"""Shards and their leases in a table of the database whose rows they are about.

The row of a shard is written in the transaction of each batch, before the batch: whoever lost the
lease finds another token there, and writes nothing. All times are the database's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from certrotd.datasets.keys import key_from_json, key_to_json
from certrotd.datasets.port import Key
from certrotd.datasets.reencryption import Passed, Position
from certrotd.datasets.row_values import Quarantined
from certrotd.datasets.shards import Checkpoints, Lease, LeaseLost, Part, Run, Shard
from certrotd.datasets.sql_errors import as_failures
from certrotd.errors import InvalidInput, NeedsOperator

TABLE = "certrotd_checkpoints"
LEASE = 12.0
"""So many seconds after its worker was last heard of, another takes a shard."""
LISTED = 20
"""So many values that were left alone are kept of each shard."""
_NOW = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "mysql": "unix_timestamp(now(6))",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
_OPEN, _PAUSED, _DONE = "open", "paused", "done"


def _table(schema: str | None) -> sa.Table:
    return sa.Table(
        TABLE,
        sa.MetaData(),
        sa.Column("dataset", sa.String(150), primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run", sa.String(100), nullable=False),
        sa.Column("active_version", sa.Integer, nullable=False),
        sa.Column("low", sa.Text),
        sa.Column("high", sa.Text),
        sa.Column("reached", sa.Text),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(150)),
        sa.Column("held_until", sa.Double, nullable=False),
        sa.Column("left_alone", sa.BigInteger, nullable=False),
        sa.Column("listed", sa.Text),
        schema=schema,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


class SqlCheckpoints(Checkpoints):
    """Checkpoints, of the dataset ``label``."""

    def __init__(self, engine: Engine, label: str, schema: str | None) -> None:
        self._engine = engine
        self.label = label
        self.table = _table(schema)
        self.now: sa.ColumnElement[float] = sa.literal_column(
            _NOW[engine.dialect.name], sa.Double()
        )

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A transaction, as SqlDataset.connected."""
        with as_failures(f"{TABLE} of {self.label}"), self._engine.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """As Checkpoints.prepare: an account that may make no table needs it made by another."""
        try:
            with self.connected() as connection:
                self.table.create(connection, checkfirst=True)
        except NeedsOperator as failure:
            hint = "have it made (docs/keys/beyond-one-machine.md), or set checkpoints: journal"
            raise NeedsOperator(failure.message, hint=hint) from None

    def open(self, run: Run, parts: Callable[[], Sequence[Part]], shards: int) -> None:
        """As Checkpoints.open."""
        if (found := self.run()) is not None and found[0] == run:
            with self.connected() as connection:
                paused = self.of(run).where(self.table.c.state == _PAUSED)
                connection.execute(paused.values(state=_OPEN))
            return
        every = parts()  # which takes as long as a census does
        rows = [self._row(run, n, part) for n, part in enumerate(every)]
        rows += [
            {**self._row(run, n, Part()), "state": _DONE} for n in range(len(every), shards)
        ]  # so few rows are left that there is nothing for it
        with self.connected() as connection:
            connection.execute(sa.delete(self.table).where(self.table.c.dataset == self.label))
            connection.execute(sa.insert(self.table), rows)

    def _row(self, run: Run, number: int, part: Part) -> dict[str, Any]:
        return {
            "dataset": self.label,
            "shard": number,
            "run": run.name,
            "active_version": run.active,
            "low": _text(part.low),
            "high": _text(part.high),
            "reached": None,
            "seen": 0,
            "state": _OPEN,
            "token": 0,
            "holder": None,
            "held_until": 0.0,
            "left_alone": 0,
            "listed": None,
        }

    def of(self, run: Run) -> sa.Update:
        """What changes all shards of a run that are not done."""
        columns = self.table.c
        return sa.update(self.table).where(
            columns.dataset == self.label, columns.run == run.name, columns.state != _DONE
        )

    def pause(self, run: Run) -> None:
        """As Checkpoints.pause."""
        columns = self.table.c
        with self.connected() as connection:
            values: dict[str, Any] = {"state": _PAUSED, "token": columns.token + 1}
            connection.execute(self.of(run).values({**values, "held_until": 0.0}))

    def run(self) -> tuple[Run, bool] | None:
        """As Checkpoints.run."""
        columns = self.table.c
        query = sa.select(columns.run, columns.active_version, columns.state)
        query = query.where(columns.dataset == self.label)
        with self.connected() as connection:
            if not sa.inspect(connection).has_table(TABLE, self.table.schema):
                return None
            found = connection.execute(query).all()
        if not found:
            return None
        return Run(found[0][0], found[0][1]), any(state == _OPEN for _, _, state in found)

    def shards(self) -> Sequence[Shard]:
        """As Checkpoints.shards."""
        columns = self.table.c
        wanted = (*self._kept, (columns.held_until > self.now).label("held"))
        query = sa.select(*wanted).where(columns.dataset == self.label).order_by(columns.shard)
        with self.connected() as connection:
            return [_shard(each._mapping) for each in connection.execute(query)]

    @property
    def _kept(self) -> Sequence[sa.Column[Any]]:
        columns = self.table.c
        names = ("shard", "low", "high", "reached", "seen", "state", "left_alone", "listed")
        return [columns[each] for each in names]

    def take(self, run: Run, number: int | None, holder: str) -> Lease | None:
        """As Checkpoints.take."""
        columns = self.table.c
        free = [columns.dataset == self.label, columns.run == run.name]
        free += [columns.state == _OPEN, columns.held_until < self.now]
        if number is not None:
            free.append(columns.shard == number)
        query = sa.select(*self._kept, columns.token).where(*free).order_by(columns.shard).limit(1)
        with self.connected() as connection:
            if (found := connection.execute(query).one_or_none()) is None:
                return None
            told = found._mapping
            mine = [*free, columns.shard == told["shard"], columns.token == told["token"]]
            values = {
                "token": columns.token + 1,
                "holder": holder[:150],
                "held_until": self.now + LEASE,
            }
            taken = connection.execute(sa.update(self.table).where(*mine).values(values)).rowcount
        return SqlLease(self, run, _shard(told), told["token"] + 1) if taken == 1 else None

    def holders(self, connection: Connection, run: Run) -> int:
        """How many workers have a shard of the run."""
        columns = self.table.c
        held = [columns.dataset == self.label, columns.run == run.name, columns.state == _OPEN]
        held.append(columns.held_until > self.now)
        query = sa.select(sa.func.count()).select_from(self.table).where(*held)
        return int(connection.execute(query).scalar_one())


class SqlLease(Lease):
    """Lease, by a token that nobody had before."""

    def __init__(self, kept: SqlCheckpoints, run: Run, shard: Shard, token: int) -> None:
        self._kept = kept
        self._run = run
        self._shard = shard
        self._token = token
        self._seen = shard.position.seen
        self._reached = shard.position.after
        self._gap = False
        self._holders = 1
        self.renew()

    @property
    def shard(self) -> Shard:
        return self._shard

    @property
    def holders(self) -> int:
        """As Lease.holders, when it was last renewed."""
        return self._holders

    def begin(self, connection: Connection) -> None:
        """As Books.begin; nobody else takes it until the transaction ends."""
        self._write(connection, held_until=self._kept.now + LEASE)

    def end(self, connection: Connection, last: Key, *, whole: bool, rows: int) -> None:
        """As Books.end: what others wrote meanwhile is behind no checkpoint."""
        if not whole:
            self._gap = True
        if not self._gap:
            self._write(connection, reached=_text(last), seen=self._seen + rows)
            self._reached = last

    def keep(self, position: Position) -> None:
        """As Lease.keep; the transaction of the batch has done it mostly."""
        if self._gap or position.after != self._reached:
            with self._kept.connected() as connection:
                self._write(connection, reached=_text(position.after), seen=position.seen)
        self._gap, self._seen, self._reached = False, position.seen, position.after

    def renew(self) -> None:
        """As Lease.renew."""
        with self._kept.connected() as connection:
            self.begin(connection)
            self._holders = self._kept.holders(connection, self._run)

    def finish(self, passed: Passed) -> None:
        """As Lease.finish."""
        listed = [[key_to_json(e.key), e.field, e.why] for e in passed.quarantined[:LISTED]]
        values = {"left_alone": passed.count, "listed": json.dumps(listed), "held_until": 0.0}
        with self._kept.connected() as connection:
            self._write(connection, state=_DONE, seen=passed.seen, **values)

    def release(self) -> None:
        """As Lease.release."""
        with self._kept.connected() as connection:
            connection.execute(self._mine().values(held_until=0.0))

    def _mine(self) -> sa.Update:
        columns = self._kept.table.c
        return self._kept.of(self._run).where(
            columns.shard == self._shard.number,
            columns.token == self._token,
            columns.state == _OPEN,
        )

    def _write(self, connection: Connection, **values: Any) -> None:
        if connection.execute(self._mine().values(values)).rowcount != 1:
            raise LeaseLost(f"shard {self._shard.number} of {self._kept.label} is another's by now")


def _text(key: Key | None) -> str | None:
    return None if key is None else json.dumps(key_to_json(key))


def _key(text: str | None) -> Key | None:
    if text is None:
        return None
    try:
        return key_from_json(json.loads(text))
    except ValueError:
        raise InvalidInput(f"{TABLE} has no key of a row where one should be") from None


def _shard(told: Any) -> Shard:
    part = Part(_key(told["low"]), _key(told["high"]))
    reached = _key(told["reached"])
    try:
        listed = json.loads(told["listed"]) if told["listed"] else []
        quarantined = tuple(Quarantined(key_from_json(k), int(n), str(why)) for k, n, why in listed)
    except (ValueError, TypeError):
        raise InvalidInput(f"{TABLE} has no list of values where one should be") from None
    return Shard(
        told["shard"],
        part,
        Position(part.low if reached is None else reached, told["seen"]),
        done=told["state"] == _DONE,
        held=bool(told.get("held", False)),
        passed=Passed(told["left_alone"], quarantined, told["seen"]),
    )
