"""A service that has commands of its own to test its configuration and to read its files again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certrotd.targets.command import CommandTarget


@dataclass(frozen=True)
class ServiceTarget:
    """``command`` tests and reloads; ``running`` raises Failure unless the service is there."""

    command: CommandTarget
    running: Callable[[], None]

    def precheck(self) -> None:
        """As Precheck.precheck: the programs exist."""
        self.command.precheck()

    def check(self) -> None:
        """As Target.check: its configuration is valid, and it runs."""
        self.command.check()
        self.running()

    def apply(self) -> None:
        """As Target.apply: nothing is reloaded whose configuration is not valid."""
        self.command.apply()
