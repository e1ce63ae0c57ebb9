"""An order passed on as it is: for issuers that stand before another and watch what it does."""

from __future__ import annotations

from certrotd.certs.ports import Choosing, Order
from certrotd.pki.order import Challenge, Missed


class PassedOrder:
    """The Order port, by another order; whoever watches overrides what it watches."""

    def __init__(self, order: Order) -> None:
        self._order = order

    @property
    def url(self) -> str:
        return self._order.url

    @property
    def missed(self) -> Missed | None:
        """As Choosing.missed."""
        return self._order.missed if isinstance(self._order, Choosing) else None

    def challenges(self) -> tuple[Challenge, ...]:
        return self._order.challenges()

    def validate(self) -> None:
        self._order.validate()

    def finalize(self, csr_der: bytes) -> bytes:
        return self._order.finalize(csr_der)
