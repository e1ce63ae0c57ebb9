"""Fernet tokens: of Airflow, Django's field libraries, and much else in Python.

``base64url(0x80 | time, 8 bytes | iv, 16 | AES-128-CBC ciphertext | HMAC-SHA256, 32)``. A token
does not name its key: the MAC tells. Tokens may expire by their time, so re-encryption keeps it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.codecs.errors import Damaged, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import unbase64
from certrotd.keyring.material import Algorithm, DataKey

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_VERSION = b"\x80\0\0"  # the time follows: its first bytes are 0 for some million years
_AROUND = 1 + 8 + 16 + 32
_BLOCK = 16
_TRAITS = Traits(KeyIds.NONE, frozenset({Algorithm.FERNET}), beginning=b"gAAA")


@dataclass(frozen=True)
class FernetTokens:
    """Fernet tokens; ``now`` gives the time of new ones in seconds since 1970."""

    now: Callable[[], float] = time.time
    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> None:
        """None; raises Damaged for anything but a token."""
        _time_of(ciphertext)

    def key_id_for(self, key: DataKey) -> None:
        """None."""
        return

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext, however old the token is."""
        from cryptography.fernet import InvalidToken

        usable(_TRAITS, key, associated_data)
        _time_of(ciphertext)
        try:
            return key.made(_fernet).decrypt(ciphertext)
        except InvalidToken:
            raise WrongKey from None

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """A token of the time of ``replacing``, else of now."""
        usable(_TRAITS, key, associated_data)
        written = int(self.now()) if replacing is None else _time_of(replacing)
        return bounded(key.made(_fernet).encrypt_at_time(bounded(plaintext), written))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """None: tokens of all keys begin alike."""
        return ()


def _time_of(token: bytes) -> int:
    """When ``token`` says it was written; raises Damaged."""
    data = unbase64(bounded(token), altchars=b"-_")
    blocks = len(data) - _AROUND
    if blocks < _BLOCK or blocks % _BLOCK or not data.startswith(_VERSION):
        raise Damaged("the ciphertext is not a Fernet token")
    return int.from_bytes(data[1:9])


def _fernet(key: DataKey) -> Fernet:
    from cryptography.fernet import Fernet

    return Fernet(base64.urlsafe_b64encode(key.material.reveal()))
