"""One certificate of the configuration, and what its history says: all that a listing needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from certrotd.certs.decision import Delete
from certrotd.certs.fallback import Blame, Trouble
from certrotd.certs.policy import (
    AUTHORITY,
    HOLD_AFTER_ROLLBACK,
    TROUBLE,
    WAITS,
    Attempts,
    Policy,
)
from certrotd.lifecycle import managed
from certrotd.lifecycle.decision import ACT, CONFIGURATION
from certrotd.pki.certificate import moment
from certrotd.pki.generation import CertificateState, Generation, Standing
from certrotd.pki.revocation import REVOCATIONS, Revocation, revocations_in
from certrotd.state.ports import History

if TYPE_CHECKING:  # looking at certificates needs none of the libraries that rotating them does
    from certrotd.certs.limits.sliding_windows import Over
    from certrotd.certs.world import World
    from certrotd.lifecycle.subject import DeletionForeseen


class Managed(managed.Managed, Protocol):
    """One certificate of the configuration with what its rotation needs."""

    @property
    def policy(self) -> Policy: ...

    def world(self) -> World:
        """The adapters for one rotation."""
        ...

    def look(self, *, thorough: bool = False) -> Standing:
        """What the store has of it, and the history of what the store has lost."""
        ...

    def generation(self, number: int, /) -> Generation:
        """One of its generations, as the store has it."""
        ...

    def over(self) -> Mapping[str, datetime]:
        """Until when budgets at CAs are used up for it, by authority, if another CA was chosen."""
        ...

    def claim(self, issuer: str, *, renewal: bool, now: datetime) -> Over | None:
        """Set room aside for an order at another CA than was planned; why there is none."""
        ...

    def deletion(self) -> DeletionForeseen:
        """As Deletable.foresee_deletion."""
        ...


def attempts_of(managed: Managed) -> Attempts:
    """What the newest line of history says of the last attempts."""
    last = managed.history.last()
    if last is None:
        return Attempts(waits=managed.over())
    facts = last["facts"]
    left, waits = facts.get("left") or (), {**_waits(facts.get(WAITS)), **managed.over()}
    if not last["failures"]:
        return Attempts(left=tuple(left), waits=waits)
    seconds, failed_at = last["retry_after"], last.get("failed_at")
    known, trouble = facts.get(CONFIGURATION), Trouble.from_json(facts.get(TROUBLE))
    return Attempts(
        failures=int(last["failures"]),
        at=datetime.fromisoformat(last["ended"]),
        why=str(last["failure"]),
        retry_after=timedelta(seconds=seconds) if seconds else None,
        left=tuple(left),
        authority=str(facts.get(AUTHORITY) or ""),
        by_hand=int(last.get("by_hand_failures", 0)),
        unasked_at=datetime.fromisoformat(failed_at) if failed_at else None,
        mended=known is not None and known != managed.configuration(),
        at_ca=trouble is not None and trouble.blame is not Blame.USER,
        waits=waits,
        act=str(facts.get(ACT) or ""),
    )


def _waits(known: object) -> dict[str, datetime]:
    """What a rotation was told of other CAs; what is no moment is passed over."""
    found: dict[str, datetime] = {}
    for authority, until in known.items() if isinstance(known, dict) else ():
        with suppress(TypeError, ValueError):
            found[str(authority)] = moment(until)
    return found


def as_remembered(found: Standing, history: History) -> Standing:
    """What the store ``found``; a state that was damaged as far as the history tells it."""
    if found.damaged is None:
        return found
    return replace(found, state=relearnt(history.lines(), found))


def relearnt(lines: Sequence[Mapping[str, Any]], found: Standing) -> CertificateState:
    """The state that a certificate whose own is lost goes on with, by the lines of its history.

    - ``targets``: none. Each is told of the live generation and proven again, once: a reload.
    - ``withdrawn``: a generation newer than the live one was either issued and not deployed, which
      is to be done, or a person went back from it, which must stand. So it is withdrawn if nothing
      was issued since somebody last rolled back.
    - ``held``: a day from then.
    - ``revoked``: what rotations noted of it.

    When to renew does not stand in it (a generation's own meta.json has its draw), nor do failures
    and their backoff (the history has them): nothing that is lost costs an order.
    """
    live, newest, revoked = found.live, found.newest, _revoked(lines)
    for line in reversed(lines):
        if line["facts"].get(ACT) == Delete.act:
            break
        finished = line["outcome"] == "finished"
        if "fingerprint" in line["facts"] and (finished or line["to"]):
            break  # a certificate was issued
        if finished and line["facts"].get(ACT) == "rollback" and live and newest:
            withdrawn = (newest.number,) if newest.number > live.number else ()
            held = datetime.fromisoformat(line["ended"]) + HOLD_AFTER_ROLLBACK
            return CertificateState(withdrawn=withdrawn, held=held, revoked=revoked)
    return CertificateState(revoked=revoked)


def _revoked(lines: Sequence[Mapping[str, Any]]) -> dict[int, Revocation]:
    """What rotations noted of revocations, the last word of each generation."""
    found: dict[int, Revocation] = {}
    for line in lines:
        if line["facts"].get(ACT) == Delete.act:
            found.clear()  # generations are numbered anew
        found |= revocations_in(line["facts"].get(REVOCATIONS) or {})
    return found
