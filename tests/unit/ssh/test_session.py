"""Who is logged in to, by what, and how a program ended there: the configuration alone decides."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from certrotd.config.hosts import HostEntry
from certrotd.errors import NeedsOperator, Transient
from certrotd.ssh.session import Session


@dataclass
class Host:
    """An SSH server in this process that lets one key in."""

    port: int
    known: Path
    identity: Path

    def session(self, **other: Any) -> Session:
        """A connection as the configuration has it."""
        entry = {
            "address": f"127.0.0.1:{self.port}",
            "user": "anybody",
            "known_hosts": str(self.known),
            "identity": {"file": str(self.identity)},
            **other,
        }
        return Session("edge", HostEntry.model_validate(entry))


def program(process: asyncssh.SSHServerProcess[str]) -> None:
    """Ends as its name says."""
    if process.command == "killed":
        process.exit_with_signal("KILL")
    else:
        process.exit(3)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """That server, as long as the test runs."""
    key, identity = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    own, known = tmp_path / "identity", tmp_path / "known_hosts"
    own.touch(mode=0o600)
    own.write_bytes(identity.export_private_key())
    allowed = asyncssh.import_authorized_keys(identity.export_public_key().decode())
    ports, listening, done = list[int](), threading.Event(), threading.Event()
    connections = list[asyncssh.SSHServerConnection]()

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

    async def serve() -> None:
        listener = await asyncssh.listen(
            *("127.0.0.1", 0),
            server_factory=Server,
            server_host_keys=[key],
            authorized_client_keys=allowed,
            process_factory=program,
            sftp_factory=True,
        )
        ports.append(listener.get_port())
        listening.set()
        while not done.is_set():
            await asyncio.sleep(0.02)
        listener.close()
        await listener.wait_closed()
        for each in connections:
            each.abort()
            await each.wait_closed()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert listening.wait(60)
        known.write_text(f"[127.0.0.1]:{ports[0]} {key.export_public_key().decode()}")
        yield Host(ports[0], known, own)
    finally:
        done.set()
        thread.join()


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
