"""The scheduler on clocks that are wrong, CAs that are gone, and solvers that hang."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from certrotd.certs.policy import Policy
from certrotd.certs.rotate import Report
from certrotd.daemon.budget import Limit, Limits
from certrotd.daemon.clockwatch import Trust
from certrotd.daemon.scheduler import Workload
from certrotd.errors import Failure, LockHeld, Transient
from certrotd.rotation.engine import Finished, Parked, Stuck
from certrotd.rotation.files import DiskTrouble
from tests.fakes.cheap import CA_URL, CheapCA, CheapDisk, CheapRotator, Crash, WorldClock
from tests.fakes.process import Kept, Process

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


class Bench:
    """A few certificates of 90 days at a CA without limits, and the daemon over them."""

    def __init__(self, *hosts: str, **options: object) -> None:
        self.clock = WorldClock(START)
        self.lifetime = 90 * DAY
        self.ca = CheapCA(self.clock, lambda _names: self.lifetime)
        self.disks: dict[str, CheapDisk] = {}
        for host in hosts or ("web.example.com",):
            self.add(host)
        self.kept = Kept()
        self.limits: Limits | None = None
        self.concurrency = 8
        for option, value in options.items():
            setattr(self, option, value)
        self.start()

    def add(self, host: str, authority: str = CA_URL) -> CheapDisk:
        """One more certificate, named by its first label."""
        name = host.split(".")[0]
        policy = Policy(name, (host,), "ca", authority, jitter=0.0)
        self.disks[name] = CheapDisk(policy)
        return self.disks[name]

    def start(self) -> Process:
        """A new process."""
        self.rotator = CheapRotator(self.disks, self.ca, self.clock, lambda: 0.5)
        self.process = Process(
            self.disks,
            self.rotator,
            self.clock,
            self.kept,
            limits=self.limits,
            concurrency=self.concurrency,
        )
        return self.process

    def live(self, name: str = "web") -> int:
        """The number of the live generation, 0 before the first."""
        live = self.disks[name].live
        return live.number if live else 0

    def pass_time(self, length: timedelta, step: timedelta = MINUTE) -> None:
        """Ticks for so long."""
        end = self.clock.true + length
        while self.clock.true < end:
            self.clock.advance(step)
            self.process.tick()

    @property
    def trust(self) -> str:
        """What is thought of the clock."""
        judgements = self.process.heard.judgements
        return judgements[-1][0].trust.value if judgements else Trust.SOUND.value

    @property
    def orders(self) -> int:
        """How many were placed."""
        return len(self.ca.orders)


def test_what_is_missing_is_obtained_at_the_first_tick_and_then_nothing_is_done() -> None:
    """And an idle tick looks at nothing."""
    bench = Bench()
    bench.process.tick()
    assert (bench.live(), bench.orders) == (1, 1)
    bench.pass_time(3 * HOUR)
    assert bench.process.heard.ticks[2:] == [0] * 179
    assert bench.orders == 1


def test_everything_is_looked_at_every_day() -> None:
    """Somebody may have removed the files."""
    bench = Bench("a.example.com", "b.example.com")
    bench.process.tick()
    bench.process.tick()
    bench.process.heard.looked.clear()
    bench.pass_time(DAY, 10 * MINUTE)
    assert set(bench.process.heard.looked) == {"a", "b"}
    bench.disks["a"].live = bench.disks["a"].newest = None
    bench.pass_time(DAY, 10 * MINUTE)
    assert bench.live("a") == 1
    assert bench.orders == 3


def test_it_renews_when_the_time_has_come() -> None:
    """Two thirds of ninety days, and not before."""
    bench = Bench()
    bench.process.tick()
    bench.pass_time(59 * DAY, HOUR)
    assert bench.orders == 1
    bench.pass_time(DAY + HOUR, HOUR)
    assert (bench.live(), bench.orders) == (2, 2)


def test_a_ca_that_is_gone_for_two_days_is_asked_ever_less_and_then_answers() -> None:
    """1, 10, 100 minutes, then daily: neither hammered nor forgotten."""
    bench = Bench()
    bench.ca.down_until = START + 2 * DAY
    bench.process.tick()
    bench.pass_time(2 * DAY - MINUTE)
    tries = len(bench.process.heard.reports)
    assert 20 < tries < 35  # without a certificate it is never more than 100 minutes
    assert bench.orders == 0
    bench.pass_time(100 * MINUTE)
    assert (bench.live(), bench.orders) == (1, 1)


def test_retry_after_is_kept_across_a_restart() -> None:
    """A CA that says six hours means six hours, also of the next process."""
    bench = Bench()
    bench.ca.busy_until = START + 6 * HOUR
    bench.process.tick()
    assert len(bench.process.heard.reports) == 1
    for _ in range(5):
        bench.start()
        bench.pass_time(HOUR)
        assert bench.process.heard.reports == []
    bench.pass_time(HOUR + MINUTE)
    assert (bench.live(), bench.orders) == (1, 1)


def test_a_restart_in_mid_rotation_goes_on_at_once_with_the_same_order() -> None:
    """What is in flight is due before anything else."""
    bench = Bench()
    bench.rotator.crashes = lambda _name: True
    bench.process.scheduler.tick()
    with pytest.raises(Crash):
        bench.process.run()
    bench.start().tick()
    assert (bench.live(), bench.orders) == (1, 1)
    assert isinstance(bench.process.heard.reports[0].recovered, Finished)


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


def test_a_clock_a_year_ahead_costs_a_handful_of_orders_and_no_more() -> None:
    """All certificates look expired; the date of the first new one tells that they are not."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(50)))
    bench.process.tick()
    bench.pass_time(DAY, HOUR)
    assert bench.orders == 50
    bench.clock.off = 365 * DAY
    bench.pass_time(3 * HOUR)
    assert bench.trust == "doubted"
    assert bench.orders - 50 == 4  # at once, and after 1, 10 and 100 minutes
    assert {bench.live(name) for name in bench.disks} == {1}
    bench.clock.off = timedelta(0)
    bench.pass_time(DAY, HOUR)
    assert bench.trust == "sound"
    assert (bench.orders, bench.kept.last_run) == (54, bench.clock.now())
    bench.pass_time(60 * DAY, HOUR)
    assert {bench.live(name) for name in bench.disks} == {2}  # the control: it did no harm


