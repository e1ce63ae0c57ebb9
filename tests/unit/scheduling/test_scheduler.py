"""The scheduler: what is due is done, once, fairly, and within the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from certrotd.certs.limits.sliding_windows import Limit, Limits
from certrotd.certs.policy import Policy, id_of
from certrotd.errors import Failure, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Subject
from certrotd.rotation.engine import Finished, Parked, Stuck
from certrotd.scheduling.clock_trust import SOUND
from certrotd.scheduling.workload import Workload
from tests.fakes.cheap import CheapDisk, Crash
from tests.fakes.managed import FakeManaged
from tests.fakes.subjects import subjects_of
from tests.unit.scheduling.bench import DAY, HOUR, MINUTE, SECOND, START, Bench


def test_a_missing_certificate_is_obtained_at_the_first_tick_and_only_then() -> None:
    """And an idle tick looks at nothing."""
    bench = Bench()
    bench.process.tick()
    assert (bench.live(), bench.orders) == (1, 1)
    bench.pass_time(3 * HOUR)
    assert bench.process.heard.ticks[2:] == [0] * 179
    assert bench.orders == 1


def test_every_certificate_is_looked_at_every_day() -> None:
    """Somebody may have removed the files."""
    bench = Bench("a.example.com", "b.example.com")
    bench.process.tick()
    bench.process.tick()
    bench.process.heard.seen.clear()
    bench.pass_time(DAY, 10 * MINUTE)
    assert set(bench.process.heard.seen) == {"a", "b"}
    bench.disks["a"].live = bench.disks["a"].newest = None
    bench.pass_time(DAY, 10 * MINUTE)
    assert bench.live("a") == 1
    assert bench.orders == 3


def test_a_certificate_is_renewed_when_its_time_has_come() -> None:
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


def test_a_rotation_that_hangs_does_not_stop_the_others() -> None:
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


def test_a_certificate_in_doubt_is_looked_at_thoroughly_at_the_next_tick() -> None:
    """Once; whoever doubts it does not wait, and one that is not configured is no matter."""
    bench = Bench()
    bench.pass_time(MINUTE)
    looks: list[bool] = []
    good = bench.disks["web"].managed

    def look(*, thorough: bool = False) -> object:
        looks.append(thorough)
        return good().look()

    managed = {id_of("web"): good()}
    object.__setattr__(managed[id_of("web")], "look", look)
    bench.process.scheduler.replace(_with(bench.process.workload(bench.disks), managed))
    bench.process.tick()
    looks.clear()
    for name in ("web", "nobody"):
        bench.process.scheduler.doubt(id_of(name))
    bench.process.tick()
    assert looks == [True]
    bench.pass_time(2 * DAY, step=HOUR)
    assert set(looks[1:]) == {False}


def test_an_unreadable_certificate_is_reported_and_retried_and_the_rest_continues() -> None:
    """One broken directory among a thousand."""
    bench = Bench("a.example.com", "b.example.com")
    disk, good = bench.disks["a"], bench.disks["a"].managed
    looks: list[int] = []

    def look(**_: bool) -> object:
        looks.append(1)
        if len(looks) < 3:
            raise DiskTrouble("read it", OSError(5, "Input/output error"))
        return good().look()

    managed = {each.policy.id: each.managed() for each in bench.disks.values()}
    object.__setattr__(managed[id_of("a")], "look", look)
    bench.process.scheduler.replace(_with(bench.process.workload(bench.disks), managed))
    bench.process.tick()
    assert (bench.live("a"), bench.live("b")) == (0, 1)
    assert [what for what, _ in bench.process.heard.troubles] == ["a"]
    assert "a" not in bench.process.heard.calm
    bench.pass_time(12 * MINUTE)
    assert bench.live("a") == 1
    assert bench.process.heard.calm.count("a") == 1
    assert disk.live is not None


def test_a_trouble_that_a_reload_ended_is_reported_as_over() -> None:
    """Whoever was woken for it must hear so, also when a new configuration was the cure."""
    bench = Bench("a.example.com", "b.example.com")

    def broken(**_: bool) -> object:
        raise DiskTrouble("read it", OSError(5, "Input/output error"))

    managed = {each.policy.id: each.managed() for each in bench.disks.values()}
    for each in managed.values():
        object.__setattr__(each, "look", broken)
    bench.process.scheduler.replace(_with(bench.process.workload(bench.disks), managed))
    bench.process.tick()
    assert sorted(what for what, _ in bench.process.heard.troubles) == ["a", "b"]
    calm = bench.process.heard.calm
    calm.clear()
    del bench.disks["b"]
    bench.process.scheduler.replace(bench.process.workload(bench.disks))
    assert calm == ["b"]  # it is gone, and its trouble with it
    bench.process.tick()
    bench.pass_time(MINUTE)
    assert calm == ["b", "a"]
    bench.pass_time(DAY)
    assert calm == ["b", "a"]


def test_a_look_that_finds_it_failing_has_the_last_word() -> None:
    """That the trouble is over must not hide, in the status, the attempts that failed."""
    bench = Bench("a.example.com")
    said: list[str] = []
    heard: Any = bench.process.heard
    heard.looked = lambda _look: said.append("looked")
    heard.calmed = lambda what: said.append(f"calmed {what}")
    bench.process.scheduler._backoff.trouble(
        id_of("a"), "x", bench.clock.now(), bench.clock.monotonic() - 60
    )
    bench.process.tick()
    bench.pass_time(MINUTE)
    assert "calmed certificate/a" in said
    assert said[said.index("calmed certificate/a") + 1] == "looked"


def test_a_new_process_no_longer_reports_an_ended_obstacle() -> None:
    """An earlier one may have alerted of it, and its operator restarted certrotd as told."""
    heard = Bench("a.example.com").process
    heard.tick()
    assert heard.heard.calm == [
        "the directories",
        "the disk",
        "the journals",
        "the budget of ca",
        "requests to look at once",
        "the time of the last run",
    ]
    assert [judgement for judgement, _ in heard.heard.judgements] == [SOUND]
    heard.tick()
    assert len(heard.heard.calm) == 6
    assert len(heard.heard.judgements) == 1


def test_without_the_directories_nothing_is_looked_at_and_nothing_begun() -> None:
    """A file system that is not mounted must not have every certificate ordered anew."""
    bench = Bench("a.example.com")
    gone: list[Failure] = [Failure("/var/lib/certrotd is gone")]
    workload = replace(
        bench.process.workload(bench.disks), directories=lambda: gone[0] if gone else None
    )
    bench.process.scheduler.replace(workload)
    heard = bench.process.heard
    for _ in range(3):
        bench.process.tick()
    assert (bench.orders, heard.seen, heard.ticks) == (0, [], [0, 0, 0])
    assert heard.troubles == [("the directories", gone[0])]
    gone.clear()
    bench.process.tick()
    assert (bench.live("a"), heard.calm[0]) == (1, "the directories")


@pytest.mark.parametrize(
    "report",
    [
        Report(id_of("web"), failure=Failure("the disk is full")),
        Report(id_of("web"), outcome=Stuck("swap", "why", "why not")),
        Report(id_of("web"), outcome=Parked(START, "the disk is full", failed=True)),
    ],
)
def test_a_failure_without_history_is_retried_with_backoff(report: Report) -> None:
    """1, 10, 100 minutes here too: a full disk does not get emptier by being asked."""
    bench = Bench()
    tries: list[datetime] = []

    def rotate(*_asked: object) -> Report:
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

    def rotate(*_asked: object) -> Report:
        tries.append(bench.clock.now())
        return Report(id_of("web"), outcome=Parked(until, "the grace period"))

    work = bench.process.workload(bench.disks)
    bench.process.scheduler.replace(_rotating(work, rotate))
    bench.process.tick()
    bench.pass_time(3 * HOUR - MINUTE)
    assert len(tries) == 1
    bench.pass_time(2 * MINUTE)
    assert tries[1] == until


def test_a_stopped_scheduler_begins_nothing_more() -> None:
    """What runs ends by itself; what waits stays due."""
    bench = Bench("a.example.com", "b.example.org", concurrency=1)
    bench.process.scheduler.tick()
    bench.process.scheduler.stop()
    bench.process.run()
    assert (bench.orders, bench.process.scheduler.running) == (1, ())
    bench.process.tick()
    assert bench.orders == 1


def test_a_new_configuration_begins_when_the_last_rotation_has_ended() -> None:
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


class _OtherKind(Policy):
    """Of another wing, as data keys will be."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", Id("key", self.name))


