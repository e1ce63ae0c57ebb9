"""The versioned AES-256-GCM objects of Node applications, as JSON text.

``{"keyVersion":3,"iv":"<hex>","authTag":"<hex>","ciphertext":"<hex>"}``, iv of 16 bytes (12 are
read too). Node accepts tags cut to 4 bytes, which a few thousand million tries forge; this codec
demands all 16.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from certrotd.codecs.aead import TAG, aead, opened
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, key_number, usable
from certrotd.codecs.strict import json_object, text_field, unhex
from certrotd.keyring.material import Algorithm, DataKey

_NAMES = frozenset({"keyVersion", "iv", "authTag", "ciphertext"})
_IV = 16
_MAX_VERSION = 2**53 - 1  # what a number of JavaScript holds exactly
_TRAITS = Traits(KeyIds.STRICT, frozenset({Algorithm.AES_256_GCM}), beginning=b"{")


class _Value(NamedTuple):
    version: int
    iv: bytes
    sealed: bytes


@dataclass(frozen=True)
class NodeJson:
    """JSON objects with the version of their key; the names may stand in any order when read."""

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> str:
        """The key's version."""
        return str(_parsed(ciphertext).version)

    def key_id_for(self, key: DataKey) -> str:
        """Its id, or its version: a number."""
        return str(_number(key))

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext."""
        usable(_TRAITS, key, associated_data)
        value = _parsed(ciphertext)
        if value.version != _number(key):
            raise WrongKey
        return opened(key.made(aead), value.iv, value.sealed)

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The object as JSON.stringify writes it."""
        usable(_TRAITS, key, associated_data)
        iv = os.urandom(_IV)
        sealed = key.made(aead).encrypt(iv, bounded(plaintext), None)
        text = (
            f'{{"keyVersion":{_number(key)},"iv":"{iv.hex()}",'
            f'"authTag":"{sealed[-TAG:].hex()}","ciphertext":"{sealed[:-TAG].hex()}"}}'
        )
        return bounded(text.encode("ascii"))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """Up to the version, as JSON.stringify writes it."""
        return (f'{{"keyVersion":{key_number(key_id, most=_MAX_VERSION)},'.encode(),)


def _number(key: DataKey) -> int:
    return key_number(key.id or str(key.version), most=_MAX_VERSION)


def _parsed(ciphertext: bytes) -> _Value:
    values = json_object(bounded(ciphertext))
    if not values.keys() >= _NAMES:
        raise Damaged("the ciphertext's JSON lacks keyVersion, iv, authTag or ciphertext")
    if values.keys() - _NAMES:
        raise Unsupported("the ciphertext's JSON has members that re-encryption would lose")
    version = values["keyVersion"]
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        raise Damaged("the ciphertext's keyVersion is no version")
    iv, tag, data = (unhex(text_field(values, n)) for n in ("iv", "authTag", "ciphertext"))
    if len(iv) not in (12, _IV):
        raise Damaged("the ciphertext's iv has neither 12 nor 16 bytes")
    if len(tag) != TAG:
        raise Damaged("the ciphertext's authTag has not 16 bytes")
    return _Value(version, iv, data + tag)
