"""Programs are run without a shell, bounded in time and output, and killed whole."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.process import DEFAULT_PATH, OUTPUT_LIMIT, Ran, environment, require, run, succeed
from tests.fakes.clock import Until
from tests.parts.process import wait_until


def within(seconds: float) -> Deadline:
    """That much time."""
    return Deadline(SystemClock(), seconds)


def python(code: str, *, seconds: float = 60, clock: Clock | None = None, **options: Any) -> Ran:
    """How a program that runs ``code`` ended, by the machine's clock or another one."""
    variables = options.pop("variables", environment({}))
    argv = (sys.executable, "-I", "-S", "-c", code)
    deadline = Deadline(clock or SystemClock(), seconds)
    return run(argv, what="the hook", deadline=deadline, variables=variables, **options)


def script(path: Path, text: str, *, mode: int = 0o755) -> str:
    """An executable file."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open no other file within."""
    lowest, limits = os.dup(0), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class TestEnding:
    """How a program ended, in words."""

    @pytest.mark.parametrize(
        ("code", "status", "how"),
        [
            ("", 0, "exited with 0"),
            ("raise SystemExit(3)", 3, "exited with 3"),
            ("import os; os.kill(os.getpid(), 9)", -9, "was killed by signal 9"),
        ],
    )
    def test_the_status_is_given_back_and_said(self, code: str, status: int, how: str) -> None:
        """The caller decides what is a failure; the words are everywhere the same."""
        ran = python(code)
        assert (ran.status, ran.how, ran.tail) == (status, how, "")

    def test_at_the_deadline_everything_it_started_is_killed(self, tmp_path: Path) -> None:
        """A reload script that hangs must not leave its children at work."""
        pids = tmp_path / "pids"
        code = (
            "import os, sys, time\n"
            "child = os.fork()\n"
            "print('begun', flush=True)\n"
            f"if child: open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child}}')\n"
            "time.sleep(600)"
        )
        begun = Until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        ran = python(code, clock=begun)
        assert (ran.status, ran.how) == (None, "did not end in time and was killed")
        assert b"begun" in ran.output
        found = [int(pid) for pid in pids.read_text().split()]
        assert len(found) == 2
        wait_until(lambda: not any(map(alive, found)))  # init reaps the grandchild when it likes

    def test_a_program_that_closes_its_output_is_still_waited_for(self) -> None:
        """A daemonising script closes its streams first."""
        code = "import os, time\nos.close(1); os.close(2); time.sleep(0.2); os._exit(4)"
        assert python(code).status == 4

    def test_a_program_that_closes_its_output_and_hangs_is_killed(self) -> None:
        """The control of the test above."""
        code = "import os, time\nos.close(1); os.close(2); time.sleep(600)"
        standing = Until(lambda: False)  # it is waited for, once its output has ended
        assert python(code, seconds=0.3, clock=standing).status is None

    def test_a_background_process_is_neither_waited_for_nor_killed(self) -> None:
        """It is the service that was restarted, and holds our pipe for as long as it runs."""
        code = (
            "import os, time\n"
            "service = os.fork()\n"
            "if not service: time.sleep(600); os._exit(0)\n"
            "print(service, flush=True)"
        )
        ran = python(code)  # which would be killed for it after a minute
        assert ran.status == 0
        service = int(ran.output)
        assert alive(service)
        os.kill(service, signal.SIGKILL)

    def test_a_program_of_another_user_that_cannot_be_killed_is_reported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """sudo in a hook: certrotd may start it and not end it."""
        started: list[subprocess.Popen[bytes]] = []

        class Remembered(subprocess.Popen[bytes]):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                started.append(self)

        def refuse(group: int, number: int) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(subprocess, "Popen", Remembered)
        monkeypatch.setattr(os, "killpg", refuse)
        with pytest.raises(NeedsOperator, match="the hook did not finish in time") as left:
            python("import time; time.sleep(600)", clock=Until(lambda: bool(started)))
        assert "its own timeout" in left.value.hint
        (process,) = started
        assert process.poll() is None
        process.kill()
        assert process.wait(10) == -signal.SIGKILL


