"""Who proves control of names by DNS: one class per type of solver, and the line listing them."""

from base64 import b64decode
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from certrotd.config.addresses import ListenAddress, ServerAddress
from certrotd.config.base import Argv, DomainName, Entry, EntryFindings, IpAddress, Items, refuse
from certrotd.config.dns_providers import (
    AcmeDnsEntry,
    CloudflareEntry,
    LexiconEntry,
    PowerdnsEntry,
    Route53Entry,
    WebhookSolverEntry,
)
from certrotd.config.durations import Duration
from certrotd.config.looks import program
from certrotd.config.secrets import Environment, SecretRef, formed
from certrotd.config.solver import BaseSolverEntry
from certrotd.errors import NeedsOperator


class TsigEntry(Entry):
    """The key that signs updates (RFC 8945)."""

    name: DomainName = Field(description="Name of the key at the server.")
    algorithm: Literal["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        default="hmac-sha256", description="The key's algorithm at the server."
    )
    secret: SecretRef = Field(description="The key in base64, as in the server's key file.")

    def examine(self) -> EntryFindings:
        """The key is base64."""
        return formed(self.secret, ("secret",), tsig_key)


def tsig_key(secret: bytes, what: str = "the TSIG key") -> bytes:
    """The octets of a TSIG key in base64; NeedsOperator without showing any of it."""
    try:
        octets = b64decode(b"".join(secret.split()), validate=True)
    except ValueError:
        octets = b""
    if not octets:
        # raised outside of the except: the cause's traceback must not carry the secret along
        raise NeedsOperator(
            f"the secret of {what} is not base64",
            hint="take the text between the quotes of the secret line of tsig-keygen",
        )
    return octets


class Rfc2136Entry(BaseSolverEntry):
    """Publishes by dynamic DNS update (RFC 2136) to a server such as BIND, Knot or PowerDNS."""

    type: Literal["rfc2136"] = Field(description="Dynamic DNS update (RFC 2136).")
    server: ServerAddress = Field(
        description="The zone's primary server: address or host name, with or without a port."
    )
    zone: DomainName | None = Field(
        default=None, description="The zone to update (null: found by its SOA)."
    )
    tsig: TsigEntry | None = Field(
        default=None, description="The key that signs updates (null: unsigned)."
    )
    ttl: int = Field(default=60, ge=0, le=86400, description="TTL of the records, in seconds.")
    protocol: Literal["udp", "tcp"] = Field(
        default="udp",
        description="How to send updates: udp (tcp if truncated) or tcp.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one update may take."
    )


class ExecEntry(BaseSolverEntry):
    """Publishes by running your own program."""

    type: Literal["exec"] = Field(description="Your own program.")
    command: Argv = Field(
        description="The program and its arguments, run without a shell. The variables "
        "CERTROTD_ACTION (present or withdraw), CERTROTD_FQDN, CERTROTD_VALUE and CERTROTD_ZONE "
        "tell it what to do."
    )
    environment: Environment = Field(
        default={}, description="Variables for the program: text, or references to secrets."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=60), description="How long one run may take."
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="How many may run at a time, across all processes."
    )

    @property
    def act_time(self) -> timedelta:
        """As that of every solver."""
        return self.timeout

    def examine(self) -> EntryFindings:
        """The program is there, where its own PATH has it found."""
        own = self.environment.get("PATH")
        return program(self.command[0], ("command",), path=own if isinstance(own, str) else None)


class ResponderEntry(BaseSolverEntry):
    """Answers for a delegated zone itself, so that the host needs no DNS credentials."""

    type: Literal["responder"] = Field(description="A DNS server inside certrotd.")
    listen: Annotated[Items[ListenAddress], Field(min_length=1)] = Field(
        description="Addresses and ports of this machine to listen at, by UDP and TCP."
    )
    zones: Annotated[Items[DomainName], Field(min_length=1)] = Field(
        description="The delegated zones, such as _acme-challenge.example.com."
    )
    nameserver: DomainName = Field(description="Its name in its NS and SOA records.")
    hostmaster: DomainName | None = Field(
        default=None,
        description="The mailbox in its SOA, with dots (null: hostmaster below the zone).",
    )
    addresses: Items[IpAddress] = Field(
        default=(),
        description="IP addresses of the nameserver; required if its name is inside one of the "
        "zones, since no other server has them.",
    )

    @model_validator(mode="after")
    def _findable(self) -> Self:
        below = (zone for zone in self.zones if f".{self.nameserver}".endswith(f".{zone}"))
        if not self.addresses and (zone := next(below, None)):
            raise refuse(
                f"addresses are required: {self.nameserver} is inside {zone}, so only this solver "
                "has its address"
            )
        return self


SolverEntry = Annotated[
    Rfc2136Entry
    | PowerdnsEntry
    | Route53Entry
    | CloudflareEntry
    | AcmeDnsEntry
    | WebhookSolverEntry
    | LexiconEntry
    | ExecEntry
    | ResponderEntry,
    Field(discriminator="type"),
]
"""Every type of solver; a new one is added here."""
