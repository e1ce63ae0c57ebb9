"""Alert rules of rotations that ended: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved, command, rotation_key
from certrotd.lifecycle.audited import Unaudited, Unrecorded
from certrotd.lifecycle.report import Report, Verdict, verdict_of
from certrotd.rotation.engine import Finished, Outcome, Parked, RolledBack, Stuck

AUDIT = "audit"


def of_report(report: Report, rotation: str, *, let_go: bool) -> list[AlertEvent]:
    """Alerts about a rotation that ended, or waits.

    ``let_go``: one that was found in flight had been left to wait, not cut off.
    """
    said: list[AlertEvent] = []
    subject, failure = report.subject, report.failure
    if report.recovered is not None and not let_go:
        said.append(_recovered(subject, report.recovered, rotation))
    if isinstance(failure, Unaudited | Unrecorded):
        said.append(_audit_broken(subject, failure))
    elif report.refused:
        return said
    elif failure is not None:
        said.append(_failed(subject, f"The rotation failed: {failure}", str(failure), rotation))
        return said
    elif report.last:
        said.append(Resolved(AUDIT, "The audit log records rotations again."))
    outcome = report.last
    if outcome is not None:
        said += _of_outcome(subject, outcome, rotation)
    return said


def _of_outcome(subject: Id, outcome: Outcome, rotation: str) -> list[AlertEvent]:
    match outcome:
        case Finished():
            done = f"{subject}: a rotation succeeded."
            return [
                Resolved(rotation_key(subject), done, subject),
                Resolved(f"late/{subject}", done, subject),
                Resolved(f"unplanned/{subject}", ""),
            ]
        case RolledBack() if verdict_of(outcome) in (Verdict.STOPPED, Verdict.CANCELLED):
            return []
        case RolledBack(to, step, because, facts=facts):
            if not to:
                what = f"The step {step} failed: {because}. Nothing was changed."
                return [_failed(subject, what, f"{step} {because}", rotation)]
            return [_rolled_back(subject, step, because, rotation, facts)]
        case Parked(_, why, failed):
            what = f"The rotation is half done and cannot continue: {why}"
            return [_failed(subject, what, why, rotation)] if failed else []
        case Stuck(step, because, undo_failed):
            return [_stuck(subject, step, because, undo_failed, rotation)]


def _failed(subject: Id, what: str, cause: str, rotation: str) -> Alert:
    return Alert(
        kind="rotation_failed",
        severity="warning",
        key=rotation_key(subject),
        title=f"{subject}: the rotation failed",
        what=what,
        todo=f"certrotd retries by itself. See: {command('history', subject)}. Once the cause is "
        f"fixed: {command('rotate', subject)}",
        subject=subject,
        rotation=rotation,
        cause=cause,
    )


def _rolled_back(
    subject: Id, step: str, because: str, rotation: str, facts: Mapping[str, Any]
) -> Alert:
    kept, unproven = facts.get("kept"), facts.get("unproven")
    title, end = "the deployment failed", f"Some targets may not serve the live generation: {kept}."
    if not kept:
        kind = subject.kind
        title = f"the new {kind} was rolled back"
        end = f"certrotd undid the deployment: the earlier {kind} is in use again, the new one "
        end += "waits for another attempt."
        end += f" But {unproven}." if unproven else ""
    return Alert(
        kind="rolled_back",
        severity="error",
        key=rotation_key(subject),
        title=f"{subject}: {title}",
        what=f"The step {step} failed: {because}. {end}",
        todo="certrotd retries the deployment by itself. See what the targets serve: certrotd "
        f"status {subject} --probe, and: {command('history', subject)}. Once the cause is fixed: "
        f"{command('rotate', subject)}",
        subject=subject,
        rotation=rotation,
        cause=f"{step} {because}",
    )


def _stuck(subject: Id, step: str, because: str, undo_failed: str, rotation: str) -> Alert:
    return Alert(
        kind="stuck",
        severity="error",
        key=rotation_key(subject),
        title=f"{subject}: stuck half-way, the undo failed",
        what=f"The undo of the step {step} failed: {undo_failed}. The rotation failed because: "
        f"{because}.",
        todo="Act now: the deployed state may be neither the old nor the new one. "
        f"See: certrotd status {subject} --probe. Once the cause is fixed: "
        f"{command('rotate', subject)}",
        subject=subject,
        rotation=rotation,
        cause=f"{step} {undo_failed}",
    )


def _recovered(subject: Id, outcome: Outcome, rotation: str) -> Alert:
    match outcome:
        case Finished():
            end = "certrotd finished it"
        case RolledBack(to):
            end = f"certrotd undid it{f' back to {to}' if to else ''}"
        case Parked():
            end = "it waits"
        case Stuck():
            end = "its undo failed"
    return Alert(
        kind="recovered_after_crash",
        severity="warning",
        key=f"recovered/{subject}",
        title=f"{subject}: a rotation was interrupted, {end}",
        what=f"certrotd or the machine ended during a rotation of {subject}; {end}.",
        todo="If nobody restarted them, find out why they ended: journalctl -u certrotd, "
        f"journalctl -k. See: {command('history', subject)}",
        subject=subject,
        rotation=rotation,
        cause=end,
        lasting=False,
    )


def _audit_broken(subject: Id, failure: Failure) -> Alert:
    rest = "No rotation begins" if isinstance(failure, Unaudited) else "Rotations continue"
    return Alert(
        kind="audit_broken",
        severity="error",
        key=AUDIT,
        title="the audit log cannot be written",
        what=f"{failure}. {subject} met it first. {rest} until this is fixed.",
        todo="Fix the cause, then verify the log: certrotd audit verify",
        cause=type(failure).__name__,
    )


def of_damaged_audit(why: str, now: datetime) -> Alert:
    """Somebody changed the audit log. Each time is an incident of its own."""
    return Alert(
        kind="audit_broken",
        severity="error",
        key=f"{AUDIT}-damaged/{now:%Y%m%dT%H%M%S}",
        title="the audit log is damaged",
        what=f"{why}. A new part of the chain begins with a record of this; rotations continue.",
        todo="Find out who changed it, and restore a backup if you have one: certrotd audit verify",
        cause=why,
        lasting=False,
    )
