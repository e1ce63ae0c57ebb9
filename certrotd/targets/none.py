"""Target ``none``: a service that notices new files by itself; the probe waits for it."""

from __future__ import annotations

from certrotd.config.context import Context
from certrotd.config.services import NoneEntry


class NoTarget:
    """Nobody is told anything."""

    def check(self) -> None:
        """As Target.check."""

    def apply(self) -> None:
        """As Target.apply."""


def build(entry: NoneEntry, context: Context) -> NoTarget:  # noqa: ARG001
    """The target of a configuration entry."""
    return NoTarget()
