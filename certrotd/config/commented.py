"""A configuration as YAML that a person goes on with: comments above what they explain. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

Path = tuple[str | int, ...]
_WIDTH = 100
_FLAT = 3
"""From this depth on a mapping of plain values is written in one line, as people do."""


def commented(data: Mapping[str, Any], notes: Mapping[Path, str], *, head: str = "") -> str:
    """``data`` in YAML, each of ``notes`` above the entry at its path, ``head`` above all.

    A path that ends in a name which ``data`` has not stands for a comment at the end of the entry
    above it.
    """
    told = _Notes(notes)
    lines = [*_comment(head, ""), *([""] if head else [])]
    for number, (key, value) in enumerate(data.items()):
        lines += [""] if number else []
        lines += _entry(key, value, told, (key,), "")
    return "".join(f"{line}\n" for line in lines)


class _Notes:
    """Comments by path, found without looking through all of them."""

    def __init__(self, notes: Mapping[Path, str]) -> None:
        self._notes = notes
        self._above = {path[:length] for path in notes for length in range(len(path))}
        self._below: dict[Path, list[Path]] = {}
        for path in notes:
            self._below.setdefault(path[:-1], []).append(path)

    def at(self, path: Path) -> str:
        return self._notes.get(path, "")

    def has_below(self, path: Path) -> bool:
        return path in self._above

    def directly_below(self, path: Path) -> list[Path]:
        return self._below.get(path, [])


def _entry(key: object, value: Any, notes: _Notes, path: Path, indent: str) -> Iterator[str]:
    yield from _comment(notes.at(path), indent)
    name = _flat(key)
    if _is_flat(value, notes, path):
        yield f"{indent}{name}: {_flat(value)}"
        return
    yield f"{indent}{name}:"
    inner = f"{indent}  "
    if isinstance(value, Mapping):
        for each, content in value.items():
            yield from _entry(each, content, notes, (*path, each), inner)
        yield from _after(value, notes, path, inner)
        return
    for number, item in enumerate(value):
        lines = [
            line
            for each, content in item.items()
            for line in _entry(each, content, notes, (*path, number, each), f"{inner}  ")
        ]
        lines += _after(item, notes, (*path, number), f"{inner}  ")
        first = next(at for at, line in enumerate(lines) if not line.lstrip().startswith("#"))
        lines[first] = f"{inner}- {lines[first].lstrip()}"
        yield from lines


def _after(value: Mapping[Any, Any], notes: _Notes, path: Path, at: str) -> list[str]:
    missing = [each for each in notes.directly_below(path) if each[-1] not in value]
    return [line for each in missing for line in _comment(notes.at(each), at)]


def _is_flat(value: Any, notes: _Notes, path: Path) -> bool:
    if notes.has_below(path):
        return False
    if isinstance(value, Mapping):
        plain = not any(isinstance(each, Mapping | list) for each in value.values())
        return not value or (plain and len(path) >= _FLAT)
    if isinstance(value, Sequence) and not isinstance(value, str):
        mappings = any(isinstance(each, Mapping) for each in value)
        return not mappings or len(path) >= _FLAT
    return True


def _flat(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in text.splitlines():
        room = max(_WIDTH - len(indent) - 2, 40)
        wrapped = textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False)
        for each in wrapped or [""]:
            yield f"{indent}# {each}".rstrip()
