"""What is kept fresh: a certificate's entry, its parts, and what silent entries fall back to."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from weakref import WeakValueDictionary

from pydantic import (
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    model_validator,
)

from certrotd.config.base import (
    AbsolutePath,
    AnyName,
    Entry,
    EntryFinding,
    EntryFindings,
    Items,
    SafeName,
    refuse,
    shown,
)
from certrotd.config.durations import Duration
from certrotd.config.hosts import DeliverEntry, Keep
from certrotd.config.issuers import IssuerNames, KeyTypeName
from certrotd.config.looks import pem, request
from certrotd.config.modes import CertificateMode, KeyMode, Mode
from certrotd.config.probes import ProbeEntry
from certrotd.config.secrets import SecretRef
from certrotd.config.stores import StoreEntry
from certrotd.config.window import MaintenanceWindow

MAX_NAMES = 1000
PRIVATE = ("privkey", "combined", "pkcs12")
INSTALLED = ("privkey", "cert", "chain", "fullchain", "combined", "pkcs12")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,100}\$?", re.ASCII)
_FRACTION = re.compile(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", re.ASCII)


def _account(value: object) -> str | int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return value
    if isinstance(value, str) and _ACCOUNT.fullmatch(value):
        return value
    raise refuse(f"must be the name or the number of a user or group, got {shown(value)}")


def share(value: object) -> float:
    """A share of a lifetime strictly between nothing and all of it."""
    part: float | None = None
    if isinstance(value, float):
        part = value
    elif isinstance(value, str) and (match := _FRACTION.fullmatch(value)) and int(match[2]):
        part = int(match[1]) / int(match[2])
    if part is None or not 0 < part < 1:
        raise refuse(f"must be a share of the lifetime such as 2/3 or 0.66, got {shown(value)}")
    return part


SystemAccount = Annotated[str | int, PlainValidator(_account, json_schema_input_type=str | int)]
Share = Annotated[float, PlainValidator(share, json_schema_input_type=str | float)]


def _or_text(schema: dict[str, Any]) -> None:
    """Make the JSON Schema of a mapping also allow the text that may stand for it."""
    mapping = dict(schema)
    first = next(iter(schema["properties"].values()))
    short = {key: first[key] for key in ("type", "enum", "pattern", "maxLength") if key in first}
    schema.clear()
    schema |= {"description": mapping.pop("description"), "anyOf": [short, mapping]}


class KeyEntry(Entry):
    """The private key of a certificate; the type alone may stand for the whole."""

    model_config = ConfigDict(json_schema_extra=_or_text)

    type: KeyTypeName = Field(default="ecdsa-p256", description="Type and size of the key.")
    reuse: bool = Field(
        default=False, description="Keep the key at renewals, for clients that pin it."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class RenewEntry(Entry):
    """When a certificate is renewed, if its CA does not say.

    Neither ``at`` nor ``before``: at 2/3 of the lifetime, at 1/2 of one below ten days.
    """

    at: Share | None = Field(
        default=None,
        description="Share of the lifetime after which to renew, such as 2/3 or 0.66 (null: 2/3, "
        "or 1/2 if the lifetime is below ten days).",
    )
    before: Duration | None = Field(
        default=None, description="How long before expiry to renew, instead of at."
    )
    jitter: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="Share of the lifetime by which renewal comes earlier at random, at most, so "
        "that many certificates are not due at once.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.at is not None and self.before is not None:
            raise refuse("has both at and before: keep one of them")
        if self.at is not None and self.jitter >= self.at:
            raise refuse(f"jitter ({self.jitter:g}) must be smaller than at ({self.at:g})")
        return self


class InstallEntry(Entry):
    """Copies of the current files at paths of your choice."""

    privkey: AbsolutePath | None = Field(default=None, description="The private key, PEM.")
    cert: AbsolutePath | None = Field(default=None, description="The leaf alone, PEM.")
    chain: AbsolutePath | None = Field(
        default=None, description="The certificates above the leaf, PEM."
    )
    fullchain: AbsolutePath | None = Field(
        default=None, description="The leaf and the certificates above it, PEM."
    )
    combined: AbsolutePath | None = Field(
        default=None, description="The private key, the leaf and the certificates above it, PEM."
    )
    pkcs12: AbsolutePath | None = Field(
        default=None, description="Key and certificates as PKCS#12, for Java and Windows."
    )
    pkcs12_password: SecretRef | None = Field(
        default=None, description="The PKCS#12 file's password (null: an empty one)."
    )
    pkcs12_cipher: Literal["modern", "legacy"] = Field(
        default="modern",
        description="How the PKCS#12 file is encrypted: modern (AES-256) or, for Java before 8u301 "
        "and Windows before Server 2019, legacy (Triple DES).",
    )
    owner: SystemAccount | None = Field(
        default=None, description="Owner of the files: name or number (null: certrotd's own)."
    )
    group: SystemAccount | None = Field(
        default=None, description="Group of the files: name or number (null: certrotd's own)."
    )
    mode: KeyMode = Field(
        default=Mode(0o640),
        description="Mode of the files with the key; not for everybody.",
    )
    cert_mode: CertificateMode = Field(
        default=Mode(0o644), description="Mode of the files that do not hold the key."
    )
    in_place: bool = Field(
        default=False,
        description="Write into the existing files instead of replacing them, for files that are "
        "bind-mounted one by one; a reader may see half a file.",
    )

    @property
    def paths(self) -> dict[str, Path]:
        """Which file goes where: the names of a generation's files, and the paths asked for."""
        every = {kind: getattr(self, kind) for kind in INSTALLED}
        return {kind: path for kind, path in every.items() if path is not None}

    @model_validator(mode="after")
    def _something(self) -> Self:
        paths = list(self.paths.values())
        if not paths:
            raise refuse(f"needs at least one path: {', '.join(INSTALLED)}")
        if len(set(paths)) < len(paths):
            raise refuse("two of its files have the same path: each needs its own")
        if self.pkcs12_password is not None and self.pkcs12 is None:
            raise refuse("pkcs12_password is given, but pkcs12 (the path) is not")
        if self.pkcs12_cipher != "modern" and self.pkcs12 is None:
            raise refuse("pkcs12_cipher is given, but pkcs12 (the path) is not")
        return self


