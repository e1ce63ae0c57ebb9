r"""Where the parts of a ciphertext stand: ``{iv:hex}:{tag:hex}:{ct:hex}``, and how to read it.

``{part:encoding}`` is one part as text; ``base64(…)`` encodes what is in the brackets together,
parts ``{iv}`` and literal bytes; ``raw(…)``, the whole layout, stores it as bytes. ``{key}`` is the
id of the key. All else stands for itself; ``\xNN`` is a byte, and ``\{`` a brace. A layout that
could be read in two ways is refused when it is configured.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from certrotd.codecs.encoding import common_prefix
from certrotd.codecs.errors import Damaged, Unsupported
from certrotd.codecs.strict import unbase64, unhex, unpadded
from certrotd.errors import InvalidInput

MAX_KEY_ID = 32
_PARTS = ("iv", "ct", "tag", "mac", "salt")
_KEY_ID = re.compile(rb"[A-Za-z0-9_-]{1,32}\Z")
_DIGITS = rb"A-Za-z0-9"
_TOKEN = re.compile(
    r"\\x(?P<byte>[0-9a-f]{2})|\\(?P<escaped>[\\{}()])|\{(?P<part>[^{}]*)\}"
    r"|(?P<group>(?:hex|base64|base64url|base64-unpadded|base64url-unpadded|raw))\("
    r"|(?P<end>\))|(?P<literal>[^\\{}()])",
    re.DOTALL,
)


class Encoding(NamedTuple):
    """How bytes are text: one spelling each."""

    alphabet: bytes
    """A character class of it."""
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


def _unpadded(altchars: bytes | None) -> Encoding:
    def encode(data: bytes) -> bytes:
        return base64.b64encode(data, altchars).rstrip(b"=")

    alphabet = _DIGITS + (rb"_-" if altchars else rb"+/")
    return Encoding(alphabet, encode, partial(unpadded, altchars=altchars))


def _padded(altchars: bytes | None) -> Encoding:
    return Encoding(
        _DIGITS + (rb"_=-" if altchars else rb"+/="),
        lambda data: base64.b64encode(data, altchars),
        lambda text: unbase64(text, altchars=altchars),
    )


ENCODINGS: Mapping[str, Encoding] = {
    "hex": Encoding(rb"0-9a-f", lambda data: data.hex().encode(), unhex),
    "base64": _padded(None),
    "base64url": _padded(b"-_"),
    "base64-unpadded": _unpadded(None),
    "base64url-unpadded": _unpadded(b"-_"),
    "raw": Encoding(rb"\x00-\xff", lambda data: data, lambda text: text),
}


@dataclass(frozen=True)
class Group:
    """Parts, by name, and literal bytes that are encoded together."""

    encoding: Encoding
    parts: tuple[str | bytes, ...]

    def render(self, values: Mapping[str, bytes]) -> bytes:
        """Its text."""
        return self.encoding.encode(
            b"".join(p if isinstance(p, bytes) else values[p] for p in self.parts)
        )

    def parse(self, text: bytes, lengths: Mapping[str, int]) -> dict[str, bytes]:
        """The parts of ``text``; ct takes what the others leave; raises Damaged."""
        data = self.encoding.decode(text)
        rest = len(data) - self._fixed(lengths)
        if rest < 0 or (rest and "ct" not in self.parts):
            raise Damaged("the ciphertext has a part of another length")
        found, at = {}, 0
        for part in self.parts:
            length = len(part) if isinstance(part, bytes) else lengths.get(part, rest)
            piece = data[at : at + length]
            at += length
            if isinstance(part, str):
                found[part] = piece
            elif piece != part:
                raise Damaged("the ciphertext lacks the literal bytes of its layout")
        return found

    def _fixed(self, lengths: Mapping[str, int]) -> int:
        return sum(len(p) if isinstance(p, bytes) else lengths.get(p, 0) for p in self.parts)


class KeyId:
    """The place of the key's id."""