def test_a_clock_days_ahead_is_found_out_by_the_date_of_a_new_certificate() -> None:
    """A short-lived one is valid by it, and would be due again at once, for ever."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(20)), lifetime=6 * DAY)
    bench.process.tick()
    bench.clock.off = 4 * DAY
    bench.pass_time(12 * HOUR)
    assert bench.trust == "wrong"
    assert "a CA has dated a new certificate" in bench.process.heard.judgements[-1][0].why
    assert bench.orders == 21
    bench.clock.off = timedelta(0)
    bench.pass_time(4 * DAY, 10 * MINUTE)
    assert bench.trust == "sound"
    assert bench.orders == 41  # all are renewed once it is right, the one that told again


def test_after_a_long_rest_the_first_renewal_ends_the_doubt() -> None:
    """The same leap, and the clock is right: everything is renewed within minutes."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(20)))
    bench.process.tick()
    bench.clock.suspend(80 * DAY)
    bench.pass_time(2 * MINUTE, SECOND)
    assert bench.trust == "sound"
    assert {bench.live(name) for name in bench.disks} == {2}
    assert bench.orders == 40


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
    said = [each for each in bench.process.heard.judgements if each[0].trust is Trust.WRONG]
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


def test_a_clock_put_back_while_a_rotation_is_under_way_does_it_no_harm() -> None:
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


def test_a_certificate_tells_that_the_clock_is_behind_when_nothing_else_does() -> None:
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


def test_what_hangs_does_not_stop_the_others() -> None:
    """A DNS server that never answers holds its own domain, not the host."""
    hosts = [f"a{n}.hangs.example" for n in range(20)] + [f"b{n}.good.example" for n in range(20)]
    bench = Bench(*hosts, concurrency=4)
    hanging = [name for name in bench.disks if name.startswith("a")]
    bench.process.scheduler.tick()
    bench.process.run(but=hanging)
    assert {bench.live(name) for name in bench.disks if name.startswith("b")} == {1}
    assert len(bench.process.scheduler.running) == 3
    bench.process.run()
    assert {bench.live(name) for name in hanging} == {1}


