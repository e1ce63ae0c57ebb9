"""What applications read their data keys from: one class per type of output, and their list."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import (
    AbsolutePath,
    EntryFindings,
    Items,
    Variable,
    refuse,
    shown,
)
from certrotd.config.looks import folder, readable
from certrotd.config.modes import KeyMode, Mode
from certrotd.config.output import BaseOutputEntry

MAX_PART = 200

Encoding = Literal["hex", "base64", "base64url", "text"]
"""How bytes of a key become text; of ``text`` the characters are the key."""


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    """A check that a whole text matches ``pattern``."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if len(value) > MAX_PART or not compiled.fullmatch(value):
            raise refuse(f"must be {what}, got {shown(value)}")
        return value

    return check


def _private(value: Mode) -> Mode:
    if value & 0o077:
        raise refuse(f'must be for its owner alone: "0600" or "0400", got "{value}"')
    return value


SlotName = Annotated[
    str,
    AfterValidator(
        _matching("[A-Za-z0-9][A-Za-z0-9._-]*", "a name of letters, digits and . _ -, such as v1")
    ),
]
NamePart = Annotated[
    str, AfterValidator(_matching("[A-Za-z0-9_-]+", "a name of letters, digits, _ and -"))
]
TableName = Annotated[
    str,
    AfterValidator(
        _matching(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", "a table such as encryption or a.b")
    ),
]
Prefix = Annotated[
    str, AfterValidator(_matching("[A-Za-z0-9+/=_:;.-]*", "plain characters such as base64:"))
]
OwnerMode = Annotated[KeyMode, AfterValidator(_private)]
Resource = Annotated[
    str,
    AfterValidator(_matching(r"[a-z0-9*.-]+", "a resource such as secrets or widgets.example.com")),
]
_GCM = ("aes-128-gcm", "aes-192-gcm", "aes-256-gcm")
_CBC = ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc")
_TINK = ("aes-128-gcm", "aes-128-gcm-siv", "aes-256-gcm", "aes-256-gcm-siv", "chacha20-poly1305")
_PROVIDERS = {"aesgcm": _GCM, "aescbc": _CBC, "secretbox": ("xsalsa20-poly1305",)}
_ENCODING = "How a key is written: hex, base64, base64url, or text (the characters are the key)."


class TinkEntry(BaseOutputEntry):
    """A keyset of Tink."""

    type: Literal["tink"] = Field(description="A Tink keyset, as cleartext JSON.")

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return _TINK


class JsonKeystoreEntry(BaseOutputEntry):
    """A keystore of a Node application."""

    type: Literal["json-keystore"] = Field(
        description="A JSON keystore with numbered AES-256 keys and currentVersion."
    )

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return ("aes-256-gcm",)


class DotenvEntry(BaseOutputEntry):
    """Variables of an environment file, in slots or as current and previous."""

    type: Literal["dotenv"] = Field(description="Variables of a .env file.")
    slots: dict[SlotName, Variable] | None = Field(
        default=None,
        min_length=2,
        max_length=255,
        description="The variable of each slot, by the name that ciphertext has for it, such as "
        "v1: PSAP_KEY_V1.",
    )
    version: Variable | None = Field(
        default=None, description="With slots: the variable that names the slot that encrypts."
    )
    key: Variable | None = Field(
        default=None, description="Without slots: the variable of the key that encrypts."
    )
    previous: Variable | None = Field(
        default=None,
        description="With key: the variable of the others, from the newest to the oldest (null: "
        "the application holds one key).",
    )
    separator: Literal[",", ";", ":", " "] = Field(
        default=",", description="What stands between the keys in previous."
    )
    capacity: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        default=None,
        description="With previous: how many keys the application holds in all (null: any number).",
    )
    reads_secondary: bool = Field(
        default=True,
        description="With previous: whether the application tries those keys for whatever it "
        "reads. If not, a rotation is a cut-over.",
    )
    encoding: Encoding = Field(default="base64", description=_ENCODING)
    prefix: Prefix = Field(
        default="", description="What stands before every key, such as base64: in Laravel."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.slots is None) == (self.key is None):
            raise refuse("needs either slots and version, or key")
        if (self.slots is None) != (self.version is None):
            raise refuse("slots and version belong together")
        if self.previous is None and self.capacity is not None:
            raise refuse("capacity is given, but previous is not")
        if self.slots is not None and self.previous is not None:
            raise refuse("previous belongs to key, not to slots")
        names = [*(self.slots or {}).values(), self.version, self.key, self.previous]
        named = [name for name in names if name is not None]
        if len(set(named)) < len(named):
            raise refuse("two of its variables have the same name: each needs its own")
        return self

    @property
    def rooms(self) -> int | None:
        """As BaseOutputEntry.rooms."""
        if self.slots is not None:
            return len(self.slots)
        return self.capacity if self.previous else 1


class TomlEntry(BaseOutputEntry):
    """A table of a TOML file, as in WSO2's deployment.toml."""

    type: Literal["toml"] = Field(description="Two keys in a table of a TOML file.")
    table: TableName = Field(default="encryption", description="The table, such as encryption.")
    key: NamePart = Field(default="key", description="The name of the key that encrypts.")
    previous: NamePart | None = Field(
        default="old_key",
        description="The name of the other key (null: the application holds one key).",
    )
    encoding: Encoding | Literal["wso2"] = Field(
        default="wso2",
        description="How a key is written: as for dotenv, or wso2 (48 or 64 characters are "
        "hexadecimal, any others are the key itself).",
    )
    reads_secondary: bool = Field(
        default=False,
        description="Whether the application reads what is under previous before it encrypts with "
        "it. WSO2 does only if every stored value has a keyId: without, certrotd stages no key. "
        "If not, a rotation is a cut-over.",
    )

    @model_validator(mode="after")
    def _two_names(self) -> Self:
        if self.key == self.previous:
            raise refuse("key and previous have the same name: each needs its own")
        return self

    @property
    def rooms(self) -> int | None:
        """As BaseOutputEntry.rooms."""
        return 2 if self.previous else 1

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return _GCM if self.encoding == "wso2" else ()


