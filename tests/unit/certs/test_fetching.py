"""Certificates that an ACME CA has issued and that cannot be fetched, over real HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.acme.transport import RequestsResponse, Transport
from certrotd.certs.findings import FindingKind
from certrotd.certs.fitness import missed_chain
from certrotd.certs.issue import patience
from certrotd.certs.watching import OnDisk, judge_files
from certrotd.cli.reports import report_words
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.unit.acme.scripted import Reply, ScriptedCA, problem
from tests.unit.certs.fetching import Fetching

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Fetching]:
    """A CA that behaves, and a certificate that is due."""
    with ScriptedCA(tmp_path / "ca") as ca:
        yield Fetching(ca, tmp_path)


def test_an_order_without_trouble_is_fetched_at_once(case: Fetching) -> None:
    """The negative control."""
    assert isinstance(case.rotate().outcome, Finished)


@pytest.mark.parametrize(
    ("path", "reply", "said"),
    [
        ("/certificate", Reply(302, b"", {"Location": "https://login.example/"}), "redirects"),
        ("/certificate", Reply(body=b"x" * 2**21), "more than 1048576 bytes"),
        ("/certificate", Reply(403, b"<html>blocked</html>"), "status 403"),
        ("/finalize", Reply(200, b"<html>log in first</html>"), "did not send an order"),
        ("/finalize", Reply(407, b"<html>who are you?</html>"), "status 407"),
    ],
    ids=range(5),
)
def test_a_gateway_in_between_does_not_cost_the_certificate(
    case: Fetching, path: str, reply: Reply, said: str
) -> None:
    """Neither the order nor the key is given up, however often it is tried."""
    case.ca.on(path, reply, reply)
    for _ in range(2):
        report = case.rotate(after=HOUR)
        outcome = report.outcome or report.recovered
        assert isinstance(outcome, Parked)
        assert report.failed
        assert said in outcome.why
    assert isinstance(case.rotate(after=HOUR).recovered, Finished)
    assert case.ca.asked("/orders") == 1


def test_a_server_that_is_not_trusted_does_not_cost_the_certificate(
    case: Fetching, tmp_path: Path
) -> None:
    """Somebody looks into the machine's TLS: nobody fetches through that, and nothing is lost."""
    case.ca.on("/certificate", *[Reply(500, b"")] * 9)
    assert isinstance(case.rotate().outcome, Parked)
    case.ca.script.clear()
    with ScriptedCA(tmp_path / "another") as another:
        case.ca_file = another.ca_file
        report = case.rotate(after=HOUR)
        assert isinstance(report.recovered, Parked)
        assert "is not trusted" in report.recovered.why
        assert "ca_bundle" in report.recovered.why, "what is to be mended is said"
        case.ca_file = case.ca.ca_file
    assert isinstance(case.rotate(after=HOUR).recovered, Finished)
    assert case.ca.asked("/orders") == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, problem("badCSR", "key too small")),
        Reply(200, {"status": "invalid"}),
        Reply(404, problem("malformed", "no such order")),
    ],
    ids=["refused", "invalid", "unknown"],
)
def test_an_acme_error_of_the_ca_ends_the_order(case: Fetching, reply: Reply) -> None:
    """The negative control: nothing will come of it, and another one may be placed."""
    if reply.body == {"status": "invalid"}:
        reply = replace(reply, body=case.ca.order_body(status="invalid"))
    case.ca.on("/finalize", reply)
    assert isinstance(case.rotate().outcome, RolledBack)
    assert isinstance(case.rotate(after=HOUR).outcome, Finished)
    assert case.ca.asked("/orders") == 2


def test_an_order_that_expired_while_it_was_kept_is_replaced(case: Fetching) -> None:
    """The CA forgets it: that word is definite too."""
    case.ca.on("/finalize", Reply(302, b"", {"Location": "https://login.example/"}))
    assert isinstance(case.rotate().outcome, Parked)
    case.ca.on("/order", Reply(404, problem("malformed", "no such order")))
    assert not isinstance(case.rotate(after=HOUR).recovered, Parked)
    case.rotate(after=HOUR)
    assert case.live == 1
    assert case.ca.asked("/orders") == 2


