"""An issuer whose orders and failed validations are counted before the CA hears of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certrotd.certs.ports import Issuer, Order
from certrotd.clock import Clock, Deadline
from certrotd.daemon.budget import renews
from certrotd.daemon.budgetfile import Budget
from certrotd.pki.generation import Standing
from certrotd.pki.names import base
from certrotd.pki.order import Challenge, ValidationFailed


class CountedIssuer:
    """The Issuer port for one certificate, ``name``; an order that cannot be counted is not placed.

    ``look`` tells what is there already: an order for the same names again is a renewal.
    ``authority`` is the CA's.
    """

    def __init__(
        self,
        issuer: Issuer,
        budget: Budget,
        *,
        name: str,
        authority: str,
        look: Callable[[], Standing],
        clock: Clock,
    ) -> None:
        self._issuer = issuer
        self._budget = budget
        self._name = name
        self._authority = authority
        self._look = look
        self._clock = clock

    def order(self, names: Sequence[str], *, deadline: Deadline) -> Order:
        renewal = renews(self._look(), names, self._authority)
        self._budget.spend(self._name, names, renewal=renewal, now=self._clock.now())
        return self._counted(self._issuer.order(names, deadline=deadline))

    def resume(self, url: str, *, deadline: Deadline) -> Order:
        """As Issuer.resume; it costs nothing."""
        return self._counted(self._issuer.resume(url, deadline=deadline))

    def _counted(self, order: Order) -> CountedOrder:
        return CountedOrder(order, self._budget, self._clock)


class CountedOrder:
    """The Order port; a validation that fails counts for every name that was to be proven."""

    def __init__(self, order: Order, budget: Budget, clock: Clock) -> None:
        self._order = order
        self._budget = budget
        self._clock = clock

    @property
    def url(self) -> str:
        return self._order.url

    def challenges(self) -> tuple[Challenge, ...]:
        return self._order.challenges()

    def validate(self) -> None:
        asked = sorted({each.name.removeprefix("_acme-challenge.") for each in self.challenges()})
        try:
            self._order.validate()
        except ValidationFailed:
            self._budget.failed([base(name) for name in asked], now=self._clock.now())
            raise

    def finalize(self, csr_der: bytes) -> bytes:
        return self._order.finalize(csr_der)
