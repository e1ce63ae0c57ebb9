"""Which key opens a ciphertext: the one it names, or the one a MAC proves; never a guess."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from certrotd.codecs.errors import UnknownKey, Unsupported, WrongKey
from certrotd.codecs.port import Codec, Marking
from certrotd.keyring.material import DataKey, KeySet


class Opened(NamedTuple):
    """A plaintext, and the key that opened it."""

    plaintext: bytes
    key: DataKey

    def __repr__(self) -> str:
        return f"<plaintext under key version {self.key.version}>"


def candidates(codec: Codec, ciphertext: bytes, keys: KeySet) -> tuple[DataKey, ...]:
    """The keys that may be tried on ``ciphertext``, the likeliest first.

    Raises UnknownKey where it names none of ``keys``, and Unsupported where it names no key and the
    form proves nothing: the caller then says which key it is, as a set of one.
    """
    return named_by(codec, codec.key_id_of(ciphertext), keys)


def named_by(codec: Codec, key_id: str | None, keys: KeySet) -> tuple[DataKey, ...]:
    """As candidates, of what the ciphertext names."""
    if key_id is not None:
        named = tuple(key for key in keys if codec.key_id_for(key) == key_id)
        if not named:
            raise UnknownKey(key_id)
    else:
        named = tuple(keys)
    if len(named) > 1 and not codec.traits.authenticated:
        raise _ambiguous()
    return named


def _ambiguous() -> Unsupported:
    return Unsupported(
        "the ciphertext does not tell which of several keys it needs",
        hint="a wrong key can seem to open it: say which key it is under",
    )


def decrypt(codec: Codec, ciphertext: bytes, keys: KeySet, associated_data: bytes = b"") -> Opened:
    """The plaintext, by the key of ``keys`` that opens it; raises CodecError."""
    return opened_by(codec, ciphertext, candidates(codec, ciphertext, keys), associated_data)


def by_construction(
    codec: Codec, ciphertext: bytes, keys: KeySet, associated_data: bytes
) -> Opened:
    """The plaintext of what neither names nor proves its key; raises CodecError.

    What certrotd wrote is marked by its key. Nobody else encrypts but the application, which has
    one key. So no key is tried: of any other value it is that key, or none.
    """
    if isinstance(codec, Marking):
        for key in keys:
            if codec.marked(ciphertext, key):
                return Opened(codec.decrypt(ciphertext, key, associated_data), key)
    elif len(keys.keys) > 1:
        raise _ambiguous()
    held = keys.keys[keys.held]
    return Opened(codec.decrypt(ciphertext, held, associated_data), held)


def opened_by(
    codec: Codec, ciphertext: bytes, tried: Iterable[DataKey], associated_data: bytes
) -> Opened:
    """The plaintext, by the first key of ``tried`` that opens it; raises CodecError."""
    for key in tried:
        try:
            return Opened(codec.decrypt(ciphertext, key, associated_data), key)
        except WrongKey:
            continue
    raise WrongKey
