"""Values of libsodium's secretbox with the slot of their key in front: ``v2:<base64>``.

The base64 is of ``nonce, 24 | tag, 16 | ciphertext`` (XSalsa20-Poly1305). Applications with two
slots name them v1 and v2: there, a key's id is its slot, and its version goes on counting.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.codecs.aead import TAG
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import unbase64
from certrotd.extras import how_to_install
from certrotd.keyring.material import Algorithm, DataKey

if TYPE_CHECKING:
    from nacl.secret import SecretBox

_ID = re.compile(r"v[1-9][0-9]{0,9}\Z")
_FORM = re.compile(rb"(v[1-9][0-9]{0,9}):([A-Za-z0-9+/=]+)\Z")
_NONCE = 24
_TRAITS = Traits(KeyIds.STRICT, frozenset({Algorithm.XSALSA20_POLY1305}), beginning=b"v")


@dataclass(frozen=True)
class PrefixedSecretbox:
    """Secretbox values that name their key's slot."""

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> str:
        """The slot: ``v`` and a number."""
        return _parsed(ciphertext)[0]

    def key_id_for(self, key: DataKey) -> str:
        """Its id, or ``v`` and its version."""
        return _id(key.id or f"v{key.version}")

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext."""
        usable(_TRAITS, key, associated_data)
        box = key.made(_box)
        from nacl.exceptions import CryptoError

        key_id, sealed = _parsed(ciphertext)
        if key_id != self.key_id_for(key):
            raise WrongKey
        try:
            found: bytes = box.decrypt(sealed)
        except CryptoError:
            raise WrongKey from None
        return found

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The value, under a fresh nonce."""
        usable(_TRAITS, key, associated_data)
        sealed = key.made(_box).encrypt(bounded(plaintext), os.urandom(_NONCE))
        prefix = f"{self.key_id_for(key)}:".encode("ascii")
        return bounded(prefix + base64.b64encode(sealed))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """Up to the colon."""
        return (f"{_id(key_id)}:".encode("ascii"),)


def _id(key_id: str) -> str:
    if not _ID.match(key_id):
        raise Unsupported("a key id of secretbox values is v and a number")
    return key_id


def _parsed(ciphertext: bytes) -> tuple[str, bytes]:
    found = _FORM.match(bounded(ciphertext))
    if found is None:
        raise Damaged("the ciphertext is not of the form vN: and base64")
    sealed = unbase64(found[2])
    if len(sealed) < _NONCE + TAG:
        raise Damaged("the ciphertext is too short for a nonce and a tag")
    return found[1].decode("ascii"), sealed


def _box(key: DataKey) -> SecretBox:
    try:
        from nacl.secret import SecretBox
    except ImportError:
        raise Unsupported(
            "secretbox values need PyNaCl, which is not installed", hint=how_to_install("sodium")
        ) from None
    return SecretBox(key.material.reveal())
