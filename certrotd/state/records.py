"""Records as lines of JSON, each with a checksum that tells a torn one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from certrotd.errors import Failure, NeedsOperator
from certrotd.jsontext import parsed

_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)
_RECORD_AT = len(b'{"c":"00000000","r":')


class Unrecordable(Failure):
    """A record is no JSON: nothing of it was written, and the journal is as it was."""


def encode(record: Mapping[str, Any]) -> bytes:
    """One line of a journal; raises Unrecordable for what is no JSON."""
    try:
        text = _JSON.encode(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unrecordable(
            f"the journal cannot keep a {record.get('t', 'history')} record: {error}",
            hint="this is a defect of certrotd; please report it",
        ) from error
    return _line(text.encode()) + b"\n"


def _line(text: bytes) -> bytes:
    return b'{"c":"%08x","r":%s}' % (zlib.crc32(text), text)


def decode(data: bytes, *, what: str) -> tuple[list[dict[str, Any]], int]:
    """The records of a journal and how many bytes of it are whole.

    A damaged last line is torn and passed over; one before it raises NeedsOperator, for then
    something other than a crash has been at the file.
    """
    records: list[dict[str, Any]] = []
    good = 0
    *lines, rest = data.split(b"\n")  # what follows the last newline is nothing, or torn
    for number, line in enumerate(lines, start=1):
        record = decode_line(line)
        if record is None:
            if number == len(lines) and not rest:
                break  # the newline was written and the middle was not
            raise NeedsOperator(
                f"{what}:{number}: the journal record is damaged",
                hint="move the file away; the generations themselves show what is deployed",
            )
        records.append(record)
        good += len(line) + 1
    return records, good


def _quick(text: bytes) -> Any:
    """As parsed(), in a third of the time: a listing reads a record of every subject."""
    try:
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError:  # half a surrogate pair, which JSON can write, perhaps
        return parsed(text)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The record of one line, None if the line is not exactly what encode() made of one."""
    text = line[_RECORD_AT:-1]
    if line != _line(text):
        return None
    try:
        record = _quick(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