def test_no_more_than_concurrency_at_once_and_one_per_name() -> None:
    """However many are due, and however often they are looked at."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(20)), concurrency=3)
    for _ in range(3):
        bench.process.scheduler.tick()
        bench.clock.off += MINUTE  # a jump has everything looked at again
    assert len(bench.process.jobs) == 3 == len(set(bench.process.scheduler.running))
    bench.process.run()
    bench.process.tick()
    assert sorted(bench.process.heard.begun) == sorted(bench.disks)


def test_a_lock_that_somebody_else_holds_is_no_failure() -> None:
    """`certrotd rotate` is at work: it is looked at again in a minute."""
    bench = Bench()
    bench.disks["web"].locked = True
    bench.process.tick()
    [report] = bench.process.heard.reports
    assert isinstance(report.failure, LockHeld)
    bench.pass_time(3 * MINUTE)
    assert len(bench.process.heard.reports) == 4
    bench.disks["web"].locked = False
    bench.pass_time(MINUTE)
    assert bench.live() == 1


def test_orders_over_the_budget_wait_and_nothing_else_does() -> None:
    """And they come when there is room, each at its own time, none twice."""
    limits = Limits(orders=Limit(2, HOUR))
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(5)), limits=limits)
    deployed = bench.add("ready.example")
    bench.start()
    bench.process.tick()
    live = [name for name in bench.disks if bench.live(name)]
    assert len(live) == 2
    told = [over.until for _, over in bench.process.heard.over]
    assert (len(told), len(set(told))) == (4, 2)
    # deploying what is there already costs nothing
    assert deployed.live is None
    deployed.newest = bench.disks[live[0]].live
    deployed.policy = bench.disks[live[0]].policy
    bench.pass_time(3 * HOUR + 10 * MINUTE)
    assert {bench.live(name) for name in bench.disks if name != "ready"} == {1}
    assert bench.ca.exceeded == []


def test_a_budget_survives_a_restart() -> None:
    """A supervisor that restarts it every minute does not make it order more."""
    bench = Bench(*(f"h{n}.d{n}.example" for n in range(9)), limits=Limits(orders=Limit(2, HOUR)))
    for _ in range(50):
        bench.start()
        bench.pass_time(MINUTE)
    assert bench.orders == 2


def test_a_certificate_that_is_due_again_as_soon_as_it_is_there_is_left_alone() -> None:
    """A CA that issues for less than its clock is off would be asked without end."""
    bench = Bench()
    bench.lifetime = timedelta(minutes=90)  # an hour of it is gone when it is issued
    bench.process.tick()
    bench.pass_time(12 * HOUR)
    assert 4 < bench.orders < 14


def test_what_cannot_be_read_is_said_and_tried_again_and_the_rest_goes_on() -> None:
    """One broken directory among a thousand."""
    bench = Bench("a.example.com", "b.example.com")
    disk, good = bench.disks["a"], bench.disks["a"].managed
    looks: list[int] = []

    def look() -> object:
        looks.append(1)
        if len(looks) < 3:
            raise DiskTrouble("read it", OSError(5, "Input/output error"))
        return good().look()

    managed = {name: each.managed() for name, each in bench.disks.items()}
    object.__setattr__(managed["a"], "look", look)
    bench.process.scheduler.replace(_with(bench.process.workload(bench.disks), managed))
    bench.process.tick()
    assert (bench.live("a"), bench.live("b")) == (0, 1)
    assert [what for what, _ in bench.process.heard.troubles] == ["a"]
    bench.pass_time(12 * MINUTE)
    assert bench.live("a") == 1
    assert disk.live is not None


@pytest.mark.parametrize(
    "report",
    [
        Report("web", failure=Failure("the disk is full")),
        Report("web", outcome=Stuck("swap", "why", "why not")),
        Report("web", outcome=Parked(START, "the disk is full", failed=True)),
    ],
)
def test_what_leaves_no_trace_in_the_history_is_tried_ever_less(report: Report) -> None:
    """1, 10, 100 minutes here too: a full disk does not get emptier by being asked."""
    bench = Bench()
    tries: list[datetime] = []

    def rotate(_managed: object) -> Report:
        tries.append(bench.clock.now())
        return report

    work = bench.process.workload(bench.disks)
    bench.process.scheduler.replace(_rotating(work, rotate))
    bench.process.tick()
    bench.pass_time(5 * HOUR)
    waits = [round((b - a) / MINUTE) for a, b in pairwise(tries)]
    assert waits[:4] == [1, 10, 100, 100]


def test_a_rotation_that_waits_as_planned_goes_on_at_that_time() -> None:
    """A grace period of hours is not a failure."""
    bench = Bench()
    until, tries = START + 3 * HOUR, list[datetime]()

    def rotate(_managed: object) -> Report:
        tries.append(bench.clock.now())
        return Report("web", outcome=Parked(until, "the grace period"))

    work = bench.process.workload(bench.disks)
    bench.process.scheduler.replace(_rotating(work, rotate))
    bench.process.tick()
    bench.pass_time(3 * HOUR - MINUTE)
    assert len(tries) == 1
    bench.pass_time(2 * MINUTE)
    assert tries[1] == until


def test_told_to_stop_it_begins_nothing_more() -> None:
    """What runs ends by itself; what waits stays due."""
    bench = Bench("a.example.com", "b.example.org", concurrency=1)
    bench.process.scheduler.tick()
    bench.process.scheduler.stop()
    bench.process.run()
    assert (bench.orders, bench.process.scheduler.running) == (1, ())
    bench.process.tick()
    assert bench.orders == 1


def test_another_configuration_begins_when_the_last_rotation_has_ended() -> None:
    """Two sets of adapters at once would be in each other's way."""
    bench = Bench("a.example.com", "b.example.org", concurrency=1)
    closed: list[str] = []
    bench.process.scheduler.tick()
    bench.add("c.example.net")
    del bench.disks["b"]
    work = bench.process.workload(bench.disks)
    for name in ("never used", "new"):
        bench.process.scheduler.replace(_closing(work, lambda name=name: closed.append(name)))
    bench.process.tick()
    assert closed == ["never used"]
    bench.process.tick()
    assert sorted(bench.process.heard.begun) == ["a", "c"]
    assert (bench.live("a"), bench.live("c")) == (1, 1)
    bench.process.scheduler.close()
    assert closed == ["never used", "new"]


