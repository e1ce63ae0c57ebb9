"""The ciphers of keys."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import aead as ciphers

from certrotd.codecs.aead import aead
from certrotd.codecs.errors import Unsupported
from certrotd.keyring.material import Algorithm
from tests.contract.codec_cases import key_of


def test_a_key_of_no_aead_cipher_is_refused() -> None:
    """A codec would have to make its own cipher of it."""
    with pytest.raises(Unsupported, match="aes-256-cbc is no AEAD"):
        aead(key_of(Algorithm.AES_256_CBC, 1))


def test_a_cipher_that_the_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """AES-GCM-SIV came with OpenSSL 3.2."""

    def missing(_key: bytes) -> None:
        raise UnsupportedAlgorithm("AES-GCM-SIV is not supported by this version of OpenSSL")

    monkeypatch.setattr(ciphers, "AESGCMSIV", missing)
    with pytest.raises(Unsupported, match="has no aes-256-gcm-siv"):
        aead(key_of(Algorithm.AES_256_GCM_SIV, 1))
