"""What an adapter is built with besides its entry in the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from certrotd.clock import Clock, Deadline
from certrotd.config.connect import Connect, unconnected
from certrotd.errors import ProofFailed, Transient

if TYPE_CHECKING:
    from certrotd.config.probes import HandshakeEntry
    from certrotd.config.stores import StoreEntry
    from certrotd.pki.generation import LiveCertificate
    from certrotd.state.ports import Folder


class RecordEvent(Protocol):
    """Writes into the audit log what happened, in the past tense; raises Failure."""

    def __call__(self, event: str, **details: Any) -> None: ...


def _unrecorded(event: str, **details: Any) -> None: ...


@dataclass(frozen=True)
class Surroundings:
    """What an issuer knows of the rest of the site, and tells it.

    ``issued`` names the certificates that are live and that it issued; ``record`` writes into the
    audit log, ``remark`` takes a line for people, ``ca_time`` what a CA says the time is.
    """

    issued: Callable[[], Sequence[str]] = tuple
    record: RecordEvent = _unrecorded
    remark: Callable[[str], None] = lambda _line: None
    ca_time: Callable[[datetime], None] = lambda _moment: None


class ProveAt(Protocol):
    """Returns once a host and port serve a certificate as a probe asks for; raises ProofFailed."""

    def __call__(
        self, probe: HandshakeEntry, host: str, port: int, certificate: LiveCertificate, /
    ) -> None: ...


def _unproven(
    probe: HandshakeEntry,  # noqa: ARG001
    host: str,
    port: int,
    certificate: LiveCertificate,
    /,
) -> None:
    raise ProofFailed(f"nothing here can prove that {host}:{port} serves {certificate.certificate}")


class LookAt(Protocol):
    """The fingerprint of the leaf that one handshake at a host and port shows; raises Transient."""

    def __call__(
        self, probe: HandshakeEntry, host: str, port: int, certificate: LiveCertificate, /
    ) -> str: ...


def _unseen(
    probe: HandshakeEntry,  # noqa: ARG001
    host: str,
    port: int,
    certificate: LiveCertificate,  # noqa: ARG001
    /,
) -> str:
    raise Transient(f"nothing here can look at {host}:{port}")


@dataclass(frozen=True)
class Context:
    """``name`` is the entry's; ``state_dir`` is certrotd's own directory, 0700.

    A target that looks at places of its own does so by ``prove`` and ``look``, and has the API
    servers of clusters by ``connect``. ``stores`` has the entries of
    those of its certificates that are not kept in files.
    """

    name: str
    state_dir: Path
    clock: Clock
    prove: ProveAt = _unproven
    look: LookAt = _unseen
    connect: Connect = unconnected
    stores: Mapping[str, StoreEntry] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SolverContext(Context):
    """What a solver is built with.

    ``zone_of`` gives the zone that holds a name, within a deadline, by its SOA; ``folder`` is where
    the solver keeps what has to stay for good.
    """

    zone_of: Callable[[str, Deadline], str]
    folder: Folder


@dataclass(frozen=True, kw_only=True)
class IssuerContext(Context):
    """What an issuer is built with; ``folder`` is where it keeps what has to stay for good."""

    folder: Folder
    site: Surroundings = field(default_factory=Surroundings)
