"""A signal goes to the process that was meant, and a check sends none."""

import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from certrotd.clock import ManualClock, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import SignalEntry
from certrotd.errors import NeedsOperator
from certrotd.targets.signal import SignalTarget, build
from tests.parts.process import wait_until
from tests.unit.targets.running import noting


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_the_process_of_a_pid_file_gets_the_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Once per telling."""
    notes, file = tmp_path / "notes", tmp_path / "pid"
    with noting(notes) as pid:
        file.write_text(f"{pid}\n")
        target = SignalTarget(file, number)
        target.check()
        target.apply()
        wait_until(lambda: notes.read_text() == f"{number.name}\n")


def test_a_process_of_another_name_gets_none(tmp_path: Path) -> None:
    """Most programs end at a hangup they do not expect."""
    notes, file = tmp_path / "notes", tmp_path / "pid"
    with noting(notes) as pid:
        file.write_text(str(pid))
        for act in (
            SignalTarget(file, process="haproxy").check,
            SignalTarget(file, process="haproxy").apply,
        ):
            with pytest.raises(NeedsOperator, match=f"process {pid} of .* is .*, not haproxy"):
                act()
        comm = Path(f"/proc/{pid}/comm").read_text().strip()
        SignalTarget(file, signal.SIGUSR1, process=comm).apply()
        wait_until(lambda: notes.read_text() == "SIGUSR1\n")


def test_a_pid_file_needs_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the main process of a unit does."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("certrotd.process._SYSTEM", ())
    with pytest.raises(NeedsOperator, match=r"there is no .*pid"):
        SignalTarget(tmp_path / "pid").check()
    with pytest.raises(NeedsOperator, match="systemctl could not be started"):
        SignalTarget("web.service").check()


def test_a_check_waits_for_a_process_that_is_to_start(tmp_path: Path) -> None:
    """In a pod, containers start one after the other; what is not there by then is said."""
    file, clock = tmp_path / "pid", ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    with pytest.raises(NeedsOperator, match=r"there is no .*pid"):
        SignalTarget(file, starts_within=20, clock=clock).check()
    assert clock.monotonic() == 20
    with noting(tmp_path / "notes") as pid:

        class Starting(SystemClock):
            def sleep(self, seconds: float) -> None:
                file.write_text(f"{pid}\n")

        SignalTarget(file, starts_within=60, clock=Starting()).check()


def test_a_process_told_to_stop_waits_for_nobody(tmp_path: Path) -> None:
    """The control is the test before."""

    class Stopping(ManualClock):
        def stopping(self) -> bool:
            return True

    clock = Stopping(datetime(2026, 6, 1, tzinfo=UTC))
    with pytest.raises(NeedsOperator):
        SignalTarget(tmp_path / "pid", starts_within=20, clock=clock).check()
    assert clock.monotonic() == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"pid_file": "/run/x.pid"}, SignalTarget(Path("/run/x.pid"))),
        ({"unit": "x.service"}, SignalTarget("x.service")),
        (
            {
                "unit": "x.service",
                "signal": "USR2",
                "process": "xd",
                "timeout": "5s",
                "starts_within": "1m",
            },
            SignalTarget("x.service", signal.SIGUSR2, "xd", 5.0, 60.0),
        ),
    ],
)
def test_an_entry_of_the_configuration_becomes_the_target(
    written: dict[str, object], meant: SignalTarget
) -> None:
    """Every key of it, and the same defaults."""
    entry = TypeAdapter(SignalEntry).validate_python({"type": "signal", **written})
    clock = SystemClock()
    built = build(entry, Context("x", Path("/var/lib"), clock))
    assert built == replace(meant, clock=clock)
