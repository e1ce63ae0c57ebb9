"""Signals that reach the daemon while Python is still loading it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certrotd.cli.first_word import first_word
from tests.parts.process import wait_until


@contextmanager
def loading(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The daemon from the moment on that its first lines have run."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"state_dir: {tmp_path}/state\n"
        "issuers: {ca: {type: internal}}\n"
        "certificates: [{name: web, names: [www.example.test]}]\n"
    )
    command = [sys.executable, "-m", "certrotd", "-c", str(config), "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            # before that it is not certrotd that runs, but the start of Python
            status = Path(f"/proc/{daemon.pid}/status")
            wait_until(lambda: _catches(status.read_text(), signal.SIGHUP))
            yield daemon
        finally:
            daemon.kill()


def _catches(status: str, number: int) -> bool:
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (number - 1))


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1])
def test_a_reload_while_it_is_loaded_does_not_end_it(tmp_path: Path, after: float) -> None:
    """A deployment that writes the configuration and reloads does not know when it was started."""
    with loading(tmp_path) as daemon:
        time.sleep(after)
        daemon.send_signal(signal.SIGHUP)
        assert daemon.stderr is not None
        said = next(line for line in daemon.stderr if "started with" in line)
        assert said.endswith("started with 1 certificate\n")
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=30)
        assert daemon.returncode == 0


def test_a_stop_while_certrotd_loads_ends_it(tmp_path: Path) -> None:
    """There is nothing yet to be finished or undone; whoever stops it does not wait for 90 s."""
    with loading(tmp_path) as daemon:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=30)
        # 0: on a machine so busy that it was loaded meanwhile
        assert daemon.returncode in (-signal.SIGTERM, 0)


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["run"], True),
        (["-c", "/etc/certrotd.yaml", "run"], True),
        (["--config", "run", "run"], True),
        (["--config=/etc/certrotd.yaml", "run"], True),
        (["-c/etc/certrotd.yaml", "run"], True),
        (["run", "--help"], True),
        (["rotate", "run"], False),
        (["-c", "run", "status"], False),
        (["--config", "run"], False),
        (["-c"], False),
        (["--version"], False),
        ([], False),
    ],
)
def test_only_the_daemon_outlives_a_hangup(arguments: list[str], *, runs: bool) -> None:
    """Any other command ends with the terminal it was called from."""
    assert (first_word(arguments) == "run") is runs


def test_a_command_is_left_with_the_signals_as_they_were(tmp_path: Path) -> None:
    """The control: what is done for the daemon is done for it alone."""
    program = (
        "import signal; from certrotd.__main__ import main\n"
        "before = signal.getsignal(signal.SIGHUP)\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert signal.getsignal(signal.SIGHUP) is before"
    )
    subprocess.run([sys.executable, "-c", program, "rotate", "--help"], check=True, timeout=60)


def test_no_command_leaves_a_core_dump(tmp_path: Path) -> None:
    """It would have keys in it; what the system allows beyond that is left for other programs."""
    program = (
        "import resource; from certrotd.__main__ import main\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, hard)"
    )
    subprocess.run([sys.executable, "-c", program, "keys", "--help"], check=True, timeout=60)
