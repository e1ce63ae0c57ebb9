"""Encrypting and decrypting, and what is said of ciphertext that does not open."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certrotd.client import CannotDecrypt, CodecError, Keyring, KeyringClosed, UnknownKey
from certrotd.client import keyring as client_keyring
from certrotd.codecs.errors import TooLarge, Unsupported
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.port import MAX_BYTES, KeyIds, Traits
from certrotd.codecs.tink import OVERHEAD, Tink
from certrotd.keyring.material import Algorithm
from tests.contract.test_codec_peers import tink_primitive
from tests.unit.client.sealed import AAD, Sealed, data_key

WAYS = [pytest.param(True, id="the short way"), pytest.param(False, id="the long way")]
"""With a thread that looks for newer keys there is a short way; both must do the same."""


@pytest.mark.parametrize("thread", WAYS)
@pytest.mark.parametrize("size", [0, 1, 64, 70_000])
def test_what_was_encrypted_is_decrypted(sealed: Sealed, thread: bool, size: int) -> None:
    """Whatever its size, with its associated data and without any."""
    with sealed.open(background=thread) as keyring:
        for bound in (AAD, b""):
            ciphertext = keyring.encrypt(b"x" * size, associated_data=bound)
            assert ciphertext != keyring.encrypt(b"x" * size, associated_data=bound)
            assert keyring.decrypt(ciphertext, associated_data=bound) == b"x" * size
            assert not keyring.needs_reencryption(ciphertext)


@pytest.mark.parametrize("thread", WAYS)
def test_ciphertext_is_what_tink_reads_and_writes(sealed: Sealed, thread: bool) -> None:
    """So an application in another language shares the data."""
    sealed.generate()
    tink = tink_primitive(data_key(2), data_key(1))
    with sealed.open(background=thread) as keyring:
        ours = keyring.encrypt(b"text", associated_data=AAD)
        assert ours[:5] == b"\x01\x01\x02\x03\x04"
        assert tink.decrypt(ours, AAD) == b"text"
        theirs = tink.encrypt(b"more", AAD)
        assert keyring.decrypt(theirs, associated_data=AAD) == b"more"
        assert keyring.needs_reencryption(theirs)


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
@pytest.mark.parametrize("thread", WAYS)
def test_ciphertext_is_taken_as_drivers_of_databases_give_it(
    sealed: Sealed, thread: bool, kind: Callable[[bytes], Any]
) -> None:
    """Some give views of memory."""
    with sealed.open(background=thread) as keyring:
        ciphertext = keyring.encrypt(kind(b"text"), associated_data=AAD)
        assert keyring.decrypt(kind(ciphertext), associated_data=AAD) == b"text"
        assert not keyring.needs_reencryption(kind(ciphertext))


@pytest.mark.parametrize("thread", WAYS)
def test_what_is_no_bytes_is_refused_as_python_refuses_it(sealed: Sealed, thread: bool) -> None:
    """A number is not taken for so many zeros."""
    wrong: Any
    with sealed.open(background=thread) as keyring:
        for wrong in ("text", 10**12, None):
            with pytest.raises(TypeError):
                keyring.encrypt(wrong, associated_data=AAD)
            with pytest.raises(TypeError):
                keyring.decrypt(wrong, associated_data=AAD)
        with pytest.raises(TypeError):
            keyring.decrypt(keyring.encrypt(b"", associated_data=AAD), associated_data="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("thread", WAYS)
def test_each_altered_bit_is_refused(sealed: Sealed, thread: bool) -> None:
    """With one error; a key id that nobody has, with the other."""
    with sealed.open(background=thread) as keyring:
        good = keyring.encrypt(b"text", associated_data=AAD)
        for position in range(len(good) * 8):
            bad = bytearray(good)
            bad[position // 8] ^= 1 << position % 8
            named = 8 <= position < 40
            with pytest.raises(UnknownKey if named else CannotDecrypt):
                keyring.decrypt(bytes(bad), associated_data=AAD)
        assert keyring.decrypt(good, associated_data=AAD) == b"text"


@pytest.mark.parametrize("thread", WAYS)
def test_every_refusal_says_the_same(sealed: Sealed, thread: bool) -> None:
    """Who sends ciphertext learns nothing of why it does not open."""
    with sealed.open(background=thread) as keyring:
        good = keyring.encrypt(b"text", associated_data=AAD)
        other = keyring.encrypt(b"text", associated_data=b"orders,note,8")
        hostile = [(good, b""), (good, AAD + b"x"), (other, AAD), (good + b"x", AAD), (b"", AAD)]
        hostile += [(good[:length], AAD) for length in range(len(good))]
        hostile += [(bytes([mark]) + good[1:], AAD) for mark in (0, 2, 255)]
        said = set()
        for ciphertext, bound in hostile:
            with pytest.raises(CannotDecrypt) as refused:
                keyring.decrypt(ciphertext, associated_data=bound)
            error = refused.value
            assert error.__cause__ is None
            assert error.__suppress_context__
            said.add((type(error), str(error), error.hint))
        assert len(said) == 1


def test_a_refusal_takes_no_longer_for_one_byte_than_for_another(sealed: Sealed) -> None:
    """The tag is compared as a whole: a rough measure of what OpenSSL promises."""
    with sealed.open(background=True) as keyring:
        good = keyring.encrypt(b"x" * 64, associated_data=AAD)
        early, late = bytearray(good), bytearray(good)
        early[-16] ^= 1
        late[-1] ^= 1

        def spent(ciphertext: bytes) -> float:
            began = time.thread_time()
            for _ in range(200):
                with pytest.raises(CannotDecrypt):
                    keyring.decrypt(ciphertext, associated_data=AAD)
            return time.thread_time() - began

        pairs = [(spent(bytes(early)), spent(bytes(late))) for _ in range(10)]
        least = min(one for one, _ in pairs), min(other for _, other in pairs)
        assert 0.5 < least[0] / least[1] < 2


@given(data=st.binary(max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_refused_with_one_of_two_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Nothing else comes out of ciphertext that anybody may have written."""
    with Sealed(tmp_path_factory.mktemp("any")).open() as keyring:
        for act in (
            lambda: keyring.decrypt(data, associated_data=AAD),
            lambda: keyring.needs_reencryption(data),
        ):
            with pytest.raises((CannotDecrypt, UnknownKey)) as refused:
                act()
            assert isinstance(refused.value, CodecError)


