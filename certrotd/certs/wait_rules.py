"""What keeps that which is due from being done now, in the order it is tried: pure."""

from __future__ import annotations

from datetime import datetime

from certrotd.certs.case import Case, left, orders
from certrotd.certs.decision import Bootstrap, Deploy, Renew, longest_wait
from certrotd.certs.fitness import renewal_wanted_by
from certrotd.lifecycle.attempts import after_failures, backoff
from certrotd.lifecycle.decision import Action, Postpone
from certrotd.lifecycle.gate import Gate
from certrotd.lifecycle.rules import Waiting, says

WINDOW_MARGIN = 10
"""A window that opens in the last tenth of the lifetime is not waited for."""


def _retry_after(case: Case, due: Action) -> Postpone | None:
    failed_at, attempts = _failed_at(case), case.attempts
    if case.asked.forced or not orders(due):
        return None
    # what one CA asked for says nothing of another, which may have been configured because of it
    authority, until = case.choice.policy.authority, None
    if failed_at and attempts.retry_after and attempts.authority in ("", authority):
        longest = longest_wait(left(case.standing, now=failed_at))
        until = failed_at + min(attempts.retry_after, longest)
    elif case.policy.others and (asked := attempts.waits.get(authority)):
        since = failed_at or case.now
        until = min(asked, since + longest_wait(left(case.standing, now=since)))
    if until is None or case.now >= until:
        return None
    return Postpone("the CA asked to wait", until, due, Gate.RETRY_AFTER)


def _held(case: Case, due: Action) -> Postpone | None:
    held, now = case.standing.state.held, case.now
    if case.asked.forced or not held or now >= held or not orders(due):
        return None
    if not case.works:
        return None
    return Postpone("held after a rollback by hand", held, due, Gate.HOLD)


def _window_closed(case: Case, due: Action) -> Postpone | None:
    window, live, asked = case.policy.window, case.live, case.asked
    if window is None or asked.forced or asked.named or not isinstance(due, Renew | Deploy):
        return None
    if live is None or live.placeholder or not case.works:
        return None  # nothing that works is disturbed
    if isinstance(due, Deploy) and due.mends:
        return None
    opens, facts = window.opens_at(case.now), case.known_facts
    latest = facts.not_after - (facts.not_after - facts.not_before) / WINDOW_MARGIN
    if (end := renewal_wanted_by(live, case.standing.state, case.policy)) is not None:
        latest = min(latest, end)  # after that the CA may revoke it
    if opens <= case.now or opens >= latest:
        return None
    return Postpone(f"waits for its window, {window}; due: {due.why}", opens, due, Gate.WINDOW)


def _too_recent(case: Case, due: Action) -> Postpone | None:
    attempts, now = case.attempts, case.now
    asked_for = case.asked.forced or case.asked.by_hand or attempts.mended
    if asked_for or isinstance(due, Bootstrap):  # which is what ends many a failure
        return None
    if isinstance(due, Deploy) and due.mends and attempts.authority:
        return None  # what failed was to get another one
    counted, since = attempts.failures - attempts.by_hand, attempts.unasked_at or _failed_at(case)
    if counted <= 0 or not since or since > now:
        return None
    until = since + backoff(counted, left(case.standing, now=now))
    if now >= until:
        return None
    what = f"{due.why}; " if isinstance(due, Deploy) else ""
    return Postpone(what + after_failures(attempts.failures, attempts.why), until, due)


def _failed_at(case: Case) -> datetime | None:
    """Not in the future: that was before the clock was put right, and says nothing of now."""
    at = case.attempts.at
    return at if at and at <= case.now else None


def _no_wait_asked(_case: Case, due: Action) -> str:
    return "the CA did not ask to wait" if orders(due) else "this needs no order"


def _open_window(case: Case, _due: Action) -> str:
    if case.policy.window is None:
        return "no maintenance window is configured"
    return (
        "the window is open, or is not waited for: near expiry, damage, the CA wants it renewed "
        "before, or asked for by name"
    )


def _no_backoff(case: Case, _due: Action) -> str:
    if not case.attempts.failures:
        return "the last attempt did not fail"
    return "a person asks, the configuration changed, or the last failure is long ago"


WAITS = (
    Waiting(Gate.RETRY_AFTER, _retry_after, _no_wait_asked),
    Waiting(Gate.HOLD, _held, says("renewals are not held after a rollback")),
    Waiting(Gate.WINDOW, _window_closed, _open_window),
    Waiting(Gate.BACKOFF, _too_recent, _no_backoff),
)
