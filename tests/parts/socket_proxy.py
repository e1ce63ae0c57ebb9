"""The socket proxy of deploy/docker, by its own configuration."""

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.docker import Docker
from tests.parts.process import Server

CONFIGURATION = Path(__file__).parents[2] / "deploy/docker/haproxy.cfg"


class SocketProxy(Server):
    """HAProxy in front of an engine's socket; with ``more`` it also allows what is a comment.

    Of ``kill`` and ``restart`` it may deny one.
    """

    def __init__(self, docker: Docker, *, more: bool = False, denies: str = "") -> None:
        super().__init__(docker.directory / "proxy")
        self._program = locate.require("haproxy")
        self.path = self.directory / "docker.sock"
        text = CONFIGURATION.read_text().replace("/run/engine/docker.sock", str(self.path))
        text = text.replace("/var/run/docker.sock", docker.host.removeprefix("unix://"))
        if more:
            text = text.replace("#http-request", "http-request")
        if denies:
            assert f"{denies})" in text or f"({denies}" in text
            text = text.replace(f"|{denies})", ")").replace(f"({denies}|", "(")
        self._configuration = self.directory / "haproxy.cfg"
        self._configuration.write_text(text)

    @property
    def host(self) -> str:
        """Where it listens, as certrotd is told."""
        return f"unix://{self.path}"

    def status(self, request: str) -> int:
        """That of the answer to a request, such as "GET /version"."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self.path))
            head = "Host: engine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            asked.sendall(f"{request} HTTP/1.1\r\n{head}".encode())
            return int(asked.makefile("rb").readline().split()[1])

    def command(self) -> Sequence[str | Path]:
        return [self._program, "-db", "-f", self._configuration]

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self.path))
        return True
