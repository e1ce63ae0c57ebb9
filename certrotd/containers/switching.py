"""Containers that are stopped and started as one application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certrotd.clock import Clock, Deadline
from certrotd.containers.awaiting import PAUSE, await_working
from certrotd.containers.engine import Engine
from certrotd.errors import NeedsOperator, Transient

_OVER = ("created", "exited", "dead")


@dataclass(frozen=True)
class SwitchedContainers:
    """Switched, by an engine: ``names`` are stopped in this order, each in ``timeout`` s."""

    engine: Engine
    names: Sequence[str]
    timeout: float
    clock: Clock

    def check(self) -> None:
        """As Application.check."""
        for name in self.names:
            found = self.engine.get(name)
            if not found.is_running:
                raise NeedsOperator(
                    f"the container {name} does not run: it is {found.status}",
                    hint=f"docker start {name}",
                )

    def stop(self) -> None:
        """As Application.stop; a process that does not end in half of the time is killed."""
        for name in self.names:
            deadline = Deadline(self.clock, self.timeout)
            if self.engine.get(name).status not in _OVER:
                self.engine.stop(name, max(1, int(self.timeout / 2)))
            while (found := self.engine.get(name)).status not in _OVER:
                if deadline.passed:
                    words = f"it is {found.status}"
                    raise Transient(f"the container {name} does not stop: {words}")
                deadline.pause(PAUSE)

    def start(self) -> None:
        """As Application.start: until each is healthy, or runs on where nothing checks that."""
        for name in reversed(self.names):
            before = self.engine.get(name)
            if not before.is_running:
                self.engine.start(name)
                before = self.engine.get(name)
            await_working(
                self.engine, before, since="started", timeout=self.timeout, clock=self.clock
            )

    def stopped(self) -> bool:
        """As Application.stopped."""
        return all(self.engine.get(name).status in _OVER for name in self.names)
