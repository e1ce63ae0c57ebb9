"""What must be shown before a key is destroyed, and what of it is lacking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from certrotd.wording import stamp


class Lacking(StrEnum):
    """The codes of what keeps a key from being destroyed."""

    NOTHING_NAMED = "nothing-named"
    NOT_COUNTED = "not-counted"
    REMAINING = "ciphertext-remains"
    CENSUS_EARLY = "census-early"
    CENSUS_STALE = "census-stale"
    DRAINING = "draining"
    NO_DRILL = "no-drill"
    DRILL_STALE = "drill-stale"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is not shown: its code, and words for people."""

    code: Lacking
    why: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many ciphertexts under the key a dataset held at ``at``."""

    left: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a census and a restore drill may be at the moment of destruction."""

    census: timedelta = timedelta(days=1)
    drill: timedelta = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one key version.

    ``datasets``: every dataset of the keyring; ``census``: the last count of each, by name;
    ``drains``: what holds ciphertext that cannot be re-encrypted (cookies, queues, backups), and
    when the last of it has expired; ``drilled``: the last successful restore drill.
    """

    datasets: frozenset[str]
    census: Mapping[str, Count]
    drains: Mapping[str, datetime]
    drilled: datetime | None

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
    if encrypted_until is not None and not evidence.datasets and not evidence.drains:
        words = "the key has encrypted, and no dataset or drain is named that it protected"
        yield Missing(Lacking.NOTHING_NAMED, words)
    for name in sorted(evidence.datasets | evidence.census.keys()):
        yield from _of_census(name, evidence.census.get(name), fresh, encrypted_until, now)
    for what, over in sorted(evidence.drains.items()):
        if over > now:
            yield Missing(Lacking.DRAINING, f"{what} may hold ciphertext until {stamp(over)}")
    yield from _of_drill(evidence.drilled, fresh, now)


def _of_census(
    name: str, count: Count | None, fresh: Freshness, since: datetime | None, now: datetime
) -> Iterator[Missing]:
    if count is None:
        yield Missing(Lacking.NOT_COUNTED, f"the dataset {name} was not counted")
        return
    if count.left:
        words = f"{count.left} ciphertexts under the key remain in {name}"
        yield Missing(Lacking.REMAINING, words)
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


def _of_drill(drilled: datetime | None, fresh: Freshness, now: datetime) -> Iterator[Missing]:
    if drilled is None:
        words = "no restore drill has succeeded, or the last one failed"
        yield Missing(Lacking.NO_DRILL, words)
    elif drilled > now:
        words = f"the restore drill is dated in the future: {stamp(drilled)}"
        yield Missing(Lacking.CLOCK, words)
    elif now - drilled > fresh.drill:
        yield Missing(Lacking.DRILL_STALE, f"the last restore drill is of {stamp(drilled)}")
