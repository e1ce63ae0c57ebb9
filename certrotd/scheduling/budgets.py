"""Adjusts the budgets of all issuers when the clock jumps, and reports those it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from certrotd.certs.limits.budget import Budget
from certrotd.errors import Failure
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure


class Budgets:
    """Tells the budgets of the jumps, and ``observer`` which of them cannot be read, until it can.

    Not safe to use from several threads at once.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._issuers: frozenset[str] = frozenset()
        self._of: Callable[[str], Budget | None] = lambda _issuer: None
        self._unsure: frozenset[str] = frozenset()

    def use(self, issuers: Iterable[str], of: Callable[[str], Budget | None]) -> None:
        """Those of another configuration; of the ones that are gone nothing is the matter."""
        before, self._issuers, self._of = self._issuers, frozenset(issuers), of
        for issuer in sorted(self._unsure - self._issuers):
            self._observer.calmed(_words(issuer))
        # of a new one an earlier process may have said that it cannot be read
        self._unsure = (self._unsure & self._issuers) | (self._issuers - before)

    def leapt(self, by: timedelta) -> None:
        """What was ordered a moment ago must not seem long ago."""
        for issuer in sorted(self._issuers):
            self._tell(issuer, by)

    def look(self) -> None:
        """See to those of which it is not known that they can be read."""
        for issuer in sorted(self._unsure):
            self._tell(issuer, timedelta())

    def _tell(self, issuer: str, by: timedelta) -> None:
        what = _words(issuer)
        try:
            budget = self._of(issuer)
            if budget is not None:
                budget.leapt(by)
        except (Failure, OSError) as error:
            self._unsure |= {issuer}
            self._observer.trouble(what, as_failure(error, f"read {what}"))
            return
        if issuer in self._unsure:
            self._unsure -= {issuer}
            self._observer.calmed(what)


def _words(issuer: str) -> str:
    return f"the budget of {issuer}"
