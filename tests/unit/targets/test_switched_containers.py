"""Containers of an application that is cut over: stopped in order, started in the reverse one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certrotd.clock import ManualClock
from certrotd.config.cutover import CutoverEntry
from certrotd.config.docker import DockerTlsEntry
from certrotd.consumers.application import build
from certrotd.containers.container import Container
from certrotd.containers.engine import Tls, tls_of
from certrotd.containers.switching import SwitchedContainers
from certrotd.errors import Failure, NeedsOperator, Transient
from tests.unit.targets.test_docker import MemoryEngine


def switched(engine: MemoryEngine, *names: str) -> SwitchedContainers:
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    return SwitchedContainers(engine, names or ("web", "db"), 30.0, clock)


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine(Container("web", "running"), Container("db", "running", "healthy"))


def test_containers_are_stopped_and_started_however_often_that_is_asked_for(
    engine: MemoryEngine,
) -> None:
    """By any process; a second time changes nothing."""
    switched(engine).check()
    assert switched(engine).stopped() is False
    for _ in range(2):
        switched(engine).stop()
    assert switched(engine).stopped() is True
    for _ in range(2):
        switched(engine).start()
    assert engine.log == [
        *("web: stop within 15", "db: stop within 15"),
        *("db: start", "web: start"),
    ]
    assert switched(engine).stopped() is False


def test_one_that_does_not_run_or_is_not_there_is_said_before(engine: MemoryEngine) -> None:
    """Nothing is stopped."""
    engine.found["db"] = replace(engine.found["db"], status="paused")
    with pytest.raises(NeedsOperator, match="the container db does not run: it is paused"):
        switched(engine).check()
    with pytest.raises(NeedsOperator, match="no container gone"):
        switched(engine, "gone").check()
    assert engine.log == []


@pytest.mark.parametrize(
    ("then", "error", "said"),
    [
        (lambda each: replace(each, status="exited", exit_code=3), NeedsOperator, "bye"),
        (lambda each: replace(each, health="starting"), Transient, "is running, starting"),
    ],
)
def test_one_that_does_not_come_up_is_a_failure(
    engine: MemoryEngine,
    then: Callable[[Container], Container],
    error: type[Failure],
    said: str,
) -> None:
    """With the last thing that it printed, or what it is."""
    switched(engine, "web").stop()
    engine.then = then
    with pytest.raises(error, match=said):
        switched(engine, "web").start()


def test_one_that_does_not_stop_is_a_failure(engine: MemoryEngine) -> None:
    """Its restart policy may have started it again."""
    engine.then = lambda each: replace(each, status="restarting")
    with pytest.raises(Transient, match="the container web does not stop: it is restarting"):
        switched(engine).stop()


def test_an_engine_is_reached_by_the_files_of_the_entry() -> None:
    """As that of a target; nothing is connected to."""
    files = {"ca": "/etc/ca.pem", "cert": "/etc/cert.pem", "key": "/etc/key.pem"}
    assert tls_of(DockerTlsEntry.model_validate(files)) == Tls(*files.values())
    containers = {"names": ["web"], "host": "tcp://docker.example.test:2376", "tls": files}
    told = {"containers": containers, "probe": {"command": ["/bin/true"]}}
    entry = CutoverEntry.model_validate(told)
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    found = build(entry, clock).switched
    assert isinstance(found, SwitchedContainers)
    assert found.names == ("web",)
