"""What is seen of a certificate of which nothing happens: its dates, and what holds it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from certrotd.certs.limits.sliding_windows import Limit, Limits
from certrotd.certs.managed import Managed
from certrotd.certs.policy import id_of
from certrotd.errors import Failure, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.lifecycle.alert import Alert
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.reporting.snapshot import Snapshot
from certrotd.reporting.status_board import StatusBoard
from certrotd.rotation.engine import Parked, Stuck
from certrotd.scheduling.clock_trust import ClockTrust
from tests.fakes.subjects import subjects_of
from tests.unit.scheduling.bench import DAY, HOUR, MINUTE, START, Bench


class Page:
    """A board over the daemon of a bench, and the alerts of every look."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.alerts: list[Alert] = []
        heard: Any = bench.process.heard
        self.board = StatusBoard(bench.clock)
        self.board.configured([id_of(name) for name in bench.disks], [])
        for name in ("ticked", "clock", "postponed", "began", "ended", "trouble", "calmed"):
            setattr(heard, name, getattr(self.board, name))
        heard.looked = self._looked

    def _looked(self, view: View) -> None:
        self.board.looked(view)
        self.alerts += [said for said in view.found.alerts(view) if isinstance(said, Alert)]

    @property
    def snapshot(self) -> Snapshot:
        return self.board.snapshot()


def failing(bench: Bench, report: Report) -> Page:
    """The daemon is started anew, and its rotations come to that."""
    bench.start()
    bench.rotator.rotate = lambda managed: report  # type: ignore[method-assign]
    bench.process.scheduler.replace(bench.process.workload(bench.disks))
    return Page(bench)


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (Report(id_of("web"), failure=Failure("the disk is full")), "the disk is full"),
        (
            Report(id_of("web"), outcome=Stuck("apply", "x", "exit code 3")),
            "the undo of apply failed: exit",
        ),
        (
            Report(id_of("web"), recovered=Parked(START, "the order is kept", failed=True)),
            "the order is",
        ),
    ],
)
def test_a_rotation_that_fails_in_flight_is_seen_after_a_restart(report: Report, why: str) -> None:
    """46 retries fail, and what is served expires: that is the last thing to hide."""
    bench = Bench()
    bench.process.tick()
    bench.pass_time(61 * DAY, 12 * HOUR)
    live = bench.disks["web"].live
    assert live is not None
    assert live.facts is not None
    bench.clock.advance(live.facts.not_after - bench.clock.true - 29 * DAY)
    bench.disks["web"].flight = "order/2"
    page = failing(bench, report)
    bench.process.tick()
    bench.pass_time(2 * MINUTE)

    snapshot = page.snapshot
    known = snapshot.known[id_of("web")]
    assert known is not None
    assert known.not_after == live.facts.not_after.timestamp()
    assert known.flight is not None
    assert known.flight.why.startswith(why)
    assert known.flight.tries == 2
    assert known.flight.until == bench.clock.now() + 9 * MINUTE
    assert (known.failures, snapshot.state(id_of("web"))) == (2, "in flight")
    assert snapshot.failing(id_of("web"))
    assert why in snapshot.why(id_of("web"))

    bench.pass_time(20 * DAY, HOUR)
    late = [alert for alert in page.alerts if alert.kind == "attempts_running_out"]
    assert late
    assert report.failure is None or "the last one because: the disk is full" in late[0].what
    bench.pass_time(11 * DAY, HOUR)
    assert page.snapshot.state(id_of("web")) == "expired"
    assert page.alerts[-1].title.startswith("certificate/web: expired at")


