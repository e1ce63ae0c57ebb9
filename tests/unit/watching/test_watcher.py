"""The watcher looks in time, at what is due, whatever hangs, and tells what is certain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certrotd.certs.checks import Means, checks_of
from certrotd.certs.policy import id_of
from certrotd.clock import ManualClock
from certrotd.config.watch import WatchEntry
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.wing import Check
from certrotd.observers import Observer
from certrotd.watching.watcher import Watcher
from tests.unit.certs.watched import WatchedCertificate, entry, kinds, other

SECOND, MINUTE, HOUR = (timedelta(seconds=n) for n in (1, 60, 3600))
START = datetime(2027, 3, 4, tzinfo=UTC)
A, B = "192.0.2.1", "192.0.2.2"
KEY_A, KEY_B = f"{A}:443 (a.example.test)", f"{B}:443 (a.example.test)"


@dataclass
class Heard(Observer):
    """What the watcher tells."""

    looks: list[Watched] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    calm: list[str] = field(default_factory=list)

    def watched(self, watched: Watched) -> None:
        self.looks.append(watched)

    def unwatched(self, key: str) -> None:
        self.gone.append(key)

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self.troubles.append(f"{what}: {failure}")

    def calmed(self, what: Id | str) -> None:
        self.calm.append(str(what))


class Bench:
    """A watcher whose threads are in the hands of the test."""

    def __init__(self, *entries: WatchEntry, certificate: bool = False, threads: int = 4) -> None:
        self.certificate = WatchedCertificate()
        self.examiner = self.certificate.examiner
        self.examiner.shown |= {A: other(), B: other()}
        self.clock = ManualClock(START)
        self.heard = Heard()
        self.jobs: list[tuple[str, Callable[[], None]]] = []
        self.exhausted = False
        self.doubted: list[Id] = []
        self.watcher = Watcher(
            self.checks(*entries, certificate=certificate),
            self.clock,
            observer=self.heard,
            spawn=self.spawn,
            threads=threads,
            doubt=self.doubted.append,
        )

    def checks(self, *entries: WatchEntry, certificate: bool = False) -> Sequence[Check]:
        """A configuration with these."""
        means = Means(3600, lambda _name: self.certificate.flying, self.examiner, self.clock)
        certificates = {id_of("web"): self.certificate.managed} if certificate else {}
        return checks_of(entries, certificates, means)

    def spawn(self, name: str, job: Callable[[], None]) -> None:
        """A thread that begins when the test says so."""
        if self.exhausted:
            raise RuntimeError("can't start new thread")
        self.jobs.append((name, job))

    def run(self, *but: str) -> None:
        """Every thread runs to its end, but for those that hang."""
        while mine := [job for job in self.jobs if job[0] not in but]:
            self.jobs.remove(mine[0])
            mine[0][1]()

    def tick(self) -> None:
        """One tick, and what comes of it."""
        self.watcher.tick()
        self.run()

    def pass_time(self, span: timedelta, step: timedelta = SECOND) -> list[Watched]:
        """Ticks for so long; what was told meanwhile."""
        began = len(self.heard.looks)
        for _ in range(span // step):
            self.clock.advance(step)
            self.tick()
        return self.heard.looks[began:]


def test_damaged_files_are_repaired_before_any_target_reloads() -> None:
    """Not while a rotation is at them."""
    bench = Bench(certificate=True)
    shelves = bench.certificate.world.store.shelves
    shelves["web"] = replace(shelves["web"], worn=(1,))
    bench.certificate.flying = True
    bench.tick()
    assert bench.doubted == []
    bench.certificate.flying = False
    bench.pass_time(2 * MINUTE)
    assert set(bench.doubted) == {id_of("web")}


def test_a_rotation_that_has_just_begun_is_looked_at_when_it_has_ended() -> None:
    """A reload has it looked at, and often has something due begin: one look does for both."""
    bench = Bench(certificate=True)
    bench.tick()
    began = len(bench.heard.looks)
    bench.watcher.replace(bench.checks(certificate=True))
    bench.watcher.began(id_of("web"), "its key type changed")
    assert bench.pass_time(10 * SECOND) == []
    bench.watcher.ended(Report(id_of("web")))
    assert bench.pass_time(10 * SECOND) != []
    bench.watcher.began(id_of("web"), "it takes long")
    bench.pass_time(2 * HOUR)
    assert len(bench.heard.looks) > began + 2, "one that takes long is looked at meanwhile"


def test_every_watch_is_checked_at_once_and_then_once_in_its_span() -> None:
    """Ten minutes for the entry that says so, an hour for the others."""
    bench = Bench(entry(f"{A}:443", every="10m"), entry(f"{B}:443"), certificate=True)
    bench.tick()
    assert {look.key for look in bench.heard.looks} > {KEY_A, KEY_B, "files of certificate/web"}
    bench.pass_time(HOUR)
    looks = [look.key for look in bench.pass_time(HOUR)]
    assert [looks.count(key) for key in (KEY_A, KEY_B, "files of certificate/web")] == [6, 1, 1]


def test_a_jump_of_the_clock_neither_stops_nor_hurries_it() -> None:
    """The wall clock is what may be wrong; watching goes by time that passes."""
    bench = Bench(entry(f"{A}:443", every="10m"))
    bench.pass_time(HOUR)
    for jump in (timedelta(days=-365), timedelta(days=730)):
        bench.clock.jump(jump)
        assert len(bench.pass_time(HOUR)) == 6


def test_an_unreachable_endpoint_is_checked_again_soon_and_reported_if_it_stays() -> None:
    """Two minutes, not three hours; and its coming back is told at the next look."""
    bench = Bench(entry(f"{A}:443"))
    del bench.examiner.shown[A]
    bench.tick()
    assert bench.heard.looks[-1].findings == ()
    came = bench.pass_time(2 * MINUTE)
    assert [kinds(look) for look in came] == [[], ["unreachable"]]
    assert all(kinds(look) == ["unreachable"] for look in bench.pass_time(HOUR))
    bench.examiner.shown[A] = other()
    assert kinds(bench.pass_time(HOUR)[-1]) == []


def test_an_unsure_check_is_no_all_clear() -> None:
    """After a restart nothing is certain of what was told before it."""
    bench = Bench(entry(f"{A}:443"))
    del bench.examiner.shown[A]
    bench.tick()
    assert bench.heard.looks[-1].unsure
    assert [look.unsure for look in bench.pass_time(2 * MINUTE)] == [True, False]
    bench.examiner.shown[A] = other()
    assert not bench.pass_time(HOUR)[-1].unsure


def test_a_passing_failure_is_not_reported() -> None:
    """The control: down for a minute."""
    bench = Bench(entry(f"{A}:443"))
    del bench.examiner.shown[A]
    bench.tick()
    bench.examiner.shown[A] = other()
    assert [kinds(look) for look in bench.pass_time(HOUR)] == [[]] * 2


def test_a_certain_finding_is_reported_at_once_and_checked_no_more_often() -> None:
    """An expired certificate stays expired."""
    bench = Bench(entry(f"{A}:443", names=["other.test"]))
    bench.tick()
    assert kinds(bench.heard.looks[-1]) == ["wrong_name"]
    assert bench.pass_time(timedelta(minutes=1.5)) == []


def test_a_check_that_hangs_holds_only_one_thread() -> None:
    """A host whose name resolves never, say."""
    bench = Bench(entry(f"{A}:443", every="10m"), entry(f"{B}:443", every="10m"), threads=2)
    for _ in range(3000):
        bench.clock.advance(SECOND)
        bench.watcher.tick()
        bench.run(KEY_A)
    keys = [look.key for look in bench.heard.looks]
    assert (keys.count(KEY_A), keys.count(KEY_B) >= 5) == (0, True)
    assert [name for name, _ in bench.jobs] == [KEY_A]  # nor is it begun a second time
    assert bench.watcher.running == 1


def test_no_more_looks_than_threads_and_none_is_forgotten() -> None:
    """A hundred entries on two threads."""
    entries = [entry(f"198.51.100.{number}:443") for number in range(100)]
    bench = Bench(*entries, threads=2)
    bench.clock.advance(MINUTE)
    bench.watcher.tick()
    assert len(bench.jobs) == bench.watcher.running == 2
    bench.run()
    assert len({look.key for look in bench.heard.looks}) == 100
    assert bench.watcher.running == 0


def test_entries_do_not_wait_behind_ten_thousand_certificates() -> None:
    """What somebody asked for by name comes first."""
    bench = Bench(entry(f"{A}:443"), certificate=True, threads=1)
    bench.watcher.tick()
    assert [name for name, _ in bench.jobs] == [KEY_A]


def test_a_system_without_threads_is_asked_again_at_the_next_tick() -> None:
    """File descriptors and threads run out together."""
    bench = Bench(entry(f"{A}:443"))
    bench.exhausted = True
    bench.tick()
    assert (bench.heard.looks, bench.watcher.running) == ([], 0)
    bench.exhausted = False
    bench.tick()
    assert len(bench.heard.looks) == 1


def test_the_watcher_looks_after_a_rotation() -> None:
    """The certificate and the entries that name it, not the others, not at once."""
    bench = Bench(entry(f"{A}:443", certificate="web"), entry(f"{B}:443"), certificate=True)
    bench.examiner.shown[A] = bench.certificate.live
    bench.pass_time(2 * HOUR, MINUTE)
    bench.watcher.ended(Report(id_of("web")))
    bench.tick()
    looks = {look.key for look in bench.pass_time(10 * SECOND)}
    assert KEY_A in looks
    assert "files of certificate/web" in looks
    assert KEY_B not in looks


def test_the_watcher_looks_again_and_again_during_a_rotation() -> None:
    """So that the end of it is seen soon, and a mismatch is not told meanwhile."""
    bench = Bench(certificate=True)
    bench.certificate.serve(other())
    bench.certificate.flying = True
    bench.tick()
    looks = [look for look in bench.pass_time(10 * MINUTE) if look.sort == "target"]
    assert 9 <= len(looks) <= 11
    assert all(look.findings == () for look in looks)
    bench.watcher.ended(Report(id_of("web")))
    bench.certificate.flying = False
    looks = [look for look in bench.pass_time(2.5 * MINUTE) if look.sort == "target"]
    assert [kinds(look) for look in looks] == [[], [], ["served_mismatch"]]


def test_a_defect_in_a_check_is_reported_and_the_others_continue() -> None:
    """And so is its passing."""
    bench = Bench(entry(f"{A}:443"), entry(f"{B}:443"))

    def fail(endpoint: Any) -> None:
        if endpoint.host == A:
            raise ZeroDivisionError("a defect")

    bench.examiner.during = fail
    bench.tick()
    bench.pass_time(SECOND)
    assert [look.key for look in bench.heard.looks] == [KEY_B]
    [trouble] = bench.heard.troubles
    assert trouble.startswith(f"watch {KEY_A}: unexpected ZeroDivisionError: a defect")
    bench.examiner.during = lambda _endpoint: None
    bench.pass_time(2 * HOUR, MINUTE)
    assert bench.heard.calm == [f"watch {KEY_A}"]


def test_a_new_configuration_takes_over_and_ends_removed_watches() -> None:
    """Whoever keeps findings by their keys must learn of it; what stays is not told anew."""
    bench = Bench(entry(f"{A}:443", after=1), entry(f"{B}:443"), certificate=True)
    del bench.examiner.shown[A]
    bench.pass_time(SECOND)
    bench.watcher.replace(bench.checks(entry(f"{B}:443")))
    target = next(look.key for look in bench.heard.looks if look.sort == "target")
    assert bench.heard.gone == sorted([KEY_A, "files of certificate/web", target])
    assert {look.key for look in bench.pass_time(2 * HOUR, MINUTE)} == {KEY_B}
    bench.watcher.replace(bench.checks(entry(f"{B}:443")))
    assert len(bench.heard.gone) == 3


def test_a_trouble_with_what_is_gone_is_over() -> None:
    """Nobody will ever look at it again, so nobody else could say so."""
    bench = Bench(entry(f"{A}:443"), entry(f"{B}:443"))
    examiner: Any = bench.examiner
    examiner.examine = _defect
    bench.pass_time(2 * SECOND)
    assert len(bench.heard.troubles) == 2
    bench.watcher.replace(bench.checks(entry(f"{B}:443")))
    assert bench.heard.calm == [f"watch {KEY_A}"]


def _defect(_endpoint: object) -> Any:
    raise AssertionError("a defect")


def test_counted_failures_are_kept_over_a_reload() -> None:
    """A reload every minute must not keep anybody from being told."""
    bench = Bench(entry(f"{A}:443"))
    del bench.examiner.shown[A]
    bench.tick()
    for _ in range(2):
        bench.watcher.replace(bench.checks(entry(f"{A}:443")))
        bench.tick()
    assert kinds(bench.heard.looks[-1]) == ["unreachable"]


def test_a_check_that_runs_at_a_reload_is_not_reported() -> None:
    """It is of a configuration that is no more."""
    bench = Bench(entry(f"{A}:443"))
    bench.watcher.tick()
    bench.watcher.replace(bench.checks())
    bench.run()
    assert bench.heard.looks == []
    assert bench.watcher.running == 0


@pytest.mark.parametrize("begun", [True, False])
def test_a_stopped_watcher_begins_and_reports_nothing_more(begun: bool) -> None:
    """And waits for nobody."""
    bench = Bench(entry(f"{A}:443"), entry(f"{B}:443"), threads=1)
    if begun:
        bench.watcher.tick()
    bench.watcher.stop()
    bench.tick()
    bench.pass_time(MINUTE)
    assert bench.heard.looks == []
    assert bench.jobs == []
