"""The configuration file as it is written, but for data keys: see file.py."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from certrotd.config.addresses import DNS_PORT, ResolverAddress
from certrotd.config.base import AbsolutePath, Entry, EntryFindings, Items, SafeName, Text
from certrotd.config.certificates import CertificateEntry, DefaultsEntry
from certrotd.config.durations import Duration
from certrotd.config.hosts import HostEntry
from certrotd.config.http import HttpEntry
from certrotd.config.issuers import AcmeEntry, IssuerEntry
from certrotd.config.logging import LogEntry
from certrotd.config.looks import folder
from certrotd.config.notifications import Notification
from certrotd.config.solvers import SolverEntry
from certrotd.config.state import KubernetesStateEntry
from certrotd.config.targets import TargetEntry
from certrotd.config.watch import WatchEntry


class PropagationEntry(Entry):
    """How to wait for a published record before the CA validates."""

    timeout: Duration = Field(
        default=timedelta(minutes=2), description="How long to wait for all of the servers."
    )
    interval: Duration = Field(
        default=timedelta(seconds=2), description="How long between two queries."
    )
    servers: Items[ResolverAddress] = Field(
        default=(),
        description="Servers to ask instead of the zone's own name servers (hidden primaries, "
        "split horizons).",
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=DNS_PORT, description="Port of the zone's own name servers."
    )
    quorum: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None,
        description="How many servers must show the record at the timeout if the others are "
        "silent; none may answer otherwise (null: all but one, at least two or all there are).",
    )
    skip: bool = Field(default=False, description="Do not wait at all.")


class DnsEntry(Entry):
    """How certrotd itself queries the DNS."""

    resolvers: Items[ResolverAddress] = Field(
        default=(), description="Resolvers to ask (empty: those of /etc/resolv.conf)."
    )
    propagation: PropagationEntry = Field(
        default_factory=PropagationEntry, description="How to wait for published records."
    )


class HostFile(Entry):
    """What of the configuration concerns certificates, and certrotd itself."""

    state_dir: AbsolutePath = Field(
        default=Path("/var/lib/certrotd"),
        description="Directory of journals, history, locks, accounts and internal CAs; only "
        "certrotd uses it.",
    )
    store_dir: AbsolutePath | None = Field(
        default=None,
        description="Directory of the certificates, each in its own directory (null: certificates "
        "in state_dir).",
    )
    concurrency: int = Field(
        default=8, ge=1, le=64, description="How many rotations may run at once."
    )
    include: Text | None = Field(
        default="conf.d/*.yaml",
        description="More files, read in the order of their names: a pattern relative to this "
        "file's directory (null: none). Only in the main file.",
    )
    log: LogEntry = Field(default_factory=LogEntry, description="The log of certrotd run.")
    http: HttpEntry | None = Field(
        default=None,
        description="Health, metrics and the status page of certrotd run (null: none).",
    )
    issuers: dict[SafeName, IssuerEntry] = Field(
        default={}, description="Who issues certificates, by a name of your choice."
    )
    solvers: dict[SafeName, SolverEntry] = Field(
        default={}, description="Who proves control of names by DNS, by a name of your choice."
    )
    dns: DnsEntry = Field(default_factory=DnsEntry, description="How certrotd queries the DNS.")
    targets: dict[SafeName, TargetEntry] = Field(
        default={}, description="What serves the certificates, by a name of your choice."
    )
    hosts: dict[SafeName, HostEntry] = Field(
        default={},
        description="Other hosts that certificates are delivered to, by a name of your choice.",
    )
    notifications: dict[SafeName, Notification] = Field(
        default={}, description="Who gets alerts of certrotd run, by a name of your choice."
    )
    defaults: DefaultsEntry = Field(
        default_factory=DefaultsEntry,
        description="Settings of certificates without their own.",
    )
    certificates: Items[CertificateEntry] = Field(
        default=(), description="The certificates to rotate."
    )
    watch: Items[WatchEntry] = Field(
        default=(), description="More endpoints to check, whoever renews their certificates."
    )
    watch_every: Duration = Field(
        default=timedelta(hours=1),
        description="How often to check these endpoints, and the files, copies and targets of "
        "every certificate.",
    )
    state: KubernetesStateEntry | None = Field(
        default=None,
        description="Where journals, history, locks and documents are instead, for several "
        "replicas or pods without a volume (null: in state_dir).",
    )

    def examine(self) -> EntryFindings:
        """Its own folders are folders, or can be made, and what is there is as it is asked for."""
        yield from folder(self.state_dir, ("state_dir",), made=True)
        yield from folder(self.store_dir, ("store_dir",), made=True)
        for name, entry in self.issuers.items() if self.state is None else ():
            if isinstance(entry, AcmeEntry):
                for loc, seen in entry.looked_at(name, self.state_dir):
                    yield ("issuers", name, *loc), seen