class AdoptEntry(Entry):
    """An existing key and certificate to begin with, instead of an order."""

    privkey: AbsolutePath = Field(description="The private key, PEM.")
    fullchain: AbsolutePath | None = Field(
        default=None, description="The leaf and the certificates above it, PEM."
    )
    cert: AbsolutePath | None = Field(
        default=None, description="The leaf alone, PEM, instead of fullchain."
    )
    chain: AbsolutePath | None = Field(
        default=None, description="The certificates above the leaf, PEM, with cert."
    )

    def examine(self) -> EntryFindings:
        """What is there can be read; nothing being there is a host without a pair so far."""
        named = ("privkey", "fullchain", "cert", "chain")
        paths = {key: path for key in named if (path := getattr(self, key)) is not None}
        missing = {key: path for key, path in paths.items() if not os.path.lexists(path)}
        for key, path in missing.items():
            if len(missing) < len(paths):
                why = f"{path} does not exist: certrotd adopts nothing and orders a new certificate"
                yield (key,), EntryFinding(why, fatal=False)
        for key in paths.keys() - missing.keys():
            yield from pem(paths[key], (key,), key=key == "privkey")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.fullchain is None) == (self.cert is None):
            raise refuse("needs either fullchain, or cert and chain")
        if self.chain is not None and self.cert is None:
            raise refuse("chain belongs to cert, not to fullchain")
        return self


