"""Key-encryption keys (KEKs): one class per type, and the line that lists them."""

import os
import re
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import (
    AbsolutePath,
    CredentialName,
    Entry,
    EntryFindings,
    Text,
    refuse,
    shown,
)
from certrotd.config.durations import Duration, render
from certrotd.config.looks import folder, library, readable, roots
from certrotd.config.notifications import is_loopback
from certrotd.config.secrets import CredentialSecret, SecretRef

_ARN = re.compile(
    r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_:-]+", re.ASCII
)
_AWS_KEY = re.compile(r"(?:mrk-)?[0-9a-f-]{16,64}|alias/[A-Za-z0-9/_:-]{1,250}", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]", re.ASCII)
_AZURE_KEY = re.compile(r"[0-9A-Za-z-]{1,127}", re.ASCII)
_GCP_KEY = re.compile(
    r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+", re.ASCII
)
_TRANSIT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_MOUNT = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*", re.ASCII)

LONGEST_TIMEOUT = timedelta(minutes=5)


def _service_url(url: str) -> str:
    """An https URL of a host, without a path's end; http leads only to this machine."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse(f"is not a URL: {shown(url)}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise refuse(f"must be a URL such as https://vault.example.com:8200, got {shown(url)}")
    if "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\\\x7f]", url):
        raise refuse("must be a URL without a user name, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise refuse(f"must begin with https://, for keys pass through it, got {shown(url)}")
    return url.rstrip("/")


def _aws_key(value: str) -> str:
    if not (_ARN.fullmatch(value) or _AWS_KEY.fullmatch(value)):
        raise refuse(f"must be a key id, an alias such as alias/certrotd or an ARN, got {value!r}")
    return value


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise refuse(f"must be a region such as eu-central-1, got {shown(value)}")
    return value


def _azure_key(value: str) -> str:
    if not _AZURE_KEY.fullmatch(value):
        raise refuse(f"must be the name of a key, without its version, got {shown(value)}")
    return value


def _gcp_key(value: str) -> str:
    if not _GCP_KEY.fullmatch(value):
        raise refuse(
            "must be projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a "
            f"version, got {shown(value)}"
        )
    return value


def _transit_key(value: str) -> str:
    if not _TRANSIT.fullmatch(value):
        raise refuse(f"must be the name of a key of the transit engine, got {shown(value)}")
    return value


def _mount(value: str) -> str:
    if not _MOUNT.fullmatch(value) or any(set(part) == {"."} for part in value.split("/")):
        raise refuse(f"must be the path of a mount such as transit, got {shown(value)}")
    return value


def _timeout(value: timedelta) -> timedelta:
    if value > LONGEST_TIMEOUT:
        raise refuse(f"must be at most {render(LONGEST_TIMEOUT)}, got {render(value)}")
    return value


ServiceUrl = Annotated[Text, AfterValidator(_service_url)]
Timeout = Annotated[Duration, AfterValidator(_timeout)]
_TIMEOUT = "How long one wrapping or unwrapping may take, with its retries."


class ServiceKekEntry(Entry):
    """What the KEKs of a service that is asked over the network have in common."""

    use_proxy: bool = Field(
        default=False,
        description="Whether to go through the proxy that the environment names (HTTPS_PROXY, "
        "NO_PROXY).",
    )
    timeout: Timeout = Field(default=timedelta(seconds=10), description=_TIMEOUT)


class FileKekEntry(Entry):
    """32 random bytes in a file of this host."""

    type: Literal["file"] = Field(description="32 random bytes in a file of this host.")
    path: AbsolutePath = Field(description="The file; its mode must be 0600.")
    create: bool = Field(
        default=True,
        description="Whether certrotd makes the file before it wraps its first keyring. A file "
        "that is missing later is never made anew.",
    )

    def examine(self) -> EntryFindings:
        """The file is there, or its directory, or one above it."""
        if self.create and not os.path.lexists(self.path):
            return folder(self.path.parent, ("path",), made=True)
        return readable(self.path, ("path",))


class PassphraseKekEntry(Entry):
    """A key derived from a passphrase."""

    type: Literal["passphrase"] = Field(description="A key derived from a passphrase.")
    passphrase: SecretRef = Field(description="The passphrase, of at least 12 bytes.")
    function: Literal["scrypt", "argon2id"] = Field(
        default="scrypt",
        description="How the key is derived: scrypt takes 128 MiB, argon2id 64 MiB of memory.",
    )


class CredentialKekEntry(Entry):
    """32 random bytes that systemd passes to the service."""

    type: Literal["credential"] = Field(description="32 random bytes in a systemd credential.")
    name: CredentialName = Field(description="Its name below $CREDENTIALS_DIRECTORY.")

    def examine(self) -> EntryFindings:
        """Whether systemd has passed the credential; outside of its service nobody can tell."""
        for _, finding in CredentialSecret(credential=self.name).examine():
            yield ("name",), finding


class VaultKekEntry(ServiceKekEntry):
    """A key of the transit engine of Vault or OpenBao."""

    type: Literal["vault"] = Field(
        description="A key of the transit engine of Vault or OpenBao (aes128-gcm96, aes256-gcm96 "
        "or chacha20-poly1305)."
    )
    address: ServiceUrl = Field(
        description="The URL of the server or of an agent; http:// only on this machine."
    )
    key: Annotated[Text, AfterValidator(_transit_key)] = Field(
        description="The name of the key; certrotd never creates it."
    )
    mount: Annotated[Text, AfterValidator(_mount)] = Field(
        default="transit", description="Where the engine is mounted."
    )
    token: SecretRef = Field(
        description="The token, which is read at each use: Vault Agent may replace its file."
    )
    namespace: Text | None = Field(default=None, description="The namespace (null: the root's).")
    ca_bundle: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the roots that verify the server (null: the system's).",
    )

    def examine(self) -> EntryFindings:
        """The roots are there."""
        return roots(self.ca_bundle, ("ca_bundle",))


class AwsKmsKekEntry(ServiceKekEntry):
    """A symmetric key of AWS KMS."""

    type: Literal["aws-kms"] = Field(description="A symmetric key of AWS KMS.")
    key: Annotated[Text, AfterValidator(_aws_key)] = Field(
        description="The key's id, its ARN, or an alias such as alias/certrotd."
    )
    region: Annotated[Text, AfterValidator(_region)] | None = Field(
        default=None, description="The region (null: that of the ARN, else of the AWS settings)."
    )
    endpoint: ServiceUrl | None = Field(
        default=None,
        description="The URL of a VPC endpoint or of a compatible service (null: AWS).",
    )
    profile: Text | None = Field(
        default=None, description="The profile of the AWS settings (null: the default one)."
    )

    @model_validator(mode="after")
    def _one_region(self) -> Self:
        match = _ARN.fullmatch(self.key)
        if match and self.region and match["region"] != self.region:
            raise refuse(f"region is {self.region}, and the key is in {match['region']}")
        return self

    @property
    def effective_region(self) -> str | None:
        """The region that is asked, where the entry says it."""
        match = _ARN.fullmatch(self.key)
        return self.region or (match["region"] if match else None)

    def examine(self) -> EntryFindings:
        """boto3 is installed."""
        return library("boto3", ("type",), extra="aws")


class AzureKeyVaultKekEntry(ServiceKekEntry):
    """A key of Azure Key Vault or Managed HSM."""

    type: Literal["azure-keyvault"] = Field(description="A key of Azure Key Vault or Managed HSM.")
    vault: ServiceUrl = Field(
        description="The URL of the vault, such as https://NAME.vault.azure.net."
    )
    key: Annotated[Text, AfterValidator(_azure_key)] = Field(
        description="The name of the key, without a version."
    )
    algorithm: Literal["RSA-OAEP-256", "A128KW", "A192KW", "A256KW"] = Field(
        default="RSA-OAEP-256",
        description="How the key wraps: RSA-OAEP-256 of an RSA key; the others of an AES key in "
        "a Managed HSM.",
    )
    tenant: Text | None = Field(
        default=None, description="The tenant of the service principal, with client_secret."
    )
    client_id: Text | None = Field(
        default=None,
        description="The service principal, or else the user-assigned managed identity (null: as "
        "the Azure SDK finds one in the environment).",
    )
    client_secret: SecretRef | None = Field(
        default=None, description="The secret of the service principal (null: none)."
    )
    authority: ServiceUrl | None = Field(
        default=None, description="Where tokens come from (null: the public cloud)."
    )

    @model_validator(mode="after")
    def _principal_is_whole(self) -> Self:
        if self.client_secret is not None and not (self.tenant and self.client_id):
            raise refuse("client_secret needs tenant and client_id beside it")
        if self.tenant is not None and self.client_secret is None:
            raise refuse("tenant needs client_id and client_secret beside it")
        return self

    def examine(self) -> EntryFindings:
        """The libraries are installed."""
        yield from library("azure.keyvault.keys", ("type",), extra="azure")
        yield from library("azure.identity", ("type",), extra="azure")


class GcpKmsKekEntry(ServiceKekEntry):
    """A symmetric key of Google Cloud KMS."""

    type: Literal["gcp-kms"] = Field(description="A symmetric key of Google Cloud KMS.")
    key: Annotated[Text, AfterValidator(_gcp_key)] = Field(
        description="Its resource name: projects/…/locations/…/keyRings/…/cryptoKeys/…, without a "
        "version."
    )
    credentials: AbsolutePath | None = Field(
        default=None,
        description="The key of a service account, in JSON (null: what the Google SDK finds).",
    )
    endpoint: ServiceUrl | None = Field(
        default=None, description="The URL of a private endpoint (null: Google's)."
    )

    def examine(self) -> EntryFindings:
        """The library is installed, and the credentials are there."""
        yield from library("google.cloud.kms_v1", ("type",), extra="gcp")
        yield from readable(self.credentials, ("credentials",))


class Pkcs11KekEntry(Entry):
    """An AES key on a token: an HSM, or SoftHSM."""

    type: Literal["pkcs11"] = Field(description="An AES key on a PKCS#11 token.")
    module: AbsolutePath = Field(description="The library of the token's vendor.")
    token: Annotated[Text, Field(max_length=32)] = Field(description="The label of the token.")
    key: Annotated[Text, Field(max_length=200)] = Field(
        description="The label of the AES key; certrotd never creates it."
    )
    pin: SecretRef = Field(description="The PIN of the token's user.")
    timeout: Timeout = Field(default=timedelta(seconds=10), description=_TIMEOUT)

    def examine(self) -> EntryFindings:
        """The module and the library that calls it are there."""
        yield from library("pkcs11", ("type",), extra="hsm")
        yield from readable(self.module, ("module",))


KekEntry = Annotated[
    FileKekEntry
    | PassphraseKekEntry
    | CredentialKekEntry
    | VaultKekEntry
    | AwsKmsKekEntry
    | AzureKeyVaultKekEntry
    | GcpKmsKekEntry
    | Pkcs11KekEntry,
    Field(discriminator="type"),
]
"""Every type of KEK; a new one is added here, and as a module certrotd.kek.TYPE."""
