"""What answers others while the daemon runs: begun, replaced and ended with the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from certrotd.daemon.services import Services
from certrotd.errors import Failure, NeedsOperator
from certrotd.id import Id
from certrotd.observers import Observer


@dataclass
class Answering:
    """A service that writes down what becomes of it; ``broken`` is why it cannot begin."""

    name: str = "it"
    broken: Exception | None = None
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.calls.append("start")
        if self.broken is not None:
            raise self.broken

    def close(self) -> None:
        self.calls.append("close")


@dataclass
class Serving:
    """The part of a wing that is asked for its service."""

    kind: str
    service: Answering | None = None
    broken: Exception | None = None

    def serve(self, report: Callable[[str], None]) -> Answering | None:
        report(f"{self.kind} is asked")
        if self.broken is not None:
            raise self.broken
        return self.service


@dataclass
class Told(Observer):
    """What is wrong now, by what it is about."""

    wrong: dict[str, Failure] = field(default_factory=dict)

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self.wrong[str(what)] = failure

    def calmed(self, what: Id | str) -> None:
        self.wrong.pop(str(what), None)


def used(services: Services, *wings: Any) -> None:
    services.use(wings)


def test_each_wing_that_has_a_service_is_served_until_the_end() -> None:
    """One that has none is no trouble, and what goes wrong meanwhile can be reported."""
    told, lines, service = Told(), list[str](), Answering()
    services = Services(told, lines.append)
    used(services, Serving("certificate"), Serving("key", service))
    assert service.calls == ["start"]
    assert lines == ["certificate is asked", "key is asked"]
    services.close()
    services.close()
    assert service.calls == ["start", "close"]
    assert told.wrong == {}


def test_another_configuration_ends_those_of_before() -> None:
    """The old one lets go of its socket before the new one takes it."""
    calls: list[str] = []
    old, new = Answering(calls=calls), Answering(calls=calls)
    services = Services(Told(), lambda _line: None)
    used(services, Serving("key", old))
    used(services, Serving("key", new))
    assert calls == ["start", "close", "start"]


@pytest.mark.parametrize(
    "broken",
    [NeedsOperator("the directory is not ours"), OSError(13, "denied"), ZeroDivisionError("?")],
)
@pytest.mark.parametrize("where", ["serve", "start"])
def test_one_that_cannot_begin_is_reported_and_stops_no_other(
    broken: Exception, where: str
) -> None:
    """Whatever it is; once it begins, or is configured no more, the trouble is over."""
    told, other = Told(), Answering()
    services = Services(told, lambda _line: None)
    bad = Serving("key", Answering(broken=broken))
    if where == "serve":
        bad = Serving("key", broken=broken)
    used(services, bad, Serving("token", other))
    assert set(told.wrong) == {"the service of key"}
    assert other.calls == ["start"]
    used(services, Serving("key", Answering()), Serving("token", other))
    assert told.wrong == {}
    used(services, bad)
    assert set(told.wrong) == {"the service of key"}
    used(services, Serving("key"))
    assert told.wrong == {}, "nobody wants it any more"
    services.close()
