"""What every type of solver has in the configuration."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from certrotd.config.addresses import ResolverAddress
from certrotd.config.base import DomainName, Entry, Items
from certrotd.config.durations import Duration


class SolverPropagationEntry(Entry):
    """How to wait for the records of one solver, instead of as ``dns.propagation`` says."""

    timeout: Duration | None = Field(
        default=None, description="How long to wait (null: as under dns)."
    )
    servers: Items[ResolverAddress] = Field(
        default=(), description="Servers to ask (empty: as under dns)."
    )
    quorum: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="How many servers must show them (null: as under dns)."
    )


class BaseSolverEntry(Entry):
    """What every solver has."""

    zones: Items[DomainName] = Field(
        default=(),
        description="Domains whose records this solver publishes, with their subdomains; the "
        "longest match decides. Empty: any that no other solver has.",
    )

    follow_cname: bool = Field(
        default=True,
        description="Whether to follow a CNAME at the _acme-challenge name and publish the record "
        "at its target. A CNAME that comes from a wildcard is never followed.",
    )
    propagation: SolverPropagationEntry = Field(
        default_factory=lambda: SolverPropagationEntry(),
        description="How to wait for its records, if not as under dns.",
    )

    @property
    def act_time(self) -> timedelta:
        """How long it may take to publish or withdraw one record."""
        return timedelta(minutes=1)
