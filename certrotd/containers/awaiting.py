"""Waiting until a container works, after it was told something or started."""

from __future__ import annotations

from contextlib import suppress

from certrotd.clock import Clock, Deadline
from certrotd.containers.container import Container, crash, loops
from certrotd.containers.engine import Engine
from certrotd.errors import Failure, NeedsOperator, Transient

SETTLES = 1.0
"""So many seconds a container without a health check has to run on."""
PAUSE = 0.2


def settled(engine: Engine, found: Container, clock: Clock) -> Container | None:
    """One that is started again and again, once it runs on; None if it ends before. As get()."""
    while loops(found, clock.now().timestamp()):
        if not found.is_running:
            return None
        clock.sleep(PAUSE)
        found = engine.get(found.name)
    return found if found.is_running else None


def await_working(
    engine: Engine, before: Container, *, since: str, timeout: float, clock: Clock
) -> None:
    """Return once it is healthy, or has run on for a while where nothing checks that.

    ``since`` is what was done to it, ``timeout`` in seconds. Raises NeedsOperator with the last
    line it printed as soon as it does not work, Transient at the deadline, and as Engine.get().
    """
    deadline = Deadline(clock, timeout)
    settled = Deadline(clock, min(SETTLES, timeout))
    while True:
        now = engine.get(before.name)
        if why := crash(before, now):
            said = ""
            with suppress(Failure):  # one that is being removed says nothing any more
                said = engine.logs(before.name)
            raise NeedsOperator(
                f"the container {before.name} does not work since it was {since}: {why}"
                + (f": {said}" if said else ""),
                hint=f"docker logs {before.name}",
            )
        if now.is_running and now.health in ("", "healthy") and (now.health or settled.passed):
            return
        if deadline.passed:
            state = f"{now.status}, {now.health}" if now.health else now.status
            raise Transient(
                f"the container {before.name} does not run well within {timeout:g} s: it is "
                f"{state}",
                hint=f"docker inspect {before.name}",
            )
        deadline.pause(PAUSE)
