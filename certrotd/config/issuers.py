"""Who issues certificates: one class per type of issuer, and the line that lists them."""

import re
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from certrotd.config.base import (
    PATTERNS,
    SAFE_NAME,
    AbsolutePath,
    Entry,
    EntryFinding,
    EntryFindings,
    Items,
    SafeName,
    Text,
    canonical,
    is_safe_name,
    refuse,
    shown,
)
from certrotd.config.durations import Duration, DurationOrZero, render
from certrotd.config.looks import roots
from certrotd.config.secrets import SecretRef, formed
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki.names import base, is_ip, is_wildcard

KeyTypeName = Literal["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"]

ACCOUNTS, ACCOUNT_KEY = "accounts", "account.key"
"""Where the accounts at CAs are in the state, each in a folder of its issuer's name; its key."""
MAX_ISSUERS = 8
MOST_BACKDATED = timedelta(days=365)
_BASE64URL = re.compile(rb"(?:[A-Za-z0-9_-]{4}){4,}(?:[A-Za-z0-9_-]{2,3})?")
_FINGERPRINT = re.compile(r"(?i:sha256):\s*[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){31}")
_MAIL = re.compile(r"[^\s@<>,?&%]+@[^\s@<>,?&%]+", re.ASCII)


def _https(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse(f"is not a URL: {shown(url)}") from None
    if parts.scheme != "https":
        raise refuse(f"must begin with https:// (RFC 8555 §6.1), got {shown(url)}")
    if not parts.hostname or port == 0 or re.search(r"[\s\\\x00-\x20\x7f]", url):
        raise refuse(f"must be a URL such as https://ca.example.com/directory, got {shown(url)}")
    if "@" in parts.netloc or parts.fragment:
        raise refuse("must be a URL without a user name, a password or a fragment")
    return url


def _contact(value: str) -> str:
    address = value.removeprefix("mailto:")
    if not _MAIL.fullmatch(address):
        raise refuse(f"must be one e-mail address such as ops@example.com, got {shown(value)}")
    return f"mailto:{address}"


def _chain(value: str) -> str:
    if value.lower().startswith("sha256:") and not _FINGERPRINT.fullmatch(value):
        raise refuse(f"must be sha256: and 64 hexadecimal digits, or a name, got {shown(value)}")
    return value


def _host(value: str) -> str:
    host = canonical(value)
    if is_wildcard(host):
        raise refuse(f"must be a host such as acme.example.net, got {shown(value)}")
    return host


def _permitted(value: str) -> str:
    name = value if "/" in value else canonical(value)
    if is_wildcard(name):
        raise refuse(f"must be a domain, which includes its subdomains, got {shown(value)}")
    if "/" not in name and not is_ip(name):
        return name
    try:
        return str(ip_network(name))
    except ValueError:
        raise refuse(
            f"must be a domain or a network such as 10.0.0.0/8, got {shown(value)}"
        ) from None


def _or_none(schema: dict[str, Any]) -> None:
    """Let the JSON Schema of a mapping also allow the word that may stand for it."""
    mapping = dict(schema)
    schema.clear()
    word = {"type": "string", "const": "none"}
    schema |= {"description": mapping.pop("description"), "anyOf": [word, mapping]}


class BudgetEntry(Entry):
    """How many orders the CA accepts; the word none means no limit."""

    model_config = ConfigDict(json_schema_extra=_or_none)

    orders: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="How many orders the account may place in each period (null: any number).",
    )
    per: Duration = Field(default=timedelta(hours=3), description="The length of the period.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value == "none":
            return {}
        if not isinstance(value, str):
            return value
        raise refuse(f"must be none or such as {{orders: 300, per: 3h}}, got {shown(value)}")


class BindingEntry(Entry):
    """The customer's account that a new ACME account is bound to (RFC 8555 §7.3.4)."""

    key_id: Text = Field(description="What the CA calls the key (EAB kid).")
    key: SecretRef = Field(description="The key (EAB HMAC key), in base64url as CAs show it.")
    algorithm: Literal["HS256", "HS384", "HS512"] = Field(
        default="HS256", description="How the binding is signed."
    )

    def examine(self) -> EntryFindings:
        """The key is base64url."""
        return formed(self.key, ("key",), binding_key)


def binding_key(secret: bytes) -> str:
    """An EAB key as it signs, in base64url; NeedsOperator without showing any of it."""
    key = secret.strip().rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))
    if not _BASE64URL.fullmatch(key):
        raise NeedsOperator("the key under eab is not base64url, as CAs show it")
    return key.decode()


