"""An issuer that counts orders, certificates and failed validations before the CA does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certrotd.certs.limits.budget import Budget
from certrotd.certs.limits.sliding_windows import renews
from certrotd.certs.passed_order import PassedOrder
from certrotd.certs.ports import Issuer, Order
from certrotd.clock import Clock, Deadline
from certrotd.pki.generation import Standing
from certrotd.pki.order import ValidationFailed


class RateLimitedIssuer:
    """The Issuer port for a certificate for ``names``; what cannot be counted is not asked for.

    ``look`` tells what is there already: a certificate for the same names from the CA
    ``authority`` is a renewal.
    """

    def __init__(
        self,
        issuer: Issuer,
        budget: Budget,
        *,
        names: Sequence[str],
        authority: str,
        look: Callable[[], Standing],
        clock: Clock,
    ) -> None:
        self._issuer = issuer
        self._budget = budget
        self._names = names
        self._authority = authority
        self._look = look
        self._clock = clock

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> Order:
        """As Issuer.order; also raises DiskTrouble."""
        self._budget.order(now=self._clock.now())
        return self._counted(self._issuer.order(names, deadline=deadline, replaces=replaces))

    def resume(self, url: str, *, deadline: Deadline) -> Order:
        """As Issuer.resume; it costs nothing."""
        return self._counted(self._issuer.resume(url, deadline=deadline))

    def _counted(self, order: Order) -> RateLimitedOrder:
        return RateLimitedOrder(order, self._issued, self._failed)

    def _issued(self, url: str) -> None:
        renewal = renews(self._look(), self._names, self._authority)
        self._budget.certificate(self._names, url, renewal=renewal, now=self._clock.now())

    def _failed(self, names: Sequence[str]) -> None:
        self._budget.failed(names, now=self._clock.now())


class RateLimitedOrder(PassedOrder):
    """The Order port; a validation that fails counts for every name that was to be proven."""

    def __init__(
        self,
        order: Order,
        issued: Callable[[str], None],
        failed: Callable[[Sequence[str]], None],
    ) -> None:
        super().__init__(order)
        self._issued = issued
        self._failed = failed

    def validate(self) -> None:
        asked = sorted({each.proves for each in self.challenges()})
        try:
            super().validate()
        except ValidationFailed:
            self._failed(asked)
            raise

    def finalize(self, csr_der: bytes) -> bytes:
        """As Order.finalize; also raises DiskTrouble."""
        self._issued(self.url)
        return super().finalize(csr_der)
