"""Operators' scripts hang, print, fail and leave children behind; none of that may stop us."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import Clock, Deadline, ManualClock, SystemClock
from certrotd.config.context import Context
from certrotd.config.solvers import ExecEntry
from certrotd.dns.exec import Exec, build
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator, Transient
from certrotd.process import OUTPUT_LIMIT
from tests.builders import soon
from tests.fakes.clock import Until
from tests.parts.process import wait_until

RECORD = TxtRecord("_acme-challenge.www.example.com", "dGVzdA-_")
Script = Callable[[str], tuple[str, ...]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes a command out of shell text."""

    def make(text: str) -> tuple[str, ...]:
        file = tmp_path / "hook"
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o700)
        return (str(file),)

    return make


def _run(
    command: tuple[str, ...], timeout: float = 60.0, *, until: Callable[[], bool] | None = None
) -> None:
    """Runs it by the machine's clock, or by one that stands still until a condition holds."""
    deadline = Deadline(Until(until), 120.0) if until else soon(120.0)
    Exec(command, timeout=timeout).present(RECORD, deadline=deadline)


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (2, 2)])
def test_hooks_run_one_at_a_time_unless_told_otherwise(
    script: Script, tmp_path: Path, concurrency: int, most: int
) -> None:
    """A script that reads a zone file, edits it and writes it back loses records otherwise."""
    log = tmp_path / "log"
    command = script(f"echo + >> {log}; sleep 0.2; echo - >> {log}")
    entry = ExecEntry(type="exec", command=command, concurrency=concurrency)
    # each as its own process has it: what they share is the state directory
    solvers = [build(entry, Context("dns", tmp_path / "state", SystemClock())) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda solver: solver.present(RECORD, deadline=soon(120.0)), solvers))
    running = seen = 0
    for line in log.read_text().split():
        running += 1 if line == "+" else -1
        seen = max(seen, running)
    assert seen == most
    assert ExecEntry(type="exec", command=command).concurrency == 1


def test_the_time_a_hook_waits_for_its_turn_is_not_its_own(script: Script, tmp_path: Path) -> None:
    """Twenty renewals with a hook of ten seconds each must not time out in the queue."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))

    @contextmanager
    def slot(_clock: Clock) -> Iterator[None]:
        clock.advance(timedelta(seconds=100))
        yield

    ran = tmp_path / "ran"
    solver = Exec(script(f"touch {ran}"), timeout=5.0, slot=slot)
    solver.present(RECORD, deadline=Deadline(clock, 10.0))
    assert ran.exists()


def test_the_environment_is_what_is_documented(script: Script, tmp_path: Path) -> None:
    """A leaked variable is a leaked secret; a missing one breaks the operator's script."""
    seen = tmp_path / "seen"
    solver = Exec(
        script(f"/usr/bin/env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= > {seen}; pwd >> {seen}"),
        environment=("API_ENDPOINT", "NOT_SET"),
        zones=("example.com", "www.example.com", "example.net"),
        inherited={"PATH": "/bin", "HOME": "/root", "API_ENDPOINT": "x", "SECRET": "s"},
    )
    solver.present(RECORD, deadline=soon())
    assert sorted(seen.read_text().splitlines()) == [
        "/",
        "API_ENDPOINT=x",
        "CERTROTD_ACTION=present",
        "CERTROTD_FQDN=_acme-challenge.www.example.com",
        "CERTROTD_VALUE=dGVzdA-_",
        "CERTROTD_ZONE=www.example.com",
        "HOME=/root",
        "PATH=/bin:/usr/local/sbin:/usr/sbin:/sbin",
    ]
    solver.withdraw(RECORD, deadline=soon())
    assert "CERTROTD_ACTION=withdraw" in seen.read_text()


def test_an_unknown_zone_is_left_out(script: Script, tmp_path: Path) -> None:
    """A guessed zone would be worse than none."""
    seen = tmp_path / "seen"
    Exec(script(f"/usr/bin/env > {seen}"), inherited={}).present(RECORD, deadline=soon())
    assert "CERTROTD_ZONE" not in seen.read_text()
    assert "PATH=/usr/local/sbin" in seen.read_text()


def test_arguments_are_passed_as_they_are(script: Script, tmp_path: Path) -> None:
    """No shell sees them (CVE-2023-38198), and none of ours are added."""
    seen = tmp_path / "seen"
    _run((*script(f'printf "%s\\n" "$@" > {seen}'), "$(id)", "a b; c"))
    assert seen.read_text() == "$(id)\na b; c\n"


def test_stdin_is_empty(script: Script) -> None:
    """A script that asks a question gets no answer instead of hanging."""
    _run(script("read answer && exit 1; exit 0"))


@pytest.mark.parametrize(
    ("text", "failure", "said"),
    [
        ("echo rate limited; exit 75", Transient, "exited with 75: rate limited"),
        ("echo rate limited; exit 1", NeedsOperator, "exited with 1"),
        ("echo rate limited >&2; exit 255", NeedsOperator, "exited with 255"),
        ("echo rate limited; kill -9 $$", NeedsOperator, "was killed by signal 9"),
    ],
)
def test_a_failure_says_how_and_what(
    script: Script, text: str, failure: type[Exception], said: str
) -> None:
    """Exit status 75 is EX_TEMPFAIL; the output is the only thing that says why."""
    with pytest.raises(failure) as caught:
        _run(script(text))
    assert said in str(caught.value)
    assert str(caught.value).endswith(": rate limited")
    assert "(present _acme-challenge.www.example.com)" in str(caught.value)


