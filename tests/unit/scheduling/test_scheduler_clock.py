"""The scheduler on clocks that jump, stand still, or are wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from certrotd.certs.limits.budget import BudgetStore
from certrotd.certs.limits.sliding_windows import Limit, Limits, Spent
from certrotd.errors import Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.scheduling.clock_trust import ClockTrust
from tests.unit.scheduling.bench import DAY, HOUR, MINUTE, SECOND, Bench


def test_a_run_missed_by_a_long_stop_is_made_up_for() -> None:
    """The process was not there when the time had come."""
    bench = Bench()
    bench.process.tick()
    bench.clock.advance(70 * DAY)
    bench.kept.last_run = bench.clock.now() - MINUTE
    bench.start().tick()
    assert bench.live() == 2


def test_a_machine_suspended_over_a_due_time_renews_when_it_wakes() -> None:
    """Monotonic time stood still, the wall clock did not."""
    bench = Bench()
    bench.process.tick()
    bench.pass_time(60 * DAY - 2 * HOUR, HOUR)
    assert bench.live() == 1
    bench.clock.suspend(5 * HOUR)
    bench.process.tick()
    bench.process.tick()
    assert bench.live() == 2
    assert bench.process.heard.judgements[-1][1] == 5 * HOUR


def test_a_clock_a_year_ahead_costs_no_order() -> None:
    """All certificates look expired; the CA's time tells that they are not."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(50)))
    bench.process.tick()
    bench.pass_time(DAY, HOUR)
    assert bench.orders == 50
    bench.clock.off = 365 * DAY
    bench.pass_time(3 * HOUR)
    assert bench.trust == "wrong"
    assert "the clock is 365 days ahead of the CA's" in bench.process.heard.judgements[-1][0].why
    assert bench.orders == 50
    assert {bench.live(name) for name in bench.disks} == {1}
    bench.clock.off = timedelta(0)
    bench.pass_time(DAY, HOUR)
    assert bench.trust == "sound"
    assert (bench.orders, bench.kept.last_run) == (50, bench.clock.now())
    bench.pass_time(60 * DAY, HOUR)
    assert {bench.live(name) for name in bench.disks} == {2}  # the control: it did no harm


def test_a_clock_days_ahead_orders_no_short_lived_certificate() -> None:
    """It would be valid by it, and due again at once, for ever."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(20)), lifetime=6 * DAY)
    bench.process.tick()
    bench.clock.off = 4 * DAY
    bench.pass_time(12 * HOUR)
    assert bench.trust == "wrong"
    assert "the clock is 4 days ahead of the CA's" in bench.process.heard.judgements[-1][0].why
    assert bench.orders == 20
    bench.clock.off = timedelta(0)
    bench.pass_time(4 * DAY, 10 * MINUTE)
    assert bench.trust == "sound"
    assert bench.orders == 40  # all are renewed once it is right


def test_after_a_long_rest_everything_is_renewed_within_minutes() -> None:
    """The same leap, and the CA says that the clock is right: then it is remembered."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(20)))
    bench.process.tick()
    bench.clock.suspend(80 * DAY)
    bench.pass_time(2 * MINUTE, SECOND)
    assert bench.trust == "sound"
    assert {bench.live(name) for name in bench.disks} == {2}
    assert bench.orders == 40
    bench.pass_time(2 * MINUTE)
    assert bench.kept.last_run == bench.clock.now()


@pytest.mark.parametrize("back", [DAY, 400 * DAY])
def test_a_clock_set_back_stops_orders_and_nothing_else(back: timedelta) -> None:
    """What is on disk is deployed; what has to be dated waits until it can be."""
    bench = Bench("a.example.com", "b.example.com")
    bench.process.tick()
    bench.pass_time(61 * DAY, 61 * DAY / 2)
    assert bench.live("a") == 2
    bench.disks["a"].live = None  # its newest generation waits to be deployed
    bench.disks["b"].live = bench.disks["b"].newest = None
    bench.clock.off = -back
    bench.pass_time(HOUR)
    assert bench.trust == "wrong"
    # a generation of the future is not put live: it would be refused by every client
    assert (bench.live("b"), bench.orders) == (0, 4)
    said = [each for each in bench.process.heard.judgements if each[0].trust is ClockTrust.WRONG]
    assert len(said) == 1
    bench.clock.off = timedelta(0)
    bench.pass_time(MINUTE)
    assert (bench.live("a"), bench.live("b"), bench.orders) == (2, 1, 5)


def test_a_clock_behind_does_not_stop_deployments_and_recovery() -> None:
    """Only what asks somebody else for a date has to wait."""
    bench = Bench("a.example.com", "b.example.com")
    bench.rotator.deploys = lambda _name: False
    bench.process.tick()
    bench.pass_time(2 * HOUR)
    assert bench.live("a") == 0
    bench.start()
    bench.clock.off = -30 * MINUTE
    bench.pass_time(2 * HOUR)
    assert (bench.live("a"), bench.live("b"), bench.orders) == (1, 1, 2)


def test_a_clock_set_back_during_a_rotation_does_no_harm() -> None:
    """Its failure is stamped with a time that is not yet; the next attempt does not wait for it."""
    bench = Bench()
    bench.ca.hang = _once(lambda: setattr(bench.clock, "off", -20 * HOUR))
    bench.clock.off = timedelta(0)
    bench.process.tick()
    bench.process.tick()
    # the certificate is dated after the clock: it is not taken for good
    assert bench.live() == 0
    assert bench.trust == "wrong"
    bench.clock.off = timedelta(0)
    bench.pass_time(15 * MINUTE)
    assert (bench.live(), bench.orders) == (1, 2)


