"""What is watched of a managed key: its service is asked, and what it shows is kept for looks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from certrotd.clock import Clock
from certrotd.errors import Failure, Transient
from certrotd.id import Id
from certrotd.kek.managed.port import ManagedKey, ManagedState
from certrotd.kek.port import Disabled
from certrotd.lifecycle.finding import (
    FILES,
    Finding,
    FindingSeverity,
    Watched,
)
from certrotd.lifecycle.looked import Looked
from certrotd.managed_keys.policy import Policy, Seen, after
from certrotd.managed_keys.rules import days
from certrotd.state.ports import Conflict
from certrotd.state.typed import TypedDocument

OFF, LONG, OLD, USED_UP, WITHHELD, LOWERED, DISABLED, AWAY, REFUSED = (
    "automatic_rotation_off",
    "period_too_long",
    "version_too_old",
    "rotations_used_up",
    "version_withheld",
    "decryption_lowered",
    "key_disabled",
    "service_away",
    "service_refuses",
)
KINDS = (OFF, LONG, OLD, USED_UP, WITHHELD, LOWERED, DISABLED, AWAY, REFUSED)
PASSING = frozenset({OFF, LONG, AWAY})
"""What may pass by itself."""
FEW = 5
"""So few rotations on demand that are left are reported."""


@dataclass(frozen=True)
class ManagedKeyCheck:
    """Check, of a managed key.

    ``key`` and ``document`` make what they say, each time; ``wake`` asks for a look at the key,
    once its service shows something else.
    """

    policy: Policy
    key: Callable[[], ManagedKey]
    document: Callable[[], TypedDocument[Seen]]
    every: float
    in_flight: Callable[[], bool]
    wake: Callable[[], None]
    clock: Clock
    routine: bool = True

    @property
    def label(self) -> str:
        return str(self.about)

    @property
    def about(self) -> Id:
        return self.policy.id

    def watched_keys(self) -> Iterable[str]:
        return [self._watched().key]

    def look(self) -> Sequence[Looked]:
        moving = self.in_flight()
        document = self.document()
        before = document.read()
        try:
            state = self.key().describe()
        except Failure as failure:
            findings = [_failed(self.policy, failure)]
        else:
            self._keep(document, before, state)
            now = self.clock.now()
            known = after(state, before, at=now, key=self.policy.key)
            findings = list(findings_of(self.policy, known, now=now))
        watched = replace(self._watched(), findings=tuple(findings))
        return [Looked(watched, moving or self.in_flight(), PASSING)]

    def failed(self, failure: Failure) -> Watched:
        return replace(self._watched(), findings=(_failed(self.policy, failure),))

    def _keep(
        self, document: TypedDocument[Seen], before: Seen | None, state: ManagedState
    ) -> None:
        known = after(state, before, at=self.clock.now(), key=self.policy.key)
        with contextlib.suppress(Conflict):  # a rotation has written what is newer
            document.replace(known)
        if before is None or (before.state, before.key) != (known.state, known.key):
            self.wake()

    def _watched(self) -> Watched:
        return Watched(FILES, self.about.name, self.clock.now(), about=self.about)


def findings_of(policy: Policy, seen: Seen, *, now: datetime) -> Iterator[Finding]:
    """Everything that is wrong with a key as its service shows it."""
    state, service, limit = seen.state, policy.service, days(policy.cryptoperiod)
    if not state.present.decrypts:
        yield _disabled(policy, f"{state.place} is disabled")
    if policy.by_service and state.period is None:
        yield _finding(OFF, f"{service} does not rotate it by itself", _see(policy))
    if policy.by_service and state.period is not None and state.period > policy.cryptoperiod:
        words = f"{service} rotates it every {days(state.period)}, not every {limit}"
        yield _finding(LONG, words, _see(policy))
    if seen.since + policy.cryptoperiod < now:
        words = f"its present version encrypts since {seen.since:%Y-%m-%d}, for more than {limit}"
        yield _finding(OLD, words, _see(policy))
    left = state.rotations_left
    if not policy.by_service and left is not None and left <= FEW:
        words = f"{service} rotates it on demand no more" if not left else ""
        words = words or f"{service} rotates it on demand no more than {left} times"
        severity = FindingSeverity.WARNING if left else FindingSeverity.ERROR
        todo = "Say rotated_by: service, or replace the key by a new one."
        yield _finding(USED_UP, words, todo, severity)
    yield from _retention(policy, seen, now)


def _retention(policy: Policy, seen: Seen, now: datetime) -> Iterator[Finding]:
    """Versions that do not decrypt and are to be kept, and retired ones that decrypt again.

    The first are somebody else's act, or certrotd's own by a policy that kept fewer.
    """
    state, retention = seen.state, policy.retention
    if retention is None:
        return
    first = state.oldest_decrypting.id
    if retention.broken(state, now=now):
        words = f"min_decryption_version is {first}, and withholds a version that is to be kept"
        if first == seen.retired_before:
            words += ": certrotd retired it by an earlier keep_versions or retire_after"
        todo = "Lower it if applications need that version; what is trimmed is lost."
        yield _finding(WITHHELD, words, f"{todo} {_see(policy)}")
    if seen.lowered_from and retention.oldest(state, now=now) is not None:
        words = f"somebody lowered min_decryption_version from {seen.lowered_from} to {first}"
        todo = f"Rewrap what is encrypted by old versions, then: certrotd rotate {policy.id}"
        yield _finding(LOWERED, words, todo, FindingSeverity.WARNING)


def _failed(policy: Policy, failure: Failure) -> Finding:
    """Why its service could not be asked."""
    if isinstance(failure, Disabled):
        return _disabled(policy, str(failure))
    if isinstance(failure, Transient):
        todo = f"Nothing is lost: it is asked again. If this lasts: {_see(policy)}"
        return _finding(AWAY, str(failure), todo, FindingSeverity.WARNING)
    return _finding(REFUSED, str(failure), _see(policy))


def _disabled(policy: Policy, words: str) -> Finding:
    return _finding(DISABLED, words, f"Enable it there if applications need it. {_see(policy)}")


def _see(policy: Policy) -> str:
    return f"See: certrotd plan --explain {policy.id}"


def _finding(
    kind: str, words: str, todo: str, severity: FindingSeverity = FindingSeverity.ERROR
) -> Finding:
    return Finding(kind, words, severity, "trouble", todo)
