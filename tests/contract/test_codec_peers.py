"""What a codec writes, the library that owns the format reads; and the other way round."""

import base64
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet

from certrotd.codecs.ansible_vault import AnsibleVault
from certrotd.codecs.errors import Unsupported
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.codecs.tink import Tink
from certrotd.codecs.wso2 import Wso2
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.contract.codec_cases import key_of, reencrypt
from tests.parts import locate

TEXTS = ["", "x", "Größe €uro 🔑", "a" * 1000]
TINK_KEYS = {
    Algorithm.AES_128_GCM: ("AesGcmKey", b"\x1a\x10"),
    Algorithm.AES_256_GCM: ("AesGcmKey", b"\x1a\x20"),
    Algorithm.AES_128_GCM_SIV: ("AesGcmSivKey", b"\x1a\x10"),
    Algorithm.AES_256_GCM_SIV: ("AesGcmSivKey", b"\x1a\x20"),
    Algorithm.CHACHA20_POLY1305: ("ChaCha20Poly1305Key", b"\x12\x20"),
    Algorithm.AES_192_GCM: ("AesGcmKey", b"\x1a\x18"),
}


def tink_primitive(*keys: DataKey) -> Any:
    """Tink's own AEAD of ``keys``, the first of which encrypts."""
    import tink
    from tink import aead, secret_key_access

    aead.register()
    entries = []
    for key in keys:
        kind, head = TINK_KEYS[key.algorithm]
        value = base64.b64encode(head + key.material.reveal()).decode()
        data = {
            "typeUrl": f"type.googleapis.com/google.crypto.tink.{kind}",
            "value": value,
            "keyMaterialType": "SYMMETRIC",
        }
        number = int(key.id or key.version)
        entry = {"keyData": data, "status": "ENABLED", "keyId": number, "outputPrefixType": "TINK"}
        entries.append(entry)
    keyset = json.dumps({"primaryKeyId": entries[0]["keyId"], "key": entries})
    handle = tink.json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    return handle.primitive(aead.Aead)


@pytest.mark.parametrize(
    "algorithm",
    [a for a in TINK_KEYS if a not in (Algorithm.AES_192_GCM, Algorithm.CHACHA20_POLY1305)],
)
def test_tink_reads_what_the_codec_writes_and_the_codec_what_tink_writes(
    algorithm: Algorithm,
) -> None:
    """With ids of 32 bits, and associated data or none."""
    old = key_of(algorithm, 1, key_id="4294967295")
    new = key_of(algorithm, 2, key_id="305419896")
    peer = tink_primitive(new, old)
    for text in TEXTS:
        for bound in (b"", b"users/email/7"):
            plaintext = text.encode()
            for key in (old, new):
                assert peer.decrypt(Tink().encrypt(plaintext, key, bound), bound) == plaintext
            written = peer.encrypt(plaintext, bound)
            assert Tink().key_id_of(written) == "305419896"
            assert Tink().decrypt(written, new, bound) == plaintext


def test_tink_refuses_keys_of_192_bits_which_the_codec_reads() -> None:
    """So that an application leaves them."""
    import tink

    with pytest.raises(tink.TinkError):
        tink_primitive(key_of(Algorithm.AES_192_GCM, 1))


@pytest.mark.parametrize("key_id", ["4294967296", "-1", "+1", "1_0", "٣", "00000000001", "a"])
def test_a_key_id_that_tink_cannot_have_is_refused(key_id: str) -> None:
    """Whether in a key or in a census."""
    with pytest.raises(Unsupported, match="numbers up to 4294967295"):
        Tink().encrypt(b"x", key_of(Algorithm.AES_256_GCM, 1, key_id=key_id))
    with pytest.raises(Unsupported, match="numbers up to 4294967295"):
        Tink().sql_prefixes(key_id)


def test_fernet_reads_what_the_codec_writes_and_the_codec_what_fernet_writes() -> None:
    """Also through MultiFernet, whose rotation gives the same but for its random parts."""
    codec, old, new = FernetTokens(), key_of(Algorithm.FERNET, 1), key_of(Algorithm.FERNET, 2)
    peers = [Fernet(base64.urlsafe_b64encode(k.material.reveal())) for k in (new, old)]
    keys = KeySet.of([old, new], active=2)
    for text in TEXTS:
        plaintext = text.encode()
        assert MultiFernet(peers).decrypt(codec.encrypt(plaintext, old)) == plaintext
        written = peers[1].encrypt_at_time(plaintext, 1_600_000_000)
        assert codec.decrypt(written, old) == plaintext
        ours, theirs = reencrypt(codec, written, keys), MultiFernet(peers).rotate(written)
        for moved in (ours, theirs):
            assert peers[0].extract_timestamp(moved) == 1_600_000_000
            assert codec.decrypt(moved, new) == plaintext
        assert len(ours) == len(theirs)


