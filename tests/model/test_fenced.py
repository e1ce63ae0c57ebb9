"""A rotation whose lock is lost, as a lease in a cluster can be, at every point of it."""

import pytest

from tests.fakes.journal import LateJournal
from tests.model.explore import Explorer
from tests.model.scenarios import ALL, deterministic


@pytest.mark.parametrize("name", ALL)
def test_who_lost_the_lock_writes_nothing_more_and_the_next_holder_ends_it(name: str) -> None:
    """Not even to undo: another process is at work there already."""
    with deterministic():
        points = Explorer(ALL[name]()).lose_the_lock()
    assert points > 20


@pytest.mark.parametrize("name", ["renewal", "rollback"])
def test_records_that_wait_in_memory_are_dropped_with_the_lock(name: str) -> None:
    """They would be written over those of the new holder."""
    with deterministic():
        scenario = ALL[name]()
        scenario.world.journals = LateJournal
        assert Explorer(scenario).lose_the_lock() > 20
