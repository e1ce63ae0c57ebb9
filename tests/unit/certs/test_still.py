"""Files in use are replaced only while no target of theirs is told to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import TypeVar

import pytest

from certrotd.rotation.engine import Finished, RolledBack
from tests.fakes.chance import Refused
from tests.model import scenarios

T = TypeVar("T")
IN_USE = ("store: switch", "installer: install the", "installer: restore the")


class Watched:
    """A chance that notes what is done to files in use, and whether the targets were still."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.still = False
        self.seen: list[tuple[str, bool]] = []

    def look(self, what: str) -> None:
        """As Chance.look."""

    def act(self, what: str, effect: Callable[[], T]) -> T:
        """As Chance.act."""
        self._note(what)
        return effect()

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        """As Chance.write."""
        self._note(what)
        effect(1.0)

    def _note(self, what: str) -> None:
        if self.refused and self.refused in what:
            self.refused = ""
            raise Refused(what)
        self.seen.append((what, self.still))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """As World.still."""
        self.still = True
        yield
        self.still = False


@pytest.mark.parametrize("refused", ["", "web: apply"])
def test_files_in_use_change_only_while_their_targets_are_still(refused: str) -> None:
    """Forward and on the way back: a service reads them for other certificates too."""
    world = scenarios.ALL["deployment"]().world
    chance = Watched(refused)
    world.use(chance)
    managed = world.managed()
    ids = count()
    rotator = world.rotator(new_id=lambda: f"r{next(ids)}")
    make = managed.world
    report = rotator.rotate(
        replace(managed, world=lambda: replace(make(), still=chance.quiet)), by_hand=True
    )
    assert isinstance(report.outcome, RolledBack if refused else Finished)
    changes = {what: still for what, still in chance.seen if what.startswith(IN_USE)}
    assert len(changes) == (5 if refused else 3)
    assert all(changes.values())
    assert not any(still for what, still in chance.seen if what.endswith(": apply"))
