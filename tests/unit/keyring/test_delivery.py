"""What consumers of a keyring are given, and the hash by which they acknowledge it."""

from datetime import UTC, datetime

import pytest

from certrotd.errors import InvalidInput
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring, empty
from certrotd.keyring.material import Algorithm, DataKey, Material
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
