"""The status board: an observer that remembers what is known of every subject."""

from __future__ import annotations

import bisect
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certrotd.clock import Clock
from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.audited import Unaudited, Unrecorded
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.gate import Held
from certrotd.lifecycle.report import Report, verdict_of
from certrotd.lifecycle.view import View
from certrotd.observers import Observer
from certrotd.reporting.snapshot import BUCKETS, Configured, Durations, LastLook, Snapshot
from certrotd.rotation.engine import Event
from certrotd.scheduling.clock_trust import SOUND, Judgement
from certrotd.scheduling.due import RESUME
from certrotd.wording import tally

SILENCE = 30.0
"""So many seconds without a tick or a look, and the scheduler is taken for dead."""

_ENDS = frozenset({"done", "waiting", "failed", "paused"})
_FAILED = frozenset({"failed", "stuck"})


class StatusBoard(Observer):
    """Keeps a few hundred bytes of each subject, counts what happens, and gives snapshots."""

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
                waiting = tally(each for each, known in self._known.items() if known is None)
                return f"the first check still runs: {waiting} to go"
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

    def looked(self, view: View) -> None:
        subject, known = view.id, _known(view)
        with self._lock:
            self._sign = self._clock.monotonic()
            self._known[subject] = known
            self._troubles.pop(subject, None)

    def postponed(self, subject: Id, held: Held) -> None:
        with self._lock:
            if known := self._known.get(subject):
                why, until = f"{held.why}; due: {known.why}", _seconds(held.until)
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
            last = known.act if known else RESUME.act
            act = report.decision.act if report.decision else last
            if isinstance(report.failure, Unaudited | Unrecorded):
                self._unaudited += 1
            if report.failure is not None:
                self._rotations[verdict_of(report.failure), act] += 1
            if report.recovered is not None:
                self._rotations[verdict_of(report.recovered), RESUME.act] += 1
            if report.outcome is not None:
                self._rotations[verdict_of(report.outcome), act] += 1

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
        """Without an address only what is wrong is kept: what is right is known from the looks."""
        with self._lock:
            if not watched.is_endpoint and not watched.findings:
                self._watched.pop(watched.key, None)
            else:
                self._watched[watched.key] = watched

    def unwatched(self, key: str) -> None:
        with self._lock:
            self._watched.pop(key, None)

    def reloaded(self, subjects: Sequence[Id]) -> None:  # noqa: ARG002
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


def _known(view: View) -> LastLook:
    """What is kept of a look: small values, of which the words are shared."""
    found, validity = view.found, view.found.validity
    return LastLook(
        state=view.state,
        why=sys.intern(view.why),
        act=view.decision.act if view.decision else "",
        next=_seconds(view.next),
        generation=found.version,
        not_before=_seconds(validity.not_before) if validity else None,
        not_after=_seconds(validity.not_after) if validity else None,
        failures=view.failures,
        failed_at=_seconds(view.failed_at),
        failure=sys.intern(view.last_failure),
        flight=view.flight,
        held=view.held,
    )


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
