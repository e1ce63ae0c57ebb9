"""What becomes of open keyrings when the process forks or ends."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What is told of it; none of it may raise or wait for long."""

    def _before_fork(self) -> None: ...

    def _after_fork_in_parent(self) -> None: ...

    def _after_fork_in_child(self) -> None: ...

    def close(self) -> None: ...


_open: weakref.WeakSet[Forked] = weakref.WeakSet()


def register(keyring: Forked) -> None:
    """From now on ``keyring`` is told of forks, and closed when the process ends."""
    _open.add(keyring)


def unregister(keyring: Forked) -> None:
    """It is closed."""
    _open.discard(keyring)


def _before() -> None:
    for each in list(_open):
        each._before_fork()


def _in_parent() -> None:
    for each in list(_open):
        each._after_fork_in_parent()


def _in_child() -> None:
    for each in list(_open):
        each._after_fork_in_child()


def _at_exit() -> None:
    for each in list(_open):
        each.close()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
atexit.register(_at_exit)
