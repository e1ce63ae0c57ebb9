"""Keyrings, and what opens their backups."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyrage  # type: ignore[import-untyped]

from certrotd.config.secrets import Secret
from certrotd.escrow.age import Identities, PublicKeys
from certrotd.keyring.keyring import Keyring, Wrapped, fingerprint
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.unit.keyring.test_document import payments
from tests.unit.keyring.versions import FRESH, NOW, proof

AT = datetime(2026, 7, 1, 3, 4, 5, 678, tzinfo=UTC)
DAY = timedelta(days=1)

__all__ = [
    "AT",
    "DAY",
    "NOW",
    "activated",
    "at_revision",
    "destroyed",
    "keys",
    "payments",
    "sealed_by",
]


@functools.cache
def keys() -> tuple[PublicKeys, Identities]:
    """A recipient of age, and its identity."""
    identity = pyrage.x25519.Identity.generate()
    text = f"# created: 2026-06-01\n# public key: …\n{identity}\n".replace("…", "x")
    return PublicKeys((str(identity.to_public()),)), Identities(Secret(text.encode()))


def at_revision(keyring: Keyring, revision: int) -> Keyring:
    return Keyring(keyring.name, revision, keyring.versions, keyring.entries, keyring.seal)


def activated(keyring: Keyring, *, revision: int) -> Keyring:
    """One rotation later."""
    number = keyring.versions.next_number
    secret = Material(bytes([0xD0 + number]) * 32)
    key = DataKey(number, Algorithm.AES_256_GCM, secret, id=f"v{number}")
    keyring = keyring.added(key, keyring.versions.generate(at=NOW, why="due"))
    versions = keyring.versions.distribute(number, at=NOW, why="given")
    keyring = keyring.moved(versions.activate(number, at=NOW, why="acknowledged"))
    return at_revision(keyring, revision)


def destroyed(keyring: Keyring, number: int, *, revision: int) -> Keyring:
    """With a version that only decrypts retired, disabled and destroyed."""
    versions = keyring.versions.retire(number, at=NOW, why="census 0")
    versions = versions.disable(number, at=NOW, why="grace is over")
    versions = versions.destroy(number, proof(NOW), FRESH, at=NOW, why="asked")
    return at_revision(keyring.moved(versions), revision)


def sealed_by(keyring: Keyring, seal: Material) -> Keyring:
    """The same keys in another keyring of that name, as somebody else would make it."""
    entries = {
        number: replace(entry, fingerprint=fingerprint(entry.secret.material, seal))
        if entry.secret
        else entry
        for number, entry in keyring.entries.items()
    }
    return replace(keyring, entries=entries, seal=Wrapped(seal))
