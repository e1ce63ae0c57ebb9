"""Values within documents: found, and replaced without touching anything else.

JSON is changed as text, its values found by path. So numbers keep their digits, objects the order
of their names, and names that are there twice stay so (RFC 8259).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from certrotd.codecs.errors import Damaged
from certrotd.jsonpath import Path
from certrotd.jsonscan import Place, scanned, spliced


class Document(Protocol):
    """A kind of documents, in which values stand."""

    def places(self, document: bytes) -> Sequence[Place]:
        """Where they are, in the order of the text; raises CodecError for another document."""
        ...

    def spliced(self, document: bytes, changes: Sequence[tuple[Place, bytes]]) -> bytes:
        """The document with other values, of ASCII, at some of the places, which are in order."""
        ...


@dataclass(frozen=True)
class JsonDocument:
    """Document, of JSON: the texts at some ``paths``."""

    paths: Sequence[Path]

    def places(self, document: bytes) -> Sequence[Place]:
        """As Document.places."""
        return places(_decoded(document), self.paths)

    def spliced(self, document: bytes, changes: Sequence[tuple[Place, bytes]]) -> bytes:
        """As Document.spliced."""
        texts = [(place, value.decode("ascii")) for place, value in changes]
        return spliced(_decoded(document), texts).encode()


@dataclass(frozen=True)
class ListDocument:
    """Document, of several values with a ``separator`` between them."""

    separator: bytes

    def places(self, document: bytes) -> Sequence[Place]:
        """As Document.places: every member."""
        found, at = [], 0
        for number, each in enumerate(document.split(self.separator)):
            found.append(Place(f"[{number}]", at, at + len(each), _text(each)))
            at += len(each) + len(self.separator)
        return found

    def spliced(self, document: bytes, changes: Sequence[tuple[Place, bytes]]) -> bytes:
        """As Document.spliced."""
        parts, last = [], 0
        for place, value in changes:
            parts += [document[last : place.start], value]
            last = place.end
        return b"".join([*parts, document[last:]])


def _text(member: bytes) -> str | None:
    """None if it is no text: no other bytes are taken for it."""
    try:
        return member.decode()
    except UnicodeDecodeError:
        return None


def _decoded(document: bytes) -> str:
    try:
        return document.decode()
    except UnicodeDecodeError:
        raise Damaged("it is no JSON") from None


def places(document: str, paths: Sequence[Path]) -> list[Place]:
    """What is there at the paths, in the order of the text, each once; raises Damaged."""
    try:
        return scanned(document, paths)
    except ValueError:
        raise Damaged("it is no JSON") from None
