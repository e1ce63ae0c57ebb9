"""Which of several CAs is asked for a certificate, and when the next one is asked instead: pure.

A renewal begins at the first CA of the list, goes down it at most once, and asks the next one only
where the CA is to blame for the failure. What the user has to correct would fail elsewhere too, or
would hide behind the other CA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from certrotd.certs.policy import Attempts, Policy

LONGEST_WAIT = timedelta(days=8)
"""No CA asks to wait for longer: whatever is later was noted by a clock that was wrong."""


class Blame(StrEnum):
    """Who or what has to change before the same order can succeed at the same CA."""

    OUTAGE = "outage"
    LIMIT = "limit"
    REFUSAL = "refusal"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a CA did not issue: whose fault it is, and its words."""

    blame: Blame
    why: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object that from_json reads back to an equal value."""
        return {"blame": str(self.blame), "why": self.why}

    @classmethod
    def from_json(cls, data: object) -> Trouble | None:
        """Read what to_json wrote; None for anything else."""
        match data:
            case {"blame": str(blame), "why": str(why)} if blame in set(Blame):
                return cls(Blame(blame), why)
        return None


@dataclass(frozen=True, slots=True)
class Choice:
    """The CA whose turn it is, as if it were the only one, and ``why`` none before it ("")."""

    policy: Policy
    why: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether the ``next`` CA is asked now, and why (not)."""

    next: bool
    why: str


def choose(
    policy: Policy,
    waits: Mapping[str, datetime],
    *,
    left: timedelta | None,
    now: datetime,
    forced: bool = False,
) -> Choice:
    """The CA that a renewal begins at: the first one that need not be waited for too long.

    ``waits`` says until when CAs, by their authority, take no order; ``left`` is what is left of
    the certificate that is served (None: nothing is). Where all are to be waited for too long, it
    is the one that is free first.
    """
    if not policy.others:
        return Choice(policy)
    passed: list[str] = []
    for each in policy.one_by_one():
        until = waits.get(each.authority)
        if forced or until is None or not too_long(until - now, left):
            return Choice(each, "; ".join(passed))
        passed.append(f"{each.issuer} takes no order before {until:%Y-%m-%d %H:%M}Z")
    first = min(policy.one_by_one(), key=lambda each: waits[each.authority])
    return Choice(first, "" if first.issuer == policy.issuer else "; ".join(passed))


def too_long(wait: timedelta, left: timedelta | None) -> bool:
    """Whether another CA is to be asked rather than to wait so long.

    More than a quarter of what is ``left`` of the certificate that is served, so that the first CA
    has three more chances at least; any time where nothing is served.
    """
    return timedelta(0) < wait <= LONGEST_WAIT and (left is None or wait > left / 4)


def turn(
    trouble: Trouble | None,
    *,
    wait: timedelta | None,
    left: timedelta | None,
    again: bool,
    alone: bool,
) -> Turn:
    """Whether the next CA is asked after this one failed with ``trouble`` (None: not at a CA).

    ``wait`` is how long it asked to be left alone, ``left`` as of choose(); ``again``: the attempt
    before failed at a CA as well; ``alone``: nobody tries again in a minute, as a person or a timer
    runs this.
    """
    if trouble is None:
        return Turn(False, "the failure has nothing to do with the CA")
    if trouble.blame is Blame.USER:
        return Turn(False, "another CA would not help: it is yours to correct")
    if trouble.blame is Blame.REFUSAL:
        return Turn(True, "it refuses")
    if left is None:
        return Turn(True, "it cannot issue now, and no valid certificate is served")
    if trouble.blame is Blame.LIMIT and wait is not None:
        if too_long(wait, left):
            return Turn(True, "its limit would take too long to wait for")
        return Turn(False, "its limit passes in time")
    if again or alone:
        return Turn(True, "it cannot issue now" + ("" if alone else ", for the second time"))
    return Turn(False, "it is tried once more first")


def waits_of(attempts: Attempts) -> dict[str, datetime]:
    """Until when CAs take no order, by their authority, as the last attempts were told."""
    waits = dict(attempts.waits)
    if attempts.authority and attempts.at and attempts.retry_after:
        waits[attempts.authority] = attempts.at + attempts.retry_after
    return waits
