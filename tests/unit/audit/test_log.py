"""The log on disk: one chain whatever dies, fills up or comes between."""

import contextlib
import json
import multiprocessing
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.audit import head as head_module
from certrotd.audit import log as log_module
from certrotd.audit.log import AuditLog
from certrotd.audit.record import DAMAGED, RECOVERED, Happened, Record, parse
from certrotd.clock import ManualClock, SystemClock
from certrotd.errors import Failure, LockHeld
from certrotd.rotation.files import DiskTrouble
from certrotd.rotation.lock import hold
from certrotd.rotation.outcome import Stopped

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ISSUED = Happened("certificate.issued", "web", "r1", {"fingerprint": "ab"})
FINISHED = Happened("rotation.finished", "web", "r1")


def began(rotation: str, subject: str = "web") -> Happened:
    """The beginning of a rotation."""
    return Happened("rotation.began", subject, rotation, {"why": "due"})


class Ticking(ManualClock):
    """Every look is a second later, so that no two appends share a time."""

    def now(self) -> datetime:
        self.advance(timedelta(seconds=1))
        return super().now()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit"


def opened(folder: Path, **options: Any) -> AuditLog:
    """The log as a new process has it."""
    return AuditLog(folder, clock=Ticking(NOW), command="test", **options)


def records(log: AuditLog) -> list[Record]:
    """All of them; every line must be one."""
    with log.snapshot() as snapshot:
        found = [parse(line) for line in snapshot.lines()]
    assert None not in found
    return [record for record in found if record is not None]


def events(log: AuditLog) -> list[str]:
    return [record.event for record in records(log)]


def whole(log: AuditLog) -> None:
    """Nothing is wrong with the log."""
    assert log.verify().broken is None


