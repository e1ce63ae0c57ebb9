"""Who alerts hears which CA fails, and that it issues again."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.certs.wiring.reporting_issuer import ReportingIssuer
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki.keys import KeyType, generate, signing_request
from tests.fakes.issuer import MemoryIssuer, Point

NAMES = ("web.example.test",)


class Bench:
    """An issuer in memory, and everything that is reported of it."""

    def __init__(self) -> None:
        self.heard: list[Failure | None] = []
        self.ca = MemoryIssuer(lambda: datetime(2026, 6, 1, tzinfo=UTC))
        self.issuer = ReportingIssuer(self.ca, self.heard.append)
        self.deadline = Deadline(SystemClock(), 10)

    def obtain(self) -> bytes:
        """A certificate, by an order that is come back to."""
        url = self.issuer.order(NAMES, deadline=self.deadline).url
        order = self.issuer.resume(url, deadline=self.deadline)
        order.validate()
        return order.finalize(signing_request(generate(KeyType.ECDSA_P256), NAMES))


def test_a_certificate_that_is_issued_is_reported_once() -> None:
    """Neither the order nor the proof is the end of an outage."""
    bench = Bench()
    chain = bench.obtain()
    assert x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)
    assert bench.heard == [None]


@pytest.mark.parametrize("point", ["order", "validate", "finalize"])
def test_a_failure_that_may_pass_is_reported_and_raised(point: Point) -> None:
    """Wherever in an order it strikes."""
    bench = Bench()
    away = bench.ca.faults[point] = Transient("away")
    with pytest.raises(Transient):
        bench.obtain()
    assert bench.heard == [away]


def test_a_ca_that_is_away_when_an_order_is_resumed_is_reported() -> None:
    """The restart came in the middle of the outage."""
    bench = Bench()

    def away(url: str, *, deadline: Deadline) -> object:
        raise Transient("away")

    bench.ca.resume = away  # type: ignore[assignment]
    with pytest.raises(Transient):
        bench.obtain()
    assert [str(each) for each in bench.heard] == ["away"]


@pytest.mark.parametrize("make", [NeedsOperator, Failure])
def test_a_refusal_is_not_reported(make: Callable[[str], Failure]) -> None:
    """It is about this order, and waiting does not help."""
    bench = Bench()
    bench.ca.faults["order"] = make("no")
    with pytest.raises(Failure):
        bench.obtain()
    assert bench.heard == []
