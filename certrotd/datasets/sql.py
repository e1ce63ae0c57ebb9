"""A table of a SQL database as a dataset: SQLite, PostgreSQL, and MariaDB or MySQL.

Every name goes through SQLAlchemy's identifiers, and every value through its parameters. Only the
operator's own ``where`` is SQL text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from certrotd.config.nearest import suggestion
from certrotd.datasets.keys import key_words
from certrotd.datasets.port import BeginningCounts, Change, Key, PreflightFinding, Refused, Row
from certrotd.datasets.shards import Books, Part, last_rows, parts_between
from certrotd.datasets.sql_checkpoints import SqlCheckpoints
from certrotd.datasets.sql_dialect import Dialect, Mark, stored
from certrotd.datasets.sql_errors import as_failures
from certrotd.datasets.sql_preflight import findings_of, too_narrow, unique_columns
from certrotd.errors import NeedsOperator


@dataclass(frozen=True)
class TableSpec:
    """Which values of which table are encrypted; ``where`` is a condition in SQL.

    The columns ``keep`` have to stay as they are while those are written. ``text``:
    whether ciphertext is text. ``indexes`` are columns of blind indexes, which are written with
    those, and whether each is text.
    """

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    schema: str | None = None
    where: str | None = None
    keep: tuple[str, ...] = ()
    text: bool = True
    indexes: Mapping[str, bool] = field(default_factory=dict)

    @property
    def written(self) -> tuple[str, ...]:
        """The columns of a row's values: the encrypted ones, then the blind indexes."""
        return (*self.columns, *self.indexes)

    @property
    def words(self) -> str:
        """The table, for people."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


class SqlDataset:
    """Dataset, of one table, or of one part of it, of which ``books`` are kept."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        spec: TableSpec,
        dialect: Dialect,
        part: Part | None = None,
        books: Books | None = None,
    ) -> None:
        self._name = name
        self.engine = engine
        self.spec = spec
        self.dialect = dialect
        self._part = part or Part()
        self._books = books

    @property
    def name(self) -> str:
        return self._name

    @property
    def fields(self) -> Sequence[str]:
        return self.spec.written

    @property
    def reads_while_writing(self) -> bool:
        """As Overlapping.reads_while_writing."""
        return self.dialect.serves_many

    @cached_property
    def table(self) -> sa.TableClause:
        """The table with the columns that matter, of the types that the database says."""
        spec = self.spec
        with self.connected() as connection:
            types = self.dialect.types(connection, spec.table, spec.schema)
            more = self.dialect.more_columns(connection, spec.table, spec.schema)
        if types is None:
            raise NeedsOperator(f"the dataset {self.name}: there is no table {spec.words}")
        wanted = dict.fromkeys((*spec.key, *spec.written, *spec.keep))
        if missing := [each for each in wanted if each not in types]:
            names, hint = ", ".join(missing), suggestion(missing[0], types)
            why = f"the dataset {self.name}: {spec.words} has no column {names}"
            raise NeedsOperator(why, hint=hint)
        if bad := next((e for e in spec.key if not self.dialect.walks(types[e])), None):
            raise NeedsOperator(
                f"the dataset {self.name}: rows cannot be read in the order of {bad}, a key column "
                "whose values do not compare as they sort",
                hint="key columns are numbers, text (no enumeration, no citext), bytes, UUIDs, "
                "decimals, dates or times: name other unique columns under key",
            )
        columns = [sa.column(each, types[each]) for each in wanted]
        columns += [sa.column(each) for each in more if each not in wanted]
        return sa.table(spec.table, *columns, schema=spec.schema)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A transaction, committed at its end; what the database says against it is a Failure."""
        with as_failures(f"the dataset {self.name}"), self.engine.begin() as connection:
            yield connection

    def counts(self, beginnings: Sequence[bytes]) -> BeginningCounts:
        """As Dataset.counts."""
        filled, by_beginning = [], []
        for column in self._values:
            filled.append(_count(self.dialect.is_filled(column)))
        for each in beginnings:
            begins = (self.dialect.begins(column, each) for column in self._values)
            by_beginning.append(_sum([_count(one) for one in begins]))
        with self.connected() as connection:
            asked: list[Any] = [_sum(filled), *by_beginning]
            query = sa.select(*asked).select_from(self.table)
            told = connection.execute(self._within(query)).one()
        filled_count, *counts = (int(each or 0) for each in tuple(told))
        return BeginningCounts(filled_count, tuple(counts))

    def remaining(self, done: Sequence[bytes]) -> int:
        """As Dataset.remaining."""
        query = sa.select(sa.func.count()).select_from(self.table).where(self._open(done))
        with self.connected() as connection:
            return int(connection.execute(self._within(query)).scalar_one())

    def rows(self, after: Key | None, most: int, done: Sequence[bytes]) -> Sequence[Row]:
        """As Dataset.rows."""
        query = self._select().where(self._open(done)).order_by(*self._keys).limit(most)
        if after is not None:
            query = query.where(self.dialect.behind(self._keys, after))
        with self.connected() as connection:
            return self._read(connection, self._within(query))

    def ends(self, most: int) -> Sequence[Key]:
        """The keys of so many rows at most that hold something: the first ones and the last."""
        first, last = -(-most // 2), most // 2
        query = self._within(sa.select(*self._keys).where(self._open(())))
        with self.connected() as connection:
            found = list(connection.execute(query.order_by(*self._keys).limit(first)))
            backwards = query.order_by(*(each.desc() for each in self._keys)).limit(last)
            found += reversed(list(connection.execute(backwards)))
        return list(dict.fromkeys(map(tuple, found)))

    def again(self, keys: Sequence[Key]) -> Sequence[Row]:
        """As Dataset.again."""
        with self.connected() as connection:
            query = self.dialect.of_keys(self._select(), self.table, self._keys, keys)
            return self._read(connection, self._within(query))

    def replace(self, changes: Sequence[Change]) -> int:
        """As Dataset.replace."""
        try:
            with self.connected() as connection:
                if self._books is not None:
                    self._books.begin(connection)
                before = self._kept(connection, changes, lock=True)
                written = self.dialect.replace(
                    connection, self.table, self._keys, self._written, changes
                )
                self._same(before, self._kept(connection, changes))
                if self._books is not None:
                    whole, last = written == len(changes), changes[-1].row.key
                    self._books.end(connection, last, whole=whole, rows=written)
                return written
        except Refused as refused:
            if len(changes) == 1 and (other := self._twin(changes[0])):
                raise Refused(f"{refused.message}; so has row {key_words(other)}") from None
            raise

    def _kept(
        self, connection: Connection, changes: Sequence[Change], *, lock: bool = False
    ) -> Mapping[Key, str]:
        """The columns that have to stay, as they are in some rows."""
        if not self.spec.keep:
            return {}
        split = len(self._keys)
        query = sa.select(*self._keys, *(self.table.c[each] for each in self.spec.keep))
        keys = [each.row.key for each in changes]
        query = self.dialect.of_keys(query, self.table, self._keys, keys)
        if lock:
            query = self.dialect.locking(connection, query, self.table)
        told = connection.execute(query).all()
        return {tuple(each[:split]): repr(each[split:]) for each in told}

    def _same(self, before: Mapping[Key, str], after: Mapping[Key, str]) -> None:
        """Whether the columns that have to stay did; else nothing is written."""
        if key := next((each for each in before if before[each] != after.get(each)), None):
            raise NeedsOperator(
                f"the dataset {self.name}: a column of keep changes with row {key_words(key)}",
                hint="a trigger? Disable it for the re-encryption, or take the column out of keep",
            )

    def _twin(self, change: Change) -> Key | None:
        """Another row that has the values already that are to be unique."""
        new = {c.name: stored(change, n) for n, c in enumerate(self._written)}
        with self.connected() as connection:
            for names in unique_columns(sa.inspect(connection), self.spec):
                known = [each for each in names if each is not None]
                if len(known) < len(names) or not any(new.get(each) for each in known):
                    continue
                query = self._with_same(change.row.key, {each: new.get(each) for each in known})
                for other in map(tuple, connection.execute(query.limit(2))):
                    if other != change.row.key:
                        return other
        return None

    def _with_same(self, key: Key, values: Mapping[str, Any]) -> sa.Select[Any]:
        """The rows with those values; where there is None, with that of the row ``key``."""
        own, other = self._plain("own", values), self._plain("other", values)
        same = [own.c[n] == each for n, each in zip(self.spec.key, key, strict=True)]
        for name, value in values.items():
            known = value is not None
            wanted = sa.literal(value, self.table.c[name].type) if known else own.c[name]
            same.append(other.c[name] == wanted)
        keys = [other.c[each] for each in self.spec.key]
        return sa.select(*keys).select_from(own.join(other, sa.true())).where(*same)

    def _plain(self, name: str, more: Iterable[str]) -> sa.FromClause:
        """The table under another name, with its key and more columns."""
        types = {each.name: each.type for each in self.table.c}
        columns = (sa.column(n, types.get(n)) for n in dict.fromkeys((*self.spec.key, *more)))
        return sa.table(self.spec.table, *columns, schema=self.spec.schema).alias(name)

    def findings(self) -> Sequence[PreflightFinding]:
        """As Dataset.findings."""
        _ = self.table  # that there is one comes first
        with self.connected() as connection:
            return list(findings_of(connection, self.spec, self.dialect))

    def too_narrow(self, growth: Mapping[int, int]) -> Sequence[PreflightFinding]:
        """As Limited.too_narrow."""
        with self.connected() as connection:
            return list(too_narrow(connection, self.spec, self.dialect, growth))

    def advice(self) -> str | None:
        """As Advising.advice."""
        with self.connected() as connection:
            return self.dialect.advice(connection, self.spec.table, self.spec.schema)

    @property
    def one_writer(self) -> bool:
        """As Divisible.one_writer."""
        return self.engine.dialect.name == "sqlite"

    def divided(self, into: int, done: Sequence[bytes]) -> Sequence[Part]:
        """As Divisible.divided, by one look at every key."""
        lasts = last_rows(self.remaining(done), into)
        if not lasts:
            return [Part()]
        number = sa.func.row_number().over(order_by=self._keys).label("certrotd_number")
        rows = sa.select(*self._keys, number).select_from(self.table).where(self._open(done))
        numbered = self._within(rows).subquery("numbered")
        query = sa.select(*(numbered.c[each] for each in self.spec.key))
        query = query.where(numbered.c.certrotd_number.in_(lasts))
        with self.connected() as connection:
            found = connection.execute(query.order_by(numbered.c.certrotd_number)).all()
        return parts_between([tuple(each) for each in found])

    def part(self, part: Part, books: Books | None = None) -> SqlDataset:
        """As Divisible.part."""
        return SqlDataset(self.name, self.engine, self.spec, self.dialect, part, books)

    def checkpoints(self, label: str) -> SqlCheckpoints:
        """As Divisible.checkpoints."""
        return SqlCheckpoints(self.engine, label, self.spec.schema)

    @cached_property
    def _keys(self) -> Sequence[sa.ColumnClause[Any]]:
        return [self.table.c[each] for each in self.spec.key]

    @cached_property
    def _values(self) -> Sequence[sa.ColumnClause[Any]]:
        return [self.table.c[each] for each in self.spec.columns]

    @cached_property
    def _written(self) -> Sequence[sa.ColumnClause[Any]]:
        return [self.table.c[each] for each in self.spec.written]

    @cached_property
    def _text(self) -> Sequence[bool]:
        """Of each written column, whether its values are text."""
        spec = self.spec
        told = [*(spec.text for _ in spec.columns), *spec.indexes.values()]
        bytes_ = (isinstance(each.type, sa.LargeBinary) for each in self._written)
        return [text and not binary for text, binary in zip(told, bytes_, strict=True)]

    def _select(self) -> sa.Select[Any]:
        values = map(self.dialect.read, self._written)
        keys = map(self.dialect.read, self._keys)
        return sa.select(*keys, *values, self.dialect.mark(self.table))

    def _within(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """Only the part, and what the operator's condition says; its colons are not parameters."""
        where, low, high = self.spec.where, self._part.low, self._part.high
        if low is not None:
            query = query.where(self.dialect.behind(self._keys, low))
        if high is not None:
            # the first column by itself, too: so that the index ends the search everywhere
            above = sa.not_(self.dialect.behind(self._keys, high))
            query = query.where(self._keys[0] <= high[0], above)
        if where is None:
            return query
        return query.where(sa.text("(" + where.replace(":", r"\:") + "\n)"))

    def _open(self, done: Sequence[bytes]) -> sa.ColumnElement[bool]:
        """Whether a row has a value that begins with none of ``done``, or a blind index."""
        conditions = []
        for column in self._values:
            begins = [sa.not_(self.dialect.begins(column, each)) for each in done]
            conditions.append(sa.and_(self.dialect.is_filled(column), *begins))
        indexes = (self.table.c[each] for each in self.spec.indexes)
        return sa.or_(*conditions, *map(self.dialect.is_filled, indexes))

    def _read(self, connection: Connection, query: sa.Select[Any]) -> list[Row]:
        split, text = len(self._keys), self._text
        are_bytes = all(isinstance(each.type, sa.LargeBinary) for each in self._written)
        rows = []
        for told in self.dialect.fetched(connection, query):
            values = told[split:-1]
            plain = values if are_bytes else tuple(map(_bytes, values))
            rows.append(Row(told[:split], plain, Mark(values, told[-1], text)))
        return rows


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _sum(parts: Sequence[sa.ColumnElement[int]]) -> sa.ColumnElement[int]:
    whole = parts[0]
    for each in parts[1:]:
        whole = whole + each
    return whole


def _bytes(value: Any) -> bytes | None:
    """A stored value as bytes: numbers, which ciphertext never is, as their digits."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return bytes(value) if isinstance(value, memoryview | bytearray) else str(value).encode()
