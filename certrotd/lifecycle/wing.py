"""A wing: all subjects of one kind in one configuration, and what belongs to them.

The daemon and the command line know wings by this alone. A new kind of thing is a module with a
function ``build(config, premises)``, named in daemon/wings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from certrotd.clock import Clock
from certrotd.config.connect import Connect, unconnected
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.subject import Subject
from certrotd.state.ports import Lease, State

if TYPE_CHECKING:
    from certrotd.lifecycle.audited import Audit
    from certrotd.lifecycle.finding import EarlierLooks, Settled, Watched
    from certrotd.lifecycle.runner import Runner


@dataclass(frozen=True, slots=True)
class Terms:
    """The labels of counters, which must be seen at zero before they grow.

    ``acts`` are those of actions, ``findings`` the kinds of findings.
    """

    acts: Sequence[str] = ()
    findings: Sequence[str] = ()


class Ration(Protocol):
    """What an account elsewhere may still be asked for."""

    def left(self, now: datetime) -> int | None:
        """How much there is; None without a limit. Raises DiskTrouble."""
        ...

    def leapt(self, by: timedelta) -> None:
        """The wall clock went forward, and perhaps no time has passed; raises DiskTrouble."""
        ...


class CheckResult(Protocol):
    """What one look of a check found; ``moving``: a rotation of it was in flight."""

    @property
    def watched(self) -> Watched: ...

    @property
    def moving(self) -> bool: ...

    def settle(self, earlier: EarlierLooks, *, most: int | None = None) -> Settled:
        """Weigh it against earlier looks at the same thing.

        What may pass by itself is reported when it was found several times in a row, ``most`` of
        them at the latest.
        """
        ...


class Check(Protocol):
    """Something to look at every so often, beside the scheduler and independent of it.

    ``label`` names it in a few words, the same in every process; ``every`` is in seconds.
    ``about`` is the subject whose rotations may make it look different. A ``routine`` check waits
    for those that were asked for by name.
    """

    @property
    def label(self) -> str: ...

    @property
    def every(self) -> float: ...

    @property
    def about(self) -> Id | None: ...

    @property
    def routine(self) -> bool: ...

    def watched_keys(self) -> Iterable[str]:
        """The keys of what look() gives."""
        ...

    def look(self) -> Sequence[CheckResult]:
        """Look at it and everything that belongs to it, one after the other."""
        ...

    def failed(self, failure: Failure) -> Watched:
        """What to report of a look that broke off."""
        ...


class Service(Protocol):
    """Answers others on a socket of its own; ``name`` is for people."""

    @property
    def name(self) -> str: ...

    def start(self) -> None:
        """Begin; raises Failure."""
        ...

    def close(self) -> None:
        """End; nothing happens to one that did not begin."""
        ...


class Wing(Protocol):
    """The subjects of one ``kind``; ``slots`` of them are rotated at once.

    ``rations`` gives the accounts that may be limited, each with what it has left (None: no limit).
    """

    @property
    def kind(self) -> str: ...

    @property
    def subjects(self) -> Sequence[Subject]: ...

    @property
    def slots(self) -> int: ...

    @property
    def terms(self) -> Terms: ...

    @property
    def rations(self) -> Mapping[str, Callable[[], Ration | None]]: ...

    @property
    def directories(self) -> Sequence[Path]:
        """Those that must be there, and writable, besides that of the state."""
        ...

    def covering(self, name: str) -> Sequence[Id]:
        """The subjects that are for this name, which is none of theirs."""
        ...

    def prepare(self, runner: Runner) -> None:
        """What comes before any rotation; the subjects' own rotations report its failures."""
        ...

    def serve(self, report: Callable[[str], None]) -> Service | None:
        """What answers others while the daemon runs, not started yet; None if nothing does.

        ``report`` takes a line about what goes wrong meanwhile.
        """
        ...

    def checks(self) -> Sequence[Check]:
        """Everything that is watched."""
        ...

    def close(self) -> None:
        """Let go of sockets and threads."""
        ...


@runtime_checkable
class Revokes(Protocol):
    """A wing of what somebody else has signed, and can revoke where it is only in a file, too."""

    def known_as(self, certificate: bytes) -> tuple[str, int] | None:
        """The subject and its version that this is (PEM or DER), None if it is none of ours."""
        ...

    def revoke_file(
        self, certificate: bytes, key: bytes | None, *, issuer: str | None, reason: str, by: str
    ) -> str:
        """Have it revoked; what came of it, in words. Raises UsageError and Failure."""
        ...


@runtime_checkable
class Leftovers(Protocol):
    """A wing that may have kept something that the configuration no longer asks for."""

    def leftover(self, name: str) -> Subject | None:
        """What there is under that name, disabled; None if nothing is."""
        ...


class PlainWing:
    """Of a Wing that has nothing of what only some have."""

    rations: Mapping[str, Callable[[], Ration | None]] = {}
    directories: Sequence[Path] = ()

    def covering(self, name: str) -> Sequence[Id]:  # noqa: ARG002
        """As Wing.covering."""
        return ()

    def prepare(self, runner: Runner) -> None:
        """As Wing.prepare."""

    def serve(self, report: Callable[[str], None]) -> Service | None:  # noqa: ARG002
        """As Wing.serve."""
        return None

    def close(self) -> None:
        """As Wing.close."""


class NamedLock(Protocol):
    """The lock of a name: what it protects, in words, and how many seconds to wait for it."""

    def __call__(
        self, name: str, what: str, wait: float | None, *, shared: bool = False
    ) -> AbstractContextManager[Lease]:
        """Held for the block; ``shared`` keeps out only who wants it alone."""
        ...


class AskedService(Protocol):
    """Hears that a service failed a rotation for the time being, or (None) did its part."""

    def __call__(self, subject: Id, service: str, failure: Failure | None, /) -> None: ...


@dataclass(frozen=True)
class Premises:
    """What a wing is given besides the configuration.

    ``in_flight`` says whether a subject's journal is open, ``remark`` takes a line about something
    that is wrong and does not stand in the way, ``audit`` gives the audit log, ``heard_time`` hears
    what time a CA says it is. Of a ``dry`` one nothing is written, locks included. API servers of
    clusters are had by ``connect``.
    """

    state: State
    clock: Clock
    lock: NamedLock
    in_flight: Callable[[Id], bool]
    audit: Callable[[], Audit]
    remark: Callable[[str], None] = lambda _line: None
    heard_time: Callable[[datetime], None] = lambda _time: None
    asked_service: AskedService = lambda _subject, _service, _failure: None
    dry: bool = False
    connect: Connect = unconnected


Build = Callable[[Any, Premises], Wing]
"""A wing of a configuration."""
