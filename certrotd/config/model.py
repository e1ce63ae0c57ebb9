"""The configuration as the rest of certrotd uses it: checked, and with every default filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.config.certificates import (
    AdoptEntry,
    CertificateEntry,
    InstallEntry,
    KeyEntry,
    RenewEntry,
    UseEntry,
)
from certrotd.config.hostfile import DnsEntry, HostFile
from certrotd.config.hosts import DeliverEntry, HostEntry
from certrotd.config.http import HttpEntry
from certrotd.config.issuers import IssuerEntry
from certrotd.config.logging import LogEntry
from certrotd.config.notifications import Notification
from certrotd.config.probes import ProbeEntry
from certrotd.config.solvers import SolverEntry
from certrotd.config.state import KubernetesStateEntry
from certrotd.config.stores import StoreEntry
from certrotd.config.targets import TargetEntry
from certrotd.config.watch import WatchEntry
from certrotd.value import value
from certrotd.window import Window

if TYPE_CHECKING:  # a host without data keys loads nothing of them
    from certrotd.config.keks import KekEntry
    from certrotd.config.keyrings import KeyringEntry, KeyServerEntry
    from certrotd.config.managed_keys import ManagedKeyEntry

OWN_KEK = "state_dir/kek"
"""The file KEK of a configuration without one: a name that no entry can have."""


@value
class Certificate:
    """One certificate to keep fresh, independent of the file's defaults.

    ``names`` are canonical and without repetition. ``issuers`` are asked in that order until one
    issues. ``solver`` None: the solvers' zones decide;
    ``store`` None: it is kept in files.
    """

    name: str
    names: tuple[str, ...]
    issuers: tuple[str, ...]
    solver: str | None
    key: KeyEntry
    renew: RenewEntry
    keep: int
    window: Window | None
    enabled: bool
    install: tuple[InstallEntry, ...]
    adopt: AdoptEntry | None
    bootstrap: str | None
    targets: tuple[UseEntry, ...]
    store: StoreEntry | None = None
    deliver: tuple[DeliverEntry, ...] = ()
    challenge: str = "dns-01"
    csr: Path | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """What an operator has decided of data keys."""

    keks: Mapping[str, "KekEntry"] = field(default_factory=dict)
    keyrings: Mapping[str, "KeyringEntry"] = field(default_factory=dict)
    server: "KeyServerEntry | None" = None
    managed: Mapping[str, "ManagedKeyEntry"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator has decided; every name it refers to exists."""

    state_dir: Path
    store_dir: Path
    concurrency: int
    issuers: Mapping[str, IssuerEntry]
    solvers: Mapping[str, SolverEntry]
    targets: Mapping[str, TargetEntry]
    dns: DnsEntry
    log: LogEntry
    http: HttpEntry | None
    notifications: Mapping[str, Notification]
    watch: tuple[WatchEntry, ...]
    watch_every: timedelta
    certificates: tuple[Certificate, ...]
    keys: "Keys"
    state: KubernetesStateEntry | None = None
    hosts: Mapping[str, HostEntry] = field(default_factory=dict)

    def probes(self, use: UseEntry) -> tuple[ProbeEntry, ...]:
        """What proves a certificate at a target: its own endpoints, else the target's."""
        return self.targets[use.target].probe if use.probe is None else use.probe


def store_dir(file: HostFile) -> Path:
    """Where the certificates are kept."""
    return file.store_dir or file.state_dir / "certificates"


def issuers_of(file: HostFile, entry: CertificateEntry) -> tuple[str, ...]:
    """Which issuers ``entry`` has: its own, else the default ones, else the only one."""
    only = tuple(file.issuers) if len(file.issuers) == 1 else ()
    return entry.issuer or file.defaults.issuer or only


def resolve(file: HostFile, entries: Sequence[CertificateEntry]) -> Config:
    """``file`` with ``entries`` as its certificates, which must have been cross-checked."""
    return Config(
        state_dir=file.state_dir,
        store_dir=store_dir(file),
        concurrency=file.concurrency,
        issuers=file.issuers,
        solvers=file.solvers,
        targets=file.targets,
        dns=file.dns,
        log=file.log,
        http=file.http,
        notifications=file.notifications,
        watch=file.watch,
        watch_every=file.watch_every,
        certificates=tuple(_certificate(file, entry) for entry in entries),
        keys=_keys(file),
        state=file.state,
        hosts=file.hosts,
    )


def _keys(file: HostFile) -> "Keys":
    """What the file says of data keys; its schema is loaded only where it says anything."""
    if type(file) is HostFile:
        return Keys()
    from certrotd.config.file import ConfigFile
    from certrotd.config.keks import FileKekEntry

    assert isinstance(file, ConfigFile), "there is no other kind of file"
    own = {OWN_KEK: FileKekEntry(type="file", path=file.state_dir / "kek")}
    return Keys(file.keks or own, file.keyrings, file.key_server, file.managed_keys)


def _certificate(file: HostFile, entry: CertificateEntry) -> Certificate:
    defaults = file.defaults
    names = entry.names
    issuers = issuers_of(file, entry)
    assert issuers
    return Certificate(
        name=entry.name,
        names=names if len(names) == 1 else tuple(dict.fromkeys(names)),
        issuers=issuers,
        solver=entry.solver or defaults.solver,
        key=entry.key or defaults.key,
        renew=entry.renew or defaults.renew,
        keep=entry.keep or defaults.keep,
        window=entry.window or defaults.window,
        enabled=entry.enabled,
        install=entry.install,
        adopt=entry.adopt,
        bootstrap=entry.bootstrap,
        targets=defaults.targets if entry.targets is None else entry.targets,
        store=entry.store,
        deliver=entry.deliver,
        challenge=entry.challenge or defaults.challenge,
        csr=entry.csr,
    )
