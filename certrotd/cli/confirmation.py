"""What cannot be undone is confirmed by typing its name."""

from __future__ import annotations

import shlex
import sys

from certrotd.cli.output import say
from certrotd.errors import UsageError


def confirm(name: str, words: str, typed: str | None, *, what: str = "keyring") -> None:
    """Have the name typed for what cannot be undone; raises UsageError."""
    if typed is None and sys.stdin.isatty():
        say(f"{words}, and nothing undoes that. Type the name of the {what} to go on:")
        typed = sys.stdin.readline().strip()
    if typed != name:
        raise UsageError(
            f"nothing was done, for it is not confirmed: {words}",
            hint=f"--confirm {shlex.quote(name)}",
        )
