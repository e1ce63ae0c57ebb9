"""Tiers by directory, and factories of the real servers."""

import gc
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.longest import function, listed
from tests.parts import Bind, Nginx, Parts, Pebble, Resolver, StepCA, locate, surroundings
from tests.parts.kubernetes import ControlPlane
from tests.parts.systemctl import Systemctl

_TESTS = Path(__file__).parent
_LONGEST_FIRST = ("systemd", "cluster", "crash", "model", "integration", "contract", "unit")
_UNDIVIDED = {"crash", "systemd", "cluster"}

# The same examples in every run, so that a failure belongs to the change it is seen with, however
# slow the machine. `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--quick``, as ``scripts/test fast`` asks for it."""
    parser.addoption("--quick", action="store_true", help="leave out what tests/long.txt lists")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects tests without looking for garbage: that took half of the time.

    Modules and tests stay to the end, so that no later look need go through them either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks each test with its tier; for several workers, what takes long comes first.

    What is begun last is short then, and no worker waits long for the others.
    """
    for item in items:
        relative = item.path.relative_to(_TESTS)
        if relative.parts[0] not in _LONGEST_FIRST:
            raise pytest.UsageError(f"{relative}: a test lives in one of {_LONGEST_FIRST}")
        item.add_marker(relative.parts[0])
    if config.getoption("quick"):
        long = listed()
        config.hook.pytest_deselected(
            items=[item for item in items if function(item.nodeid) in long]
        )
        items[:] = [item for item in items if function(item.nodeid) not in long]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _LONGEST_FIRST.index(item.path.relative_to(_TESTS).parts[0]))


class _ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a module to one worker, which shares its servers, and some tiers as a whole to one.

    Tests of the model share nothing, and some take minutes: each goes to whoever is free.
    Crash tests run one at a time: they count system calls and fill disks. Those of systemd share
    one machine, and those of the cluster one node. xdist's own `loadgroup` would do, but spreads
    groups without a word from pytest 9.2 on (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        tier = module.split("/")[1]
        if tier == "model":
            return str(nodeid)
        return tier if tier in _UNDIVIDED else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByModule:
    """Distributes a parallel run's tests, in the order they were sorted in."""
    config.option.loadscopereorder = False
    return _ByModule(config, log)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Starts real servers that live as long as the test."""
    with ExitStack() as stack:
        yield Parts(tmp_path / "parts", stack)


@pytest.fixture(scope="module")
def module_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """Starts real servers that live as long as the module's tests."""
    with ExitStack() as stack:
        yield Parts(tmp_path_factory.mktemp("parts"), stack)


@pytest.fixture
def pebble(parts: Parts) -> Callable[..., Pebble]:
    """Starts a Pebble: `pebble(dns=bind.server, …)`."""
    locate.require("pebble")
    return parts.starter(Pebble)


@pytest.fixture
def stepca(parts: Parts) -> Callable[..., StepCA]:
    """Starts a step-ca: `stepca(resolver=bind.server, …)`."""
    locate.require("step-ca")
    return parts.starter(StepCA)


@pytest.fixture
def bind(parts: Parts) -> Callable[..., Bind]:
    """Starts an authoritative BIND: `bind(zones=…, …)`."""
    locate.require("named")
    return parts.starter(Bind)


@pytest.fixture
def resolver(parts: Parts) -> Callable[..., Resolver]:
    """Starts a recursive BIND: `resolver(authoritative=[bind])`."""
    locate.require("named")
    return parts.starter(Resolver)


@pytest.fixture
def nginx(parts: Parts) -> Callable[..., Nginx]:
    """Starts an nginx: `nginx({"a.example.test": (certificate, key)})`."""
    locate.require("nginx")
    return parts.starter(Nginx)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A Kubernetes API server that a worker's tests share; `parts.start(ControlPlane)` is another.

    A test makes a namespace of its own in it, and does the server itself no harm.
    """
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    with surroundings.usual():
        plane.start()
    yield plane
    plane.stop()


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemctl]:
    """A systemctl of the test's own, first on PATH; it knows no unit yet."""
    directory = tmp_path / "systemctl"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    with Systemctl(directory) as played:
        yield played


@pytest.fixture
def strace() -> Path:
    """Where strace is."""
    return locate.require("strace")


@pytest.fixture
def faketime() -> Path:
    """Where faketime is."""
    return locate.require("faketime")


@pytest.fixture
def as_root() -> None:
    """Says that a test needs root."""
    locate.require_root()