def test_a_rotation_that_waits_as_planned_is_no_failure_and_says_until_when() -> None:
    """A grace period: nobody is to be woken for it."""
    bench = Bench()
    bench.disks["web"].flight = "order/1"
    page = failing(
        bench, Report(id_of("web"), recovered=Parked(START + 3 * HOUR, "the grace period"))
    )
    bench.process.tick()
    bench.pass_time(2 * MINUTE)
    known = page.snapshot.known[id_of("web")]
    assert known is not None
    assert known.flight is not None
    assert (known.flight.why, known.flight.until) == ("the grace period", START + 3 * HOUR)
    assert (known.failures, page.snapshot.failing(id_of("web")), page.alerts) == (0, False, [])


def test_a_damaged_live_certificate_is_seen_to_while_an_order_is_parked() -> None:
    """An order may wait for weeks; what stands in its journal is asked once for each damage."""
    bench = Bench()
    bench.process.tick()
    web = bench.disks["web"]
    web.flight = "order/2"
    page = failing(
        bench, Report(id_of("web"), recovered=Parked(START + 20 * DAY, "the CA is away"))
    )
    asked: list[str] = []
    report = bench.rotator.rotate

    def rotate(managed: Managed) -> Report:
        asked.append(managed.policy.name)
        return report(managed)

    bench.rotator.rotate = rotate  # type: ignore[method-assign]
    bench.process.scheduler.replace(bench.process.workload(bench.disks))
    bench.pass_time(2 * DAY, HOUR)
    assert asked == ["web"], "the control"
    assert web.live is not None
    whole = web.live
    for times, file in enumerate(("cert.pem", "privkey.pem"), start=2):
        web.live = replace(whole, damaged=f"{file} is missing")
        bench.pass_time(3 * DAY, HOUR)
        assert len(asked) == times
    assert page.snapshot.state(id_of("web")) == "in flight"


def test_a_rotation_that_another_process_runs_is_reported() -> None:
    """`certrotd rotate` is at work."""
    bench = Bench()
    bench.disks["web"].flight = "order/1"
    page = failing(
        bench, Report(id_of("web"), failure=LockHeld("certificate web", holder="process 12"))
    )
    bench.process.tick()
    bench.process.scheduler.tick()
    assert page.snapshot.state(id_of("web")) == "in flight"
    assert "certificate web is in use by process 12" in page.snapshot.why(id_of("web"))
    assert not page.snapshot.failing(id_of("web"))


def test_a_wrong_clock_is_why_nothing_is_renewed_and_the_page_says_so() -> None:
    """Not "due, next: now", for days."""
    bench = Bench()
    bench.process.tick()
    bench.pass_time(2 * MINUTE)
    bench.clock.off = -3 * DAY
    bench.disks["web"].live = None
    bench.disks["web"].newest = None
    bench.start()
    page = Page(bench)
    for _ in range(3):
        bench.process.tick()
    snapshot = page.snapshot
    why = "before the last run (2026-01-01 00:02Z): nothing is ordered until the clock is right"
    assert why in snapshot.why(id_of("web"))
    assert "; due: there is no certificate yet" in snapshot.why(id_of("web"))
    known = snapshot.known[id_of("web")]
    assert known is not None
    assert (known.next, known.held and known.held.by) == (None, "clock")
    bench.clock.off *= 0
    bench.pass_time(2 * MINUTE)
    assert (bench.live(), page.snapshot.held(id_of("web"))) == (1, None)


def test_a_clock_that_the_ca_corrected_is_why_nothing_is_renewed() -> None:
    """One certificate asked the CA; the page says of all why they wait."""
    bench = Bench("a.example.com", "b.example.com", concurrency=1)
    bench.kept.last_run = START
    bench.clock.off = 400 * DAY
    bench.start()
    page = Page(bench)
    bench.process.tick()
    bench.process.tick()
    why = "the clock is 400 days ahead of the CA's: nothing is ordered until the clock is right"
    waiting = [name for name in ("a", "b") if why in page.snapshot.why(id_of(name))]
    assert len(waiting) == 1  # the other one tells of its own attempt
    assert page.snapshot.judgement.trust is ClockTrust.WRONG
    bench.clock.off *= 0
    bench.pass_time(2 * MINUTE)
    assert (bench.live("a"), bench.live("b"), bench.orders) == (1, 1, 2)


