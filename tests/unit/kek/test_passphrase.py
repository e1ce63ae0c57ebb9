"""The KEK of a passphrase: its cost is written beside what it wraps, and is bounded."""

from __future__ import annotations

import struct

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from certrotd.config.secrets import EnvironmentSecret
from certrotd.kek import envelope, passphrase
from certrotd.kek.passphrase import ARGON2ID, SCRYPT, Cost, Function, PassphraseKek
from certrotd.kek.port import Damaged, KekUnavailable, Unfit, WrongKek

CHEAP = Cost(Function.SCRYPT, 4, 8, 1)
OTHER = Cost(Function.ARGON2ID, 64, 1, 1)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> EnvironmentSecret:
    monkeypatch.setenv("PASSPHRASE", "correct horse battery staple")
    return EnvironmentSecret(env="PASSPHRASE")


def test_the_usual_costs_are_bearable_and_derive(secret: EnvironmentSecret) -> None:
    """A wrapped key outlives the program's defaults."""
    for cost in (SCRYPT, ARGON2ID):
        assert cost.bearable
        kek = PassphraseKek("main", secret, cost)
        assert kek.unwrap(kek.wrap(b"key", {}), {}) == b"key"


def test_a_key_is_unwrapped_by_the_cost_it_was_wrapped_with(secret: EnvironmentSecret) -> None:
    """Also by another process, of another default; rewrapping takes the present one."""
    old, new = PassphraseKek("main", secret, CHEAP), PassphraseKek("main", secret, OTHER)
    wrapped = old.wrap(b"key", {})
    assert new.unwrap(wrapped, {}) == b"key"
    anew = new.rewrap(wrapped, {})
    assert old.unwrap(anew, {}) == b"key"
    assert anew[22] == Function.ARGON2ID


@pytest.mark.parametrize(
    "cost",
    [
        Cost(Function.SCRYPT, 20, 8, 1),
        Cost(Function.SCRYPT, 2**32 - 1, 8, 1),
        Cost(Function.SCRYPT, 0, 8, 1),
        Cost(Function.SCRYPT, 4, 0, 1),
        Cost(Function.SCRYPT, 4, 8, 2**31),
        Cost(Function.ARGON2ID, 2**22, 1, 1),
        Cost(Function.ARGON2ID, 7, 1, 1),
        Cost(Function.ARGON2ID, 64, 2**20, 1),
        Cost(Function.ARGON2ID, 64, 1, 0),
    ],
)
def test_a_wrapped_key_that_asks_for_too_much_is_refused(
    secret: EnvironmentSecret, cost: Cost
) -> None:
    """Whoever can write the document does not stop the daemon with it."""
    assert not cost.bearable
    body = struct.pack(">BIII", cost.function, cost.one, cost.two, cost.three) + bytes(60)
    wrapped = envelope.sealed(envelope.kek_id("passphrase", b""), body, {})
    with pytest.raises(Damaged, match="more memory or time"):
        PassphraseKek("main", secret, CHEAP).unwrap(wrapped, {})


@pytest.mark.parametrize("body", [b"", b"\x01" * 20, b"\x09" + bytes(60)])
def test_a_body_that_is_none_is_damaged(secret: EnvironmentSecret, body: bytes) -> None:
    """Its envelope is whole all the same."""
    wrapped = envelope.sealed(envelope.kek_id("passphrase", b""), body, {})
    with pytest.raises(Damaged, match="the passphrase main does not authenticate it"):
        PassphraseKek("main", secret, CHEAP).unwrap(wrapped, {})


def test_a_short_passphrase_is_refused(
    secret: EnvironmentSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is none; neither is shown."""
    monkeypatch.setenv("PASSPHRASE", "hunter2")
    with pytest.raises(Unfit, match="fewer than 12 bytes") as refused:
        PassphraseKek("main", secret, CHEAP).wrap(b"key", {})
    assert "hunter2" not in str(refused.value)
    monkeypatch.delenv("PASSPHRASE")
    with pytest.raises(KekUnavailable, match="PASSPHRASE is not set"):
        PassphraseKek("main", secret, CHEAP).wrap(b"key", {})


def test_a_changed_passphrase_is_noticed_at_the_next_use(
    secret: EnvironmentSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is derived is kept, but for the passphrase that it was derived from."""
    kek = PassphraseKek("main", secret, CHEAP)
    wrapped = kek.wrap(b"key", {})
    monkeypatch.setenv("PASSPHRASE", "another horse battery staple")
    anew = kek.wrap(b"key", {})
    monkeypatch.setenv("PASSPHRASE", "correct horse battery staple")
    assert kek.unwrap(wrapped, {}) == b"key"
    with pytest.raises(WrongKek, match="is not the passphrase that wrapped"):
        kek.unwrap(anew, {})


def test_an_openssl_without_argon2id_is_reported(
    secret: EnvironmentSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distributions build without it."""

    def missing(**given: object) -> None:
        raise UnsupportedAlgorithm("argon2id")

    monkeypatch.setattr(passphrase, "Argon2id", missing)
    with pytest.raises(Unfit, match="has no Argon2id"):
        PassphraseKek("main", secret, OTHER).wrap(b"key", {})
