"""What consumers of a keyring are given: the keys that may decrypt, and which of them encrypts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from certrotd.errors import InvalidInput
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, DataKey, KeySet
from certrotd.keyring.states import State

_DOMAIN = b"certrotd delivery\0"
COST = 2**14
"""Of scrypt: some 50 ms and 16 MiB for each passphrase."""


@dataclass(frozen=True)
class Delivered:
    """One key that consumers are given, since when it exists, and what it may be used for."""

    key: DataKey
    state: State
    created: datetime


@dataclass(frozen=True)
class Delivery:
    """All keys of a keyring that consumers are given, oldest first.

    ``active`` is the version that encrypts; raises InvalidInput where it is not among them.
    """

    keyring: str
    keys: Sequence[Delivered]
    active: int

    def __post_init__(self) -> None:
        KeySet.of([each.key for each in self.keys], active=self.active)

    @classmethod
    def of(cls, keyring: Keyring) -> Delivery:
        """What the consumers of ``keyring`` are to have; raises InvalidInput if none is active."""
        active = keyring.versions.active
        if active is None:
            raise InvalidInput(f"no version of the keyring {keyring.name} is active")
        given = [each for each in keyring.versions.all if each.state.delivered]
        keys = [
            Delivered(keyring.key(each.number), each.state, each.transitions[0].at)
            for each in given
        ]
        return cls(keyring.name, keys, active.number)

    @property
    def key_set(self) -> KeySet:
        """The keys without their states: what a codec works with."""
        return KeySet.of([each.key for each in self.keys], active=self.active)

    @property
    def encrypting(self) -> Delivered:
        return next(each for each in self.keys if each.key.version == self.active)

    @property
    def only_encrypting(self) -> Delivery:
        """What an application is given that holds one key."""
        return Delivery(self.keyring, [self.encrypting], self.active)

    @property
    def secondary(self) -> Delivered | None:
        """The key that is to encrypt next, and decrypts already."""
        return next((each for each in self.keys if each.state is State.SECONDARY), None)

    @property
    def by_version(self) -> Mapping[int, Delivered]:
        return {each.key.version: each for each in self.keys}

    @property
    def hash(self) -> str:
        """As delivery_hash()."""
        return delivery_hash(self.keyring, self.key_set)


def delivery_hash(keyring: str, keys: KeySet) -> str:
    """What a consumer acknowledges: SHA-256 in hex over every key it has, and which encrypts.

    It shows nothing of a key, and says nothing of states: who has the same keys and encrypts with
    the same one has the same delivery. Passphrases are stretched by scrypt (RFC 7914), so that who
    sees it tries few of them.
    """
    lines = [
        f"{each.version} {each.algorithm} {each.id} {_named(keyring, each)}"
        for each in sorted(keys.keys.values(), key=lambda each: each.version)
    ]
    text = "\n".join([keyring, str(keys.active), *lines])
    return hashlib.sha256(_DOMAIN + text.encode()).hexdigest()


def _named(keyring: str, key: DataKey) -> str:
    """What tells a key from others, in hex."""
    secret = key.material.reveal()
    if key.algorithm is not Algorithm.PASSPHRASE:
        return hashlib.sha256(secret).hexdigest()[:16]
    salt = f"{keyring} {key.version} {key.id}".encode()
    return hashlib.scrypt(secret, salt=salt, n=COST, r=8, p=1, dklen=8).hex()
