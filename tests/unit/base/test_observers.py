"""Many watch, and none of them is in the way."""

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.certs.limits.sliding_windows import Over
from certrotd.certs.policy import id_of
from certrotd.errors import Failure
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.report import Report
from certrotd.observers import Observer, Observers
from certrotd.rotation.engine import Event
from certrotd.scheduling.clock_trust import SOUND

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CALLS: dict[str, tuple[object, ...]] = {
    "configured": (["web"], []),
    "ticked": (NOW, 1),
    "clock": (SOUND, timedelta(days=1)),
    "looked": (object(),),
    "postponed": ("web", Over("orders", NOW, "orders")),
    "began": ("web", "due"),
    "stepped": (Event("id", "certificate/web", "done", 0, 1),),
    "asked_service": ("web", "le", Failure("away")),
    "ended": (Report(id_of("web")),),
    "trouble": ("web", Failure("no")),
    "changed": ("web",),
    "calmed": ("web",),
    "audit_damaged": ("cut",),
    "remarked": ("kept aside",),
    "watched": (Watched("files", "web", NOW),),
    "unwatched": ("files of certificate/web",),
    "reloading": (),
    "reloaded": (1,),
    "refused": (["no"],),
    "stopping": (["web"],),
    "stopped": ([],),
}


class Everything(Observer):
    """Keeps what it hears, whatever it is."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[object, ...]]] = []

    def __getattribute__(self, name: str) -> object:
        if name in CALLS:
            return lambda *values: self.heard.append((name, values))
        return super().__getattribute__(name)


class Broken(Observer):
    """Has a defect."""

    def ended(self, report: Report) -> None:
        raise ZeroDivisionError(report.subject.name)


def test_the_test_covers_every_event_of_the_observer() -> None:
    """The list of this test is the list of the class."""
    assert {name for name in vars(Observer) if not name.startswith("_")} == set(CALLS)


@pytest.mark.parametrize("what", CALLS)
def test_everybody_hears_everything(what: str) -> None:
    """A log without what the metrics know, or the reverse, misleads."""
    first, second, complaints = Everything(), Everything(), list[str]()
    getattr(Observers([first, Observer(), second], complaints.append), what)(*CALLS[what])
    assert first.heard == second.heard == [(what, CALLS[what])]
    assert complaints == []


def test_a_defect_of_one_is_reported_and_the_others_hear_all_the_same() -> None:
    """What only watches must not stop what it watches."""
    last, complaints = Everything(), list[str]()
    Observers([Broken(), last], complaints.append).ended(Report(id_of("web")))
    assert len(last.heard) == 1
    assert len(complaints) == 1
    assert "unexpected ZeroDivisionError: web at " in complaints[0]
