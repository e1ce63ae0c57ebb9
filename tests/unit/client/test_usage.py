"""What is counted, and where a key ends."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.client import KeyExhausted
from certrotd.client.usage import MISUSE_RESISTANT, RANDOM_NONCES, UNLIMITED, Usage, limit
from certrotd.keyring.material import Algorithm
from tests.unit.client.sealed import AAD, Sealed

WAYS = [pytest.param(True, id="the short way"), pytest.param(False, id="the long way")]


def test_each_algorithm_has_its_limit() -> None:
    """Short random nonces repeat sooner than long ones; GCM-SIV forgives it."""
    assert limit(Algorithm.AES_256_GCM) == limit(Algorithm.CHACHA20_POLY1305) == RANDOM_NONCES
    assert limit(Algorithm.PASSPHRASE) == RANDOM_NONCES, "it may be that of AES-GCM"
    assert limit(Algorithm.AES_128_GCM_SIV) == MISUSE_RESISTANT == 2**48
    assert limit(Algorithm.FERNET) == limit(Algorithm.XSALSA20_POLY1305) == UNLIMITED


@pytest.mark.parametrize("thread", WAYS)
def test_a_key_that_is_used_up_encrypts_no_more_and_decrypts_still(
    sealed: Sealed, thread: bool
) -> None:
    """The message after the last of 2^32 is refused, and every one after it."""
    sealed.count(1, 2**32 - 3)
    with sealed.open(background=thread) as keyring:
        last = [keyring.encrypt(b"text", associated_data=AAD) for _ in range(3)][-1]
        for _ in range(3):
            with pytest.raises(KeyExhausted, match=r"version 1 of .* orders .* 4294967296") as end:
                keyring.encrypt(b"text", associated_data=AAD)
        assert "rotate" in end.value.hint
        assert keyring.decrypt(last, associated_data=AAD) == b"text"
        assert keyring._usages[1].messages == 3


@pytest.mark.parametrize("thread", WAYS)
def test_what_other_processes_have_encrypted_counts(sealed: Sealed, thread: bool) -> None:
    """As soon as the document says so; the next key goes on from nothing."""
    sealed.generate()
    with sealed.open(background=thread) as keyring:
        keyring.encrypt(b"text", associated_data=AAD)
        sealed.count(1, 2**32 - 1)
        keyring._tick()
        with pytest.raises(KeyExhausted):
            keyring.encrypt(b"text", associated_data=AAD)
        sealed.activate(2)
        keyring._tick()
        assert keyring.encrypt(b"text", associated_data=AAD)


def test_no_message_is_lost_between_threads(sealed: Sealed) -> None:
    """Without a lock: whatever they interrupt, messages and bytes are all there."""
    with sealed.open(background=True) as keyring:

        def encrypt() -> None:
            for _ in range(5000):
                keyring.encrypt(b"12345678", associated_data=AAD)

        threads = [threading.Thread(target=encrypt) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        usage = keyring._usages[1]
        assert (usage.messages, usage.bytes) == (20_000, 160_000)


def test_no_nonce_comes_twice(sealed: Sealed) -> None:
    """Each is asked of the system when it is used, none is kept."""
    with sealed.open(background=True) as keyring:
        nonces = {keyring.encrypt(b"", associated_data=AAD)[5:17] for _ in range(10_000)}
    assert len(nonces) == 10_000


def test_a_nonce_is_drawn_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process that is copied, by a fork or with its machine, would have it, too."""
    drawn: list[int] = []

    def getrandom(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    monkeypatch.setattr(os, "getrandom", getrandom)
    usage = Usage(Algorithm.AES_256_GCM, 0)
    assert drawn == []
    next(usage.nonces)
    assert drawn == [12]
    assert usage.messages == 1


@given(st.integers(0, 10), st.lists(st.booleans(), max_size=20))
def test_both_ways_of_encrypting_share_one_count(left: int, ways: list[bool]) -> None:
    """However they are mixed, no more are encrypted than may be."""
    usage = Usage(Algorithm.AES_256_GCM, RANDOM_NONCES - left)
    done = 0
    for short in ways:
        done += next(usage.nonces, None) is not None if short else usage.spend(1)
        assert usage.messages == done <= left
    assert usage.exhausted == (done == left)


def test_more_than_a_key_may_encrypt_is_none(tmp_path: Path) -> None:
    """A count that went over the limit elsewhere leaves nothing."""
    usage = Usage(Algorithm.AES_256_GCM, RANDOM_NONCES + 5)
    assert next(usage.nonces, None) is None
    assert not usage.spend(1)
    assert usage.messages == 0
