"""Known answers: a layout, a cipher and a KDF say what applications and libraries wrote."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.expectation import Matching, Utf8
from certrotd.codecs.laravel import Laravel
from certrotd.codecs.layout import IvFrom, Layout, LayoutCipher, Padding
from certrotd.codecs.patterns import WholePattern
from certrotd.codecs.rails import ActiveRecord
from certrotd.codecs.selection import decrypt
from certrotd.errors import InvalidInput
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.contract.codec_cases import reencrypt

VECTORS = Path(__file__).parent.parent / "vectors"
GCM = LayoutCipher.AES_256_GCM


def vectors(name: str) -> Any:
    """The JSON file ``name``."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def raw_key(
    secret: bytes, algorithm: Algorithm = Algorithm.AES_256_GCM, key_id: str = ""
) -> DataKey:
    """A key of ``secret``."""
    return DataKey(1, algorithm, Material(secret), key_id)


def passphrase(text: str) -> DataKey:
    """The key of a configuration."""
    return raw_key(text.encode(), Algorithm.PASSPHRASE)


def opens(codec: Layout, key: DataKey, stored: str | bytes, plaintext: str) -> None:
    """``stored`` is ``plaintext``, what the codec writes has the same form, and is as long."""
    sealed = stored.encode() if isinstance(stored, str) else stored
    assert codec.decrypt(sealed, key) == plaintext.encode()
    ours = codec.encrypt(plaintext.encode(), key, replacing=sealed)
    assert len(ours) == len(sealed)
    assert codec.decrypt(ours, key) == plaintext.encode()
    if codec.traits.deterministic:
        assert ours == sealed


HOME_GROWN = {
    "hex(iv):hex(tag):hex(ct)": Layout("{iv:hex}:{tag:hex}:{ct:hex}", GCM),
    "b64(iv|tag|ct)": Layout("base64({iv}{tag}{ct})", GCM),
    "cbc hex(iv):hex(ct)": Layout("{iv:hex}:{ct:hex}", LayoutCipher.AES_256_CBC, plaintext=Utf8()),
    "hex(iv16):hex(ct):hex(tag)": Layout("{iv:hex}:{ct:hex}:{tag:hex}", GCM, iv_bytes=16),
    "b64(iv|ct|tag)": Layout("base64({iv}{ct}{tag})", GCM),
}


def test_what_home_grown_code_on_node_wrote_opens() -> None:
    """Five forms, each of a small application."""
    known = vectors("node/libs.json")["layouts"]
    secret = bytes.fromhex(known["key_hex"])
    assert {value["layout"] for value in known["values"]} == set(HOME_GROWN)
    for value in known["values"]:
        codec = HOME_GROWN[value["layout"]]
        (algorithm,) = codec.traits.algorithms
        opens(codec, raw_key(secret, algorithm), value["ciphertext"], value["plaintext"])


def test_what_cryptojs_and_n8n_wrote_opens() -> None:
    """``Salted__`` as of ``openssl enc``, and n8n's newer AES-GCM."""
    known = vectors("node/libs.json")
    salted = Layout(
        "base64(Salted__{salt}{ct})",
        LayoutCipher.AES_256_CBC,
        Kdf(KdfName.EVP_BYTES_TO_KEY, "md5"),
        IvFrom.KDF,
        salt_bytes=8,
        plaintext=Utf8(),
    )
    for value in known["cryptojs"]["values"]:
        key = passphrase(known["cryptojs"]["passphrase"])
        opens(salted, key, value["ciphertext"], value["plaintext"])
    newer = Layout(
        r"base64(\x01{salt}{tag}{ct})",
        GCM,
        Kdf(KdfName.HKDF, info=b"n8n-encryption-v1"),
        IvFrom.KDF,
        salt_bytes=32,
    )
    for value in known["n8n_gcm"]["values"]:
        key = raw_key(bytes.fromhex(known["n8n_gcm"]["key_hex"]), Algorithm.PASSPHRASE)
        opens(newer, key, value["ciphertext"], value["plaintext"])


