"""One act after the other, in all processes of a machine, for what reads before it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from certrotd.clock import Clock, Deadline
from certrotd.config.context import Context
from certrotd.rotation.stopping import TurnDeadline
from certrotd.state.lock import hold_any

Turn = Callable[[Clock], AbstractContextManager[None]]
"""A block within which at most so many others are at it."""

_QUEUE = 1800.0


@contextmanager
def in_turn(turn: Turn, deadline: Deadline) -> Iterator[None]:
    """The block, when its turn has come; ``deadline`` is put off by the wait, which others took.

    Else the last of many certificates would have no time left to be published.
    """
    begun = deadline.clock.monotonic()
    with turn(deadline.clock):
        deadline.put_off(deadline.clock.monotonic() - begun)
        yield


def unlimited(_clock: Clock) -> AbstractContextManager[None]:
    """Anybody's turn at any time."""
    return nullcontext()


def turns(context: Context, what: str, *, at_once: int = 1) -> Turn:
    """The turns of one solver, ``what`` names it; LockHeld after half an hour.

    Raises Stopped where others are at it when the process is told to stop.
    """
    # no certificate's name begins like this, so no certificate's lock is meant
    locks = context.state_dir / "locks"
    paths = [locks / f"_solver-{context.name}-{n}.lock" for n in range(at_once)]

    def turn(clock: Clock) -> AbstractContextManager[None]:
        return hold_any(
            paths,
            what=what,
            command="certrotd",
            now=clock.now(),
            wait=TurnDeadline(Deadline(clock, _QUEUE)),
        )

    return turn
