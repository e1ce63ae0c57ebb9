"""One certificate to rotate in a world in memory, where single things go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar, cast

from certrotd.certs.policy import Policy
from certrotd.clock import ManualClock
from certrotd.lifecycle.report import Report
from tests.fakes.chance import Refused
from tests.fakes.rotator import Rotator
from tests.fakes.world import MemoryWorld
from tests.model import scenarios

T = TypeVar("T")


@dataclass
class Trouble:
    """A chance by which what is named is refused so many times, and everything is written down."""

    refuse: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    then: dict[str, Callable[[], object]] = field(default_factory=dict)

    def look(self, what: str) -> None:
        self._ask(what)

    def act(self, what: str, effect: Callable[[], T]) -> T:
        self._ask(what)
        result = effect()
        self.then.pop(what, lambda: None)()
        return result

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        self._ask(what)
        effect(1.0)
        self.then.pop(what, lambda: None)()

    def _ask(self, what: str) -> None:
        self.log.append(what)
        if self.refuse.get(what, 0) > 0:
            self.refuse[what] -= 1
            raise Refused(what)


class Case:
    """A scenario of the model with a trouble of one's own."""

    def __init__(self, scenario: str) -> None:
        self.world: MemoryWorld = scenarios.ALL[scenario]().world
        self.trouble = Trouble()
        self.world.use(self.trouble)
        self.clock = cast("ManualClock", self.world.clock)
        self.told_to_stop = False
        self.ids = 0

    def policy(self, **changes: object) -> Policy:
        """Change what is asked of the certificate."""
        self.world.policy = replace(self.world.policy, **changes)  # type: ignore[arg-type]
        return self.world.policy

    def rotator(self) -> Rotator:
        """That of a new process."""
        return self.world.rotator(new_id=self._id, stopping=lambda: self.told_to_stop)

    def rotate(self, *, after: timedelta = timedelta(), **how: bool) -> Report:
        """One run, some time later."""
        self.clock.advance(after)
        return self.rotator().rotate(self.world.managed(), **how)

    def rollback(self, to: int | None = None) -> Report:
        """A rollback by hand."""
        return self.rotator().rollback(self.world.managed(), to=to)

    def serves(self) -> set[str | None]:
        """What the targets serve."""
        return {target.serves for target in self.world.targets.values()}

    @property
    def live(self) -> int | None:
        """The live generation."""
        return self.world.store.shelf(scenarios.NAME).live

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"
