"""A small ciphertext that only the very same key opens, with the same id and algorithm.

It is encrypted by AES-256-GCM under a key derived from the data key, not under the data key: a
version that was retired never encrypts again, and a canary counts towards no limit of messages.
"""

from __future__ import annotations

import hashlib
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from certrotd.keyring.material import DataKey

_PLAINTEXT = b"certrotd canary 1"
_NONCE = 12


def canary(keyring: str, key: DataKey) -> bytes:
    """A canary of ``key``: nonce, ciphertext and tag, 45 bytes."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(key).encrypt(nonce, _PLAINTEXT, _bound(keyring, key))


def opens(keyring: str, key: DataKey, made: bytes) -> bool:
    """Whether ``key`` decrypts a canary that was made with it."""
    try:
        plain = _cipher(key).decrypt(made[:_NONCE], made[_NONCE:], _bound(keyring, key))
    except (InvalidTag, ValueError):  # the latter for a nonce too short
        return False
    return plain == _PLAINTEXT


def _cipher(key: DataKey) -> AESGCM:
    derive = HKDF(hashes.SHA256(), length=32, salt=None, info=_PLAINTEXT)
    return AESGCM(derive.derive(key.material.reveal()))


def _bound(keyring: str, key: DataKey) -> bytes:
    iv = hashlib.sha256(key.iv).hexdigest()
    return json.dumps([keyring, key.version, key.algorithm.value, key.id, iv]).encode()
