"""An SSH server in this process, with the files of this machine."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from certrotd.clock import Clock
from certrotd.config.hosts import HostEntry
from certrotd.ssh.session import Session


@dataclass
class Host:
    """An SSH server in this process that lets one key in."""

    port: int
    known: Path
    identity: Path

    def session(self, clock: Clock | None = None, **other: Any) -> Session:
        """A connection as the configuration has it."""
        entry = {
            "address": f"127.0.0.1:{self.port}",
            "user": "anybody",
            "known_hosts": str(self.known),
            "identity": {"file": str(self.identity)},
            **other,
        }
        return Session("edge", HostEntry.model_validate(entry), clock)


def program(process: asyncssh.SSHServerProcess[str]) -> None:
    """Ends as its name says."""
    if process.command == "killed":
        process.exit_with_signal("KILL")
    elif process.command == "hangs":
        process.stdout.write("it began\n")
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
