"""Adjusts all rations when the clock jumps, and reports those it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from certrotd.errors import Failure
from certrotd.lifecycle.wing import Ration
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure


class Rations:
    """Adjusts rations after a jump; ``observer`` hears which of them cannot be read, until it can.

    Not safe to use from several threads at once.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._of: Mapping[str, Callable[[], Ration | None]] = {}
        self._unsure: frozenset[str] = frozenset()

    def use(self, rations: Mapping[str, Callable[[], Ration | None]]) -> None:
        """Take over those of another configuration; the trouble of those that are gone is over."""
        before, self._of = self._of, rations
        for account in sorted(self._unsure - rations.keys()):
            self._observer.calmed(_words(account))
        # an earlier process may have reported that a new one cannot be read
        self._unsure = (self._unsure & rations.keys()) | (rations.keys() - before.keys())

    def leapt(self, by: timedelta) -> None:
        """The clock jumped: what was ordered a moment ago must not seem long ago."""
        for account in sorted(self._of):
            self._tell(account, by)

    def look(self) -> None:
        """Try those that could not be read, or were not yet."""
        for account in sorted(self._unsure):
            self._tell(account, timedelta())

    def _tell(self, account: str, by: timedelta) -> None:
        what = _words(account)
        try:
            ration = self._of[account]()
            if ration is not None:
                ration.leapt(by)
        except (Failure, OSError) as error:
            self._unsure |= {account}
            self._observer.trouble(what, as_failure(error, f"read {what}"))
            return
        if account in self._unsure:
            self._unsure -= {account}
            self._observer.calmed(what)


def _words(account: str) -> str:
    return f"the budget of {account}"
