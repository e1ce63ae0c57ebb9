"""Time as an argument: the only module that reads the machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

thread_seconds = time.thread_time
"""How long this thread has used a processor, in seconds."""


class Clock(Protocol):
    """What code that waits or stamps is given instead of the time module."""

    def now(self) -> datetime:
        """The wall clock, timezone-aware in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines within this process."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a negative number does not wait."""
        ...

    def stopping(self) -> bool:
        """Whether the process has been told to stop: then nothing new should be begun."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def stopping(self) -> bool:
        return False


class ManualClock:
    """A clock that stands still until told otherwise; sleeping moves it."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds  # whole: less than a microsecond would never pass otherwise

    def stopping(self) -> bool:
        return False

    def advance(self, by: timedelta) -> None:
        """Let ``by`` pass on both clocks."""
        self._now += by
        self._monotonic += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Set the wall clock forward or back without time passing."""
        self._now += by


class Deadline:
    """A point on the monotonic clock that a chain of waits must not pass."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock = clock
        self._end = clock.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.remaining == 0.0

    def within(self, seconds: float) -> Deadline:
        """A deadline at most ``seconds`` away that never outlives this one."""
        return Deadline(self.clock, min(seconds, self.remaining))

    def put_off(self, seconds: float) -> None:
        """Move it by time that somebody else took; what is within it by now stays as it is."""
        self._end += seconds

    def pause(self, seconds: float) -> None:
        """Sleep ``seconds``, or until the deadline if that comes first."""
        self.clock.sleep(min(seconds, self.remaining))