def test_what_cloak_wrote_opens_with_the_key_of_its_fingerprint() -> None:
    """Of prisma-field-encryption: the key's id is the fingerprint."""
    known = vectors("node/libs.json")["cloak47"]
    secret = base64.urlsafe_b64decode(known["key"].split(".")[2])
    key = raw_key(secret, key_id=known["fingerprint"])
    codec = Layout("v1.aesgcm256.{key}.{iv:base64url}.base64url({ct}{tag})", GCM)
    for value in known["values"]:
        assert codec.key_id_of(value["ciphertext"].encode()) == known["fingerprint"]
        opened = decrypt(codec, value["ciphertext"].encode(), KeySet.of([key], active=1))
        assert opened.plaintext == value["plaintext"].encode()
        ours = codec.encrypt(opened.plaintext, key)
        assert ours.startswith(codec.sql_prefixes(known["fingerprint"])[0])
        assert len(ours) == len(value["ciphertext"])


@pytest.mark.parametrize("cipher", ["aes-cfb", "aes-gcm"])
def test_what_grafana_wrote_opens(cipher: str) -> None:
    """Its test's own answers; ``data_keys`` hold the same with the algorithm in front."""
    known = vectors("grafana.json")
    stored = bytes.fromhex(known[f"{cipher}_hex"])
    kdf = Kdf(KdfName.PBKDF2, iterations=10_000)
    name = base64.b64encode(cipher.encode()).rstrip(b"=").decode()
    for mark in ("", f"*{name}*"):
        if cipher == "aes-gcm":
            layout = Layout(f"raw({mark}{{salt}}{{iv}}{{ct}}{{tag}})", GCM, kdf, salt_bytes=8)
        else:
            layout = Layout(
                f"raw({mark}{{salt}}{{iv}}{{ct}})",
                LayoutCipher.AES_256_CFB,
                kdf,
                salt_bytes=8,
                plaintext=Utf8(),
            )
        sealed = mark.encode() + stored
        opens(layout, passphrase(known["secret"]), sealed, known["plaintext"])


def test_what_sqlalchemy_utils_wrote_opens() -> None:
    """Superset's engine to the byte, with either padding, and the AES-GCM engine."""
    known = vectors("python.json")["sqlalchemy_utils"]
    kdf = Kdf(KdfName.SHA256)
    codecs = {
        "naive": Layout(
            "{ct:base64}",
            LayoutCipher.AES_256_CBC,
            kdf,
            IvFrom.KEY,
            padding=Padding.ASTERISK,
            plaintext=Utf8(),
        ),
        "pkcs5": Layout("{ct:base64}", LayoutCipher.AES_256_CBC, kdf, IvFrom.KEY, plaintext=Utf8()),
        None: Layout("base64({iv}{tag}{ct})", GCM, kdf),
    }
    engines = [v for v in known["values"] if v["engine"] != "FernetEngine"]
    assert len(engines) == 5
    for value in engines:
        opens(
            codecs[value["padding"]], passphrase(known["key"]), value["stored"], value["plaintext"]
        )


def test_what_lockbox_wrote_opens_with_the_key_of_its_attribute() -> None:
    """Base64 of nonce, ciphertext and tag."""
    for value in vectors("lockbox.json")["values"]:
        key = raw_key(bytes.fromhex(value["attribute_key"]))
        opens(Layout("base64({iv}{ct}{tag})", GCM), key, value["ciphertext"], value["plaintext"])


def test_what_rails_message_encryptor_wrote_by_gcm_opens() -> None:
    """With its key made of secret_key_base; credentials files are of another key length."""
    known = vectors("rails_messages.json")[0]
    derived = known["derived_from"]
    kdf = Kdf(KdfName.PBKDF2, iterations=derived["iterations"], salt=derived["salt"].encode())
    codec = Layout("{ct:base64}--{iv:base64}--{tag:base64}", GCM, kdf)
    key = passphrase(derived["secret_key_base"])
    plaintext = codec.decrypt(known["message"].encode(), key)
    assert known["plaintext"].encode() in plaintext
    opens(codec, key, known["message"], plaintext.decode())