def test_the_budget_is_why_an_order_waits() -> None:
    """And until when."""
    bench = Bench("a.example.com", "b.example.org", limits=Limits(orders=Limit(1, HOUR)))
    page = Page(bench)
    bench.process.tick()
    [held] = [
        each for each in map(page.snapshot.held, (id_of("a"), id_of("b"))) if each is not None
    ]
    assert (held.by, held.why) == (
        "budget",
        "the CA's limit is used up: orders of the account: 1 in 1 hours",
    )
    assert held.until is not None


def test_directories_that_are_gone_are_why_nothing_happens() -> None:
    """And they hold back what is due."""
    bench = Bench("a.example.com")
    bench.process.tick()
    bench.add("b.example.com")
    bench.start()
    page = Page(bench)
    bench.process.scheduler.stop()
    bench.process.tick()
    gone = Failure("/srv is gone")
    page.board.trouble("the directories", gone)
    assert (page.snapshot.why(id_of("a")), page.snapshot.why(id_of("b"))) == (
        "/srv is gone",
        "/srv is gone",
    )
    assert page.snapshot.held(id_of("a")) is None
    held = page.snapshot.held(id_of("b"))
    assert (held and held.by) == "directories"


def test_journals_that_cannot_be_listed_make_everything_red_and_nothing_begins() -> None:
    """Not "All is well": what was in flight would never go on."""
    bench = Bench("a.example.com", "b.example.com")
    bench.process.tick()
    bench.add("c.example.com")
    bench.start()
    page = Page(bench)
    wrong: list[Failure] = [DiskTrouble("list /state/journal", PermissionError(13, "no"))]
    work = replace(
        bench.process.workload(bench.disks), journals=lambda: wrong[0] if wrong else None
    )
    bench.process.scheduler.replace(work)
    for _ in range(3):
        bench.process.tick()
    snapshot = page.snapshot
    assert {snapshot.state(id_of(name)) for name in "abc"} == {"unreadable"}
    assert all(snapshot.failing(id_of(name)) for name in "abc")
    assert list(snapshot.others()) == ["the journals"]
    assert "cannot list /state/journal" in snapshot.why(id_of("c"))
    known = snapshot.known[id_of("a")]
    assert known is not None
    assert known.not_after is not None  # what is served is seen all the same
    assert (bench.live("c"), bench.process.scheduler.running) == (0, ())
    wrong.clear()
    bench.process.tick()
    bench.process.tick()
    assert (bench.live("c"), page.snapshot.others()) == (1, {})
    assert {page.snapshot.state(id_of(name)) for name in "abc"} == {"ok"}


def test_a_journal_that_cannot_be_looked_for_is_a_trouble_of_its_certificate() -> None:
    """The others go on."""
    bench = Bench("a.example.com", "b.example.com")
    page = Page(bench)

    def in_flight(subject: Id) -> bool:
        if subject == id_of("a"):
            raise DiskTrouble("look for a.jsonl", OSError(5, "Input/output error"))
        return False

    work = replace(bench.process.workload(bench.disks), in_flight=in_flight)
    bench.process.scheduler.replace(work)
    bench.process.tick()
    bench.process.tick()
    assert (page.snapshot.state(id_of("a")), page.snapshot.state(id_of("b"))) == (
        "unreadable",
        "ok",
    )
    assert (bench.live("a"), bench.live("b")) == (0, 1)


