"""An issuer that reports when its CA fails for the time being, and when it issues.

What it raises says that a CA was asked (Failure.at_ca).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from certrotd.certs.passed_order import PassedOrder
from certrotd.certs.ports import Issuer, Order
from certrotd.clock import Deadline
from certrotd.errors import Failure, Transient
from certrotd.pki.order import Challenge

ContactListener = Callable[[Transient | None], None]
"""Hears of a failure that may pass by itself, and by None of a certificate that was issued."""


@contextmanager
def reported(report: ContactListener) -> Iterator[None]:
    """The block asks a CA."""
    try:
        yield
    except Failure as failure:
        failure.at_ca = True
        if isinstance(failure, Transient):
            report(failure)
        raise


class ReportingIssuer:
    """The Issuer port."""

    def __init__(self, issuer: Issuer, report: ContactListener) -> None:
        self._issuer = issuer
        self._report = report

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> Order:
        with reported(self._report):
            order = self._issuer.order(names, deadline=deadline, replaces=replaces)
            return ReportingOrder(order, self._report)

    def resume(self, url: str, *, deadline: Deadline) -> Order:
        with reported(self._report):
            return ReportingOrder(self._issuer.resume(url, deadline=deadline), self._report)


class ReportingOrder(PassedOrder):
    """The Order port."""

    def __init__(self, order: Order, report: ContactListener) -> None:
        super().__init__(order)
        self._report = report

    def challenges(self) -> tuple[Challenge, ...]:
        with reported(self._report):
            return super().challenges()

    def validate(self) -> None:
        with reported(self._report):
            super().validate()

    def finalize(self, csr_der: bytes) -> bytes:
        with reported(self._report):
            chain = super().finalize(csr_der)
        self._report(None)
        return chain
