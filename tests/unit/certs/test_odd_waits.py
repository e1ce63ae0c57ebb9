"""Whatever a busy CA says of when to come again, the failure is in the history with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from certrotd.lifecycle.decision import Postpone
from certrotd.rotation.engine import RolledBack
from tests.unit.acme.scripted import Reply, ScriptedCA
from tests.unit.certs.fetching import Fetching

PAST = format_datetime(datetime.now(UTC) - timedelta(seconds=1), usegmt=True)
ODD = {
    "zero": "0",
    "a date just past": PAST,
    "year one": "Mon, 01 Jan 0001 00:00:00 GMT",
    "below zero": "-5",
    "less than a second": "0.5",
    "huge": "9" * 200,
    "not ASCII": "\xb2\xbc",
    "two": "60, 120",
    "two dates": f"{PAST}, {PAST}",
    "empty": "",
    "words": "tomorrow",
    "the last year": "Fri, 31 Dec 9999 23:59:59 -2359",
}


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Fetching]:
    """A certificate that is due."""
    with ScriptedCA(tmp_path / "ca") as ca:
        yield Fetching(ca, tmp_path)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("path", ["/orders", "/directory", "/account", "/authz", "/certificate"])
def test_a_busy_ca_with_an_odd_retry_after_is_a_failure_with_its_reason(
    case: Fetching, value: str, status: int, path: str
) -> None:
    """With 0 the rotation stayed in flight: "timedelta is not JSON serializable"."""
    case.ca.on(path, *[Reply(status, b"", {"Retry-After": value})] * 9)
    report = case.rotate()
    said = f"HTTP status {status} without an explanation"
    if path == "/certificate":  # issued: the order is kept, and its certificate fetched later
        assert said in str(report.outcome)
    else:
        assert isinstance(report.outcome, RolledBack)
        assert said in report.outcome.because
        [line] = case.world.managed().journal.history.lines()
        assert said in line["failure"]


def test_a_wait_that_is_named_is_kept_to(case: Fetching) -> None:
    """The negative control: of two waits the longer one."""
    case.ca.on("/orders", *[Reply(429, b"", {"Retry-After": "6000, 7200"})] * 9)
    case.rotate()
    report = case.rotate(after=timedelta(minutes=110), by_hand=True)
    assert isinstance(report.decision, Postpone)
    assert report.decision.why == "the CA asked to wait"
