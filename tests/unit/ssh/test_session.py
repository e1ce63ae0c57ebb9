"""Who is logged in to, by what, and how a program ended there: the configuration alone decides."""

import os
import pwd
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from certrotd.daemon.stopping import StoppableClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.rotation.outcome import Stopped
from tests.unit.ssh.conftest import Host


def test_an_empty_file_of_known_hosts_knows_none(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even those that the account's own file has."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_bytes(host.known.read_bytes())
    monkeypatch.setenv("HOME", str(home))
    with closing(host.session()) as known:
        assert known.command(["it"], seconds=30).code == 3  # the control
    host.known.write_bytes(b"")
    with (
        closing(host.session()) as unknown,
        pytest.raises(NeedsOperator, match="has no host key of it"),
    ):
        unknown.command(["it"], seconds=30)


def test_an_agent_that_is_not_configured_is_not_asked(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSH_AUTH_SOCK may be of whoever is at the shell, and its keys are for nobody to see."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        agent.settimeout(0)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with closing(host.session(timeout="5s")) as session:
            assert session.command(["it"], seconds=30).code == 3
        with pytest.raises(BlockingIOError):
            agent.accept()
        with (
            closing(host.session(timeout="1s", agent=str(tmp_path / "agent"))) as asking,
            pytest.raises(Transient, match="to log in took longer than 1s"),
        ):
            asking.command(["it"], seconds=30)
        agent.accept()[0].close()  # the control


def test_a_program_that_a_signal_ended_has_no_exit_code(host: Host) -> None:
    """It did not end by itself, which is another thing to look into than an exit code."""
    with closing(host.session()) as session:
        assert session.command(["killed"], seconds=30).code is None
        assert session.command(["it"], seconds=30).code == 3


def test_a_stop_ends_a_program_that_hangs_and_the_connection(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its time is over; nothing of it goes on there unseen, and an undo may connect."""
    monkeypatch.setattr("certrotd.ssh.session.STOP_GRACE", 0.1)
    told = threading.Event()
    with closing(host.session(StoppableClock(told))) as session:
        assert session.command(["it"], seconds=3600).code == 3
        first = session._open
        assert first is not None
        told.set()
        assert session.command(["it"], seconds=3600).code == 3, "it ends in time"
        with pytest.raises(Stopped):
            session.command(["hangs"], seconds=3600)
        assert first[0].is_closed()
        assert session.command(["it"], seconds=3600).code == 3


def test_an_account_without_an_entry_logs_in(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number; nothing of its environment is needed."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(os, "environ", {"PATH": "/usr/bin"})
    with closing(host.session()) as session:
        assert session.command(["it"], seconds=30).code == 3
