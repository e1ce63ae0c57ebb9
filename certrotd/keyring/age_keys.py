"""Keys of age as text: an identity is the secret, a recipient what others encrypt to.

age-encryption.org/v1, X25519: Bech32 of 32 bytes each, the scalar and the point that it gives.
"""

from __future__ import annotations

from certrotd import bech32
from certrotd.keyring.material import Algorithm, DataKey, Material

_IDENTITY, _RECIPIENT = "age-secret-key-", "age"


def identity_of(key: DataKey) -> str:
    """``AGE-SECRET-KEY-1…``: a secret."""
    return bech32.encoded(_IDENTITY, key.material.reveal()).upper()


def recipient_of(key: DataKey) -> str:
    """``age1…``: no secret."""
    return key.made(_recipient)


def material_of(identity: str) -> Material:
    """The key of ``AGE-SECRET-KEY-1…``; raises ValueError, which shows nothing of it."""
    secret = bech32.decoded(_IDENTITY, identity)
    if len(secret) != Algorithm.AGE_X25519.key_bytes:
        raise ValueError("its length is wrong")
    return Material(secret)


def _recipient(key: DataKey) -> str:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.from_private_bytes(key.material.reveal())
    return bech32.encoded(_RECIPIENT, private.public_key().public_bytes_raw())
