"""Alert rules: pure functions from what happened to alerts, in words with what to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certrotd.certs.attempts import attempts_left
from certrotd.certs.audited import Unaudited, Unrecorded
from certrotd.certs.decision import Deploy, Postpone, Renew, Wait
from certrotd.certs.fitness import drift, renewal_time
from certrotd.certs.rotate import Report
from certrotd.certs.rules import fallen_back
from certrotd.certs.watching import FindingKind, FindingSeverity, Watched
from certrotd.config.notifications import AlertKind, Severity
from certrotd.errors import Failure, LockHeld, one_line
from certrotd.id import Id
from certrotd.observers import Look
from certrotd.rotation.engine import Finished, Outcome, Parked, RolledBack, Stopped, Stuck
from certrotd.scheduling.clock_trust import ClockTrust, Judgement
from certrotd.wording import count

FEW = 3
"""So many attempts left before the end are few."""

LATE = 1 / 3
"""So little of the time between being due and the end is late."""

CLOCK, CONFIG, LEFT_OUT, AUDIT = "clock", "config", "left-out", "audit"
_ALL = "certrotd status"
_VARYING = re.compile(r"\S*[0-9]\S*")
_EXPIRY = frozenset({FindingKind.EXPIRED, FindingKind.EXPIRING})


@dataclass(frozen=True, slots=True)
class Alert:
    """One problem that somebody should know of; all alerts with one ``key`` form one incident.

    A changed ``cause`` makes it a change; times, counts and ids within it do not count.
    ``lasting``: it is a state that ends some time, not an event.
    """

    kind: AlertKind
    severity: Severity
    key: str
    title: str
    what: str
    todo: str
    subject: Id | None = None
    rotation: str = ""
    cause: str = ""
    lasting: bool = True

    @property
    def likeness(self) -> str:
        """What two alerts have in common that tell the same: the kind and a few letters."""
        text = f"{self.severity} {_VARYING.sub('#', self.cause)}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.kind} {digest[:16]}"


@dataclass(frozen=True, slots=True)
class Passed:
    """The incident with this key is over; ``words`` say how in a sentence, "" if nobody asks."""

    key: str
    words: str
    subject: Id | None = None


Said = Alert | Passed


def of_report(report: Report, rotation: str, *, let_go: bool) -> list[Said]:
    """Alerts about a rotation that ended, or waits.

    ``let_go``: one that was found in flight had been left to wait, not cut off.
    """
    said: list[Said] = []
    subject, failure = report.subject, report.failure
    if report.recovered is not None and not let_go:
        said.append(_recovered(subject, report.recovered, rotation))
    if isinstance(failure, Unaudited | Unrecorded):
        said.append(_audit_broken(subject, failure))
    elif isinstance(failure, LockHeld | Stopped):
        return said
    elif failure is not None:
        said.append(_failed(subject, f"The rotation failed: {failure}", str(failure), rotation))
        return said
    elif report.outcome or report.recovered:
        said.append(Passed(AUDIT, "The audit log records rotations again."))
    outcome = report.outcome or report.recovered
    if outcome is not None:
        said += _of_outcome(subject, outcome, rotation)
    return said


def of_look(look: Look) -> list[Said]:
    """Alerts about a certificate before certrotd acts on it."""
    subject, decision = look.managed.policy.id, look.decision
    due = decision.instead if isinstance(decision, Postpone) else decision
    said: list[Said] = []
    if look.calm:  # as the scheduler says of what it has met itself
        said.append(Passed(f"trouble/{subject}", f"{subject}: the problem is over.", subject))
    live = look.standing.live
    if isinstance(due, Renew):
        said += _late(look, due.at)
    elif (
        isinstance(due, Deploy)
        and live
        and live.facts
        and not live.placeholder
        and live.number != due.generation
    ):
        draw = live.meta.draw if live.meta else 0.0  # the renewal has come half-way
        said += _late(look, renewal_time(live.facts, draw, look.managed.policy)[0])
    else:
        said.append(
            Passed(f"late/{subject}", f"{subject}: the renewal is no longer late.", subject)
        )
    said.append(_damage(look))
    why = unplanned(look)
    if why is not None:
        what = f"certrotd renews {subject} outside of its schedule: {why}."
        todo = f"If nobody meant this, find out what changed: {_run('audit show', subject)}"
        title = f"{subject}: renewal outside of its schedule"
        key = f"unplanned/{subject}"
        said.append(
            Alert(
                *("unplanned_rotation", "warning", key, title, what, todo),
                subject=subject,
                cause=why,
                lasting=False,
            )
        )
    elif isinstance(decision, Wait):
        said.append(Passed(f"unplanned/{subject}", ""))
        if look.calm and not look.failures:  # somebody has done by hand what failed before
            said.append(
                Passed(f"rotation/{subject}", f"{subject}: nothing is due any more.", subject)
            )
    return said


def _damage(look: Look) -> Said:
    """That files of the live generation are lost, or that an older one is live because of it."""
    subject, standing, key = look.managed.policy.id, look.standing, None
    live, key = standing.live, f"damaged/{subject}"
    why = fallen_back(standing)
    if live is not None and (live.broken or live.damaged):
        why = f"generation {live.number} {live.broken or live.damaged}"
    if why is None:
        return Passed(key, f"{subject}: the files of the live certificate are intact.", subject)
    return Alert(
        kind="damaged",
        severity="error",
        key=key,
        title=f"{subject}: files of the live certificate are damaged"[:200],
        what=f"{subject}: {why}. Now: {look.decision.why}.",
        todo="certrotd restores or replaces what it can. Find out what changed the files, and "
        f"check the disk: {_run('watch', subject)}, "
        f"{_run('history', subject)}, journalctl -k",
        subject=subject,
        cause=why,
    )


def unplanned(look: Look) -> str | None:
    """Why a renewal that is due is not the one its schedule or the first order brings, or None."""
    if not isinstance(look.decision, Renew) or look.flight is not None:
        return None
    live = look.standing.live
    if live is None or live.placeholder:
        newest = look.standing.newest
        return None if newest is None or newest.placeholder else look.decision.why
    if live.facts is None:
        return None  # that is told as what it is
    if live.facts.not_after <= look.now:
        return look.decision.why
    return drift(live.facts, live, look.managed.policy)


def of_clock(judgement: Judgement) -> Said:
    """An alert if the clock is wrong."""
    if judgement.trust is not ClockTrust.WRONG:
        return Passed(CLOCK, "The clock is plausible again; certrotd orders certificates again.")
    return Alert(
        kind="clock_wrong",
        severity="error",
        key=CLOCK,
        title="the clock cannot be right: nothing is ordered",
        what=f"{judgement.why[:1].upper()}{judgement.why[1:]}. Nothing is ordered until it is "
        "right.",
        todo="Set the clock right (timedatectl status). If it is right, remove clock.json from the "
        "state directory and restart certrotd.",
        cause="wrong",
    )


def of_problems(problems: Sequence[str], *, reload: bool) -> Alert:
    """A configuration that was refused, or of which certificates were left out at the start."""
    shown = "\n".join(one_line(each) for each in problems[:10])
    more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
    if reload:
        title = "certrotd refuses the new configuration; the old one stays in force"
        todo = "Run certrotd config check, correct what it lists, then systemctl reload certrotd"
    else:
        title = f"certificates are skipped: {count(len(problems), 'problem')} in the configuration"
        todo = "Nobody renews them. Run certrotd config check, correct what it lists, then "
        todo += "systemctl reload certrotd"
    return Alert(
        kind="config_refused",
        severity="warning" if reload else "error",
        key=CONFIG if reload else LEFT_OUT,
        title=title,
        what=f"{shown}{more}",
        todo=todo,
        cause=" ".join(sorted(problems)),
    )


def of_trouble(what: Id | str, failure: Failure) -> Alert:
    """Something could not be read, looked at or remembered."""
    subject = what if isinstance(what, Id) else None
    return Alert(
        kind="trouble",
        severity="error",
        key=f"trouble/{what}",
        title=f"{what}: {failure.message}"[:200],
        what=f"{what}: {failure}",
        todo=f"See: {_run('plan', subject) if subject else _ALL}",
        subject=subject,
        cause=failure.message,
    )


def of_watched(watched: Watched) -> Said:
    """What a look at an endpoint or at files found."""
    key, subject = f"watch/{watched.key}", watched.certificate
    if not watched.findings:
        return Passed(key, f"{watched.key}: the problem is over.", subject)
    findings = sorted(watched.findings, key=lambda each: each.severity is not FindingSeverity.ERROR)
    expiry = all(each.kind in _EXPIRY for each in findings)
    grave = findings[0].severity is FindingSeverity.ERROR
    # not status --probe, nor inspect: they do not ask all endpoints, or not by name and protocol
    see = _run("watch", subject) if subject else "certrotd watch"
    again = " Reload the service, or get and deploy a new certificate: "
    again = f"{again}{_run('rotate', subject)} --force" if subject else ""
    return Alert(
        kind="expiring" if expiry else "served_mismatch",
        severity="error" if grave else "warning",
        key=key,
        title=f"{watched.key}: {findings[0].words}"[:200],
        what="\n".join(f"{watched.key}: {each.words}" for each in findings),
        todo=f"See: {see}.{again}",
        subject=subject,
        cause=" ".join(sorted(each.kind for each in findings)),
    )


def _of_outcome(subject: Id, outcome: Outcome, rotation: str) -> list[Said]:
    match outcome:
        case Finished():
            done = f"{subject}: a rotation succeeded."
            return [
                Passed(f"rotation/{subject}", done, subject),
                Passed(f"late/{subject}", done, subject),
                Passed(f"unplanned/{subject}", ""),
            ]
        case RolledBack(stopped=True):
            return []
        case RolledBack(to, step, because, facts=facts):
            if not to:
                what = f"The step {step} failed: {because}. Nothing was changed."
                return [_failed(subject, what, f"{step} {because}", rotation)]
            kept = str(facts.get("kept") or "")
            return [_rolled_back(subject, step, because, rotation, kept=kept)]
        case Parked(_, why, failed):
            what = f"The rotation is half done and cannot continue: {why}"
            return [_failed(subject, what, why, rotation)] if failed else []
        case Stuck(step, because, undo_failed):
            return [_stuck(subject, step, because, undo_failed, rotation)]


def _failed(subject: Id, what: str, cause: str, rotation: str) -> Alert:
    return Alert(
        kind="rotation_failed",
        severity="warning",
        key=f"rotation/{subject}",
        title=f"{subject}: the rotation failed",
        what=what,
        todo=f"certrotd retries by itself. See: {_run('history', subject)}. Once the cause is "
        f"fixed: {_run('rotate', subject)}",
        subject=subject,
        rotation=rotation,
        cause=cause,
    )


def _rolled_back(subject: Id, step: str, because: str, rotation: str, *, kept: str) -> Alert:
    title, end = "the deployment failed", f"Some targets may not serve the live generation: {kept}."
    if not kept:
        title, end = "the new certificate was rolled back", "certrotd undid the deployment: the "
        end += "earlier certificate is in use again, the new one waits for another attempt."
    return Alert(
        kind="rolled_back",
        severity="error",
        key=f"rotation/{subject}",
        title=f"{subject}: {title}",
        what=f"The step {step} failed: {because}. {end}",
        todo="certrotd retries the deployment by itself. See what the targets serve: certrotd "
        f"status {subject} --probe, and: {_run('history', subject)}. Once the cause is fixed: "
        f"{_run('rotate', subject)}",
        subject=subject,
        rotation=rotation,
        cause=f"{step} {because}",
    )


def _stuck(subject: Id, step: str, because: str, undo_failed: str, rotation: str) -> Alert:
    return Alert(
        kind="stuck",
        severity="error",
        key=f"rotation/{subject}",
        title=f"{subject}: stuck half-way, the undo failed",
        what=f"The undo of the step {step} failed: {undo_failed}. The rotation failed because: "
        f"{because}.",
        todo="Act now: the deployed state may be neither the old nor the new one. "
        f"See: certrotd status {subject} --probe. Once the cause is fixed: "
        f"{_run('rotate', subject)}",
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
        f"journalctl -k. See: {_run('history', subject)}",
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


def _late(look: Look, due: datetime) -> list[Said]:
    """A renewal that has failed since it was due, when the end of the certificate comes near.

    Or that has failed in flight and is still there: nobody else sees the end coming.
    """
    subject, attempts, now, count = look.managed.policy.id, look.attempts, look.now, look.failures
    live, flight = look.standing.live, look.flight
    if live is None or live.placeholder or live.facts is None or not count:
        return []
    at, why = attempts.at, attempts.why
    if flight is not None and flight.tries:
        at, why = flight.at, flight.why
    end = live.facts.not_after
    begin = max(due, look.decision.until) if isinstance(look.decision, Postpone) else due
    left = attempts_left(count, at, due=begin, not_after=end, now=now)
    if end <= now:
        stage, words = "expired", f"expired at {_stamp(end)}"
    elif left <= FEW:
        stage, words = "few", f"{_count(left)} left before it expires at {_stamp(end)}"
    elif end - now < (end - due) * LATE:
        stage, words = "late", f"still not renewed, expires at {_stamp(end)}"
    else:
        return []
    failures = f"{count} attempt{'s' if count > 1 else ''}"
    return [
        Alert(
            kind="attempts_running_out",
            severity="error",
            key=f"late/{subject}",
            title=f"{subject}: {words}",
            what=f"{failures} to renew {subject} failed, the last one because: {why}. "
            f"It {'expired' if end <= now else 'expires'} at {_stamp(end)}; {_count(left)} left "
            "until then if all fail.",
            todo=f"See: {_run('plan', subject)}, and: {_run('history', subject)}. Once the cause "
            f"is fixed: {_run('rotate', subject)}",
            subject=subject,
            cause=stage,
        )
    ]


def _count(left: int) -> str:
    return f"{left} attempt{'' if left == 1 else 's'}"


def _run(command: str, subject: Id) -> str:
    return f"certrotd {command} {subject}"


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
