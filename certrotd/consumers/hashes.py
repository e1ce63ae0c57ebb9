"""The answer that is a hash: the first word of a text that somebody else wrote."""

from __future__ import annotations

import re

from certrotd.consumers.port import Answer, Expected

_HASH = re.compile(rb"\s*([0-9a-fA-F]{64})(?:\s|$)")
MAX_TEXT = 4096


def answer(said: bytes, expected: Expected) -> Answer:
    """Whether the first word of ``said`` is an expected hash; nothing else of it is shown."""
    match = _HASH.match(said)
    if match is None:
        return Answer(False, "says nothing that is a SHA-256 in hex")
    if match[1].decode().lower() in expected.hashes:
        return Answer(True)
    return Answer(False, "has other keys")
