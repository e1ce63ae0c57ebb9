"""The forms of ciphertext that a dataset may have: a word, or a mapping with options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from certrotd.config.base import REFUSED, Entry, Text, refuse
from certrotd.config.secrets import Reference, SecretRef, TextOrSecret
from certrotd.errors import InvalidInput

if TYPE_CHECKING:
    from certrotd.codecs.derivation import Kdf
    from certrotd.codecs.layout import Layout

CODEC_ALGORITHMS: dict[str, frozenset[str]] = {
    "tink": frozenset(
        {
            *("aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "aes-128-gcm-siv", "aes-256-gcm-siv"),
            "chacha20-poly1305",
        }
    ),
    "fernet": frozenset({"fernet"}),
    "laravel": frozenset({"aes-128-cbc", "aes-256-cbc", "aes-128-gcm", "aes-256-gcm"}),
    "node-json": frozenset({"aes-256-gcm"}),
    "secretbox": frozenset({"xsalsa20-poly1305"}),
    "jwe": frozenset({"aes-128-gcm", "aes-192-gcm", "aes-256-gcm"}),
    "rails": frozenset({"passphrase"}),
    "wso2": frozenset({"aes-128-gcm", "aes-192-gcm", "aes-256-gcm"}),
}
"""The algorithms of the keys that each codec takes; those of a layout are told by its cipher, and
of JWE by its ``alg``."""
_KDF_SALT = b"salt"


class RailsCodecEntry(Entry):
    """Values of Rails' Active Record Encryption."""

    type: Literal["rails"] = Field(description="What Rails' Active Record Encryption stores.")
    salt: SecretRef = Field(description="The application's key_derivation_salt.")
    deterministic: bool = Field(
        default=False, description="As the attribute's option: such values can be searched for."
    )
    digest: Literal["sha256", "sha1"] = Field(
        default="sha256",
        description="What keys are derived by: hash_digest_class (before Rails 7.1 sha1).",
    )
    key_references: bool = Field(
        default=False, description="Whether the application has store_key_references."
    )
    compress: bool = Field(default=True, description="As the attribute's option.")

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        return CODEC_ALGORITHMS["rails"]


class JweCodecEntry(Entry):
    """JSON Web Encryption in its compact form."""

    type: Literal["jwe"] = Field(description="JSON Web Encryption (RFC 7516), compact.")
    alg: Literal["dir", "A128GCMKW", "A192GCMKW", "A256GCMKW"] = Field(
        default="dir", description="By the key itself, or by keys that it wraps."
    )
    enc: (
        Literal["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"]
        | None
    ) = Field(
        default=None,
        description="Of plaintext that is encrypted; other values keep theirs (null: A256GCM; with "
        "dir by the length of the key).",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.alg == "dir" and self.enc is not None:
            raise refuse("enc belongs to A128GCMKW, A192GCMKW and A256GCMKW: dir has the key's own")
        return self

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        if self.alg == "dir":
            return CODEC_ALGORITHMS["jwe"]
        return frozenset({f"aes-{self.alg[1:4]}-gcm"})


class Wso2CodecEntry(Entry):
    """Values of WSO2 Identity Server and API Manager."""

    type: Literal["wso2"] = Field(description="What WSO2's servers store, with AES-GCM.")
    key_ids: bool = Field(
        default=True, description="Whether keyId is written: encryption.enable_key_id."
    )

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        return CODEC_ALGORITHMS["wso2"]


class KdfEntry(Entry):
    """How an application makes the cipher's key from a passphrase."""

    name: Literal["sha256", "pbkdf2", "scrypt", "hkdf"] = Field(
        description="The function: sha256 (one hash), pbkdf2, scrypt or hkdf."
    )
    digest: Literal["sha1", "sha256", "sha384", "sha512"] = Field(
        default="sha256", description="Of pbkdf2 and hkdf."
    )
    iterations: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=0, description="Of pbkdf2, which needs it."
    )
    salt: TextOrSecret | None = Field(
        default=None, description="The salt of all values (null: none, or {salt} in the layout)."
    )
    info: Annotated[str, Field(max_length=1000)] = Field(default="", description="Of hkdf.")
    n: Annotated[int, Field(ge=0, le=2**24)] = Field(
        default=0, description="The cost of scrypt, a power of two, which it needs."
    )
    r: Annotated[int, Field(ge=1, le=1024)] = Field(default=8, description="Of scrypt.")
    p: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="Of scrypt.")

    def salt_bytes(self) -> bytes:
        """The salt, read where it is kept; raises NeedsOperator."""
        if self.salt is None:
            return b""
        return self.salt.encode() if isinstance(self.salt, str) else _revealed(self.salt)

    def kdf(self, salt: bytes) -> Kdf:
        """The function, with that salt; raises InvalidInput."""
        from certrotd.codecs.derivation import Kdf, KdfName

        name, info = KdfName(self.name), self.info.encode()
        return Kdf(name, self.digest, self.iterations, salt, info, self.n, self.r, self.p)


