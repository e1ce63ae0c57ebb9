"""The configuration as the rest of certrotd uses it: checked, and with every default filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certrotd.config.certificates import (
    AdoptEntry,
    CertificateEntry,
    InstallEntry,
    KeyEntry,
    RenewEntry,
    UseEntry,
)
from certrotd.config.file import ConfigFile, DnsEntry
from certrotd.config.http import HttpEntry
from certrotd.config.issuers import IssuerEntry
from certrotd.config.keks import FileKekEntry, KekEntry
from certrotd.config.keyrings import KeyringEntry, KeyServerEntry
from certrotd.config.logging import LogEntry
from certrotd.config.notifications import Notification
from certrotd.config.solvers import SolverEntry
from certrotd.config.targets import ProbeEntry, TargetEntry
from certrotd.config.watch import WatchEntry
from certrotd.window import Window


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate to keep fresh, independent of the file's defaults.

    ``names`` are canonical and without repetition. ``solver`` None: the solvers' zones decide.
    """

    name: str
    names: tuple[str, ...]
    issuer: str
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
    keks: Mapping[str, KekEntry]
    keyrings: Mapping[str, KeyringEntry]
    key_server: KeyServerEntry | None

    def probes(self, use: UseEntry) -> tuple[ProbeEntry, ...]:
        """What proves a certificate at a target: its own endpoints, else the target's."""
        return self.targets[use.target].probe if use.probe is None else use.probe


def store_dir(file: ConfigFile) -> Path:
    """Where the certificates are kept."""
    return file.store_dir or file.state_dir / "certificates"


def issuer_of(file: ConfigFile, entry: CertificateEntry) -> str | None:
    """Which issuer ``entry`` has: its own, else the default one, else the only one."""
    return (
        entry.issuer
        or file.defaults.issuer
        or (next(iter(file.issuers)) if len(file.issuers) == 1 else None)
    )


def resolve(file: ConfigFile, entries: Sequence[CertificateEntry]) -> Config:
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
        keks=file.keks or {"local": FileKekEntry(type="file", path=file.state_dir / "kek")},
        keyrings=file.keyrings,
        key_server=file.key_server,
    )


def _certificate(file: ConfigFile, entry: CertificateEntry) -> Certificate:
    defaults = file.defaults
    names = entry.names
    issuer = issuer_of(file, entry)
    assert issuer is not None
    return Certificate(
        name=entry.name,
        names=names if len(names) == 1 else tuple(dict.fromkeys(names)),
        issuer=issuer,
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
    )
