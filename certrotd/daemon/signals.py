"""Signals for a main thread that waits: the reload, and the end of the wait when told to stop."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator


class Signals:
    """Tells which signals came; only the main thread may make one, and wait on it.

    The wait is on a pipe: a handler that set an event could meet the main thread inside of it.
    """

    def __init__(self, read: int) -> None:
        self._read = read

    def wait(self, seconds: float) -> frozenset[int]:
        """The numbers of the signals that came since the last wait, at most ``seconds`` later."""
        if not select.select([self._read], [], [], seconds)[0]:
            return frozenset()
        return frozenset(os.read(self._read, 512))


@contextlib.contextmanager
def heard(*numbers: int) -> Iterator[Signals]:
    """Hear of ``numbers``, and of every other signal that has a handler, within the block."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    try:
        yield Signals(read)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)
