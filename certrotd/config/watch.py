"""What is looked at from outside, whoever keeps it fresh."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from certrotd.address import StartTls
from certrotd.config.addresses import EndpointAddress
from certrotd.config.base import (
    AnyName,
    DomainName,
    Entry,
    EntryFindings,
    Items,
    SafeName,
    absolute,
    canonical,
    refuse,
    shown,
)
from certrotd.config.certificates import MAX_NAMES, share
from certrotd.config.durations import Duration, parse
from certrotd.config.looks import roots
from certrotd.errors import InvalidInput


def _notice(value: object) -> timedelta | float:
    """A span before the end, or a share of the lifetime."""
    if isinstance(value, float) or (isinstance(value, str) and "/" in value):
        return share(value)
    try:
        span = parse(value) if isinstance(value, str) else timedelta(0)
    except InvalidInput as error:
        raise refuse(str(error)) from None
    if span <= timedelta(0):
        raise refuse(f"must be a duration such as 14d, or a share such as 1/4, got {shown(value)}")
    return span


def _roots(value: object) -> Path | str:
    if isinstance(value, str) and value in ("system", "none"):
        return value
    if not isinstance(value, str | Path) or not str(value).startswith("/"):
        right = 'must be "system", "none" or the absolute path of a PEM file'
        raise refuse(f"{right}, got {shown(value)}")
    return absolute(value)


Notice = Annotated[
    timedelta | float,
    PlainValidator(_notice, json_schema_input_type=str | float),
]
WatchRoots = Annotated[
    Path | Literal["system", "none"],
    PlainValidator(_roots),
    WithJsonSchema({"type": "string", "pattern": "^(/|system$|none$)"}),
]


class WatchEntry(Entry):
    """An endpoint to check, whether certrotd manages its certificate or not."""

    address: EndpointAddress = Field(description="Where to connect: host:port or [IPv6]:port.")
    sni: DomainName | None = Field(
        default=None, description="The server name to ask for (null: the address's host)."
    )
    starttls: StartTls | None = Field(
        default=None, description="The protocol before TLS begins (null: none)."
    )
    proxy_protocol: Literal["v1", "v2"] | None = Field(
        default=None,
        description="The version of the PROXY protocol that the endpoint expects (null: none).",
    )
    certificate: SafeName | None = Field(
        default=None,
        description="The certificate whose live generation it must serve (null: any certificate).",
    )
    names: Annotated[Items[AnyName], Field(max_length=MAX_NAMES)] = Field(
        default=(),
        description="Names that its certificate must have (empty: the server name).",
    )
    warn_before: Notice | None = Field(
        default=None,
        description="How long before expiry to warn: a duration (at most a third of the lifetime "
        "counts), or a share of the lifetime (null: 1/4, at most 14d).",
    )
    roots: WatchRoots | None = Field(
        default=None,
        description='The roots that verify the chain: a PEM file, "system", or "none" (only the '
        'links of the chain). null: "none" with certificate, else "system".',
    )
    every: Duration | None = Field(
        default=None, description="How often to check (null: as watch_every)."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one check may take."
    )
    after: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="After how many checks in a row, a minute apart, to report that it is "
        "unreachable or serves another certificate.",
    )

    def examine(self) -> EntryFindings:
        """The roots are there."""
        return roots(self.roots, ("roots",))

    @property
    def asked(self) -> str:
        """The server name that is asked for, or the IP address where there is none."""
        return self.sni or canonical(self.address.host)

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        assert self.asked  # a host that is no name is refused in canonical's words
        return self
