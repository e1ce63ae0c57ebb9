"""The forms of ciphertext that a dataset may have: a word, or a mapping with options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from certrotd.config.base import REFUSED, Entry, Items, Text, refuse
from certrotd.config.secrets import Reference, SecretRef, TextOrSecret
from certrotd.errors import InvalidInput

if TYPE_CHECKING:
    from certrotd.codecs.derivation import Kdf
    from certrotd.codecs.layout import Layout
    from certrotd.codecs.layouts import Layouts

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
    "symmetric-encryption": frozenset(
        {
            *("aes-128-cbc", "aes-192-cbc", "aes-256-cbc"),
            *("aes-128-gcm", "aes-192-gcm", "aes-256-gcm"),
        }
    ),
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

    name: Literal["sha256", "pbkdf2", "scrypt", "hkdf", "evp_bytes_to_key"] = Field(
        description="The function: sha256 (one hash), pbkdf2, scrypt, hkdf, or OpenSSL's "
        "evp_bytes_to_key."
    )
    digest: Literal["md5", "sha1", "sha256", "sha384", "sha512"] = Field(
        default="sha256",
        description="Of pbkdf2, hkdf and evp_bytes_to_key, which alone takes md5.",
    )
    hashed: bool = Field(
        default=False, description="Whether it is given one SHA-256 of the passphrase instead."
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

        name, info, costs = KdfName(self.name), self.info.encode(), (self.n, self.r, self.p)
        return Kdf(name, self.digest, self.iterations, salt, info, *costs, self.hashed)


class LayoutForm(Entry):
    """Where the parts of a value stand, its cipher, and how its key is made."""

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
        "aes-128-cbc",
        "aes-192-cbc",
        "aes-256-cbc",
        "aes-256-cfb",
    ] = Field(
        description="The cipher; aes-…-cbc and aes-256-cfb do not tell a wrong key, and need "
        "expects."
    )
    kdf: KdfEntry | None = Field(
        default=None,
        description="How the application makes the cipher's key; the keyring's algorithm is "
        "passphrase then (null: the key is the cipher's own).",
    )
    iv_from: Literal["layout", "kdf", "key"] = Field(
        default="layout",
        description="Where the iv is: in the layout, made by the kdf, or the beginning of the key.",
    )
    padding: Literal["pkcs7", "asterisk"] = Field(
        default="pkcs7", description="What fills the last block of AES-CBC."
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

    def built(self, salt: bytes, *, bound: bool) -> Layout:
        """The layout; raises InvalidInput for what does not go together.

        Where the cipher does not tell a wrong key, what it writes is marked, and the dataset looks
        at what its values open to.
        """
        from certrotd.codecs.derivation import Kdf
        from certrotd.codecs.expectation import Anything
        from certrotd.codecs.layout import IvFrom, Layout, LayoutCipher, Padding

        cipher = LayoutCipher(self.cipher)
        told_by_cipher = cipher.is_aead or cipher.has_mac
        return Layout(
            self.layout,
            cipher,
            self.kdf.kdf(salt) if self.kdf is not None else Kdf(),
            IvFrom(self.iv_from),
            self.iv_bytes or 0,
            self.salt_bytes,
            self.mac_key,
            Padding(self.padding),
            associated_data=bound,
            plaintext=None if told_by_cipher else Anything(),
            marks=not told_by_cipher,
        )

    def checked_form(self, *, bound: bool = False) -> Layout:
        """As built(), with no real salt; a refusal is one of the configuration."""
        salt = _KDF_SALT if self.kdf is not None and self.kdf.salt is not None else b""
        try:
            return self.built(salt, bound=bound)
        except InvalidInput as error:
            raise refuse(str(error)) from None

    def form(self, *, bound: bool = False) -> Layout:
        """The layout; raises NeedsOperator for a salt that cannot be read."""
        return self.built(self.kdf.salt_bytes() if self.kdf is not None else b"", bound=bound)


class LayoutCodecEntry(LayoutForm):
    """A form of an application's own."""

    type: Literal["layout"] = Field(description="A form of the application's own.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.checked()
        return self

    def checked(self, *, bound: bool = False) -> Layout:
        """As LayoutForm.checked_form."""
        return self.checked_form(bound=bound)

    def codec(self, *, bound: bool) -> Layout:
        """As LayoutForm.form."""
        return self.form(bound=bound)

    @property
    def names_keys(self) -> bool:
        """Whether its ciphertext says which key it is under."""
        return self.checked().traits.key_id != "none"

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        return frozenset(map(str, self.checked().traits.algorithms))


class LayoutsCodecEntry(Entry):
    """Several forms of an application, which has changed how it encrypts."""

    type: Literal["layouts"] = Field(
        description="Several layouts, told apart by how their values begin."
    )
    forms: Annotated[Items[LayoutForm], Field(min_length=2, max_length=16)] = Field(
        description="The layouts, that of new values first; only the last may begin with a part. "
        "Each value stays in its form."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.checked()
        return self

    def checked(self, *, bound: bool = False) -> Layouts:
        """The codec, with no real salts; a refusal is one of the configuration."""
        from certrotd.codecs.layouts import Layouts

        if bound:
            raise refuse("layouts have no associated data: leave associated_data out")
        try:
            return Layouts(tuple(each.checked_form() for each in self.forms))
        except InvalidInput as error:
            raise refuse(str(error)) from None

    def codec(self, *, bound: bool) -> Layouts:
        """The codec; raises NeedsOperator for a salt that cannot be read."""
        from certrotd.codecs.layouts import Layouts

        return Layouts(tuple(each.form(bound=bound) for each in self.forms))

    @property
    def names_keys(self) -> bool:
        """Whether its ciphertext says which key it is under."""
        return self.checked().traits.key_id != "none"

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        return frozenset(map(str, self.checked().traits.algorithms))


class SymmetricCodecEntry(Entry):
    """Values of symmetric-encryption, a Ruby gem."""

    type: Literal["symmetric-encryption"] = Field(
        description="What the gem symmetric-encryption stores, with its header."
    )
    encoding: Literal["base64strict", "base64", "base64urlsafe", "base16", "none"] = Field(
        default="base64strict", description="The encoding of the cipher entry."
    )
    random_iv: bool = Field(
        default=True, description="As the attribute's option; without it, values can be searched."
    )
    compress: bool = Field(default=False, description="As the attribute's option.")

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that it takes."""
        return CODEC_ALGORITHMS["symmetric-encryption"]


def _revealed(secret: Reference) -> bytes:
    return secret.resolve().reveal()


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return "~word" if value in get_args(CodecWord) else None
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"~{kind}" if kind in _MAPPINGS else None


_MAPPINGS = ("jwe", "rails", "wso2", "symmetric-encryption", "layout", "layouts")
CodecWord = Literal["tink", "fernet", "laravel", "node-json", "secretbox"]
CodecEntry = Annotated[
    Annotated[CodecWord, Tag("~word")]
    | Annotated[JweCodecEntry, Tag("~jwe")]
    | Annotated[RailsCodecEntry, Tag("~rails")]
    | Annotated[Wso2CodecEntry, Tag("~wso2")]
    | Annotated[SymmetricCodecEntry, Tag("~symmetric-encryption")]
    | Annotated[LayoutCodecEntry, Tag("~layout")]
    | Annotated[LayoutsCodecEntry, Tag("~layouts")],
    Discriminator(
        _tag,
        custom_error_type=REFUSED,
        custom_error_message=f"must be {', '.join(get_args(CodecWord))}, or a mapping with type "
        f"{', '.join(_MAPPINGS[:-1])} or {_MAPPINGS[-1]}",
    ),
]


def codec_name(entry: CodecEntry) -> str:
    """What the file calls it."""
    return entry if isinstance(entry, str) else entry.type


def algorithms_of(entry: CodecEntry) -> frozenset[str]:
    """The keys that it takes."""
    return CODEC_ALGORITHMS[entry] if isinstance(entry, str) else entry.algorithms
