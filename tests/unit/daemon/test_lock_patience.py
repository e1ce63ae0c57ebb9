"""A command waits a little for the lock of who works on the same subject; the daemon does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certrotd.clock import ManualClock
from certrotd.config.load import load
from certrotd.daemon.wiring import LOCK_PATIENCE, Site, open_site
from certrotd.errors import LockHeld

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HELD = f"certificate web is in use by process {os.getpid()} (certrotd run, since {NOW.isoformat()})"
WORDS = f"{HELD}; waits up to 10 s"
LOCK = ("certificate/web", "certificate web")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a site without certificates."""
    path = tmp_path / "config.yaml"
    path.write_text(f"state_dir: {tmp_path / 'state'}\n")
    return path


@pytest.fixture
def daemon(config: Path) -> ExitStack:
    """Holds the lock until it is closed."""
    held = ExitStack()
    site = Site(load(config).config, clock=ManualClock(NOW), command="certrotd run")
    held.enter_context(site.lock(*LOCK, None))
    return held


class Sleeping(ManualClock):
    """Something happens while it sleeps for the first time."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__(NOW)
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        super().sleep(seconds)


def test_a_look_of_the_daemon_is_waited_for_and_nobody_hears_of_it(
    config: Path, daemon: ExitStack
) -> None:
    """It is over within a second."""
    said: list[str] = []
    clock = Sleeping(daemon.close)
    with (
        open_site(config, clock=clock, command="it", listen=said.append, writes=True) as site,
        site.lock(*LOCK, None) as lease,
    ):
        lease.check()
    assert said == []


def test_what_takes_longer_is_said_and_waited_for(config: Path, daemon: ExitStack) -> None:
    """Whoever called the command sees who is at work."""
    said: list[str] = []

    def listen(words: str) -> None:
        said.append(words)
        daemon.close()

    with (
        open_site(config, clock=Sleeping(), command="it", listen=listen, writes=True) as site,
        site.lock(*LOCK, None) as lease,
    ):
        lease.check()
    assert said == [WORDS]


def test_the_wait_ends(config: Path, daemon: ExitStack) -> None:
    """Then the command is refused, in words."""
    said: list[str] = []
    clock = ManualClock(NOW)
    begun = clock.monotonic()
    with (
        daemon,
        open_site(config, clock=clock, command="it", listen=said.append, writes=True) as site,
        pytest.raises(LockHeld, match="certificate web is in use by process"),
        site.lock(*LOCK, None),
    ):
        pytest.fail("it has what another one holds")
    assert said == [WORDS]
    assert clock.monotonic() - begun == pytest.approx(LOCK_PATIENCE)


@pytest.mark.parametrize("writes", [True, False])
def test_nothing_is_waited_for_by_who_has_no_time(
    config: Path, daemon: ExitStack, writes: bool
) -> None:
    """The daemon has others to rotate; a command that looks shows what there is."""
    clock = ManualClock(NOW)
    begun = clock.monotonic()
    patience = 0.0 if writes else None
    with (
        daemon,
        open_site(
            config, clock=clock, command="it", writes=writes, lock_patience=patience
        ) as command,
    ):
        for site in (command, Site(load(config).config, clock=clock, command="certrotd run")):
            with pytest.raises(LockHeld), site.lock(*LOCK, None):
                pytest.fail("it has what another one holds")
    assert clock.monotonic() == begun


def test_a_wait_of_its_own_counts_alone(config: Path, daemon: ExitStack) -> None:
    """That of a target is as long as its reload may take."""
    clock = ManualClock(NOW)
    begun = clock.monotonic()
    with (
        daemon,
        open_site(config, clock=clock, command="it", writes=True) as site,
        pytest.raises(LockHeld),
        site.lock(*LOCK, 60.0),
    ):
        pytest.fail("it has what another one holds")
    assert clock.monotonic() - begun == pytest.approx(60.0)
