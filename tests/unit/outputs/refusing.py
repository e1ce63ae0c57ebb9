"""Outputs of every form, files that hold keys, and what refuses them, for tests."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.dotenv import DotenvKeys, DotenvSlots
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.fernet_list import FernetList
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.key_list import KeyList
from certrotd.outputs.key_text import KeyText
from certrotd.outputs.kubernetes_encryption import KubernetesEncryption
from certrotd.outputs.port import Output
from certrotd.outputs.tink import TinkKeyset
from certrotd.outputs.toml import TomlKeys
from certrotd.outputs.yaml_ciphers import YamlCiphers

FILE = Path("/etc/app/keys")
KEYS = Path("/etc/app/enc")
SECRET = bytes(range(200, 232))
HEX, B64 = SECRET.hex(), base64.b64encode(SECRET).decode()
OTHER = bytes(range(100, 132))
GCM = frozenset({Algorithm.AES_256_GCM})
BOX = frozenset({Algorithm.XSALSA20_POLY1305})
WSO2 = KeyText(frozenset({Algorithm.AES_128_GCM, Algorithm.AES_256_GCM}), KeyEncoding.WSO2)
TINK = TinkKeyset(FILE, lambda most: most // 2)
NODE = JsonKeystore(FILE)
SLOTS = DotenvSlots(FILE, {"v1": "K1", "v2": "K2"}, "V", KeyText(BOX, KeyEncoding.BASE64))
LIST = DotenvKeys(FILE, "KEY", "OLD", KeyText(GCM, KeyEncoding.HEX, "hex:"))
FERNET = FernetList(FILE)
TOML = TomlKeys(FILE, "a.encryption", "key", "old_key", WSO2, secondary=True)
RAILS = KeyList(FILE, ("x", "keys"), KeyText(GCM, KeyEncoding.HEX))
KUBE = KubernetesEncryption(FILE, "secretbox", ("secrets",))
GEM = YamlCiphers(FILE, "production", KEYS, "app", lambda count: b"\1" * count)


def shows_nothing(text: str) -> None:
    """No form of the key."""
    for form in (HEX, B64, B64[:20], HEX[:20], SECRET.decode("latin-1")):
        assert form not in text


def refused(output: Output, text: str, words: str, **files: bytes) -> None:
    """The file is refused with these words, by whatever reads it."""
    present: dict[Path, bytes | None] = {FILE: text.encode()}
    present |= {KEYS / name: data for name, data in files.items()}
    with pytest.raises(NotExpressible, match=words) as failure:
        output.check(present)
    shows_nothing(str(failure.value))
    with pytest.raises(NotExpressible, match=words):
        output.render(delivery(output), present)


def delivery(output: Output, *ids: str, algorithm: Algorithm | None = None) -> Delivery:
    """Keys of these ids, the last of which encrypts."""
    kind = algorithm or min(output.traits.algorithms, key=lambda each: -each.key_bytes)
    first = {"dotenv": "v1", "yaml-ciphers": "1", "tink": "1"}.get(output.traits.type, "")
    keys = [
        Delivered(
            DataKey(
                n,
                kind,
                Material(bytes([n + 64]) * kind.key_bytes),
                key_id,
                bytes(output.traits.iv_bytes),
            ),
            State.ACTIVE if n == len(ids or (1,)) else State.DECRYPT_ONLY,
            datetime(2026, 1, n, tzinfo=UTC),
        )
        for n, key_id in enumerate(ids or (first,), 1)
    ]
    return Delivery("app", keys, len(keys))


def tink(**changes: Any) -> str:
    """A keyset of one key, changed."""
    data: dict[str, Any] = {
        "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
        "value": base64.b64encode(b"\x1a\x20" + SECRET).decode(),
        "keyMaterialType": "SYMMETRIC",
    } | changes.pop("data", {})
    key = {"keyData": data, "status": "ENABLED", "keyId": 7, "outputPrefixType": "TINK"}
    keyset = {"primaryKeyId": 7, "key": [key | changes.pop("key", {})]} | changes
    return json.dumps(keyset)


def node(**changes: Any) -> str:
    """A keystore of one key, changed."""
    entry = {"key": HEX, "createdAt": "2026-01-01T00:00:00.000Z", "status": "active"}
    store = {"currentVersion": 1, "keys": {"1": entry | changes.pop("entry", {})}} | changes
    return json.dumps(store)


def kube(keys: str, provider: str = "secretbox", resources: str = "[secrets]") -> str:
    """A configuration with these keys."""
    return (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        f"- resources: {resources}\n  providers:\n  - {provider}: {{keys: {keys}}}\n"
    )


def gem(entry: str, before: str = "") -> str:
    """A configuration with this cipher."""
    return f"{before}production:\n  ciphers:\n  - {{{entry}}}\n"


IV = "iv: !binary AAAAAAAAAAAAAAAAAAAAAA=="
PLAIN = f"version: 1, key: !binary '{B64}', {IV}"
FILED = f"version: 1, key_filename: {KEYS}/a.encrypted_key, {IV}"
