"""A board, and certificates as they would be on disk, without a scheduler or a disk of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from certrotd.audit.head import Anchor
from certrotd.certs.limits.budget import Budget
from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import COPIES, KIND, Policy
from certrotd.certs.wing import terms
from certrotd.clock import ManualClock
from certrotd.daemon.http.sources import Sources
from certrotd.errors import Failure
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import CertificateState, Copy, Generation, Meta, Standing, TargetState
from certrotd.reporting.status_board import StatusBoard
from certrotd.scheduling.workload import Workload
from certrotd.state.history import FileHistory
from certrotd.state.journal import FileJournal
from certrotd.state.lock import NoLease
from tests.fakes.managed import FakeManaged
from tests.fakes.subjects import subjects_of, view_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PRINT = "ab" * 32


def generation(
    *names: str,
    age: timedelta = 10 * DAY,
    lifetime: timedelta = 90 * DAY,
    number: int = 3,
    issuer: str = "Test CA",
) -> Generation:
    """One that was issued ``age`` ago."""
    begin = NOW - age
    facts = CertificateFacts(
        names, "ecdsa-p256", names[0], issuer, "c0ffee", begin, begin + lifetime, PRINT, False
    )
    meta = Meta(begin, "issued", "ca", "internal:ca", 0.0, "", names)
    return Generation(number, meta, facts)


@dataclass
class Stand:
    """Add certificates, have them looked at, and ask."""

    state: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    certificates: dict[str, Managed] = field(default_factory=dict)
    flying: set[str] = field(default_factory=set)
    budgets: dict[str, Budget] = field(default_factory=dict)
    audit: Anchor | Failure = field(default_factory=lambda: Anchor(state="missing"))

    def __post_init__(self) -> None:
        self.board = StatusBoard(self.clock)

    @property
    def sources(self) -> Sources:
        """What pages are made from."""
        issuers = {each.policy.issuer for each in self.certificates.values()}
        work = Workload(
            subjects=subjects_of(self.certificates.values()),
            slots={KIND: 1},
            rotate=_nothing,
            in_flight=lambda subject: subject.name in self.flying,
            terms=terms(),
            rations={issuer: partial(self.budgets.get, issuer) for issuer in issuers},
        )
        return Sources(self.board, self.clock, lambda: work, self._anchor)

    def add(
        self,
        name: str,
        *names: str,
        live: Generation | Failure | None = None,
        targets: Mapping[str, TargetState | None] | None = None,
        newest: Generation | None = None,
        copies: Mapping[str, Copy] | None = None,
        displaced: str | None = None,
        **policy: Any,
    ) -> Managed:
        """One more certificate; ``live`` may be a failure to look at it."""
        targets = targets or {}
        kept = {target: kept for target, kept in targets.items() if kept}
        state = CertificateState(kept, copies=dict(copies or {}))
        told = tuple(target for target in targets if target != COPIES)
        asked = Policy(
            name,
            names,
            "ca",
            "internal:ca",
            jitter=0.0,
            waves=(told,),
            installs=copies is not None,
            **policy,
        )

        def look(**_: bool) -> Standing:
            if isinstance(live, Failure):
                raise live
            return Standing(live, newest or live, state, displaced=displaced)

        self.certificates[name] = FakeManaged(
            policy=asked,
            journal=FileJournal(self.state, f"certificate/{name}"),
            world=_nothing,
            lock=lambda: nullcontext(NoLease()),
            look=look,
            generation=_nothing,
        )
        return self.certificates[name]

    def fine(self, name: str, **options: Any) -> Managed:
        """One that is in order."""
        host = f"{name}.example.com"
        return self.add(name, host, live=generation(host, **options))

    def past(self, name: str, failure: str | None = None, **more: Any) -> None:
        """A line of history, an hour ago."""
        line: dict[str, Any] = {
            "id": f"{name}-{len(self._history(name).lines())}",
            "name": name,
            "why": "its time has come",
            "began": (NOW - timedelta(hours=1, minutes=2)).isoformat(),
            "ended": (NOW - timedelta(hours=1)).isoformat(),
            "outcome": "rolled back to issued" if failure else "finished",
            "to": None,
            "failed_step": "prove" if failure else None,
            "failure": failure,
            "retry_after": None,
            "facts": {},
        }
        self._history(name).add({**line, **more})

    def _history(self, name: str) -> FileHistory:
        return FileHistory(self.state, f"certificate/{name}")

    def look(self) -> None:
        """What a tick does, as far as a board hears of it."""
        self.board.configured([each.policy.id for each in self.certificates.values()], [])
        now = self.clock.now()
        for managed in self.certificates.values():
            try:
                standing, attempts = managed.look(), attempts_of(managed)
            except Failure as failure:
                self.board.trouble(managed.policy.id, failure)
                continue
            self.board.looked(view_of(managed, standing, attempts, now=now))
        self.board.ticked(now, len(self.certificates))

    def _anchor(self) -> Anchor:
        if isinstance(self.audit, Failure):
            raise self.audit
        return self.audit


def _nothing(*_values: object) -> NoReturn:
    raise AssertionError("nothing here rotates anything")
