"""What is watched of the deliveries to one host: their files there, over one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from certrotd.clock import Clock
from certrotd.deliveries.policy import Delivered, Policy
from certrotd.errors import Failure, Transient
from certrotd.id import Id
from certrotd.lifecycle.finding import (
    EXPIRED,
    EXPIRING,
    FILES,
    Finding,
    FindingSeverity,
    Watched,
)
from certrotd.lifecycle.looked import Looked
from certrotd.rotation.outcome import Stopped
from certrotd.ssh.folder import RemoteFolder
from certrotd.ssh.session import Session
from certrotd.state.ports import Conflict
from certrotd.state.typed import TypedDocument

CHANGED, AWAY, REFUSED = "delivery_changed", "host_away", "host_refuses"
UNPRUNED = "old_folders_stay"
KINDS = (CHANGED, AWAY, REFUSED, UNPRUNED, EXPIRED, EXPIRING)
PASSING = frozenset({AWAY})
"""What may pass by itself: a restart of a host is no reason to wake anybody."""
NOTICE = 1 / 6
"""The share of the lifetime before whose end to warn: a renewal and its delivery come before."""


class Delivery(Protocol):
    """One delivery, as deliveries.configured.ConfiguredDelivery."""

    @property
    def policy(self) -> Policy: ...
    def session(self) -> Session: ...
    def folder(self, session: Session) -> RemoteFolder: ...
    def document(self) -> TypedDocument[Delivered]: ...
    def in_flight(self) -> bool: ...
    def wake(self) -> None: ...


@dataclass(frozen=True)
class HostCheck:
    """Check, of all ``deliveries`` to one ``host``: one connection for each look."""

    host: str
    deliveries: Sequence[Delivery]
    every: float
    clock: Clock
    routine: bool = True
    about: Id | None = None

    @property
    def label(self) -> str:
        return f"host {self.host}"

    def watched_keys(self) -> Iterable[str]:
        return [_watched(each.policy, self.clock.now()).key for each in self.deliveries]

    def look(self) -> Sequence[Looked]:
        with closing(self.deliveries[0].session()) as session:
            away: Failure | None = None
            looks = []
            for each in self.deliveries:
                looked, away = self._look(each, session, away)
                looks.append(looked)
        return looks

    def failed(self, failure: Failure) -> Watched:
        policy = self.deliveries[0].policy
        finding = _refused(policy, failure)
        return replace(_watched(policy, self.clock.now()), findings=(finding,))

    def _look(
        self, each: Delivery, session: Session, away: Failure | None
    ) -> tuple[Looked, Failure | None]:
        """One delivery; a host that is ``away`` is not asked again for the next one."""
        policy, document, moving = each.policy, each.document(), each.in_flight()
        known, findings = document.peek(), list[Finding]()
        if known is not None and not moving:
            try:
                if away is not None:
                    raise away
                folder = each.folder(session)
                drift, unpruned = drift_of(folder, known), unpruned_of(folder, policy, known)
            except Stopped:
                raise
            except Transient as failure:
                away = failure
                findings.append(_away(policy, failure))
            except Failure as failure:
                findings.append(_refused(policy, failure))
            else:
                # what a delivery has changed meanwhile, nobody else has
                now = replace(known, seen=self.clock.now(), drift=drift, unpruned=unpruned)
                moving = each.in_flight() or not self._keep(each, document, now)
                if drift:
                    findings.append(_changed(policy, drift))
                if unpruned:
                    findings.append(_unpruned(policy, unpruned))
            findings += expiry_of(policy, known, now=self.clock.now())
        watched = _watched(policy, self.clock.now())
        if known is not None:
            watched = replace(watched, not_after=known.not_after, fingerprint=known.fingerprint)
        watched = replace(watched, findings=tuple(findings))
        return Looked(watched, moving or each.in_flight(), PASSING), away

    def _keep(self, each: Delivery, document: TypedDocument[Delivered], found: Delivered) -> bool:
        """Whether it is remembered, and not what a delivery has written since."""
        try:
            document.replace(found)
        except Conflict:
            return False
        if found.drift:
            each.wake()
        return True


def drift_of(folder: RemoteFolder, known: Delivered) -> str:
    """What is not as it was delivered; raises Failure."""
    live = folder.live()
    if live != known.folder:
        return f"live leads to {live}" if live else "live is gone"
    return folder.different(known.folder, known.stamps) or ""


def unpruned_of(folder: RemoteFolder, policy: Policy, known: Delivered) -> str:
    """What the last delivery could not remove, as long as any of it is there; raises Failure."""
    if not known.unpruned or not folder.surplus(policy.keep, known.folder):
        return ""
    return known.unpruned


def expiry_of(policy: Policy, known: Delivered, *, now: datetime) -> Iterator[Finding]:
    """That what is on the host ends soon, or has ended, whatever keeps a newer one away."""
    left, lifetime = known.not_after - now, known.not_after - known.not_before
    end = f"{policy.host} has generation {known.generation}, which"
    see = f"See: certrotd plan --explain {policy.id}"
    if known.not_after <= now:
        words = f"{end} expired at {known.not_after:%Y-%m-%d %H:%M}Z"
        yield Finding(EXPIRED, words, todo=see)
    elif left <= lifetime * NOTICE:
        words = f"{end} expires at {known.not_after:%Y-%m-%d %H:%M}Z"
        late = left <= lifetime * NOTICE / 2
        severity = FindingSeverity.ERROR if late else FindingSeverity.WARNING
        yield Finding(EXPIRING, words, severity, todo=see)


def _changed(policy: Policy, drift: str) -> Finding:
    words = f"somebody changed what was delivered: {drift}"
    todo = f"certrotd delivers it again: certrotd rotate {policy.id}"
    if not policy.enabled:
        todo = "Its certificate is disabled: certrotd does not deliver it again"
    return Finding(CHANGED, words, FindingSeverity.WARNING, "trouble", todo)


def _unpruned(policy: Policy, words: str) -> Finding:
    todo = "The next delivery removes them if it can; or remove them there"
    words = f"old folders stay in {policy.directory}: {words}"
    return Finding(UNPRUNED, words, FindingSeverity.WARNING, "trouble", todo)


def _away(policy: Policy, failure: Failure) -> Finding:
    todo = f"It is asked again. If this lasts: certrotd plan --explain {policy.id}"
    return Finding(AWAY, str(failure), FindingSeverity.WARNING, "trouble", todo)


def _refused(policy: Policy, failure: Failure) -> Finding:
    todo = f"Correct it there or in hosts: {policy.host}"
    return Finding(REFUSED, str(failure), FindingSeverity.ERROR, "trouble", todo)


def _watched(policy: Policy, now: datetime) -> Watched:
    return Watched(FILES, policy.name, now, about=policy.id)