class LayoutCodecEntry(Entry):
    """A form of an application's own."""

    type: Literal["layout"] = Field(description="A form of the application's own.")
    layout: Text = Field(
        description='Where the parts of a value stand, as in "{iv:hex}:{tag:hex}:{ct:hex}".'
    )
    cipher: Literal[
        "aes-128-gcm",
        "aes-192-gcm",
        "aes-256-gcm",
        "chacha20-poly1305",
        "aes-128-cbc-hmac-sha256",
        "aes-256-cbc-hmac-sha256",
    ] = Field(description="The cipher; each tells a wrong key.")
    kdf: KdfEntry | None = Field(
        default=None,
        description="How the application makes the cipher's key; the keyring's algorithm is "
        "passphrase then (null: the key is the cipher's own).",
    )
    iv_from: Literal["layout", "kdf"] = Field(
        default="layout", description="Where the iv is: in the layout, or made by the kdf."
    )
    iv_bytes: Annotated[int, Field(ge=12, le=16)] | None = Field(
        default=None, description="Of the iv: 12 or 16 (null: 12, with AES-CBC 16)."
    )
    salt_bytes: Annotated[int, Field(ge=8, le=64)] = Field(
        default=16, description="Of {salt} in the layout."
    )
    mac_key: Literal["same", "derived"] = Field(
        default="same",
        description="Whether the HMAC has the cipher's key, or what the kdf makes after it.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.checked(bound=False)
        return self

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        return frozenset(map(str, self.checked(bound=False).traits.algorithms))

    def checked(self, *, bound: bool) -> Layout:
        """The layout, with no real salt; a refusal says what does not go together.

        ``bound``: whether values are bound by associated data.
        """
        salt = _KDF_SALT if self.kdf is not None and self.kdf.salt is not None else b""
        try:
            return self._layout(salt, bound=bound)
        except InvalidInput as error:
            raise refuse(str(error)) from None

    def codec(self, *, bound: bool) -> Layout:
        """The layout; raises NeedsOperator for a salt that cannot be read."""
        return self._layout(self.kdf.salt_bytes() if self.kdf is not None else b"", bound=bound)

    def _layout(self, salt: bytes, *, bound: bool) -> Layout:
        from certrotd.codecs.derivation import Kdf
        from certrotd.codecs.layout import IvFrom, Layout, LayoutCipher

        return Layout(
            self.layout,
            LayoutCipher(self.cipher),
            self.kdf.kdf(salt) if self.kdf is not None else Kdf(),
            IvFrom(self.iv_from),
            self.iv_bytes or 0,
            self.salt_bytes,
            self.mac_key,
            associated_data=bound,
        )


def _revealed(secret: Reference) -> bytes:
    return secret.resolve().reveal()


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return "~word" if value in get_args(CodecWord) else None
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"~{kind}" if kind in ("jwe", "rails", "wso2", "layout") else None


CodecWord = Literal["tink", "fernet", "laravel", "node-json", "secretbox"]
CodecEntry = Annotated[
    Annotated[CodecWord, Tag("~word")]
    | Annotated[JweCodecEntry, Tag("~jwe")]
    | Annotated[RailsCodecEntry, Tag("~rails")]
    | Annotated[Wso2CodecEntry, Tag("~wso2")]
    | Annotated[LayoutCodecEntry, Tag("~layout")],
    Discriminator(
        _tag,
        custom_error_type=REFUSED,
        custom_error_message=f"must be {', '.join(get_args(CodecWord))}, or a mapping with type "
        "jwe, rails, wso2 or layout",
    ),
]


def codec_name(entry: CodecEntry) -> str:
    """What the file calls it."""
    return entry if isinstance(entry, str) else entry.type


def algorithms_of(entry: CodecEntry) -> frozenset[str]:
    """The keys that it takes."""
    return CODEC_ALGORITHMS[entry] if isinstance(entry, str) else entry.algorithms
