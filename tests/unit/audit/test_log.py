"""The log on disk: one chain whatever is full or comes between."""

import contextlib
import multiprocessing
import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from certrotd.audit.log import AuditLog
from certrotd.audit.record import Happened, parse
from certrotd.clock import ManualClock, SystemClock
from certrotd.errors import Failure, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.outcome import Stopped
from certrotd.state.lock import hold
from tests.unit.audit.kept import FINISHED, ISSUED, NOW, began, events, opened, records, whole


def _no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


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

    def test_every_line_is_copied_once_it_is_durable(self, folder: Path) -> None:
        """To a collector of logs: what it has is the log, line by line, and no more than that."""
        copied: list[bytes] = []
        log = opened(folder, copy=copied.append)
        log.record(began("r1"))
        log.record(ISSUED, FINISHED)
        assert b"".join(copied) == (folder / "audit.jsonl").read_bytes()
        (folder / "audit.jsonl").unlink()
        (folder / "audit.jsonl").mkdir()
        with pytest.raises(Failure):
            log.record(began("r2"))
        assert len(copied) == 2

    def test_what_others_write_meanwhile_is_copied_as_well(self, folder: Path) -> None:
        """Commands in the pod of the daemon: else the chain in its log would have holes."""
        opened(folder).record(began("r0"))
        copied: list[bytes] = []
        log = opened(folder, copy=copied.append, limit=1)  # each record begins a new file
        log.record(began("r1"))
        for number in range(3):
            opened(folder, limit=1).record(ISSUED, began(f"c{number}"))
        log.record(FINISHED)
        opened(folder, limit=1).record(ISSUED)
        log.check()
        log.check()
        lines = b"".join(copied).splitlines(keepends=True)
        assert [record.seq for line in lines if (record := parse(line))] == [*range(2, 11)]
        assert lines == [record.line() for record in records(log)][1:]

    def test_what_was_copied_is_not_copied_again_after_a_full_disk(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever becomes of the record that came next."""
        copied: list[bytes] = []
        log = opened(folder, copy=copied.append)
        log.record(began("r1"))
        opened(folder).record(ISSUED)
        with monkeypatch.context() as full:
            full.setattr("certrotd.audit.log.write_head", _no_room)
            for _ in range(2):
                with pytest.raises(Failure):
                    log.record(FINISHED)
        log.record(FINISHED)
        lines = b"".join(copied).splitlines(keepends=True)
        assert [record.seq for line in lines if (record := parse(line))] == [1, 2, 3]

    def test_an_empty_log_verifies_and_reading_it_leaves_no_files(self, folder: Path) -> None:
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

    def test_a_process_that_holds_the_log_for_too_long_is_named(self, folder: Path) -> None:
        """A stopped process must not stop every other one for ever."""
        log = opened(folder)
        log.record(began("r1"))
        other = hold(folder / "lock", what="the audit log", command="sleeper", now=NOW)
        with other, pytest.raises(LockHeld, match="sleeper"):
            log.record(FINISHED)
        log.record(FINISHED)
        assert events(log) == ["rotation.began", "rotation.finished"]

    def test_a_stop_does_not_prevent_the_record_of_an_outcome(self, folder: Path) -> None:
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


class TestFullDisk:
    """No room for a record."""

    def test_a_file_that_cannot_grow_refuses_the_append_and_stays_intact(
        self, folder: Path
    ) -> None:
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
            process.join(100)
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

    def test_reading_continues_while_others_append(self, folder: Path) -> None:
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
