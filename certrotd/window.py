"""A maintenance window: the days and hours in which services may be reloaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Window:
    """The days (0 is Monday) on which it opens, and from when to when; it may pass midnight.

    ``zone`` is read once: the tz database may be replaced, or be gone, while the daemon runs.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: tzinfo

    def opens_at(self, now: datetime) -> datetime:
        """``now`` while it is open, else when it opens next, in UTC."""
        zone = self.zone
        today = now.astimezone(zone).date()
        # from yesterday on: one that passes midnight may be open still
        for ahead in range(-1, _DAYS_AHEAD):
            day = today + timedelta(days=ahead)
            if day.weekday() not in self.days:
                continue
            begin = datetime.combine(day, self.start, zone).astimezone(UTC)
            last = day if self.end > self.start else day + timedelta(days=1)
            end = datetime.combine(last, self.end, zone).astimezone(UTC)
            # when clocks go forward, one of that hour may end before it begins: it does not open
            if now < end and begin < end:
                return max(now, begin)
        raise AssertionError("every window opens within two weeks")

    def __str__(self) -> str:
        days = ",".join(name for number, name in enumerate(DAYS) if number in self.days)
        often = "" if len(self.days) == len(DAYS) else f"{days} "
        return f"{often}{self.start:%H:%M}-{self.end:%H:%M} {self.zone}"


def zone_of(name: str) -> tzinfo:
    """The time zone of that name in the tz database; UTC needs none. Raises as ZoneInfo."""
    return UTC if name == "UTC" else ZoneInfo(name)
