"""The keys of one delivery, made ready to encrypt and decrypt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from certrotd.client.errors import CannotDecrypt, KeyExhausted
from certrotd.client.sources import Held
from certrotd.client.usage import Usage
from certrotd.codecs import selection
from certrotd.codecs.errors import CodecError, UnknownKey, Unsupported
from certrotd.codecs.port import Codec, usable
from certrotd.keyring.material import DataKey, KeySet

Cipher = Callable[[bytes, bytes, bytes], bytes]
"""Of nonce, data and associated data."""
Sealing = tuple[Cipher, bytes, Iterator[bytes], Usage]
"""How Tink's ciphertext is made: the cipher, what it begins with, fresh nonces, what counts it."""


@dataclass(frozen=True)
class Live:
    """A delivery in use; ``sealing`` and ``openers``, by what ciphertext begins with, are Tink's.

    They are the short way for the usual ciphertext: the methods go the long way for all of it.
    """

    held: Held
    hash: str
    keys: KeySet
    codec: Codec
    usage: Usage
    sealing: Sealing | None
    openers: Mapping[bytes, Cipher]

    def encrypt(self, data: bytes, associated_data: bytes) -> bytes:
        """The ciphertext under the key that encrypts; raises KeyExhausted or CodecError."""
        if not self.usage.spend(len(data)):
            name = self.held.delivery.keyring
            raise KeyExhausted(name, self.keys.active, self.usage.limit)
        return self.codec.encrypt(data, self.keys.encrypting, associated_data)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """The plaintext; raises UnknownKey or CannotDecrypt, Unsupported for data to bind."""
        self._bindable(associated_data)
        return self._opened(ciphertext, associated_data).plaintext

    def needs_reencryption(self, ciphertext: bytes) -> bool:
        """Whether another key than the one that encrypts has written it.

        Where ciphertext names no key, it is decrypted. Raises UnknownKey or CannotDecrypt.
        """
        try:
            found = selection.candidates(self.codec, ciphertext, self.keys)
        except UnknownKey:
            raise
        except CodecError:
            raise CannotDecrypt from None
        key = found[0] if len(found) == 1 else self._opened(ciphertext, b"").key
        return key.version != self.keys.active

    def _opened(self, ciphertext: bytes, associated_data: bytes) -> selection.Opened:
        try:
            return selection.decrypt(self.codec, ciphertext, self.keys, associated_data)
        except UnknownKey:
            raise
        except CodecError:
            raise CannotDecrypt from None

    def _bindable(self, associated_data: bytes) -> None:
        if associated_data and not self.codec.traits.associated_data:
            raise Unsupported("this form of ciphertext has no associated data")


def made(held: Held, codec: Codec, usage: Usage) -> Live:
    """The delivery ready for use, tried once; raises Unsupported for keys that ``codec`` lacks."""
    from certrotd.codecs.tink import Tink, prefix_and_cipher

    keys = held.delivery.key_set
    for key in keys:
        usable(codec.traits, key)
    _tried(codec, keys.encrypting)
    sealing, openers = None, dict[bytes, Cipher]()
    if isinstance(codec, Tink):
        ready = {key.version: prefix_and_cipher(key) for key in keys}
        openers = {prefix: cipher.decrypt for prefix, cipher in ready.values()}
        prefix, cipher = ready[keys.active]
        sealing = cipher.encrypt, prefix, usage.nonces, usage
    if usage.exhausted:
        sealing = None
    return Live(held, held.delivery.hash, keys, codec, usage, sealing, openers)


def authenticated(codec: Codec) -> None:
    """Raises Unsupported for a codec whose failures tell whoever sends ciphertext about the key."""
    if not codec.traits.authenticated:
        raise Unsupported(
            "this form of ciphertext proves nothing of what is decrypted",
            hint="the client library takes authenticated forms only; re-encrypt the data first",
        )


def _tried(codec: Codec, key: DataKey) -> None:
    # this message is not counted: it is one in each process for each revision
    if codec.decrypt(codec.encrypt(b"", key), key) != b"":
        raise Unsupported(f"version {key.version} does not decrypt what it encrypts")


def bad_tag() -> type[Exception]:
    """What ciphers raise for a ciphertext that is not theirs."""
    from cryptography.exceptions import InvalidTag

    return InvalidTag
