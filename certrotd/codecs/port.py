"""What a codec is: what it declares of a form of ciphertext, and what it does with one value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from certrotd.codecs.errors import TooLarge, Unsupported
from certrotd.keyring.material import Algorithm, DataKey

MAX_BYTES = 64 * 1024 * 1024
"""The most that a ciphertext or its plaintext may be, in bytes: both are held in memory."""


class KeyIds(StrEnum):
    """How a ciphertext names its key: exactly, by a hint that keys may share, or not at all."""

    STRICT = "strict"
    FINGERPRINT = "fingerprint"
    NONE = "none"


@dataclass(frozen=True)
class Traits:
    """What a codec declares.

    ``authenticated``: it opens nothing that another key wrote or that was altered, so keys may be
    tried. ``deterministic``: one plaintext has one ciphertext under a key. ``text``: it is stored
    as ASCII text. ``beginning``: what all ciphertext begins with that it reads or writes, whatever
    the key; empty where nothing is common to all.
    """

    key_id: KeyIds
    algorithms: frozenset[Algorithm]
    authenticated: bool = True
    associated_data: bool = False
    deterministic: bool = False
    text: bool = True
    beginning: bytes = b""


class Codec(Protocol):
    """Reads and writes one form of ciphertext; every failure is a CodecError."""

    @property
    def traits(self) -> Traits:
        """What holds for every value."""
        ...

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """The id of the key that ``ciphertext`` names, None where it names none; no key is used."""
        ...

    def key_id_for(self, key: DataKey) -> str | None:
        """The id by which ciphertext names ``key``, None where no ciphertext names one."""
        ...

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext, by ``key`` alone."""
        ...

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The ciphertext; it keeps the time and the form of ``replacing``, which was decrypted."""
        ...

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """What exactly the ciphertexts that name ``key_id`` begin with: one of these.

        Empty where the beginning does not tell. For SQL's LIKE, the caller escapes them.
        """
        ...


@runtime_checkable
class Marking(Protocol):
    """A codec whose form of ciphertext proves no key, but what it writes itself does."""

    def marked(self, ciphertext: bytes, key: DataKey) -> bool:
        """Whether ``key`` wrote it, and this codec; what applications write is not marked."""
        ...


def bounded(data: bytes) -> bytes:
    """``data``, a ciphertext or plaintext; raises TooLarge above MAX_BYTES."""
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    return data


def too_large(length: int) -> TooLarge:
    """What a value of ``length`` bytes is refused with."""
    return TooLarge(f"{length} bytes: a value is at most {MAX_BYTES} as ciphertext and plaintext")


def key_number(key_id: str, *, most: int) -> int:
    """The number that ``key_id`` is, from 0 to ``most``; raises Unsupported for anything else."""
    if key_id.isascii() and key_id.isdecimal() and len(key_id) <= len(str(most)):
        number = int(key_id)
        if number <= most:
            return number
    raise Unsupported(f"key ids of this form of ciphertext are numbers up to {most}")


def usable(traits: Traits, key: DataKey, associated_data: bytes = b"") -> None:
    """Raises Unsupported for a key of another algorithm, or data that would bind nothing."""
    if key.algorithm not in traits.algorithms:
        raise Unsupported(f"this form of ciphertext has no {key.algorithm} keys")
    if associated_data and not traits.associated_data:
        raise Unsupported("this form of ciphertext has no associated data")