def test_a_certificate_shows_that_the_clock_is_behind_when_nothing_else_does() -> None:
    """The state directory was lost, and the battery of the clock with it."""
    bench = Bench("a.example.com", "b.example.com")
    bench.process.tick()
    bench.disks["b"].live = bench.disks["b"].newest = None
    bench.kept.last_run = None
    bench.clock.off = -10 * 365 * DAY
    bench.start()
    bench.pass_time(HOUR)
    assert (bench.trust, bench.orders) == ("wrong", 2)
    assert bench.kept.last_run is None


def test_a_certificate_that_is_due_again_as_soon_as_it_is_there_is_left_alone() -> None:
    """A CA that issues for less than its clock is off would be asked without end."""
    bench = Bench()
    bench.lifetime = timedelta(minutes=90)  # an hour of it is gone when it is issued
    bench.process.tick()
    bench.pass_time(12 * HOUR)
    assert 4 < bench.orders < 14


def test_a_last_run_that_cannot_be_kept_is_reported_and_stops_nothing() -> None:
    """A full state directory."""
    bench = Bench()

    def full(_moment: datetime) -> None:
        raise DiskTrouble("write clock.json", OSError(28, "No space left on device"))

    bench.process.scheduler._time._remember = full
    bench.process.tick()
    assert [what for what, _ in bench.process.heard.troubles] == ["the time of the last run"]
    assert bench.live() == 1
    assert "the time of the last run" not in bench.process.heard.calm
    bench.process.scheduler._time._remember = bench.kept.remember
    bench.pass_time(3 * MINUTE)
    assert bench.process.heard.calm.count("the time of the last run") == 1


def test_the_time_of_the_last_run_is_kept_once_a_minute() -> None:
    """A disk is not written to every second for that."""
    bench = Bench()
    kept: list[datetime] = []
    bench.process.scheduler._time._remember = kept.append
    bench.process.tick()
    bench.pass_time(10 * MINUTE, SECOND)
    assert len(kept) == 11


def test_the_private_ca_is_not_asked_for_the_time() -> None:
    """It has our own clock: after a long rest its certificates need no probe."""
    bench = Bench(concurrency=8)
    del bench.disks["web"]
    for number in range(8):
        bench.add(f"h{number}.d{number}.example", authority="internal:ca")
    bench.start().tick()
    bench.process.tick()
    bench.clock.suspend(80 * DAY)
    bench.process.scheduler.tick()
    bench.process.scheduler.tick()
    assert len(bench.process.jobs) == 8
    bench.process.run()
    assert {bench.live(name) for name in bench.disks} == {2}


def test_a_clock_set_forward_does_not_spend_the_budget_again() -> None:
    """By the wall clock the orders of this minute were placed hours ago, by the CA's they were not.

    A leap below a day is not doubted, so the budget has to hold by itself.
    """
    hosts = [f"h{number}.d{number}.example" for number in range(9)]
    bench = Bench(*hosts, limits=Limits(orders=Limit(4, 3 * HOUR)))
    bench.process.tick()
    assert bench.orders == 4
    bench.clock.off = 20 * HOUR
    bench.pass_time(2 * HOUR)
    assert (bench.trust, bench.orders) == ("sound", 4)
    bench.pass_time(HOUR + 2 * MINUTE)
    assert bench.orders == 8


def test_a_budget_that_cannot_handle_a_clock_jump_is_in_trouble_until_it_can() -> None:
    """Whoever was woken for it hears when it is over; and the jump is not forgotten meanwhile."""
    hosts = [f"h{number}.d{number}.example" for number in range(9)]
    bench = Bench(*hosts, limits=Limits(orders=Limit(4, 3 * HOUR)))
    bench.process.tick()
    heard, what = bench.process.heard, "the budget of ca"
    assert bench.rotator.budget is not None
    record = _Broken(bench.rotator.budget._record)
    bench.rotator.budget._record = record
    heard.calm.clear()
    record.broken = True
    bench.clock.off = 20 * HOUR
    bench.pass_time(10 * MINUTE)
    assert {said for said, _ in heard.troubles} >= {what}
    assert heard.calm == []
    record.broken = False
    bench.pass_time(2 * HOUR)
    assert heard.calm.count(what) == 1
    assert bench.orders == 4  # by the CA's clock there is no room yet
    bench.pass_time(HOUR)
    assert bench.orders == 8
    assert heard.calm.count(what) == 1


def test_a_budget_in_trouble_that_a_reload_takes_away_is_so_no_more() -> None:
    """No issuer, no trouble; the one that stays is said to be well when it is."""
    bench = Bench("a.example.com", limits=Limits(orders=Limit(4, HOUR)))
    bench.process.tick()
    assert bench.rotator.budget is not None
    record = _Broken(bench.rotator.budget._record)
    bench.rotator.budget._record = record
    record.broken = True
    bench.clock.off = 2 * HOUR
    bench.process.tick()
    heard = bench.process.heard
    heard.calm.clear()
    bench.process.scheduler.replace(bench.process.workload(bench.disks))
    bench.process.tick()
    assert heard.calm == []  # the same one, and as it was
    bench.process.scheduler.replace(bench.process.workload({}))
    assert heard.calm == ["the budget of ca"]


class _Broken:
    """A record that cannot be read while it is ``broken``."""

    def __init__(self, record: BudgetStore) -> None:
        self.record = record
        self.broken = False

    def load(self) -> Spent | None:
        if self.broken:
            raise DiskTrouble("read the budget", OSError(5, "Input/output error"))
        return self.record.load()

    def save(self, spent: Spent) -> None:
        self.record.save(spent)


def _once(act: Callable[[], None]) -> Callable[[Sequence[str]], None]:
    done: list[int] = []

    def hang(_names: Sequence[str]) -> None:
        if not done:
            done.append(1)
            act()
            raise Transient("the connection was reset")

    return hang
