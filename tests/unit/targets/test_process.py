"""What is told of a target's programs; tests/unit/base/test_process.py has how they are run."""

import sys
from pathlib import Path

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.targets.process import MAX_SHOWN, require, run
from tests.fakes.clock import Until


def python(code: str) -> tuple[str, ...]:
    """A program that runs ``code``."""
    return (sys.executable, "-I", "-c", code)


def within(seconds: float) -> Deadline:
    """That much time."""
    return Deadline(SystemClock(), seconds)


def test_the_output_of_a_program_that_succeeds_is_given_back() -> None:
    """Both streams, in one line."""
    code = "import sys; print('out', flush=True); print('err\\n  end', file=sys.stderr)"
    assert run(python(code), deadline=within(60)) == "out err end"


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
        run(python(code), deadline=within(60))
    assert failed.value.message.endswith(words)
    assert failed.value.message.startswith(sys.executable)


def test_output_is_bounded_to_its_end_and_escaped() -> None:
    """A program that prints without end must not fill memory, logs or terminals."""
    code = "import os\nfor _ in range(3000): os.write(1, b'x' * 1000)\n"
    code += "os.write(1, b'\\n\\x1b[31mthe\\0end\\xff'); raise SystemExit(1)"
    with pytest.raises(NeedsOperator) as failed:
        run(python(code), deadline=within(60))
    message = failed.value.message
    shown = message.partition("exit code 1): ")[2]
    assert message.isprintable()
    assert shown.startswith("…xxx")
    assert shown.endswith("\\x1b[31mthe\\x00end\ufffd")
    assert len(shown) < MAX_SHOWN + 50


def test_one_that_is_killed_at_the_deadline_is_told_with_its_last_words(tmp_path: Path) -> None:
    """What it was waiting for is often the last thing it said."""
    mark = tmp_path / "mark"
    hangs = f"import time; open({str(mark)!r}, 'w'); time.sleep(600)"
    words = f"print('waiting', flush=True); {hangs}"
    with pytest.raises(Transient, match="did not end within 1s and was killed: waiting"):
        run(python(words), deadline=Deadline(Until(mark.exists), 1.0))
    mark.unlink()
    with pytest.raises(Transient, match="was killed: no output"):
        run(python(hangs), deadline=Deadline(Until(mark.exists), 1.0))


def test_the_environment_is_what_is_needed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of the daemon are no business of a hook's."""
    monkeypatch.setenv("CLOUD_TOKEN", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("HOME", "/root")
    code = "import os; print(*sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd())"
    assert run(python(code), deadline=within(60)) == "HOME LANG PATH /"
    given = {"WEB_TOKEN": "x", "LANG": "de"}
    code = "import os; print(os.environ['WEB_TOKEN'], os.environ['LANG'])"
    assert run(python(code), deadline=within(60), environment=given) == "x de"


def test_a_program_is_found_where_this_one_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also under systemd or cron, where PATH may be short or not there at all."""
    assert run(("true",), deadline=within(60)) == ""
    monkeypatch.delenv("PATH")
    assert run(("true",), deadline=within(60)) == ""
    require("true")
    with pytest.raises(NeedsOperator, match="true could not be started: No such file"):
        run(("true",), deadline=within(60), environment={"PATH": "/nowhere"})
    with pytest.raises(NeedsOperator, match="true is not an executable file"):
        require("true", {"PATH": "/nowhere"})
