"""Steps whose try is not durable before they act: a crash is found out by looking."""

from __future__ import annotations

import pytest

from certrotd.rotation.recovery import (
    Act,
    Failed,
    Progress,
    Reach,
    Status,
    next_move,
    perhaps_tried,
)
from certrotd.rotation.step import Savepoint
from tests.unit.rotation.small import NOW

DONE, TRIED, UNTRIED, WAITING = Status.DONE, Status.TRIED, Status.UNTRIED, Status.WAITING
SAVED, FORWARD = Savepoint("issued", stop_undoes=True), Savepoint("committed", forward_only=True)


@pytest.mark.parametrize(
    ("items", "unannounced", "savepoints", "after"),
    [
        ((DONE, UNTRIED, UNTRIED), {1}, {}, (DONE, TRIED, UNTRIED)),
        ((DONE, UNTRIED, UNTRIED), {1, 2}, {}, (DONE, TRIED, TRIED)),
        ((DONE, UNTRIED, UNTRIED), {2}, {}, (DONE, UNTRIED, UNTRIED)),
        ((TRIED, UNTRIED, UNTRIED), {1}, {}, (TRIED, TRIED, UNTRIED)),
        ((WAITING, UNTRIED), {1}, {}, (WAITING, TRIED)),
        ((UNTRIED, UNTRIED, UNTRIED), {0, 2}, {1: SAVED}, (TRIED, UNTRIED, TRIED)),
        ((DONE, UNTRIED, UNTRIED), {2}, {1: FORWARD}, (DONE, UNTRIED, UNTRIED)),
        ((DONE, DONE), {0, 1}, {}, (DONE, DONE)),
    ],
)
def test_what_may_have_been_tried_is_taken_for_tried(
    items: tuple[Status, ...],
    unannounced: set[int],
    savepoints: dict[int, Savepoint],
    after: tuple[Status, ...],
) -> None:
    """Up to the first step that would have said so, also past a savepoint that may be undone to."""
    assert perhaps_tried(Progress(items), unannounced, savepoints).items == after


def test_a_failure_has_told_all_that_was_tried() -> None:
    """It is durable, and so is what came before it: nothing else is undone."""
    failed = Progress((DONE, UNTRIED), failed=Failed(0, "no", "then"))
    assert perhaps_tried(failed, {1}, {}) is failed
    over = Progress((DONE, UNTRIED), outcome="finished")
    assert perhaps_tried(over, {1}, {}) is over


def test_it_is_looked_at_before_it_is_done_again() -> None:
    """And a savepoint that was not written down is reached first."""
    progress = perhaps_tried(Progress((DONE, UNTRIED)), {1}, {})
    assert next_move(progress, {}, now=NOW) == Act(1, look_first=True)
    progress = perhaps_tried(Progress((DONE, UNTRIED, UNTRIED)), {2}, {1: SAVED})
    assert next_move(progress, {1: SAVED}, now=NOW) == Reach(1)