@dataclass(frozen=True)
class Form:
    """A layout that can be read in one way only; raises InvalidInput."""

    text: str

    def __post_init__(self) -> None:
        named = self.names
        for name in sorted({n for n in named if named.count(n) > 1}):
            raise InvalidInput(f"the layout has {{{name}}} twice")
        if "ct" not in named:
            raise InvalidInput("the layout has no {ct}: that is where the ciphertext stands")
        for item, following in zip(self.items, [*self.items[1:], None], strict=True):
            _check_end(item, following)
        if any(isinstance(item, bytes) and not item.isascii() for item in self.items):
            raise InvalidInput("the layout has literal text that is not ASCII outside raw(…)")
        if len(self.items) > 1 and any(_is_raw(item) for item in self.items):
            raise InvalidInput(
                "raw(…) is the whole layout: put what is around it into its brackets"
            )

    def __reduce__(self) -> tuple[type[Form], tuple[str]]:
        return Form, (self.text,)  # what is made of it cannot go to another process

    @cached_property
    def items(self) -> tuple[bytes | Group | KeyId, ...]:
        """Literals, groups and the place of the key's id, in order."""
        return _parsed(self.text)

    @property
    def names(self) -> list[str]:
        """The parts that it has, with "key"."""
        found: list[str] = []
        for item in self.items:
            if isinstance(item, Group):
                found += [part for part in item.parts if isinstance(part, str)]
            elif isinstance(item, KeyId):
                found.append("key")
        return found

    @property
    def is_text(self) -> bool:
        """Whether it is stored as ASCII text."""
        return not any(_is_raw(item) for item in self.items)

    @property
    def common(self) -> bytes:
        """What every text of it begins with; empty where a part stands first."""
        first = self.items[0]
        if isinstance(first, bytes):
            return first
        if not isinstance(first, Group) or not isinstance(first.parts[0], bytes):
            return b""
        rest = (b"\0" * 3, b"\xff" * 3)
        return common_prefix(first.encoding.encode(first.parts[0] + each) for each in rest)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        found = b""
        for item in self.items:
            if isinstance(item, bytes):
                found += re.escape(item)
            elif isinstance(item, KeyId):
                found += b"([A-Za-z0-9_-]{1,%d})" % MAX_KEY_ID
            else:
                found += b"([%s]*)" % item.encoding.alphabet
        return re.compile(found + rb"\Z")

    def parse(self, text: bytes, lengths: Mapping[str, int]) -> dict[str, bytes]:
        """The parts of ``text`` by name; raises Damaged."""
        match = self._pattern.match(text)
        if match is None:
            raise Damaged("the ciphertext is not of its layout")
        found: dict[str, bytes] = {}
        places = (item for item in self.items if not isinstance(item, bytes))
        for item, piece in zip(places, match.groups(), strict=True):
            if isinstance(item, Group):
                found |= item.parse(piece, lengths)
            else:
                found["key"] = piece
        return found

    def render(self, values: Mapping[str, bytes]) -> bytes:
        """The text of ``values``."""
        return b"".join(
            item if isinstance(item, bytes)
            else item.render(values) if isinstance(item, Group)
            else values["key"]
            for item in self.items
        )  # fmt: skip

    def beginning(self, key_id: str) -> bytes | None:
        """What exactly the text of ``key_id`` begins with; None where that does not tell it."""
        before = b""
        for item, following in zip(self.items, [*self.items[1:], None], strict=True):
            if isinstance(item, KeyId) and isinstance(following, bytes):
                return before + checked_id(key_id) + following
            if not isinstance(item, bytes):
                return None
            before += item
        return None


def checked_id(key_id: str) -> bytes:
    """``key_id`` as a layout can hold it; raises Unsupported."""
    if not key_id.isascii() or not _KEY_ID.match(key_id.encode("ascii")):
        raise Unsupported("a key id in a layout is of at most 32 letters, digits, - and _")
    return key_id.encode("ascii")


def _is_raw(item: object) -> bool:
    return isinstance(item, Group) and item.encoding is ENCODINGS["raw"]


def _check_end(item: object, following: object) -> None:
    """Raises InvalidInput where nothing tells where ``item`` ends."""
    if isinstance(item, bytes) or following is None:
        return
    alphabet = item.encoding.alphabet if isinstance(item, Group) else rb"A-Za-z0-9_-"
    if not isinstance(following, bytes):
        raise InvalidInput(
            "the layout is ambiguous: two parts stand side by side",
            hint="put a character between them, or both into the brackets of one encoding",
        )
    if re.match(b"[%s]" % alphabet, following):
        raise InvalidInput(
            f"the layout is ambiguous: {following[:1].decode('ascii', 'backslashreplace')} after a "
            "part can be one of its own characters"
        )


def _parsed(text: str) -> tuple[bytes | Group | KeyId, ...]:
    found: list[bytes | Group | KeyId] = []
    inner: list[str | bytes] | None = None
    encoding = ""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidInput(
                f"the layout cannot be read from its character {at + 1} on",
                hint=f"a bracket follows one of {', '.join(ENCODINGS)}; escape others: \\(",
            )
        at = match.end()
        if match["group"] is not None:
            if inner is not None:
                raise InvalidInput("the layout has an encoding within another")
            encoding, inner = match["group"], []
        elif match["end"]:
            if not inner:
                raise InvalidInput("the layout has a closing bracket too many, or empty brackets")
            found.append(Group(ENCODINGS[encoding], tuple(inner)))
            inner = None
        elif match["part"] is not None:
            if inner is None:
                found.append(_alone(match["part"]))
            else:
                inner.append(_part(match["part"]))
        else:
            _add_literal(found if inner is None else inner, _literal(match))
    if inner is not None:
        raise InvalidInput("the layout has an open bracket")
    return tuple(found)


def _literal(match: re.Match[str]) -> bytes:
    if match["byte"]:
        return bytes.fromhex(match["byte"])
    return (match["escaped"] or match["literal"]).encode("utf-8")


def _add_literal(items: list[bytes | Group | KeyId] | list[str | bytes], data: bytes) -> None:
    if items and isinstance(items[-1], bytes):
        items[-1] += data
    else:
        items.append(data)


def _alone(text: str) -> Group | KeyId:
    if text == "key":
        return KeyId()
    name, _, encoding = text.partition(":")
    if encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise InvalidInput(f"{{{text}}} of the layout needs an encoding after a colon: {known}")
    return Group(ENCODINGS[encoding], (_part(name),))


def _part(name: str) -> str:
    if name not in _PARTS:
        raise InvalidInput(
            f"the layout has {{{name}}}: parts are {', '.join(_PARTS)}, and key alone"
        )
    return name