class AcmeEntry(Entry):
    """A CA that speaks ACME (RFC 8555)."""

    type: Literal["acme"] = Field(description="A CA that speaks ACME.")
    directory: Annotated[Text, AfterValidator(_https)] = Field(
        description="The URL of the CA's ACME directory."
    )
    contact: Items[Annotated[Text, AfterValidator(_contact)]] = Field(
        default=(), description="E-mail addresses that the CA may write to."
    )
    agree_to_terms: bool = Field(
        default=False,
        description="Whether you agree to the CA's terms of service; otherwise orders fail, unless "
        "the CA has none.",
    )
    eab: BindingEntry | None = Field(
        default=None, description="The customer's account to bind to, where the CA wants one."
    )
    ca_bundle: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the roots that verify the CA's own TLS certificate (null: the "
        "system's).",
    )
    preferred_chain: Annotated[Text, AfterValidator(_chain)] | None = Field(
        default=None,
        description="Which chain to choose if the CA offers several: the common name of the issuer "
        "at its top, or sha256: and the fingerprint of a certificate above the leaf, or of the "
        "root if this machine trusts it (null: the CA's default).",
    )
    profile: Text | None = Field(
        default=None,
        description="Which of the CA's profiles to order, such as shortlived (null: the CA's "
        "default); without it where the CA does not offer it.",
    )
    require_profile: bool = Field(
        default=False, description="Whether to order nothing where the CA does not offer profile."
    )
    renewal_info: bool = Field(
        default=True,
        description="Whether to renew when the CA suggests it (RFC 9773), if it does.",
    )
    account_key: KeyTypeName = Field(
        default="ecdsa-p256",
        description="Type of the account key, which is made on first use; `certrotd account "
        "rollover` changes it later.",
    )
    budget: BudgetEntry | None = Field(
        default=None,
        description="How many orders certrotd run places before it waits (null: at Let's Encrypt "
        "nine tenths of its documented limits, else no limit).",
    )
    also_hosts: Items[Annotated[Text, AfterValidator(_host)]] = Field(
        default=(),
        description="Hosts outside of the directory's own domain (its last two labels) that the "
        "CA's URLs may name.",
    )
    timeout: Duration = Field(
        default=timedelta(minutes=5),
        description="How long ordering, validating and finalizing may take, each.",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long one request may take."
    )
    use_proxy: bool = Field(
        default=False,
        description="Whether to go through the proxy that the environment names (HTTPS_PROXY, "
        "NO_PROXY).",
    )

    def examine(self) -> EntryFindings:
        """The roots are there."""
        return roots(self.ca_bundle, ("ca_bundle",))

    @model_validator(mode="after")
    def _profile_named(self) -> Self:
        if self.require_profile and self.profile is None:
            raise refuse("require_profile needs a profile")
        return self

    @model_validator(mode="after")
    def _timeouts_fit(self) -> Self:
        if self.request_timeout > self.timeout:
            raise refuse(
                f"request_timeout ({render(self.request_timeout)}) must not be longer than "
                f"timeout ({render(self.timeout)})"
            )
        return self

    def looked_at(self, name: str, state_dir: Path) -> EntryFindings:
        """Whether the key of the account, where there is one, is of the type asked for by now.

        What cannot be read is reported by whoever needs it, or looks as another user.
        """
        from certrotd.pki.keys import key_type_of, load

        try:
            data = (state_dir / ACCOUNTS / name / ACCOUNT_KEY).read_bytes()
            found = key_type_of(load(data).public_key())
        except (OSError, InvalidInput):
            return
        if found != self.account_key:
            message = f"{self.account_key}, but the account has a key of type {found}"
            cure = f"certrotd account rollover {name} changes it"
            yield ("account_key",), EntryFinding(f"is {message} ({cure})", fatal=False)


