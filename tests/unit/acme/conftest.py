"""The scripted CA as a fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.acme.scripted import ScriptedCA


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[ScriptedCA]:
    """A CA that behaves unless told otherwise."""
    with ScriptedCA(tmp_path / "ca") as server:
        yield server