def test_a_system_without_threads_is_a_failure_like_another() -> None:
    """The limit of processes is reached: the slot must not be lost with it."""
    bench = Bench(concurrency=1)

    def refuse(_name: str, _job: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    bench.process.scheduler._spawn, kept = refuse, bench.process.scheduler._spawn
    bench.process.scheduler.tick()
    assert bench.process.scheduler.running == ()
    assert "can't start new thread" in str(bench.process.heard.reports[0].failure)
    bench.process.scheduler._spawn = kept
    bench.pass_time(2 * MINUTE)
    assert bench.live() == 1


def test_a_last_run_that_cannot_be_kept_is_said_and_stops_nothing() -> None:
    """A full state directory."""
    bench = Bench()

    def full(_moment: datetime) -> None:
        raise DiskTrouble("write clock.json", OSError(28, "No space left on device"))

    bench.process.scheduler._remember = full
    bench.process.tick()
    assert [what for what, _ in bench.process.heard.troubles] == ["the time of the last run"]
    assert bench.live() == 1


def test_the_time_of_the_last_run_is_kept_once_a_minute() -> None:
    """A disk is not written to every second for that."""
    bench = Bench()
    kept: list[datetime] = []
    bench.process.scheduler._remember = kept.append
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


def _with(work: Workload, certificates: object) -> Workload:
    return _replaced(work, certificates=certificates)


def _rotating(work: Workload, rotate: object) -> Workload:
    return _replaced(work, rotate=rotate)


def _closing(work: Workload, close: object) -> Workload:
    return _replaced(work, close=close)


def _replaced(work: Workload, **changes: object) -> Workload:
    from dataclasses import replace

    return replace(work, **changes)  # type: ignore[arg-type]


def _once(act: Callable[[], None]) -> Callable[[Sequence[str]], None]:
    done: list[int] = []

    def hang(_names: Sequence[str]) -> None:
        if not done:
            done.append(1)
            act()
            raise Transient("the connection was reset")

    return hang
