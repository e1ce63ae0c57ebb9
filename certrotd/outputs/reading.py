"""What stands in an application's file, as text or JSON; anybody may have written it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from certrotd.outputs.errors import NotExpressible

MAX_BYTES = 1024 * 1024
"""The most that one file of an application's keys may be, in bytes."""
MAX_KEYS = 1000
"""The most keys that one file may hold."""
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


def text_of(path: Path, data: bytes, *, most: int = MAX_BYTES) -> str:
    """``data`` as text; raises NotExpressible for what is no text of at most so many bytes."""
    if len(data) > most:
        raise NotExpressible(f"{path} is larger than {most} bytes", hint="name the right file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotExpressible(f"{path} is not UTF-8") from None
    if "\0" in text:
        raise NotExpressible(f"{path} holds NUL bytes")
    if text.startswith(_BOM):
        raise NotExpressible(f"{path} begins with a byte order mark", hint="remove it")
    return text


def json_of(path: Path, data: bytes) -> Any:
    """The JSON document in a file, whose names are unique; raises NotExpressible.

    No number in it is a float.
    """
    text = text_of(path, data)
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_refuse
        )
    except _Twice as twice:
        raise NotExpressible(f"{path} has a name twice in one object", hint="remove one") from twice
    except (ValueError, RecursionError):
        raise NotExpressible(f"{path} is not JSON of the right form") from None


def json_bytes(path: Path, data: bytes | None, wanted: object, *, indent: int) -> bytes:
    """``wanted`` as a JSON file: ``data``, byte for byte, where that says the same already."""
    if data is not None and json_of(path, data) == wanted:
        return data
    return (json.dumps(wanted, indent=indent) + "\n").encode("ascii")


def members(value: object, names: Collection[str], *, where: str) -> dict[str, Any]:
    """``value``, a mapping with these names and no other; raises NotExpressible."""
    if not isinstance(value, dict):
        raise NotExpressible(f"{where} is not a mapping")
    if missing := set(names) - value.keys():
        raise NotExpressible(f"{where} has no {min(missing)}")
    if extra := [name for name in value if name not in names]:
        raise NotExpressible(
            f"{where} has {_shown(extra[0])}, which would be lost",
            hint="certrotd rewrites only what it knows",
        )
    return value


def _shown(name: object) -> str:
    """A name that is not known, unless it might be a key."""
    text = str(name)
    return repr(text) if len(text) <= 24 else "a name of over 24 characters"


class _Twice(ValueError):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def _refuse(_text: str) -> NoReturn:
    raise ValueError("not a number that keys are told by")