def node(*calls: dict[str, object]) -> list[str]:
    """What Node answers to each of ``calls``."""
    program = str(locate.require("node"))
    script = Path(__file__).with_name("peers.js")
    lines = "".join(json.dumps(call) + "\n" for call in calls)
    done = subprocess.run(
        [program, str(script)], input=lines, text=True, capture_output=True, timeout=120, check=True
    )
    return [str(json.loads(line)) for line in done.stdout.splitlines()]


def test_node_reads_what_the_codec_writes_and_the_codec_what_node_writes() -> None:
    """By Node's own crypto module."""
    key = key_of(Algorithm.AES_256_GCM, 7)
    call: dict[str, object] = {"key": key.material.reveal().hex(), "version": 7}
    ours = [NodeJson().encrypt(text.encode(), key).decode() for text in TEXTS]
    assert node(*[call | {"op": "decrypt", "value": value} for value in ours]) == TEXTS
    theirs = node(*[call | {"op": "encrypt", "value": text} for text in TEXTS])
    assert [NodeJson().decrypt(t.encode(), key).decode() for t in theirs] == TEXTS
    (prefix,) = NodeJson().sql_prefixes("7")
    assert all(t.encode().startswith(prefix) for t in (*ours, *theirs))


def test_libsodium_reads_what_the_codec_writes_and_the_codec_what_libsodium_writes() -> None:
    """By its plain functions, as PHP's extension has them."""
    from nacl.bindings import crypto_secretbox, crypto_secretbox_open

    key = key_of(Algorithm.XSALSA20_POLY1305, 2)
    secret, nonce = key.material.reveal(), bytes(range(24))
    for text in TEXTS:
        plaintext = text.encode()
        ours = base64.b64decode(PrefixedSecretbox().encrypt(plaintext, key).removeprefix(b"v2:"))
        assert crypto_secretbox_open(ours[24:], ours[:24], secret) == plaintext
        theirs = b"v2:" + base64.b64encode(nonce + crypto_secretbox(plaintext, nonce, secret))
        assert PrefixedSecretbox().decrypt(theirs, key) == plaintext


def test_java_opens_what_the_codec_writes_for_wso2() -> None:
    """With an initialization vector of 128 bytes, and the tag alone of an empty plaintext."""
    locate.require("javac")  # what runs a source file compiles it
    java = str(locate.require("java"))
    key = key_of(Algorithm.AES_192_GCM, 1)
    secret, lines = base64.b64encode(key.material.reveal()).decode(), ""
    for text in TEXTS:
        outer = json.loads(base64.b64decode(Wso2().encrypt(text.encode(), key)))
        inner = json.loads(base64.b64decode(outer["c"]))
        lines += f"{secret} {inner['initializationVector']} {inner['cipher']}\n"
    source = Path(__file__).with_name("GcmPeer.java")
    command = [java, "-XX:TieredStopAtLevel=1", str(source)]
    done = subprocess.run(
        command, input=lines, text=True, capture_output=True, timeout=300, check=True
    )
    assert [base64.b64decode(line).decode() for line in done.stdout.split("\n")[:-1]] == TEXTS


def test_ansible_vault_reads_what_is_written_and_writes_what_is_read(tmp_path: Path) -> None:
    """Also with the id of a key as vault id."""
    program = locate.require("ansible-vault")
    secret, key = tmp_path / "password", key_of(Algorithm.PASSPHRASE, 1, key_id="v1")
    key = replace(key, material=Material(key.material.reveal().hex().encode()))
    secret.write_bytes(key.material.reveal() + b"\n")
    environment = {**os.environ, "HOME": str(tmp_path), "ANSIBLE_LOCAL_TEMP": str(tmp_path)}

    def run(act: str, file: Path) -> None:
        argv = [str(program), act, "--vault-id", f"v1@{secret}", str(file)]
        ran = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        assert ran.returncode == 0, ran.stderr

    for number, (codec, text) in enumerate(zip([AnsibleVault(key_ids=True), *[AnsibleVault()] * 2],
                                               TEXTS[1:], strict=True)):  # fmt: skip
        file = tmp_path / f"{number}.yml"
        file.write_bytes(codec.encrypt(text.encode(), key) + b"\n")
        run("decrypt", file)
        assert file.read_text(encoding="utf-8") == text
        run("encrypt", file)
        value = file.read_bytes()
        assert value.startswith(b"$ANSIBLE_VAULT;1.2;AES256;v1\n")
        assert codec.decrypt(value.rstrip(b"\n"), key) == text.encode()
