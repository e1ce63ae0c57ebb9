"""What consumers of a keyring are given, and the hash by which they acknowledge it."""

import hashlib
from datetime import UTC, datetime

import pytest

from certrotd.errors import InvalidInput
from certrotd.keyring.delivery import Delivery, delivery_hash
from certrotd.keyring.keyring import Entry, Keyring, empty, fingerprint
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from certrotd.keyring.states import State

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def staged() -> Keyring:
    """Version 1 is active, version 2 secondary."""
    keyring = empty("orders", Material(bytes(32)))
    adopted = keyring.versions.adopt(active=True, at=NOW, why="it was there")
    keyring = keyring.added(_key(1), adopted)
    keyring = keyring.added(_key(2), keyring.versions.generate(at=NOW, why="due"))
    return keyring.moved(keyring.versions.distribute(2, at=NOW, why="due"))


def _key(version: int) -> DataKey:
    return DataKey(version, Algorithm.AES_256_GCM, Material(bytes([version]) * 32), str(version))


def test_a_delivery_has_every_key_that_consumers_may_decrypt_with() -> None:
    """And says which encrypts now, and which will."""
    delivery = Delivery.of(staged())
    assert [each.key.version for each in delivery.keys] == [1, 2]
    assert (delivery.encrypting.key.version, delivery.active) == (1, 1)
    assert delivery.secondary is not None
    assert delivery.secondary.state is State.SECONDARY
    assert delivery.by_version[2] == delivery.secondary


def test_a_withdrawn_key_is_not_delivered() -> None:
    """The negative control: what is pre-active is nobody's yet."""
    keyring = staged()
    before = Delivery.of(keyring)
    after = Delivery.of(keyring.moved(keyring.versions.rollback(at=NOW, why="late")))
    assert [each.key.version for each in after.keys] == [1]
    assert after.secondary is None
    assert after.hash != before.hash


def test_activation_changes_what_is_acknowledged() -> None:
    """A consumer that still encrypts with the old key has not acknowledged the activation."""
    keyring = staged()
    active = keyring.moved(keyring.versions.activate(2, at=NOW, why="all have it"))
    assert Delivery.of(active).hash != Delivery.of(keyring).hash
    assert Delivery.of(active).hash == Delivery.of(active).hash


def test_a_keyring_without_an_active_key_is_not_delivered() -> None:
    """Nobody could encrypt with it."""
    with pytest.raises(InvalidInput, match="no version of the keyring orders is active"):
        Delivery.of(empty("orders", Material(bytes(32))))


def test_a_passphrase_cannot_be_tried_quickly_by_who_sees_a_delivery() -> None:
    """It is stretched; keys that nobody can guess are not."""
    phrase = Material(b"hunter2")
    weak = KeySet.of([DataKey(1, Algorithm.PASSPHRASE, phrase, "v1")], active=1)
    quick = hashlib.sha256(phrase.reveal()).hexdigest()[:16]
    slow = hashlib.scrypt(phrase.reveal(), salt=b"orders 1 v1", n=2**14, r=8, p=1, dklen=8).hex()

    def told(name: str) -> str:
        text = f"orders\n1\n1 passphrase v1 {name}"
        return hashlib.sha256(b"certrotd delivery\0" + text.encode()).hexdigest()

    assert delivery_hash("orders", weak) == told(slow) != told(quick)


def test_a_fingerprint_is_of_one_keyring_and_tells_nobody_else_anything() -> None:
    """It is in reports, backups and the audit log: a weak passphrase cannot be tried on it."""
    phrase, seals = Material(b"hunter2"), (Material(bytes(32)), Material(b"\1" * 32))
    one, other = (fingerprint(phrase, seal) for seal in seals)
    assert one != other
    assert hashlib.sha256(phrase.reveal()).hexdigest()[:16] not in (one, other)
    assert Entry.of(DataKey(1, Algorithm.PASSPHRASE, phrase), seals[0]).fingerprint == one
