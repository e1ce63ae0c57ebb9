"""A rotation cut off, or its journal broken, at each of its points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from certrotd.errors import Failure
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.step import Plan
from tests.unit.rotation.small import (
    AFTER,
    BEFORE,
    BELIED,
    COUNT,
    FORWARD,
    REFUSED,
    SAVED,
    TEAR,
    TELL,
    TORN,
    A,
    B,
    C,
    Crash,
    D,
    Put,
    Small,
    World,
)

PLANS: Mapping[str, tuple[Plan[World], str | None]] = {
    "forward": ((A, SAVED, B, TELL, FORWARD, D), None),
    "back": ((A, SAVED, B, TELL, D), "do d"),
    "back to the beginning": ((A, TELL, C), "do c"),
    "ends after a savepoint": ((A, SAVED, B), None),
    "forward with checkpoints": ((A, SAVED, COUNT, D), None),
    "back over checkpoints": ((A, SAVED, COUNT, D), "do d"),
    "back in the middle of them": ((A, SAVED, COUNT), "count 1"),
}


def rotate(plan: str, faults: Mapping[int | str, str], *, cut: bool = False) -> Small:
    """One rotation whose first processes meet ``faults``, until it is closed."""
    items, fails = PLANS[plan]
    small = Small(items)
    small.world.fate.faults = dict(faults)
    for _ in range(2 * len(faults) + 3):
        if fails:
            small.world.on[fails] = [Failure("no")] * 9
        try:
            small.resume() if small.engine().in_flight() else small.begin()
        except Crash:
            if cut:
                small.disk.cut()
        except DiskTrouble:
            pass  # the next process sees what came of it
        if small.history() and not small.disk.journal:
            return small
    raise AssertionError(f"not closed: {small.kinds()}")


def points(plan: str) -> list[str]:
    """Every point of an undisturbed rotation where something may go wrong."""
    return rotate(plan, {}).world.fate.points


def consistent(small: Small, plan: str) -> None:
    """All of it or, back at its savepoint, none."""
    items, fails = PLANS[plan]
    steps = [item.name for item in items if isinstance(item, Put)]
    (line,) = small.history()
    if not fails:
        assert (line["outcome"], small.world.there) == ("finished", steps)
        assert TELL not in items or small.world.told == ("a", "b")
        assert COUNT not in items or small.world.counted == {0, 1, 2}
    else:
        kept = ["a"] if SAVED in items else []
        back = "rolled back to saved" if kept else "nothing was changed"
        assert (line["outcome"], small.world.there) == (back, kept)
        assert line["failed_step"] == ("count" if fails == "count 1" else steps[-1])
        assert small.world.counted == set()


@pytest.mark.parametrize("cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("plan", PLANS)
def test_a_rotation_completes_wherever_its_process_ends(plan: str, cut: bool) -> None:
    """The promise: before, after and in the middle of every record and every act, twice over."""
    size = len(points(plan))
    crashes = [BEFORE, TORN, AFTER]
    for at, fault in itertools.product(range(size), crashes):
        consistent(rotate(plan, {at: fault}, cut=cut), plan)
        for later in range(at + 1, at + 9):
            consistent(rotate(plan, {at: fault, later: AFTER}, cut=cut), plan)


@pytest.mark.parametrize("plan", PLANS)
def test_a_rotation_completes_wherever_its_journal_breaks(plan: str) -> None:
    """Full, torn, or written and said not to be; and then the process may end as well."""
    writes = [at for at, what in enumerate(points(plan)) if what.startswith("journal: ")]
    for at, fault in itertools.product(writes, [REFUSED, TEAR, BELIED]):
        consistent(rotate(plan, {at: fault}), plan)
        for later in range(at + 1, at + 9):
            consistent(rotate(plan, {at: fault, later: AFTER}), plan)
