"""Known answers: what the applications themselves wrote opens, and only as what it was."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.ansible_vault import AnsibleVault
from certrotd.codecs.encoding import Encoding
from certrotd.codecs.errors import Unsupported, WrongKey
from certrotd.codecs.expectation import Length, Utf8
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.codecs.selection import decrypt
from certrotd.codecs.symmetric_encryption import SymmetricEncryption
from certrotd.codecs.symmetric_header import read_header
from certrotd.codecs.tink import Tink
from certrotd.codecs.wso2 import Wso2
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.contract.codec_cases import reencrypt

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


@pytest.mark.parametrize(("file", "name"), [("v11.txt", "v11"), ("v12_prod.txt", "v12_prod")])
def test_what_ansible_vault_wrote_opens_and_keeps_its_vault_id(file: str, name: str) -> None:
    """Of both formats, by its password alone."""
    told = vectors("ansible/answers.json")[name]
    value = (VECTORS / "ansible" / file).read_bytes().rstrip(b"\n")
    keys = [
        DataKey(n, Algorithm.PASSPHRASE, Material(each))
        for n, each in enumerate((told["password"].encode(), b"another"), 1)
    ]
    assert AnsibleVault().decrypt(value, keys[0]) == told["plaintext"].encode()
    with pytest.raises(WrongKey):
        AnsibleVault().decrypt(value, keys[1])
    moved = reencrypt(AnsibleVault(), value, KeySet.of(keys, active=2))
    assert moved.split(b"\n")[0] == value.split(b"\n")[0]
    assert AnsibleVault().decrypt(moved, keys[1]) == told["plaintext"].encode()


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


GEMS = ["v4.6.0", "v5.0.0-dev"]


def gem_keys(gem: str) -> KeySet:
    """The keys of the gem's configuration, with their fixed initialization vectors."""
    keys = [
        DataKey(
            key["version"],
            Algorithm(key["cipher_name"]),
            Material(bytes.fromhex(key["key_hex"])),
            iv=bytes.fromhex(key["iv_hex"]),
        )
        for key in vectors(f"symmetric_encryption/{gem}.json")["keys"]
    ]
    return KeySet.of(keys, active=1)


def gem_codec(value: dict[str, Any]) -> SymmetricEncryption:
    """As the application that wrote ``value`` is configured."""
    return SymmetricEncryption(
        Utf8(),
        encoding=Encoding(value["encoding"]),
        random_iv=value["random_iv"],
        compress=value["compress"],
        header=value["header"],
    )


@pytest.mark.parametrize("gem", GEMS)
def test_what_symmetric_encryption_wrote_opens_with_the_key_it_names(gem: str) -> None:
    """CBC and GCM, compressed or not, in every encoding; without a header, with the key told."""
    keys = gem_keys(gem)
    for value in vectors(f"symmetric_encryption/{gem}.json")["values"]:
        codec, stored = gem_codec(value), value["ciphertext"].encode()
        key = keys.keys[value["version"]]
        assert codec.decrypt(stored, key) == value["plaintext"].encode()
        if value["header"]:
            assert decrypt(codec, stored, keys) == (value["plaintext"].encode(), key)
            assert any(stored.startswith(p) for p in codec.sql_prefixes(str(key.version)))
        else:
            assert codec.key_id_of(stored) is None


@pytest.mark.parametrize("gem", GEMS)
def test_the_codec_writes_what_symmetric_encryption_writes_to_the_byte(
    gem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the same random bytes; a value that is looked up must be the same in any case."""
    keys = gem_keys(gem)
    for value in vectors(f"symmetric_encryption/{gem}.json")["values"]:
        codec, stored = gem_codec(value), value["ciphertext"].encode()
        if value["random_iv"]:
            iv = read_header(codec.encoding.decode(stored)).iv
            monkeypatch.setattr(os, "urandom", lambda n, iv=iv: iv[:n])
        key = keys.keys[value["version"]]
        assert codec.encrypt(value["plaintext"].encode(), key) == stored
        assert codec.encrypt(value["plaintext"].encode(), key, replacing=stored) == stored


@pytest.mark.parametrize("gem", GEMS)
def test_files_that_symmetric_encryption_wrote_open_and_are_re_encrypted(gem: str) -> None:
    """With keys of their own, also of another cipher; compressed by gzip."""
    keys, seen = gem_keys(gem), 0
    for file in vectors(f"symmetric_encryption/{gem}.json")["files"]:
        path = VECTORS / "symmetric_encryption" / file["file"]
        if not path.exists():
            continue
        seen += 1
        stored = path.read_bytes()
        codec = SymmetricEncryption(Length(1, 200_000), encoding=Encoding.NONE, file=True)
        found = decrypt(codec, stored, keys)
        assert hashlib.sha256(found.plaintext).hexdigest() == file["sha256"]
        assert found.key.version == file["version"]
        for version in set(keys.keys) - {file["version"]}:
            moved = reencrypt(codec, stored, KeySet.of(keys, active=version))
            assert decrypt(codec, moved, keys) == (found.plaintext, keys.keys[version])
            old, new = read_header(stored), read_header(moved)
            assert (new.compressed, bool(new.key)) == (old.compressed, bool(old.key))
    assert seen >= 6
