"""Alert rules of keyrings as the scheduler finds them: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from certrotd.config.notifications import Severity
from certrotd.keys.subject import KeyringFound
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved, command
from certrotd.lifecycle.decision import Wait
from certrotd.lifecycle.view import View
from certrotd.wording import span


def of_look(view: View, found: KeyringFound) -> Sequence[AlertEvent]:
    """Alerts about a keyring before certrotd acts on it."""
    return [
        *_waiting(view, found),
        *_late(view, found),
        *_strange(view, found),
        *_backups(view, found),
        *_adopt(view, found),
    ]


def _waiting(view: View, found: KeyringFound) -> Iterator[AlertEvent]:
    """A rotation that waits for a consumer longer than that may take."""
    subject, flight = view.id, view.flight
    key = f"acknowledgement/{subject}"
    if flight is None or flight.since is None or flight.step != "await":
        yield Resolved(key, f"{subject}: every consumer has confirmed.", subject)
        return
    allowed = max(found.managed.within.values(), default=timedelta(hours=1))
    waited = view.now - flight.since
    if waited < allowed:
        return
    yield Alert(
        kind="acknowledgement_missing",
        severity="error",
        key=key,
        title=f"{subject}: a consumer does not confirm which keys it has",
        what=f"The rotation of {subject} {flight.why}, {span(waited)} after it began. Nothing "
        "encrypts with a key that somebody may lack: the rotation waits.",
        todo=f"Have it read its keys again, or: {command('cancel', subject)}",
        subject=subject,
        cause=flight.why,
    )


def _late(view: View, found: KeyringFound) -> Iterator[AlertEvent]:
    """A key that encrypts beyond its cryptoperiod, whatever the reason."""
    subject, validity = view.id, found.validity
    key = f"late/{subject}"
    if validity is None or validity.not_after > view.now:
        yield Resolved(key, f"{subject}: the active key is within its cryptoperiod.", subject)
        return
    why = view.why or "no reason is known"
    yield Alert(
        kind="attempts_running_out",
        severity="error",
        key=key,
        title=f"{subject}: the cryptoperiod of the active key has ended",
        what=f"Version {found.version} of {subject} encrypts since {validity.not_before:%Y-%m-%d}, "
        f"and its cryptoperiod ended at {validity.not_after:%Y-%m-%d %H:%M}Z. Now: {why}.",
        todo=f"See: {command('plan --explain', subject)}, and: {command('history', subject)}",
        subject=subject,
        cause="cryptoperiod",
    )


def _strange(view: View, found: KeyringFound) -> Iterator[AlertEvent]:
    """An output that something else than certrotd has changed."""
    subject, strange = view.id, found.standing.strange
    key = f"damaged/{subject}"
    if not strange:
        yield Resolved(key, f"{subject}: every output is as it was delivered.", subject)
        return
    yield Alert(
        kind="damaged",
        severity="error",
        key=key,
        title=f"{subject}: an output was changed by something else"[:200],
        what=f"{subject}: {'; '.join(strange)}. certrotd does not overwrite it.",
        todo="Find out who changed it. If its key is to be kept, restore the file; if not: "
        f"certrotd keys deliver {subject.name} --overwrite",
        subject=subject,
        cause=strange[0],
    )


def _backups(view: View, found: KeyringFound) -> Iterator[AlertEvent]:
    """A keyring that is gone, and whose backups are there."""
    yield from _waits(
        view,
        found,
        "backups",
        "error",
        "there is no keyring, and there are backups of it",
        "certrotd makes no new key in its place. See docs/keys/backup.md, and: certrotd keys "
        f"restore {view.id.name} --from FILE",
    )


def _adopt(view: View, found: KeyringFound) -> Iterator[AlertEvent]:
    """An application that has a key which certrotd does not know."""
    yield from _waits(
        view,
        found,
        "adopt",
        "warning",
        "its application has a key already",
        f"certrotd keys adopt {view.id.name}",
    )


def _waits(
    view: View, found: KeyringFound, code: str, severity: Severity, title: str, todo: str
) -> Iterator[AlertEvent]:
    """A first key that is not made, for that reason: a person has to say what is right."""
    subject, decision = view.id, found.decision
    key = f"{code}/{subject}"
    if not isinstance(decision, Wait) or decision.code != code:
        yield Resolved(key, "", subject)
        return
    yield Alert(
        kind="trouble",
        severity=severity,
        key=key,
        title=f"{subject}: {title}",
        what=f"{subject}: {decision.why}.",
        todo=todo,
        subject=subject,
        cause=code,
    )
