"""A condition that all subjects depend on, reported when it changes."""

from __future__ import annotations

from certrotd.errors import Failure
from certrotd.observers import Observer


class Condition:
    """Tells ``observer`` when ``what`` goes wrong, and when it is right again.

    At first also that it is right: an earlier process may have reported otherwise.
    """

    def __init__(self, what: str, observer: Observer) -> None:
        self._what = what
        self._observer = observer
        self._known = False
        self.failure: Failure | None = None

    def set(self, failure: Failure | None) -> bool:
        """Its state now; whether that is a change."""
        known, before = self._known, self.failure
        self._known, self.failure = True, failure
        if failure is not None and before is None:
            self._observer.trouble(self._what, failure)
        elif failure is None and (before is not None or not known):
            self._observer.calmed(self._what)
        return known and (failure is None) is not (before is None)
