"""Records that somebody set once (dns-persist-01), looked at long before a renewal needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from certrotd.certs.checks import DAILY, Means
from certrotd.certs.findings import FindingKind
from certrotd.certs.managed import Managed
from certrotd.dns.persistent import lapsing
from certrotd.errors import Failure, Transient
from certrotd.id import Id
from certrotd.lifecycle.finding import RECORDS, Finding, FindingSeverity, Watched
from certrotd.lifecycle.looked import Looked
from certrotd.rotation.unexpected import as_failure

PASSING = frozenset({FindingKind.RECORD_WRONG, FindingKind.UNREACHABLE})
"""What a zone that is just being changed shows, and a name server or a CA that restarts."""


@dataclass(frozen=True, slots=True)
class RecordsCheck:
    """Check, of the records that the next renewal of a certificate will be proven by.

    Those of each of its CAs are looked for as a renewal does, once a day; nothing is ordered, and
    no account is made.
    """

    managed: Managed
    means: Means

    @property
    def label(self) -> str:
        return f"records of {self.about}"

    @property
    def every(self) -> float:
        return DAILY

    @property
    def about(self) -> Id:
        return self.managed.policy.id

    @property
    def routine(self) -> bool:
        return True

    def watched_keys(self) -> Iterable[str]:
        return [self._watched().key]

    def look(self) -> list[Looked]:
        watched, policy = self._watched(), self.managed.policy
        live = self.managed.look().live
        moving = self.means.moving(self.managed)[0]
        if live is None or live.facts is None or not policy.enabled:
            return [Looked(watched, moving, PASSING)]  # without one, a renewal is due and tells
        found: dict[str, Finding] = {}
        for issuer in policy.issuers:
            for each in self._findings(issuer, live.facts.not_after, watched.at):
                found.setdefault(each.words, each)
        watched = replace(watched, findings=tuple(found.values()))
        return [Looked(watched, moving, PASSING)]

    def failed(self, failure: Failure) -> Watched:
        return replace(self._watched(), findings=(_unreachable(failure),))

    def _watched(self) -> Watched:
        return Watched(RECORDS, self.about.name, self.means.clock.now(), about=self.about)

    def _findings(self, issuer: str, not_after: datetime, now: datetime) -> Iterator[Finding]:
        try:
            records = [*self.managed.world().persistent(issuer)]
        except (Failure, OSError) as error:
            yield _failing(issuer, as_failure(error, "find where its records are"))
            return
        for name, confirm in records:
            try:
                end = confirm()
            except (Failure, OSError) as error:
                yield _failing(issuer, as_failure(error, f"look for the record {name}"))
                continue
            words = None if end is None else lapsing(name, end, not_after, now=now)
            if words is not None:
                yield _warning(FindingKind.RECORD_ENDING, words)


def _failing(issuer: str, failure: Failure) -> Finding:
    """That a renewal would fail for its records, or that nobody knows now."""
    if isinstance(failure, Transient):
        return _unreachable(failure)
    words = f"a renewal at {issuer} would fail: {failure.message}"
    return _warning(FindingKind.RECORD_WRONG, words, failure.hint)


def _unreachable(failure: Failure) -> Finding:
    words = f"the records of dns-persist-01 were not looked at: {failure.message}"
    return _warning(FindingKind.UNREACHABLE, words, failure.hint)


def _warning(kind: FindingKind, words: str, todo: str = "") -> Finding:
    return Finding(kind, words, FindingSeverity.WARNING, "trouble", todo)
