"""The surroundings of every test here."""

from collections.abc import Iterator

import pytest

from tests.parts import surroundings


@pytest.fixture(autouse=True, scope="module")
def usual_surroundings() -> Iterator[None]:
    """The same on every machine."""
    with surroundings.usual():
        yield