@pytest.mark.parametrize("index", range(20))
def test_what_laravel_wrote_opens_and_its_serialized_bytes_stay(index: int) -> None:
    """AES-CBC with a MAC and AES-GCM, of both lengths of key."""
    value = vectors("laravel.json")["values"][index]
    secret = base64.b64decode(value["app_key"].removeprefix("base64:"))
    algorithm = Algorithm(value["cipher"].lower())
    codec = Laravel()
    old = DataKey(1, algorithm, Material(secret))
    new = DataKey(2, algorithm, Material(bytes(len(secret))))
    keys = KeySet.of([old, new], active=2)
    plaintext, stored = value["plaintext"].encode(), value["ciphertext"].encode()
    serialized = b's:%d:"%s";' % (len(plaintext), plaintext)
    assert decrypt(codec, stored, keys) == (serialized, old)
    moved = reencrypt(codec, stored, keys)
    assert decrypt(codec, moved, keys) == (serialized, new)
    assert len(moved) == len(stored)


@pytest.mark.parametrize("index", range(10))
def test_what_active_record_wrote_opens_and_deterministic_values_are_written_to_the_byte(
    index: int,
) -> None:
    """Otherwise the application's queries no longer find its rows."""
    value = vectors("rails.json")["values"][index]
    digest = value["hash_digest"].rpartition("::")[2].lower()
    plaintext = value["plaintext"].encode()
    keys = [
        DataKey(n, Algorithm.PASSPHRASE, Material(text.encode()))
        for n, text in enumerate(value["primary_key"], start=1)
    ]
    salt, references = value["key_derivation_salt"].encode(), value["store_key_references"]
    codec = ActiveRecord(salt, digest=digest, key_references=references)
    stored = value["nondeterministic"].encode()
    assert decrypt(codec, stored, KeySet.of(keys, active=1)) == (plaintext, keys[-1])
    assert len(codec.encrypt(plaintext, keys[-1])) == len(stored)
    if references:
        ids = vectors("rails.json")["key_ids"]
        assert [codec.key_id_for(k) for k in keys] == [
            ids[text]["id"] for text in value["primary_key"]
        ]
        assert codec.key_id_of(stored) == codec.key_id_for(keys[-1])
    searchable = ActiveRecord(salt, deterministic=True, digest=digest, key_references=references)
    key = passphrase(value["deterministic_key"])
    stored = value["deterministic"].encode()
    assert searchable.decrypt(stored, key) == plaintext
    assert searchable.encrypt(plaintext, key, replacing=stored) == stored


