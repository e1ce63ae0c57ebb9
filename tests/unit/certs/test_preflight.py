"""What can be told before an order is told then: afterwards it would cost a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from certrotd.certs.preflight import PreflightStep
from certrotd.certs.world import Bound, World
from certrotd.errors import Failure, NeedsOperator
from certrotd.observe.tls import Endpoint
from certrotd.pki.generation import Checked
from certrotd.rotation.engine import Finished, RolledBack
from tests.fakes.prober import MemoryProber
from tests.unit.certs.rotating import Case


@dataclass
class Asked:
    """A target that notes what it is asked, and is not there in ``lacks``."""

    lacks: Sequence[str] = ()
    asked: list[str] = field(default_factory=list)

    def precheck(self) -> None:
        self._ask("precheck")

    def check(self) -> None:
        self._ask("check")

    def apply(self) -> None:
        self._ask("apply")

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.lacks:
            raise NeedsOperator("there is no program reload-it")


class Plain:
    """A target without the power to tell anything early."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self) -> None:
        self.asked.append("check")

    def apply(self) -> None:
        self.asked.append("apply")


def first_with(target: Any) -> Case:
    """A first certificate for a target, or for one that cannot be built for a Failure."""
    case = Case("first_issuance")
    case.policy(waves=(("web",),))

    def bound(_name: str) -> Bound:
        if isinstance(target, Exception):
            raise target
        return Bound(target, ())

    case.world.otherwise["target"] = bound
    return case


def test_a_target_that_cannot_be_built_costs_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its secret is not there, say: that shows before the first certificate too."""
    missing = NeedsOperator("/run/secrets/token: no such file")
    case = first_with(missing)
    report = case.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert (report.outcome.step, report.outcome.because) == ("preflight", str(missing))
    assert not case.world.issuer.orders


def test_a_program_that_is_missing_costs_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would not before the second certificate."""
    case = first_with(Asked(lacks=["precheck"]))
    report = case.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert report.outcome.because == "there is no program reload-it"
    assert not case.world.issuer.orders


@pytest.mark.parametrize("make", [Asked, Plain])
def test_before_the_first_certificate_no_target_is_checked(
    make: type[Asked | Plain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx -t fails until the files are there that it is told to read."""
    target = make()
    case = first_with(target)
    assert isinstance(case.rotate().outcome, Finished)
    assert target.asked == (["precheck", "apply"] if make is Asked else ["apply"])


def test_after_the_first_certificate_every_target_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: its files are there, and it must be content with them."""
    target = Asked()
    case = first_with(target)
    case.rotate()
    target.lacks = ["check"]
    report = case.rotate(forced=True)
    assert isinstance(report.outcome, RolledBack)
    assert report.outcome.step == "preflight"
    assert len(case.world.issuer.orders) == 1


def world_of(case: Case) -> World:
    """What the case's next rotation acts on."""
    return case.world.managed().world()


def test_every_problem_is_found_in_one_look() -> None:
    """The store, the CA and each target: whoever mends one need not meet the next."""
    case = first_with(Asked(lacks=["precheck"]))
    case.trouble.refuse = {"store: check the store": 1}
    lost = NeedsOperator("the CA is away")
    case.world.otherwise["unready"] = lambda *_asked, ask: [lost] if ask else []
    step = PreflightStep("ca", ("a.example.test",), None, ("web", "web"))
    problems = [str(each) for each in step.problems(world_of(case))]
    assert len(problems) == 4
    assert problems[1:] == ["there is no program reload-it"] * 2 + ["the CA is away"]


def test_a_certificate_that_is_not_due_is_checked_without_contacting_anybody() -> None:
    """Neither the service nor the CA hears of it; that a program is gone shows all the same."""
    target = Asked()
    case = first_with(target)
    case.rotate()
    asked: list[bool] = []

    def unready(*_asked: object, ask: bool) -> list[Failure]:
        asked.append(ask)
        return []

    case.world.otherwise["unready"] = unready
    target.asked.clear()
    step = PreflightStep("ca", ("a.example.test",), None, ("web",))
    assert list(step.problems(world_of(case), due=False)) == []
    assert (target.asked, asked) == (["precheck"], [False])


@pytest.mark.parametrize("own", [False, True])
def test_roots_that_cannot_be_read_cost_no_order(own: bool) -> None:
    """They were found by the proof, after the order and the swap; also where a target proves."""
    case = first_with(Asked())
    unread = NeedsOperator("the file of roots /r holds no certificate in PEM")

    class Prober(MemoryProber):
        def check(self, endpoint: Endpoint) -> None:
            raise unread

    endpoint = Endpoint("web", 443, "a.example.test", roots="/r")
    bound = Bound(Asked(), (), (endpoint,)) if own else Bound(Asked(), (endpoint,))
    case.world.otherwise["target"] = lambda _name: bound
    case.world.otherwise["prober"] = Prober({}, case.clock)
    report = case.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert (report.outcome.step, report.outcome.because) == ("preflight", str(unread))
    assert not case.world.issuer.orders


@dataclass
class Warned(Asked):
    """A target that warns, unless it ``lacks`` even that."""

    def checked(self) -> Checked:
        self.check()
        return Checked(["deployment/web has one replica"])


@pytest.mark.parametrize(
    ("lacks", "asked", "remarks"),
    [
        ((), ["check"], ["target web: deployment/web has one replica"]),
        (("check",), ["check"], []),
    ],
)
def test_what_a_target_warns_of_is_remarked_and_stops_nothing(
    lacks: Sequence[str], asked: list[str], remarks: list[str]
) -> None:
    """Where it is refused, there is nothing to warn of."""
    target = Warned()
    case = first_with(target)
    case.rotate()
    target.lacks, target.asked = lacks, []
    report = case.rotate(forced=True)
    assert isinstance(report.outcome, RolledBack if lacks else Finished)
    assert target.asked[: len(asked)] == asked
    assert case.world.remarks == remarks
