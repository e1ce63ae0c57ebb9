"""nginx: the service most certificates are for."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from os import kill
from pathlib import Path
from socket import create_connection

from cryptography import x509

from tests.parts import locate
from tests.parts.client import served_leaf
from tests.parts.process import Server, free_port


class Nginx(Server):
    """An nginx of its own that serves each name with a certificate and key file.

    Like everyone's, its workers are nobody's: only the master reads the key files. ``listen`` is
    put behind ``ssl`` in every virtual host, ``lines`` into its block, ``beside`` after them all.
    """

    def __init__(
        self,
        directory: Path,
        server_names: Mapping[str, tuple[Path, Path]],
        *,
        port: int | None = None,
        listen: str = "",
        lines: str = "",
        beside: str = "",
    ) -> None:
        super().__init__(directory)
        self._listen, self._lines, self._beside = listen, lines, beside
        self.binary = locate.require("nginx")
        self.port = port or free_port()
        self.config_path = directory / "nginx.conf"
        self.pid_file = directory / "nginx.pid"
        self.host(server_names)

    def host(self, server_names: Mapping[str, tuple[Path, Path]]) -> None:
        """Writes a configuration of these virtual hosts, as an operator would before a reload."""
        self._names = list(server_names)
        servers = "\n".join(
            _server(f"127.0.0.1:{self.port} ssl {self._listen}", name, self._lines, *files)
            for name, files in server_names.items()
        )
        beside = self._beside.replace("PORT", str(self.port))
        self._sound = _configuration(self.directory, self.pid_file, f"{servers}\n{beside}")
        self.config_path.write_text(self._sound)

    def command(self) -> Sequence[str | Path]:
        return [self.binary, *self.arguments, "-g", "daemon off;"]

    @property
    def arguments(self) -> list[str]:
        """What makes any call of `binary` be about this instance."""
        return ["-p", str(self.directory), "-c", str(self.config_path), "-e", str(self.log_file)]

    def is_ready(self) -> bool:
        if self._listen or self._lines:
            with create_connection(("127.0.0.1", self.port)):
                return self.pid_file.exists()
        return bool(self.served(self._names[0])) and self.pid_file.exists()

    def served(self, server_name: str) -> x509.Certificate:
        """The leaf that a new connection for that name is shown."""
        return served_leaf("127.0.0.1", self.port, server_name)

    def workers(self) -> set[int]:
        """The process ids of its workers, those of earlier reloads that still run among them."""
        master = self.pid
        return set(map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()))

    def check(self) -> subprocess.CompletedProcess[str]:
        """Runs `nginx -t`."""
        return subprocess.run(
            [self.binary, *self.arguments, "-t"], capture_output=True, text=True, check=False
        )

    def reload(self) -> None:
        """Asks for a reload the way `nginx -s reload` does: a signal, and no answer."""
        kill(self.pid, signal.SIGHUP)

    def break_config(self) -> None:
        """Leaves a configuration that the running nginx refuses to load."""
        self.config_path.write_text(self._sound + "no_such_directive on;\n")

    def mend_config(self) -> None:
        """Puts the sound configuration back."""
        self.config_path.write_text(self._sound)


def _server(listen: str, name: str, lines: str, certificate: Path, key: Path) -> str:
    return f"""  server {{
    listen {listen};
    server_name {name};
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    {lines}
    location / {{ return 200 "{name}\\n"; }}
  }}"""


def _configuration(directory: Path, pid_file: Path, servers: str) -> str:
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""worker_processes 1;
pid {pid_file};
events {{ worker_connections 256; }}
http {{
  access_log off;
{temporary}
{servers}
}}
"""
