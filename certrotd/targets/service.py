"""A service that has commands of its own to test its configuration and to read its files again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from certrotd.errors import Failure
from certrotd.targets.command import CommandTarget


@dataclass(frozen=True)
class ServiceTarget:
    """``command`` tests and reloads; ``running`` raises Failure unless the service is there.

    ``hint`` is what to do about a failure that has no hint of its own.
    """

    command: CommandTarget
    running: Callable[[], None]
    hint: str = ""

    def precheck(self) -> None:
        """As Precheck.precheck: the programs exist."""
        self.command.precheck()

    def check(self) -> None:
        """As Target.check: its configuration is valid, and it runs."""
        with self._hinted():
            self.command.check()
            self.running()

    def apply(self) -> None:
        """As Target.apply: nothing is reloaded whose configuration is not valid."""
        with self._hinted():
            self.command.apply()

    @contextmanager
    def _hinted(self) -> Iterator[None]:
        try:
            yield
        except Failure as failure:
            failure.hint = failure.hint or self.hint
            raise
