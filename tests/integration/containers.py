"""nginx in containers of an engine of the tests' own, and targets that tell them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.parts.client import served_leaf
from tests.parts.docker import Docker
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site

HOST = "a.example.test"
IMAGE = "certrotd-test/nginx"
NGINX = """\
daemon off;
pid /tmp/nginx.pid;
error_log /dev/stderr notice;
events {{}}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/fullchain.pem;
    ssl_certificate_key {folder}/privkey.pem;
    return 200 "ok\\n";
  }}
}}
"""


class Web:
    """A container with nginx; its files are in ``folder`` there."""

    def __init__(self, docker: Docker, name: str, directory: Path, folder: str) -> None:
        self.docker = docker
        self.name = name
        self.host, self.port = "127.0.0.1", free_port()
        self.config = directory / f"{name}.conf"
        self.config.write_text(NGINX.format(port=self.port, folder=folder))

    def start(
        self,
        *options: str,
        image: str = IMAGE,
        program: Sequence[str] = ("/usr/sbin/nginx",),
        network: str = "host",
    ) -> None:
        """Makes it, and waits until it serves."""
        mounted = ["--volume", f"{self.config}:/etc/nginx/nginx.conf"]
        named = ["--detach", "--name", self.name, "--network", network, "--user", "0"]
        self.docker.run("run", *named, *mounted, *options, image, *program)
        if network != "host":
            self.host = self.state(f'(index .NetworkSettings.Networks "{network}").IPAddress')
        wait_until(self.is_up, what=f"{self.name} serves")

    def is_up(self) -> bool:
        """Whether it shows any certificate."""
        try:
            return bool(self.serial)
        except OSError:
            return False

    @property
    def serial(self) -> int:
        """That of the leaf that it serves."""
        return served_leaf(self.host, self.port, HOST).serial_number

    def state(self, field: str) -> str:
        """What docker inspect says."""
        return self.docker.run("inspect", "--format", f"{{{{{field}}}}}", self.name).strip()

    @property
    def probe(self) -> dict[str, Any]:
        """How it is proven."""
        return {"address": f"{self.host}:{self.port}", "sni": HOST, "deadline": "20s"}


def targeted(site: Site, docker: Docker, *webs: Web, **options: Any) -> None:
    """They are the certificate's target from now on."""
    probes = [each.probe for each in webs]
    site.config["targets"]["box"] = {
        "type": "docker",
        "host": docker.host,
        **({"probe": probes} if probes else {}),
        "timeout": "30s",
        **options,
    }
    site.config["certificates"][0]["targets"] = ["box"]


def folder(site: Site) -> str:
    """The certificate's own, as a container mounts it."""
    return f"{site.store / 'web'}:/certs:ro"
