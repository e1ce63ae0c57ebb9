"""How symmetric-encryption writes bytes as text."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable
from enum import Enum

from certrotd.codecs.errors import Damaged
from certrotd.codecs.strict import unbase64, unhex

_URLSAFE = b"-_"
_LINE = 60


class Encoding(Enum):
    """The gem's names for them; ``base64`` has a line break after every 60 characters."""

    NONE = "none"
    BASE64 = "base64"
    BASE64STRICT = "base64strict"
    BASE64URLSAFE = "base64urlsafe"
    BASE16 = "base16"

    def encode(self, data: bytes) -> bytes:
        """``data`` as it is stored."""
        match self:
            case Encoding.NONE:
                return data
            case Encoding.BASE16:
                return data.hex().encode("ascii")
            case Encoding.BASE64:
                return _broken(base64.b64encode(data))
        return base64.b64encode(data, self._altchars())

    def decode(self, text: bytes) -> bytes:
        """What ``text`` encodes; of ``base64`` also without any line break; raises Damaged."""
        match self:
            case Encoding.NONE:
                return text
            case Encoding.BASE16:
                return unhex(text)
            case Encoding.BASE64:
                joined = text.replace(b"\n", b"")
                if text not in (joined, _broken(joined)):
                    raise Damaged("the ciphertext's base64 has line breaks in other places")
                return unbase64(joined)
        return unbase64(text, altchars=self._altchars())

    def beginnings(self, data: bytes) -> tuple[bytes, ...]:
        """What exactly the text of all that begins with ``data``, of five bytes, begins with."""
        match self:
            case Encoding.NONE | Encoding.BASE16:
                return (self.encode(data),)
        # Five bytes fill six characters and two thirds of the seventh, whose rest may be anything.
        following = (bytes([rest << 6]) for rest in range(4))
        return tuple(base64.b64encode(data + f, self._altchars())[:7] for f in following)

    def common(self, data: bytes) -> bytes:
        """What the text of all that begins with ``data`` begins with, as far as it is the same."""
        return common_prefix(self.encode(data + rest * 2) for rest in (b"\0", b"\xff"))

    def _altchars(self) -> bytes | None:
        return _URLSAFE if self is Encoding.BASE64URLSAFE else None


def common_prefix(texts: Iterable[bytes]) -> bytes:
    """What all of them begin with."""
    same = itertools.takewhile(lambda each: len(set(each)) == 1, zip(*texts, strict=False))
    return bytes(each[0] for each in same)


def _broken(text: bytes) -> bytes:
    """``text`` with a line break after every 60 characters and at its end, as Ruby's encode64."""
    return b"".join(text[at : at + _LINE] + b"\n" for at in range(0, len(text), _LINE))
