"""Where a rollback by hand goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from certrotd.certs.fitness import other_key, usable
from certrotd.certs.managed import Managed
from certrotd.errors import NeedsOperator
from certrotd.pki.generation import Standing


def way_back(managed: Managed, standing: Standing, to: int | None, *, now: datetime) -> int:
    """``to``, or the newest earlier generation that could be used; NeedsOperator says why neither.

    An expired or mismatched pair is never put in front of users.
    """
    name, live = managed.policy.name, standing.live.number if standing.live else 0
    if to is None:
        for number in range(live - 1, 0, -1):
            if _unfit(managed, standing, number, now=now) is None:
                return number
        raise NeedsOperator(
            "no earlier generation is usable",
            hint=f"certrotd rotate {name} --force gets a new certificate",
        )
    reason = _unfit(managed, standing, to, now=now)
    if to == live:
        reason = reason or "it is live already"
    elif (
        reason is not None
        and to not in standing.state.revoked
        and not managed.world().store.sealed(name, to)
    ):
        reason = "there is none"
    if reason is None:
        return to
    raise NeedsOperator(
        f"cannot go back to generation {to}: {reason}", hint=_ways(managed, standing, now=now)
    )


def _unfit(managed: Managed, standing: Standing, number: int, *, now: datetime) -> str | None:
    """Why a generation must not be put in front of users again, or None if it may.

    Nor one without a key where they read one.
    """
    revoked = standing.state.revoked.get(number)
    if revoked:
        return revoked.words(number)
    found = managed.generation(number)
    if reason := usable(found, now=now):
        return reason
    policy = replace(managed.policy, request="")  # an appliance may have its former key again
    return other_key(found.meta, policy) if found.meta else None


def _ways(managed: Managed, standing: Standing, *, now: datetime) -> str:
    """Which generations there are to go to, in words."""
    live = standing.live.number if standing.live else 0
    newest = max(live, standing.newest.number if standing.newest else 0)
    numbers = [
        str(number)
        for number in range(1, newest + 1)
        if number != live and _unfit(managed, standing, number, now=now) is None
    ]
    if not numbers:
        return "no other generation is usable"
    return f"usable generations: {', '.join(numbers)}"
