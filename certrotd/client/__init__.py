"""Encrypts and decrypts an application's data with a keyring that certrotd rotates.

``with Keyring.open(PATH, kek=PATH) as keyring: keyring.encrypt(data, associated_data=b"…")``.
docs/keys/client.md is the guide.
"""

from certrotd.client.errors import (
    CannotDecrypt,
    KeyExhausted,
    KeyringClosed,
    NotPermitted,
    SourceUnavailable,
)
from certrotd.client.keyring import Keyring
from certrotd.codecs.errors import CodecError, UnknownKey

__all__ = [
    "CannotDecrypt",
    "CodecError",
    "KeyExhausted",
    "Keyring",
    "KeyringClosed",
    "NotPermitted",
    "SourceUnavailable",
    "UnknownKey",
]
