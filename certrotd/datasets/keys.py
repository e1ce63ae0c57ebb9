"""The keys of rows as JSON, for checkpoints and messages, and as associated data."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from certrotd.datasets.port import Key, Place
from certrotd.errors import InvalidInput, NeedsOperator

_TYPES: Mapping[str, tuple[type, Callable[[Any], str], Callable[[str], Place]]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "uuid": (UUID, str, UUID),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
}


def key_to_json(key: Key) -> list[Any]:
    """``key`` as a checkpoint keeps it; raises NeedsOperator for values that have no form there."""
    return [_to_json(each) for each in key]


def key_from_json(told: Sequence[Any]) -> Key:
    """The key that a checkpoint kept; raises InvalidInput for anything else."""
    try:
        return tuple(_from_json(each) for each in told)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(f"a checkpoint has no key of a row: {type(error).__name__}") from None


def key_words(key: Key) -> str:
    """``key`` for people, and for associated data: its parts, with "/" between."""
    return "/".join(map(_words, key))


def _to_json(value: Place) -> Any:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    for name, (kind, write, _) in _TYPES.items():
        if isinstance(value, kind):
            return {name: write(value)}
    raise NeedsOperator(
        f"a key column holds values of type {type(value).__name__}",
        hint="key columns are numbers, text, bytes, UUIDs, decimals, dates or times",
    )


def _from_json(told: Any) -> Place:
    if isinstance(told, int | str):
        return told
    [(name, text)] = told.items()
    return _TYPES[name][2](text)


def _plain(text: str) -> str:
    """``text`` as a format gives it."""
    return text.replace("{", "{{").replace("}", "}}")


def _words(value: Place) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _encoded(text: str) -> bytes:
    """As the database has it, also where its text is not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class AssociatedData:
    """What binds a value to its place, by a template such as "{table}/{column}/{pk}".

    ``pk`` is the whole key with "/" between its columns; each key column has its own name, too.
    """

    template: str
    table: str
    fields: tuple[str, ...]
    key_columns: tuple[str, ...]

    def of(self, key: Key, field: int) -> bytes:
        """The associated data of one value."""
        if len(key) == 1:
            place = _words(key[0])
            return _encoded(self._formats[field].format(place, place))
        places = list(map(_words, key))
        return _encoded(self._formats[field].format(*places, "/".join(places)))

    @cached_property
    def _formats(self) -> Sequence[str]:
        """The template of each field, with the key's places by number, and the whole key's last."""
        parts = [(text, name) for text, name, _, _ in string.Formatter().parse(self.template)]
        numbers = {name: f"{{{n}}}" for n, name in enumerate(self.key_columns)}
        made = []
        for field in self.fields:
            own = {"table": _plain(self.table), "column": _plain(field)}
            names = {**numbers, **own, "pk": f"{{{len(self.key_columns)}}}"}
            texts = (_plain(text) + (names[name] if name else "") for text, name in parts)
            made.append("".join(texts))
        return made