class InternalEntry(Entry):
    """A small private CA inside certrotd."""

    type: Literal["internal"] = Field(description="A private CA inside certrotd.")
    common_name: Annotated[Text, Field(max_length=64)] = Field(
        default="certrotd internal CA", description="Common name of the root certificate."
    )
    lifetime: Duration = Field(
        default=timedelta(days=90), description="How long a certificate is valid."
    )
    root_lifetime: Duration = Field(
        default=timedelta(days=3650), description="How long the root certificate is valid."
    )
    key: KeyTypeName = Field(default="ecdsa-p256", description="Type of the root's key.")
    permitted_names: Items[Annotated[Text, AfterValidator(_permitted)]] = Field(
        default=(),
        description="Domains (with their subdomains) and networks that the root may issue for, as "
        "its name constraints (RFC 5280 §4.2.1.10); empty: any.",
    )
    backdate: DurationOrZero = Field(
        default=timedelta(minutes=1),
        description="How long before its issuance a certificate's validity begins, for clients "
        "whose clocks are behind.",
    )

    @model_validator(mode="after")
    def _root_outlives(self) -> Self:
        if self.lifetime >= self.root_lifetime:
            raise refuse(
                f"lifetime ({render(self.lifetime)}) must be shorter than root_lifetime "
                f"({render(self.root_lifetime)})"
            )
        return self

    @model_validator(mode="after")
    def _begins_near_now(self) -> Self:
        most = min(self.lifetime / 2, MOST_BACKDATED)
        if self.backdate <= most:
            return self
        if "backdate" not in self.model_fields_set:
            raise refuse(
                f"lifetime ({render(self.lifetime)}) must be at least twice backdate "
                f"({render(self.backdate)})"
            )
        raise refuse(
            f"backdate ({render(self.backdate)}) must be at most {render(most)}: half of lifetime "
            f"({render(self.lifetime)}), and no more than a year, or certificates are due for "
            "renewal when they begin"
        )

    def permits(self, name: str) -> bool:
        """Whether its name constraints allow ``name``; each binds only names of its own kind."""
        networks = [each for each in self.permitted_names if "/" in each]
        domains = [each for each in self.permitted_names if "/" not in each]
        if is_ip(name):
            address = ip_address(name)
            return not networks or any(address in ip_network(network) for network in networks)
        return not domains or any(f".{base(name)}".endswith(f".{each}") for each in domains)


IssuerEntry = Annotated[AcmeEntry | InternalEntry, Field(discriminator="type")]
"""Every type of issuer; a new one is added here."""


def _in_order(value: Any, check: ValidatorFunctionWrapHandler) -> tuple[str, ...]:
    names = value
    if isinstance(value, str):
        if not is_safe_name(value):
            raise refuse(f"{PATTERNS[SAFE_NAME]}, got {shown(value)}")
        names = (value,)
    elif repeated := _repeated(names := check(value)):
        raise refuse(f'has "{repeated}" twice: each issuer once, in the order to ask them in')
    return _orders.setdefault(names, names)


def _repeated(names: Sequence[str]) -> str:
    return next((each for number, each in enumerate(names) if each in names[:number]), "")


_orders: dict[tuple[str, ...], tuple[str, ...]] = {}
"""One tuple for all certificates that name the same issuers."""

_List = Annotated[Items[SafeName], Field(min_length=1, max_length=MAX_ISSUERS)]
IssuerNames = Annotated[
    tuple[SafeName, ...],
    Field(strict=False, min_length=1, max_length=MAX_ISSUERS),
    WrapValidator(_in_order, json_schema_input_type=SafeName | _List),
]
"""An issuer, or several in the order in which they are asked; a tuple afterwards."""
