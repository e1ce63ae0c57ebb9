"""Texts within a JSON document: found by path, and replaced without touching anything else.

A document is changed as text. So numbers keep their digits, objects the order of their names, and
names that are there twice stay so (RFC 8259).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from certrotd.jsonpath import Path, Step

DEPTH = 200
"""Arrays and objects within each other; what is deeper is not looked into."""
_SPACE = re.compile(r"[ \t\n\r]*")
_REST = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null", re.ASCII)
_NULL = "null"
_DECODER = json.JSONDecoder()
Steps = tuple[Step, ...]


class Place(NamedTuple):
    """A value in a document: at ``where``, from ``start`` to ``end``; None if it is no text."""

    where: str
    start: int
    end: int
    value: str | None

    def __repr__(self) -> str:
        return f"<value at {self.where}>"


def scanned(document: str, paths: Sequence[Path]) -> list[Place]:
    """What is there at the paths, in the order of the text, each once; raises ValueError."""
    try:
        return _Scan(document, tuple(each.steps for each in paths)).all()
    except (IndexError, RecursionError):
        raise ValueError from None


def spliced(document: str, changes: Sequence[tuple[Place, str]]) -> str:
    """The document with other texts at some places, which are in order."""
    parts, last = [], 0
    for place, value in changes:
        parts += [document[last : place.start], json.dumps(value)]
        last = place.end
    return "".join([*parts, document[last:]])


class _Scan:
    """One walk over a document; each value knows which paths still lead to it."""

    def __init__(self, text: str, paths: tuple[Steps, ...]) -> None:
        self._text = text
        self._paths = paths
        self._found: list[Place] = []

    def all(self) -> list[Place]:
        end = self._space(self._value(self._space(0), "$", self._paths, 0))
        if end != len(self._text):
            raise ValueError
        return self._found

    def _value(self, at: int, where: str, paths: tuple[Steps, ...], depth: int) -> int:
        if depth > DEPTH:
            raise ValueError
        first, value, here = self._text[at], None, len(self._found)
        if first == "{":
            end = self._object(at + 1, where, paths, depth)
        elif first == "[":
            end = self._array(at + 1, where, paths, depth)
        elif first == '"':
            value, end = _DECODER.raw_decode(self._text, at)
        else:
            if (rest := _REST.match(self._text, at)) is None:
                raise ValueError
            end = rest.end()
        if () in paths and self._text[at:end] != _NULL:
            self._found.insert(here, Place(where, at, end, value))
        return end

    def _object(self, at: int, where: str, paths: tuple[Steps, ...], depth: int) -> int:
        if self._text[at := self._space(at)] == "}":
            return at + 1
        while True:
            if self._text[at] != '"':
                raise ValueError
            name, at = _DECODER.raw_decode(self._text, at)
            if self._text[at := self._space(at)] != ":":
                raise ValueError
            inner = tuple(_within(paths, name))
            told = f"{where}[{json.dumps(name)}]" if inner else where
            at = self._space(self._value(self._space(at + 1), told, inner, depth + 1))
            if self._text[at] == "}":
                return at + 1
            at = self._comma(at)

    def _array(self, at: int, where: str, paths: tuple[Steps, ...], depth: int) -> int:
        if self._text[at := self._space(at)] == "]":
            return at + 1
        index = 0
        while True:
            inner = tuple(_within(paths, index))
            at = self._space(self._value(at, f"{where}[{index}]", inner, depth + 1))
            if self._text[at] == "]":
                return at + 1
            at, index = self._comma(at), index + 1

    def _comma(self, at: int) -> int:
        if self._text[at] != ",":
            raise ValueError
        return self._space(at + 1)

    def _space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        assert found is not None, "it matches nothing, too"
        return found.end()


def _within(paths: tuple[Steps, ...], step: str | int) -> Iterator[Steps]:
    """What is left of the paths that lead through a step."""
    for path in paths:
        if path and (path[0] is None or (type(path[0]) is type(step) and path[0] == step)):
            yield path[1:]
