"""Who follows another comes after it, whoever asks and however slow that one is."""

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from certrotd.id import Id
from certrotd.lifecycle.decision import DAEMON
from certrotd.lifecycle.inventory import Inventory
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.wing import Wing

SLOW = 0.2
STEADY = cast("Runner", SimpleNamespace(stopping=lambda: False))


@dataclass
class Leader:
    """A subject that takes a while."""

    id: Id
    log: list[str]

    def rotate(self, runner: Any, asked: Any) -> Report:
        time.sleep(SLOW)
        self.log.append(self.id.name)
        return Report(self.id)


@dataclass
class Follower(Leader):
    """A subject that follows one, and is quick."""

    @property
    def after(self) -> Id:
        return Id("certificate", "web")

    def rotate(self, runner: Any, asked: Any) -> Report:
        self.log.append(self.id.name)
        return Report(self.id)


def inventory(log: list[str]) -> Inventory:
    """Two certificates, and a host that gets one of them."""
    leaders = [Leader(Id("certificate", name), log) for name in ("web", "mail")]
    follower = Follower(Id("delivery", "web.edge"), log)

    def wing(kind: str, subjects: list[Any]) -> Wing:
        found = SimpleNamespace(
            kind=kind, slots=2, subjects=subjects, prepare=lambda _r: None, covering=lambda _n: ()
        )
        return cast("Wing", found)

    return Inventory([wing("certificate", leaders), wing("delivery", [follower])])


def test_a_follower_is_rotated_once_the_other_is() -> None:
    """Also where it stands first in the list, and there is room for both."""
    log: list[str] = []
    every = inventory(log)
    chosen = cast("list[Subject]", [*reversed(list(every.subjects))])
    reports = list(every.rotate(chosen, STEADY, DAEMON))
    assert len(reports) == 3
    assert log.index("web.edge") > log.index("web")


def test_a_follower_alone_waits_for_nobody() -> None:
    """Somebody asked for it by its name."""
    log: list[str] = []
    every = inventory(log)
    list(every.rotate(every.chosen(["web.edge"]), STEADY, DAEMON))
    assert log == ["web.edge"]


def test_whoever_asks_for_one_gets_its_followers_too() -> None:
    """Each once."""
    every = inventory([])
    names = [each.id.name for each in every.with_followers(every.chosen(["web"]))]
    assert names == ["web", "web.edge"]
    assert [each.id.name for each in every.with_followers(every.chosen(["mail"]))] == ["mail"]
    assert len(every.with_followers(every.chosen([]))) == 3
