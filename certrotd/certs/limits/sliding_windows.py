"""Sliding windows of a CA's limits: how many orders it still takes from an account.

Pure: what was spent, the limits and now go in, a moment or a new value comes out. A window that
never holds more than its count is also within a token bucket of that count and that refill time,
which is how public CAs keep theirs.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from certrotd.pki.generation import Standing
from certrotd.pki.names import base, is_ip

MARGIN = 0.9
SHORT = timedelta(days=1)
Stamps = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` within any span of the length ``per``."""

    count: int
    per: timedelta

    def with_margin(self) -> Limit:
        """A tenth less, at least one: what was spent elsewhere on the account counts too."""
        return Limit(max(1, int(self.count * MARGIN)), self.per)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one CA allows an account; None where nothing is known.

    ``orders`` altogether, new certificates per registered ``domain``, ``duplicates`` of the same
    set of names, ``failures`` of validation per name.
    """

    orders: Limit | None = None
    domain: Limit | None = None
    duplicates: Limit | None = None
    failures: Limit | None = None

    def of(self, key: str) -> Limit | None:
        """The limit of one of the keys that Spent counts by."""
        kind = key.partition(":")[0]
        match kind:
            case "orders":
                return self.orders
            case "domain":
                return self.domain
            case "set":
                return self.duplicates
            case "failed":
                return self.failures
            case "url":
                spans = [each.per for each in (self.domain, self.duplicates) if each]
                return Limit(1, max(spans)) if spans else None
            case _:
                return None


LETS_ENCRYPT = Limits(  # https://letsencrypt.org/docs/rate-limits/
    orders=Limit(300, timedelta(hours=3)).with_margin(),
    domain=Limit(50, timedelta(days=7)).with_margin(),
    duplicates=Limit(5, timedelta(days=7)).with_margin(),
    failures=Limit(5, timedelta(hours=1)).with_margin(),
)


@dataclass(frozen=True, slots=True)
class Over:
    """An order has to wait until ``until`` for the limit behind ``key``; ``why`` is for people."""

    key: str
    until: datetime
    why: str


@dataclass(slots=True)
class Spent:
    """When something was spent, by key, in seconds since 1970, ascending.

    Keys are ``orders``, ``domain:NAME``, ``set:DIGEST``, ``failed:NAME``, and ``url:DIGEST`` of
    orders whose certificate is counted.
    """

    stamps: dict[str, Stamps] = field(default_factory=dict)


def over(
    spent: Spent,
    limits: Limits,
    names: Sequence[str],
    *,
    renewal: bool,
    now: datetime,
    ahead: Mapping[str, int] | None = None,
) -> Over | None:
    """Why an order for ``names`` has to wait, or None.

    ``ahead`` is how many others wait for, or are about to spend, of a key: the answer is when
    there is room for those and this one. Of several limits the one that frees last is told.
    """
    found: Over | None = None
    for key in (*charged(limits, names, renewal=renewal), *_watched(limits, names)):
        limit = limits.of(key)
        assert limit is not None
        until = _room(spent.stamps.get(key, ()), limit, now, (ahead or {}).get(key, 0))
        if until is not None and (found is None or until > found.until):
            found = Over(key, until, f"{_words(key)}: {limit.count} in {_span(limit.per)}")
    return found


def charge_order(spent: Spent, limits: Limits, *, now: datetime) -> None:
    """Count an order of the account."""
    if limits.orders:
        _add(spent, "orders", limits, now)


def charge_certificate(
    spent: Spent, limits: Limits, names: Sequence[str], url: str, *, renewal: bool, now: datetime
) -> None:
    """Count a certificate, once for each order ``url``: it may be fetched several times."""
    once = f"url:{_digest([url])}"
    if once in spent.stamps:
        return
    for key in charged(limits, names, renewal=renewal):
        if key != "orders":
            _add(spent, key, limits, now)
            _add(spent, once, limits, now)


def charge_failure(spent: Spent, limits: Limits, names: Sequence[str], *, now: datetime) -> None:
    """Count a validation that the CA was not satisfied with, for each of the names."""
    for key in _watched(limits, names):
        _add(spent, key, limits, now)


def settle(spent: Spent, limits: Limits, *, now: datetime) -> Spent:
    """Without what is out of its window; what claims to be of the future happened at ``now``.

    For a clock that was put back: a stamp ahead of it would otherwise count for as long as the
    clock was wrong.
    """
    kept = Spent()
    for key, stamps in spent.stamps.items():
        limit = limits.of(key)
        if limit is None:
            continue
        seconds = now.timestamp()
        inside = tuple(
            min(each, seconds) for each in stamps if each > seconds - limit.per.total_seconds()
        )
        if inside:
            kept.stamps[key] = inside
    return kept


def charged(limits: Limits, names: Sequence[str], *, renewal: bool) -> tuple[str, ...]:
    """The keys an order for ``names``, and the certificate that comes of it, are counted by."""
    keys = []
    if limits.orders:
        keys.append("orders")
    if limits.domain and not renewal:
        keys += [f"domain:{each}" for each in sorted({registered_domain(n) for n in names})]
    if limits.duplicates:
        keys.append(f"set:{_digest(sorted(set(names)))}")
    return tuple(keys)


def leapt(spent: Spent, limits: Limits, by: timedelta) -> Spent:
    """After the wall clock went forward ``by`` more than monotonic time: as if no time had passed.

    Perhaps none has. Only for windows of at most a day: if the machine was suspended instead, that
    costs at most such a window, while a week's would never end on a machine that sleeps a lot.
    """
    moved = Spent()
    for key, stamps in spent.stamps.items():
        limit = limits.of(key)
        short = limit is not None and limit.per <= SHORT
        moved.stamps[key] = tuple(s + by.total_seconds() for s in stamps) if short else stamps
    return moved


def renews(standing: Standing, names: Sequence[str], authority: str) -> bool:
    """Whether an order is for the very names that this CA issued for before.

    Let's Encrypt does not count those by registered domain.
    """
    for generation in (standing.live, standing.newest):
        if generation and generation.facts and generation.meta:
            asked = generation.meta.asked or generation.facts.names
            if generation.meta.authority == authority and set(asked) == set(names):
                return True
    return False


def registered_domain(name: str) -> str:
    """The last two labels of a DNS name; an IP address is its own.

    Not the public suffix list: below ``co.uk`` or ``github.io`` it takes many owners for one,
    which is slower than needed, never faster than allowed.
    """
    plain = base(name)
    return plain if is_ip(plain) else ".".join(plain.split(".")[-2:])


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]


def _watched(limits: Limits, names: Sequence[str]) -> tuple[str, ...]:
    if limits.failures is None:
        return ()
    return tuple(f"failed:{each}" for each in sorted({base(name) for name in names}))


def _room(stamps: Stamps, limit: Limit, now: datetime, ahead: int) -> datetime | None:
    """When there is room for one more after ``ahead`` others; None: at once.

    Whoever is ahead is taken to spend as soon as there is room, and so to leave a window later.
    """
    end = now.timestamp() - limit.per.total_seconds()
    inside = list(stamps[bisect_right(stamps, end) :])
    later, place = divmod(ahead, limit.count)
    free = limit.count - len(inside)
    moment = now.timestamp()
    if place >= free:
        moment = inside[place - free] + limit.per.total_seconds()
    moment += later * limit.per.total_seconds()
    if moment <= now.timestamp():
        return None
    return datetime.fromtimestamp(moment, UTC) + timedelta(seconds=1)


def _add(spent: Spent, key: str, limits: Limits, now: datetime) -> None:
    limit = limits.of(key)
    assert limit is not None
    seconds = now.timestamp()
    stamps = spent.stamps.get(key, ())
    end = seconds - limit.per.total_seconds()
    kept = (*stamps[bisect_right(stamps, end) :], seconds)[-limit.count :]
    if len(kept) > 1 and kept[-2] > seconds:  # the clock was put back since
        kept = tuple(min(each, seconds) for each in kept)
    spent.stamps[key] = kept


def _words(key: str) -> str:
    kind, _, what = key.partition(":")
    match kind:
        case "domain":
            return f"new certificates for {what}"
        case "set":
            return "certificates for the same names"
        case "failed":
            return f"failed validations of {what}"
        case _:
            return "orders of the account"


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