def test_a_store_that_cannot_be_looked_at_does_not_keep_a_rotation_in_flight() -> None:
    """To finish or undo it may be the cure."""
    bench = Bench()
    bench.rotator.crashes = lambda _name: False
    bench.disks["web"].flight = ""
    page = Page(bench)
    managed = bench.disks["web"].managed()
    looks: list[int] = []

    def look(*, thorough: bool = False) -> object:
        looks.append(1)
        if bench.disks["web"].flight is not None:
            raise DiskTrouble("read it", OSError(5, "Input/output error"))
        return bench.disks["web"].managed().look()

    object.__setattr__(managed, "look", look)
    work = replace(bench.process.workload(bench.disks), subjects=subjects_of([managed]))
    bench.process.scheduler.replace(work)
    bench.process.tick()
    bench.process.tick()
    assert (bench.live(), page.snapshot.state(id_of("web"))) == (1, "ok")


def by_hand(bench: Bench) -> set[Id]:
    """The certificates that another process has rotated since the daemon asked last."""
    changed: set[Id] = set()

    def asked() -> set[Id]:
        found = set(changed)
        changed.clear()
        return found

    work = replace(bench.process.workload(bench.disks), changed=asked)
    bench.process.scheduler.replace(work)
    return changed


def test_a_rotation_by_hand_is_seen_at_the_next_tick() -> None:
    """The alert says to do it, and the page must not contradict whoever did."""
    bench = Bench("a.example.com", "b.example.com")
    bench.ca.down_until = START + DAY
    page = Page(bench)
    changed = by_hand(bench)
    for _ in range(3):
        bench.process.tick()
    assert (page.snapshot.state(id_of("a")), page.snapshot.failing(id_of("a"))) == ("missing", True)
    seen: list[Id] = []
    heard: Any = bench.process.heard
    heard.changed = seen.append
    bench.pass_time(10 * MINUTE)

    other = Bench("a.example.com")
    other.process.tick()
    disk = bench.disks["a"]
    disk.live = disk.newest = other.disks["a"].live
    disk.history = None
    changed |= {id_of("a"), id_of("not-configured")}
    bench.process.tick()
    assert (page.snapshot.state(id_of("a")), page.snapshot.failing(id_of("a"))) == ("ok", False)
    assert (page.snapshot.state(id_of("b")), seen) == ("missing", [id_of("a")])


def test_a_rotation_by_hand_ends_the_rest_after_a_trouble_and_ours_does_not() -> None:
    """Whoever made room on the disk waits for nothing; a failing rotation does not hurry itself."""
    bench = Bench()
    bench.disks["web"].flight = "order/1"
    page = failing(bench, Report(id_of("web"), failure=Failure("the disk is full")))
    changed = by_hand(bench)
    bench.rotator.rotate = lambda managed: Report(id_of("web"), failure=Failure("full"))  # type: ignore[method-assign]
    changed = by_hand(bench)
    bench.process.tick()
    changed.add(id_of("web"))  # by what the daemon itself has just written
    bench.process.tick()
    known = page.snapshot.known[id_of("web")]
    assert known is not None
    assert known.flight is not None
    assert known.flight.tries == 1
    bench.clock.advance(MINUTE / 2)
    changed.add(id_of("web"))
    bench.process.tick()
    bench.process.tick()
    known = page.snapshot.known[id_of("web")]
    assert known is not None
    assert known.flight is not None
    assert known.flight.tries == 2
    changed.add(id_of("web"))
    bench.process.scheduler.tick()
    assert bench.process.scheduler.running == ()


@pytest.mark.parametrize("how", ["doubted", "changed"])
def test_a_queued_certificate_can_be_looked_at_again(how: str) -> None:
    """It keeps its place in no second queue, and is no trouble."""
    bench = Bench("a.example.com", "b.example.org", concurrency=1)
    changed = by_hand(bench)
    bench.process.scheduler.tick()
    [waiting] = {id_of("a"), id_of("b")} - set(bench.process.scheduler.running)
    if how == "doubted":
        bench.process.scheduler.doubt(waiting)
    else:
        changed.add(waiting)
    bench.process.scheduler.tick()
    bench.process.run()
    assert bench.process.heard.troubles == []
    assert sorted(bench.process.heard.begun) == ["a", "b"]
