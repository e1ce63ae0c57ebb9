"""The CA's clock is compared with ours before anything is ordered."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from certrotd.acme.issuer import AcmeIssuer
from certrotd.clock import SystemClock
from certrotd.config.context import Surroundings
from certrotd.errors import Transient
from tests.builders import soon
from tests.unit.acme.scripted import NAME, ScriptedCA, context

DAY = timedelta(days=1)


class Told:
    """An issuer whose clock may be off, and what it says of the CA's."""

    def __init__(self, ca: ScriptedCA, state: Path, clock: SystemClock) -> None:
        self.times: list[datetime] = []
        site = Surroundings(ca_time=self.times.append)
        self.issuer = AcmeIssuer(ca.entry(), context(state, clock, site))

    def order(self) -> None:
        """An order for NAME."""
        self.issuer.order([NAME], deadline=soon())


class Off(SystemClock):
    """The machine's clock, off by so much."""

    def __init__(self, off: timedelta = timedelta(0)) -> None:
        self.off = off

    def now(self) -> datetime:
        return super().now() + self.off


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (365 * DAY + timedelta(hours=1), "the clock is 365 days ahead of the CA's"),
        (timedelta(hours=25), "the clock is 1 day ahead of the CA's"),
        (-4 * DAY - timedelta(hours=1), "the clock is 4 days behind the CA's"),
    ],
)
def test_a_clock_that_is_days_off_orders_nothing(
    ca: ScriptedCA, tmp_path: Path, off: timedelta, words: str
) -> None:
    """The certificate would be useless, and count against the CA's limits."""
    told = Told(ca, tmp_path, Off(off))
    with pytest.raises(Transient, match=words) as caught:
        told.order()
    assert "nothing was ordered (set the clock right)" in str(caught.value)
    assert ca.asked("/orders") == 0
    [time] = told.times
    assert abs(time - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_clock_that_is_hours_off_orders(ca: ScriptedCA, tmp_path: Path) -> None:
    """The control: its certificates can be used, and the daemon hears the CA's time as well."""
    told = Told(ca, tmp_path, Off(timedelta(hours=23)))
    told.order()
    assert ca.asked("/orders") == len(told.times) == 1


def test_an_old_date_is_asked_for_again(ca: ScriptedCA, tmp_path: Path) -> None:
    """The machine may have slept, or its clock been set, since the last answer."""
    clock = Off()
    told = Told(ca, tmp_path, clock)
    told.order()
    asked = ca.asked("/nonce")
    told.order()
    assert ca.asked("/nonce") == asked
    clock.off = 9 * DAY
    ca.date = format_datetime(clock.now(), usegmt=True)
    told.order()
    assert ca.asked("/nonce") == asked + 1
    assert told.times[-1] - told.times[0] > 8 * DAY


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_ca_without_a_date_is_believed_nothing(ca: ScriptedCA, tmp_path: Path, date: str) -> None:
    """Then certificates are ordered as if the clock were right."""
    ca.date = date
    told = Told(ca, tmp_path, Off(30 * DAY))
    told.order()
    assert (ca.asked("/orders"), told.times) == (1, [])