class YamlCiphersEntry(BaseOutputEntry):
    """The configuration of the gem symmetric-encryption."""

    type: Literal["yaml-ciphers"] = Field(
        description="The YAML of symmetric-encryption, with its key files."
    )
    environment: NamePart = Field(
        default="production", description="The environment whose ciphers these are."
    )
    key_directory: AbsolutePath = Field(
        description="The directory of the key files; with secret, where the application has "
        "mounted that."
    )
    stem: SlotName = Field(
        description="What the names of key files begin with: STEM_v1.encrypted_key."
    )
    mode: OwnerMode = Field(
        default=Mode(0o600),
        description="Mode of the files: the gem refuses all but 0600 and 0400.",
    )

    @model_validator(mode="after")
    def _two_places(self) -> Self:
        if self.path == self.key_directory:
            raise refuse("path and key_directory are the same: path is a file")
        return self

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, and the directory."""
        return () if self.path is None else (self.path, self.key_directory)

    @property
    def rooms(self) -> int | None:
        """As BaseOutputEntry.rooms: a version is one byte, and not 0."""
        return 255

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return (*_CBC, "aes-128-gcm", "aes-256-gcm")

    def examine(self) -> EntryFindings:
        """The directories are there."""
        yield from super().examine()
        if self.path is not None:
            yield from folder(self.key_directory, ("key_directory",))


class FernetListEntry(BaseOutputEntry):
    """Fernet keys, the first of which encrypts."""

    type: Literal["fernet-list"] = Field(description="A list of Fernet keys, as Airflow has it.")
    separator: Literal["comma", "newline"] = Field(
        default="comma", description="What stands between the keys."
    )
    variable: Variable | None = Field(
        default=None,
        description="The variable of an environment file (null: the file holds the keys alone).",
    )

    @model_validator(mode="after")
    def _one_line(self) -> Self:
        if self.variable is not None and self.separator == "newline":
            raise refuse("a variable has its keys on one line: leave separator out")
        return self

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return ("fernet",)


class AgeIdentitiesEntry(BaseOutputEntry):
    """An identities file of age."""

    type: Literal["age-identities"] = Field(
        description="Identities of age, one a line, as SOPS_AGE_KEY_FILE of SOPS names them."
    )

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return ("age-x25519",)


class KeyListEntry(BaseOutputEntry):
    """A list of keys in a YAML file."""

    type: Literal["key-list"] = Field(description="A list of keys in a YAML file, as Rails has it.")
    at: Annotated[Items[NamePart], Field(min_length=1, max_length=8)] = Field(
        default=("active_record_encryption", "primary_key"),
        description="The names that lead to the list, from the top of the file.",
    )
    encrypts: Literal["last", "first"] = Field(
        default="last", description="Which key of the list encrypts; in Rails the last."
    )
    encoding: Encoding = Field(default="base64", description=_ENCODING)
    prefix: Prefix = Field(default="", description="What stands before every key.")


class JsonKeyEntry(BaseOutputEntry):
    """One key as a text of a JSON file."""

    type: Literal["json-key"] = Field(description="One key in a JSON file, as n8n has it.")
    at: Annotated[Items[NamePart], Field(min_length=1, max_length=8)] = Field(
        default=("encryptionKey",),
        description="The names that lead to the key, from the top of the file.",
    )
    encoding: Encoding = Field(default="text", description=_ENCODING)
    prefix: Prefix = Field(default="", description="What stands before the key.")

    @property
    def rooms(self) -> int | None:
        """As BaseOutputEntry.rooms."""
        return 1


class KubernetesEncryptionEntry(BaseOutputEntry):
    """The EncryptionConfiguration of an API server."""

    type: Literal["kubernetes-encryption-configuration"] = Field(
        description="The EncryptionConfiguration of a Kubernetes API server."
    )
    provider: Literal["aescbc", "aesgcm", "secretbox"] = Field(
        default="secretbox", description="The provider that encrypts: the first of the rule."
    )
    resources: Annotated[Items[Resource], Field(min_length=1, max_length=100)] = Field(
        default=("secrets",), description="The resources of the rule, exactly as it names them."
    )

    @property
    def algorithms(self) -> tuple[str, ...]:
        """As BaseOutputEntry.algorithms."""
        return _PROVIDERS[self.provider]


class TemplateEntry(BaseOutputEntry):
    """Your own Jinja2 template."""

    type: Literal["template"] = Field(description="A file of your own form, from a template.")
    template: AbsolutePath = Field(description="The Jinja2 template.")
    capacity: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="How many keys the application holds (null: any number)."
    )
    reads_secondary: bool = Field(
        default=True,
        description="Whether the application reads a key that does not encrypt yet. If not, a "
        "rotation is a cut-over.",
    )

    @property
    def rooms(self) -> int | None:
        """As BaseOutputEntry.rooms."""
        return self.capacity

    def examine(self) -> EntryFindings:
        """The template can be read."""
        yield from super().examine()
        yield from readable(self.template, ("template",))


OutputEntry = Annotated[
    TinkEntry
    | JsonKeystoreEntry
    | DotenvEntry
    | TomlEntry
    | YamlCiphersEntry
    | FernetListEntry
    | AgeIdentitiesEntry
    | KeyListEntry
    | JsonKeyEntry
    | KubernetesEncryptionEntry
    | TemplateEntry,
    Field(discriminator="type"),
]
"""Every type of output; a new one is added here."""
