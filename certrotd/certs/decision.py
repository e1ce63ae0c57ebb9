"""What to do about a certificate and why: a pure function of its standing, its policy and now.

The rules, first match wins: nothing at all where a placeholder is asked for → put one in place; a
newer good generation that is not live → deploy it; files of the live one damaged → put them back;
it must not be served → deploy the newest that may; nothing usable → get one; expired, mismatched or
not what the configuration asks → renew; its time has come → renew; a target not proven to serve the
live generation → deploy to it; else wait. What is due is postponed while the last failure is too
recent, unless a person asks for it, and a renewal while one is held after a rollback, unless it is
forced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from certrotd.certs.fitness import drift, renewal_time, stamp, usable
from certrotd.certs.policy import COPIES, Attempts, Policy
from certrotd.lifecycle.gate import Gate, Held
from certrotd.pki.generation import Generation, Standing
from certrotd.wording import count

BACKOFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
RECHECK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due before ``until``."""

    why: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Renew:
    """Obtain a new certificate and deploy it; it has been due since ``at``.

    One that is ``forced`` takes whatever comes; any other nothing worse than what is live.
    """

    why: str
    at: datetime
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Deploy:
    """Deploy a generation that is already on disk; no order is needed.

    ``mends``: because the live one is damaged or must not be served.
    """

    why: str
    generation: int
    mends: bool = False


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take over the existing pair as generation 1."""

    why: str


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Put a placeholder in place as this generation, until there is a certificate."""

    why: str
    generation: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Withdraw TXT records that an earlier attempt left behind."""

    why: str


@dataclass(frozen=True, slots=True)
class Postpone:
    """``instead`` is due, but not before ``until``; ``by`` is a backoff, retry_after, or a hold."""

    why: str
    until: datetime
    instead: Renew | Deploy | Adopt | Bootstrap | Sweep
    by: Literal["backoff", "retry_after", "hold"] = "backoff"


Action = Renew | Deploy | Adopt | Bootstrap | Sweep
Decision = Wait | Postpone | Action
D = TypeVar("D", bound=Decision)


def decide(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    *,
    now: datetime,
    forced: bool = False,
    by_hand: bool = False,
) -> Decision:
    """The decision about one certificate.

    ``by_hand`` overrides the backoff, as does a configuration that was mended; ``forced`` renews
    whatever the dates say, and overrides a hold and a Retry-After too. A CA that is no longer the
    configured one has no say.
    """
    due = _aloud(_due(policy, standing, attempts, now=now, forced=forced), standing)
    if isinstance(due, Wait):
        return due
    postponed = _not_yet(due, policy, standing, attempts, now=now, forced=forced, by_hand=by_hand)
    return _aloud(postponed, standing) if postponed else due


def by_decision(decision: Decision | None) -> Held | None:
    """A backoff, the CA's Retry-After, or a hold after a rollback."""
    if not isinstance(decision, Postpone):
        return None
    return Held(Gate(decision.by), decision.why, decision.until)


def backoff(failures: int, left: timedelta | None) -> timedelta:
    """How long to wait after one or more failures in a row: 1, 10, 100 minutes, then a day.

    Compressed when only ``left`` of the lifetime remains, so that several attempts fit before
    the end.
    """
    delay = BACKOFF[min(failures, len(BACKOFF)) - 1]
    if left is None:
        return min(delay, BACKOFF[2])
    return max(BACKOFF[0], min(delay, left / 10))


def after_failures(attempts: Attempts) -> str:
    """How often it has failed in a row, and the last reason."""
    return f"after {count(attempts.failures, 'failure')}, the last: {attempts.why}"


def longest_wait(left: timedelta | None) -> timedelta:
    """How long to wait at most because a CA asks for it, when so much lifetime is ``left``.

    A quarter of it, so that there are three more tries at least before the end, whatever the CA
    says each time; a day where nothing is served.
    """
    return BACKOFF[-1] if left is None else max(BACKOFF[0], left / 4)


def _due(
    policy: Policy, standing: Standing, attempts: Attempts, *, now: datetime, forced: bool
) -> Wait | Action:
    if not policy.enabled:
        return Wait("disabled in the configuration", now + RECHECK)
    if (number := _placeholder_for(policy, standing)) is not None:
        return Bootstrap("no certificate yet", number)
    candidate = None if forced else _candidate(policy, standing, now=now)
    if candidate is not None:
        return Deploy(
            f"generation {candidate.number} was issued and not deployed", candidate.number
        )
    otherwise = _by_what_is_live(policy, standing, attempts, now=now, forced=forced)
    mending = _mending(standing, now=now)
    # where that was tried last and failed, a renewal comes first: neither keeps the other away
    failed = attempts.failures and not attempts.authority
    return otherwise if mending is None or (failed and isinstance(otherwise, Renew)) else mending


def _by_what_is_live(
    policy: Policy, standing: Standing, attempts: Attempts, *, now: datetime, forced: bool
) -> Wait | Action:
    if forced:
        return Renew("asked for by hand", now, forced=True)
    live = standing.live
    if live is None and standing.newest is None:
        return Adopt("no generation yet") if policy.adopts else Renew("there is none yet", now)
    if live is None or live.facts is None:
        broken = live.broken if live else "no generation is live"
        return Renew(f"the live certificate cannot be used: {broken}", now)
    if live.placeholder:
        return Renew("a placeholder is in place, there is no certificate yet", now)
    facts = live.facts
    if facts.not_after <= now:
        return Renew(f"it expired at {stamp(facts.not_after)}", facts.not_after)
    if reason := usable(live, now=now):
        return Wait(f"{reason}; is the clock right?", min(facts.not_before, now + RECHECK))
    if fallen := fallen_back(standing):
        return Renew(fallen, now)
    if difference := drift(facts, live, policy):
        return Renew(difference, now)
    at, rule = renewal_time(facts, live.meta.draw if live.meta else 0.0, policy)
    if at <= now:
        return Renew(f"{rule} has passed", at)
    if behind := _behind(policy.places, standing, live.number):
        return Deploy(_not_yet_on(behind), live.number)
    if standing.displaced is not None:
        return Deploy(f"the copies are not as they should be: {standing.displaced}", live.number)
    if standing.damaged is not None:
        return Deploy("what was known of it is lost", live.number)
    if attempts.left:
        return Sweep(f"left behind: {count(len(attempts.left), 'TXT record')}")
    return Wait(f"renewal at {rule}", at)