def test_a_long_retry_after_does_not_outlast_the_patience(case: Fetching) -> None:
    """A gateway that says 'in a week' must not have the served certificate end meanwhile."""
    away = Reply(503, b"", {"Retry-After": str(7 * 86400)})
    case.ca.on("/certificate", *[away] * 9)
    parked = case.rotate().outcome
    assert isinstance(parked, Parked)
    assert parked.until - case.clock.now() <= DAY, "none is served: an order is kept for a day"
    case.clock.advance(DAY)
    case.ca.on("/certificate", *[away] * 9)
    assert isinstance(case.rotate().recovered, RolledBack)
    case.ca.script.clear()


def test_an_order_is_not_kept_longer_because_the_clock_was_ahead(case: Fetching) -> None:
    """A machine that begins in another year, and is put right, is not to wait for that year."""
    away = Reply(302, b"", {"Location": "https://login.example/"})
    case.ca.on("/finalize", away)
    case.clock.jump(900 * DAY)
    assert isinstance(case.rotate().outcome, Parked)
    case.clock.jump(-900 * DAY)
    for after, outcome in ((HOUR, Parked), (DAY - HOUR, Parked), (2 * HOUR, RolledBack)):
        case.ca.on("/finalize", away)
        assert isinstance(case.rotate(after=after).recovered, outcome)


class Killed(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("paths", [("/finalize", "/order", "/certificate"), ("/certificate",)])
def test_six_kills_in_a_row_do_not_cost_an_issued_certificate(
    case: Fetching, monkeypatch: pytest.MonkeyPatch, paths: tuple[str, ...]
) -> None:
    """A host that is rebooted again and again while the CA is slow has done nothing wrong."""
    exchange = Transport.exchange

    def killed(self: Transport, method: str, url: str, **rest: Any) -> RequestsResponse:
        response = exchange(self, method, url, **rest)
        if url.endswith(paths):
            raise Killed
        return response

    with monkeypatch.context() as patched:
        patched.setattr(Transport, "exchange", killed)
        for _ in range(6):
            with pytest.raises(Killed):
                case.rotate(after=HOUR / 60)
    assert isinstance(case.rotate(after=HOUR / 60).recovered, Finished)
    assert case.ca.asked("/orders") == 1


NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (None, DAY),
        (-HOUR, DAY),
        (timedelta(0), DAY),
        (HOUR, HOUR / 2),
        (3 * DAY, 1.5 * DAY),
        (14 * DAY, 7 * DAY),
        (30 * DAY, 7 * DAY),
    ],
)
def test_an_order_is_kept_as_long_as_there_is_time_for_another(
    left: timedelta | None, kept: timedelta
) -> None:
    """A certificate of six days must not end while one is waited for that never comes."""
    assert patience(NOW, None if left is None else NOW + left) == kept


@pytest.mark.parametrize(("ahead", "kept"), [(HOUR, True), (DAY + HOUR, False)])
def test_a_certificate_that_is_not_valid_yet_is_waited_for(
    case: Fetching, ahead: timedelta, kept: bool
) -> None:
    """By a clock that is behind every new order would come to the same, until none is left."""
    case.clock.jump(-ahead)
    report = case.rotate()
    if not kept:
        assert isinstance(report.outcome, RolledBack)
        return
    assert isinstance(report.outcome, Parked)
    assert "the certificate is issued, but" in report.outcome.why
    assert "not valid before" in report.outcome.why
    case.clock.jump(ahead)
    assert isinstance(case.rotate().recovered, Finished)
    assert case.ca.asked("/orders") == 1


@pytest.mark.parametrize("wanted", ["elsewhere", "issuing root", ""])
def test_a_preferred_chain_that_is_not_offered_is_reported_everywhere(
    case: Fetching, wanted: str
) -> None:
    """Nobody was told, and old devices went on refusing what they do not know."""
    case.policy(preferred_chain=wanted)
    case.preferred_chain = wanted
    report = case.rotate()
    word, why = report_words(report)
    live = case.world.managed().look().live
    assert live is not None, report
    found = [each.kind for each in judge_files(OnDisk(live), case.policy(), now=case.clock.now())]
    assert word == "done"
    said = "the preferred chain 'elsewhere' is not offered, but: issuing root"
    if wanted == "elsewhere":
        assert said in why
        assert missed_chain(live, case.policy()) == said
        assert FindingKind.CHAIN_NOT_OFFERED in found
        # once it is no longer asked for, there is nothing to say
        assert missed_chain(live, case.policy(preferred_chain="issuing root")) == ""
    else:
        assert "chain" not in why
        assert FindingKind.CHAIN_NOT_OFFERED not in found
