"""Tink's keysets as cleartext JSON: what KeysetHandle reads with the secret-key-access token.

Every key is ENABLED, of output prefix TINK; primaryKeyId encrypts, and a secondary key is one that
it does not name yet. Tink has no keys of AES-192-GCM.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from certrotd.keyring.delivery import Delivery
from certrotd.keyring.ids import Drawn
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.port import (
    Contents,
    Imported,
    ImportedKey,
    OneFile,
    Present,
    Traits,
    deliverable,
    oldest_first,
)
from certrotd.outputs.reading import MAX_KEYS, json_bytes, json_of, members

_TYPE = "type.googleapis.com/google.crypto.tink."
_MOST = 2**32 - 1
# the type of a key, and the tag of its field key_value in the message of that type
_FORMS = {
    Algorithm.AES_128_GCM: ("AesGcmKey", 0x1A),
    Algorithm.AES_256_GCM: ("AesGcmKey", 0x1A),
    Algorithm.AES_128_GCM_SIV: ("AesGcmSivKey", 0x1A),
    Algorithm.AES_256_GCM_SIV: ("AesGcmSivKey", 0x1A),
    Algorithm.CHACHA20_POLY1305: ("ChaCha20Poly1305Key", 0x12),
}
_KNOWN = {(kind, tag, each.key_bytes): each for each, (kind, tag) in _FORMS.items()}


@dataclass(frozen=True)
class TinkKeyset(OneFile):
    """One keyset in one file; ``below`` draws the ids of new keys, as secrets.randbelow does."""

    path: Path
    below: Callable[[int], int]

    @cached_property
    def traits(self) -> Traits:
        """A ring of any number of keys, with ids of 32 bits."""
        return Traits(
            "tink",
            None,
            frozenset(_FORMS),
            ids=Drawn(32, self.below),
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse; the file is the keyring's own, and nothing else may be in it."""
        if (data := present.get(self.path)) is None:
            return None
        where = str(self.path)
        keyset = members(json_of(self.path, data), ("primaryKeyId", "key"), where=where)
        entries, primary = keyset["key"], keyset["primaryKeyId"]
        if not isinstance(entries, list) or not 0 < len(entries) <= MAX_KEYS:
            raise NotExpressible(f"{where} has no list of 1 to {MAX_KEYS} keys")
        keys = tuple(_imported(each, f"{where}: key {n}") for n, each in enumerate(entries, 1))
        ids = [key.id for key in keys]
        if len(set(ids)) < len(ids):
            raise NotExpressible(f"{where} has two keys of one id")
        if type(primary) is not int or str(primary) not in ids:
            raise NotExpressible(f"{where} has no key of the id that primaryKeyId names")
        return Imported(keys, ids.index(str(primary)))

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render."""
        deliverable(delivery, self.traits)
        self.check(present)
        keys = [each.key for each in oldest_first(delivery)]
        ids = [_number(key) for key in keys]
        if len(set(ids)) < len(ids):
            raise NotDeliverable("two keys have one id")
        keyset = {
            "primaryKeyId": _number(delivery.encrypting.key),
            "key": [_entry(key) for key in keys],
        }
        return {self.path: json_bytes(self.path, present.get(self.path), keyset, indent=2)}


def _number(key: DataKey) -> int:
    text = key.id or str(key.version)
    if text.isascii() and text.isdecimal() and len(text) <= 10 and 0 < int(text) <= _MOST:
        return int(text)
    raise NotDeliverable(f"the id of key version {key.version} is no number up to {_MOST}")


def _entry(key: DataKey) -> dict[str, Any]:
    kind, tag = _FORMS[key.algorithm]
    value = bytes((tag, len(key.material))) + key.material.reveal()
    data = {
        "typeUrl": _TYPE + kind,
        "value": base64.b64encode(value).decode("ascii"),
        "keyMaterialType": "SYMMETRIC",
    }
    return {
        "keyData": data,
        "status": "ENABLED",
        "keyId": _number(key),
        "outputPrefixType": "TINK",
    }


def _imported(entry: object, where: str) -> ImportedKey:
    fields = members(entry, ("keyData", "status", "keyId", "outputPrefixType"), where=where)
    if fields["status"] != "ENABLED" or fields["outputPrefixType"] != "TINK":
        raise NotExpressible(
            f"{where} is not ENABLED with the output prefix TINK",
            hint="remove it from the keyset, or keep the keyset out of certrotd",
        )
    number = fields["keyId"]
    if type(number) is not int or not 0 < number <= _MOST:
        raise NotExpressible(f"{where}: keyId is no number up to {_MOST}")
    data = members(fields["keyData"], ("typeUrl", "value", "keyMaterialType"), where=where)
    algorithm, secret = _material(data, where)
    return ImportedKey(algorithm, Material(secret), id=str(number))


def _material(data: dict[str, Any], where: str) -> tuple[Algorithm, bytes]:
    url, text = data["typeUrl"], data["value"]
    if not isinstance(url, str) or not isinstance(text, str):
        raise NotExpressible(f"{where}: its key data is no text")
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotExpressible(f"{where}: its value is not base64") from None
    length = value[1] if len(value) > 1 else -1
    kind = url.removeprefix(_TYPE)
    algorithm = _KNOWN.get((kind, value[0], length)) if length == len(value) - 2 else None
    if algorithm is None or data["keyMaterialType"] != "SYMMETRIC" or kind == url:
        raise NotExpressible(
            f"{where} is of a type that certrotd does not write",
            hint=f"it writes {', '.join(sorted({kind for kind, _ in _FORMS.values()}))}",
        )
    return algorithm, value[2:]
