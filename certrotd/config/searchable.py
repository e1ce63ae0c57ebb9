"""Columns of a dataset that applications search by: deterministic ones, and their blind indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from certrotd.config.base import REFUSED, Entry, Items, Text, refuse
from certrotd.config.codecs import KdfEntry
from certrotd.config.secrets import Reference, SecretRef
from certrotd.errors import InvalidInput, NeedsOperator

if TYPE_CHECKING:
    from certrotd.codecs.blind_index import BlindIndex
    from certrotd.codecs.derivation import Kdf

DETERMINISTIC = "deterministic"
_LEAST_KEY = 16


class IndexNamesEntry(Entry):
    """The names by which blind_index and CipherSweet derive the key of an index."""

    table: Text = Field(description="The table, as the library is told.")
    field: Text = Field(description="The field; of blind_index the column of the index.")
    index: Text | None = Field(
        default=None, description="The name of the index (null: that of the field)."
    )


class BlindIndexEntry(Entry):
    """A blind index of the column: a keyed hash of the plaintext, in a column beside it."""

    blind_index: Text = Field(description="The column of the blind index, in the same table.")
    function: Literal[
        "hmac-sha256",
        "argon2id",
        "pbkdf2-sha256",
        "pbkdf2-sha384",
        "blake2b",
        "ciphersweet-argon2id",
    ] = Field(
        default="hmac-sha256",
        description="What makes it: hmac-sha256; of blind_index argon2id or pbkdf2-sha256; of "
        "CipherSweet pbkdf2-sha384, blake2b or ciphersweet-argon2id.",
    )
    iterations: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=0,
        description="Of pbkdf2 and argon2id (0: 10000, of pbkdf2-sha384 50000; 3 and 4, as the "
        "libraries have it).",
    )
    memory_kib: Annotated[int, Field(ge=0, le=256 * 1024)] = Field(
        default=0, description="Of argon2id, in KiB (0: 4096, of CipherSweet 32768)."
    )
    size: Annotated[int, Field(ge=1, le=64)] = Field(
        default=32, description="How many bytes of the hash are kept, before they are encoded."
    )
    encoding: Literal["base64", "hex", "raw"] = Field(
        default="base64", description="How it is stored: base64, hex or raw (bytes)."
    )
    normalize: Items[
        Literal["strip", "lower", "upper", "nfc", "nfkc", "digits", "last-four-digits"]
    ] = Field(
        default=(),
        max_length=7,
        description="What the application does to the text before, in this order: strip, lower, "
        "upper, nfc, nfkc, digits or last-four-digits.",
    )
    key: SecretRef | None = Field(
        default=None,
        description="A key of the index's own, which stays when the keyring rotates (null: the "
        "keyring's, of the same version as the ciphertext).",
    )
    previous_key: SecretRef | None = Field(
        default=None,
        description="The own key before that one: indexes under it are made anew (null: none).",
    )
    key_encoding: Literal["hex", "base64", "text"] = Field(
        default="hex", description="How the own key is written: hex, base64, or text as it is."
    )
    derive: IndexNamesEntry | None = Field(
        default=None,
        description="The names by which blind_index and CipherSweet derive the key of an index "
        "(null: they do not).",
    )
    kdf: KdfEntry | None = Field(
        default=None,
        description="Or how else the application makes the key of the index, of 32 bytes (null: "
        "it is the key itself).",
    )
    fill: bool = Field(
        default=False, description="Whether an index that is NULL is made, as in a new column."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.derive is not None and self.kdf is not None:
            raise refuse("derive and kdf both make the key of the index: give one of them")
        if self.previous_key is not None and self.key is None:
            raise refuse("previous_key comes before key: give that, too")
        salt = b"salt" if self.kdf is not None and self.kdf.salt is not None else b""
        try:
            self._index(salt)
        except InvalidInput as error:
            raise refuse(str(error)) from None
        return self

    def index(self) -> BlindIndex:
        """How it is made; raises NeedsOperator for a salt that cannot be read."""
        return self._index(self.kdf.salt_bytes() if self.kdf is not None else b"")

    def own_keys(self) -> tuple[bytes, ...]:
        """The key of its own and the one before; raises NeedsOperator for what is none."""
        return tuple(self._decoded(each) for each in (self.key, self.previous_key) if each)

    def _decoded(self, secret: Reference) -> bytes:
        from certrotd.codecs.errors import Damaged
        from certrotd.codecs.strict import unbase64, unhex

        told = secret.resolve().reveal()
        try:
            match self.key_encoding:
                case "hex":
                    found = unhex(told.lower())
                case "base64":
                    found = unbase64(told)
                case "text":
                    found = told
        except Damaged:
            raise NeedsOperator(
                f"the key of the blind index {self.blind_index} is no {self.key_encoding}"
            ) from None
        if len(found) < _LEAST_KEY:
            words = f"the key of the blind index {self.blind_index} has {len(found)} bytes"
            raise NeedsOperator(f"{words}: at least {_LEAST_KEY} are a key")
        return found

    def _index(self, salt: bytes) -> BlindIndex:
        from certrotd.codecs.blind_index import (
            BlindIndex,
            IndexEncoding,
            IndexFunction,
            IndexNames,
            Step,
        )

        derives: IndexNames | Kdf | None = None
        if self.kdf is not None:
            derives = self.kdf.kdf(salt)
        elif (told := self.derive) is not None:
            derives = IndexNames(told.table, told.field, told.index or told.field)
        return BlindIndex(
            IndexFunction(self.function),
            derives,
            self.iterations,
            self.memory_kib,
            self.size,
            IndexEncoding(self.encoding),
            tuple(map(Step, self.normalize)),
        )


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return "~word" if value == DETERMINISTIC else None
    if isinstance(value, list | tuple):
        return "~indexes"
    return "~index" if isinstance(value, dict | BlindIndexEntry) else None


SearchableEntry = Annotated[
    Annotated[Literal["deterministic"], Tag("~word")]
    | Annotated[BlindIndexEntry, Tag("~index")]
    | Annotated[Items[BlindIndexEntry], Field(min_length=1, max_length=20), Tag("~indexes")],
    Discriminator(
        _tag,
        custom_error_type=REFUSED,
        custom_error_message="must be deterministic, a mapping with blind_index, or a list of such",
    ),
]


def indexes_of(entry: SearchableEntry) -> tuple[BlindIndexEntry, ...]:
    """The blind indexes that it names."""
    if isinstance(entry, BlindIndexEntry):
        return (entry,)
    return entry if isinstance(entry, tuple) else ()
