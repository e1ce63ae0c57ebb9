"""Who proves control of names by DNS: one class per type of solver, and the line listing them."""

from base64 import b64decode
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from certrotd.config.addresses import ListenAddress, ResolverAddress, ServerAddress
from certrotd.config.base import Argv, DomainName, Entry, EntryFindings, IpAddress, Items, refuse
from certrotd.config.durations import Duration
from certrotd.config.looks import program
from certrotd.config.secrets import Environment, SecretRef, formed
from certrotd.errors import NeedsOperator


class SolverPropagationEntry(Entry):
    """How the records of one solver are waited for, instead of as ``dns.propagation`` says."""

    timeout: Duration | None = Field(
        default=None, description="How long to wait (null: as under dns)."
    )
    servers: Items[ResolverAddress] = Field(
        default=(), description="Servers to look at (empty: as under dns)."
    )
    quorum: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="How many servers must show them (null: as under dns)."
    )


class _SolverEntry(Entry):
    """What every solver has."""

    zones: Items[DomainName] = Field(
        default=(),
        description="Domains whose records (and those below) this solver publishes; the longest "
        "that fits a record decides. Empty: any that no other solver has.",
    )

    follow_cname: bool = Field(
        default=True,
        description="Whether a CNAME at the _acme-challenge name is followed, and the record "
        "published where it leads. One that only a wildcard makes never is.",
    )
    propagation: SolverPropagationEntry = Field(
        default_factory=lambda: SolverPropagationEntry(),
        description="How its records are waited for, where that is not as under dns.",
    )


class TsigEntry(Entry):
    """The key that signs updates (RFC 8945)."""

    name: DomainName = Field(description="Name of the key, as the server knows it.")
    algorithm: Literal["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        default="hmac-sha256", description="The key's algorithm, as the server knows it."
    )
    secret: SecretRef = Field(description="Where the key is: base64, as in the server's key file.")

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


class Rfc2136Entry(_SolverEntry):
    """Publishes by dynamic DNS update (RFC 2136) to a server such as BIND, Knot or PowerDNS."""

    type: Literal["rfc2136"] = Field(description="Dynamic DNS update (RFC 2136).")
    server: ServerAddress = Field(
        description="The zone's primary server: address or host name, with or without a port."
    )
    zone: DomainName | None = Field(
        default=None, description="The zone to update (null: found by asking for its SOA)."
    )
    tsig: TsigEntry | None = Field(
        default=None, description="The key that signs updates (null: they are not signed)."
    )
    ttl: int = Field(default=60, ge=0, le=86400, description="TTL of the records, in seconds.")
    protocol: Literal["udp", "tcp"] = Field(
        default="udp", description="How updates are sent: udp (tcp where an answer is cut) or tcp."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one update may take."
    )


class ExecEntry(_SolverEntry):
    """Publishes through a program of your own."""

    type: Literal["exec"] = Field(description="A program of your own.")
    command: Argv = Field(
        description="The program and its arguments; no shell is between. The variables "
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
        default=1, description="How many may run at a time, in all processes together."
    )

    def examine(self) -> EntryFindings:
        """The program is there, where its own PATH has it found."""
        own = self.environment.get("PATH")
        return program(self.command[0], ("command",), path=own if isinstance(own, str) else None)


class ResponderEntry(_SolverEntry):
    """Answers for a delegated zone itself, so that no DNS credentials are on the host."""

    type: Literal["responder"] = Field(description="A DNS server inside certrotd.")
    listen: Annotated[Items[ListenAddress], Field(min_length=1)] = Field(
        description="Addresses and ports of this machine to answer at, by UDP and TCP."
    )
    zones: Annotated[Items[DomainName], Field(min_length=1)] = Field(
        description="The delegated zones it answers for, such as _acme-challenge.example.com."
    )
    nameserver: DomainName = Field(description="The name its NS and SOA records give it.")
    hostmaster: DomainName | None = Field(
        default=None,
        description="The mailbox in its SOA, with dots (null: hostmaster below the zone).",
    )
    addresses: Items[IpAddress] = Field(
        default=(),
        description="IP addresses of the nameserver; needed where its name is inside one of the "
        "zones, since nobody else could say them.",
    )

    @model_validator(mode="after")
    def _findable(self) -> Self:
        below = (zone for zone in self.zones if f".{self.nameserver}".endswith(f".{zone}"))
        if not self.addresses and (zone := next(below, None)):
            raise refuse(
                f"addresses are needed: {self.nameserver} is inside {zone}, so only this solver "
                "can say where it is"
            )
        return self


SolverEntry = Annotated[Rfc2136Entry | ExecEntry | ResponderEntry, Field(discriminator="type")]
"""Every type of solver; a new one is added here."""
