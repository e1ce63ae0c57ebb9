"""Alert rules of certificates as the scheduler finds them: pure."""

from __future__ import annotations

from datetime import datetime

from certrotd.certs.decision import Deploy, Renew
from certrotd.certs.fitness import drift, its_time, standing_in
from certrotd.certs.rules import PULLED_FORWARD, fallen_back
from certrotd.certs.subject import CertificateFound
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved, command
from certrotd.lifecycle.attempts import attempts_left
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.lifecycle.view import View

FEW = 3
"""So many attempts left before the end are few."""

LATE = 1 / 3
"""So little of the time between being due and the end is late."""


def of_look(view: View, found: CertificateFound) -> list[AlertEvent]:
    """Alerts about a certificate before certrotd acts on it."""
    subject, decision = view.id, found.decision
    due = decision.instead if isinstance(decision, Postpone) else decision
    said: list[AlertEvent] = []
    live = found.standing.live
    if isinstance(due, Renew):
        said += _late(view, found, due.at)
    elif (
        isinstance(due, Deploy)
        and live
        and live.facts
        and not live.placeholder
        and live.number != due.generation
    ):
        at, _ = its_time(live, found.standing.state, found.managed.policy)
        said += _late(view, found, at)  # the renewal has come half-way
    else:
        said.append(
            Resolved(f"late/{subject}", f"{subject}: the renewal is no longer late.", subject)
        )
    said += [_damage(found), _other_ca(found)]
    why = unplanned(view, found)
    if why is not None:
        what = f"certrotd renews {subject} outside of its schedule: {why}."
        todo = f"If nobody meant this, find out what changed: {command('audit show', subject)}"
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
        said.append(Resolved(f"unplanned/{subject}", ""))
    return said


def _other_ca(found: CertificateFound) -> AlertEvent:
    """That another CA than the first of the list issued what is live."""
    policy = found.managed.policy
    subject, key = policy.id, f"issuer/{policy.id}"
    why = standing_in(found.standing.live, policy)
    if why is None:
        return Resolved(key, f"{subject}: {policy.issuer} issues again.", subject)
    return Alert(
        kind="other_issuer",
        severity="warning",
        key=key,
        title=f"{subject}: another CA issued the certificate",
        what=f"The live certificate of {subject} was {why}.",
        todo=f"certrotd asks {policy.issuer} first at the next renewal. Find out why it did "
        f"not issue: {command('history', subject)}. Once it does, this brings it back at "
        f"once: {command('rotate --force', subject)}",
        subject=subject,
        cause=why,
    )


def _damage(found: CertificateFound) -> AlertEvent:
    """That files of the live generation are lost, or that an older one is live because of it."""
    subject, standing = found.managed.policy.id, found.standing
    live, key = standing.live, f"damaged/{subject}"
    why = fallen_back(standing)
    if live is not None and (live.broken or live.damaged):
        why = f"generation {live.number} {live.broken or live.damaged}"
    if why is None:
        return Resolved(key, f"{subject}: the files of the live certificate are intact.", subject)
    now = found.decision.why if found.decision else "nothing is decided yet"
    return Alert(
        kind="damaged",
        severity="error",
        key=key,
        title=f"{subject}: files of the live certificate are damaged"[:200],
        what=f"{subject}: {why}. Now: {now}.",
        todo="certrotd restores or replaces what it can. Find out what changed the files, and "
        f"check the disk: {command('watch', subject)}, "
        f"{command('history', subject)}, journalctl -k",
        subject=subject,
        cause=why,
    )


def unplanned(view: View, found: CertificateFound) -> str | None:
    """Why a renewal that is due is not the one its schedule or the first order brings, or None."""
    if not isinstance(found.decision, Renew) or view.flight is not None:
        return None
    live, newest = found.standing.live, found.standing.newest
    if live is None or live.placeholder:
        return None if newest is None or newest.placeholder else found.decision.why
    if live.facts is None:
        return None  # an alert of its own reports that
    if live.facts.not_after <= view.now:
        return found.decision.why
    if found.decision.code == PULLED_FORWARD:
        return found.decision.why
    return drift(live.facts, live, found.managed.policy)


def _late(view: View, found: CertificateFound, due: datetime) -> list[AlertEvent]:
    """A renewal that has failed since it was due, when the end of the certificate comes near.

    Or that has failed in flight and is still there: nobody else sees the end coming.
    """
    subject, attempts, now, count = view.id, found.attempts, view.now, view.failures
    live, flight, decision = found.standing.live, view.flight, found.decision
    if live is None or live.placeholder or live.facts is None or not count:
        return []
    at, why = attempts.at, attempts.why
    if flight is not None and flight.tries:
        at, why = flight.at, flight.why
    end = live.facts.not_after
    begin = max(due, decision.until) if isinstance(decision, Postpone) else due
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
            todo=f"See: {command('plan', subject)}, and: {command('history', subject)}. Once the "
            f"cause is fixed: {command('rotate', subject)}",
            subject=subject,
            cause=stage,
        )
    ]


def _count(left: int) -> str:
    return f"{left} attempt{'' if left == 1 else 's'}"


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
