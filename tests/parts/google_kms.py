"""Google Cloud KMS as its REST reference describes it, with real AES keys.

Written after the published reference (cryptoKeys: encrypt, decrypt, with CRC32C checksums;
states of versions; google.rpc errors), and never compared with the real service.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certrotd.kek.crc32c import crc32c
from tests.parts.front import Request, Response

TOKEN = "a-token-of-google"
RING = "projects/tests/locations/europe-west3/keyRings/ring"


@dataclass
class Version:
    """One version of a key."""

    material: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    state: str = "ENABLED"


@dataclass
class GoogleKms:
    """The keys by their resource names; the last version is the primary one."""

    keys: dict[str, list[Version]] = field(default_factory=dict)

    def make_key(self, name: str) -> str:
        """The resource name of a key that has one more version then."""
        key = f"{RING}/cryptoKeys/{name}"
        self.keys.setdefault(key, []).append(Version())
        return key

    def __call__(self, request: Request) -> Response:
        """The answer to one request."""
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        path = request.path.partition("?")[0].removeprefix("/v1/")
        name, _, act = path.partition(":")
        if name not in self.keys:
            return error(404, "NOT_FOUND", f"CryptoKey {name} not found.")
        given = json.loads(request.body) if request.body else {}
        match request.method, act:
            case "POST", "encrypt":
                return self._encrypt(name, given)
            case "POST", "decrypt":
                return self._decrypt(name, given)
        return error(404, "NOT_FOUND", f"no method {act}")

    def _primary(self, name: str) -> dict[str, str]:
        number = len(self.keys[name])
        state = self.keys[name][-1].state
        return {"name": f"{name}/cryptoKeyVersions/{number}", "state": state}

    def _encrypt(self, name: str, given: Mapping[str, Any]) -> Response:
        plaintext, aad = _checked(given, "plaintext"), _checked(given, AAD)
        if plaintext is None or aad is None:
            return error(400, "INVALID_ARGUMENT", "The checksum in field is not correct.")
        if refused := self._refused(name, len(self.keys[name])):
            return refused
        nonce = os.urandom(12)
        sealed = AESGCM(self.keys[name][-1].material).encrypt(nonce, plaintext, aad)
        ciphertext = len(self.keys[name]).to_bytes(2, "big") + nonce + sealed
        return _json(
            {
                "name": self._primary(name)["name"],
                "ciphertext": _encoded(ciphertext),
                "ciphertextCrc32c": str(crc32c(ciphertext)),
                "verifiedPlaintextCrc32c": "plaintextCrc32c" in given,
                "verifiedAdditionalAuthenticatedDataCrc32c": f"{AAD}Crc32c" in given,
                "protectionLevel": "SOFTWARE",
            }
        )

    def _decrypt(self, name: str, given: Mapping[str, Any]) -> Response:
        ciphertext, aad = _checked(given, "ciphertext"), _checked(given, AAD)
        if ciphertext is None or aad is None:
            return error(400, "INVALID_ARGUMENT", "The checksum in field is not correct.")
        number = int.from_bytes(ciphertext[:2], "big")
        invalid = error(
            400,
            "INVALID_ARGUMENT",
            "Decryption failed: the ciphertext is invalid.",
        )
        if not 1 <= number <= len(self.keys[name]):
            return invalid
        if refused := self._refused(name, number):
            return refused
        material = self.keys[name][number - 1].material
        try:
            plaintext = AESGCM(material).decrypt(ciphertext[2:14], ciphertext[14:], aad)
        except (InvalidTag, ValueError):
            return invalid
        return _json(
            {
                "plaintext": _encoded(plaintext),
                "plaintextCrc32c": str(crc32c(plaintext)),
                "usedPrimary": number == len(self.keys[name]),
                "protectionLevel": "SOFTWARE",
            }
        )

    def _refused(self, name: str, number: int) -> Response | None:
        state = self.keys[name][number - 1].state
        if state == "ENABLED":
            return None
        version = f"{name}/cryptoKeyVersions/{number}"
        message = f"{version} is not enabled, current state is: {state}."
        return error(400, "FAILED_PRECONDITION", message)


AAD = "additionalAuthenticatedData"


def error(status: int, code: str, message: str) -> Response:
    """An error in Google's form."""
    return _json({"error": {"code": status, "message": message, "status": code}}, status)


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _checked(given: Mapping[str, Any], name: str) -> bytes | None:
    """The bytes of a field; None if its checksum is another's."""
    text = str(given.get(name, "")).replace("-", "+").replace("_", "/")  # either alphabet is taken
    data = b64decode(text)
    expected = given.get(f"{name}Crc32c")
    return data if expected is None or int(expected) == crc32c(data) else None


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()
