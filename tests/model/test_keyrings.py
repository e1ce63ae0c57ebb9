"""A keyring's rotation is killed at every access to its state, and fails at every step.

After each the keyring is whole, no application ever meets a key that it lacks, and the next process
brings the rotation to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest

from certrotd.keyring.evidence import Count
from certrotd.keyring.states import State
from certrotd.keys.rotation import compromise, rollback
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report
from certrotd.rotation.engine import Finished
from tests.fakes.keyrings import KeyBench, Killed
from tests.fakes.state import MemoryState

pytestmark = pytest.mark.model

DAY = timedelta(days=1)
MOST = 20
Act = Callable[[KeyBench], Report]


class KillingState(MemoryState):
    """Ends the process at one access, the ``left``-th from when it is set; 0: never."""

    left = 0

    def slow(self) -> None:
        super().slow()
        if self.left:
            self.left -= 1
            if not self.left:
                raise Killed


def _rotate(bench: KeyBench) -> Report:
    return bench.rotate(Asked(forced=True))


def _compromise(bench: KeyBench) -> Report:
    return bench.ask(partial(compromise, 1, "a laptop was stolen"))


def _rollback(bench: KeyBench) -> Report:
    return rollback(bench, bench.runner, None)


def _begun() -> KeyBench:
    return KeyBench(state=KillingState())


def _one() -> KeyBench:
    bench = _begun()
    assert isinstance(bench.rotate().outcome, Finished)
    return bench


def _two() -> KeyBench:
    bench = _one()
    assert isinstance(_rotate(bench).outcome, Finished)
    return bench


def _retired() -> KeyBench:
    bench = _two()
    bench.with_policy(datasets=frozenset({"rows"}), grace=0 * DAY)
    bench.clock.advance(DAY)
    bench.census[1] = {"rows": Count(0, bench.clock.now())}
    bench.rotate()
    assert bench.states()[1] is State.RETIRED
    return bench


def _disabled() -> KeyBench:
    bench = _retired()
    bench.rotate()
    assert bench.states()[1] is State.DISABLED
    bench.clock.advance(31 * DAY)
    bench.census[1] = {"rows": Count(0, bench.clock.now())}
    bench.drilled = bench.clock.now()
    return bench


CASES: dict[str, tuple[Callable[[], KeyBench], Act, dict[int, State]]] = {
    "first": (_begun, KeyBench.rotate, {1: State.ACTIVE}),
    "rotate": (_one, _rotate, {1: State.DECRYPT_ONLY, 2: State.ACTIVE}),
    "compromise": (_one, _compromise, {1: State.COMPROMISED, 2: State.ACTIVE}),
    "rollback": (_two, _rollback, {1: State.ACTIVE, 2: State.SECONDARY}),
    "disable": (_retired, KeyBench.rotate, {1: State.DISABLED, 2: State.ACTIVE}),
    "destroy": (_disabled, KeyBench.rotate, {1: State.DESTROYED, 2: State.ACTIVE}),
}


def consistent(bench: KeyBench) -> None:
    """Whatever one application encrypts, every other can decrypt; and every key is somewhere."""
    written = {app.writes for app in bench.apps.values() if app.writes is not None}
    for app in bench.apps.values():
        assert app.has is None or written <= app.reads, (app.name, written, app.reads)


def _kept(bench: KeyBench) -> None:
    """A key that any application has is in the keyring and in a backup."""
    found = bench.store().read()
    held = {number for app in bench.apps.values() for number in app.reads}
    if held:
        assert found is not None
        alive = {n for n, entry in found.keyring.entries.items() if entry.secret}
        assert held <= alive
        assert held <= {n for each in bench.backups for n in each.entries}


@pytest.mark.parametrize("name", CASES)
def test_a_kill_at_any_access_leaves_a_whole_keyring_and_is_made_up_for(name: str) -> None:
    """The next process finishes what was cut off, or undoes it and does it again."""
    make, act, wanted = CASES[name]
    at, ended = 0, False
    while not ended:
        at += 1
        bench = make()
        bench.watch = partial(consistent, bench)
        assert isinstance(bench.state, KillingState)
        bench.state.left = at
        try:
            act(bench)
            ended = True
        except Killed:
            bench.state.holders.clear()  # locks die with their process
        bench.state.left = 0
        _kept(bench)
        for _ in range(MOST):
            if bench.states() == wanted and not bench.state.journals:
                break
            consistent(bench)
            begun = bench.journal.peek() is not None
            bench.rotate() if begun or name != "compromise" else act(bench)
            if not begun and bench.states() != wanted and not bench.state.journals:
                act(bench)
            bench.clock.advance(timedelta(minutes=2))
        assert (bench.states(), bench.state.journals) == (wanted, {}), (name, at)
        consistent(bench)
        _kept(bench)
    assert at > 10, "the kills reach into the rotation"


def _strike(bench: KeyBench, fault: str, seen: Iterator[int], at: int) -> None:
    """The fault is there between one event and the next."""
    consistent(bench)
    struck = next(seen) == at
    bench.shelf.full = struck and fault == "disk"
    bench.apps["web"].broken = struck and fault == "web"


@pytest.mark.parametrize("name", ["rotate", "disable"])
def test_a_fault_at_any_step_is_undone_to_a_stage_that_everybody_has(name: str) -> None:
    """The disk is full, or an application cannot be told, once at each step; then it goes on."""
    make, act, wanted = CASES[name]
    for at in range(1, 40):
        for fault in ("disk", "web"):
            bench = make()
            bench.watch = partial(_strike, bench, fault, iter(range(1, 1000)), at)
            act(bench)
            for _ in range(MOST):
                if bench.states() == wanted and not bench.state.journals:
                    break
                bench.clock.advance(2 * DAY)
                bench.census = (
                    {n: {"rows": Count(0, bench.clock.now())} for n in bench.states()}
                    if name == "disable"
                    else {}
                )
                bench.rotate()
            assert bench.states() == wanted, (at, fault, bench.states())
            _kept(bench)
