"""The place where a server listens: one server's, and nobody's who does not own it."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from certrotd import unixsocket
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyserver.listener import Listener


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where to listen."""
    return tmp_path / "keys.sock"


def test_a_socket_has_the_mode_that_was_asked_for(path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        listener = Listener(path, mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    assert not path.exists()


def test_two_servers_at_one_path_are_refused(path: Path) -> None:
    """The first goes on; when it has ended, the second may have the place."""
    first = Listener(path, mode=0o600)
    with pytest.raises(Transient, match="taken by another process"):
        Listener(path, mode=0o600)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()
    Listener(path, mode=0o600).close()


def test_a_socket_that_a_crash_left_is_replaced(path: Path) -> None:
    """Nobody listens there."""
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    Listener(path, mode=0o600).close()


def test_the_socket_of_another_program_is_left_alone(path: Path) -> None:
    """Though it knows nothing of our lock."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        with pytest.raises(Transient, match="taken"):
            Listener(path, mode=0o600)
        assert path.is_socket()


def test_a_program_that_does_not_accept_has_the_place_still(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is slow, not gone."""
    monkeypatch.setattr(unixsocket, "TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for each in clients:
            each.setblocking(False)
            each.connect_ex(str(path))
        with pytest.raises(Transient, match="taken"):
            Listener(path, mode=0o600)
        for each in clients:
            each.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    """A link is never followed, wherever it leads."""
    elsewhere = path.with_name("elsewhere")
    match kind:
        case "file":
            path.write_text("text")
        case "directory":
            path.mkdir()
        case "link":
            with socket.socket(socket.AF_UNIX) as crashed:
                crashed.bind(str(elsewhere))
            path.symlink_to(elsewhere)
        case "dangling":
            path.symlink_to(elsewhere)
    with pytest.raises(NeedsOperator, match="no socket"):
        Listener(path, mode=0o600)
    assert os.path.lexists(path)


def test_a_link_in_place_of_the_lock_is_refused(path: Path) -> None:
    """It would be made wherever it leads."""
    path.with_name("keys.sock.lock").symlink_to(path.with_name("elsewhere"))
    with pytest.raises(NeedsOperator, match="cannot lock"):
        Listener(path, mode=0o600)
    assert not path.with_name("elsewhere").exists()


def test_a_directory_that_everybody_writes_to_is_refused(path: Path) -> None:
    """Anybody could put a socket with other keys there; not where the sticky bit keeps it."""
    path.parent.chmod(0o777)
    with pytest.raises(NeedsOperator, match="everybody may write"):
        Listener(path, mode=0o600)
    path.parent.chmod(0o1777)
    Listener(path, mode=0o600).close()


def test_a_path_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    """Too long for the system, or in a directory that is not there."""
    with pytest.raises(NeedsOperator, match="too long"):
        Listener(tmp_path / ("x" * 120), mode=0o600)
    with pytest.raises(NeedsOperator, match="No such file") as refused:
        Listener(tmp_path / "none" / "s", mode=0o600)
    assert refused.value.hint == "create the directory"


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OSError(98, "Address already in use"), Transient), (OSError(13, "denied"), NeedsOperator)],
)
def test_a_place_that_is_lost_at_the_last_moment_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception]
) -> None:
    """And the lock is let go, for the next try."""

    def refuse(*_arguments: object) -> None:
        raise error

    with monkeypatch.context() as then:
        then.setattr(os, "chmod", refuse)
        with pytest.raises(kind):
            Listener(path, mode=0o600)
    path.unlink()
    Listener(path, mode=0o600).close()


def test_the_socket_of_a_successor_is_left_alone(path: Path) -> None:
    """Somebody moved ours away, and put another one there."""
    listener = Listener(path, mode=0o600)
    path.rename(path.with_name("moved"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listener.close()
        assert path.is_socket()


@pytest.mark.parametrize("call", ["lstat", "unlink"])
def test_a_socket_that_cannot_be_taken_away_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """In words, whichever call it is; and it stays."""
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EACCES, "no")

    with monkeypatch.context() as then:
        then.setattr(os, call, refuse)
        with pytest.raises(NeedsOperator, match=r"cannot listen at unix:.*: Permission denied"):
            Listener(path, mode=0o600)
    assert path.is_socket()