class TestAppending:
    """What every append promises."""

    def test_records_follow_each_other_across_processes(self, folder: Path) -> None:
        """A second instance stands for the next process: nothing but files is shared."""
        opened(folder).record(began("r1"))
        opened(folder).record(ISSUED, FINISHED)
        log = opened(folder)
        assert [(r.seq, r.event, r.subject, r.rotation) for r in records(log)] == [
            (1, "rotation.began", "web", "r1"),
            (2, "certificate.issued", "web", "r1"),
            (3, "rotation.finished", "web", "r1"),
        ]
        assert log.head() == records(log)[-1].head
        whole(log)

    def test_an_empty_log_is_whole_and_reading_it_leaves_nothing(self, folder: Path) -> None:
        """A listing on a fresh host creates no files."""
        log = opened(folder)
        assert records(log) == []
        assert (log.head(), log.unsettled("web")) == (None, None)
        whole(log)
        assert not folder.exists()

    def test_files_are_private(self, folder: Path) -> None:
        """Names and dates of certificates are nobody else's business."""
        before = os.umask(0)
        try:
            opened(folder).record(began("r1"))
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert modes == {"audit.jsonl": 0o600, "head.json": 0o600, "lock": 0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_an_append_costs_one_sync(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A rotation has two of them; the first ever also makes the file's name durable."""
        log = opened(folder)
        log.record(began("r1"))
        synced: list[int] = []
        real = os.fsync

        def fsync(handle: int) -> None:
            synced.append(handle)
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)
        log.record(ISSUED, FINISHED)
        assert len(synced) == 1

    def test_the_log_knows_whose_outcome_is_missing(self, folder: Path) -> None:
        """By subject, across processes, until an outcome is recorded."""
        log = opened(folder)
        log.record(began("r1"))
        log.record(began("r2", "mail"))
        assert (log.unsettled("web"), log.unsettled("other")) == ("r1", None)
        log.record(Happened("rotation.parked", "web", "r1"))
        assert opened(folder).unsettled("web") == "r1"
        log.record(FINISHED)
        assert opened(folder).unsettled("web") is None
        assert opened(folder).unsettled("mail") == "r2"

    @pytest.mark.parametrize("name", ["audit.jsonl", "head.json", "lock"])
    def test_a_link_in_the_place_of_a_file_is_refused(self, folder: Path, name: str) -> None:
        """Whoever can write beside the log must not choose what is appended to."""
        folder.mkdir(parents=True, mode=0o700)
        victim = folder.parent / "victim"
        victim.write_bytes(b"")
        (folder / name).symlink_to(victim)
        with pytest.raises(DiskTrouble, match="symbolic link"):
            opened(folder).record(began("r1"))
        assert victim.read_bytes() == b""

    def test_a_pipe_in_the_place_of_the_log_is_refused(self, folder: Path) -> None:
        """Nor does opening it wait for a reader."""
        folder.mkdir(parents=True, mode=0o700)
        os.mkfifo(folder / "audit.jsonl")
        with pytest.raises(DiskTrouble, match="not a regular file"):
            opened(folder).record(began("r1"))

    def test_whoever_holds_the_log_for_too_long_is_named(self, folder: Path) -> None:
        """A stopped process must not stop every other one for ever."""
        log = opened(folder)
        log.record(began("r1"))
        other = hold(folder / "lock", what="the audit log", command="sleeper", now=NOW)
        with other, pytest.raises(LockHeld, match="sleeper"):
            log.record(FINISHED)
        log.record(FINISHED)
        assert events(log) == ["rotation.began", "rotation.finished"]

    def test_being_told_to_stop_does_not_keep_an_outcome_out(self, folder: Path) -> None:
        """SIGTERM wakes whoever waits for the log, once; what was done is recorded all the same."""

        class Woken(ManualClock):
            slept = 0

            def sleep(self, seconds: float) -> None:
                self.slept += 1
                if self.slept == 1:
                    raise Stopped("the process was told to stop")
                holder.close()

        holder = contextlib.ExitStack()
        folder.mkdir(parents=True)
        holder.enter_context(hold(folder / "lock", what="it", command="other", now=NOW))
        clock = Woken(NOW)
        log = AuditLog(folder, clock=clock, command="test")
        log.record(FINISHED)
        assert clock.slept == 2
        assert events(log) == ["rotation.finished"]


class TestFullFiles:
    """A file that is full is put aside, and the chain goes on."""

    def test_the_chain_runs_through_the_files(self, folder: Path) -> None:
        """Removing any of them is found, the oldest too."""
        log = opened(folder, limit=1000)
        for number in range(20):
            log.record(began(f"r{number}"))
        names = sorted(path.name for path in folder.glob("audit*"))
        assert names[:2] == ["audit-000001.jsonl", "audit-000002.jsonl"]
        assert [r.seq for r in records(log)] == list(range(1, 21))
        whole(log)
        for name in names:
            aside = folder.parent / "aside"
            (folder / name).rename(aside)
            assert log.verify().broken is not None
            aside.rename(folder / name)
            whole(log)

    def test_files_are_in_the_order_of_their_numbers(self, folder: Path) -> None:
        """The millionth file comes after the one before it, not after the first."""
        log = opened(folder, limit=1)
        for number in range(3):
            log.record(began(f"r{number}"))
        (folder / "audit-000002.jsonl").rename(folder / "audit-1000000.jsonl")
        (folder / "audit-000001.jsonl").rename(folder / "audit-999999.jsonl")
        whole(log)
        log.record(began("r3"))
        assert (folder / "audit-1000001.jsonl").exists()
        whole(log)


class TestTampering:
    """What an append does about a log that is not as it was left."""

    def lines(self, folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
        path = folder / "audit.jsonl"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    @pytest.fixture
    def log(self, folder: Path) -> AuditLog:
        log = opened(folder)
        for number in range(4):
            log.record(began(f"r{number}"))
        return log

    def test_a_cut_off_end_is_found_before_and_after_the_next_append(
        self, log: AuditLog, folder: Path
    ) -> None:
        """Certificates go on being rotated, and the gap never closes."""
        self.lines(folder, lambda lines: lines[:2])
        broken = log.verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("truncated", 3)
        log.record(began("r4"))
        assert [r.seq for r in records(log)] == [1, 2, 5, 6]
        assert events(log)[2] == DAMAGED
        log.record(began("r5"))
        broken = opened(folder).verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("removed", 3)

    def test_a_log_that_was_removed_is_found_after_the_next_append(
        self, log: AuditLog, folder: Path
    ) -> None:
        """The head knows that there was one."""
        (folder / "audit.jsonl").unlink()
        broken = log.verify().broken
        assert broken is not None
        assert broken.what == "truncated"
        log.record(began("r4"))
        assert records(log)[0].seq == 5
        assert log.verify().broken is not None

    def test_a_last_line_cut_in_the_middle_is_left_as_evidence(
        self, log: AuditLog, folder: Path
    ) -> None:
        """The head knows that it was complete: no crash did this, so nothing is cleaned away."""
        self.lines(folder, lambda lines: [*lines[:3], lines[3][:-9]])
        before = (folder / "audit.jsonl").read_bytes()
        log.record(began("r4"))
        assert (folder / "audit.jsonl").read_bytes().startswith(before + b"\n")
        broken = log.verify().broken
        assert broken is not None
        assert broken.seq == 4

    def test_a_removed_head_is_found_after_the_next_append(
        self, log: AuditLog, folder: Path
    ) -> None:
        """Together with it the end could have been removed."""
        (folder / "head.json").unlink()
        self.lines(folder, lambda lines: lines[:3])
        log.record(began("r4"))
        broken = log.verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("damaged", 4)

    @pytest.mark.parametrize("text", ["{", "[]", '{"seq":"x","hash":1,"waiting":{}}'])
    def test_an_unreadable_head_is_found(self, log: AuditLog, folder: Path, text: str) -> None:
        """It is not taken for a missing one, nor does it end in a traceback."""
        (folder / "head.json").write_text(text)
        assert log.verify().broken is not None
        log.record(began("r4"))
        assert DAMAGED in events(log)

    def test_a_head_that_a_power_cut_emptied_is_made_anew(
        self, log: AuditLog, folder: Path
    ) -> None:
        """It is not synced, so this can happen; it is recorded, and not held against anybody."""
        (folder / "head.json").write_bytes(b"\0" * 40)
        log.record(began("r4"))
        assert events(log)[-2:] == [RECOVERED, "rotation.began"]
        verdict = log.verify()
        assert verdict.broken is None
        assert "power cut" in verdict.notes[0]

    def test_records_that_do_not_belong_are_left_as_evidence(
        self, log: AuditLog, folder: Path
    ) -> None:
        """A copy of an old record at the end is not what a crash leaves."""
        self.lines(folder, lambda lines: [*lines, lines[1]])
        log.record(began("r4"))
        assert [r.seq for r in records(log)] == [1, 2, 3, 4, 2, 5, 6]
        broken = log.verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("inserted", 2)


class Crash(BaseException):
    """The process is no more; nothing that catches failures may catch this."""


class Os:
    """The os module, until the ``at``-th of these calls; writes then do half of their work."""

    CALLS = frozenset({"open", "write", "fsync", "ftruncate", "rename", "close", "unlink"})

    def __init__(self, at: int, error: BaseException, *, after: bool) -> None:
        self.at, self.error, self.after = at, error, after
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._counted(name, real) if name in self.CALLS else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count != self.at:
                return real(*arguments, **options)
            if name == "close":
                real(*arguments)  # a descriptor does not outlive its process
            elif name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            elif self.after:
                with contextlib.suppress(FileNotFoundError):
                    real(*arguments, **options)
            raise self.error

        return call


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Os]]:
    """Let the ``at``-th call fail from now on."""

    def use(at: int, error: BaseException, *, after: bool = False) -> Os:
        fake = Os(at, error, after=after)
        monkeypatch.setattr(log_module, "os", fake)
        monkeypatch.setattr(head_module, "os", fake)
        return fake

    yield use
    monkeypatch.undo()


