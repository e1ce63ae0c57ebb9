"""Rules that decide what is due of a subject and say why: tried in order, for every wing alike.

The first rule that matches decides. Then what may keep the action from being done now is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from certrotd.lifecycle.attempts import Attempts, after_failures, backoff
from certrotd.lifecycle.decision import Action, Asked, Decision, Postpone, Tried, Wait
from certrotd.lifecycle.gate import Gate
from certrotd.window import Window

C = TypeVar("C")


def says(words: str) -> Callable[..., str]:
    """What ``otherwise`` is where it is always the same."""
    return lambda *_: words


@dataclass(frozen=True, slots=True)
class Rule(Generic[C]):
    """``match`` decides, or gives None; ``otherwise`` says then why it does not match."""

    code: str
    match: Callable[[C], Wait | Action | None]
    otherwise: Callable[[C], str]


@dataclass(frozen=True, slots=True)
class Waiting(Generic[C]):
    """As Rule, of what keeps ``due`` from being done now."""

    code: Gate
    match: Callable[[C, Action], Postpone | None]
    otherwise: Callable[[C, Action], str]


def due_of(rules: Sequence[Rule[C]], case: C) -> Wait | Action:
    """What the first rule that matches decides, with its code unless it has one of its own."""
    for rule in rules:
        if (found := rule.match(case)) is not None:
            return found if found.code else replace(found, code=rule.code)
    raise AssertionError("the last rule matches whatever there is")


def postponed(waits: Sequence[Waiting[C]], case: C, due: Action) -> Postpone | None:
    """What is waited for first, if anything is."""
    return next((found for wait in waits if (found := wait.match(case, due))), None)


def tried(rules: Sequence[Rule[C]], case: C) -> Iterator[Tried]:
    """Every rule that due_of() tries, in its order, and why it matched or did not."""
    for rule in rules:
        found = rule.match(case)
        yield Tried(rule.code, found is not None, found.why if found else rule.otherwise(case))
        if found is not None:
            return


def tried_waits(waits: Sequence[Waiting[C]], case: C, due: Action) -> Iterator[Tried]:
    """Everything that postponed() tries, in its order, and why it is waited for or is not."""
    for wait in waits:
        found = wait.match(case, due)
        why = found.why if found else wait.otherwise(case, due)
        yield Tried(wait.code, found is not None, why)
        if found is not None:
            return


def decided(rules: Sequence[Rule[C]], waits: Sequence[Waiting[C]], case: C) -> Decision:
    """What the first rule that matches decides, or what that waits for."""
    due = due_of(rules, case)
    return due if isinstance(due, Wait) else postponed(waits, case, due) or due


def explained(rules: Sequence[Rule[C]], waits: Sequence[Waiting[C]], case: C) -> Iterator[Tried]:
    """Every rule that decided() tries, in its order, and why it matched or did not."""
    yield from tried(rules, case)
    if isinstance(due := due_of(rules, case), Action):
        yield from tried_waits(waits, case, due)


IN_WINDOW = says("no window is configured, it is open, or not waited for")
NO_BACKOFF = says("the last attempt did not fail, or is long ago")


def outside_window(
    window: Window | None, asked: Asked, due: Action, *, now: datetime
) -> Postpone | None:
    """A window that is closed now, unless the subject is asked for by name, or it is forced."""
    if window is None or asked.forced or asked.named or (opens := window.opens_at(now)) <= now:
        return None
    return Postpone(f"waits for its window, {window}; due: {due.why}", opens, due, Gate.WINDOW)


def backing_off(attempts: Attempts, asked: Asked, due: Action, *, now: datetime) -> Postpone | None:
    """A failure that is too recent, unless a person asks or the configuration was mended.

    One in the future was before the clock was put right, and says nothing of now.
    """
    if asked.forced or asked.by_hand or attempts.mended or not attempts.failures:
        return None
    if attempts.at is None or attempts.at > now:
        return None
    wait = max(backoff(attempts.failures, None), attempts.retry_after or timedelta(0))
    if now >= attempts.at + wait:
        return None
    return Postpone(after_failures(attempts.failures, attempts.why), attempts.at + wait, due)
