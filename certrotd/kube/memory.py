"""What a thread knows of objects that nobody but itself may write, so that it reads each once."""

from __future__ import annotations

import json
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
KEPT = 4 * 1024 * 1024
"""So many octets, in JSON, are kept of what was known when locks were let go of."""


@dataclass
class Known:
    """Objects by name, None for one that is not there, and when each was read (monotonic).

    ``complete``: there are no others.
    """

    objects: dict[str, Object | None] = field(default_factory=dict, repr=False)
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
        self._kept: dict[str, tuple[Known, int]] = {}
        self._keeping = threading.Lock()

    @contextmanager
    def alone(
        self, whose: str, clock: Clock, *, again: bool = False, keeps: bool = False
    ) -> Iterator[None]:
        """Within the block this thread alone writes what is of ``whose``.

        Afterwards it ``keeps`` what it knows, for the next block: if nobody had the lock in
        between, as ``again`` says, that is so still.
        """
        held = self._held()
        before = held.get(whose)  # of a lock that was lost
        kept = self._taken(whose)
        known = held[whose] = kept if kept is not None and again else Known()
        self._left.pop(whose, None)
        try:
            yield
        finally:
            if before is None:
                del held[whose]
                if keeps:
                    self._keep(whose, known)
                now = clock.monotonic()
                for other, (_, at) in list(self._left.items()):
                    if now - at > JUST:  # nobody looked: keys of others are not kept for that
                        self._left.pop(other, None)
                self._left[whose] = known, now
            else:
                held[whose] = before

    def kept(self, name: str) -> Object | None:
        """The object of that name as it was when its lock was let go of, if that is kept."""
        with self._keeping:
            known, _ = self._kept.get(name, (None, 0))
            return known.objects.get(name) if known else None

    def of(self, whose: str) -> Known | None:
        """What is known, None unless this thread is alone with it."""
        return self._held().get(whose)

    def just_left(self, whose: str, clock: Clock) -> Known | None:
        """What was known when it was let go of a moment ago; told once."""
        known, at = self._left.pop(whose, (None, 0.0))
        return known if clock.monotonic() - at <= JUST else None

    def _taken(self, whose: str) -> Known | None:
        with self._keeping:
            known, _ = self._kept.pop(whose, (None, 0))
            return known

    def _keep(self, whose: str, known: Known) -> None:
        """Keep it; what was kept longest gives way."""
        size = len(json.dumps(list(known.objects.values())))
        with self._keeping:
            self._kept[whose] = known, size
            while sum(each for _, each in self._kept.values()) > KEPT:
                del self._kept[next(iter(self._kept))]

    def _held(self) -> dict[str, Known]:
        if not hasattr(self._local, "held"):
            self._local.held = {}
        held: dict[str, Known] = self._local.held
        return held
