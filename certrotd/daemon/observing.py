"""Who hears what the scheduler does; logs, metrics and alerts are observers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from certrotd.certs.decision import Decision
from certrotd.certs.rotate import Report
from certrotd.daemon.budget import Over
from certrotd.daemon.clockwatch import Judgement, Trust
from certrotd.errors import Failure, LockHeld
from certrotd.rotation.engine import Event, Finished, Outcome, Parked, RolledBack, Stopped, Stuck

_CONSEQUENCE = {
    Trust.WRONG: "nothing is ordered until it is right; if it is, remove clock.json from the "
    "state directory and restart certrotd",
    Trust.DOUBTED: "one order at a time until the date of a new certificate tells whether it is "
    "right",
    Trust.SOUND: "",
}


class Observer(Protocol):
    """Hears everything, from several threads, with the scheduler's lock held: it must be quick."""

    def ticked(self, now: datetime, looked: int) -> None:
        """A tick is over, in which so many certificates were looked at."""
        ...

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:
        """The clock is to be thought of otherwise than before, or jumped."""
        ...

    def decided(self, name: str, decision: Decision) -> None: ...

    def postponed(self, name: str, over: Over) -> None:
        """An order waits for the budget."""
        ...

    def began(self, name: str, why: str) -> None: ...

    def ended(self, report: Report) -> None: ...

    def trouble(self, what: str, failure: Failure) -> None:
        """A certificate could not be looked at, or something could not be remembered."""
        ...


class Lines:
    """An observer that says what people want to know, a line each."""

    def __init__(self, listen: Callable[[str], None]) -> None:
        self._listen = listen
        self._said: dict[str, str] = {}

    def ticked(self, now: datetime, looked: int) -> None:
        """Nothing that anybody wants to read every second."""

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:
        if jump is not None:
            seconds = jump.total_seconds()
            self._listen(f"the clock jumped by {seconds:+.0f} s: everything is looked at again")
        self._once("", judgement.why and f"{judgement.why}: {_CONSEQUENCE[judgement.trust]}")

    def decided(self, name: str, decision: Decision) -> None:
        """What is only decided is in ``certrotd plan``; what is done about it is told as begun."""

    def postponed(self, name: str, over: Over) -> None:
        self._listen(f"{name}: waits until {over.until:%Y-%m-%d %H:%M:%S}Z for {over.why}")

    def began(self, name: str, why: str) -> None:
        self._listen(f"{name}: begun: {why}")

    def ended(self, report: Report) -> None:
        name = report.name
        self._said.pop(name, None)
        if report.failure is not None and not isinstance(report.failure, LockHeld | Stopped):
            self._listen(f"{name}: failed: {report.failure}")
        elif report.failure is not None:
            self._listen(f"{name}: {report.failure}")
        for outcome in (report.recovered, report.outcome):
            if outcome is not None:
                self._listen(f"{name}: {outcome_words(outcome)}")

    def trouble(self, what: str, failure: Failure) -> None:
        self._once(what, f"{what}: {failure}")

    def _once(self, what: str, words: str) -> None:
        if self._said.get(what, "") != words:
            self._said[what] = words
            if words:
                self._listen(words)


def outcome_words(outcome: Outcome) -> str:
    """What came of a rotation, in a sentence."""
    match outcome:
        case Finished():
            return "done"
        case Parked(until, why, failed):
            how = "failed, and is tried again" if failed else "waits"
            return f"{how} after {until:%Y-%m-%d %H:%M:%S}Z: {why}"
        case RolledBack(to, step, because):
            back = f"rolled back to {to}" if to else "nothing was changed"
            return f"failed: {step}: {because}; {back}"
        case Stuck(step, because, undo_failed):
            return f"stuck: undoing {step} failed: {undo_failed}; after: {because}"


_TOLD = frozenset({"done", "waiting", "failed", "undone", "stuck", "reached", "paused"})


def event_words(event: Event) -> str | None:
    """What a step of a rotation came to, in a line; None for what nobody wants to read."""
    if event.what not in _TOLD:
        return None
    detail = f": {event.detail}" if event.detail else ""
    return f"{event.name}: {event.item} {event.what}{detail}"
