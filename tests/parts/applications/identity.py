"""A server with ``key`` and ``old_key``, which reads and writes values as WSO2's does.

Run with a port and a deployment.toml, which is read once. ``key`` opens the values whose ``keyId``
is its SHA-256, and ``old_key`` all others; without an ``old_key`` it is ``key``, too. Whether a
``keyId`` is written, ``enable_key_id`` says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import tomllib
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.parts.applications.service import Service

_GCM = "AES/GCM/NoPadding"


class Keys:
    """The key that encrypts, and the other one."""

    def __init__(self, path: Path) -> None:
        table = tomllib.loads(path.read_text())["encryption"]
        self._key = _secret(table["key"])
        self._old = _secret(table.get("old_key", ""))
        self._names_keys = table.get("enable_key_id", True)

    def encrypt(self, text: str) -> str:
        iv = os.urandom(16) + bytes(112)
        inner = {"cipher": _text(AESGCM(self._key).encrypt(iv, text.encode(), None))}
        inner |= {"initializationVector": _text(iv)}
        if self._names_keys:
            inner["keyId"] = _id(self._key)
        outer = {"c": _text(_json(inner)), "t": _GCM, "iv": _text(iv)}
        return _text(_json(outer))

    def decrypt(self, stored: str) -> str:
        outer = json.loads(base64.b64decode(stored))
        inner = json.loads(base64.b64decode(outer["c"]))
        key = self._key if inner.get("keyId") == _id(self._key) else self._old or self._key
        iv = base64.b64decode(inner["initializationVector"])
        try:
            return AESGCM(key).decrypt(iv, base64.b64decode(inner["cipher"]), None).decode()
        except InvalidTag:
            raise ValueError("it does not decrypt") from None


def _secret(text: str) -> bytes:
    return bytes.fromhex(text) if len(text) in (48, 64) else text.encode()


def _id(key: bytes) -> str:
    return _text(hashlib.sha256(key).digest())


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    Service(int(sys.argv[1]), Keys(Path(sys.argv[2])), "idn_secret", "secret_value").serve_forever()
