"""How long is waited for a lock that another process has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.errors import LockHeld
from certrotd.id import Id
from certrotd.scheduling.backoff import Backoff

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(("free_after", "waited"), [(None, 60), (7, 7), (3600, 60)])
def test_a_lock_that_runs_out_is_tried_once_it_has(free_after: int | None, waited: int) -> None:
    """A new leader goes on with what the old one left as soon as its Lease is over."""
    left = None if free_after is None else timedelta(seconds=free_after)
    backoff, web = Backoff(), Id("certificate", "web")
    backoff.busy(web, LockHeld("certificate web", holder="pod a", free_after=left), 100.0)
    held = backoff.held(web, NOW, 100.0)
    assert held is not None
    assert held.until == NOW + timedelta(seconds=waited)
    assert backoff.held(web, NOW, 100.0 + waited) is None