class TestCrashes:
    """A crash or a refusal at every call that touches the disk."""

    CALLS = 18

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kept", [0, 2])
    @pytest.mark.parametrize("limit", [1, 10_000])
    @pytest.mark.parametrize("at", range(1, CALLS))
    def test_a_crash_anywhere_is_no_tampering_and_loses_nothing(
        self,
        folder: Path,
        strike: Callable[..., Os],
        monkeypatch: pytest.MonkeyPatch,
        at: int,
        limit: int,
        kept: int,
        after: bool,
    ) -> None:
        """What was acknowledged is there, what was not is there in part or not at all."""
        log = opened(folder, limit=limit)
        for number in range(kept):
            log.record(began(f"kept{number}"))
        strike(at, Crash(), after=after)
        with contextlib.suppress(Crash):
            log.record(began("crashed"), ISSUED)
        monkeypatch.undo()
        next_one = opened(folder, limit=limit)
        whole(next_one)
        next_one.record(began("next"))
        whole(next_one)
        found = [r.rotation for r in records(next_one) if r.event != RECOVERED]
        assert found[:kept] == [f"kept{number}" for number in range(kept)]
        assert found[-1] == "next"
        assert found[kept:-1] in ([], ["crashed"], ["crashed", "r1"])
        assert next_one.unsettled("web") == "next"

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("limit", [1, 10_000])
    @pytest.mark.parametrize("at", range(1, CALLS))
    def test_a_refusal_anywhere_is_said_and_leaves_the_log_as_it_was(
        self,
        folder: Path,
        strike: Callable[..., Os],
        monkeypatch: pytest.MonkeyPatch,
        at: int,
        limit: int,
        after: bool,
    ) -> None:
        """A beginning that could not be recorded must not be found in the log later."""
        log = opened(folder, limit=limit)
        log.record(began("kept"))
        fake = strike(at, OSError(28, "No space left on device"), after=after)
        said = ""
        try:
            log.record(began("refused"))
        except DiskTrouble as trouble:
            said = str(trouble)
        monkeypatch.undo()
        assert ("No space left" in said) == (fake.count >= at)
        whole(log)
        found = [r.rotation for r in records(log)]
        done = log.head() == records(log)[-1].head and len(found) == 2
        assert (
            found == ["kept"] or done
        )  # the last calls can only say of what is done that it failed
        log.record(began("next"))
        whole(log)

    def test_the_points_cover_a_whole_append(self, folder: Path, strike: Callable[..., Os]) -> None:
        """The control: an append with a rotation of files makes fewer calls than are tried."""
        log = opened(folder, limit=1)
        log.record(began("r1"))
        fake = strike(10_000, Crash())
        log.record(began("r2"))
        assert 8 <= fake.count < self.CALLS

    def test_a_torn_record_is_removed_and_that_is_recorded(self, folder: Path) -> None:
        """How much, and the hash of it: whoever wonders can tell what it was not."""
        log = opened(folder)
        log.record(began("r1"))
        path = folder / "audit.jsonl"
        path.write_bytes(path.read_bytes() + b'{"at":"2026')
        log.record(began("r2"))
        first, recovered, second = records(log)
        assert (first.rotation, second.rotation) == ("r1", "r2")
        assert recovered.event == RECOVERED
        assert recovered.details["removed"] == len(b'{"at":"2026')
        whole(log)

    def test_a_lagging_head_does_not_ask_for_an_outcome_twice(self, folder: Path) -> None:
        """The outcome was recorded and the head was not: the log is what counts."""
        log = opened(folder)
        log.record(began("r1"))
        before = (folder / "head.json").read_bytes()
        log.record(ISSUED, FINISHED)
        (folder / "head.json").write_bytes(before)
        assert json.loads(before)["waiting"] == {"web": "r1"}
        assert opened(folder).unsettled("web") is None

    @pytest.mark.parametrize("known", ["older", "emptied"])
    def test_a_lagging_head_does_not_hide_that_an_outcome_is_missing(
        self, folder: Path, known: str
    ) -> None:
        """The head is not synced: after a power cut only the log may know of the rotation."""
        log = opened(folder)
        log.record(FINISHED)
        before = (folder / "head.json").read_bytes()
        log.record(began("r2"))
        (folder / "head.json").write_bytes(before if known == "older" else b"")
        assert opened(folder).unsettled("web") == "r2"
        assert opened(folder).unsettled("mail") is None
        log.record(Happened("rotation.interrupted", "web", "r2"))
        assert opened(folder).unsettled("web") is None


