"""One machine for the whole tier; each test finds it as it was after the installation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import locate
from tests.parts.docker import Docker
from tests.systemd.machine import Machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the machine as well, and for what its installation downloads."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    locate.require_root()
    with Docker() as docker:
        machine = Machine(docker, "machine", tmp_path_factory.mktemp("machine"))
        machine.boot()
        machine.install()
        yield machine


@pytest.fixture
def machine(_machine: Machine, tmp_path: Path) -> Machine:
    """A machine with certrotd installed and nothing configured, nginx and Pebble running."""
    _machine.reset()
    return _machine
