"""The process of a pid file is the one that wrote it, or nobody gets a signal."""

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certrotd.clock import ManualClock, SystemClock
from certrotd.errors import Failure, NeedsOperator
from certrotd.targets import pid
from certrotd.targets.pid import ASK, PidFile, Process, WantedProcess, look, signal_pid_file
from tests.parts.process import descriptors, wait_until
from tests.unit.targets.running import noting

ANY = WantedProcess()
CLOCK = SystemClock()
PROXY = WantedProcess(("haproxy",))
FILE = PidFile(Path("/run/proxy.pid"), 77, uid=0, mode=0o100644, written=1_000.0)
RUNNING = Process("haproxy", "S", uid=0, started=999.0)


@contextmanager
def sleeping(program: str | Path = "sleep") -> Iterator[int]:
    """A process that does nothing; gives its number."""
    with subprocess.Popen([program, "60"]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


@contextmanager
def plain_user() -> Iterator[None]:
    """Somebody who may not signal root's processes, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


class TestRefusal:
    """What is said of a process and a pid file."""

    def test_the_process_that_wrote_it_is_not_refused(self) -> None:
        """Files are written after the start; clocks that count in whole seconds may disagree."""
        assert FILE.refusal(RUNNING, PROXY) is None
        assert FILE.refusal(RUNNING, ANY) is None
        assert FILE.refusal(replace(RUNNING, started=1_001.9), PROXY) is None

    def test_a_process_that_began_after_it_was_written_is_another_one(self) -> None:
        """The number was given away again, be it to a process of the same name."""
        later = replace(RUNNING, started=1_002.1)
        assert FILE.refusal(later, PROXY) == (
            "started after that was written: it is another process",
            "the pid file is stale; start haproxy",
        )

    def test_a_file_from_before_the_machine_booted_is_taken_by_the_name(self) -> None:
        """A machine without a battery writes in 1970, and its clock is set later."""
        stepped = replace(RUNNING, started=9_000.0, booted=8_000.0)
        assert FILE.refusal(stepped, PROXY) is None
        assert FILE.refusal(stepped, ANY) is not None
        assert FILE.refusal(replace(stepped, booted=900.0), PROXY) is not None

    def test_a_process_of_another_name_is_another_one(self) -> None:
        """The kernel keeps fifteen characters of a name."""
        shell = replace(RUNNING, comm="sh")
        assert FILE.refusal(shell, PROXY) == (
            "is sh, not haproxy",
            "the pid file is stale; start haproxy",
        )
        assert FILE.refusal(shell, ANY) is None
        long = WantedProcess(("other", "a-name-of-twenty-one"))
        assert FILE.refusal(replace(RUNNING, comm="a-name-of-twent"), long) is None

    def test_a_pid_file_of_a_user_names_only_processes_of_that_user(self) -> None:
        """Else a web application could have root signal whatever it likes."""
        theirs = replace(FILE, uid=33)
        assert theirs.refusal(RUNNING, PROXY) == (
            "runs as user 0, but the file is user 33's",
            "the owner of the file could have any process signalled: chown it to root",
        )
        assert theirs.refusal(replace(RUNNING, uid=33), PROXY) is None
        assert replace(FILE, uid=os.geteuid()).refusal(RUNNING, PROXY) is None
        everybodys = replace(FILE, mode=0o100666)
        assert everybodys.refusal(RUNNING, PROXY) == (
            "could be any process: every user may write the file",
            "chmod o-w the file",
        )


class TestLook:
    """What /proc says of a process."""

    def test_the_looked_up_process_is_the_one_of_the_kernel(self, tmp_path: Path) -> None:
        """Started now, by this user, under its own name."""
        before = time.time()
        with noting(tmp_path / "notes") as number:
            process = look(number, CLOCK)
            assert process is not None
            assert process.comm == Path(f"/proc/{number}/comm").read_text().strip()
            assert process.state in "RSD"
            assert process.uid == os.geteuid()
            assert before - 1.0 < process.started < time.time() + 1.0

    def test_when_it_began_is_by_the_clock_that_is_handed_in(self) -> None:
        """A pid file is compared with it: both have to be read off the same clock."""
        clock = ManualClock(datetime(2031, 5, 6, tzinfo=UTC))
        found = look(os.getpid(), clock)
        assert found is not None
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert abs(found.booted - (clock.now().timestamp() - since_boot)) < 5.0
        ours = look(os.getpid(), CLOCK)
        assert ours is not None
        ahead = clock.now().timestamp() - time.time()
        assert abs(found.started - ours.started - ahead) < 5.0

    @pytest.mark.parametrize("name", ["a) Z (b", "x y", ")", "((("])
    def test_a_name_cannot_pass_for_other_fields(self, tmp_path: Path, name: str) -> None:
        """Brackets and spaces in a name shift nothing."""
        program = shutil.copy(str(shutil.which("sleep")), tmp_path / name)
        with sleeping(program) as number:
            wait_until(lambda: getattr(look(number, CLOCK), "comm", "") == name)
            process = look(number, CLOCK)
        assert process is not None
        assert process.state in "RSD"

    def test_a_process_that_does_not_exist_is_none(self) -> None:
        """Nor one whose number cannot be."""
        with subprocess.Popen(["true"]) as gone:
            pass
        assert look(gone.pid, CLOCK) is None
        assert look(2**40, CLOCK) is None


def test_the_signal_gets_there_and_asking_sends_none(tmp_path: Path) -> None:
    """To that very process."""
    notes, file = tmp_path / "notes", tmp_path / "pid"
    with noting(notes) as number:
        file.write_text(f" {number}\n")
        signal_pid_file(file, ASK, ANY, clock=CLOCK)
        signal_pid_file(file, signal.SIGUSR1, ANY, clock=CLOCK)
        wait_until(lambda: notes.read_text() == "SIGUSR1\n")
        signal_pid_file(file, signal.SIGHUP, ANY, clock=CLOCK)
        wait_until(lambda: notes.read_text() == "SIGUSR1\nSIGHUP\n")


def test_a_stale_file_is_known_by_its_age(tmp_path: Path) -> None:
    """After a reboot the number may be anybody's."""
    notes, file = tmp_path / "notes", tmp_path / "pid"
    with noting(notes) as number:
        file.write_text(str(number))
        os.utime(file, (time.time() - 60, time.time() - 60))
        said = f"process {number} of {file} started after that was written"
        with pytest.raises(NeedsOperator, match=said):
            signal_pid_file(file, signal.SIGHUP, ANY, clock=CLOCK)
        os.utime(file)
        signal_pid_file(file, signal.SIGUSR2, ANY, clock=CLOCK)
        wait_until(lambda: notes.read_text() == "SIGUSR2\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no "),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"haproxy\n", "does not hold a process id"),
        (b"12\n34\n", "does not hold a process id"),
        (b"-1", "does not hold a process id"),
        (b"0", "does not hold a process id"),
        (b"1", "does not hold a process id"),
        (b"+77", "does not hold a process id"),
        (b"0x4d", "does not hold a process id"),
        (b"\xff\xfe", "does not hold a process id"),
        (b"9" * 60, "is not running"),
        (b"4194305", "is not running"),
        (b"9" * 65, "is larger than 64 bytes"),
    ],
)
def test_a_pid_file_that_names_no_process_is_refused(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    """A signal to process 1, to a group or to a guess would be an outage of its own."""
    file = tmp_path / "pid"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Failure, match=words):
        signal_pid_file(file, ASK, ANY, clock=CLOCK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for every example."""
    return tmp_path_factory.mktemp("pid")


@given(content=st.binary(max_size=80))
@example(content=b"\x1c2")  # a space to str, none to bytes
def test_no_file_leads_to_anything_but_a_process_above_one(folder: Path, content: bytes) -> None:
    """Whatever is in it."""
    file = folder / "pid"
    file.write_bytes(content)
    with suppress(Failure):
        found = pid.read_pid_file(file, ANY).pid
        assert found > 1
        assert content.strip().lstrip(b"0") == str(found).encode()


def test_a_file_that_is_swapped_while_it_is_read_vouches_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write beside it could lend his number the owner and age of root's file."""
    file, roots = tmp_path / "pid", tmp_path / "roots"
    file.write_text("1234")
    os.utime(file, (1000, 1000))
    roots.write_text("1")
    read = os.read

    def swapping(handle: int, count: int) -> bytes:
        data = read(handle, count)
        if roots.exists():
            roots.rename(file)
        return data

    monkeypatch.setattr(os, "read", swapping)
    found = pid.read_pid_file(file, ANY)
    assert not roots.exists()
    assert (found.pid, found.written) == (1234, 1000)


def test_a_zombie_process_is_not_running(tmp_path: Path) -> None:
    """Also while nobody has asked how it ended: a zombie takes every signal, and does nothing."""
    file = tmp_path / "pid"
    with subprocess.Popen(["true"]) as child:
        file.write_text(str(child.pid))
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(
            NeedsOperator, match=f"haproxy {child.pid} of .* is not running"
        ) as said:
            signal_pid_file(file, signal.SIGHUP, PROXY, clock=CLOCK)
    assert said.value.hint == "start haproxy"
    with pytest.raises(NeedsOperator, match=f"process {child.pid} of .* is not running") as said:
        signal_pid_file(file, signal.SIGHUP, ANY, clock=CLOCK)
    assert said.value.hint == "start the service"


def test_a_process_that_ends_during_the_check_is_not_running(tmp_path: Path) -> None:
    """Whoever has its number next is not signalled: the process is held, not the number."""
    child = subprocess.Popen(["sleep", "60"])

    def ends(_process: Process) -> None:
        child.kill()
        child.wait()

    with child, pytest.raises(NeedsOperator, match=f"{child.pid} of here is not running"):
        pid.signal_process(
            child.pid, signal.SIGHUP, ANY, known_by="here", refusal=ends, clock=CLOCK
        )


def test_a_process_that_proc_hides_differs_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ProtectProc= of a hardened service must not look like an outage of another."""
    file = tmp_path / "pid"
    monkeypatch.setattr(pid, "look", lambda _pid, _clock: None)
    with sleeping() as number:
        file.write_text(str(number))
        with pytest.raises(NeedsOperator, match="cannot be looked at in /proc"):
            signal_pid_file(file, ASK, ANY, clock=CLOCK)
        os.kill(number, signal.SIGKILL)
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NeedsOperator, match="is not running"):
            signal_pid_file(file, ASK, ANY, clock=CLOCK)


def test_a_process_of_another_user_is_refused_with_a_reason() -> None:
    """Already when it is asked, before an order is spent."""
    with plain_user(), pytest.raises(NeedsOperator) as said:
        pid.signal_process(1, ASK, ANY, known_by="here", refusal=lambda _: None, clock=CLOCK)
    assert said.value.message == "cannot signal process 1: Operation not permitted"
    assert "reload by systemd" in said.value.hint


def test_a_kernel_without_what_it_takes_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some sandboxes have no pidfd_open; permission is not what is missing then."""

    def missing(_pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    file = tmp_path / "pid"
    file.write_text(str(os.getpid()))
    monkeypatch.setattr("os.pidfd_open", missing)
    with pytest.raises(NeedsOperator, match="Function not implemented") as said:
        signal_pid_file(file, ASK, ANY, clock=CLOCK)
    assert said.value.hint == ""


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """The daemon does this for years."""
    file = tmp_path / "pid"
    before = descriptors()
    with noting(tmp_path / "notes") as number:
        file.write_text(str(number))
        inside = descriptors()
        for _ in range(5):
            signal_pid_file(file, ASK, ANY, clock=CLOCK)
            with pytest.raises(NeedsOperator):
                signal_pid_file(file, ASK, PROXY, clock=CLOCK)
        assert not descriptors() - inside
    assert not descriptors() - before
