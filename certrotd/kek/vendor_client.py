"""Clients of the vendors' SDKs: one for each process, and none that logs what it is given."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any


class VendorClient:
    """Makes a client when it is first needed, and another one in a process that was forked since.

    Two processes on one connection would read each other's answers.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: tuple[int, Any] | None = None

    def get(self, make: Callable[[], Any]) -> Any:
        """What ``make`` made in this process; raises what it does."""
        made = self._made
        if made is None or made[0] != os.getpid():
            made = self._made = (os.getpid(), make())
        return made[1]

    def __repr__(self) -> str:
        return "<client>"


def hush(*loggers: str) -> None:
    """Keep SDKs from logging requests: in an application that logs everything, keys are in them."""
    for name in loggers:
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
