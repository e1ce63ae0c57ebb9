"""Probes: where TLS handshakes prove which certificate is served, and what is asked there."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from certrotd.address import StartTls
from certrotd.config.addresses import EndpointAddress
from certrotd.config.base import DomainName, Entry, EntryFindings, absolute, refuse, shown
from certrotd.config.durations import Duration
from certrotd.config.looks import roots


def _roots(value: object) -> Path | str:
    if value == "system":
        return "system"
    if not isinstance(value, str | Path) or not str(value).startswith("/"):
        raise refuse(f'must be "system" or the absolute path of a PEM file, got {shown(value)}')
    return absolute(value)


Roots = Annotated[
    Path | Literal["system"],
    PlainValidator(_roots),
    WithJsonSchema({"type": "string", "pattern": "^(/|system$)"}),
]


class HandshakeEntry(Entry):
    """What is asked of an endpoint, wherever it is."""

    sni: DomainName | None = Field(
        default=None,
        description="The server name to ask for (null: the certificate's first name that is not a "
        'wildcard, else "certrotd" below its first wildcard).',
    )
    starttls: StartTls | None = Field(
        default=None, description="The protocol before TLS begins (null: none)."
    )
    proxy_protocol: Literal["v1", "v2"] | None = Field(
        default=None,
        description="The version of the PROXY protocol that the endpoint expects (null: none).",
    )
    consecutive: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="How many handshakes in a row must show the new certificate.",
    )
    deadline: Duration = Field(
        default=timedelta(seconds=30),
        description="How long to try before certrotd undoes the rotation. The handshakes in a row "
        "spread over a 60th of it, at most a second.",
    )
    roots: Roots | None = Field(
        default=None,
        description='The roots that verify the served chain: a PEM file, or "system" (null: only '
        "the leaf is compared).",
    )

    def examine(self) -> EntryFindings:
        """The roots are there."""
        return roots(self.roots, ("roots",))


class ProbeEntry(HandshakeEntry):
    """One endpoint that must serve the new certificate after a reload."""

    address: EndpointAddress = Field(description="Where to connect: host:port or [IPv6]:port.")


class OwnProbeEntry(HandshakeEntry):
    """One port at which everything that a target tells must serve the new certificate."""

    where: ClassVar[str]
    """What has the port, in words."""
    port: int


class PodProbeEntry(OwnProbeEntry):
    """One port at which every pod must serve the new certificate, each at its own address."""

    where: ClassVar[str] = "each pod"
    port: int = Field(ge=1, le=65535, description="The port of each pod to connect to.")
