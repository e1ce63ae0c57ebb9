"""What the history of a keyring says of the last attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from certrotd.keys.decision import Compromise, Rollback
from certrotd.keys.policy import CUSTODIANS, HELD, SUSPECT, Attempts
from certrotd.lifecycle import attempts
from certrotd.lifecycle.decision import ACT
from certrotd.rotation.outcome import CANCELLED
from certrotd.state.ports import History

HOLD_AFTER_ROLLBACK = timedelta(days=1)
"""A rotation that somebody took back, or cancelled, does not begin again by itself before."""


def attempts_of(history: History, configuration: str) -> Attempts:
    """What its newest line says; ``configuration`` is the digest of the present one."""
    last = history.last()
    if last is None:
        return Attempts()
    facts = last["facts"]
    held = _moment(facts.get(HELD))
    back = last["outcome"] == "finished" and facts.get(ACT) == Rollback.act
    if back or last["failure"] == CANCELLED:
        held = datetime.fromisoformat(last["ended"]) + HOLD_AFTER_ROLLBACK
    return Attempts(
        **asdict(attempts.attempts_of(last, configuration)),
        custodians=_custodians(facts),
        held=held,
        suspect=_suspect(facts),
    )


def _suspect(facts: Mapping[str, Any]) -> int | None:
    """The version to be replaced, unless it was, or is marked already."""
    suspect = facts.get(SUSPECT)
    done = facts.get(Compromise.act) == suspect
    return suspect if isinstance(suspect, int) and not done else None


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _custodians(facts: Mapping[str, Any]) -> frozenset[str] | None:
    known = facts.get(CUSTODIANS)
    return frozenset(map(str, known)) if isinstance(known, list) else None
