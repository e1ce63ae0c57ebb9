"""Bech32 (BIP 173), in which age writes its keys."""

from __future__ import annotations

from collections.abc import Iterable

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def encoded(prefix: str, data: bytes) -> str:
    """``data`` under a prefix in lower case, as age's ``age-secret-key-``."""
    values = _regrouped(data, 8, 5, pad=True)
    polymod = _polymod([*_expanded(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    checksum = [polymod >> 5 * (_CHECKSUM - 1 - i) & 31 for i in range(_CHECKSUM)]
    return f"{prefix}1" + "".join(_CHARACTERS[each] for each in (*values, *checksum))


def decoded(prefix: str, text: str) -> bytes:
    """What encoded() encoded, in either case; raises ValueError, which shows nothing of it."""
    lower = text.lower()
    start = f"{prefix}1"
    if text not in (lower, text.upper()) or not lower.startswith(start):
        raise ValueError(f"it is no key that begins with {start}")
    values = [_CHARACTERS.find(each) for each in lower[len(start) :]]
    if len(values) < _CHECKSUM or -1 in values or _polymod([*_expanded(prefix), *values]) != 1:
        raise ValueError("its checksum is wrong")
    return bytes(_regrouped(values[:-_CHECKSUM], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [*(ord(each) >> 5 for each in prefix), 0, *(ord(each) & 31 for each in prefix)]


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATORS):
            if top >> i & 1:
                check ^= generator
    return check


def _regrouped(values: Iterable[int], wide: int, narrow: int, *, pad: bool) -> list[int]:
    """Numbers of ``wide`` bits as numbers of ``narrow`` bits; raises ValueError."""
    held = bits = 0
    out: list[int] = []
    for value in values:
        held, bits = held << wide | value, bits + wide
        while bits >= narrow:
            bits -= narrow
            out.append(held >> bits & (1 << narrow) - 1)
        held &= (1 << bits) - 1
    if pad and bits:
        out.append(held << narrow - bits & (1 << narrow) - 1)
    elif not pad and (bits >= wide or held):
        raise ValueError("its length is wrong")
    return out
