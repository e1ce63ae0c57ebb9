"""Programs are run without a shell, in time, and with their output bounded."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.targets.process import MAX_SHOWN, require, run


def python(code: str) -> tuple[str, ...]:
    """A program that runs ``code``."""
    return (sys.executable, "-I", "-c", code)


def within(seconds: float) -> Deadline:
    """That much time."""
    return Deadline(SystemClock(), seconds)


def script(path: Path, text: str, *, mode: int = 0o755) -> str:
    """An executable file."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_the_output_of_a_program_that_succeeds_is_given_back() -> None:
    """Both streams, in one line."""
    code = "import sys; print('out', flush=True); print('err\\n  end', file=sys.stderr)"
    assert run(python(code), deadline=within(10)) == "out err end"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(3)", "failed (exit code 3): no output"),
        ("print('it is broken'); raise SystemExit(1)", "failed (exit code 1): it is broken"),
        ("import os; os.kill(os.getpid(), 9)", "failed (signal 9): no output"),
    ],
)
def test_a_program_that_fails_says_how_and_shows_its_output(code: str, words: str) -> None:
    """A hook that fails and the program exits 0 is how outages begin (certbot #8528)."""
    with pytest.raises(NeedsOperator) as failed:
        run(python(code), deadline=within(10))
    assert failed.value.message.endswith(words)
    assert failed.value.message.startswith(sys.executable)


def test_output_is_bounded_to_its_end_and_escaped() -> None:
    """A program that prints without end must not fill memory, logs or terminals."""
    code = "import os\nfor _ in range(3000): os.write(1, b'x' * 1000)\n"
    code += "os.write(1, b'\\n\\x1b[31mthe\\0end\\xff'); raise SystemExit(1)"
    with pytest.raises(NeedsOperator) as failed:
        run(python(code), deadline=within(20))
    message = failed.value.message
    shown = message.partition("exit code 1): ")[2]
    assert message.isprintable()
    assert shown.startswith("…xxx")
    assert shown.endswith("\\x1b[31mthe\\x00end\ufffd")
    assert len(shown) < MAX_SHOWN + 50


def test_output_that_is_not_shown_is_not_kept() -> None:
    """A program may print for as long as its timeout, and the daemon lives for years."""
    tracemalloc.start()
    try:
        run(
            python("import os\nfor _ in range(3000): os.write(1, b'x' * 1000)"), deadline=within(20)
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_at_the_deadline_the_whole_group_is_killed(tmp_path: Path) -> None:
    """A child of a child that lives on would hold the port, or the lock, of the next try."""
    pids = tmp_path / "pids"
    grandchild = (
        f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    )
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-I', '-c', {grandchild!r}])\n"
        "print('waiting', flush=True); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(Transient, match="did not end within 1s and was killed: waiting"):
        run(python(code), deadline=within(1.0))
    assert 0.9 < time.monotonic() - began < 5
    (pid,) = map(int, pids.read_text().split())
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.02)
    assert not alive(pid)


def test_a_program_that_prints_for_ever_is_killed_too() -> None:
    """Its output must not keep the clock from being looked at."""
    with pytest.raises(Transient, match="did not end within"):
        run(python("while True: print('y' * 1000)"), deadline=within(0.5))


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    """The end of the output is not the end of the program."""
    closes = "import os, time; os.close(1); os.close(2); time.sleep({}); os._exit(4)"
    with pytest.raises(NeedsOperator, match="exit code 4"):
        run(python(closes.format(0.3)), deadline=within(10))
    with pytest.raises(Transient, match="did not end within"):
        run(python(closes.format(60)), deadline=within(0.3))


def test_what_a_program_leaves_in_the_background_is_left_alone(tmp_path: Path) -> None:
    """It is the service that was restarted, and may hold our pipe for as long as it runs."""
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess\n"
        "service = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(service.pid))\n"
        "print('started', flush=True)"
    )
    began = time.monotonic()
    assert run(python(code), deadline=within(10)) == "started"
    assert time.monotonic() - began < 5
    service = int(pid_file.read_text())
    assert alive(service)
    os.kill(service, signal.SIGKILL)


def test_a_deadline_that_has_passed_starts_nothing_lasting() -> None:
    """It is reported like any other lack of time."""
    with pytest.raises(Transient, match="was not started: no time left"):
        run(python("import time; time.sleep(60)"), deadline=within(0))


def test_shell_metacharacters_are_text(tmp_path: Path) -> None:
    """A token with a semicolon was executed once (CVE-2023-38198)."""
    hostile = [
        f"; touch {tmp_path}/a",
        f"$(touch {tmp_path}/b)",
        f"`touch {tmp_path}/c`",
        "a b",
        "*",
    ]
    code = "import sys; print(*sys.argv[1:], sep='|')"
    assert run((*python(code), *hostile), deadline=within(10)) == "|".join(hostile)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_is_what_is_needed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of the daemon are no business of a hook's."""
    monkeypatch.setenv("CLOUD_TOKEN", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("HOME", "/root")
    code = "import os; print(*sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd())"
    assert run(python(code), deadline=within(10)) == "HOME LANG PATH /"
    given = {"WEB_TOKEN": "x", "LANG": "de"}
    code = "import os; print(os.environ['WEB_TOKEN'], os.environ['LANG'])"
    assert run(python(code), deadline=within(10), environment=given) == "x de"


def test_a_program_is_found_where_this_one_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also under systemd or cron, where PATH may be short or not there at all."""
    assert run(("true",), deadline=within(10)) == ""
    monkeypatch.delenv("PATH")
    assert run(("true",), deadline=within(10)) == ""
    require("true")
    with pytest.raises(NeedsOperator, match="true could not be started: No such file"):
        run(("true",), deadline=within(10), environment={"PATH": "/nowhere"})
    with pytest.raises(NeedsOperator, match="true is not an executable file"):
        require("true", {"PATH": "/nowhere"})


def test_a_program_that_cannot_start_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Before anything is changed, where it is checked."""
    plain = script(tmp_path / "plain", "#!/bin/sh\n", mode=0o644)
    bad = script(tmp_path / "bad", "#!/no/such/interpreter\n")
    for program in ("/no/such/program", plain, bad, str(tmp_path)):
        with pytest.raises(NeedsOperator, match=f"{program} could not be started"):
            run((program,), deadline=within(10))
    for program in ("/no/such/program", plain, str(tmp_path), "no-such-program"):
        with pytest.raises(NeedsOperator, match="is not an executable file"):
            require(program)
    with pytest.raises(NeedsOperator, match="bin/reload is relative"):
        require("bin/reload")
    require(script(tmp_path / "good", "#!/bin/sh\n"))


def test_a_machine_out_of_processes_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody's configuration that is wrong."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("certrotd.process.subprocess.Popen", refuse)
    with pytest.raises(Transient, match="Resource temporarily unavailable"):
        run(("true",), deadline=within(10))


def test_a_program_of_another_user_that_cannot_be_killed_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With sudo in the argv, an unprivileged daemon may not end what it started."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def note(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **options))
        return started[-1]

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr("certrotd.process.subprocess.Popen", note)
        patched.setattr("certrotd.process.os.killpg", refuse)
        with pytest.raises(NeedsOperator, match="runs as another user"):
            run(("sleep", "60"), deadline=within(0.2))
    (process,) = started
    process.kill()
    process.wait()
