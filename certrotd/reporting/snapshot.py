"""A snapshot of everything the daemon knows, as values: what health, metrics and pages show.

Moments are seconds since 1970 (floats): there are 10,000 subjects, and a datetime is larger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from certrotd.id import Id
from certrotd.lifecycle.attempts import attempts_left
from certrotd.lifecycle.finding import FindingSeverity, Watched
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.view import STATES
from certrotd.rotation.flight import Flight
from certrotd.scheduling.clock_trust import SOUND, Judgement
from certrotd.scheduling.gates import DIRECTORIES

UNSEEN = "unseen"
"""The state of a subject that has not been looked at yet."""

FAILING = "failing"
"""What asks for somebody's attention, whatever its state."""

SHOWN = (*STATES, UNSEEN)
BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
"""The upper bounds of step durations, in seconds; one more is without a bound."""

_BAD = frozenset({"unreadable", "expired", "not yet valid", "broken"})
_DATED = frozenset({"ok", "not yet valid", "due", "postponed", "in flight"})


@dataclass(frozen=True, slots=True)
class LastLook:
    """What the last look at one subject showed; ``next`` is when the next one is due.

    ``act`` is the decision's; ``failures`` in a row, the last at ``failed_at`` for ``failure``.
    Dates are None while there is nothing to use, ``next`` if nobody knows. ``flight`` is a
    rotation that was in flight then and rested, ``held`` what held back what was due.
    """

    state: str
    why: str
    act: str
    next: float | None
    generation: int | None = None
    not_before: float | None = None
    not_after: float | None = None
    failures: int = 0
    failed_at: float | None = None
    failure: str = ""
    flight: Flight | None = None
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Durations:
    """How long a step took: how many within each of BUCKETS, and all together."""

    counts: tuple[int, ...]
    total: float

    def cumulated(self) -> Iterator[tuple[float | None, int]]:
        """Each bound (None: without one), and how many took at most so long."""
        sum_ = 0
        for bound, count in zip((*BUCKETS, None), self.counts, strict=True):
            sum_ += count
            yield bound, sum_


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration in force since ``since``, and what is wrong with the one on disk.

    ``refused`` are the problems for which a reload kept the old one; ``left_out`` those of
    entries that are skipped.
    """

    since: float
    refused: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether all of what is on disk is in force."""
        return not self.refused and not self.left_out


@dataclass(frozen=True)
class Snapshot:
    """What is known at ``now``.

    ``known`` has every subject in force (None: not looked at yet); ``running`` are rotated
    right now; ``troubles`` are words by what they are about, an id or something else in words.
    ``audit_damage`` is what was done to the audit log since the start, if anything was.
    ``rotations`` are counted by verdict and act, ``failed_steps`` and ``steps`` by step.
    """

    now: float
    configured: Configured
    known: Mapping[Id, LastLook | None]
    running: frozenset[Id] = frozenset()
    troubles: Mapping[Id | str, str] = field(default_factory=dict)
    watched: Sequence[Watched] = ()
    judgement: Judgement = SOUND
    last_tick: float | None = None
    rotations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    steps: Mapping[str, Durations] = field(default_factory=dict)
    failed_steps: Mapping[str, int] = field(default_factory=dict)
    unaudited: int = 0
    audit_damage: str = ""

    def state(self, subject: Id) -> str:
        """One word of SHOWN; as ``certrotd status`` has it, and up to date."""
        known = self.known[subject]
        if subject in self.running:
            return "in flight"
        if subject in self.troubles:
            return "unreadable"
        if known is None:
            return UNSEEN
        if known.state in _DATED and known.not_after is not None and known.not_after <= self.now:
            return "expired"
        return known.state

    def why(self, subject: Id) -> str:
        """The reason behind the state, in words."""
        known = self.known[subject]
        if subject in self.running:
            return "a rotation runs"
        if subject in self.troubles:
            return self.troubles[subject]
        if self.blocked:
            return self.blocked
        return known.why if known else "certrotd has not looked at it yet"

    def held(self, subject: Id) -> Held | None:
        """What holds back what is due of it, or in flight."""
        known = self.known[subject]
        if known is None or subject in self.running:
            return None
        if self.blocked and (known.flight is not None or known.act != "wait"):
            return Held(Gate.DIRECTORIES, self.blocked)
        return known.held

    @property
    def blocked(self) -> str:
        """Why nothing at all can be rotated; empty if that is not so."""
        return self.troubles.get(DIRECTORIES, "")

    def failing(self, subject: Id) -> bool:
        """Whether somebody should look at it."""
        known = self.known[subject]
        failures = known is not None and known.failures > 0
        return failures or bool(self.blocked) or self.state(subject) in _BAD

    def attempts_left(self, subject: Id) -> int | None:
        """How many attempts there will be before it expires; None where nothing is due."""
        known = self.known[subject]
        if known is None or known.not_after is None:
            return None
        if not known.failures and self.state(subject) not in ("due", "postponed", "in flight"):
            return None
        now = moment(self.now)
        failed_at = moment(known.failed_at) if known.failed_at is not None else None
        end = moment(known.not_after)
        return attempts_left(known.failures, failed_at, due=now, not_after=end, now=now)

    def count(self) -> dict[str, dict[str, int]]:
        """How many subjects of each kind are in each state; every state is there."""
        counted = Counter((each.kind, self.state(each)) for each in self.known)
        kinds = sorted({kind for kind, _ in counted})
        return {kind: {state: counted[kind, state] for state in SHOWN} for kind in kinds}

    def next_look(self) -> float | None:
        """When something is due next; None while nothing is known."""
        times = (known.next for known in self.known.values() if known)
        return min((each for each in times if each is not None), default=None)

    def others(self) -> dict[str, str]:
        """The troubles that are not about one subject."""
        return {what: why for what, why in self.troubles.items() if isinstance(what, str)}

    def found(self) -> dict[tuple[str, FindingSeverity], int]:
        """How often the watcher found what, by kind and severity."""
        return Counter(
            (each.kind, each.severity) for seen in self.watched for each in seen.findings
        )


def moment(seconds: float) -> datetime:
    """The same as a datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
