"""MariaDB and MySQL, as a dialect of SQL datasets.

Their collations call different texts the same, so whatever decides is compared as bytes. Keys are
walked by the collation of their own columns, in which they are unique and for which there is an
index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection

from certrotd.datasets.port import Change, Key, Refused
from certrotd.datasets.sql_dialect import Column, Unordered, stored

MOST_BYTES = 1 << 20
"""So much of values is in one list: servers take no more than max_allowed_packet."""
LONG = 4096
"""A row with more bytes of values is written alone.

In a list of values, MariaDB cuts those of 64 KiB, or crashes (10.11).
"""
ROOM = 64 * 1024
"""So many bytes of a statement are no values, at most."""
_BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_UNORDERED = {"enum", "set", "bit", "float", "double", "time"}
_TYPES = {"date": sa.Date(), "datetime": sa.DateTime(), "timestamp": sa.DateTime()}
_COLUMNS = """
select table_name, column_name, data_type, character_set_name, collation_name, extra
from information_schema.columns
where table_schema = coalesce(:schema, database()) and table_name = :table
order by ordinal_position
"""


class MariaDB:
    """One UPDATE for many rows, joined with a list of their values."""

    serves_many = True

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """As Dialect.types."""
        rows = _columns(connection, table, schema)
        return {name: _type(*rest) for name, *rest, _ in rows} or None

    def walks(self, type_: Any) -> bool:
        """As Dialect.walks."""
        return not isinstance(type_, Unordered)

    def more_columns(self, connection: Connection, table: str, schema: str | None) -> Sequence[str]:
        """Those that change at every UPDATE, unless they are written, too."""
        rows = _columns(connection, table, schema)
        return [name for name, *_, extra in rows if "on update" in extra.lower()]

    def read(self, column: Column) -> sa.ColumnElement[Any]:
        """As it is: JSON is text."""
        return column

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """As Dialect.is_filled."""
        return sa.func.coalesce(sa.func.octet_length(column), 0) > 0

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """As Dialect.begins."""
        data: Any = column
        if not isinstance(column.type, sa.LargeBinary):
            text = sa.func.convert(column.op("using")(sa.literal_column("utf8mb4")))
            data = sa.cast(text, sa.LargeBinary)
        start = sa.func.substr(data, 1, len(beginning))
        return sa.func.coalesce(start == sa.literal(beginning, sa.LargeBinary), sa.false())

    def behind(self, keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
        """As Dialect.behind; a comparison of tuples would use no index."""
        ways = []
        for n, key in enumerate(keys):
            same = [one == place for one, place in zip(keys[:n], after[:n], strict=True)]
            ways.append(sa.and_(*same, key > after[n]))
        return sa.or_(*ways)

    def mark(self, table: sa.TableClause) -> sa.ColumnElement[Any]:  # noqa: ARG002
        """None: the old values are compared."""
        return sa.null()

    def of_keys(
        self,
        query: sa.Select[Any],
        table: sa.TableClause,  # noqa: ARG002
        keys: Sequence[Column],
        wanted: Sequence[Key],
    ) -> sa.Select[Any]:
        """As Dialect.of_keys."""
        if len(keys) == 1:
            return query.where(keys[0].in_([place for (place,) in wanted]))
        return query.where(sa.tuple_(*keys).in_(wanted))

    def locking(
        self,
        connection: Connection,  # noqa: ARG002
        query: sa.Select[Any],
        table: sa.TableClause,  # noqa: ARG002
    ) -> sa.Select[Any]:
        """As Dialect.locking."""
        return query.with_for_update()

    def fetched(self, connection: Connection, query: sa.Select[Any]) -> Sequence[tuple[Any, ...]]:
        """As Dialect.fetched."""
        return list(map(tuple, connection.execute(query)))

    def replace(
        self,
        connection: Connection,
        table: sa.TableClause,
        keys: Sequence[Column],
        columns: Sequence[Column],
        changes: Sequence[Change],
    ) -> int:
        """As Dialect.replace."""
        update = _Update(connection, table, keys, columns)
        short = [each for each in changes if _size(each) <= LONG]
        written = sum(map(update.together, _parts(short)))
        return written + sum(update.alone(each) for each in changes if _size(each) > LONG)

    def advice(self, connection: Connection, table: str, schema: str | None) -> None:
        """None: InnoDB removes what was replaced by itself."""


class _Update:
    """The statements that write rows; values go into them as parameters alone."""

    def __init__(
        self,
        connection: Connection,
        table: sa.TableClause,
        keys: Sequence[Column],
        columns: Sequence[Column],
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._columns = columns
        self._names = [f"k{n}" for n, _ in enumerate(keys)]
        self._names += [f"{what}{n}" for n, _ in enumerate(columns) for what in "on"]
        self._kept = [each for each in table.c if each not in {*keys, *columns}]
        self._quote = connection.dialect.identifier_preparer
        self._table = f"{self._quote.format_table(table)} as stored"

    def together(self, changes: Sequence[Change]) -> int:
        """Write rows by one statement; how many were found."""
        is_mariadb = getattr(self._connection.dialect, "is_mariadb", False)
        row = f"{'' if is_mariadb else 'row'}({', '.join(['%s'] * len(self._names))})"
        rows = ", ".join([row] * len(changes))
        batch = f"(with batch ({', '.join(self._names)}) as (values {rows}) "
        same, sets = self._conditions("batch.{}")
        told = (value for each in changes for value in self._values(each))
        batch += "select * from batch) as batch"
        tables = f"{batch} straight_join {self._table} on {same}"
        return self._execute(tables, sets, tuple(told))

    def alone(self, change: Change) -> int:
        """Write one row; 1 if it was found. Raises Refused if it is too long for a statement."""
        told = dict(zip(self._names, self._values(change), strict=True))
        long = {n for n, _ in enumerate(self._columns) if _length(told[f"o{n}"]) > MOST_BYTES}
        told |= {f"o{n}": _digest(told[f"o{n}"]) for n in long}
        same, sets = self._conditions("%({})s", long)
        if _size(change) > MOST_BYTES:
            self._check_room(told)
        return self._execute(self._table, f"{sets} where {same}", told)

    def _check_room(self, told: Mapping[str, Any]) -> None:
        """Else the server closes the connection, and says no more."""
        cursor = self._connection.connection.cursor()
        most = self._connection.exec_driver_sql("select @@max_allowed_packet").scalar_one()
        if sum(len(cursor.mogrify("%s", (each,))) for each in told.values()) + ROOM > most:
            raise Refused(f"it is longer than max_allowed_packet of the server, {most:,} bytes")

    def _execute(self, tables: str, sets: str, told: Any) -> int:
        statement = f"update {tables} set {sets}"  # noqa: S608  # only names, which are quoted
        return self._connection.exec_driver_sql(statement, told).rowcount

    def _conditions(self, value: str, long: Collection[int] = ()) -> tuple[str, str]:
        """What a row is to be the same in, and what is set; ``value`` makes one of a name.

        Of the ``long`` ones it is the digest of the old value.
        """
        same: list[str] = []
        sets: list[str] = []
        for n, key in enumerate(self._keys):
            same += _same_key(self._name(key), value.format(f"k{n}"), key.type)
        for n, column in enumerate(self._columns):
            name, old = self._name(column), _as(value.format(f"o{n}"), column.type)
            if n in long:
                text = f"convert({name} using utf8mb4)" if _is_text(column) else name
                same.append(f"sha2({_exact(text)}, 256) = {value.format(f'o{n}')}")
            else:
                same.append(f"{_exact(name)} <=> {_exact(old)}")
            sets.append(f"{name} = {value.format(f'n{n}')}")
        # written, so that they do not write themselves (ON UPDATE CURRENT_TIMESTAMP)
        sets += [f"{self._name(each)} = {self._name(each)}" for each in self._kept]
        return " and ".join(same), ", ".join(sets)

    def _values(self, change: Change) -> Sequence[Any]:
        told: list[Any] = [*change.row.key]
        for n, before in enumerate(change.row.read.values):
            told += before, stored(change, n)
        return told

    def _name(self, column: Column) -> str:
        return f"stored.{self._quote.quote(column.name)}"


def _columns(connection: Connection, table: str, schema: str | None) -> list[tuple[str, ...]]:
    """Name, type, character set, collation and extras of each."""
    rows = connection.execute(sa.text(_COLUMNS), {"table": table, "schema": schema}).all()
    exact = [each for each in rows if each[0] == table]  # the names of tables may differ in case
    return [tuple(each[1:]) for each in exact or rows]


class _UnorderedText(Unordered, mysql.TEXT):
    """Of an enumeration or a set, which sort by number."""


class _Unordered(Unordered, sa.types.NullType):
    """Bits compare as what bytes say in digits, times and floats not at all."""


def _type(kind: str, charset: str | None, collation: str | None) -> Any:
    if kind.lower() in _UNORDERED:
        return _UnorderedText(charset=charset, collation=collation) if charset else _Unordered()
    if charset is not None:
        return mysql.TEXT(charset=charset, collation=collation)
    if kind.lower() in _BINARY:
        return sa.LargeBinary()
    return _TYPES.get(kind.lower(), sa.types.NullType())


def _same_key(column: str, value: str, type_: Any) -> Iterator[str]:
    """By the index of the column, and by its bytes."""
    if isinstance(type_, mysql.TEXT):
        yield f"{column} = {_as(value, type_)} collate {type_.collation}"
        yield f"{_exact(column)} = {_exact(_as(value, type_))}"
    elif isinstance(type_, sa.DateTime):
        yield f"{column} = cast({value} as datetime(6))"
    elif isinstance(type_, sa.Date):
        yield f"{column} = cast({value} as date)"
    else:
        yield f"{column} = {value}"


def _as(value: str, type_: Any) -> str:
    """A value in the character set of its column."""
    return f"convert({value} using {type_.charset})" if isinstance(type_, mysql.TEXT) else value


def _exact(value: str) -> str:
    return f"cast({value} as binary)"


def _is_text(column: Column) -> bool:
    return isinstance(column.type, mysql.TEXT)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _digest(value: str | bytes) -> str:
    """As sha2() of the server: so a long value is sent once, and not twice."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()


def _size(change: Change) -> int:
    values = (*change.values, *change.row.values)
    keys = sum(len(each) for each in change.row.key if isinstance(each, str | bytes))
    return keys + sum(len(each) for each in values if each is not None)


def _parts(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Each of some rows whose values fit into one statement."""
    part: list[Change] = []
    size = 0
    for change in changes:
        size += _size(change)
        if part and size > MOST_BYTES:
            yield part
            part, size = [], _size(change)
        part.append(change)
    if part:
        yield part
