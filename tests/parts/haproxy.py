"""HAProxy: it has read its certificates when it started."""

import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from cryptography import x509

from tests.parts import locate
from tests.parts.client import served_leaf
from tests.parts.process import Server, free_port


class Haproxy(Server):
    """Two frontends that answer every request by themselves, each with ``crt`` as its bind has it.

    ``level`` is that of its stats ``socket``; ``lines`` are further ones of its global section.
    """

    def __init__(
        self,
        directory: Path,
        crt: str,
        other_crt: str = "",
        *,
        level: str = "admin",
        lines: str = "",
    ) -> None:
        super().__init__(directory)
        self.binary = locate.require("haproxy")
        self.port, self.other_port = free_port(), free_port()
        self._home = Path(tempfile.mkdtemp(prefix="certrotd-haproxy-"))  # a socket's path is short
        self.socket = self._home / "admin.sock"
        self._config = directory / "haproxy.cfg"
        self._config.write_text(f"""\
global
  stats socket {self.socket} mode 600 level {level}
  {lines}
defaults web
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  http-request return status 200 content-type text/plain string ok
frontend one from web
  bind 127.0.0.1:{self.port} ssl {crt}
frontend other from web
  bind 127.0.0.1:{self.other_port} ssl {other_crt or crt}
""")

    def command(self) -> Sequence[str | Path]:
        self._home.mkdir(exist_ok=True)  # anew after a stop
        return [self.binary, "-db", "-f", self._config]

    def is_ready(self) -> bool:
        for port in (self.port, self.other_port):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return self.socket.exists()

    def ask(self, command: str) -> str:
        """What its socket answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()

    def served(self, server_name: str) -> x509.Certificate:
        """The leaf that a new connection to the first frontend is shown."""
        return served_leaf("127.0.0.1", self.port, server_name)

    def stop(self) -> None:
        super().stop()
        rmtree(self._home, ignore_errors=True)
