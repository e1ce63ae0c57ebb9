"""Keys in a table of a TOML file: one that encrypts, and one from before, as WSO2's servers have.

``[encryption]`` with ``key = "…"`` and ``old_key = "…"``. Only those two lines are changed, and the
file is read again to see that nothing else did. A secondary key stands as old_key: WSO2 reads it
only if every stored value has a keyId, for values without one are tried with old_key alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from certrotd.keyring.delivery import Delivery
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.key_text import KeyText, unique
from certrotd.outputs.port import (
    Contents,
    Imported,
    ImportedKey,
    OneFile,
    Present,
    Traits,
    deliverable,
    encrypting_first,
)
from certrotd.outputs.reading import text_of

_MOST = 256 * 1024
_MOST_DOTS = 100
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_HEADER = re.compile(r"[ \t]*\[[ \t]*([A-Za-z0-9_-]+(?:[ \t]*\.[ \t]*[A-Za-z0-9_-]+)*)[ \t]*\]")
_PLAIN = re.compile(r"[ -!#-&(-\[\]-~]*\Z")  # without quotes and backslashes


class _Line(NamedTuple):
    """``start`` to ``end`` is the whole line, ``value`` the text between the quotes."""

    start: int
    end: int
    value: tuple[int, int]
    comment: str


@dataclass(frozen=True)
class TomlKeys(OneFile):
    """``table`` holds ``key`` and, where the application has a second place, ``previous``."""

    path: Path
    table: str
    key: str
    previous: str | None
    keys: KeyText
    secondary: bool = False

    @cached_property
    def traits(self) -> Traits:
        """Two places, or one."""
        capacity = 2 if self.previous else 1
        secondary = self.secondary and self.previous is not None
        return Traits(
            "toml",
            capacity,
            self.keys.algorithms,
            printable=self.keys.encoding.printable,
            secondary=secondary,
            by_id=secondary and self.keys.encoding is KeyEncoding.WSO2,
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse."""
        _, _, values = self._read(present)
        texts = {name: values.get(name, "") for name in self._names}
        if not any(texts.values()):
            return None
        found: list[ImportedKey] = []
        for name in reversed(self._names):
            if texts[name]:
                found.append(self.keys.read(texts[name], f"{self.path}: {self.table}.{name}"))
        if not texts[self.key]:
            raise NotExpressible(f"{self.path}: {self.table}.{self.key} is missing")
        return Imported(unique(found, str(self.path)), len(found) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render; a key that is there in another spelling stays as it is spelled."""
        deliverable(delivery, self.traits)
        self.check(present)
        text, document, values = self._read(present)
        wanted: dict[str, str | None] = dict.fromkeys(self._names)
        for name, key in zip(self._names, encrypting_first(delivery), strict=False):
            there = values.get(name)
            same = there and self.keys.read(there, "").material == key.material
            wanted[name] = there if same else self.keys.written(key)
        changed = _edited(text, self.table, wanted)
        expected = _with(document, self.table, wanted)
        if _loaded(self.path, changed) != expected:
            raise NotExpressible(
                f"{self.path}: [{self.table}] cannot be changed without changing the rest",
                hint=f"write each key on a line of its own below [{self.table}]",
            )
        return {self.path: changed.encode("utf-8")}

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.key, self.previous) if self.previous else (self.key,)

    def _read(self, present: Present) -> tuple[str, dict[str, Any], Mapping[str, str]]:
        """The text, the document, and the values of the own lines; raises NotExpressible."""
        data = present.get(self.path)
        text = "" if data is None else text_of(self.path, data, most=_MOST)
        document = _loaded(self.path, text)
        table: Any = document
        for part in self.table.split("."):
            table = table.get(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise NotExpressible(f"{self.path}: {self.table} is not a table")
        lines, values = _lines(text, self.table, self._names)[1], {}
        for name in self._names:
            value, line = table.get(name), lines.get(name)
            if value is None and line is None:
                continue
            if line is None or not isinstance(value, str) or text[slice(*line.value)] != value:
                raise NotExpressible(
                    f"{self.path}: {self.table}.{name} is not a plain text on a line of its own",
                    hint=f'write it as {name} = "…" below [{self.table}]',
                )
            if value.startswith("$"):
                raise NotExpressible(
                    f"{self.path}: {self.table}.{name} refers to a secret elsewhere",
                    hint="write the key itself, or keep the keyring out of this file",
                )
            values[name] = value
        return text, document, values


def _loaded(path: Path, text: str) -> dict[str, Any]:
    # tomllib takes time and memory by the square of the parts of a dotted key
    if any(_STRING.sub("", line).count(".") > _MOST_DOTS for line in text.split("\n")):
        raise NotExpressible(f"{path} has a line with over {_MOST_DOTS} dots", hint="break it")
    try:
        return tomllib.loads(text, parse_float=str)  # two NaN would differ
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        # its message may quote the file
        raise NotExpressible(f"{path} is not TOML", hint="correct the file") from None


def _with(document: dict[str, Any], table: str, wanted: Mapping[str, str | None]) -> dict[str, Any]:
    """A copy of ``document`` in which the table has these values."""
    first, _, rest = table.partition(".")
    inner = document.get(first, {})
    if rest:
        return {**document, first: _with(inner, rest, wanted)}
    kept = {name: value for name, value in inner.items() if name not in wanted}
    return {**document, first: kept | {n: v for n, v in wanted.items() if v is not None}}


def _lines(text: str, table: str, names: Sequence[str]) -> tuple[int | None, dict[str, _Line]]:
    """Where a line after the table's header begins, and the lines of ``names`` in it.

    Lines within a text of several lines are taken for real ones; what follows is compared with
    what the TOML parser says, so that nothing comes of it.
    """
    body: int | None = None
    found: dict[str, _Line] = {}
    at, inside = 0, False
    for raw in text.splitlines(keepends=True):
        start, at = at, at + len(raw)
        if header := _HEADER.match(raw):
            inside = re.sub(r"[ \t]", "", header[1]) == table
            if inside:
                body = at
        elif raw.lstrip(" \t").startswith("["):
            inside = False
        elif inside and (line := _own_line(raw, names)):
            span = line.span("value")
            value = (start + span[0], start + span[1])
            found[line["name"]] = _Line(start, at, value, line["comment"] or "")
    return body, found


def _own_line(raw: str, names: Sequence[str]) -> re.Match[str] | None:
    known = "|".join(re.escape(name) for name in names)
    return re.match(
        rf"[ \t]*(?P<name>{known})[ \t]*=[ \t]*(?P<quote>[\"'])(?P<value>[^\"'\\\r\n]*)(?P=quote)"
        r"[ \t]*(?P<comment>#[^\r\n]*)?[\r\n]*\Z",
        raw,
    )


def _edited(text: str, table: str, wanted: Mapping[str, str | None]) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    for name, value in wanted.items():
        if value is not None and not _PLAIN.match(value):
            raise NotDeliverable(f"the key for {name} has characters that TOML escapes")
        body, lines = _lines(text, table, tuple(wanted))
        line = lines.get(name)
        if line is not None and value is not None:
            text = text[: line.value[0]] + value + text[line.value[1] :]
        elif line is not None:
            kept = f"{line.comment}{ending}" if line.comment else ""
            text = text[: line.start] + kept + text[line.end :]
        elif value is not None:
            begun = "" if not text or text.endswith("\n") else ending
            if body is None:
                blank = ending if text else ""
                text += f"{begun}{blank}[{table}]{ending}"
                begun, body = "", len(text)
            # after the key, so that both stand together
            after = max((each.end for each in lines.values()), default=body)
            at_end = begun if after == len(text) else ""
            text = text[:after] + f'{at_end}{name} = "{value}"{ending}' + text[after:]
    return text
