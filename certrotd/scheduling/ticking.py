"""A tick every so often on APScheduler, which goes on whatever happens to the wall clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from certrotd.clock import Clock

JOB = "tick"


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """An interval trigger that makes up for nothing: after a jump of a year comes one run.

    APScheduler's own lists every run that was missed before it coalesces them; at one a second a
    year of them fills the memory.
    """

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """An interval after the previous time, or after now where that has passed."""
        following = previous + self.interval if previous else now
        return following if following > now else now + self.interval


class Ticking:
    """Calls ``tick`` every ``interval`` seconds in a thread, never twice at a time.

    APScheduler plans by the wall clock: set back by a day, its next run is a day away. So
    ``keep_up``, called by whoever waits by monotonic time, plans it anew when it is overdue.
    """

    def __init__(self, tick: Callable[[], None], clock: Clock, interval: float) -> None:
        self._tick = tick
        self._clock = clock
        self._interval = interval
        self._ran = clock.monotonic()
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._plan()

    def start(self) -> None:
        """Begin; the first tick comes at once."""
        self._scheduler.start()

    def stop(self) -> None:
        """No more ticks; one that is under way is not waited for."""
        self._scheduler.shutdown(wait=False)

    @property
    def behind(self) -> float:
        """Seconds since the last tick began."""
        return self._clock.monotonic() - self._ran

    def keep_up(self) -> bool:
        """Plan a tick for now if the last one is too long ago; whether that was so."""
        if self.behind < 3 * self._interval:
            return False
        self._ran = self._clock.monotonic()
        self._plan()
        return True

    def _plan(self) -> None:
        self._scheduler.add_job(
            self._run,
            Every(timedelta(seconds=self._interval)),
            id=JOB,
            next_run_time=self._clock.now(),
            replace_existing=True,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def _run(self) -> None:
        self._ran = self._clock.monotonic()
        self._tick()