def test_only_the_last_lines_are_shown_and_escaped(script: Script) -> None:
    """Terminal escapes and a megabyte of debug output belong in no log line."""
    with pytest.raises(NeedsOperator) as caught:
        _run(script('seq 1 100000; printf "\\033[31mred\\000\\nlast\\377\\n"; exit 1'))
    said = caught.value.message
    assert said.endswith(r": 99998 | 99999 | 100000 | \x1b[31mred\x00 | last" + "\ufffd")
    assert len(said) < 300


def test_output_without_end_is_bounded(script: Script) -> None:
    """`yes` must fill neither our memory nor, by a full pipe, block the script for ever."""
    with pytest.raises(NeedsOperator, match="exited with 3"):
        _run(script(f"head -c {OUTPUT_LIMIT * 50} /dev/zero | tr '\\0' 'x'; exit 3"))


def test_a_hang_is_killed_with_all_its_children(script: Script, tmp_path: Path) -> None:
    """A killed shell whose curl lives on would change DNS after we undid it."""
    pids = tmp_path / "pids"
    text = f"echo begun; echo $$ > {pids}; sleep 600 & echo $! >> {pids}; wait"
    with pytest.raises(Transient, match=r"did not end within 0\.5s and was killed: begun"):
        _run(script(text), 0.5, until=lambda: len(_numbers(pids)) == 2)
    for pid in _numbers(pids):
        _ends(pid)


def _numbers(file: Path) -> list[int]:
    """The process ids that a script has written so far."""
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def _ends(pid: int) -> None:
    """Returns once the process is gone, or a zombie: not everywhere are orphans reaped."""

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(gone)


def test_a_closed_output_does_not_hide_a_hang(script: Script) -> None:
    """A script may close stdout and still run."""
    with pytest.raises(Transient, match="was killed"):
        _run(script("exec >&- 2>&-; sleep 600"), 0.3, until=lambda: False)


def test_a_child_left_in_the_background_is_not_waited_for(script: Script, tmp_path: Path) -> None:
    """A script that starts a daemon has done its work when it exits itself."""
    pid = tmp_path / "pid"
    _run(script(f"sleep 600 & echo $! > {pid}"))  # killed after a minute if it had to wait
    [left] = _numbers(pid)
    os.kill(left, 9)


def test_a_child_that_prints_in_the_background_is_not_waited_for(
    script: Script, tmp_path: Path
) -> None:
    """The pipe of such a child is never empty."""
    pid = tmp_path / "pid"
    _run(script(f"yes & echo $! > {pid}"))  # killed after a minute if it had to wait
    [left] = _numbers(pid)
    _ends(left)


# The process is left running, and Python says so when it forgets about it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_hang_as_another_user_is_reported(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs through sudo cannot be killed; waiting for it would hang the rotation."""
    pid = tmp_path / "pid"

    def refused(group: int, number: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", refused)
        with pytest.raises(NeedsOperator, match="runs as another user"):
            _run(script(f"echo $$ > {pid}; exec sleep 600"), 0.3, until=lambda: bool(_numbers(pid)))
    [left] = _numbers(pid)
    os.kill(left, 9)
    _ends(left)


def test_a_machine_out_of_processes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN from fork passes by itself."""

    def full(*args: object, **kw: object) -> object:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(Transient, match="could not be started: Resource temporarily unavailable"):
        _run(("true",))


def test_no_time_left_starts_nothing(script: Script, tmp_path: Path) -> None:
    """A script that cannot finish had better not begin."""
    with pytest.raises(Transient, match="was not started"):
        Exec(script(f"touch {tmp_path}/ran")).present(RECORD, deadline=soon(0))
    assert not (tmp_path / "ran").exists()


def test_a_program_that_cannot_run_is_reported(script: Script, tmp_path: Path) -> None:
    """Each is a slip of the configuration, found by preflight and said by present."""
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for program in (str(tmp_path / "missing"), str(plain), str(tmp_path)):
        with pytest.raises(NeedsOperator, match="is not an executable file"):
            Exec((program,)).preflight(deadline=soon())
        with pytest.raises(NeedsOperator, match="could not be started"):
            _run((program,))
    (bad,) = script("exit 0")
    Path(bad).write_text("#!/nonexistent/interpreter\n")
    with pytest.raises(NeedsOperator, match="could not be started: No such file"):
        _run((bad,))


def test_a_program_that_can_run_passes_preflight(script: Script) -> None:
    """By its path, or by its name on PATH."""
    Exec(script("exit 0")).preflight(deadline=soon())
    Exec(("env",)).preflight(deadline=soon())
    Exec((sys.executable,)).preflight(deadline=soon())


@pytest.mark.parametrize("program", ["./hook", "bin/hook"])
def test_a_relative_program_is_refused(program: str) -> None:
    """It would be looked for in /, not where the operator stood."""
    with pytest.raises(NeedsOperator, match="relative"):
        Exec((program,)).preflight(deadline=soon())
