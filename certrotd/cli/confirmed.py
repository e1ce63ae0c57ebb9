"""What cannot be undone is confirmed: by its name, typed or given as an option."""

from __future__ import annotations

import sys

from certrotd.cli.output import say
from certrotd.errors import UsageError


def confirm(name: str, words: str, typed: str | None, *, of: str = "keyring") -> None:
    """Have the ``name`` of something typed for what cannot be undone; raises UsageError.

    ``words`` say what that is, ``of`` what has the name.
    """
    if typed is None and sys.stdin.isatty():
        say(f"{words}, and nothing undoes that. Type the name of the {of} to go on:")
        typed = sys.stdin.readline().strip()
    if typed != name:
        raise UsageError(f"not confirmed: {words}", hint=f"--confirm {name}")
