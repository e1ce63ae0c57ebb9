"""The status board: an observer that remembers what is known of every certificate."""

from __future__ import annotations

import bisect
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certrotd.certs.limits.sliding_windows import Over
from certrotd.clock import Clock
from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.audited import Unaudited, Unrecorded
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.report import Report, verdict_of
from certrotd.observers import Look, Observer
from certrotd.reporting.snapshot import BUCKETS, Configured, Durations, LastLook, Snapshot
from certrotd.reporting.status import next_of, state_of, why_of
from certrotd.rotation.engine import Event
from certrotd.scheduling.clock_trust import SOUND, Judgement
from certrotd.scheduling.gates import by_budget
from certrotd.wording import count

SILENCE = 30.0
"""So many seconds without a tick or a look, and the scheduler is taken for dead."""

_ENDS = frozenset({"done", "waiting", "failed", "paused"})
_FAILED = frozenset({"failed", "stuck"})


class StatusBoard(Observer):
    """Keeps a few hundred bytes of each certificate, counts what happens, and gives Pictures."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._configured = Configured(clock.now().timestamp())
        self._known: dict[Id, LastLook | None] = {}
        self._running: set[Id] = set()
        self._troubles: dict[Id | str, str] = {}
        self._watched: dict[str, Watched] = {}
        self._judgement = SOUND
        self._last_tick: float | None = None
        self._sign = clock.monotonic()
        self._stopping = False
        self._rotations: Counter[tuple[str, str]] = Counter()
        self._steps: dict[str, _Measured] = {}
        self._failed_steps: Counter[str] = Counter()
        self._begun: dict[Id, tuple[str, float]] = {}
        self._unaudited = 0
        self._audit_damage = ""

    # What is asked of it.

    def snapshot(self) -> Snapshot:
        """What is known now; taken quickly, and nobody waits for whoever looks at it."""
        with self._lock:
            return Snapshot(
                now=self._clock.now().timestamp(),
                configured=self._configured,
                known=self._known.copy(),
                running=frozenset(self._running),
                troubles=self._troubles.copy(),
                watched=tuple(self._watched.values()),
                judgement=self._judgement,
                last_tick=self._last_tick,
                rotations=self._rotations.copy(),
                steps={kind: measured.durations() for kind, measured in self._steps.items()},
                failed_steps=self._failed_steps.copy(),
                unaudited=self._unaudited,
                audit_damage=self._audit_damage,
            )

    def dead(self) -> str:
        """Why the process is beyond help, in words; empty while its loop moves, or ends well."""
        with self._lock:
            silence = self._clock.monotonic() - self._sign
            if self._stopping or silence < SILENCE:
                return ""
            return f"no tick for {silence:.0f} s"

    def unready(self) -> str:
        """Why it is not to be relied on yet, or no more; empty if it is.

        A configuration that was refused changes nothing: the old one is in force, and was valid.
        """
        with self._lock:
            if self._stopping:
                return "it is stopping"
            if self._last_tick is None:
                waiting = sum(known is None for known in self._known.values())
                return f"the first check still runs: {count(waiting, 'certificate')} to go"
        return self.dead()

    # What it hears.

    def configured(self, subjects: Sequence[Id], left_out: Sequence[ConfigProblem]) -> None:
        with self._lock:
            now = self._clock.now().timestamp()
            self._configured = Configured(now, (), tuple(map(str, left_out)))
            before, self._known = self._known, {n: self._known.get(n) for n in subjects}
            for subject in before.keys() - self._known.keys():
                self._troubles.pop(subject, None)

    def ticked(self, now: datetime, looked: int) -> None:  # noqa: ARG002
        with self._lock:
            self._last_tick = now.timestamp()
            self._sign = self._clock.monotonic()

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:  # noqa: ARG002
        with self._lock:
            self._judgement = judgement

    def looked(self, look: Look) -> None:
        subject, known = look.managed.policy.id, _known(look)
        with self._lock:
            self._sign = self._clock.monotonic()
            self._known[subject] = known
            self._troubles.pop(subject, None)

    def postponed(self, subject: Id, over: Over) -> None:
        with self._lock:
            if known := self._known.get(subject):
                held = by_budget(over)
                why, until = f"{held.why}; due: {known.why}", over.until.timestamp()
                self._known[subject] = replace(
                    known, state="postponed", why=why, next=until, held=held
                )

    def began(self, subject: Id, why: str) -> None:  # noqa: ARG002
        with self._lock:
            self._running.add(subject)

    def stepped(self, event: Event) -> None:
        with self._lock:
            if event.what == "trying":
                self._begun[Id.parse(event.subject)] = (event.item, self._clock.monotonic())
            elif event.what in _ENDS:
                begun, since = self._begun.pop(Id.parse(event.subject), ("", 0.0))
                if begun == event.item and begun:
                    measured = self._steps.setdefault(begun, _Measured())
                    measured.add(self._clock.monotonic() - since)
            if event.what in _FAILED and event.item:
                self._failed_steps[event.item] += 1

    def ended(self, report: Report) -> None:
        with self._lock:
            self._running.discard(report.subject)
            self._begun.pop(report.subject, None)
            known = self._known.get(report.subject)
            last = known.kind if known else "resume"
            kind = report.decision.act if report.decision else last
            if isinstance(report.failure, Unaudited | Unrecorded):
                self._unaudited += 1
            if report.failure is not None:
                self._rotations[verdict_of(report.failure), kind] += 1
            if report.recovered is not None:
                self._rotations[verdict_of(report.recovered), "resume"] += 1
            if report.outcome is not None:
                self._rotations[verdict_of(report.outcome), kind] += 1

    def trouble(self, what: Id | str, failure: Failure) -> None:
        with self._lock:
            self._troubles[what] = str(failure)

    def calmed(self, what: Id | str) -> None:
        with self._lock:
            self._troubles.pop(what, None)

    def audit_damaged(self, why: str) -> None:
        with self._lock:
            self._audit_damage = why
            self._unaudited += 1

    def watched(self, watched: Watched) -> None:
        """Of files only what is wrong is kept: what is right is known from the looks."""
        with self._lock:
            if watched.sort == "files" and not watched.findings:
                self._watched.pop(watched.key, None)
            else:
                self._watched[watched.key] = watched

    def unwatched(self, key: str) -> None:
        with self._lock:
            self._watched.pop(key, None)

    def reloaded(self, certificates: int) -> None:  # noqa: ARG002
        with self._lock:
            self._configured = Configured(self._configured.since, (), self._configured.left_out)

    def refused(self, problems: Sequence[str]) -> None:
        with self._lock:
            kept = self._configured
            self._configured = Configured(kept.since, tuple(problems), kept.left_out)

    def stopping(self, running: Sequence[Id]) -> None:  # noqa: ARG002
        with self._lock:
            self._stopping = True


class _Measured:
    """Durations that are still added to."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._total += seconds

    def durations(self) -> Durations:
        return Durations(tuple(self._counts), self._total)


def _known(look: Look) -> LastLook:
    """What is kept of a look: small values, of which the words are shared."""
    row = look.row
    live, attempts, flight = look.standing.live, look.attempts, look.flight
    facts, following = (
        live.facts if live and not live.placeholder else None,
        next_of(row, now=look.now),
    )
    failed_at = (flight.at if flight else None) or attempts.at
    return LastLook(
        state=state_of(row, now=look.now),
        why=sys.intern(why_of(row)),
        kind=look.decision.act,
        next=following.timestamp() if following else None,
        generation=live.number if live else None,
        not_before=facts.not_before.timestamp() if facts else None,
        not_after=facts.not_after.timestamp() if facts else None,
        failures=look.failures,
        failed_at=failed_at.timestamp() if failed_at else None,
        failure=sys.intern((flight.why if flight else "") or attempts.why),
        flight=flight,
        held=look.held,
    )
