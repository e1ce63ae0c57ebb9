"""Where the server may listen, and what must not be taken away for it."""

import os
import socket
import stat
from pathlib import Path

import pytest

from certrotd.config.http import HttpEntry
from certrotd.daemon.http.listener import clean_up, listen, place
from certrotd.errors import NeedsOperator, Transient
from tests.unit.daemon.http.talk import at_address, at_path, connect


def test_an_address_is_listened_at() -> None:
    """And found by what the log says."""
    entry = at_address()
    with listen(entry), connect(entry):
        assert place(entry) == f"http://{entry.listen}/"


def test_ipv6_is_an_address_too() -> None:
    """Loopback on hosts without IPv4; and on a host without IPv6 it is said that it is none."""
    entry = HttpEntry.model_validate({"listen": f"[::1]:{at_address().listen.port}"})  # type: ignore[union-attr]
    if has_ipv6():
        with listen(entry), connect(entry):
            assert place(entry).startswith("http://[::1]:")
    else:
        with pytest.raises(NeedsOperator, match=r"cannot listen at http://\[::1\]:"):
            listen(entry)


def has_ipv6() -> bool:
    """Whether this machine's loopback has."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_taken_port_is_reported_as_taken() -> None:
    """Something that may pass."""
    entry = at_address()
    with listen(entry), pytest.raises(Transient, match="is taken by another process"):
        listen(entry)


def test_an_address_of_another_machine_is_not_ours() -> None:
    """Something that does not pass by itself."""
    entry = HttpEntry.model_validate({"listen": "192.0.2.1:9641", "allow_remote": True})
    with pytest.raises(NeedsOperator, match=r"http://192\.0\.2\.1:9641/: Cannot assign"):
        listen(entry)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_socket_has_its_mode(tmp_path: Path, mode: int) -> None:
    """Whatever the umask is."""
    entry = at_path(tmp_path / "s", mode)
    with listen(entry):
        found = os.stat(tmp_path / "s").st_mode
        assert stat.S_ISSOCK(found)
        assert stat.S_IMODE(found) == mode
        connect(entry).close()


def test_a_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    """Otherwise a kill -9 costs the status page until somebody removes a file."""
    entry = at_path(tmp_path / "s")
    listen(entry).close()  # the path stays
    with listen(entry):
        connect(entry).close()


def test_a_living_socket_is_left_alone(tmp_path: Path) -> None:
    """Two daemons with one path: the first keeps it."""
    entry = at_path(tmp_path / "s")
    with listen(entry):
        before = os.stat(tmp_path / "s").st_ino
        with pytest.raises(Transient, match=r"unix:.*s is taken by another process"):
            listen(entry)
        assert os.stat(tmp_path / "s").st_ino == before
        connect(entry).close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_file_in_place_of_the_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A slip in the configuration must not delete somebody's file."""
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(NeedsOperator, match="there is something that is no socket"):
        listen(at_path(path))
    assert path.is_symlink() or path.exists()


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """/run/certrotd is made by systemd, and by nobody else."""
    with pytest.raises(NeedsOperator, match="No such file or directory"):
        listen(at_path(tmp_path / "no" / "s"))


def test_the_path_goes_with_the_socket_and_not_with_its_successor(tmp_path: Path) -> None:
    """A restart may overlap: the new one's path stays."""
    entry = at_path(tmp_path / "s")
    with listen(entry):
        pass
    clean_up(entry)
    assert not (tmp_path / "s").exists()
    with listen(entry):
        clean_up(entry)
        connect(entry).close()
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("precious")
    clean_up(entry)
    assert (tmp_path / "s").exists()


def test_an_address_needs_no_cleaning_up() -> None:
    """The control."""
    entry = at_address()
    with listen(entry) as listener:
        clean_up(entry)
        assert listener.family == socket.AF_INET