class TestFullDisk:
    """No room for a record."""

    def test_a_file_that_may_not_grow_refuses_and_stays_whole(self, folder: Path) -> None:
        """The kernel writes what fits; that must not stay behind as half a record."""
        log = opened(folder)
        log.record(began("r1"))
        before = (folder / "audit.jsonl").read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))
        try:
            with pytest.raises(DiskTrouble, match="File too large"):
                log.record(began("r2"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (folder / "audit.jsonl").read_bytes() == before
        whole(log)
        log.record(began("r2"))
        assert events(log) == ["rotation.began"] * 2


def _append(folder: str, name: str, count: int) -> None:
    log = AuditLog(Path(folder), clock=SystemClock(), command=name, limit=20_000)
    for number in range(count):
        log.record(began(f"{name}{number}"), ISSUED)


class TestTogether:
    """A one-shot command beside a daemon with its threads."""

    def test_processes_keep_one_chain(self, folder: Path) -> None:
        """Through rotations of the files as well."""
        context = multiprocessing.get_context("spawn")
        both = [context.Process(target=_append, args=(str(folder), n, 60)) for n in ("a", "b")]
        for process in both:
            process.start()
        for process in both:
            process.join(60)
            assert process.exitcode == 0
        self.ordered(folder, ("a", "b"), 60)

    def test_threads_keep_one_chain(self, folder: Path) -> None:
        """With one object for all of them, and with one for each."""
        shared = AuditLog(folder, clock=SystemClock(), command="shared")
        failures: list[Failure] = []

        def append(name: str, log: AuditLog) -> None:
            try:
                for number in range(20):
                    log.record(began(f"{name}{number}"), ISSUED)
            except Failure as failure:
                failures.append(failure)

        own = AuditLog(folder, clock=SystemClock(), command="own")
        logs = {"a": shared, "b": shared, "c": own}
        threads = [threading.Thread(target=append, args=each) for each in logs.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        self.ordered(folder, tuple(logs), 20)

    def test_reading_goes_on_while_others_append(self, folder: Path) -> None:
        """A verification sees the log of one moment."""
        log = AuditLog(folder, clock=SystemClock(), command="test")
        log.record(began("r1"))
        with log.snapshot() as snapshot:
            log.record(FINISHED)
            assert len(list(snapshot.lines())) == 1
        whole(log)

    def ordered(self, folder: Path, names: tuple[str, ...], count: int) -> None:
        log = opened(folder)
        whole(log)
        starts = [r.rotation for r in records(log) if r.event == "rotation.began"]
        for name in names:
            own = [each for each in starts if each.startswith(name)]
            assert own == [f"{name}{number}" for number in range(count)]
        assert len(records(log)) == 2 * count * len(names)
