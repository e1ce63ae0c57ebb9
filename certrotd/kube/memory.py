"""What a thread knows of objects that nobody but itself may write, so that it reads each once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from certrotd.clock import Clock
from certrotd.kube.api import Object

FRESH = 10.0
"""For so many seconds an object that others may write, too, is believed to be as it was read."""
JUST = 2.0
"""For so many seconds after its lock was let go of, a first look believes what was known then."""


@dataclass
class Known:
    """Objects by name, None for one that is not there, and when each was read (monotonic).

    ``complete``: there are no others.
    """

    objects: dict[str, Object | None] = field(default_factory=dict)
    read: dict[str, float] = field(default_factory=dict)
    complete: bool = False

    def forget(self) -> None:
        """Nothing is known any more: somebody else has written, or an answer was lost."""
        self.objects.clear()
        self.read.clear()
        self.complete = False


@contextmanager
def forgetting(known: Known | None) -> Iterator[Known | None]:
    """Whoever fails to write within the block does not know what is there any more."""
    try:
        yield known
    except BaseException:
        if known is not None:
            known.forget()
        raise


class Memory:
    """Of the objects of one kind of state; each thread has its own.

    Only within ``alone()`` anything is known: whoever enters it holds the lock of those objects.
    What is known there may be out of date once the lock is lost, so every write names the
    resourceVersion that it is over.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._left: dict[str, tuple[Known, float]] = {}

    @contextmanager
    def alone(self, whose: str, clock: Clock) -> Iterator[None]:
        """Within the block this thread alone writes what is of ``whose``."""
        held = self._held()
        before = held.get(whose)  # of a lock that was lost
        known = held[whose] = Known()
        self._left.pop(whose, None)
        try:
            yield
        finally:
            if before is None:
                del held[whose]
                now = clock.monotonic()
                for other, (_, at) in list(self._left.items()):
                    if now - at > JUST:  # nobody looked: keys of others are not kept for that
                        self._left.pop(other, None)
                self._left[whose] = known, now
            else:
                held[whose] = before

    def of(self, whose: str) -> Known | None:
        """What is known, None unless this thread is alone with it."""
        return self._held().get(whose)

    def just_left(self, whose: str, clock: Clock) -> Known | None:
        """What was known when it was let go of a moment ago; told once."""
        known, at = self._left.pop(whose, (None, 0.0))
        return known if clock.monotonic() - at <= JUST else None

    def _held(self) -> dict[str, Known]:
        if not hasattr(self._local, "held"):
            self._local.held = {}
        held: dict[str, Known] = self._local.held
        return held