@pytest.mark.parametrize("thread", WAYS)
def test_a_destroyed_key_is_as_unknown_as_one_that_never_was(sealed: Sealed, thread: bool) -> None:
    """Its number is told, for an operator who looks for what is missing."""
    with sealed.open() as keyring:
        ciphertext = keyring.encrypt(b"text", associated_data=AAD)
    sealed.generate()
    sealed.activate(2)
    sealed.destroy(1)
    with sealed.open(background=thread) as keyring:
        for act in (
            lambda: keyring.decrypt(ciphertext, associated_data=AAD),
            lambda: keyring.needs_reencryption(ciphertext),
        ):
            with pytest.raises(UnknownKey, match=str(0x01020304)) as refused:
                act()
            assert refused.value.key_id == str(0x01020304)


def test_data_that_no_codec_reads_again_is_not_encrypted(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What certrotd cannot re-encrypt would stay under its key for ever."""
    assert client_keyring._MOST == MAX_BYTES - OVERHEAD
    monkeypatch.setattr(client_keyring, "_MOST", 10)
    monkeypatch.setattr("certrotd.codecs.tink.MAX_BYTES", 10 + 33)
    with sealed.open(background=True) as keyring:
        assert keyring.encrypt(b"x" * 10, associated_data=AAD)
        with pytest.raises(TooLarge):
            keyring.encrypt(b"x" * 11, associated_data=AAD)


@pytest.mark.parametrize("thread", WAYS)
def test_a_closed_keyring_does_nothing_more(sealed: Sealed, thread: bool) -> None:
    """And says so; closing it again is fine."""
    keyring = sealed.open(background=thread)
    ciphertext = keyring.encrypt(b"text", associated_data=AAD)
    keyring.close()
    keyring.close()
    for act in (
        lambda: keyring.encrypt(b"text", associated_data=AAD),
        lambda: keyring.decrypt(ciphertext, associated_data=AAD),
        lambda: keyring.needs_reencryption(ciphertext),
    ):
        with pytest.raises(KeyringClosed, match="the keyring orders is closed"):
            act()
    assert keyring._tick() is False
    assert repr(keyring) == "<Keyring orders, revision 0>"


def test_a_keyring_is_neither_pickled_nor_copied(sealed: Sealed) -> None:
    """Its keys would go along."""
    with sealed.open() as keyring:
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="open it where it is used"):
                act(keyring)


def test_no_key_is_in_a_representation(sealed: Sealed) -> None:
    """Whatever an application logs of it."""
    with sealed.open() as keyring:
        live = keyring._ready()
        shown = "".join(map(repr, (keyring, live, live.held, live.keys, live.usage)))
    secret = data_key(1).material.reveal()
    for form in (secret.hex(), repr(secret), "oaGh"):
        assert form not in shown


ASYNC = [pytest.param(True, 10), pytest.param(True, 70_000), pytest.param(False, 10)]


@pytest.mark.parametrize(("thread", "size"), ASYNC)
def test_an_event_loop_encrypts_and_decrypts(sealed: Sealed, thread: bool, size: int) -> None:
    """At once what is short, in a thread what may take time."""

    async def used() -> bytes:
        keyring = await Keyring.aopen(
            sealed.path, kek=sealed.kek.path, clock=sealed.clock, background=thread
        )
        ciphertext = await keyring.aencrypt(b"x" * size, associated_data=AAD)
        view: Any = bytearray(ciphertext)
        assert await keyring.adecrypt(view, associated_data=AAD) == b"x" * size
        plaintext = await keyring.adecrypt(ciphertext, associated_data=AAD)
        await keyring.aclose()
        return plaintext

    assert asyncio.run(used()) == b"x" * size


class TestOtherForms:
    """The codecs of certrotd, under the same interface."""

    def test_fernet_tokens_are_written_and_read(self, tmp_path: Path) -> None:
        """They name no key: which one it was is found by decrypting."""
        sealed = Sealed(tmp_path, Algorithm.FERNET)
        with sealed.open(codec=FernetTokens()) as keyring:
            token = keyring.encrypt(b"text", associated_data=b"")
            assert token.startswith(b"gAAAA")
            sealed.generate()
            sealed.activate(2)
            sealed.clock.sleep(5)
            assert keyring.decrypt(token, associated_data=b"") == b"text"
            assert keyring.needs_reencryption(token)
            assert not keyring.needs_reencryption(keyring.encrypt(b"x", associated_data=b""))
            damaged = token[:-2] + b"A="
            with pytest.raises(CannotDecrypt):
                keyring.decrypt(damaged, associated_data=b"")
            with pytest.raises(CannotDecrypt):
                keyring.needs_reencryption(b"x" + token)

    def test_data_that_nothing_would_bind_is_refused(self, tmp_path: Path) -> None:
        """Else an application believed its rows to be tied to their places."""
        with Sealed(tmp_path, Algorithm.FERNET).open(codec=FernetTokens()) as keyring:
            for act in (keyring.encrypt, keyring.decrypt):
                with pytest.raises(Unsupported, match="no associated data"):
                    act(b"text", associated_data=AAD)

    def test_a_codec_whose_keys_are_of_another_kind_is_refused(self, sealed: Sealed) -> None:
        """When the keyring is opened, not when the first row is written."""
        with pytest.raises(Unsupported, match="no aes-256-gcm keys"):
            sealed.open(codec=FernetTokens())

    def test_a_codec_that_proves_nothing_is_refused(self, sealed: Sealed) -> None:
        """Its failures would tell an attacker of the plaintext."""
        with pytest.raises(Unsupported, match="authenticated forms only"):
            sealed.open(codec=Tink(UNPROVEN))

    def test_a_codec_that_does_not_give_back_what_it_took_is_refused(self, sealed: Sealed) -> None:
        """A broken library is noticed before it has written anything."""
        with pytest.raises(Unsupported, match="does not decrypt what it encrypts"):
            sealed.open(codec=Broken())


UNPROVEN = Traits(KeyIds.STRICT, Tink().traits.algorithms, authenticated=False)


class Broken(Tink):
    """Gives back something else."""

    def decrypt(self, ciphertext: bytes, key: Any, associated_data: bytes = b"") -> bytes:
        return b"else"
