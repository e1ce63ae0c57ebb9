"""Whether the clock can be believed: against the last run, and the word of CAs.

A clock behind the last run, or behind a certificate that a CA has issued, is wrong. One far ahead
of the last run may be right after a long rest: the CA's date tells before anything is ordered.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from certrotd.jsontext import parsed
from certrotd.pki.certificate import moment
from certrotd.state.ports import State
from certrotd.state.typed import TypedDocument

SKEW = timedelta(minutes=5)
LEAP = timedelta(days=1)
JUMP = timedelta(seconds=30)


class ClockTrust(Enum):
    """Whether anything may be ordered by a clock."""

    SOUND = "sound"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be thought of the clock, and why; ``why`` is empty for a sound one."""

    trust: ClockTrust
    why: str = ""


SOUND = Judgement(ClockTrust.SOUND)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of the time.

    ``trusted`` is the latest moment that was believed, at ``monotonic`` seconds of this process.
    ``earliest`` is before now by the word of a CA. ``corrected``: ``trusted`` is what a CA said
    the time is, which was far from what our clock showed.
    """

    trusted: datetime | None
    monotonic: float
    earliest: datetime | None = None
    corrected: bool = False

    def judge(self, now: datetime, monotonic: float) -> Judgement:
        """What to think of a clock that shows ``now``."""
        known = max((m for m in (self.trusted, self.earliest) if m), default=None)
        if known is not None and now + SKEW < known:
            what = "a certificate that a CA has issued"
            if known == self.trusted:
                what = "the CA's time" if self.corrected else "the last run"
            return Judgement(
                ClockTrust.WRONG,
                f"the clock shows {now:%Y-%m-%d %H:%M}Z, which is before {what} "
                f"({known:%Y-%m-%d %H:%M}Z)",
            )
        leap = self._leap(now, monotonic)
        if self.corrected and leap > LEAP:
            return Judgement(ClockTrust.WRONG, f"the clock is {_days(leap)} ahead of the CA's")
        return SOUND

    def _leap(self, now: datetime, monotonic: float) -> timedelta:
        """How far it is ahead of the time that was trusted and has passed since."""
        if self.trusted is None:
            return timedelta(0)
        return now - self.trusted - timedelta(seconds=monotonic - self.monotonic)

    def passed(self, now: datetime, monotonic: float) -> Watch:
        """The same, a while later: a clock that is wrong, or has leapt, is not remembered."""
        wrong = self.judge(now, monotonic).trust is ClockTrust.WRONG
        if wrong or self._leap(now, monotonic) > LEAP:
            return self
        latest = max(now, self.trusted) if self.trusted else now
        return Watch(latest, monotonic, self.earliest)

    def told(self, time: datetime, now: datetime, monotonic: float) -> Watch:
        """A CA says what ``time`` it is: it confirms our clock, or corrects it."""
        if abs(now - time) <= LEAP:
            if self.judge(now, monotonic).trust is ClockTrust.WRONG:
                return self
            return Watch(max(now, self.trusted or now), monotonic, self.earliest)
        return Watch(time, monotonic, self.earliest, corrected=True)

    def seen(self, moment: datetime | None) -> Watch:
        """A moment that has passed by somebody else's word, as Found.passed."""
        if moment is None or (self.earliest is not None and moment <= self.earliest):
            return self
        return replace(self, earliest=moment)


def jumped(before: tuple[datetime, float], after: tuple[datetime, float]) -> timedelta | None:
    """By how much the wall clock went other than monotonic time, if by more than 30 s."""
    drift = after[0] - before[0] - timedelta(seconds=after[1] - before[1])
    return drift if abs(drift) > JUMP else None


def to_json(trusted: datetime) -> bytes:
    """What the document ``clock`` holds."""
    return json.dumps({"version": 1, "last_run": trusted.isoformat()}).encode()


def from_json(data: bytes) -> datetime | None:
    """What to_json wrote; None if it is something else."""
    try:
        document = parsed(data)
        return moment(document["last_run"]) if document["version"] == 1 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def clock_document(
    state: State, report: Callable[[str], None] = lambda _line: None
) -> TypedDocument[datetime]:
    """The time of the last run, kept across restarts."""
    return TypedDocument(state.document("clock"), from_json, to_json, report=report)


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:.0f} days" if days >= 2 else f"{span.total_seconds() / 3600:.0f} hours"
