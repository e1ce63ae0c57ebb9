"""The thread that looks for new keys and beats while the application does something else."""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import Protocol

from certrotd.client.beats import Beats
from certrotd.errors import Failure

_WAIT = 0.5
"""Seconds that a fork or a close waits for a look that is under way."""


class Ticking(Protocol):
    """What is done now and then; it raises nothing."""

    def _tick(self) -> bool:
        """Do it; False when it is not to be done again."""
        ...


class Background:
    """Calls ``ticking`` every so many seconds; it ends when that is gone, and says so by ``beats``.

    It does not keep the process alive.
    """

    def __init__(self, ticking: Ticking, beats: Beats | None, *, seconds: float) -> None:
        self._ticking = weakref.ref(ticking)
        self._beats = beats
        self._seconds = seconds
        self.resume()

    def resume(self) -> None:
        """Begin, also after stop(); raises RuntimeError where the system has no thread to give."""
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_run,
            args=(self._ticking, self._beats, self._stop, self._seconds),
            name="certrotd-keyring",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End it, at the latest after what it is doing now."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_WAIT)


def _run(
    ticking: weakref.ref[Ticking], beats: Beats | None, stop: threading.Event, seconds: float
) -> None:
    while not stop.wait(seconds):
        found = ticking()
        if found is None:
            if beats is not None:
                with contextlib.suppress(Failure):  # nobody is left to be told
                    beats.leave()
            return
        if not found._tick():
            return
        del found  # else it could not go while this waits
