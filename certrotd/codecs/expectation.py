"""What a plaintext must look like, for ciphertext that proves nothing by itself.

CBC and ECB without a MAC open under a wrong key every 256th time, and give noise. Of JSON, a
narrow pattern and a fixed length, noise is told reliably; of short UTF-8 text, only mostly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from certrotd.codecs.patterns import WholePattern


class Expectation(Protocol):
    """What every plaintext of a column has in common."""

    def holds(self, plaintext: bytes) -> bool:
        """Whether ``plaintext`` is as expected; raises CodecError if nobody can tell."""
        ...


@dataclass(frozen=True)
class Anything:
    """Whatever it is: somebody else looks at it."""

    def holds(self, plaintext: bytes) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class Utf8:
    """Text in UTF-8."""

    def holds(self, plaintext: bytes) -> bool:
        """Whether it decodes."""
        return _text(plaintext) is not None


@dataclass(frozen=True)
class Json:
    """A JSON value in UTF-8."""

    def holds(self, plaintext: bytes) -> bool:
        """Whether it parses."""
        text = _text(plaintext)
        if text is None:
            return False
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True


@dataclass(frozen=True)
class Matching:
    """Text in UTF-8, the whole of which a pattern matches."""

    pattern: WholePattern

    def holds(self, plaintext: bytes) -> bool:
        """Whether the pattern matches all of it."""
        text = _text(plaintext)
        return text is not None and self.pattern.matches(text)


@dataclass(frozen=True)
class Length:
    """From ``least`` to ``most`` bytes."""

    least: int
    most: int

    def holds(self, plaintext: bytes) -> bool:
        """Whether it has so many."""
        return self.least <= len(plaintext) <= self.most


def _text(plaintext: bytes) -> str | None:
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        return None
