"""Known answers: what the applications themselves wrote opens, and only as what it was."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.errors import WrongKey
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.selection import decrypt, reencrypt
from certrotd.codecs.tink import Tink
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

VECTORS = Path(__file__).parent.parent / "vectors"


def vectors(name: str) -> Any:
    """The JSON file ``name``."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def tink_keys(keyset: dict[str, Any]) -> KeySet:
    """The AES-GCM keys of a Tink keyset: a protobuf of one field, of 32 bytes."""
    keys = []
    for version, entry in enumerate(keyset["key"], start=1):
        value = base64.b64decode(entry["keyData"]["value"])
        assert value[:2] == b"\x1a\x20"
        material = Material(value[2:])
        keys.append(DataKey(version, Algorithm.AES_256_GCM, material, str(entry["keyId"])))
    primary = next(k.version for k in keys if k.id == str(keyset["primaryKeyId"]))
    return KeySet.of(keys, active=primary)


@pytest.mark.parametrize("keyset", ["keyset_secondary", "keyset_active"])
def test_what_tink_wrote_opens_before_and_after_its_key_is_active(keyset: str) -> None:
    """A consumer that has the new key as secondary reads it already."""
    known = vectors("tink.json")
    keys = tink_keys(known[keyset])
    assert known["values"]
    for value in known["values"]:
        sealed = base64.b64decode(value["ciphertext_b64"])
        aad = value["aad"].encode()
        assert decrypt(Tink(), sealed, keys, aad).plaintext == value["plaintext"].encode()
        with pytest.raises(WrongKey):
            decrypt(Tink(), sealed, keys, b"other")


def test_what_fernet_wrote_opens_with_its_key_alone_and_keeps_its_time() -> None:
    """Among three keys, none of which the token names."""
    known = vectors("fernet.json")
    keys = [
        DataKey(version, Algorithm.FERNET, Material(base64.urlsafe_b64decode(key)))
        for version, key in enumerate(known["keys"], start=1)
    ]
    everything = KeySet.of(keys, active=1)
    for value in known["values"]:
        token, plaintext = value["token"].encode(), value["plaintext"].encode()
        opened = decrypt(FernetTokens(), token, everything)
        assert opened == (plaintext, keys[value["key"]])
        moved = reencrypt(FernetTokens(), token, everything)
        assert decrypt(FernetTokens(), moved, everything) == (plaintext, keys[0])
        assert base64.urlsafe_b64decode(moved)[:9] == base64.urlsafe_b64decode(token)[:9]


def node_keys() -> KeySet:
    """The keys of the Node application's key store."""
    store = vectors("node/keystore.json")
    keys = [
        DataKey(int(version), Algorithm.AES_256_GCM, Material(bytes.fromhex(entry["key"])))
        for version, entry in store["keys"].items()
    ]
    return KeySet.of(keys, active=store["currentVersion"])


def test_what_the_node_application_wrote_opens_with_the_key_it_names() -> None:
    """As compact JSON, and as a database that keeps JSON writes it: sorted, with spaces."""
    keys = node_keys()
    for value in vectors("node/ciphertexts.json"):
        stored = value["ciphertext"]
        for text in (
            json.dumps(stored, separators=(",", ":")),
            json.dumps(stored, sort_keys=True, indent=1),
        ):
            opened = decrypt(NodeJson(), text.encode(), keys)
            assert opened.plaintext == value["plaintext"].encode()
            assert opened.key.version == stored["keyVersion"]
