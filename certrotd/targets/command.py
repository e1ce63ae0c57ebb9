"""Target ``command``: a program of the operator's that makes a service read its files again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.targets import CommandEntry
from certrotd.errors import NeedsOperator
from certrotd.targets.process import run


@dataclass(frozen=True)
class CommandTarget:
    """``command`` is run to apply; ``check_command``, if any, must succeed before that.

    Both are argv lists; ``timeout`` is in seconds for each.
    """

    command: tuple[str, ...]
    check_command: tuple[str, ...] | None = None
    timeout: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """As Target.check: the program exists, and the check command is content."""
        if shutil.which(self.command[0], mode=os.X_OK) is None:
            raise NeedsOperator(
                f"{self.command[0]} is not an executable program", hint="install it, or correct it"
            )
        if self.check_command:
            run(self.check_command, timeout=self.timeout, environment=self.environment)

    def apply(self) -> None:
        """As Target.apply."""
        if self.check_command:
            run(self.check_command, timeout=self.timeout, environment=self.environment)
        run(self.command, timeout=self.timeout, environment=self.environment)


def build(entry: CommandEntry, context: Context) -> CommandTarget:  # noqa: ARG001
    """The target of a configuration entry; its secrets are read here, when it is first used."""
    return CommandTarget(
        command=entry.command,
        check_command=entry.check,
        timeout=entry.timeout.total_seconds(),
        environment=reveal(entry.environment),
    )
