"""How applications write the bytes of a key as text, each read in one spelling only."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection
from enum import StrEnum

from certrotd.errors import listed
from certrotd.keyring.material import Algorithm, Material
from certrotd.outputs.errors import NotDeliverable, NotExpressible

_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_WSO2_HEX = (48, 64)
"""WSO2 takes a text of so many characters for hexadecimal, and any other for the key itself."""


class KeyEncoding(StrEnum):
    """``base64url`` is padded, as Fernet's keys are; ``text``: the characters are the key."""

    HEX = "hex"
    BASE64 = "base64"
    BASE64URL = "base64url"
    TEXT = "text"
    WSO2 = "wso2"

    @property
    def printable(self) -> bool:
        """Whether the characters of the text are the key."""
        return self is KeyEncoding.TEXT

    def written(self, material: Material) -> str:
        """The key as text; raises NotDeliverable for bytes that are no such text."""
        secret = material.reveal()
        match self:
            case KeyEncoding.HEX:
                return secret.hex()
            case KeyEncoding.BASE64:
                return base64.b64encode(secret).decode()
            case KeyEncoding.BASE64URL:
                return base64.urlsafe_b64encode(secret).decode()
            case KeyEncoding.WSO2 if 2 * len(secret) in _WSO2_HEX:
                return secret.hex()
        if not re.fullmatch(rb"[!-~]+", secret):
            raise NotDeliverable(
                f"a key of {len(secret)} random bytes is no text that the application could read",
                hint="draw keys of printable characters, or use another encoding",
            )
        return secret.decode("ascii")

    def read(
        self, text: str, algorithms: Collection[Algorithm], *, where: str
    ) -> tuple[Algorithm, Material]:
        """The key that ``text`` at ``where`` is: of that algorithm of them that its length tells.

        Raises NotExpressible, without showing it.
        """
        secret = self._decoded(text)
        if secret is not None and (fitting := _fitting(secret, algorithms)):
            return fitting[0], Material(secret)
        others = (KeyEncoding.HEX, KeyEncoding.BASE64, KeyEncoding.BASE64URL, KeyEncoding.TEXT)
        fits = [each for each in others if _fitting(each._decoded(text) or b"", algorithms)]
        hint = f"it fits as {fits[0]}: encoding: {fits[0]}" if fits else ""
        if secret is None:
            raise NotExpressible(f"{where}: the key is not {_WORDS[self]}", hint=hint)
        raise NotExpressible(
            f"{where}: the key has {len(secret)} bytes, and {listed(sorted(algorithms))} takes "
            f"{listed(sorted({each.takes for each in algorithms}))}",
            hint=hint or "name the algorithm, or the encoding, that the application uses",
        )

    def _decoded(self, text: str) -> bytes | None:
        if not text.isascii():
            return None
        match self:
            case KeyEncoding.HEX:
                return _unhex(text)
            case KeyEncoding.BASE64:
                return _unbase64(text, None)
            case KeyEncoding.BASE64URL:
                return _unbase64(text, b"-_")
            case KeyEncoding.WSO2 if len(text) in _WSO2_HEX:
                return _unhex(text)
        return text.encode("ascii") if re.fullmatch("[!-~]+", text) else None


_WORDS = {
    KeyEncoding.HEX: "hexadecimal",
    KeyEncoding.BASE64: "base64",
    KeyEncoding.BASE64URL: "base64 for URLs",
    KeyEncoding.TEXT: "printable ASCII",
    KeyEncoding.WSO2: "hexadecimal of 48 or 64 characters, nor other printable ASCII",
}


def _fitting(secret: bytes, algorithms: Collection[Algorithm]) -> list[Algorithm]:
    """The algorithms that take a key of that length."""
    return sorted(each for each in algorithms if len(secret) in each.lengths)


def _unhex(text: str) -> bytes | None:
    return bytes.fromhex(text) if _HEX.match(text) else None


def _unbase64(text: str, altchars: bytes | None) -> bytes | None:
    try:
        data = base64.b64decode(text, altchars, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data, altchars).decode() == text else None


def printable_material(size: int, below: Callable[[int], int]) -> Material:
    """A key of ``size`` letters and digits: about six bits of each of its bytes are random.

    For applications that take the characters of a text for the key. ``below`` draws, as
    secrets.randbelow does.
    """
    return Material("".join(_CHARACTERS[below(len(_CHARACTERS))] for _ in range(size)).encode())