def fallen_back(standing: Standing) -> str | None:
    """That an older generation is live because a newer one cannot be used, or None."""
    live, newest = standing.live, standing.newest
    if live is None or newest is None or newest.number <= live.number:
        return None
    if newest.facts is not None or newest.number in standing.state.withdrawn:
        return None
    return (
        f"generation {newest.number} cannot be used: {newest.broken}; generation {live.number} is "
        "live in its place"
    )


def _mending(standing: Standing, *, now: datetime) -> Deploy | None:
    """How the live generation is mended without an order, or replaced by one that can be used."""
    live = standing.live
    if live is not None and live.facts is not None:
        expired = live.facts.not_after <= now
        if live.damaged is not None and (live.placeholder or not usable(live, now=now)):
            return Deploy(f"generation {live.number} is damaged: {live.damaged}", live.number, True)
        if not live.placeholder and not expired:
            return None  # good, or of a time to come: then the clock is wrong
    broken = usable(live, now=now) if live else "no generation is live"
    for each in (standing.newest, *standing.earlier):
        if each is None or each.number in standing.state.withdrawn:
            continue
        if usable(each, now=now) is None:
            why = f"the live certificate cannot be used: {broken}; generation {each.number} is "
            return Deploy(f"{why}deployed in its place", each.number, True)
    return None


def _aloud(decision: D, standing: Standing) -> D:
    """The decision, which says too what it was made without, and what stands in for what."""
    for words in (standing.damaged, fallen_back(standing)):
        if words is not None and words not in decision.why:
            decision = replace(decision, why=f"{decision.why}; {words}")
    return decision


def _candidate(policy: Policy, standing: Standing, *, now: datetime) -> Generation | None:
    """A generation that was issued and is better than the live one."""
    newest, live = standing.newest, standing.live
    if newest is None or newest.number in standing.state.withdrawn:
        return None
    if live is not None and newest.number <= live.number:
        return None
    if newest.facts is None or usable(newest, now=now):
        return None
    if drift(newest.facts, newest, policy):
        return None
    at, _ = renewal_time(newest.facts, newest.meta.draw if newest.meta else 0.0, policy)
    return newest if at > now else None


def _placeholder_for(policy: Policy, standing: Standing) -> int | None:
    """The generation that a placeholder is to be; None where none is wanted."""
    live, newest = standing.live, standing.newest
    if not policy.bootstraps or (live is not None and live.facts is not None):
        return None
    if any(not each.placeholder for each in (newest, *standing.earlier) if each):
        return None  # there was a certificate: it is put back, or another one ordered
    if newest is not None and newest.facts is not None:
        return newest.number  # one that never became live does
    return max(each.number if each else 0 for each in (live, newest)) + 1


def _behind(places: Sequence[str], standing: Standing, live: int) -> list[str]:
    proven = standing.state.targets
    return [name for name in places if name not in proven or proven[name].generation != live]


def _not_yet_on(behind: Sequence[str]) -> str:
    targets = ", ".join(name for name in behind if name != COPIES)
    proofs = f"not yet proven on {targets}"
    if COPIES not in behind:
        return f"in place, {proofs}"
    return f"not yet installed and {proofs}" if targets else "not yet installed"


def _not_yet(
    due: Action,
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    *,
    now: datetime,
    forced: bool,
    by_hand: bool,
) -> Postpone | None:
    if forced:
        return None
    # an attempt in the future was made before the clock was put right, and says nothing of now
    failed_at = attempts.at if attempts.at and attempts.at <= now else None
    # nor does what one CA asked for of another, which may have been configured because of it
    same_ca = attempts.authority in ("", policy.authority)
    if failed_at and attempts.retry_after and same_ca and _orders(due):
        left = _left(standing, now=failed_at)
        until = failed_at + min(attempts.retry_after, longest_wait(left))
        if now < until:
            return Postpone("the CA asked to wait", until, due, "retry_after")
    held = standing.state.held
    if held and now < held and _orders(due) and not usable(standing.live, now=now):
        return Postpone("held after a rollback by hand", held, due, "hold")
    if by_hand or attempts.mended or isinstance(due, Bootstrap):  # what ends many a failure
        return None
    if isinstance(due, Deploy) and due.mends and attempts.authority:
        return None  # what failed was to get another one
    counted, since = attempts.failures - attempts.by_hand, attempts.unasked_at or failed_at
    if counted > 0 and since and since <= now:
        until = since + backoff(counted, _left(standing, now=now))
        if now < until:
            what = f"{due.why}; " if isinstance(due, Deploy) else ""
            return Postpone(what + after_failures(attempts), until, due)
    return None


def _left(standing: Standing, *, now: datetime) -> timedelta | None:
    """How much there is left of what is served, None if nothing is."""
    live = standing.live
    facts = live.facts if live and not live.placeholder else None
    return facts.not_after - now if facts and facts.not_after > now else None


def _orders(action: Action) -> bool:
    return isinstance(action, Renew | Adopt)  # without a pair to adopt, an order comes next
