"""What must be shown before a key is withheld or destroyed, and what of it is lacking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from certrotd.errors import listed
from certrotd.wording import count as how_many
from certrotd.wording import span, stamp


class Lacking(StrEnum):
    """The codes of what keeps a key from being withheld or destroyed."""

    HELD = "held"
    NOTHING_NAMED = "nothing-named"
    UNREACHABLE = "dataset-unreachable"
    CUT_SHORT = "listing-cut-short"
    NOT_COUNTED = "not-counted"
    REMAINING = "ciphertext-remains"
    INDEXED = "blind-index-remains"
    QUARANTINED = "quarantined"
    CENSUS_EARLY = "census-early"
    CENSUS_STALE = "census-stale"
    CENSUS_ONCE = "census-once"
    DRAINING = "draining"
    NOT_SCANNED = "not-scanned"
    SCAN_STALE = "scan-stale"
    UNDECLARED = "undeclared-ciphertext"
    UNACKNOWLEDGED = "not-acknowledged"
    NO_DRILL = "no-drill"
    DRILL_STALE = "drill-stale"
    BACKUPS_AWAY = "backups-unreachable"
    NO_REHEARSAL = "no-rehearsal"
    REHEARSAL_STALE = "rehearsal-stale"
    UNCONFIRMED = "not-confirmed"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is not shown: its code, and words for people."""

    code: Lacking
    why: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many values of a dataset the key may be needed for, as counted at ``at``.

    ``unopened`` of them open with no key at all, and ``indexes`` are blind indexes.
    ``zero_since`` is the first of an unbroken series of counts of zero, None where this one is not
    zero. ``method`` says how it was counted.
    """

    left: int
    at: datetime
    unopened: int = 0
    zero_since: datetime | None = None
    method: str = ""
    indexes: int = 0

    @property
    def ciphertexts(self) -> int:
        """How many are ciphertext under the key."""
        return self.left - self.unopened - self.indexes

    def after(self, before: Count | None) -> Count:
        """This count, in the series that ``before`` ends."""
        if self.left:
            return replace(self, zero_since=None)
        first = before.zero_since if before is not None else None
        return replace(self, zero_since=self.at if first is None else min(first, self.at))


@dataclass(frozen=True, slots=True)
class NotCounted:
    """That a dataset could not be counted at ``at``; ``code`` is UNREACHABLE or CUT_SHORT."""

    code: Lacking
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """That ``by`` forbids to withhold or destroy a version, until ``until`` (None: for ever)."""

    why: str
    by: str
    at: datetime
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it still does."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        end = f" until {stamp(self.until)}" if self.until else ""
        return f"held by {self.by}{end}: {self.why}"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """That ``by`` confirmed the destruction of a version."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Scan:
    """That undeclared ciphertext was looked for at ``at``, and where some is, in words.

    ``unfinished`` are the places that were not seen whole.
    """

    at: datetime
    undeclared: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a census, a restore drill and a scan may be when a key is withheld or destroyed.

    ``apart``: the census was zero twice, so far apart at least, and never else between.
    ``rehearsal`` is how old the last rehearsal of an emergency may be, None if none is asked for.
    """

    census: timedelta = timedelta(days=1)
    drill: timedelta = timedelta(days=92)
    scan: timedelta = timedelta(days=7)
    apart: timedelta = timedelta(0)
    rehearsal: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one key version.

    ``datasets``: every dataset of the keyring; ``census``: the last count of each, by name;
    ``failed``: those that could not be counted since; ``drains``: what holds ciphertext that cannot
    be re-encrypted (cookies, queues, backups), and when the last of it has expired; ``drilled``:
    the last successful restore drill; ``scan``: the last scan for undeclared ciphertext, where one
    ``scans``; ``unacknowledged``: the consumers that do not confirm the
    present keys, and what each has; ``confirmed``: who confirmed, where ``confirmations`` people
    have to. ``rehearsed`` is the last rehearsal of an emergency, if it succeeded.
    ``backups_away``: why its backups cannot be freed of the key, empty if they can.
    """

    datasets: frozenset[str]
    census: Mapping[str, Count]
    drains: Mapping[str, datetime]
    drilled: datetime | None
    failed: Mapping[str, NotCounted] = field(default_factory=dict)
    hold: Hold | None = None
    scans: bool = False
    scan: Scan | None = None
    unacknowledged: tuple[str, ...] = ()
    confirmations: int = 0
    confirmed: tuple[str, ...] = ()
    rehearsed: datetime | None = None
    backups_away: str = ""

    def __str__(self) -> str:
        counted = ", ".join(f"{n} at {stamp(self.census[n].at)}" for n in sorted(self.census))
        drained = ", ".join(f"{n} since {stamp(self.drains[n])}" for n in sorted(self.drains))
        return (
            f"census 0 of {counted or 'no dataset'}; drained: {drained or 'nothing'}; "
            f"restore drill at {stamp(self.drilled) if self.drilled else 'no time'}"
        )


