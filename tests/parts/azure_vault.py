"""Azure Key Vault as its REST reference describes it, with real RSA and AES keys.

Written after the published reference (keys: get, wrap, unwrap, rotate, rotation policy; errors with
innererror; the challenge of the first request), and never compared with the real service.
"""

import functools
import itertools
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.parts.front import Request, Response

TOKEN = "a-token-of-entra-id"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_count = itertools.count()


@functools.cache
def _rsa(number: int) -> rsa.RSAPrivateKey:
    """One of a few keys: making them takes long, and no test needs more."""
    del number
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Version:
    """One version of a key; ``material`` is an AES key, or else it is an RSA key."""

    created: int
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    enabled: bool = True
    number: int = field(default_factory=lambda: next(_count) % 4)
    material: bytes = b""

    def wrap(self, algorithm: str, value: bytes) -> bytes | None:
        if algorithm == "RSA-OAEP-256" and not self.material:
            return _rsa(self.number).public_key().encrypt(value, _OAEP)
        if algorithm == f"A{len(self.material) * 8}KW":
            return keywrap.aes_key_wrap(self.material, value)
        return None

    def unwrap(self, algorithm: str, value: bytes) -> bytes | None:
        try:
            if algorithm == "RSA-OAEP-256" and not self.material:
                return _rsa(self.number).decrypt(value, _OAEP)
            if algorithm == f"A{len(self.material) * 8}KW":
                return keywrap.aes_key_unwrap(self.material, value)
        except (ValueError, keywrap.InvalidUnwrap):
            pass
        return None


@dataclass
class AzureVault:
    """The vault; ``url`` is where it is reached, for identifiers. ``now`` is in seconds."""

    url: str = ""
    now: int = 1_780_000_000
    keys: dict[str, list[Version]] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def make_key(self, name: str, *, aes: int = 0) -> None:
        """A key, or another version of it; ``aes`` bits of a Managed HSM."""
        material = secrets.token_bytes(aes // 8)
        self.now += 1
        self.keys.setdefault(name, []).append(Version(self.now, material=material))

    def __call__(self, request: Request) -> Response:
        """The answer to one request."""
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            challenge = (
                'Bearer authorization="https://login.microsoftonline.com/'
                '72f988bf-86f1-41af-91ab-2d7cd011db47", resource="https://vault.azure.net"'
            )
            refused = _error(401, "Unauthorized", "Request is missing a Bearer or PoP token.")
            return Response(401, refused.body, {**refused.headers, "WWW-Authenticate": challenge})
        path, _, query = request.path.partition("?")
        if "api-version=" not in query:
            return _error(400, "BadParameter", "api-version must be specified")
        match path.strip("/").split("/"):
            case ["keys", name, *rest] if name in self.keys:
                given = json.loads(request.body) if request.body else {}
                return self._key(request.method, name, rest, given, query)
        return _error(404, "KeyNotFound", f"A key with (name/id) {path} was not found.")

    def _key(
        self, method: str, name: str, rest: list[str], given: Mapping[str, Any], query: str
    ) -> Response:
        match method, rest:
            case "GET", []:
                return self._bundle(name, self.keys[name][-1])
            case "GET", ["versions"]:
                return self._page(name, query)
            case "PATCH", [version]:
                for each in self.keys[name]:
                    if each.id == version:
                        each.enabled = bool(given["attributes"]["enabled"])
                        return self._bundle(name, each)
            case "POST", ["rotate"]:
                self.make_key(name, aes=len(self.keys[name][-1].material) * 8)
                return self._bundle(name, self.keys[name][-1])
            case "GET", ["rotationpolicy"]:
                return _json(self.policies.get(name, _NO_POLICY))
            case "PUT", ["rotationpolicy"]:
                self.policies[name] = dict(given)
                return _json(self.policies[name])
            case "POST", [("wrapkey" | "unwrapkey") as operation]:
                return self._operation(name, self.keys[name][-1], operation, given)
            case "POST", [version, ("wrapkey" | "unwrapkey") as operation]:
                for each in self.keys[name]:
                    if each.id == version:
                        return self._operation(name, each, operation, given)
        return _error(404, "KeyNotFound", f"A key with (name/id) {name}/{rest} was not found.")

    def _page(self, name: str, query: str) -> Response:
        """Two versions of a key, in the order of their ids, and where the next ones are."""
        match = re.search(r"skiptoken=([0-9]+)", query)
        start = int(match[1]) if match else 0
        versions = sorted(self.keys[name], key=lambda each: each.id)
        more = f"{self.url}/keys/{name}/versions?api-version=7.4&$skiptoken={start + 2}"
        shown = [self._item(name, each) for each in versions[start : start + 2]]
        return _json({"value": shown, "nextLink": more if len(versions) > start + 2 else None})

    def _operation(
        self, name: str, version: Version, operation: str, given: Mapping[str, Any]
    ) -> Response:
        if not version.enabled:
            message = f"Operation {operation} is not allowed on a disabled key."
            return _error(403, "Forbidden", message, inner="KeyDisabled")
        value, algorithm = _decoded(given["value"]), str(given["alg"])
        done = (version.wrap if operation == "wrapkey" else version.unwrap)(algorithm, value)
        if done is None:
            return _error(400, "BadParameter", "The parameter is incorrect.")
        return _json({"kid": self._kid(name, version), "value": _encoded(done)})

    def _bundle(self, name: str, version: Version) -> Response:
        key: dict[str, Any] = {"kid": self._kid(name, version), "kty": "oct-HSM"}
        if not version.material:
            numbers = _rsa(version.number).public_key().public_numbers()
            modulus = numbers.n.to_bytes(256, "big")
            key |= {"kty": "RSA", "n": _encoded(modulus), "e": "AQAB"}
        return _json({"key": key, "attributes": self._item(name, version)["attributes"]})

    def _item(self, name: str, version: Version) -> dict[str, Any]:
        attributes = {"enabled": version.enabled, "created": version.created}
        return {"kid": self._kid(name, version), "attributes": attributes}

    def _kid(self, name: str, version: Version) -> str:
        return f"{self.url}/keys/{name}/{version.id}"


_NO_POLICY = {
    "lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
    "attributes": {"expiryTime": None},
}


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _error(status: int, code: str, message: str, *, inner: str = "") -> Response:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return _json({"error": error}, status)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