class TestOutput:
    """What a program printed."""

    def test_stdout_and_stderr_are_kept_in_their_order(self) -> None:
        """What went wrong is often on standard error."""
        code = "import os; os.write(1, b'one '); os.write(2, b'two '); os.write(1, b'three')"
        assert python(code).output == b"one two three"

    def test_standard_error_is_dropped_where_only_the_answer_counts(self) -> None:
        """A warning must not become part of an answer."""
        code = "import os; os.write(1, b'one '); os.write(2, b'two '); os.write(1, b'three')"
        assert python(code, errors_too=False).output == b"one three"

    def test_only_the_end_is_kept_of_more_than_fits(self) -> None:
        """A program that prints without end must not fill the memory."""
        code = "import os\nfor _ in range(300): os.write(1, b'x' * 1000)\nos.write(1, b'the end')"
        ran = python(code)
        assert len(ran.output) == OUTPUT_LIMIT
        assert ran.output.endswith(b"xthe end")

    def test_more_than_fits_takes_no_memory_meanwhile(self) -> None:
        """It may print for as long as its timeout, and the daemon lives for years."""
        tracemalloc.start()
        try:
            python("import os\nfor _ in range(3000): os.write(1, b'x' * 1000)")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1_000_000

    def test_a_program_that_prints_for_ever_is_killed_at_the_deadline(self, tmp_path: Path) -> None:
        """Being busy is no excuse."""
        mark = tmp_path / "mark"
        code = (
            "import os, contextlib\n"
            "for _ in range(200): os.write(1, b'x' * 1000)\n"
            f"open({str(mark)!r}, 'w')\n"
            "while True:\n"
            "    with contextlib.suppress(OSError): os.write(1, b'x' * 1000)"
        )
        ran = python(code, clock=Until(mark.exists))
        assert ran.status is None
        assert len(ran.output) <= OUTPUT_LIMIT

    def test_a_program_that_prints_too_much_is_killed(self) -> None:
        """The beginning says as much as a gigabyte of it would."""
        ran = python("while True: print('x' * 99)", most=500)
        assert ran.status is None
        assert len(ran.output) > 500
        assert ran.output.startswith(b"x" * 99)
        ran = python("print('x' * 99)", most=500)  # the control
        assert (ran.status, len(ran.output)) == (0, 100)

    def test_output_right_before_the_exit_is_not_lost(self) -> None:
        """The last line is the one that says why."""
        code = "import os; os.write(1, b'y' * 60000); os._exit(1)"
        assert python(code).output == b"y" * 60000

    @pytest.mark.parametrize(
        ("output", "tail"),
        [
            (b"", ""),
            (b" \n\t\n", ""),
            (b"one\n\n two \n", ": one | two"),
            (b"1\n2\n3\n4\n5\n6", ": 2 | 3 | 4 | 5 | 6"),
            (b"\xff", ": \ufffd"),
            (b"a" * 299 + b"bc", f": {'a' * 298}bc"),
        ],
    )
    def test_the_tail_is_a_few_short_lines(self, output: bytes, tail: str) -> None:
        """It goes to the end of a message."""
        assert Ran(1, output).tail == tail


