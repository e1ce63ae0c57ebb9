"""Target ``command``: a program of the operator's that makes a service read its files again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.targets import CommandEntry
from certrotd.targets.process import require, run


@dataclass(frozen=True)
class CommandTarget:
    """``command`` is run to apply; ``check_command``, if any, must succeed before that.

    Both are argv lists; ``timeout`` is in seconds for each. ``environment`` may hold secrets.
    """

    command: tuple[str, ...]
    check_command: tuple[str, ...] | None = None
    timeout: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def precheck(self) -> None:
        """As Precheck.precheck: the programs exist."""
        for argv in (self.command, self.check_command):
            if argv:
                require(argv[0], self.environment)

    def check(self) -> None:
        """As Target.check: the programs exist, and the check command is content."""
        self.precheck()
        self._check()

    def apply(self) -> None:
        """As Target.apply; nothing is applied that the check command is not content with."""
        self._check()
        self._run(self.command)

    def _check(self) -> None:
        if self.check_command:
            self._run(self.check_command)

    def _run(self, argv: tuple[str, ...]) -> None:
        run(argv, deadline=Deadline(self.clock, self.timeout), environment=self.environment)


def build(entry: CommandEntry, context: Context) -> CommandTarget:
    """The target of a configuration entry; its secrets are read here, when it is first used."""
    return CommandTarget(
        command=entry.command,
        check_command=entry.check,
        timeout=entry.timeout.total_seconds(),
        environment=reveal(entry.environment),
        clock=context.clock,
    )
