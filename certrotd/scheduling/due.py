"""What is due of one certificate, and when to look at it again; pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.certs.decision import Adopt, Deploy, Renew
from certrotd.certs.limits.sliding_windows import registered_domain, renews
from certrotd.certs.managed import Managed
from certrotd.id import Id
from certrotd.lifecycle.decision import Decision
from certrotd.observers import Look
from certrotd.scheduling.fair_queue import Group
from certrotd.scheduling.gates import elsewhere

DAILY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Due:
    """Something to be done.

    ``order``: a CA elsewhere will probably be asked; ``renewal``: for the same names as before.
    """

    why: str
    kind: str
    order: bool = False
    renewal: bool = False


RESUME = Due("an earlier rotation is in flight", "resume")


def due_of(look: Look) -> Due:
    """What the decision of a look comes to."""
    decision, policy = look.decision, look.managed.policy
    kind = type(decision).__name__
    if not isinstance(decision, Renew | Adopt):
        return Due(decision.why, kind)
    renewal = renews(look.standing, policy.names, policy.authority)
    # the CA of our own has our own clock, and no limits
    return Due(decision.why, kind, order=elsewhere(policy), renewal=renewal)


def mends(decision: Decision) -> bool:
    """Whether a decision puts back what was damaged."""
    return isinstance(decision, Deploy) and decision.mends


def group_of(managed: Managed) -> Group:
    """What it shares a fate with: its CA and its registered domain."""
    return Group(managed.policy.issuer, registered_domain(managed.policy.names[0]))


def within_a_day(subject: Id, until: datetime, now: datetime) -> datetime:
    """Later than now, and within a day: somebody may have touched the files.

    The day is between a half and a whole one by the subject, so that not all come at the same time.
    """
    share = 0.5 + zlib.crc32(str(subject).encode()) / 2**33
    return min(max(until, now + timedelta(seconds=1)), now + DAILY * share)
