"""What the daemon does, as events and words for the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.finding import FindingSeverity, Watched
from certrotd.lifecycle.gate import Held
from certrotd.lifecycle.report import Report, Verdict, verdict_of
from certrotd.observers import Log, Observer
from certrotd.rotation.engine import Event, Finished, Outcome, Parked, RolledBack, Stuck
from certrotd.scheduling.clock_trust import Judgement
from certrotd.wording import tally

_CLOCK = (
    "nothing is ordered until it is right; if it is right, remove clock.json from the state "
    "directory and restart certrotd"
)
_TOLD = frozenset({"done", "waiting", "undone", "reached", "paused"})
_BAD = frozenset({"failed", "stuck"})


class EventLog(Observer):
    """Logs what people want to know, a line each; a problem once until it is over."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: dict[Id | str, str] = {}
        self._rotations: dict[Id, str] = {}
        self._found: dict[str, dict[str, FindingSeverity]] = {}
        self._started = False

    def configured(self, subjects: Sequence[Id], left_out: Sequence[ConfigProblem]) -> None:
        for problem in left_out:
            self._log("error", "config.left_out", f"skipped: {problem}")
        if not self._started:
            self._started = True
            self._log("info", "daemon.started", f"started with {tally(subjects)}")

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:
        if jump is not None:
            seconds = jump.total_seconds()
            words = f"the clock jumped by {seconds:+.0f} s: certrotd looks at everything again"
            self._log("warning", "clock.jumped", words, seconds=round(seconds))
        self._once("", "clock.judged", judgement.why and f"{judgement.why}: {_CLOCK}")

    def postponed(self, subject: Id, held: Held) -> None:
        until = f" until {held.until:%Y-%m-%d %H:%M:%S}Z" if held.until else ""
        words = f"{subject.name}: waits{until}, {held.why}"
        self._log("warning", "order.postponed", words, **_fields(subject))

    def began(self, subject: Id, why: str) -> None:
        words = f"{subject.name}: rotation begins: {why}"
        self._log("info", "rotation.begun", words, **_fields(subject))

    def stepped(self, event: Event) -> None:
        subject = Id.parse(event.subject)
        self._rotations[subject] = event.rotation
        level = "error" if event.what in _BAD else "info" if event.what in _TOLD else "debug"
        detail = f": {event.detail}" if event.detail else ""
        item = f"{event.item} " if event.item else ""
        words = f"{subject.name}: {item}{event.what}{detail}"
        fields = {**_fields(subject), "rotation": event.rotation, "step": event.item}
        self._log(level, f"step.{event.what}", words, **fields)

    def ended(self, report: Report) -> None:
        subject, name = report.subject, report.subject.name
        self._said.pop(subject, None)
        fields = _fields(subject)
        if rotation := self._rotations.pop(subject, None):
            fields["rotation"] = rotation
        if report.refused:
            self._log("info", "rotation.held", f"{name}: {report.failure}", **fields)
        elif report.failure is not None:
            self._log("error", "rotation.failed", f"{name}: failed: {report.failure}", **fields)
        for outcome in (report.recovered, report.outcome):
            if outcome is not None:
                verdict = verdict_of(outcome)
                level = "error" if verdict in _FAILED else "info"
                words = f"{name}: {outcome_words(outcome)}"
                self._log(level, f"rotation.{verdict}", words, **fields)

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self._once(what, "trouble.met", f"{_called(what)}: {failure}")

    def calmed(self, what: Id | str) -> None:
        if self._said.pop(what, ""):
            self._log("info", "trouble.passed", f"{_called(what)}: the problem is over")

    def audit_damaged(self, why: str) -> None:
        self._log("error", "audit.damaged", f"the audit log is damaged: {why}")

    def remarked(self, words: str) -> None:
        self._log("warning", "state.remarked", words)

    def watched(self, watched: Watched) -> None:
        key, before = watched.key, self._found.pop(watched.key, {})
        fields = {"watch": key, **(_fields(watched.about) if watched.about else {})}
        for finding in watched.findings:
            if before.pop(finding.kind, None) != finding.severity:
                words = f"{key}: {finding.words}"
                self._log(finding.severity, f"watch.{finding.kind}", words, **fields)
        for kind in before:
            words = f"{key}: no longer {kind.replace('_', ' ')}"
            self._log("info", "watch.passed", words, finding=kind, **fields)
        if watched.findings:
            self._found[key] = {each.kind: each.severity for each in watched.findings}

    def unwatched(self, key: str) -> None:
        self._found.pop(key, None)

    def reloaded(self, subjects: Sequence[Id]) -> None:
        self._log("info", "config.reloaded", f"reloaded: {tally(subjects)}")

    def refused(self, problems: Sequence[str]) -> None:
        for problem in problems:
            self._log("error", "config.refused", f"not reloaded: {problem}")

    def stopping(self, running: Sequence[Id]) -> None:
        words = f"stopping: finishing or undoing {', '.join(each.name for each in running)}"
        self._log("info", "daemon.stopping", words if running else "stopping")

    def stopped(self, running: Sequence[Id]) -> None:
        if running:
            names = ", ".join(each.name for each in running)
            words = f"stopped before {names} ended: the next start continues"
            self._log("error", "daemon.stopped", words)
        else:
            self._log("info", "daemon.stopped", "stopped")

    def _once(self, what: Id | str, event: str, words: str) -> None:
        if self._said.get(what, "") != words:
            self._said[what] = words
            if words:
                self._log("error", event, words)


_FAILED = frozenset({Verdict.FAILED, Verdict.ROLLED_BACK, Verdict.STUCK})


def _fields(subject: Id) -> dict[str, str]:
    return {"kind": subject.kind, "name": subject.name}


def _called(what: Id | str) -> str:
    return what.name if isinstance(what, Id) else what


def outcome_words(outcome: Outcome) -> str:
    """The outcome of a rotation in a sentence."""
    match outcome:
        case Finished():
            return "done"
        case Parked(until, why, failed):
            how = "failed, retries after" if failed else "waits until"
            return f"{how} {until:%Y-%m-%d %H:%M:%S}Z: {why}"
        case RolledBack(_, step, because):
            how = "stopped" if outcome.stopped else "failed"
            return f"{how}: {step}: {because}; {outcome.left}"
        case Stuck(step, because, undo_failed):
            return f"stuck: the undo of {step} failed: {undo_failed}; after: {because}"
