"""One worker per name, in this process and in others."""

import fcntl
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.state.lock import hold, hold_any, is_held
from tests.parts.process import descriptors

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
NO_NUMBERS = '{"pid": Infinity, "command": "x", "since": "x", "token": -Infinity}'

HOLDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from certrotd.state.lock import hold, hold_any

now = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
with hold(Path(sys.argv[1]), what="certificate web", command="certrotd run", now=now):
    print("held", flush=True)
    sys.stdin.read()
"""


def take(path: Path, wait: Deadline | None = None) -> None:
    """Take the lock and let it go."""
    with hold(path, what="certificate web", command="certrotd rotate", now=NOW, wait=wait):
        pass


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until the end of the block, or until it is killed."""
    argv = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock is; its directory is not there yet."""
    return tmp_path / "locks" / "web.lock"


def test_a_second_process_learns_who_holds_the_lock(path: Path) -> None:
    """An operator has to know which process to wait for."""
    with another_process(path) as process, pytest.raises(LockHeld) as held:
        take(path)
    assert held.value.holder == (
        f"process {process.pid} (certrotd run, since 2026-06-01T12:00:00+00:00)"
    )
    assert "certificate web" in str(held.value)


def test_the_lock_dies_with_its_process(path: Path) -> None:
    """No stale lock ever needs an operator (certmagic #169)."""
    with another_process(path) as process:
        process.kill()
        process.wait()
        take(path)


def test_the_lock_is_free_after_the_block(path: Path) -> None:
    """The negative control of the two above."""
    take(path)
    take(path)


def test_a_program_that_is_being_started_does_not_keep_it(path: Path) -> None:
    """Until execve(2) it has every file of ours open: else who is next would meet ourselves."""
    with hold(path, what="certificate web", command="certrotd run", now=NOW):
        [its] = [each.split()[0] for each in descriptors() if each.endswith(str(path))]
        inherited = os.dup(int(its))
        with pytest.raises(LockHeld):
            take(path)
    take(path)
    os.close(inherited)


def test_a_second_thread_is_kept_out_too(path: Path) -> None:
    """A daemon rotates in several threads."""
    met: list[BaseException] = []

    def other() -> None:
        try:
            take(path)
        except LockHeld as held:
            met.append(held)

    with hold(path, what="certificate web", command="certrotd run", now=NOW):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(met) == 1
    assert f"process {os.getpid()}" in str(met[0])


def test_waiting_ends_at_its_deadline(path: Path) -> None:
    """A target's lock is waited for, but not for ever."""
    clock = ManualClock(NOW)
    with another_process(path), pytest.raises(LockHeld):
        take(path, Deadline(clock, 1.0))
    assert clock.now() - NOW == timedelta(seconds=1)


def test_waiting_ends_when_the_lock_is_free(path: Path) -> None:
    """The negative control: it does not wait longer than it has to."""
    with ExitStack() as stack:
        process = stack.enter_context(another_process(path))

        class Releasing(SystemClock):
            def sleep(self, seconds: float) -> None:
                process.kill()
                process.wait()

        take(path, Deadline(Releasing(), 30.0))


def test_of_several_locks_the_first_that_is_free_is_held(path: Path) -> None:
    """As many are at it as there are locks, and the next one is told who is."""
    paths = [path, path.with_name("another.lock")]

    def take(seconds: float) -> AbstractContextManager[object]:
        wait = Deadline(SystemClock(), seconds)
        return hold_any(paths, what="the hook", command="me", now=NOW, wait=wait)

    with take(0):
        with take(0), pytest.raises(LockHeld, match="the hook"), take(0):
            pass
        with take(0):
            pass


def test_a_shared_lock_keeps_out_only_who_wants_it_alone(path: Path) -> None:
    """Files of several certificates may change at once, but not while a service reads them."""

    def shared() -> AbstractContextManager[object]:
        return hold(path, what="target web", command="certrotd run", now=NOW, shared=True)

    with shared():
        with shared(), pytest.raises(LockHeld):
            take(path)
        with pytest.raises(LockHeld):
            take(path)
    take(path)
    alone = hold(path, what="target web", command="certrotd run", now=NOW)
    with alone, pytest.raises(LockHeld), shared():
        pass


def test_the_file_stays_and_is_private(path: Path) -> None:
    """Removing it would let two processes lock two files; its directory is created with it."""
    take(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_note_covers_a_longer_one_before_it(path: Path) -> None:
    """Whoever meets the lock reads one note, not one and the end of another."""
    with hold(path, what="certificate web", command="x" * 5000, now=NOW):
        pass
    with (
        hold(path, what="certificate web", command="certrotd run", now=NOW),
        pytest.raises(LockHeld, match=r"\(certrotd run, since"),
    ):
        take(path)


def test_a_symbolic_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    """A lock file must not become a way to write somewhere else (CVE-2016-1247)."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskTrouble, match="symbolic link"):
        take(path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("note", ["[1, 2]", "[" * 100_000, NO_NUMBERS])
def test_a_note_that_is_none_of_ours_names_nobody(path: Path, note: str) -> None:
    """What another program wrote there is not shown as if it were a process of ours."""
    path.parent.mkdir()
    path.write_text(note)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockHeld, match="another process"):
            take(path)


@pytest.mark.parametrize("note", [NO_NUMBERS, '{"token": 1e400}'])
def test_a_note_without_a_number_is_written_over(path: Path, note: str) -> None:
    """Whatever stands in the file, the lock is free: rotations do not stop for a note."""
    path.parent.mkdir()
    path.write_text(note)
    with hold(path, what="certificate web", command="certrotd run", now=NOW) as lease:
        assert lease.token == 1


def test_a_note_that_cannot_be_written_does_not_unlock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the lock still holds; only the courtesy is missing."""

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", full)
    with (
        hold(path, what="certificate web", command="certrotd run", now=NOW),
        pytest.raises(LockHeld, match="another process"),
    ):
        take(path)


def test_a_file_system_without_locks_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems know no flock(2): a failure, and no handle left open."""

    def unsupported(*_: object) -> None:
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    before = descriptors()
    with pytest.raises(DiskTrouble, match="cannot lock"):
        take(path)
    assert not descriptors() - before


def test_whether_a_lock_is_held_is_found_out_without_a_trace(path: Path) -> None:
    """Who only asks is no holder: neither a file nor a note is written, nor is the lock kept."""
    assert not is_held(path)
    assert not path.parent.exists()
    with another_process(path):
        assert is_held(path)
        note = path.read_bytes()
        assert is_held(path)
    assert not is_held(path)
    assert path.read_bytes() == note
    take(path)


def test_a_link_in_place_of_a_lock_is_not_looked_at(path: Path, tmp_path: Path) -> None:
    """Whoever would hold it is refused as well."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskTrouble, match=f"cannot look at the lock {path}"):
        is_held(path)
