"""A process that ends in the middle of what it does to the disk."""

import os
from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """The process has ended; nothing catches it."""


CALLS = (
    "open",
    "write",
    "fsync",
    "fchmod",
    "mkdir",
    "chmod",
    "rename",
    "unlink",
    "symlink",
    "rmdir",
)


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int, *, after: bool) -> list[str]:
    """Ends the process before or after the ``moment``-th change to the disk from now on.

    Gives back the calls that were made. A write that is cut off wrote half.
    """
    made: list[str] = []

    def watch(name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            last = len(made) == moment
            made.append(name)
            if last and not after:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                raise Killed
            result = real(*args, **options)
            if last:
                raise Killed
            return result

        monkeypatch.setattr(os, name, call)

    for name in CALLS:
        watch(name)
    return made


def crash(act: Callable[[], None], moment: int, *, after: bool) -> bool:
    """Run ``act`` in a process that ends at ``moment``; whether it did, or ``act`` was through."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(monkeypatch, moment, after=after)
        try:
            act()
        except Killed:
            return True
    return False
