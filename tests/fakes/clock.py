"""Clocks by which a deadline passes when a test has seen what had to come before, and no sooner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from certrotd.clock import ManualClock, SystemClock

LONG = 1e6
"""More seconds than any deadline has."""


class Until(SystemClock):
    """Time stands still until ``condition`` holds; then every deadline has passed."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def monotonic(self) -> float:
        return LONG if self._condition() else 0.0


class Pauses(ManualClock):
    """Takes no time for so many pauses; at the end of the last every deadline has passed."""

    def __init__(self, count: int) -> None:
        super().__init__(datetime(2026, 6, 1, tzinfo=UTC))
        self._left = count

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._left -= 1
        if self._left <= 0:
            super().sleep(LONG)
