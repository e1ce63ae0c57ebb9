"""A KEK derived from a passphrase by scrypt (RFC 7914) or Argon2id (RFC 9106).

The body of an envelope is ``function u8 | three parameters, u32 each | salt, 16 bytes | check, 8
bytes | nonce | ciphertext | tag``: what it takes to derive the KEK is beside what it wraps.
"""

from __future__ import annotations

import functools
import os
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from certrotd.errors import NeedsOperator, Transient
from certrotd.kek import envelope, sealing
from certrotd.kek.port import Context, Damaged, KekUnavailable, Unfit, WrongKek

if TYPE_CHECKING:  # which the client library does without
    pass

MIN_PASSPHRASE = 12
"""Bytes: whatever the function costs, fewer are guessed."""
_MIB = 1024 * 1024
_MOST_MEMORY = 512 * _MIB
_HEAD = struct.Struct(">BIII16s8s")
_ID = envelope.kek_id("passphrase", b"")


class Function(IntEnum):
    """By what a passphrase becomes a key."""

    SCRYPT = 1
    ARGON2ID = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """The function and its parameters.

    scrypt: log2 of N, r, p. Argon2id: KiB of memory, iterations, lanes.
    """

    function: Function
    one: int
    two: int
    three: int

    @property
    def bearable(self) -> bool:
        """Whether it can be derived, and within half a gibibyte and some seconds.

        What was written elsewhere may ask for anything.
        """
        if self.function is Function.SCRYPT:
            small = 1 <= self.one <= 24 and 1 <= self.two <= 32 and 1 <= self.three <= 8
            return small and 128 * self.two << self.one <= _MOST_MEMORY
        small = 1 <= self.two <= 16 and 1 <= self.three <= 16
        return small and 8 * self.three <= self.one <= _MOST_MEMORY // 1024


SCRYPT = Cost(Function.SCRYPT, 17, 8, 1)
"""128 MiB, as OWASP recommends."""
ARGON2ID = Cost(Function.ARGON2ID, 64 * 1024, 3, 4)
"""64 MiB: the second choice of RFC 9106 §4."""


class Revealed(Protocol):
    """Bytes that are not shown but by this."""

    def reveal(self) -> bytes: ...


class Reference(Protocol):
    """Where the passphrase is kept: one of config/secrets.py, which a client need not load."""

    def resolve(self) -> Revealed: ...


@dataclass(frozen=True)
class PassphraseKek:
    """A passphrase kept elsewhere; ``name`` says of whom it is, in messages.

    It is read for each use. What was derived from it is kept, for that takes a tenth of a second.
    """

    name: str
    passphrase: Reference
    cost: Cost = SCRYPT
    _salt: bytes = field(default_factory=lambda: os.urandom(16), repr=False)

    def wrap(self, key: bytes, context: Context) -> bytes:
        """As Kek.wrap."""
        kek = self._derived(self.cost, self._salt)
        costs = (self.cost.function, self.cost.one, self.cost.two, self.cost.three)
        head = _HEAD.pack(*costs, self._salt, _check(kek))
        return envelope.sealed(_ID, head + sealing.seal(kek, key, context), context)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.unwrap."""
        body = envelope.opened(wrapped, context).by(_ID, self._what)
        try:
            function, one, two, three, salt, check = _HEAD.unpack_from(body)
            cost = Cost(Function(function), one, two, three)
        except (struct.error, ValueError):
            raise envelope.damaged(self._what) from None
        if not cost.bearable:
            raise Damaged(
                "the wrapped key asks for more memory or time than any passphrase should take",
                hint="restore it from a backup",
            )
        kek = self._derived(cost, salt)
        if check != _check(kek):
            raise WrongKek(
                f"{self._what} is not the passphrase that wrapped the key",
                hint="give the one that did",
            )
        return sealing.unseal(kek, body[_HEAD.size :], context, self._what)

    def rewrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.rewrap: by the parameters that it has now."""
        return self.wrap(self.unwrap(wrapped, context), context)

    @property
    def _what(self) -> str:
        return f"the passphrase {self.name}"

    def _derived(self, cost: Cost, salt: bytes) -> bytes:
        try:
            given = self.passphrase.resolve().reveal()
        except (NeedsOperator, Transient) as error:
            raise KekUnavailable(error.message, hint=error.hint) from None
        if len(given) < MIN_PASSPHRASE:
            raise Unfit(
                f"{self._what} has fewer than {MIN_PASSPHRASE} bytes", hint="take a longer one"
            )
        return _derive(given, cost, salt)


@functools.lru_cache(maxsize=64)
def _derive(passphrase: bytes, cost: Cost, salt: bytes) -> bytes:
    if cost.function is Function.SCRYPT:
        scrypt = Scrypt(salt, sealing.SIZE, n=1 << cost.one, r=cost.two, p=cost.three)
        return scrypt.derive(passphrase)
    try:
        argon = Argon2id(
            salt=salt,
            length=sealing.SIZE,
            iterations=cost.two,
            lanes=cost.three,
            memory_cost=cost.one,
        )
    except UnsupportedAlgorithm:
        raise Unfit(
            "the OpenSSL of this installation has no Argon2id", hint="choose scrypt"
        ) from None
    return argon.derive(passphrase)


def _check(kek: bytes) -> bytes:
    return sealing.identified(kek)
