"""What was read of objects that anybody writes, and is of use once more a moment later."""

from __future__ import annotations

from typing import Any

from certrotd.clock import Clock

SEEN = 60.0
"""For so many seconds a change, or a watch, may begin at what was seen: what is newer shows."""


class Recent:
    """By path; each is told to whoever asks first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: dict[str, tuple[Any, float]] = {}

    def put(self, path: str, found: Any) -> None:
        """Keep it for a while; what is older than that is forgotten."""
        now = self._clock.monotonic()
        for other, (_, at) in list(self._found.items()):
            if now - at > SEEN:
                self._found.pop(other, None)
        self._found[path] = found, now

    def take(self, path: str, *, within: float = SEEN) -> Any | None:
        """What was kept, if that is not longer ago than so many seconds; it is forgotten then."""
        found, at = self._found.pop(path, (None, 0.0))
        return found if self._clock.monotonic() - at <= within else None
