"""A KEK in memory that is slow, throttled, down, disabled or deleted when it is told to be."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta

from certrotd.clock import Deadline, ManualClock
from certrotd.kek import sealing
from certrotd.kek.port import Context, Disabled, KekUnavailable


@dataclass
class MemoryKek:
    """A key service of one key, whose every call takes ``seconds`` and is given ``timeout``.

    Its versions are as a service's: rotate() adds one, and the older ones still unwrap.
    """

    clock: ManualClock
    name: str = "memory"
    timeout: float = 10.0
    seconds: float = 0.0
    down: bool = False
    throttled: timedelta | None = None
    disabled: bool = False
    calls: list[str] = field(default_factory=list)
    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)], repr=False)

    def rotate(self) -> None:
        """Wrap with a new version from now on."""
        self.versions.append(os.urandom(32))

    def wrap(self, key: bytes, context: Context) -> bytes:
        self._asked("wrap")
        return sealing.wrap(self.versions[-1], key, context)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        self._asked("unwrap")
        return self._open(wrapped, context)

    def rewrap(self, wrapped: bytes, context: Context) -> bytes:
        self._asked("rewrap")
        return sealing.wrap(self.versions[-1], self._open(wrapped, context), context)

    def _open(self, wrapped: bytes, context: Context) -> bytes:
        by = [each for each in self.versions if sealing.identified(each) == wrapped[4:12]]
        return sealing.unwrap((by or self.versions)[-1], wrapped, context, self.name)

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        deadline = Deadline(self.clock, self.timeout)
        deadline.pause(self.seconds)
        if deadline.passed:
            raise KekUnavailable(f"{self.name} has not answered within {self.timeout:g} s")
        if self.down:
            raise KekUnavailable(f"{self.name} cannot be reached")
        if self.throttled is not None:
            raise KekUnavailable(
                f"{self.name} answers too many requests", retry_after=self.throttled
            )
        if self.disabled:
            raise Disabled(f"{self.name} is disabled", hint="enable it")