class UseEntry(Entry):
    """A target of a certificate; the target's name alone may stand for the whole."""

    model_config = ConfigDict(json_schema_extra=_or_text)

    target: SafeName = Field(description="Name of the target.")
    probe: Items[ProbeEntry] | None = Field(
        default=None,
        description="Endpoints to prove, instead of the target's (null: those).",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _short(cls, value: Any, check: ModelWrapValidatorHandler["UseEntry"]) -> "UseEntry":
        if not isinstance(value, str):
            return check(value)
        use = _named.get(value)
        if use is None:
            _named[value] = use = check({"target": value})
        return use


_named = WeakValueDictionary[str, UseEntry]()
"""One entry for all certificates that only name a target: thousands name the same one."""


ChallengeKind = Literal["dns-01", "dns-account-01", "dns-persist-01"]


class DefaultsEntry(Entry):
    """Settings of certificates without their own."""

    issuer: IssuerNames | None = Field(
        default=None,
        description="The issuer, or a list: the next one is asked where the CA before it is away, "
        "at its limit or refuses (null: the only one).",
    )
    solver: SafeName | None = Field(
        default=None, description="The solver (null: the solvers' zones decide)."
    )
    challenge: ChallengeKind = Field(
        default="dns-01",
        description="How names are proven to an ACME CA: by a record that a solver publishes for "
        "each order (dns-01), the same under a name of the account's own (dns-account-01), or by "
        "one that you set once (dns-persist-01).",
    )
    key: KeyEntry = Field(default_factory=KeyEntry, description="The private key.")
    renew: RenewEntry = Field(default_factory=RenewEntry, description="When to renew.")
    keep: Keep = Field(default=3, description="How many earlier generations to keep.")
    window: MaintenanceWindow | None = Field(
        default=None,
        description="When services may be reloaded, as in mon-fri 01:00-05:00 Europe/Berlin "
        "(null: at any time). Overridden near expiry.",
    )
    targets: Items[UseEntry] = Field(default=(), description="What serves the certificates.")


class CertificateEntry(Entry):
    """A certificate to rotate."""

    name: SafeName = Field(description="Its name in commands, metrics and directories; unique.")
    names: Annotated[Items[AnyName], Field(min_length=1, max_length=MAX_NAMES)] = Field(
        description="DNS names, wildcards and IP addresses; reports show the first."
    )
    issuer: IssuerNames | None = Field(
        default=None,
        description="Who issues it, one or a list in the order to ask them in (null: as in "
        "defaults).",
    )
    solver: SafeName | None = Field(
        default=None, description="Who proves its names (null: as in defaults)."
    )
    challenge: ChallengeKind | None = Field(
        default=None, description="How its names are proven (null: as in defaults)."
    )
    key: KeyEntry | None = Field(
        default=None, description="Its private key (null: as in defaults)."
    )
    csr: AbsolutePath | None = Field(
        default=None,
        description="A certificate signing request, PEM or DER, for exactly these names: the key "
        "stays where it was made, and certrotd has only the certificate (null: certrotd makes the "
        "key).",
    )
    renew: RenewEntry | None = Field(
        default=None, description="When to renew it (null: as in defaults)."
    )
    keep: Keep | None = Field(
        default=None, description="How many earlier generations to keep (null: as in defaults)."
    )
    window: MaintenanceWindow | None = Field(
        default=None, description="When it may be rotated (null: as in defaults)."
    )
    enabled: bool = Field(default=True, description="Whether certrotd rotates it.")
    store: StoreEntry | None = Field(
        default=None, description="Where it is kept (null: in files, in store_dir)."
    )
    install: Items[InstallEntry] = Field(
        default=(), description="Copies of the files at paths of your choice."
    )
    deliver: Items[DeliverEntry] = Field(
        default=(), description="Other hosts that get the files over SSH, each by itself."
    )
    adopt: AdoptEntry | None = Field(
        default=None, description="An existing pair to begin with (null: order one)."
    )
    bootstrap: Literal["self-signed"] | None = Field(
        default=None,
        description="A placeholder until there is a certificate, so that services whose "
        "configuration names its files can start (null: none).",
    )
    targets: Items[UseEntry] | None = Field(
        default=None, description="What serves it (null: as in defaults)."
    )

    @model_validator(mode="after")
    def _key_elsewhere(self) -> Self:
        if self.csr is None:
            return self
        for name in ("key", "adopt", "bootstrap", "store", "deliver"):
            if getattr(self, name):
                raise refuse(f"has both csr and {name}, which is about a key: keep one of them")
        private = sorted({*PRIVATE} & {kind for each in self.install for kind in each.paths})
        if private:
            raise refuse(f"has both csr and install of {', '.join(private)}, which hold a key")
        return self

    def examine(self) -> EntryFindings:
        """The request is one, for these names."""
        if self.csr is not None:
            yield from request(self.csr, self.names, ("csr",))

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.adopt is not None and self.bootstrap is not None:
            raise refuse("has both adopt and bootstrap: keep one of them")
        if self.store is not None and self.store.adopt:
            for name in ("adopt", "bootstrap"):
                if getattr(self, name) is not None:
                    raise refuse(f"has both {name} and adopt of its store: keep one of them")
        return self