class TestSurroundings:
    """What a program finds when it starts."""

    def test_a_program_sees_only_the_variables_it_is_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """This process holds tokens in its environment."""
        monkeypatch.setenv("TOKEN", "secret")
        inherited = {"PATH": DEFAULT_PATH, "TOKEN": "secret"}
        variables = environment({"HOOK": "1"}, inherited=inherited)
        ran = run(["/usr/bin/env"], what="env", deadline=within(60), variables=variables)
        assert sorted(ran.output.split()) == [b"HOOK=1", f"PATH={DEFAULT_PATH}".encode()]

    def test_the_environment_is_path_language_and_home_and_what_is_added(self) -> None:
        """Minimal, whatever certrotd itself was started with."""
        inherited = {"PATH": "/opt/bin", "LANG": "C.UTF-8", "HOME": "/root", "LD_PRELOAD": "x.so"}
        assert environment({"A": "1", "LANG": "de"}, inherited=inherited) == {
            "PATH": "/opt/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": "/root",
            "LANG": "de",
            "A": "1",
        }

    def test_without_a_path_there_is_the_usual_one(self) -> None:
        """systemd may start certrotd without."""
        assert environment({}, inherited={}) == {"PATH": DEFAULT_PATH}

    def test_system_programs_are_found_where_cron_does_not_look(self, tmp_path: Path) -> None:
        """nginx is in /usr/sbin, and cron's PATH is /usr/bin:/bin."""
        cron = {"PATH": "/usr/bin:/bin"}
        assert environment({}, inherited=cron)["PATH"].split(":")[-2:] == ["/usr/sbin", "/sbin"]
        assert environment({"PATH": "/mine"}, inherited=cron)["PATH"] == "/mine"

    def test_a_program_runs_in_the_root_with_empty_input_and_its_own_session(self) -> None:
        """A prompt must fail and not hang, and Ctrl-C is certrotd's to handle."""
        code = (
            "import os, sys\n"
            "print(os.getcwd(), repr(sys.stdin.read()), os.getsid(0) == os.getpid())"
        )
        assert python(code).output == b"/ '' True\n"

    def test_arguments_are_never_read_by_a_shell(self, tmp_path: Path) -> None:
        """A token with a semicolon was executed once (CVE-2023-38198)."""
        marks = [f"; touch {tmp_path}/a", f"$(touch {tmp_path}/b)", f"`touch {tmp_path}/c`"]
        hostile = [*marks, "a b", "*"]
        code = "import sys; print(*sys.argv[1:], sep='|')"
        argv = (sys.executable, "-I", "-S", "-c", code, *hostile)
        ran = run(argv, what="it", deadline=within(60), variables={})
        assert ran.output.decode() == "|".join(hostile) + "\n"
        assert list(tmp_path.iterdir()) == []


class TestStarting:
    """What cannot be started."""

    def test_without_time_left_it_is_not_started(self, tmp_path: Path) -> None:
        """Begun and killed at once is worse than not begun."""
        mark = tmp_path / "mark"
        with pytest.raises(Transient, match="the hook was not started: no time was left"):
            python(f"open({str(mark)!r}, 'w')", seconds=0)
        assert not mark.exists()

    def test_a_missing_program_is_for_the_operator(self, tmp_path: Path) -> None:
        """It does not come by itself."""
        with pytest.raises(NeedsOperator, match="could not be started: No such file"):
            run([str(tmp_path / "no")], what="it", deadline=within(60), variables={})

    @pytest.mark.parametrize(
        ("text", "mode"),
        [("no #! line", 0o755), ("#!/bin/sh\n", 0o644), ("#!/no/such/interpreter\n", 0o755)],
    )
    def test_a_file_that_is_no_program_is_for_the_operator(
        self, tmp_path: Path, text: str, mode: int
    ) -> None:
        """And no shell guesses what it might be."""
        program = script(tmp_path / "hook", text, mode=mode)
        with pytest.raises(NeedsOperator, match="could not be started") as refused:
            run([program], what="it", deadline=within(60), variables={})
        assert "#!" in refused.value.hint

    def test_a_machine_without_room_for_a_process_may_have_it_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """EAGAIN of fork(2) passes."""

        def full(*_: Any, **__: Any) -> None:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr(subprocess, "Popen", full)
        with pytest.raises(Transient, match="could not be started: Resource temporarily"):
            python("")

    def test_a_process_without_room_for_files_blames_the_limit_and_not_the_program(self) -> None:
        """A leak, or a limit that is too low; the program has done nothing wrong."""
        with no_more_files(), pytest.raises(Transient, match="Too many open files") as refused:
            python("")
        assert refused.value.hint == "raise the limit of open files"
        python("")  # the control

    def test_a_program_that_is_being_written_may_be_started_later(self, tmp_path: Path) -> None:
        """A deployment replaces it at this very moment."""
        program = script(tmp_path / "hook", "#!/bin/sh\n")
        with open(program, "ab"), pytest.raises(Transient, match="Text file busy"):
            run([program], what="it", deadline=within(60), variables={})


