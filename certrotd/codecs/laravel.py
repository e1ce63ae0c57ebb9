"""What Laravel's encrypter stores: encrypted casts, cookies, queue payloads.

``base64({"iv":…,"value":…,"mac":"<hex>","tag":""})``: AES-CBC with an HMAC-SHA256 over the base64
of iv and value, by the same key; with AES-GCM, mac is empty and tag is base64. ``cipher`` of
``config/app.php`` is the algorithm of the key. No key is named. The plaintext is what PHP
serialized, or a string as it was: its bytes stay as they are.
"""

from __future__ import annotations

import base64
import hmac
import os
from dataclasses import dataclass
from typing import NamedTuple

from certrotd.codecs.aead import TAG, aead, opened
from certrotd.codecs.block import BLOCK, decrypt_cbc, encrypt_cbc
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import json_object, text_field, unbase64
from certrotd.keyring.material import Algorithm, DataKey

_CBC = frozenset({Algorithm.AES_128_CBC, Algorithm.AES_256_CBC})
_GCM = frozenset({Algorithm.AES_128_GCM, Algorithm.AES_256_GCM})
_NAMES = frozenset({"iv", "value", "mac"})
_NONCE = 12
_BEGINNING = b"eyJpdiI6I"  # of {"iv":", as Laravel writes it
_TRAITS = Traits(KeyIds.NONE, _CBC | _GCM, beginning=_BEGINNING)


class _Payload(NamedTuple):
    """A stored value; of CBC, ``mac`` is there, and of GCM, ``tag``."""

    iv: bytes
    value: bytes
    mac: bytes
    tag: bytes
    has_tag: bool


@dataclass(frozen=True)
class Laravel:
    """Payloads of the encrypter, authenticated by MAC or tag."""

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> None:
        """None; raises Damaged for anything but a payload."""
        _parsed(ciphertext)

    def key_id_for(self, key: DataKey) -> None:
        """None."""
        return

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext; a payload of the other cipher is of another key."""
        usable(_TRAITS, key, associated_data)
        found = _parsed(ciphertext)
        by_gcm = key.algorithm in _GCM
        if bool(found.tag) is not by_gcm:
            raise WrongKey
        if by_gcm:
            return opened(key.made(aead), found.iv, found.value + found.tag)
        if not hmac.compare_digest(_mac(key, found.iv, found.value), found.mac):
            raise WrongKey
        return decrypt_cbc(key, found.iv, found.value)

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The payload as PHP writes it; older Laravel's, which replace such, have no tag."""
        usable(_TRAITS, key, associated_data)
        bounded(plaintext)
        mac, tag = "", b""
        if key.algorithm in _CBC:
            iv = os.urandom(BLOCK)
            value = encrypt_cbc(key, iv, plaintext)
            mac = _mac(key, iv, value).decode("ascii")
        else:
            iv = os.urandom(_NONCE)
            sealed = key.made(aead).encrypt(iv, plaintext, None)
            value, tag = sealed[:-TAG], sealed[-TAG:]
        tagged = bool(tag) or replacing is None or _parsed(replacing).has_tag
        end = f',"tag":"{_text(tag)}"' if tagged else ""
        payload = f'{{"iv":"{_text(iv)}","value":"{_text(value)}","mac":"{mac}"{end}}}'
        return bounded(base64.b64encode(payload.encode("ascii")))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """None: no key is named."""
        return ()


def _mac(key: DataKey, iv: bytes, value: bytes) -> bytes:
    signed = (_text(iv) + _text(value)).encode("ascii")
    return hmac.digest(key.material.reveal(), signed, "sha256").hex().encode("ascii")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _parsed(ciphertext: bytes) -> _Payload:
    if not bounded(ciphertext).startswith(_BEGINNING):
        raise Damaged("the ciphertext is no payload of Laravel's encrypter")
    # PHP escapes the slashes of base64 where it is not told otherwise: JSON reads both alike.
    values = json_object(unbase64(ciphertext))
    if not values.keys() >= _NAMES:
        raise Damaged("the ciphertext's JSON lacks iv, value or mac")
    if values.keys() - _NAMES - {"tag"}:
        raise Unsupported("the ciphertext's JSON has members that re-encryption would lose")
    iv, value = (unbase64(text_field(values, name)) for name in ("iv", "value"))
    mac = text_field(values, "mac")
    tag = unbase64(text_field(values, "tag")) if "tag" in values else b""
    if mac:
        whole = value and len(value) % BLOCK == 0 and len(iv) == BLOCK
        if tag or len(mac) != 64 or not whole:
            raise Damaged("the ciphertext is no payload of AES-CBC with a MAC")
    elif len(tag) != TAG or len(iv) != _NONCE:
        raise Damaged("the ciphertext has neither a MAC nor a whole tag")
    return _Payload(iv, value, mac, tag, "tag" in values)
