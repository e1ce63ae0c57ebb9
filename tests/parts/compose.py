"""deploy/docker/compose.yaml, started by Docker Compose on an engine of the tests' own."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.parts import locate
from tests.parts.docker import Docker
from tests.parts.installed import ROOT, install
from tests.parts.process import free_port

FILE = ROOT / "deploy/docker/compose.yaml"
_CERTROTD = """\
COPY certrotd /opt/certrotd
ENV PYTHONPATH=/opt/certrotd
RUN printf '#!/bin/sh\\nexec python3 -m certrotd "$@"\\n' >/usr/local/bin/certrotd && \\
    chmod 755 /usr/local/bin/certrotd && \\
    install -d -o 65532 -m 700 /var/lib/certrotd && \\
    install -d -o 65532 -m 755 /var/lib/certrotd/certificates
ENTRYPOINT ["certrotd"]
CMD ["run"]
"""
_NGINX = """\
RUN rm -f /etc/nginx/sites-enabled/default
CMD ["nginx", "-g", "daemon off;"]
"""


class Composed:
    """Its services, as long as the block runs; nginx is published at ``port`` of loopback.

    There is no registry to pull from: the images have the names of those that the file asks for,
    are made from ``base``, and have in them what the tests have, HAProxy and certrotd.
    """

    def __init__(self, docker: Docker, base: str, directory: Path) -> None:
        self.docker = docker
        self.port = free_port()
        self._base = base
        self._directory = directory
        self._program = locate.require("docker-compose")
        self._more = directory / "more.yaml"
        socket = docker.host.removeprefix("unix://")
        self._more.write_text(
            "services:\n"
            f"  engine: {{volumes: ['{socket}:/var/run/docker.sock:ro']}}\n"
            f"  nginx: {{ports: !override ['127.0.0.1:{self.port}:443']}}\n"
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "DOCKER_HOST": docker.host,
            "DOCKER_GID": str(os.stat(socket).st_gid),
        }

    def run(self, *arguments: str) -> str:
        """What a command of Compose prints; it must succeed."""
        files: tuple[str | Path, ...] = ("--file", FILE, "--file", self._more)
        argv: list[str | Path] = [self._program, "--project-name", "web", *files, *arguments]
        ran = subprocess.run(
            argv, env=self._environment, check=False, capture_output=True, text=True, timeout=600
        )
        if ran.returncode:
            raise AssertionError(f"{arguments}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def __enter__(self) -> Self:
        install(self._directory / "certrotd/certrotd", "docker")
        self._build("certrotd", "certrotd:0.1.0", f"FROM {self._base}\n{_CERTROTD}")
        self._build("nginx", "nginx:stable", f"FROM {self._base}\n{_NGINX}")
        program = str(locate.require("haproxy"))
        needs = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for each in (program, *re.findall(r"(/\S+) \(0x", needs)):
            copy = self._directory / "haproxy/root" / each.removeprefix("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(each, copy)
        start = f'["{program}", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
        recipe = f"FROM scratch\nCOPY root /\nUSER 99:99\nCMD {start}\n"
        self._build("haproxy", "haproxy:3.0", recipe)
        try:
            self.run("up", "--detach", "--no-build", "--pull", "never")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.run("down", "--volumes", "--timeout", "20")

    def _build(self, folder: str, image: str, recipe: str) -> None:
        where = self._directory / folder
        where.mkdir(exist_ok=True)
        (where / "Dockerfile").write_text(recipe)
        self.docker.run("build", "--quiet", "--tag", image, where)