class TestRequire:
    """What a configuration is checked for before anything depends on it."""

    def test_a_program_that_is_there_is_accepted(self, tmp_path: Path) -> None:
        """By its path, and by its name."""
        require(script(tmp_path / "hook", "#!/bin/sh\n"), what="the hook")
        require("hook", what="the hook", path=str(tmp_path))
        require("sh", what="the shell")

    def test_a_missing_one_is_refused(self, tmp_path: Path) -> None:
        """The control of the test above."""
        (tmp_path / "folder").mkdir()
        for program in ("hook", str(tmp_path / "hook"), str(tmp_path / "folder")):
            with pytest.raises(NeedsOperator, match=r"the hook .* is not an executable file"):
                require(program, what="the hook", path=str(tmp_path))

    def test_a_file_that_cannot_be_executed_is_refused(self, tmp_path: Path) -> None:
        """chmod +x is what everybody forgets."""
        program = script(tmp_path / "hook", "#!/bin/sh\n", mode=0o644)
        with pytest.raises(NeedsOperator) as refused:
            require(program, what="the hook")
        assert "chmod +x" in refused.value.hint

    @pytest.mark.parametrize("program", ["./hook", "bin/hook", "../hook"])
    def test_a_relative_one_is_refused(self, program: str) -> None:
        """It would be looked for in /, wherever it was tried out."""
        with pytest.raises(NeedsOperator, match="is relative") as refused:
            require(program, what="the hook")
        assert "whole path" in refused.value.hint


REAPS = """
import ctypes, os, subprocess, sys, threading, time
from certrotd.clock import Deadline, SystemClock
from certrotd.process import reap_orphans, run

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: as the first of a container
clock, over, reaped = SystemClock(), threading.Event(), 0

def reap():
    global reaped
    while not over.is_set():
        reaped += reap_orphans()
        time.sleep(0.001)

reaper = threading.Thread(target=reap)
reaper.start()
try:
    for number in range(60):
        argv = ["/bin/sh", "-c", f"(/bin/sleep 0.01 &) & exit {number}"]
        ran = run(argv, what="it", deadline=Deadline(clock, 60), variables={})
        assert ran.status == number, (ran, number)
    deadline = Deadline(clock, 60)
    while reaped < 60 and not deadline.passed:
        time.sleep(0.01)
finally:
    over.set()
    reaper.join()
print(reaped)
"""


def must(code: str, *, clock: Clock | None = None, later: int | None = None) -> None:
    """Run a program that has to succeed."""
    argv = (sys.executable, "-I", "-S", "-c", code)
    deadline = Deadline(clock or SystemClock(), 1.0 if clock else 60.0)
    succeed(argv, what="the hook", deadline=deadline, variables=environment({}), later=later)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(3)", "the hook exited with 3"),
        ("print('it is broken'); raise SystemExit(1)", "the hook exited with 1: it is broken"),
        ("import os; os.kill(os.getpid(), 9)", "the hook was killed by signal 9"),
    ],
)
def test_a_program_that_fails_is_reported_with_its_output(code: str, words: str) -> None:
    """A hook that fails and the program exits 0 is how outages begin (certbot #8528)."""
    must("print('fine')")  # the control
    with pytest.raises(NeedsOperator) as failed:
        must(code)
    assert failed.value.message == words


def test_a_program_may_ask_for_another_try() -> None:
    """By one exit status alone."""
    with pytest.raises(Transient, match="the hook exited with 75: busy"):
        must("print('busy'); raise SystemExit(75)", later=75)
    with pytest.raises(NeedsOperator):
        must("print('busy'); raise SystemExit(74)", later=75)


def test_a_program_that_is_killed_at_the_deadline_is_reported_with_its_last_words(
    tmp_path: Path,
) -> None:
    """What it was waiting for is often the last thing it said."""
    mark = tmp_path / "mark"
    code = f"print('waiting', flush=True); open({str(mark)!r}, 'w'); import time; time.sleep(600)"
    with pytest.raises(Transient, match="the hook did not end within 1s and was killed: waiting"):
        must(code, clock=Until(mark.exists))


def test_orphans_are_reaped_and_no_status_is_lost_to_that() -> None:
    """Whoever waits for a program of its own learns how it ended, whatever is reaped beside it."""
    ran = subprocess.run(
        [sys.executable, "-c", REAPS], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) >= 60


def test_without_children_there_is_nothing_to_reap() -> None:
    """It is asked every second."""
    code = "from certrotd.process import reap_orphans; print(reap_orphans())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "0\n"
