"""OpenSSH's server: another host, on this one."""

import getpass
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from socket import create_connection
from typing import Any

from tests.parts import locate
from tests.parts.process import Server, free_port


class Sshd(Server):
    """An sshd of its own that lets one key in, as any account of this machine.

    ``lines`` are put into its configuration, before what is there.
    """

    def __init__(self, directory: Path, *, port: int | None = None, lines: str = "") -> None:
        super().__init__(directory)
        self.binary = locate.require("sshd")
        self.port = port or free_port()
        self.identity = directory / "identity"
        self.known_hosts = directory / "known_hosts"
        self._host_key = directory / "host_key"
        self._lines = lines
        _generate(self.identity)
        self.new_host_key()
        self.know()
        (directory / "authorized_keys").write_text(_public(self.identity))

    def new_host_key(self) -> None:
        """Another host key from the next start on, as of a host that was set up anew."""
        self._host_key.unlink(missing_ok=True)
        _generate(self._host_key)

    def know(self) -> None:
        """The file of known hosts has its present key."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {_public(self._host_key)}")

    def command(self) -> Sequence[str | Path]:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it insists
        config = self.directory / "sshd_config"
        config.write_text(
            f"{self._lines}\n"
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self._host_key}\n"
            f"AuthorizedKeysFile {self.directory}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\n"
            "Subsystem sftp internal-sftp\n"
        )
        return [self.binary, "-D", "-e", "-f", config]

    def is_ready(self) -> bool:
        with create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"

    def entry(self, user: str = "", **options: Any) -> dict[str, Any]:
        """What ``hosts`` has of it."""
        return {
            "address": f"127.0.0.1:{self.port}",
            "user": user or getpass.getuser(),
            "known_hosts": str(self.known_hosts),
            "identity": {"file": str(self.identity)},
            **options,
        }


def _generate(path: Path) -> None:
    path.unlink(missing_ok=True)
    argv: list[str | Path] = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _public(path: Path) -> str:
    return Path(f"{path}.pub").read_text()
