"""JSON documents that know their own SHA-256: one flipped bit, and they are none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

# loaded by the configuration anyway; json indents in Python, and reads half as quickly
from pydantic_core import from_json, to_json

_BEFORE, _AFTER = b',\n "digest": "', b'"\n}'
_LENGTH = len(_BEFORE) + 64 + len(_AFTER)


def digested(data: Mapping[str, Any]) -> bytes:
    """A JSON object as text, for people too; its last member is the digest of all before it."""
    body = to_json(data, indent=1).removesuffix(b"\n}")
    return body + _BEFORE + hashlib.sha256(body).hexdigest().encode() + _AFTER


def undigested(text: bytes) -> dict[str, Any]:
    """What ``digested`` wrote; ValueError if it is anything else."""
    body, end = text[:-_LENGTH], text[-_LENGTH:]
    if end != _BEFORE + hashlib.sha256(body).hexdigest().encode() + _AFTER:
        raise ValueError("it is not what was written")
    data: dict[str, Any] = from_json(text)
    del data["digest"]
    return data
