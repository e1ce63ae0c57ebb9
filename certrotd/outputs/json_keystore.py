"""The keystores of Node applications: JSON with numbered AES-256 keys and currentVersion.

``{"currentVersion":3,"keys":{"2":{"key":"<hex>","createdAt":"<ISO>","status":"decrypt-only"},…}}``:
currentVersion is active. A secondary key is a decrypt-only one of a higher number. The application
refuses keys whose status is retired: those that a keyring delivers are never written so. It reads
the file when it starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey
from certrotd.outputs.encodings import KeyEncoding
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

_NUMBER = re.compile(r"[1-9][0-9]{0,15}\Z", re.ASCII)
_MOST = 2**53 - 1  # what a number of JavaScript holds exactly
_TRAITS = Traits("json-keystore", None, frozenset({Algorithm.AES_256_GCM}))


@dataclass(frozen=True)
class JsonKeystore(OneFile):
    """One keystore in one file; a key's number is its id or, without one, its version."""

    path: Path
    traits: Traits = _TRAITS

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse; the file is the keyring's own, and nothing else may be in it."""
        if (data := present.get(self.path)) is None:
            return None
        where = str(self.path)
        store = members(json_of(self.path, data), ("currentVersion", "keys"), where=where)
        entries, current = store["keys"], store["currentVersion"]
        if not isinstance(entries, dict) or not 0 < len(entries) <= MAX_KEYS:
            raise NotExpressible(f"{where} has no mapping of 1 to {MAX_KEYS} keys")
        numbers = sorted(_numbers(entries, where))
        if type(current) is not int or current not in numbers:
            raise NotExpressible(f"{where} has no key of the number in currentVersion")
        keys = tuple(_imported(str(n), entries[str(n)], f"{where}: key {n}") for n in numbers)
        statuses = {n: entries[str(n)]["status"] for n in numbers}
        active = [n for n, status in statuses.items() if status == "active"]
        if active != [current]:
            raise NotExpressible(f"{where}: not exactly the key in currentVersion is active")
        return Imported(keys, numbers.index(current))

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render."""
        deliverable(delivery, self.traits)
        self.check(present)
        current = _number(delivery.encrypting.key)
        stood = self._stood(present)
        keys: dict[str, Any] = {}
        for each in oldest_first(delivery):
            number = str(_number(each.key))
            if number in keys:
                raise NotDeliverable("two keys have one number")
            keys[number] = _entry(each, stood.get(number, {}), active=int(number) == current)
        store = {"currentVersion": current, "keys": keys}
        return {self.path: json_bytes(self.path, present.get(self.path), store, indent=1)}

    def _stood(self, present: Present) -> Mapping[str, Mapping[str, str]]:
        data = present.get(self.path)
        return {} if data is None else json_of(self.path, data)["keys"]


def _numbers(entries: Mapping[str, object], where: str) -> Sequence[int]:
    if not all(_NUMBER.match(name) and int(name) <= _MOST for name in entries):
        raise NotExpressible(f"{where}: a key's number is none from 1 to {_MOST}")
    return [int(name) for name in entries]


def _number(key: DataKey) -> int:
    text = key.id or str(key.version)
    if _NUMBER.match(text) and int(text) <= _MOST:
        return int(text)
    raise NotDeliverable(f"the id of key version {key.version} is no number up to {_MOST}")


def _entry(each: Delivered, stood: Mapping[str, str], *, active: bool) -> dict[str, str]:
    secret, when = KeyEncoding.HEX.written(each.key.material), each.created.astimezone(UTC)
    created = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"
    if stood.get("key", "").lower() == secret:
        created, secret = stood["createdAt"], stood["key"]
    status = "active" if active else "decrypt-only"
    return {"key": secret, "createdAt": created, "status": status}


def _imported(number: str, entry: object, where: str) -> ImportedKey:
    fields = members(entry, ("key", "createdAt", "status"), where=where)
    if not all(isinstance(value, str) for value in fields.values()):
        raise NotExpressible(f"{where}: key, createdAt and status are not all text")
    if fields["status"] not in ("active", "decrypt-only", "retired"):
        raise NotExpressible(f"{where}: its status is not active, decrypt-only or retired")
    try:
        created = datetime.fromisoformat(fields["createdAt"])
    except ValueError:
        raise NotExpressible(f"{where}: createdAt is no time in ISO 8601") from None
    if created.tzinfo is None:
        raise NotExpressible(f"{where}: createdAt has no time zone")
    algorithm, material = KeyEncoding.HEX.read(fields["key"], _TRAITS.algorithms, where=where)
    return ImportedKey(
        algorithm,
        material,
        id=number,
        created=created,
        retired=fields["status"] == "retired",
    )