CBC, CHACHA = LayoutCipher.AES_256_CBC, LayoutCipher.CHACHA20_POLY1305
MAC, SHA256 = LayoutCipher.AES_256_CBC_HMAC_SHA256, Kdf(KdfName.SHA256)
ALL = "{iv:hex}:{ct:hex}:{tag:hex}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layout": "{iv:hex}{ct:hex}:{tag:hex}"}, "side by side"),
        ({"layout": "{key}{ct:hex}:{iv:hex}:{tag:hex}"}, "side by side"),
        ({"layout": "{iv:hex}a{ct:hex}:{tag:hex}"}, "one of its own characters"),
        ({"layout": "{key}-{iv:hex}:{ct:hex}:{tag:hex}"}, "one of its own characters"),
        ({"layout": "{iv:base64}={ct:hex}:{tag:hex}"}, "one of its own characters"),
        ({"layout": "{iv:hex}:{ct:hex}:{tag:hex}:{ct:hex}"}, "twice"),
        ({"layout": "{iv:hex}:{tag:hex}"}, "no {ct}"),
        ({"layout": "{iv:hex}:{ct:hex}"}, "no {tag}"),
        ({"layout": "{iv:hex}:{ct:hex}:{tag:hex}:{mac:hex}"}, "a {mac}"),
        ({"layout": "{ct:hex}:{tag:hex}"}, "no {iv}"),
        ({"layout": "{iv}:{ct:hex}:{tag:hex}"}, "needs an encoding"),
        ({"layout": "{nonce:hex}:{ct:hex}:{tag:hex}"}, "parts are"),
        ({"layout": "base64({iv}{ct}{tag}{key})"}, "parts are"),
        ({"layout": "base64(hex({iv}){ct}{tag})"}, "within another"),
        ({"layout": "base64({iv}{ct}{tag}"}, "open bracket"),
        ({"layout": "base64({iv}{ct}{tag}))"}, "too many"),
        ({"layout": "base32({iv}{ct}{tag})"}, "cannot be read"),
        ({"layout": "v1raw({iv}{ct}{tag})"}, "whole layout"),
        ({"layout": "ü:" + ALL}, "not ASCII"),
        ({"layout": "{salt:hex}:" + ALL}, "needs a kdf with salt"),
        ({"cipher": CHACHA, "iv_bytes": 16}, "no iv_bytes"),
        ({"cipher": CBC, "layout": "{iv:hex}:{ct:hex}"}, "seem to open with a wrong key"),
        (
            {
                "cipher": LayoutCipher.AES_256_CFB,
                "layout": "{iv:hex}:{ct:hex}",
                "plaintext": Utf8(),
            },
            "needs a kdf:",
        ),
        (
            {"layout": "{ct:hex}:{tag:hex}", "kdf": SHA256, "iv_from": IvFrom.KEY},
            "reveals plaintext",
        ),
        ({"layout": "{ct:hex}:{tag:hex}", "kdf": SHA256, "iv_from": IvFrom.KDF}, "makes no iv"),
        (
            {"layout": "{ct:hex}:{tag:hex}", "kdf": Kdf(KdfName.HKDF), "iv_from": IvFrom.KDF},
            "reveals plaintext",
        ),
        ({"cipher": MAC, "layout": "{iv:hex}:{ct:hex}:{mac:hex}", "mac_key": "other"}, "same or"),
        (
            {"cipher": MAC, "layout": "{iv:hex}:{ct:hex}:{mac:hex}", "mac_key": "derived"},
            "does not make 64",
        ),
        (
            {"cipher": MAC, "layout": "{iv:hex}:{ct:hex}:{mac:hex}", "associated_data": True},
            "no associated data",
        ),
        ({"mac_key": "derived"}, "has no MAC"),
        ({"padding": Padding.ZERO}, "pads nothing"),
    ],
)
def test_a_layout_that_is_ambiguous_or_does_not_fit_is_refused(
    arguments: dict[str, Any], said: str
) -> None:
    """When it is configured, in words; not when the first value is met."""
    Layout(ALL, GCM)
    with pytest.raises(InvalidInput) as caught:
        Layout(**({"layout": ALL, "cipher": GCM} | arguments))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": KdfName.PBKDF2},
        {"name": KdfName.PBKDF2, "iterations": 10_000_001},
        {"name": KdfName.PBKDF2, "iterations": 1, "digest": "md5"},
        {"name": KdfName.SHA256, "iterations": 1},
        {"name": KdfName.SHA256, "salt": b"x"},
        {"name": KdfName.SHA256, "info": b"x"},
        {"name": KdfName.SCRYPT, "n": 1000},
        {"name": KdfName.SCRYPT, "n": 2**20, "r": 8},
        {"name": KdfName.HKDF, "n": 2},
    ],
)
def test_a_kdf_that_does_not_fit_is_refused(arguments: dict[str, Any]) -> None:
    """Also one that would take hours or gigabytes."""
    with pytest.raises(InvalidInput):
        Kdf(**arguments)


def test_asterisks_at_the_end_of_a_plaintext_are_refused_not_lost() -> None:
    """That padding cannot tell them from its own."""
    codec = Layout(
        "{ct:base64}", CBC, SHA256, IvFrom.KEY, padding=Padding.ASTERISK, plaintext=Utf8()
    )
    with pytest.raises(InvalidInput, match="cut off"):
        codec.encrypt(b"secret*", passphrase("key"))


def test_a_wrong_key_that_seems_to_open_cbc_is_refused_by_what_is_expected() -> None:
    """Of 2,000 keys, several give whole padding, and none the expected text."""

    codec = Layout(
        "{iv:hex}:{ct:hex}", CBC, SHA256, plaintext=Matching(WholePattern("card [0-9]{16}"))
    )
    lax = Layout("{iv:hex}:{ct:hex}", CBC, SHA256, plaintext=Anything())
    sealed = codec.encrypt(b"card 4111111111111111", passphrase("right"))
    seemed = 0
    for n in range(2_000):
        key = passphrase(f"wrong {n}")
        try:
            lax.decrypt(sealed, key)
        except InvalidInput:
            continue
        seemed += 1
        with pytest.raises(InvalidInput):
            codec.decrypt(sealed, key)
    assert seemed


class Anything:
    """Expects nothing."""

    def holds(self, plaintext: bytes) -> bool:
        """True."""
        return True
