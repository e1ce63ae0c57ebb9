"""JWE: what RFC 7520 and jwcrypto have, and what joserfc reads and writes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.errors import Damaged, UnknownKey, Unsupported, WrongKey
from certrotd.codecs.jwe import Jwe
from certrotd.codecs.selection import decrypt
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.contract.codec_cases import key_of, reencrypt

VECTORS = Path(__file__).parent.parent / "vectors"
GCM = (Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM)


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header_of(value: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes_of(value.split(b".")[0].decode()))
    return found


def key_from(k: str, kid: str) -> DataKey:
    secret = bytes_of(k)
    return DataKey(1, Algorithm(f"aes-{len(secret) * 8}-gcm"), Material(secret), kid)


def known(source: str) -> tuple[Jwe, DataKey, bytes, bytes]:
    """A codec, a key, a plaintext and its ciphertext."""
    if source == "jwcrypto":
        told = json.loads((VECTORS / "python.json").read_text())["jwe"]
        value, jwk = told["values"][0], told["jwk"]
        return Jwe(), key_from(jwk["k"], jwk["kid"]), value["plaintext"].encode(), b(value)
    values = json.loads((VECTORS / "jwe.json").read_text())
    [value] = [each for each in values if each["source"] == source]
    codec = Jwe(wrapped=source.endswith("5.7"))
    return codec, key_from(value["k"], value["kid"]), value["plaintext"].encode(), b(value)


def b(value: dict[str, str]) -> bytes:
    return value["compact"].encode()


@pytest.mark.parametrize("source", ["RFC 7520 5.6", "RFC 7520 5.7", "jwcrypto"])
def test_a_known_answer_opens_and_moves_to_a_new_key_in_its_own_form(source: str) -> None:
    """``alg`` and ``enc`` stay; ``kid`` is the new key's."""
    codec, old, plaintext, value = known(source)
    new = key_of(old.algorithm, 2, key_id="new")
    keys = KeySet.of([old, new], active=2)
    assert codec.key_id_of(value) == old.id
    assert decrypt(codec, value, keys) == (plaintext, old)
    moved = reencrypt(codec, value, keys)
    assert decrypt(codec, moved, keys) == (plaintext, new)
    changed = {"kid", "iv", "tag"}
    before, after = header_of(value), header_of(moved)
    assert after["kid"] == "new"
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if name not in changed)


def peer(key: DataKey) -> tuple[Any, Any]:
    """The key, and what joserfc may do with it."""
    from joserfc import jwe, jwk

    names = ["dir", *(f"A{n}GCM{kw}" for n in (128, 192, 256) for kw in ("", "KW"))]
    names += ["A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"]
    oct_key = jwk.OctKey.import_key(key.material.reveal(), {"kid": key.id})
    return oct_key, jwe.JWERegistry(algorithms=names)


@pytest.mark.parametrize("algorithm", GCM)
@pytest.mark.parametrize("enc", ["", "A128GCM", "A192GCM", "A128CBC-HS256", "A192CBC-HS384"])
def test_joserfc_reads_what_is_written_and_the_other_way_round(
    algorithm: Algorithm, enc: str
) -> None:
    """Another implementation: directly, and with a wrapped key; types of content stay."""
    from joserfc import jwe

    key, old = key_of(algorithm, 2, key_id="k2"), key_of(algorithm, 1, key_id="k1")
    bits, (theirs, registry) = len(key.material) * 8, peer(key)
    codec = Jwe(wrapped=True, enc=enc) if enc else Jwe()
    for plaintext in (b"", "Größe €uro 🔑".encode(), b"a" * 1000):
        written = codec.encrypt(plaintext, key).decode()
        assert jwe.decrypt_compact(written, theirs, registry=registry).plaintext == plaintext
        oldest, _ = peer(old)
        header = {"cty": "json", "enc": enc or f"A{bits}GCM", "typ": "JWT", "kid": "k1"}
        header["alg"] = f"A{bits}GCMKW" if enc else "dir"
        value = jwe.encrypt_compact(header, plaintext, oldest, registry=registry).encode()
        moved = reencrypt(codec, value, KeySet.of([old, key], active=2))
        found = jwe.decrypt_compact(moved.decode(), theirs, registry=registry)
        assert found.plaintext == plaintext
        assert (found.headers()["typ"], found.headers()["cty"]) == ("JWT", "json")


def altered(value: bytes, **changes: object) -> bytes:
    """``value`` with another header; a change to None leaves a member out."""
    header = {k: v for k, v in (header_of(value) | changes).items() if v is not None}
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    return b".".join([text, *value.split(b".")[1:]])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"zip": "DEF"}, Unsupported),
        ({"crit": ["exp"]}, Damaged),
        ({"crit": "exp"}, Unsupported),
        ({"alg": "A256KW"}, Unsupported),
        ({"alg": "RSA-OAEP"}, Unsupported),
        ({"alg": None}, Damaged),
        ({"enc": None}, Damaged),
        ({"enc": "A256CBC-HS512"}, Unsupported),
        ({"enc": "none"}, Unsupported),
        ({"iv": "AAAA", "tag": "AAAA"}, Unsupported),
        ({"kid": 7}, Damaged),
        ({"kid": "k" * 129}, Unsupported),
        ({"kid": "k\n"}, Unsupported),
        ({"kid": "another"}, UnknownKey),
        ({"enc": "A128GCM"}, WrongKey),
        ({"typ": "JWT"}, WrongKey),
        ({"kid": None}, WrongKey),
    ],
)
def test_a_header_that_is_not_understood_or_was_altered_is_refused(
    changes: dict[str, object], kind: type[Exception]
) -> None:
    """What re-encryption would lose is not read; the header is authenticated."""
    key = key_of(Algorithm.AES_256_GCM, 1)
    value = Jwe().encrypt(b"x", key)
    with pytest.raises(kind):
        decrypt(Jwe(), altered(value, **changes), KeySet.of([key], active=1))


def test_a_value_of_the_other_kind_is_refused() -> None:
    """A key is used in one way."""
    key = key_of(Algorithm.AES_256_GCM, 1)
    for codec, other in ((Jwe(), Jwe(wrapped=True)), (Jwe(wrapped=True), Jwe())):
        with pytest.raises(Unsupported):
            other.decrypt(codec.encrypt(b"x", key), key)
    with pytest.raises(Unsupported):
        Jwe(enc="A128CBC")
    with pytest.raises(Unsupported, match="ASCII"):
        Jwe().key_id_for(key_of(Algorithm.AES_256_GCM, 1, key_id="ü"))


def test_a_value_without_kid_is_of_the_key_that_opens_it() -> None:
    """The tag proves it."""
    key, other = key_of(Algorithm.AES_256_GCM, 1), key_of(Algorithm.AES_256_GCM, 2)
    from joserfc import jwe

    theirs, registry = peer(key)
    value = jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, b"x", theirs, registry=registry)
    keys = KeySet.of([key, other], active=2)
    assert Jwe().key_id_of(value.encode()) is None
    assert decrypt(Jwe(), value.encode(), keys) == (b"x", key)
    assert Jwe().key_id_of(reencrypt(Jwe(), value.encode(), keys)) == "2"
