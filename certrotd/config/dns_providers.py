"""Solvers that ask a provider's API: one class per type."""

from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from certrotd.config.base import (
    AbsolutePath,
    DomainName,
    EntryFindings,
    Items,
    SafeName,
    Text,
    refuse,
    shown,
)
from certrotd.config.durations import Duration
from certrotd.config.looks import library, roots
from certrotd.config.notifications import receiver_url
from certrotd.config.secrets import SecretRef, TextOrSecret
from certrotd.config.solver import BaseSolverEntry


class ApiEntry(BaseSolverEntry):
    """What every solver has that asks a provider by HTTP."""

    ca_bundle: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the roots that verify the server (null: the system's).",
    )
    use_proxy: bool = Field(
        default=False,
        description="Whether to go through the proxy that the environment names (HTTPS_PROXY, "
        "NO_PROXY).",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long one request may take."
    )

    def examine(self) -> EntryFindings:
        """The roots are there."""
        return roots(self.ca_bundle, ("ca_bundle",))


_ZONE = "The zone of the records (null: found by its SOA)."
LexiconOption = Annotated[str, StringConstraints(pattern="^[a-z0-9_]{1,60}$")]
_TTL = "TTL of the records, in seconds."


def _api_url(url: str) -> str:
    if "?" in receiver_url(url):
        raise refuse("must be a URL without a query")
    return url


ApiUrl = Annotated[Text, AfterValidator(_api_url)]


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise refuse(f"must be a network such as 192.0.2.0/24, got {shown(text)}") from None


IpNetwork = Annotated[Text, AfterValidator(_network)]


class PowerdnsEntry(ApiEntry):
    """Publishes by the HTTP API of a PowerDNS authoritative server."""

    type: Literal["powerdns"] = Field(description="The HTTP API of PowerDNS.")
    url: ApiUrl = Field(
        description="Where the API is, without /api/v1; https, unless it is this machine."
    )
    api_key: SecretRef = Field(description="Its api-key.")
    server_id: SafeName = Field(default="localhost", description="The server's id in the API.")
    zone: DomainName | None = Field(default=None, description=_ZONE)
    ttl: int = Field(default=60, ge=1, le=86400, description=_TTL)


