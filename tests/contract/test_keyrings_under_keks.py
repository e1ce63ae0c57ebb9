"""A whole keyring under each kind of KEK: replaced, re-wrapped, and opened while one is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certrotd.kek import file
from certrotd.kek.port import Kek
from certrotd.keyring.document import KeksUnavailable, NoKek, opened, rewrapped, sealed
from certrotd.keyring.keyring import Keyring
from tests.contract.kek_rigs import BACKENDS, Around, Part, Rig
from tests.unit.keyring.test_document import SEAL, SECRETS, payments

SERVICES = ("aws-kms", "vault", "pkcs11", "azure-keyvault", "gcp-kms")
Keks = dict[str, Kek]


@pytest.fixture(params=SERVICES)
def rig(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: Part,
) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield BACKENDS[request.param][0](Around(tmp_path / "rig", monkeypatch, stack, part))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()


@pytest.fixture
def local(tmp_path: Path) -> Kek:
    """A KEK that is always there."""
    return file.make(tmp_path / "local")


def read(data: bytes, keks: Keks) -> Keyring:
    return opened(data, keks, name="payments", place="/p").keyring


def holds_its_keys(keyring: Keyring) -> None:
    """The keys that payments() has."""
    assert [keyring.key(n).material.reveal() for n in (1, 2)] == SECRETS


def test_a_keyring_is_kept_and_opened(rig: Rig) -> None:
    """Neither a key nor the seal is to be seen in it."""
    data, _ = sealed(payments(), {"kms": rig.kek})
    for secret in (*SECRETS, SEAL):
        assert secret not in data
        assert secret.hex().encode() not in data
    holds_its_keys(read(data, {"kms": rig.kek}))


def test_a_kek_is_replaced_by_way_of_two(rig: Rig, local: Kek) -> None:
    """As the page for operators says; at no moment is there a keyring that nobody opens."""
    first, keyring = sealed(payments(), {"old": local})
    both, keyring = sealed(keyring, {"old": local, "new": rig.kek})
    for keks in ({"old": local}, {"new": rig.kek}):
        holds_its_keys(read(both, keks))
    after, _ = sealed(keyring, {"new": rig.kek})
    holds_its_keys(read(after, {"new": rig.kek}))
    with pytest.raises(NoKek):
        read(after, {"old": local})
    holds_its_keys(read(first, {"old": local}))


def test_another_kek_of_the_same_name_opens_nothing(rig: Rig) -> None:
    """The entry was changed to another key without a new name."""
    data, _ = sealed(payments(), {"kms": rig.kek})
    with pytest.raises(NoKek):
        read(data, {"kms": rig.other})


def test_everything_is_rewrapped_by_the_present_version(rig: Rig) -> None:
    """The data keys stay as they are."""
    keks: Keks = {"kms": rig.kek}
    data, keyring = sealed(payments(), keks)
    rig.rotate()
    holds_its_keys(read(data, keks))
    anew, after = sealed(rewrapped(keyring, "kms", rig.kek), keks)
    holds_its_keys(read(anew, keks))
    assert after.seal.by["kms"] != keyring.seal.by["kms"]


def test_one_of_two_keks_may_be_away(rig: Rig, local: Kek) -> None:
    """It is asked once, and the keyring is opened by the other."""
    keks: Keks = {"kms": rig.kek, "local": local}
    data, _ = sealed(payments(), keks)
    rig.troubles["down"]()
    found = opened(data, keks, name="payments", place="/p")
    holds_its_keys(found.keyring)
    assert len(found.troubles) == 1
    with pytest.raises(KeksUnavailable):
        read(data, {"kms": rig.kek})
