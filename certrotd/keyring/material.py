"""Data keys as values: secret material, its algorithm, one version of a key, the set of them."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, NoReturn, SupportsIndex, TypeVar

from certrotd.errors import InvalidInput

MAX_ID = 128
MAX_PASSPHRASE = 1024
T = TypeVar("T")


class Material:
    """The secret bytes of a key: compared in constant time, and out of reprs, pickles and logs."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = bytes(secret)

    def reveal(self) -> bytes:
        """The bytes: for the call that needs them, not for a variable that lives on."""
        return self._secret

    def __len__(self) -> int:
        return len(self._secret)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Material):
            return NotImplemented
        return hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash((Material, self._secret))

    def __repr__(self) -> str:
        return "<key material>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("key material is neither pickled nor copied")


class Algorithm(StrEnum):
    """What a key is for: a key of one algorithm is never used with another."""

    AES_128_GCM = "aes-128-gcm"
    AES_192_GCM = "aes-192-gcm"
    AES_256_GCM = "aes-256-gcm"
    AES_128_GCM_SIV = "aes-128-gcm-siv"
    AES_256_GCM_SIV = "aes-256-gcm-siv"
    CHACHA20_POLY1305 = "chacha20-poly1305"
    XSALSA20_POLY1305 = "xsalsa20-poly1305"
    FERNET = "fernet"
    AES_128_CBC = "aes-128-cbc"
    AES_192_CBC = "aes-192-cbc"
    AES_256_CBC = "aes-256-cbc"
    AGE_X25519 = "age-x25519"
    PASSPHRASE = "passphrase"  # noqa: S105  # text that an application derives its key from

    @property
    def key_bytes(self) -> int:
        """The length of its keys in bytes; of a passphrase, that of a new one."""
        bits = self.value.split("-")[1] if self.value.startswith("aes-") else "256"
        return int(bits) // 8

    @property
    def lengths(self) -> range:
        """How many bytes its keys may have."""
        if self is Algorithm.PASSPHRASE:
            return range(1, MAX_PASSPHRASE + 1)
        return range(self.key_bytes, self.key_bytes + 1)

    @property
    def takes(self) -> str:
        """The same in words."""
        each = self.lengths
        return str(each[0]) if len(each) == 1 else f"from {each[0]} to {each[-1]}"


@dataclass(frozen=True)
class DataKey:
    """One version of a data key.

    ``version`` counts from 1 within a keyring. ``id`` is what ciphertext names the key by, where
    that is not the version: Tink's key id, or the slot of an application that has two. ``iv`` is
    the fixed initialization vector of a key in symmetric-encryption. Raises InvalidInput.
    """

    version: int
    algorithm: Algorithm
    material: Material
    id: str = ""
    iv: bytes = field(default=b"", repr=False)
    _made: dict[Callable[[DataKey], Any], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.version < 1:
            raise InvalidInput(f"key version {self.version} is below 1")
        if len(self.material) not in self.algorithm.lengths:
            raise InvalidInput(
                f"key version {self.version} has {len(self.material)} bytes of material: "
                f"{self.algorithm} takes {self.algorithm.takes}"
            )
        if len(self.id) > MAX_ID or not self.id.isprintable():
            raise InvalidInput(
                f"the id of key version {self.version} is over {MAX_ID} characters or unprintable"
            )

    def made(self, make: Callable[[DataKey], T]) -> T:
        """What ``make`` makes of this key (a cipher, a derived key), made once and kept with it."""
        try:
            found: T = self._made[make]
        except KeyError:
            found = self._made[make] = make(self)
        return found


@dataclass(frozen=True)
class KeySet:
    """The keys that may decrypt, by version, and the version of the one that encrypts.

    ``held`` is the version of the key that the application has, which is another while it is cut
    over: of what neither names nor proves its key.
    """

    keys: Mapping[int, DataKey]
    active: int
    held: int

    @classmethod
    def of(cls, keys: Iterable[DataKey], *, active: int, held: int | None = None) -> KeySet:
        """A set of ``keys``; raises InvalidInput for a version that is there twice or missing.

        The application has the active key unless ``held`` is told.
        """
        by_version: dict[int, DataKey] = {}
        for key in keys:
            if key.version in by_version:
                raise InvalidInput(f"key version {key.version} is there twice")
            by_version[key.version] = key
        if active not in by_version:
            raise InvalidInput(f"key version {active} is to encrypt, and is not in the set")
        if held is not None and held not in by_version:
            raise InvalidInput(f"key version {held} is the application's, and is not in the set")
        return cls(MappingProxyType(by_version), active, active if held is None else held)

    @property
    def encrypting(self) -> DataKey:
        """The key that encrypts."""
        return self.keys[self.active]

    def __iter__(self) -> Iterator[DataKey]:
        """Every key: the one that encrypts, then the others from the newest to the oldest."""
        return iter(self._ordered)

    @cached_property
    def _ordered(self) -> tuple[DataKey, ...]:
        others = (self.keys[v] for v in sorted(self.keys, reverse=True) if v != self.active)
        return self.encrypting, *others
