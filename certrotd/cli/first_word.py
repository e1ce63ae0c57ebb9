"""The command among the arguments, before anything that parses them is loaded."""

from __future__ import annotations


def first_word(arguments: list[str]) -> str | None:
    """The first argument that is no option: before a command stands nothing but ``--config``."""
    rest = iter(arguments)
    for each in rest:
        if each in ("-c", "--config"):
            next(rest, None)
        elif not each.startswith("-"):
            return each
    return None