def test_two_kinds_of_one_name_are_two_subjects() -> None:
    """The certificate web and the key web: neither stands for the other, or waits for it."""
    bench = Bench()
    policy = bench.disks["web"].policy
    key = CheapDisk(_OtherKind("web", ("web.example.net",), "ca", policy.authority)).managed()
    both = subjects_of((bench.disks["web"].managed(), key))
    ran: list[Id] = []

    def rotate(subject: Subject, _asked: object) -> Report:
        ran.append(subject.id)
        return Report(subject.id, failure=Failure("no") if subject.id.kind == "key" else None)

    work = replace(
        bench.process.workload(bench.disks),
        subjects=both,
        slots={"certificate": 8, "key": 8},
        rotate=rotate,
        in_flight=lambda _subject: False,
    )
    bench.process.scheduler.replace(work)
    bench.process.scheduler.tick()
    assert set(bench.process.scheduler.running) == set(both)
    bench.process.run()
    assert sorted(ran) == [Id("certificate", "web"), Id("key", "web")]
    ran.clear()
    bench.clock.advance(2 * SECOND)
    bench.process.tick()
    assert ran == [Id("certificate", "web")]  # the key rests after its failure, alone


def _with(work: Workload, certificates: Mapping[Id, FakeManaged]) -> Workload:
    return _replaced(work, subjects=subjects_of(certificates.values()))


def _rotating(work: Workload, rotate: object) -> Workload:
    return _replaced(work, rotate=rotate)


def _closing(work: Workload, close: object) -> Workload:
    return _replaced(work, close=close)


def _replaced(work: Workload, **changes: object) -> Workload:
    from dataclasses import replace

    return replace(work, **changes)  # type: ignore[arg-type]
