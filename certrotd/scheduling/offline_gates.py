"""What would hold a rotation back, as far as the files of the state directory tell.

For listings on the command line, which change nothing: a file that cannot be understood is left
where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from certrotd.errors import Failure, LockHeld
from certrotd.id import Id
from certrotd.lifecycle.decision import Action
from certrotd.lifecycle.gate import Held
from certrotd.lifecycle.view import View
from certrotd.scheduling.clock_trust import Judgement, Watch, clock_document
from certrotd.scheduling.gates import by_clock, by_disk, by_failure
from certrotd.state.ports import State


def with_gates(
    views: Sequence[View], state: State, full: Failure | None, *, now: datetime
) -> Iterator[View]:
    """The same views, each with what holds back what is due; ``full`` is why there is no room."""
    judgement = _judgement(views, state, now)
    for view in views:
        due = isinstance(view.decision, Action) and view.flight is None and not view.failure
        if not due:
            yield view
            continue
        held = by_disk(full, view.decision) or _by_lock(view.id, state)
        held, claim = held or by_clock(judgement, view.decision), view.found.claim
        if held is None and claim is not None:
            held = view.subject.foresee(claim, now=now)
        yield replace(view, held=held)


def _by_lock(subject: Id, state: State) -> Held | None:
    try:
        holder = state.holder(str(subject))
    except Failure:
        holder = None  # nobody can tell
    if holder is None:
        return None
    return by_failure(LockHeld(f"{subject.kind} {subject.name}", holder=holder))


def _judgement(views: Sequence[View], state: State, now: datetime) -> Judgement:
    """What the state tells of the clock."""
    try:
        last_run = clock_document(state).peek()
    except Failure:
        last_run = None  # the daemon goes by what it looks at alone then, and says why
    watch = Watch(last_run, 0.0)
    for view in views:
        watch = watch.seen(view.found.passed)
    return watch.judge(now, 0.0)
