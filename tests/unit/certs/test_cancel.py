"""A rotation that waits, cancelled by a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certrotd.cli.reports import report_words
from certrotd.errors import NeedsOperator
from certrotd.rotation.engine import Parked, RolledBack
from tests.unit.acme.scripted import Reply, ScriptedCA
from tests.unit.certs.fetching import Fetching

AWAY = Reply(503, b"", {"Retry-After": str(7 * 86400)})


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Fetching]:
    """A rotation that waits for what the CA does not give out."""
    with ScriptedCA(tmp_path / "ca") as ca:
        case = Fetching(ca, tmp_path)
        ca.on("/certificate", *[AWAY] * 9)
        assert isinstance(case.rotate(forced=True).outcome, Parked)
        yield case


def test_a_rotation_that_waits_is_cancelled_and_recorded(case: Fetching) -> None:
    """Back to where it began; the history and the audit log say who wanted it so."""
    report = case.rotator().cancel(case.world.managed())
    assert isinstance(report.recovered, RolledBack)
    assert report_words(report) == ("cancelled", "nothing was changed")
    assert not report.failed
    assert case.world.disk.journal == b""
    [line] = case.world.managed().history.lines()
    assert (line["failure"], line["failures"]) == ("cancelled by hand", 1)
    assert case.world.audit.events[-2:] == ["rotation.cancelled", "rotation.rolled_back"]


def test_without_a_rotation_in_flight_there_is_nothing_to_cancel(case: Fetching) -> None:
    """It says so, and changes nothing."""
    case.rotator().cancel(case.world.managed())
    report = case.rotator().cancel(case.world.managed())
    assert isinstance(report.failure, NeedsOperator)
    assert "no rotation of certificate/" in str(report.failure)


def test_a_rotation_that_cannot_be_audited_is_not_cancelled(case: Fetching) -> None:
    """As nothing begins that nobody could look up later."""
    case.world.audit.full = True
    report = case.rotator().cancel(case.world.managed())
    assert report.failed
    assert "is not cancelled" in str(report.failure)
    assert case.world.disk.journal != b""
