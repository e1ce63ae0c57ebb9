"""Cron expressions in UTC: checked when they are read, and asked when they come next."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from certrotd.config.base import refuse, shown


def _trigger(expression: str) -> Any:
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger.from_crontab(expression, timezone=UTC)


def checked(expression: str) -> str:
    """The expression, if it is one and comes at all."""
    try:
        after = calendar(expression)(datetime(2026, 1, 1, tzinfo=UTC))
    except (ValueError, OverflowError):
        after = None
    if after is None:
        raise refuse(
            'must be a cron expression of five fields, such as "0 3 1 * *", '
            f"got {shown(expression)}"
        )
    return expression


def calendar(expression: str) -> Callable[[datetime], datetime | None]:
    """When it comes next after a moment, None if never; raises ValueError for no expression."""
    trigger = _trigger(expression)

    def following(after: datetime) -> datetime | None:
        found: datetime | None = trigger.get_next_fire_time(after, after)
        return found

    return following
