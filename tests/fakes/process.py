"""A daemon of cheap certificates whose ticks and threads are in the hands of the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certrotd.certs.limits.budget import Budget
from certrotd.certs.limits.sliding_windows import Limits, Spent
from certrotd.certs.managed import Managed
from certrotd.certs.policy import KIND
from certrotd.certs.subject import CertificateSubject
from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.gate import Held
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.view import View
from certrotd.observers import Observer
from certrotd.scheduling.clock_trust import Judgement
from certrotd.scheduling.scheduler import Scheduler
from certrotd.scheduling.workload import Workload
from tests.fakes.cheap import CheapDisk, CheapRotator
from tests.fakes.subjects import subjects_of


@dataclass
class Kept:
    """What outlives a process beside the certificates."""

    last_run: datetime | None = None
    spent: Spent = field(default_factory=Spent)

    def remember(self, moment: datetime) -> None:
        self.last_run = moment


class MemoryRecord:
    """The Record port over Kept; a new process reads it once, as nobody else writes."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._read = False

    def load(self) -> Spent | None:
        if self._read:
            return None
        self._read = True
        return Spent(dict(self._kept.spent.stamps))

    def save(self, spent: Spent) -> None:
        self._kept.spent = spent


@dataclass
class Heard(Observer):
    """An observer that writes everything down."""

    judgements: list[tuple[Judgement, timedelta | None]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    over: list[tuple[str, Held]] = field(default_factory=list)
    troubles: list[tuple[str, Failure]] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    calm: list[str] = field(default_factory=list)

    def ticked(self, now: datetime, looked: int) -> None:
        self.ticks.append(looked)

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:
        self.judgements.append((judgement, jump))

    def looked(self, view: View) -> None:
        self.seen.append(view.id.name)

    def postponed(self, subject: Id, held: Held) -> None:
        self.over.append((subject.name, held))

    def began(self, subject: Id, why: str) -> None:
        self.begun.append(subject.name)

    def ended(self, report: Report) -> None:
        self.reports.append(report)

    def calmed(self, what: Id | str) -> None:
        self.calm.append(_called(what))

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self.troubles.append((_called(what), failure))


def managed_of(subject: Subject) -> Managed:
    """The certificate behind a subject."""
    assert isinstance(subject, CertificateSubject)
    return subject.managed


def _issuers(disks: Mapping[str, CheapDisk]) -> set[str]:
    return {disk.policy.issuer for disk in disks.values()}


def _called(what: Id | str) -> str:
    return what.name if isinstance(what, Id) else what


class Process:
    """One process of the daemon; ``jobs`` are the rotations it has begun and nobody has run."""

    def __init__(
        self,
        disks: Mapping[str, CheapDisk],
        rotator: CheapRotator,
        clock: Clock,
        kept: Kept,
        *,
        limits: Limits | None = None,
        concurrency: int = 8,
    ) -> None:
        self.heard = Heard()
        self.jobs: list[tuple[str, Callable[[], None]]] = []
        self.rotator = rotator
        self.concurrency = concurrency
        self.disks = disks
        rotator.budget = Budget(limits, MemoryRecord(kept), clock) if limits else None
        self.scheduler = Scheduler(
            self.workload(disks),
            clock,
            last_run=kept.last_run,
            observer=self.heard,
            spawn=lambda text, job: self.jobs.append((Id.parse(text).name, job)),
            remember=kept.remember,
        )
        rotator.ca.tells = self.scheduler.heard_time

    def workload(self, disks: Mapping[str, CheapDisk]) -> Workload:
        """A configuration of these certificates."""
        certificates = [disk.managed() for disk in disks.values()]
        return Workload(
            subjects=subjects_of(certificates, lambda _issuer: self.rotator.budget),
            slots={KIND: self.concurrency},
            rotate=lambda subject, _asked: self.rotator.rotate(managed_of(subject)),
            in_flight=lambda subject: disks[subject.name].flight is not None,
            rations={issuer: lambda: self.rotator.budget for issuer in _issuers(disks)},
        )

    def tick(self) -> None:
        """A tick, after which everything that was begun runs to its end, and what follows too."""
        self.scheduler.tick()
        self.run()

    def run(self, *, but: Sequence[str] = ()) -> None:
        """Run the jobs, except those of some names, which hang."""
        while ready := [job for job in self.jobs if job[0] not in but]:
            self.jobs.remove(ready[0])
            ready[0][1]()
