"""Every codec with keys of its kind: what the contract suite runs over."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from certrotd.codecs.age import Age
from certrotd.codecs.ansible_vault import AnsibleVault
from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.encoding import Encoding
from certrotd.codecs.errors import CodecError
from certrotd.codecs.expectation import Json
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.jwe import Jwe
from certrotd.codecs.laravel import Laravel
from certrotd.codecs.layout import IvFrom, Layout, LayoutCipher, Padding
from certrotd.codecs.layouts import Layouts
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.port import Codec
from certrotd.codecs.rails import ActiveRecord
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.codecs.selection import decrypt
from certrotd.codecs.symmetric_encryption import SymmetricEncryption
from certrotd.codecs.tink import Tink
from certrotd.codecs.wso2 import Wso2
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

NOW = 1_790_000_000
PLAINTEXT = b'{"card": "4111 1111 1111 1111", "owner": "canary-plaintext"}'


@dataclass(frozen=True)
class Case:
    """A codec, a key of version 1, one of version 2, and one that claims to be version 1."""

    codec: Codec
    old: DataKey
    new: DataKey
    impostor: DataKey
    holds_nothing: bool = True

    @property
    def bound(self) -> bytes:
        """Associated data, where the format has it."""
        return b"table/column/7" if self.codec.traits.associated_data else b""

    def sample(self, key: DataKey | None = None) -> bytes:
        """PLAINTEXT under ``key``, else the old one."""
        return self.codec.encrypt(PLAINTEXT, key or self.old, self.bound)


def key_of(algorithm: Algorithm, version: int, *, seed: str = "", key_id: str = "") -> DataKey:
    """The same key every time."""
    name = f"{algorithm}/{seed}/{version}".encode()
    secret = sha256(name).digest()[: algorithm.key_bytes]
    iv = sha256(b"iv" + name).digest()[:16] if algorithm.endswith("-cbc") else b""
    return DataKey(version, algorithm, Material(secret), key_id, iv)


def case(codec: Codec, algorithm: Algorithm) -> Case:
    """``codec`` with keys of ``algorithm``."""
    old, new = key_of(algorithm, 1), key_of(algorithm, 2)
    impostor = replace(old, material=key_of(algorithm, 1, seed="other").material)
    return Case(codec, old, new, impostor)


def reencrypt(codec: Codec, ciphertext: bytes, keys: KeySet, bound: bytes = b"") -> bytes:
    """``ciphertext`` under the key that encrypts, in the form that it has."""
    plaintext, _ = decrypt(codec, ciphertext, keys, bound)
    return codec.encrypt(plaintext, keys.encrypting, bound, replacing=ciphertext)


def symmetric(algorithm: Algorithm, **options: Any) -> Case:
    """Symmetric-encryption, which leaves empty values as they are."""
    found = case(SymmetricEncryption(**options), algorithm)
    return replace(found, holds_nothing=False)


def rails(**options: Any) -> Case:
    """Active Record Encryption, by fewer rounds of PBKDF2."""
    return case(ActiveRecord(b"salt", iterations=2, **options), Algorithm.PASSPHRASE)


SYMMETRIC: dict[str, tuple[Algorithm, dict[str, Any]]] = {
    "gcm": (Algorithm.AES_256_GCM, {}),
    "gcm-fixed-iv": (Algorithm.AES_128_GCM, {"random_iv": False}),
    "gcm-lines": (Algorithm.AES_192_GCM, {"encoding": Encoding.BASE64}),
    "gcm-file": (Algorithm.AES_256_GCM, {"encoding": Encoding.NONE, "file": True}),
    "cbc": (Algorithm.AES_256_CBC, {"plaintext": Json()}),
    "cbc-fixed-iv": (
        Algorithm.AES_128_CBC,
        {"plaintext": Json(), "random_iv": False, "encoding": Encoding.BASE64URLSAFE},
    ),
    "cbc-compressed": (
        Algorithm.AES_192_CBC,
        {"plaintext": Json(), "compress": True, "encoding": Encoding.BASE16},
    ),
    "cbc-without-header": (
        Algorithm.AES_256_CBC,
        {"plaintext": Json(), "random_iv": False, "header": False},
    ),
    "cbc-file": (
        Algorithm.AES_256_CBC,
        {"plaintext": Json(), "file": True, "compress": True, "encoding": Encoding.NONE},
    ),
}


LAYOUTS: dict[str, tuple[Algorithm, dict[str, Any]]] = {
    "hex": (
        Algorithm.AES_256_GCM,
        {"layout": "{iv:hex}:{tag:hex}:{ct:hex}", "cipher": LayoutCipher.AES_256_GCM},
    ),
    "key-id": (
        Algorithm.CHACHA20_POLY1305,
        {
            "layout": "enc.{key}.{iv:base64url-unpadded}.base64url-unpadded({ct}{tag})",
            "cipher": LayoutCipher.CHACHA20_POLY1305,
            "associated_data": True,
        },
    ),
    "raw": (
        Algorithm.AES_128_GCM,
        {
            "layout": r"raw(\x01{iv}{ct}{tag})",
            "cipher": LayoutCipher.AES_128_GCM,
            "iv_bytes": 16,
            "associated_data": True,
        },
    ),
    "mac": (
        Algorithm.PASSPHRASE,
        {
            "layout": "{key}:base64({salt}{iv}{mac}{ct})",
            "cipher": LayoutCipher.AES_256_CBC_HMAC_SHA256,
            "kdf": Kdf(KdfName.PBKDF2, "sha512", 2),
            "mac_key": "derived",
        },
    ),
    "cbc": (
        Algorithm.AES_128_CBC,
        {
            "layout": "{iv:hex}:{ct:hex}",
            "cipher": LayoutCipher.AES_128_CBC,
            "plaintext": Json(),
        },
    ),
    "cbc-asterisks": (
        Algorithm.PASSPHRASE,
        {
            "layout": "{ct:base64}",
            "cipher": LayoutCipher.AES_256_CBC,
            "kdf": Kdf(KdfName.SHA256),
            "iv_from": IvFrom.KEY,
            "padding": Padding.ASTERISK,
            "plaintext": Json(),
        },
    ),
    "cfb-scrypt": (
        Algorithm.PASSPHRASE,
        {
            "layout": "v2:{key}:hex({salt}{ct})",
            "cipher": LayoutCipher.AES_256_CFB,
            "kdf": Kdf(KdfName.SCRYPT, n=2),
            "iv_from": IvFrom.KDF,
            "plaintext": Json(),
        },
    ),
}


SALTED = Layout(
    "base64(Salted__{salt}{ct})",
    LayoutCipher.AES_256_CBC,
    Kdf(KdfName.EVP_BYTES_TO_KEY, "md5"),
    IvFrom.KDF,
    salt_bytes=8,
    plaintext=Json(),
    marks=True,
)
NEWER = Layout(
    r"base64(\x01{salt}{tag}{ct})",
    LayoutCipher.AES_256_GCM,
    Kdf(KdfName.HKDF, info=b"example", hashed=True),
    IvFrom.KDF,
    salt_bytes=32,
)

CASES: dict[str, Callable[[], Case]] = {
    **{
        f"tink-{algorithm}": lambda algorithm=algorithm: case(Tink(), algorithm)  # type: ignore[misc]
        for algorithm in sorted(Tink().traits.algorithms)
    },
    "fernet": lambda: case(FernetTokens(now=lambda: NOW), Algorithm.FERNET),
    "node_json": lambda: case(NodeJson(), Algorithm.AES_256_GCM),
    "secretbox": lambda: case(PrefixedSecretbox(), Algorithm.XSALSA20_POLY1305),
    "wso2": lambda: case(Wso2(), Algorithm.AES_256_GCM),
    "wso2-without-key-id": lambda: case(Wso2(key_ids=False), Algorithm.AES_128_GCM),
    **{
        f"symmetric-{name}": partial(symmetric, algorithm, **options)
        for name, (algorithm, options) in SYMMETRIC.items()
    },
    **{
        f"layout-{name}": lambda algorithm=algorithm, options=options: case(  # type: ignore[misc]
            Layout(**options), algorithm
        )
        for name, (algorithm, options) in LAYOUTS.items()
    },
    "layout-marked-by-iv": lambda: case(
        Layout("{iv:hex}:{ct:hex}", LayoutCipher.AES_256_CBC, plaintext=Json(), marks=True),
        Algorithm.AES_256_CBC,
    ),
    "layout-marked-by-salt": lambda: case(SALTED, Algorithm.PASSPHRASE),
    "layout-marked-by-padding": lambda: case(
        Layout(**{**LAYOUTS["cbc-asterisks"][1], "marks": True}), Algorithm.PASSPHRASE
    ),
    "layouts": lambda: case(Layouts((NEWER, SALTED)), Algorithm.PASSPHRASE),
    "age": lambda: case(Age(), Algorithm.AGE_X25519),
    "ansible-vault": lambda: case(AnsibleVault(iterations=2), Algorithm.PASSPHRASE),
    "laravel-cbc": lambda: case(Laravel(), Algorithm.AES_256_CBC),
    "laravel-gcm": lambda: case(Laravel(), Algorithm.AES_128_GCM),
    "jwe": lambda: case(Jwe(), Algorithm.AES_256_GCM),
    "jwe-wrapped": lambda: case(Jwe(wrapped=True), Algorithm.AES_192_GCM),
    "jwe-wrapped-cbc": lambda: case(Jwe(wrapped=True, enc="A256CBC-HS512"), Algorithm.AES_256_GCM),
    "rails": lambda: rails(),
    "rails-deterministic": lambda: rails(deterministic=True, digest="sha1"),
    "rails-key-references": lambda: rails(key_references=True),
    "wso2-plaintext-json": lambda: case(Wso2(Json()), Algorithm.AES_192_GCM),
}


@contextmanager
def _refused(kind: type[CodecError], *keys: DataKey) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    shown = f"{caught.value} {caught.value!r} {caught.value.args}"
    assert len(shown) < 1000
    assert "canary" not in shown
    for key in keys:
        assert key.material.reveal().hex() not in shown


def refused(case: Case, kind: type[CodecError] = CodecError) -> AbstractContextManager[None]:
    """The block raises ``kind``, and what it says shows neither a key nor a plaintext."""
    return _refused(kind, case.old, case.new, case.impostor)
