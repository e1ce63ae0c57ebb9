"""Keys that never leave their service: whose they are, and how often they are rotated."""

from datetime import timedelta
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from certrotd.config.base import Entry, SafeName, Text, refuse
from certrotd.config.durations import Duration
from certrotd.config.keks import AwsKmsKekEntry, AzureKeyVaultKekEntry, KekEntry, VaultKekEntry
from certrotd.config.keyrings import PERIODS, Classification
from certrotd.config.window import MaintenanceWindow

SERVICES = {"aws-kms": "AWS KMS", "vault": "Vault", "azure-keyvault": "Azure Key Vault"}
"""The types of keks whose keys can be rotated where they are, and what people call the service."""
SERVICE_DAYS = {"aws-kms": (90, 2560), "vault": (1, 36500), "azure-keyvault": (28, 3650)}
"""How often each of them rotates a key by itself: at least and at most so many whole days."""

ServiceEntry = AwsKmsKekEntry | VaultKekEntry | AzureKeyVaultKekEntry
_DAY = timedelta(days=1)
_PORTS = {"https": 443, "http": 80}


class ManagedKeyEntry(Entry):
    """A key that stays in its service, which encrypts for the applications."""

    kek: SafeName = Field(
        description="The entry of keks that says which key, and how certrotd logs in: of type "
        "aws-kms, vault or azure-keyvault."
    )
    purpose: Text | None = Field(default=None, description="What it protects, for reports.")
    owner: Text | None = Field(default=None, description="Who is responsible for it.")
    classification: Classification = Field(
        default="internal", description="How sensitive the data is: the default cryptoperiod."
    )
    cryptoperiod: Duration | None = Field(
        default=None,
        description="How long a version encrypts (null: by classification: public 365d, internal "
        "91d, confidential 30d, restricted 7d).",
    )
    rotated_by: Literal["certrotd", "service"] = Field(
        default="certrotd",
        description="Who rotates it: certrotd on demand, or the service by itself, whose period "
        "certrotd sets to the cryptoperiod.",
    )
    keep_versions: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="So many of the newest versions always decrypt; certrotd retires older ones by "
        "min_decryption_version (null: none). Needs a kek of type vault, and retire_after.",
    )
    retire_after: Duration | None = Field(
        default=None,
        description="How long an older version still decrypts after the next one began to "
        "encrypt. What is encrypted by it after that cannot be read.",
    )
    window: MaintenanceWindow | None = Field(
        default=None,
        description="When certrotd may rotate it, and retire versions, as in mon-fri 01:00-05:00 "
        "Europe/Berlin (null: at any time).",
    )
    enabled: bool = Field(default=True, description="Whether it is rotated.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.keep_versions is None) is not (self.retire_after is None):
            raise refuse("keep_versions and retire_after go together: set both, or none")
        return self

    @property
    def period(self) -> timedelta:
        """The cryptoperiod, also where the classification gives it."""
        return self.cryptoperiod or PERIODS[self.classification]


def identity_of(kek: KekEntry) -> tuple[str, ...] | None:
    """What says which key it is, the same for every spelling; None for a key of no service.

    How certrotd logs in is no part of it. An alias of AWS is of the account that the profile leads
    to, and may be another key under another profile; an ARN says its account.
    """
    match kek:
        case VaultKekEntry():
            namespace = (kek.namespace or "").strip("/")
            parts = ("" if namespace == "root" else namespace, kek.mount)
            # Vault takes a namespace as a header or as the beginning of the path
            mount = "/".join(part for part in parts if part)
            return kek.type, _normal(kek.address), mount, kek.key
        case AwsKmsKekEntry():
            endpoint = _normal(kek.endpoint) if kek.endpoint else ""
            profile = "" if kek.key.startswith("arn:") else kek.profile or ""
            return kek.type, endpoint, kek.effective_region or "", profile, kek.key
        case AzureKeyVaultKekEntry():
            return kek.type, _normal(kek.vault), kek.key.lower()  # Azure ignores the case of names
        case _:
            return None


def _normal(url: str) -> str:
    """A valid URL without its choices: case, default port, final dot and slashes."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")  # both are in lower case
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}{parts.path.rstrip('/')}"


def refused_by_service(entry: ManagedKeyEntry, kek: KekEntry) -> str | None:
    """Why the service cannot rotate it so often by itself; None if it can, or need not."""
    if entry.rotated_by != "service" or kek.type not in SERVICE_DAYS:
        return None
    least, most = SERVICE_DAYS[kek.type]
    days, rest = divmod(entry.period, _DAY)
    if not rest and least <= days <= most:
        return None
    words = f"{SERVICES[kek.type]} rotates a key by itself every {least} to {most:,} whole days"
    return (
        f"{words}, and the cryptoperiod is {entry.period / _DAY:g} days: set another cryptoperiod, "
        "or rotated_by: certrotd"
    )
