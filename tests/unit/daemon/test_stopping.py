"""Told to stop: whoever sleeps is woken once, and what is done then may take its time."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from certrotd.clock import Deadline
from certrotd.daemon.stopping import Stopping
from certrotd.rotation.outcome import Stopped


def test_the_clock_does_not_stop_without_a_request() -> None:
    """The control: a clock that nobody stops is a clock."""
    stopping = Stopping()
    began = time.monotonic()
    stopping.clock.sleep(0.05)
    assert time.monotonic() - began >= 0.05
    assert not stopping()


def test_a_sleeper_is_woken_at_once() -> None:
    """systemctl stop does not wait for a propagation timeout."""
    stopping = Stopping()
    threading.Timer(0.05, stopping.stop).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        Deadline(stopping.clock, 60).pause(30)
    assert time.monotonic() - began < 10
    assert stopping()


def test_a_woken_sleeper_can_sleep_again() -> None:
    """Undoing needs its waits: for a reload to show, for a proof."""
    stopping = Stopping()
    stopping.stop()
    with pytest.raises(Stopped):
        stopping.clock.sleep(30)
    began = time.monotonic()
    stopping.clock.sleep(0.05)
    assert time.monotonic() - began >= 0.05


def test_every_thread_is_woken_for_itself() -> None:
    """One rotation that was woken must not let the others sleep on."""
    stopping, together = Stopping(), threading.Barrier(3)

    def woken() -> bool:
        together.wait(timeout=10)  # so that each of them has a thread of its own
        with pytest.raises(Stopped):
            stopping.clock.sleep(30)
        return True

    stopping.stop()
    with ThreadPoolExecutor(3) as pool:
        assert all(future.result() for future in [pool.submit(woken) for _ in range(3)])


def test_a_sleep_of_nothing_wakes_nobody() -> None:
    """A deadline that has passed ends with its own words, not with ours."""
    stopping = Stopping()
    stopping.stop()
    stopping.clock.sleep(0)
    stopping.clock.sleep(-1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process(number: int) -> None:
    """In a process of its own, since that is what it ends."""
    program = (
        "import os, sys, time\n"
        "from certrotd.daemon.stopping import Stopping\n"
        "stopping = Stopping()\n"
        "stopping.listen()\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "print(stopping(), flush=True)\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "time.sleep(30)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=dict(os.environ),
    )
    assert (ended.returncode, ended.stdout) == (-number, "True\n")
