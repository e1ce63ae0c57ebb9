"""SIGTERM and SIGINT: stop at the next safe point; a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from certrotd.clock import SystemClock
from certrotd.rotation.engine import Stopped

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Whether the process has been told to stop, and the clock that wakes whoever sleeps."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.clock = StoppableClock(self._event)

    def __call__(self) -> bool:
        return self._event.is_set()

    def listen(self) -> None:
        """Install the handlers; only the main thread may."""
        for each in _SIGNALS:
            signal.signal(each, self._on_signal)

    def stop(self) -> None:
        """As if a signal had come."""
        self._event.set()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            # crash-only: the journal makes this as safe as any other end, only slower to mend
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            os._exit(128 + number)  # the first process of a container survives that
        self._event.set()


class StoppableClock(SystemClock):
    """A clock whose sleepers are woken once by Stopped when the process is told to stop.

    Once per thread: what a rotation does after it was woken (undoing) may sleep as it needs.
    """

    def __init__(self, event: threading.Event) -> None:
        self._event = event
        self._woken = threading.local()

    def sleep(self, seconds: float) -> None:
        """As Clock.sleep; raises Stopped in a thread that has not been woken yet."""
        if getattr(self._woken, "already", False):
            super().sleep(seconds)
        elif seconds > 0 and self._event.wait(seconds):
            self._woken.already = True
            raise Stopped("the process was told to stop")

    def stopping(self) -> bool:
        return self._event.is_set()