class WebhookSolverEntry(ApiEntry):
    """Publishes by an endpoint that speaks the protocol of lego's httpreq."""

    type: Literal["webhook"] = Field(description="An endpoint as of lego's httpreq provider.")
    url: ApiUrl = Field(
        description="The endpoint, below which are /present and /cleanup; https, unless it is "
        "this machine."
    )
    mode: Literal["default", "raw"] = Field(
        default="default",
        description="What is sent: default (name and value of the record) or raw (domain, token "
        "and key authorization; with follow_cname: false).",
    )
    username: SecretRef | None = Field(
        default=None, description="The user name for HTTP basic authentication (null: none)."
    )
    password: SecretRef | None = Field(
        default=None, description="The password that goes with it (null: none)."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise refuse("username and password go together: give both, or none of them")
        if self.mode == "raw" and self.follow_cname:
            raise refuse(
                "follow_cname must be false with mode: raw, for the endpoint is told the domain "
                "and not where the record is"
            )
        return self


class AcmeDnsEntry(ApiEntry):
    """Publishes by an acme-dns server, to which _acme-challenge is delegated by a CNAME."""

    type: Literal["acmedns"] = Field(description="An acme-dns server.")
    url: ApiUrl = Field(description="Its API; https, unless it is this machine.")
    accounts: SecretRef | None = Field(
        default=None,
        description="Accounts that exist already, in JSON by their domain, as lego "
        "keeps them (null: certrotd registers one for each name and keeps it in its state).",
    )
    allow_from: Items[IpNetwork] = Field(
        default=(),
        description="Networks from which the server takes updates of accounts that certrotd "
        "registers (empty: any).",
    )

    @model_validator(mode="after")
    def _delegated(self) -> Self:
        if not self.follow_cname:
            raise refuse("follow_cname must be true: acme-dns is where a CNAME leads to")
        return self


class CloudflareEntry(ApiEntry):
    """Publishes by the API of Cloudflare, with an API token."""

    type: Literal["cloudflare"] = Field(description="The API of Cloudflare.")
    token: SecretRef = Field(
        description="An API token with Zone:Read and DNS:Edit for the zone; never a global key."
    )
    zone: DomainName | None = Field(default=None, description=_ZONE)
    zone_id: Annotated[Text, StringConstraints(pattern="^[0-9a-f]{32}$")] | None = Field(
        default=None,
        description="The zone's id, which takes no Zone:Read (null: looked up by its name).",
    )
    ttl: int = Field(default=60, ge=60, le=86400, description=_TTL)
    url: ApiUrl = Field(
        default="https://api.cloudflare.com/client/v4",
        description="The API, or what answers in its place.",
    )


class Route53Entry(ApiEntry):
    """Publishes by Amazon Route 53."""

    type: Literal["route53"] = Field(description="Amazon Route 53.")
    access_key_id: SecretRef | None = Field(
        default=None,
        description="The access key's id (null: credentials as every AWS SDK finds them, such as "
        "the instance's role).",
    )
    secret_access_key: SecretRef | None = Field(
        default=None, description="The secret key that goes with access_key_id."
    )
    session_token: SecretRef | None = Field(
        default=None, description="The session token of temporary credentials (null: none)."
    )
    profile: Text | None = Field(
        default=None, description="The profile of the AWS settings (null: the default one)."
    )
    zone: DomainName | None = Field(default=None, description=_ZONE)
    zone_id: Annotated[Text, StringConstraints(pattern="^[A-Z0-9]{1,32}$")] | None = Field(
        default=None,
        description="The hosted zone's id (null: the public zone of that name).",
    )
    ttl: int = Field(default=60, ge=0, le=86400, description=_TTL)
    endpoint: ApiUrl | None = Field(
        default=None, description="The URL of a compatible service (null: AWS)."
    )

    @property
    def act_time(self) -> timedelta:
        """As that of every solver: all of its servers have it within a minute, mostly."""
        return timedelta(minutes=5)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise refuse("access_key_id and secret_access_key go together: give both, or neither")
        if self.session_token is not None and self.access_key_id is None:
            raise refuse("session_token takes access_key_id and secret_access_key")
        if self.profile is not None and self.access_key_id is not None:
            raise refuse("profile and access_key_id exclude each other: keep one of them")
        return self

    def examine(self) -> EntryFindings:
        """The roots are there, and boto3 is."""
        yield from super().examine()
        yield from library("boto3", ("type",), extra="aws")


class LexiconEntry(BaseSolverEntry):
    """Publishes by one of the providers that dns-lexicon knows, in a process of its own."""

    type: Literal["lexicon"] = Field(description="A provider that dns-lexicon knows.")
    provider: Annotated[Text, StringConstraints(pattern="^[a-z0-9]{1,40}$")] = Field(
        description="Its name there, such as hetzner, ovh or gandi."
    )
    options: Annotated[dict[LexiconOption, TextOrSecret], Field(max_length=50)] = Field(
        default={}, description="Its options, such as auth_token: text, or references to secrets."
    )
    zone: DomainName | None = Field(default=None, description=_ZONE)
    ttl: int = Field(default=60, ge=1, le=86400, description=_TTL)
    use_proxy: bool = Field(
        default=False,
        description="Whether to go through the proxy that the environment names (HTTPS_PROXY, "
        "NO_PROXY).",
    )
    timeout: Duration = Field(
        default=timedelta(minutes=2), description="How long one act may take; then it is killed."
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="How many may run at a time, across all processes."
    )

    @property
    def act_time(self) -> timedelta:
        """As that of every solver."""
        return self.timeout

    def examine(self) -> EntryFindings:
        """dns-lexicon is there."""
        yield from library("lexicon", ("type",), extra="lexicon")
