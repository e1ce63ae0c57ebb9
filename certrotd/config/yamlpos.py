"""YAML text to plain data, strictly and within bounds; and the line of any part of it, on demand.

The data is made straight from the parser's events, which is fast and knows no positions; only
where something is wrong are nodes composed to tell the lines. Scalars follow the core schema of
YAML 1.2 (§10.3.2): ``no``, ``on`` and dates stay text. So does a number with leading zeros, which
YAML 1.1 and 1.2 read differently: ``0640`` is what it looks like.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from yaml import CSafeLoader, YAMLError
from yaml.events import (
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from certrotd.config.base import Loc, shown
from certrotd.config.yamlwords import NOT_FILLED_IN, BadYaml, in_words

MAX_DEPTH = 32
MAX_TAG = 60
MAX_VALUES = 2_000_000
"""Values in one document, each counted as often as aliases repeat it."""

_Event = Any
"""An event of the C parser; telling the kinds apart by type() alone is what makes reading fast."""

_STR = "tag:yaml.org,2002:str"
_MAP = "tag:yaml.org,2002:map"
_SEQ = "tag:yaml.org,2002:seq"
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null")}
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_MAYBE_NUMBER = frozenset("0123456789+-.")
_MAYBE_OTHER = _MAYBE_NUMBER | frozenset("~nNtTfF")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})|0x[0-9a-fA-F]{1,16}|0o[0-7]{1,21}", re.ASCII)
_FLOAT = re.compile(
    r"(?=.*[.eE])[-+]?(\.[0-9]+|(0|[1-9][0-9]{0,30})(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?", re.ASCII
)
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class YamlDocument:
    """The data of one document, and where its parts are.

    ``data`` is None for a document without content. ``faults`` are (line, message) of what is
    wrong but leaves the rest readable. Raises BadYaml where it does not.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._root: _Spot | None = None
        reader = _Reader(text)
        try:
            self.data = reader.document()
        except YAMLError as error:
            raise in_words(error, text) from None
        self.faults = tuple(_doubles(self._spot())) if reader.doubled else ()

    def line(self, loc: Loc) -> int:
        """The 1-based line of the deepest part of ``loc`` there is: a key's, or an item's.

        Of what an alias repeats, that is the line of the alias.
        """
        spot = self._spot()
        line = 1
        for step in loc:
            found = next((found for found in spot.parts if found[0] == step), None)
            if found is None:
                break
            _, line, spot = found
        return line

    def _spot(self) -> _Spot:
        # recursive, and only safe once the depth is known to be bounded
        if self._root is None:
            next_event = CSafeLoader(self._text).get_event
            next_event()  # StreamStart
            started = not isinstance(next_event(), StreamEndEvent)
            self._root = _spot(next_event(), next_event) if started else _Spot([])
        return self._root


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where the parts of a mapping or a list are: key or index, 1-based line, and their parts."""

    parts: list[tuple[int | str, int, _Spot]]


def _spot(event: _Event, following: Callable[[], _Event]) -> _Spot:
    parts: list[tuple[int | str, int, _Spot]] = []
    if isinstance(event, SequenceStartEvent):
        while not isinstance(item := following(), SequenceEndEvent):
            parts.append((len(parts), item.start_mark.line + 1, _spot(item, following)))
    elif isinstance(event, MappingStartEvent):
        while not isinstance(key := following(), MappingEndEvent):
            parts.append((key.value, key.start_mark.line + 1, _spot(following(), following)))
    return _Spot(parts)


class _Reader:
    """Builds the data of one document from the parser's events."""

    def __init__(self, text: str) -> None:
        self._next: Callable[[], _Event] = CSafeLoader(text).get_event
        self._anchors: dict[str, tuple[object, int]] = {}
        self._values = 0
        self.doubled = False

    def document(self) -> object:
        """The only document of the stream; None if there is none."""
        self._next()  # StreamStart
        event = self._next()
        if isinstance(event, StreamEndEvent):
            return None
        data = self._value(self._next(), 0)
        self._next()  # DocumentEnd
        event = self._next()
        if not isinstance(event, StreamEndEvent):
            _refuse(event, "holds more than one document", "remove the line ---")
        return data

    def _value(self, event: _Event, depth: int) -> object:
        self._values += 1
        before = self._values
        kind = type(event)
        value: object
        if kind is ScalarEvent:
            value = _scalar(event)
        elif kind is SequenceStartEvent:
            value = self._sequence(event, depth + 1)
        elif kind is MappingStartEvent:
            value = self._mapping(event, depth + 1)
        else:
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._values - before
        if self._values > MAX_VALUES:
            _refuse(event, "holds more than 2,000,000 values", "split the configuration")
        return value

    def _sequence(self, start: _Event, depth: int) -> list[object]:
        _check(start, _SEQ, depth)
        following, value = self._next, self._value
        items: list[object] = []
        while type(event := following()) is not SequenceEndEvent:
            items.append(value(event, depth))
        return items

    def _mapping(self, start: _Event, depth: int) -> dict[str, object]:
        _check(start, _MAP, depth)
        following, value = self._next, self._value
        entries: dict[str, object] = {}
        while type(event := following()) is not MappingEndEvent:
            key = value(event, depth)
            if type(key) is not str:
                how = NOT_FILLED_IN if type(key) is dict else "put it in quotes"
                _refuse(event, f"a key must be text, got {shown(key)}", how)
            if key == "<<" and event.implicit[0]:
                _refuse(event, 'merge keys ("<<") are not read', "write the keys out")
            if key in entries:
                self.doubled = True
                value(following(), depth)
            else:
                # the same few keys in each of 10,000 mappings
                entries[sys.intern(key)] = value(following(), depth)
        return entries

    def _alias(self, event: _Event) -> object:
        found = self._anchors.get(event.anchor)
        if found is None:
            what = f"nothing before is marked &{event.anchor[:40]}"
            _refuse(event, what, "mark what *… stands for, or quote a text that begins with '*'")
        self._values += found[1]
        return found[0]


def _check(start: _Event, tag: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        _refuse(start, f"is nested more than {MAX_DEPTH} deep", "close the brackets before")
    if start.tag is not None and start.tag != tag:
        _refuse(start, f"the tag {start.tag[:MAX_TAG]} is not read", "remove it")


def _scalar(event: _Event) -> object:
    text: str = event.value
    plain, quoted = event.implicit
    if not plain:
        if quoted or event.tag == _STR:
            return text
        if event.tag not in _SCALARS:
            _refuse(event, f"the tag {event.tag[:MAX_TAG]} is not read", "remove it")
    elif text and text[0] not in _MAYBE_OTHER:
        return text
    return resolve(text)


def resolve(text: str) -> object:
    """What a plain scalar stands for in the core schema: nothing, truth, a number, or text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAYBE_NUMBER:
        return text  # such as the key "names" of each of 10,000 entries
    if _INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) or _INFINITE.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _doubles(spot: _Spot) -> Iterator[tuple[int, str]]:
    """Every key that one mapping has twice, with the lines of both."""
    first: dict[int | str, int] = {}
    for key, line, below in spot.parts:
        if key in first:
            yield line, f"{shown(key)} is already in line {first[key]}: keep one of them"
        first.setdefault(key, line)
        yield from _doubles(below)


def _refuse(event: _Event, message: str, hint: str) -> NoReturn:
    raise BadYaml(event.start_mark.line + 1, message, hint=hint)
