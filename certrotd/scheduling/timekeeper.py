"""Judges the clock at every tick, and keeps the last time that was believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from certrotd.errors import Failure
from certrotd.observers import Observer
from certrotd.scheduling.clock_trust import SOUND, ClockTrust, Watch, jumped
from certrotd.scheduling.condition import Condition

REMEMBER = 60.0
LAST_RUN = "the time of the last run"


class Timekeeper:
    """The ``judgement`` of the clock, by all that is known of the time.

    ``remember`` keeps the time of the last run, at most once a minute. Not safe to use from several
    threads at once.
    """

    def __init__(
        self,
        last_run: datetime | None,
        monotonic: float,
        *,
        observer: Observer,
        remember: Callable[[datetime], None],
    ) -> None:
        self.judgement = SOUND
        self._watch = Watch(last_run, monotonic)
        self._remember = remember
        self._last_run = Condition(LAST_RUN, observer)
        self._reading: tuple[datetime, float] | None = None
        self._remembered: float | None = None

    @property
    def ticked(self) -> bool:
        """Whether there was a tick."""
        return self._reading is not None

    def tick(self, now: datetime, monotonic: float) -> timedelta | None:
        """Time has passed; by how much the wall clock jumped, if it did."""
        before, self._reading = self._reading, (now, monotonic)
        self._watch = self._watch.passed(now, monotonic)
        return jumped(before, self._reading) if before else None

    def told(self, time: datetime, now: datetime, monotonic: float) -> None:
        """As Watch.told."""
        self._watch = self._watch.told(time, now, monotonic)

    def seen(self, moment: datetime | None) -> None:
        """As Watch.seen."""
        self._watch = self._watch.seen(moment)

    def judge(self, now: datetime, monotonic: float) -> bool:
        """Judge the clock anew; whether it is trusted otherwise than before."""
        before, self.judgement = self.judgement, self._watch.judge(now, monotonic)
        return self.judgement.trust is not before.trust

    def keep(self, monotonic: float) -> None:
        """Have the time remembered, if it is believed and its minute has come."""
        if self._remembered is not None and monotonic - self._remembered < REMEMBER:
            return
        if self.judgement.trust is not ClockTrust.SOUND or self._watch.trusted is None:
            return
        self._remembered = monotonic
        try:
            self._remember(self._watch.trusted)
        except Failure as failure:
            self._last_run.set(failure)
        else:
            self._last_run.set(None)
