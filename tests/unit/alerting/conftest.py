"""What the tests of alerts share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certrotd.config.notifications import Notification
from tests.unit.alerting.alerting_bench import Bench, entry


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes one, and closes it."""
    made: list[Bench] = []

    def make(**entries: Notification) -> Bench:
        made.append(Bench(tmp_path, **(entries or {"ops": entry()})))
        return made[-1]

    yield make
    for observer in [observer for each in made for observer in each.started]:
        observer.close()
