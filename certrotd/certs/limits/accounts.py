"""What the accounts at the issuers' CAs may still order, in this process and as files tell."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.config.model import Config
from certrotd.errors import Failure
from certrotd.lifecycle.wing import Premises

if TYPE_CHECKING:  # a listing of certificates that are not due needs none of them
    from certrotd.certs.limits.budget import Budget
    from certrotd.certs.limits.sliding_windows import Limits, Over, Spent


class ConfiguredAccounts:
    """Accounts, of a configuration; each is read when it is first asked for."""

    def __init__(self, config: Config, premises: Premises) -> None:
        self._config = config
        self._premises = premises
        self._lock = threading.Lock()
        self._budgets: dict[str, Budget | None] = {}
        self._spent: dict[str, Spent | Failure | None] = {}
        self._passed_over: dict[str, Mapping[str, datetime]] = {}

    def budget(self, issuer: str) -> Budget | None:
        """As Accounts.budget."""
        with self._lock:
            if issuer not in self._budgets:
                self._budgets[issuer] = self._new_budget(issuer)
            return self._budgets[issuer]

    def foresee(
        self, issuer: str, names: Sequence[str], renewal: bool, now: datetime
    ) -> Over | None:
        """As Accounts.foresee; a file that cannot be understood is left where it is."""
        from certrotd.certs.limits.sliding_windows import over

        limits = self._limits(issuer)
        if limits is None:
            return None
        if issuer not in self._spent:
            self._spent[issuer] = self._peek(issuer)
        spent = self._spent[issuer]
        if isinstance(spent, Failure):
            raise spent
        # without any, nothing is counted yet, or it is counted anew
        return over(spent, limits, names, renewal=renewal, now=now) if spent else None

    def pass_over(self, name: str, until: Mapping[str, datetime]) -> None:
        """As Accounts.pass_over."""
        if until:
            self._passed_over[name] = dict(until)
        else:
            self._passed_over.pop(name, None)

    def passed_over(self, name: str) -> Mapping[str, datetime]:
        """What pass_over() was told last of that certificate."""
        return self._passed_over.get(name, {})

    def _new_budget(self, issuer: str) -> Budget | None:
        from certrotd.certs.limits.budget import Budget, DocumentBudgetStore

        limits, premises = self._limits(issuer), self._premises
        if limits is None:
            return None
        document = premises.state.document(f"budget/{issuer}")
        return Budget(limits, DocumentBudgetStore(document, premises.remark), premises.clock)

    def _limits(self, issuer: str) -> Limits | None:
        from certrotd.certs.limits.configured import limits_of

        return limits_of(self._config.issuers[issuer])

    def _peek(self, issuer: str) -> Spent | Failure | None:
        from certrotd.certs.limits.budget import budget_document

        try:
            return budget_document(self._premises.state.document(f"budget/{issuer}")).peek()
        except Failure as failure:
            return failure
