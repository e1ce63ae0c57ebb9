"""Whoever listens to a rotation is no step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certrotd.errors import Failure
from certrotd.rotation.outcome import Event
from certrotd.rotation.unexpected import as_failure


@dataclass
class Heard:
    """A listener that never raises into the engine; ``trouble`` is the first that it had."""

    listen: Callable[[Event], None]
    trouble: Failure | None = None

    def __call__(self, event: Event) -> None:
        try:
            self.listen(event)
        except Exception as error:  # noqa: BLE001  # the rotation goes on; its end reports it
            self.trouble = self.trouble or as_failure(error, "show how the rotation goes on")
