"""Containers that are stopped and started as one application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certrotd.clock import Clock, Deadline
from certrotd.containers.container import Container, crash
from certrotd.containers.engine import Engine
from certrotd.errors import NeedsOperator, Transient

SETTLES = 1.0
"""So many seconds a container without a health check has to run on after its start."""
_OVER = ("created", "exited", "dead")
_PAUSE = 0.2


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
        """As Application.stop; a process that does not end in time is killed."""
        for name in self.names:
            deadline = Deadline(self.clock, self.timeout)
            if self.engine.get(name).status not in _OVER:
                self.engine.stop(name, max(1, int(self.timeout)))
            while (found := self.engine.get(name)).status not in _OVER:
                if deadline.passed:
                    words = f"it is {found.status}"
                    raise Transient(f"the container {name} does not stop: {words}")
                deadline.pause(_PAUSE)

    def start(self) -> None:
        """As Application.start: until each is healthy, or runs on where nothing checks that."""
        for name in reversed(self.names):
            before = self.engine.get(name)
            if not before.is_running:
                self.engine.start(name)
                before = self.engine.get(name)
            self._await(before)

    def stopped(self) -> bool:
        """As Application.stopped."""
        return all(self.engine.get(name).status in _OVER for name in self.names)

    def _await(self, before: Container) -> None:
        deadline = Deadline(self.clock, self.timeout)
        settled = Deadline(self.clock, min(SETTLES, self.timeout))
        while True:
            now = self.engine.get(before.name)
            if (why := crash(before, now)) or now.status in _OVER:
                words = why or f"it is {now.status}"
                said = self.engine.logs(before.name)
                raise NeedsOperator(
                    f"the container {before.name} does not run after its start: {words}"
                    + (f": {said}" if said else ""),
                    hint=f"docker logs {before.name}",
                )
            if now.is_running and now.health in ("", "healthy") and (now.health or settled.passed):
                return
            if deadline.passed:
                raise Transient(f"the container {before.name} is {now.health or now.status} still")
            deadline.pause(_PAUSE)