def missing(
    evidence: Evidence, fresh: Freshness, *, encrypted_until: datetime | None, now: datetime
) -> Iterator[Missing]:
    """Everything that ``evidence`` does not show; nothing if the key may be destroyed.

    ``encrypted_until`` is when the key stopped encrypting, None if it never began: a count from
    before that shows nothing.
    """
    if evidence.hold is not None and evidence.hold.holds(now):
        yield Missing(Lacking.HELD, f"it is {evidence.hold}")
    if encrypted_until is not None and not evidence.datasets and not evidence.drains:
        words = "the key has encrypted, and no dataset or drain is named that it protected"
        yield Missing(Lacking.NOTHING_NAMED, words)
    for name in sorted(evidence.datasets | evidence.census.keys()):
        count, failed = evidence.census.get(name), evidence.failed.get(name)
        if failed is not None and (count is None or failed.at > count.at):
            yield Missing(failed.code, f"the dataset {name} was not counted: {failed.why}")
        yield from _of_census(name, count, fresh, encrypted_until, now)
    for what, over in sorted(evidence.drains.items()):
        if over > now:
            yield Missing(Lacking.DRAINING, f"{what} may hold ciphertext until {stamp(over)}")
    if evidence.scans:
        yield from _of_scan(evidence.scan, fresh, encrypted_until, now)
    for words in evidence.unacknowledged:
        yield Missing(Lacking.UNACKNOWLEDGED, f"the present keys are not confirmed by {words}")
    yield from _of_drill(evidence.drilled, fresh, now)
    if evidence.backups_away:
        words = f"its backups cannot be freed of the key: {evidence.backups_away}"
        yield Missing(Lacking.BACKUPS_AWAY, words)
    if fresh.rehearsal is not None:
        yield from _of_rehearsal(evidence.rehearsed, fresh.rehearsal, now)
    confirmed = sorted(set(evidence.confirmed))
    if len(confirmed) < evidence.confirmations:
        so_far = " and ".join(confirmed) or "nobody"
        words = f"{evidence.confirmations} people have to confirm it, and {so_far} did"
        yield Missing(Lacking.UNCONFIRMED, words)


def _of_census(
    name: str, count: Count | None, fresh: Freshness, since: datetime | None, now: datetime
) -> Iterator[Missing]:
    if count is None:
        yield Missing(Lacking.NOT_COUNTED, f"the dataset {name} was not counted")
        return
    if count.ciphertexts > 0:
        words = f"{name} still has {how_many(count.ciphertexts, 'ciphertext')} under the key"
        yield Missing(Lacking.REMAINING, words)
    if count.indexes:
        remain = how_many(count.indexes, "blind index", "blind indexes")
        words = f"{name} still has {remain} under the key"
        yield Missing(Lacking.INDEXED, words)
    if count.unopened:
        words = f"{count.unopened:,} values of {name} open with no key: it may be this one"
        yield Missing(Lacking.QUARANTINED, words)
    if count.at > now:
        words = f"the census of {name} is dated in the future: {stamp(count.at)}"
        yield Missing(Lacking.CLOCK, words)
    elif now - count.at > fresh.census:
        words = f"the census of {name} is of {stamp(count.at)}: take it again"
        yield Missing(Lacking.CENSUS_STALE, words)
    if since is not None and count.at < since:
        words = (
            f"the census of {name} is of {stamp(count.at)}, before the key stopped encrypting at "
            f"{stamp(since)}"
        )
        yield Missing(Lacking.CENSUS_EARLY, words)
    elif not count.left:
        yield from _of_series(name, count, fresh, since)


def _of_series(
    name: str, count: Count, fresh: Freshness, since: datetime | None
) -> Iterator[Missing]:
    """That it was zero for long enough, by counts from after the key stopped encrypting."""
    first = count.zero_since or count.at
    if since is not None and first < since:
        first = count.at
    if count.at - first < fresh.apart:
        words = (
            f"the census of {name} is zero since {stamp(first)}: it has to be zero "
            f"{span(fresh.apart)} later, too"
        )
        yield Missing(Lacking.CENSUS_ONCE, words)


def _of_scan(
    scan: Scan | None, fresh: Freshness, since: datetime | None, now: datetime
) -> Iterator[Missing]:
    if scan is None or (since is not None and scan.at < since):
        words = "undeclared ciphertext was not looked for since the key stopped encrypting"
        yield Missing(Lacking.NOT_SCANNED, words)
        return
    if scan.at > now:
        words = f"the scan for undeclared ciphertext is dated in the future: {stamp(scan.at)}"
        yield Missing(Lacking.CLOCK, words)
    elif now - scan.at > fresh.scan:
        words = f"the last scan for undeclared ciphertext is of {stamp(scan.at)}"
        yield Missing(Lacking.SCAN_STALE, words)
    if scan.unfinished:
        words = f"the scan for undeclared ciphertext did not end: {listed(scan.unfinished, most=3)}"
        yield Missing(Lacking.CUT_SHORT, words)
    for each in scan.undeclared:
        yield Missing(Lacking.UNDECLARED, f"ciphertext is in no dataset: {each}")


def _of_drill(drilled: datetime | None, fresh: Freshness, now: datetime) -> Iterator[Missing]:
    if drilled is None:
        words = "no restore drill has succeeded, or the last one failed"
        yield Missing(Lacking.NO_DRILL, words)
    elif drilled > now:
        words = f"the restore drill is dated in the future: {stamp(drilled)}"
        yield Missing(Lacking.CLOCK, words)
    elif now - drilled > fresh.drill:
        yield Missing(Lacking.DRILL_STALE, f"the last restore drill is of {stamp(drilled)}")


def _of_rehearsal(at: datetime | None, most: timedelta, now: datetime) -> Iterator[Missing]:
    if at is None:
        words = "no emergency was rehearsed with success, or the last rehearsal failed"
        yield Missing(Lacking.NO_REHEARSAL, words)
    elif at > now:
        words = f"the rehearsal of an emergency is dated in the future: {stamp(at)}"
        yield Missing(Lacking.CLOCK, words)
    elif now - at > most:
        words = f"the last rehearsal of an emergency is of {stamp(at)}"
        yield Missing(Lacking.REHEARSAL_STALE, words)
