"""What would hold a rotation back, as far as the files of the state directory tell.

For listings on the command line, which change nothing: a file that cannot be understood is left
where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.certs.decision import Adopt, Renew
from certrotd.certs.inventory import Row
from certrotd.config.model import Config
from certrotd.errors import Failure
from certrotd.lifecycle.gate import Gate, Held
from certrotd.scheduling.clock_trust import Judgement, Watch, clock_document
from certrotd.scheduling.gates import by_budget, by_clock, by_failure, elsewhere
from certrotd.state.ports import State

if TYPE_CHECKING:
    from certrotd.certs.limits.sliding_windows import Limits, Spent


def with_gates(
    rows: Sequence[Row], config: Config, state: State, *, now: datetime
) -> Iterator[Row]:
    """The same rows, each with what holds back an order that is due."""
    judgement = _judgement(rows, state, now)
    accounts: dict[str, _Account | Held | None] = {}
    for row in rows:
        due = isinstance(row.decision, Renew | Adopt) and row.flight is None and not row.failure
        if not due:
            yield row
            continue
        policy = row.managed.policy
        held = by_clock(judgement, row.decision)
        if held is None and elsewhere(policy):
            if policy.issuer not in accounts:
                accounts[policy.issuer] = _account(policy.issuer, config, state)
            account = accounts[policy.issuer]
            held = account.held(row, now) if isinstance(account, _Account) else account
        yield replace(row, held=held)


def _judgement(rows: Sequence[Row], state: State, now: datetime) -> Judgement:
    """What the state tells of the clock."""
    try:
        last_run = clock_document(state).peek()
    except Failure:
        last_run = None  # the daemon goes by the certificates alone then, and says why
    watch = Watch(last_run, 0.0)
    for row in rows:
        watch = watch.seen(row.standing.live)
    return watch.judge(now, 0.0)


class _Account:
    """What one issuer's account has spent."""

    def __init__(self, limits: Limits, spent: Spent) -> None:
        self._limits = limits
        self._spent = spent

    def held(self, row: Row, now: datetime) -> Held | None:
        from certrotd.certs.limits.sliding_windows import over, renews

        policy = row.managed.policy
        renewal = renews(row.standing, policy.names, policy.authority)
        found = over(self._spent, self._limits, policy.names, renewal=renewal, now=now)
        return None if found is None else by_budget(found)


def _account(issuer: str, config: Config, state: State) -> _Account | Held | None:
    """What it has spent, what keeps it from being known, or None where nothing is limited."""
    from certrotd.certs.limits.budget import budget_document
    from certrotd.certs.limits.configured import limits_of

    limits = limits_of(config.issuers[issuer])
    if limits is None:
        return None
    try:
        spent = budget_document(state.document(f"budget/{issuer}")).peek()
    except Failure as failure:
        return by_failure(failure, by=Gate.BUDGET)
    return _Account(limits, spent) if spent else None  # nothing is counted, or it is counted anew
