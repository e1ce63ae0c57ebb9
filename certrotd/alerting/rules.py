"""Alert rules of the clock, the configuration, troubles and watched endpoints: pure."""

from __future__ import annotations

from collections.abc import Sequence

from certrotd.errors import Failure, one_line
from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved, command, rotation_key
from certrotd.lifecycle.decision import Wait
from certrotd.lifecycle.finding import EXPIRED, EXPIRING, FindingSeverity, Watched
from certrotd.lifecycle.view import View
from certrotd.scheduling.clock_trust import ClockTrust, Judgement
from certrotd.wording import count

CLOCK, CONFIG, LEFT_OUT = "clock", "config", "left-out"
_ALL = "certrotd status"
_EXPIRY = frozenset({EXPIRED, EXPIRING})


def of_clock(judgement: Judgement) -> AlertEvent:
    """An alert if the clock is wrong."""
    if judgement.trust is not ClockTrust.WRONG:
        return Resolved(CLOCK, "The clock is plausible again; certrotd orders again.")
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
    """A configuration that was refused, or of which entries were left out at the start."""
    shown = "\n".join(one_line(each) for each in problems[:10])
    more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
    if reload:
        title = "certrotd refuses the new configuration; the old one stays in force"
        todo = "Run certrotd config check, correct what it lists, then systemctl reload certrotd"
    else:
        title = f"entries are skipped: {count(len(problems), 'problem')} in the configuration"
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


def of_look(view: View) -> list[AlertEvent]:
    """Alerts about any subject before certrotd acts on it."""
    subject = view.id
    if not view.calm:
        return []
    # as the scheduler says of what it has met itself
    said: list[AlertEvent] = [
        Resolved(f"trouble/{subject}", f"{subject}: the problem is over.", subject)
    ]
    if isinstance(view.decision, Wait) and not view.failures:
        # somebody has done by hand what failed before
        over = f"{subject}: nothing is due any more."
        said.append(Resolved(rotation_key(subject), over, subject))
    return said


def of_trouble(what: Id | str, failure: Failure) -> Alert:
    """Something could not be read, looked at or remembered."""
    subject = what if isinstance(what, Id) else None
    return Alert(
        kind="trouble",
        severity="error",
        key=f"trouble/{what}",
        title=f"{what}: {failure.message}"[:200],
        what=f"{what}: {failure}",
        todo=f"See: {command('plan', subject) if subject else _ALL}",
        subject=subject,
        cause=failure.message,
    )


def of_watched(watched: Watched) -> AlertEvent:
    """What a look at an endpoint or at files found."""
    key, subject = f"watch/{watched.key}", watched.about
    if not watched.findings:
        return Resolved(key, f"{watched.key}: the problem is over.", subject)
    findings = sorted(watched.findings, key=lambda each: each.severity is not FindingSeverity.ERROR)
    expiry = all(each.kind in _EXPIRY for each in findings)
    grave = findings[0].severity is FindingSeverity.ERROR
    # not status --probe, nor inspect: they do not ask all endpoints, or not by name and protocol
    see = command("watch", subject) if subject else "certrotd watch"
    again = ""
    if subject:
        again = f" Reload the service, or get and deploy a new {subject.kind}: "
        again += f"{command('rotate', subject)} --force"
    return Alert(
        kind=findings[0].alert or ("expiring" if expiry else "served_mismatch"),
        severity="error" if grave else "warning",
        key=key,
        title=f"{watched.key}: {findings[0].words}"[:200],
        what="\n".join(f"{watched.key}: {each.words}" for each in findings),
        todo=findings[0].todo or f"See: {see}.{again}",
        subject=subject,
        cause=" ".join(sorted(each.kind for each in findings)),
    )
