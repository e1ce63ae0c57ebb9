"""A rotation waits for the CA, for days perhaps: what else must not wait for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.certs.decision import Deploy
from certrotd.certs.rotate import CertificateRotation
from certrotd.cli.reports import report_words
from certrotd.errors import Transient
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.runner import Run
from certrotd.rotation.engine import Finished, Parked, RolledBack
from certrotd.state.lock import NoLease
from tests.fakes.store import Pair
from tests.model import scenarios
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA
from tests.unit.certs.fetching import Fetching
from tests.unit.certs.rotating import Case

HOUR = timedelta(hours=1)
AWAY = Reply(503, b"", {"Retry-After": str(7 * 86400)})


def waiting(case: Case) -> Case:
    """An order waits at the CA, for as long as that asked."""
    report = case.rotate(forced=True)
    assert isinstance(report.outcome, Parked), report
    return case


def harm(case: Case, number: int) -> None:
    """The key of a generation is lost, in every file."""
    shelves = case.world.store.shelves
    shelf = shelves[scenarios.NAME]
    lost = tuple(
        (n, Pair(None, pair.chain) if n == number else pair, known)
        for n, pair, known in shelf.generations
    )
    shelves[scenarios.NAME] = replace(shelf, generations=lost)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Fetching]:
    """Generations 1 and 2 of a CA that does not give out what it issues as the third."""
    with ScriptedCA(tmp_path / "ca") as ca:
        case = Fetching(ca, tmp_path)
        for _ in range(2):
            assert isinstance(case.rotate(forced=True).outcome, Finished)
        case.ca.on("/certificate", *[AWAY] * 9)
        waiting(case)
        assert case.live == 2
        yield case


def test_a_damaged_file_is_restored_while_an_order_waits(case: Fetching) -> None:
    """The order is kept, and this needs no order for it."""
    shelves = case.world.store.shelves
    shelves[scenarios.NAME] = replace(shelves[scenarios.NAME], worn=(2,))
    asked = case.ca.asked("/certificate")
    report = case.rotate(after=HOUR)
    assert isinstance(report.recovered, Parked)
    assert case.world.store.shelf(scenarios.NAME).worn == ()
    assert any("is damaged" in each and "restored" in each for each in case.world.remarks)
    assert case.ca.asked("/certificate") == asked


def test_a_broken_one_is_replaced_by_the_one_before_while_an_order_waits(case: Fetching) -> None:
    """The order is given up, which is said: a week with nothing to serve costs more."""
    harm(case, 2)
    report = case.rotate(after=HOUR)
    assert isinstance(report.recovered, RolledBack)
    assert "given up" in report.recovered.because
    assert isinstance(report.decision, Deploy)
    assert isinstance(report.outcome, Finished)
    assert case.live == 1
    assert "generation 1 is deployed in its place" in report_words(report)[1]


def test_an_order_is_kept_where_nothing_can_take_the_place_of_a_broken_one(case: Fetching) -> None:
    """What it brings is what will."""
    harm(case, 2)
    harm(case, 1)
    report = case.rotate(after=HOUR)
    assert isinstance(report.recovered, Parked)
    assert report.outcome is None
    case.ca.script.clear()
    report = case.rotate(after=8 * HOUR)
    assert isinstance(report.recovered, Finished)
    assert case.live == 3


def test_an_intact_live_generation_lets_an_order_wait(case: Fetching) -> None:
    """The control."""
    assert isinstance(case.rotate(after=HOUR).recovered, Parked)
    assert (case.live, case.world.remarks) == (2, [])


def test_a_mended_configuration_does_not_wait_for_what_a_parked_order_waits_for(
    case: Fetching,
) -> None:
    """Once for each change: what it waits for may be what was changed."""
    mended = replace(case.world.managed(), configuration=lambda: "mended")
    asked = case.ca.asked("/certificate")
    case.clock.advance(HOUR)
    for _ in range(2):
        assert isinstance(case.rotator().rotate(mended).recovered, Parked)
    assert case.ca.asked("/certificate") == asked + 1
    case.ca.script.clear()
    again = replace(mended, configuration=lambda: "mended again")
    assert isinstance(case.rotator().rotate(again).recovered, Finished)
    assert case.live == 3


def test_names_that_are_configured_otherwise_do_not_wait_for_a_parked_order(
    case: Fetching,
) -> None:
    """Nobody wants it any more: it is given up, and the next run orders what is asked for now."""
    case.world.otherwise["wants"] = lambda _issuer, _names: False
    mended = replace(case.world.managed(), configuration=lambda: "other names")
    case.clock.advance(HOUR)
    report = case.rotator().rotate(mended)
    assert isinstance(report.recovered, RolledBack)
    assert "changed, so certrotd" in report.recovered.because
    assert NAME in case.world.policy.names


def test_old_generations_are_left_alone_while_the_live_one_is_broken() -> None:
    """Tidying up is tried again for a day, but not while nothing can be served."""
    case = Case("renewal")
    case.policy(keep=0)
    case.trouble.refuse["store: move to the trash"] = 10**6
    assert isinstance(case.rotate().outcome, Parked)
    assert isinstance(case.rotate(after=HOUR).recovered, Parked), "the control"
    harm(case, 3)
    report = case.rotate(after=HOUR)
    assert isinstance(report.recovered, Finished)
    assert "generation 2 is deployed in its place" in report_words(report)[1]
    assert case.live == 2


def test_a_rotation_is_only_given_up_before_anything_is_issued() -> None:
    """What is committed stays, and of nothing there is nothing to undo."""
    case = Case("renewal")
    case.policy(keep=0)
    case.trouble.refuse["store: move to the trash"] = 10**6
    case.rotate()
    managed = case.world.managed()
    rotation = CertificateRotation(managed)
    run = Run(case.rotator().runner, rotation, Asked(), NoLease(), lambda _event: None)
    engine = run.engine()
    assert engine.in_flight() is not None
    assert engine.give_up(Transient("why")) is None
    assert engine.in_flight() is not None
    assert case.live == 3


def test_a_pair_that_somebody_else_put_there_is_left_to_the_rotation_after_the_wait(
    case: Fetching,
) -> None:
    """Its targets have to be told of it, and proven to serve it."""
    shelves = case.world.store.shelves
    shelf = shelves[scenarios.NAME]
    taken = tuple(
        (n, pair, replace(known, origin="adopted") if n == 2 else known)
        for n, pair, known in shelf.generations
    )
    shelves[scenarios.NAME] = replace(shelf, generations=taken, worn=(2,))
    assert isinstance(case.rotate(after=HOUR).recovered, Parked)
    assert case.world.store.shelf(scenarios.NAME).worn == (2,)
