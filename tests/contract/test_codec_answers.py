"""Known answers: what the applications themselves wrote opens, and only as what it was."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.errors import Unsupported, WrongKey
from certrotd.codecs.expectation import Utf8
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.codecs.selection import decrypt, reencrypt
from certrotd.codecs.tink import Tink
from certrotd.codecs.wso2 import Wso2
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


def test_what_libsodium_wrote_for_a_slot_opens_with_its_key() -> None:
    """By PHP's extension; the slot names are the ids."""
    known = vectors("secretbox.json")
    keys = [
        DataKey(version, Algorithm.XSALSA20_POLY1305, Material(bytes.fromhex(secret)), slot)
        for version, (slot, secret) in enumerate(known["keys"].items(), start=1)
    ]
    for value in known["values"]:
        sealed = value["ciphertext"].encode()
        opened = decrypt(PrefixedSecretbox(), sealed, KeySet.of(keys, active=1))
        assert opened.plaintext == value["plaintext"].encode()
        assert opened.key.id == value["version"]


WSO2_VALUES = [v for v in vectors("wso2.json") if v["db_value"]]


def wso2_key(text: str) -> DataKey:
    """As the server reads its configuration: 48 and 64 characters are hexadecimal."""
    secret = bytes.fromhex(text) if len(text) in (48, 64) else text.encode()
    return DataKey(1, Algorithm(f"aes-{len(secret) * 8}-gcm"), Material(secret))


def no_mac(value: dict[str, Any]) -> bool:
    """Of ECB mode, or empty."""
    return value["algorithm"] == "AES" or not value["plaintext"]


@pytest.mark.parametrize("value", WSO2_VALUES, ids=lambda v: str(WSO2_VALUES.index(v)))
def test_what_wso2_wrote_opens_with_its_key(value: dict[str, Any]) -> None:
    """With and without keyId; what has no MAC, only where its plaintext is told."""
    stored, key = value["db_value"].encode(), wso2_key(value["key"])
    plaintext = value["plaintext"].encode()
    assert Wso2(Utf8()).decrypt(stored, key) == plaintext
    if no_mac(value):
        with pytest.raises(Unsupported, match="no MAC"):
            Wso2().decrypt(stored, key)
    else:
        assert Wso2().decrypt(stored, key) == plaintext
    named = value["enableKeyId"] and value["algorithm"] != "AES"
    assert Wso2().key_id_of(stored) == (Wso2().key_id_for(key) if named else None)


def test_the_codec_writes_what_wso2_writes_but_for_the_random_parts() -> None:
    """Names, order, lengths, and the empty value."""
    for value in WSO2_VALUES:
        if value["algorithm"] == "AES":
            continue
        codec = Wso2(Utf8(), key_ids=value["enableKeyId"])
        key, stored = wso2_key(value["key"]), value["db_value"].encode()
        ours = codec.encrypt(value["plaintext"].encode(), key, replacing=stored)
        assert len(ours) == len(stored)
        outer, theirs = json.loads(base64.b64decode(ours)), json.loads(value["outer_json"])
        assert list(outer) == list(theirs)
        inner = json.loads(base64.b64decode(outer["c"]))
        assert list(inner) == list(json.loads(value["inner_json"]))
        assert inner.get("keyId") == json.loads(value["inner_json"]).get("keyId")
