"""deploy/docker: Compose takes it, and certrotd needs no more of the engine than it allows."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.containers import IMAGE, Web, folder, targeted
from tests.integration.daemon import running
from tests.parts import locate
from tests.parts.client import served_leaf
from tests.parts.compose import Composed
from tests.parts.docker import Docker
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.parts.socket_proxy import CONFIGURATION, SocketProxy

FOLDER = CONFIGURATION.parent


def test_compose_takes_the_file() -> None:
    """The engine's socket is one service's alone, which has no network and may write nothing."""
    ran = subprocess.run(
        [locate.require("docker-compose"), "--file", FOLDER / "compose.yaml", "config"],
        env={"PATH": "/usr/bin:/bin", "DOCKER_GID": "999"},
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    services = yaml.safe_load(ran.stdout)["services"]
    assert set(services) == {"engine", "certrotd", "nginx"}
    with_socket = [
        name
        for name, service in services.items()
        if any(volume["target"] == "/var/run/docker.sock" for volume in service["volumes"])
    ]
    assert with_socket == ["engine"]
    assert services["engine"]["network_mode"] == "none"
    for name in ("engine", "certrotd"):
        assert (services[name]["read_only"], services[name]["cap_drop"]) == (True, ["ALL"])
        for volume in services[name]["volumes"]:
            assert volume["type"] == "volume" or volume["read_only"]


def test_compose_starts_it_and_nginx_serves_each_certificate(
    docker: Docker, tmp_path: Path
) -> None:
    """The whole file but for its images: users, volumes, the socket proxy, the network between."""
    with Composed(docker, IMAGE, tmp_path) as composed:

        def leaf() -> str:
            shown = served_leaf("127.0.0.1", composed.port, "www.example.com")
            return shown.issuer.rfc4514_string() + f" {shown.serial_number}"

        def asked(*arguments: str) -> list[dict[str, Any]]:
            said = composed.run("exec", "-T", "certrotd", "certrotd", *arguments)
            rows: list[dict[str, Any]] = json.loads(said)
            return rows

        wait_until(lambda: asked("status", "--json")[0]["state"] == "ok", within=200)
        wait_until(lambda: "placeholder" not in leaf(), within=100)
        first = leaf()
        ended = {each["outcome"] for each in asked("history", "--json")}
        assert ended == {"finished"}, "nothing fails at the first start"
        [row] = asked("rotate", "web", "--force", "--wait", "60s", "--json")
        assert row["result"] == "done", row
        assert leaf() != first


@pytest.fixture
def proxy(docker: Docker) -> Iterator[SocketProxy]:
    """With the configuration as it is."""
    with SocketProxy(docker) as started:
        yield started


def test_the_configuration_is_rotated_through_the_socket_proxy(
    docker: Docker, site: Site, containers: Callable[..., Web], proxy: SocketProxy
) -> None:
    """From the placeholder to a certificate, to the next one; nothing else is allowed."""
    shipped: dict[str, Any] = yaml.safe_load((FOLDER / "certrotd/config.yaml").read_text())
    shipped["targets"]["web"]["host"] = proxy.host
    site.config.update(shipped)
    web = containers("web", "/certificates/web/live")
    web.config.write_text(_http((FOLDER / "nginx/site.conf").read_text(), web.port))
    label = f"certrotd.port={web.port}"
    with running(site) as daemon:
        wait_until(lambda: (site.store / "web/live/fullchain.pem").exists())
        mounted = f"{site.store}:/certificates:ro"
        web.start("--volume", mounted, "--label", "certrotd.certificate=web", "--label", label)
        wait_until(lambda: web.serial == site.leaf("web").serial_number, within=120)
        first = web.serial
        assert site.rotate("web", "--force", "--wait", "60s").row("web")["result"] == "done"
        assert web.serial == site.leaf("web").serial_number != first
        assert not daemon.is_over
    for denied in (
        "POST /v1.41/containers/web/exec",
        "POST /containers/create",
        "DELETE /v1.41/containers/web",
        "GET /v1.41/containers/web/archive?path=/etc",
        "POST /containers/../containers/web/stop",
    ):
        assert proxy.status(denied) == 403, denied
    assert proxy.status("GET /v1.41/containers/web/json") == 200
    assert web.is_up()


def _http(server: str, port: int) -> str:
    """A whole configuration with that server, on loopback."""
    assert "listen 443 ssl;" in server
    server = server.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    return (
        "daemon off; pid /tmp/nginx.pid; error_log /dev/stderr notice; events {}\n"
        f"http {{ access_log off; {server} }}\n"
    )


def test_programs_and_copies_need_what_is_a_comment_in_it(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """The negative control of the shipped list, with both of them: it is said before an order."""
    web = containers("web")
    web.start("--volume", folder(certified))
    told: dict[str, Any] = {"mode": "exec", "command": ["nginx", "-s", "reload"]}
    before = web.serial
    with SocketProxy(docker) as proxy:
        targeted(certified, docker, web, containers=["web"], host=proxy.host, **told)
        denied = certified.run("rotate", "web", "--force")
        assert denied.code == 1
        assert "it answers 403 to POST /containers/web/exec" in denied.stdout
    assert web.serial == before == certified.leaf("web").serial_number
    with SocketProxy(docker, more=True) as proxy:
        assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial != before


def test_what_a_proxy_denies_is_one_line_and_leaves_nothing_behind(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """Before an order where asking for it does nothing; a restart is denied when it is needed."""
    web = containers("web")
    web.start("--volume", folder(certified))
    before, started = web.serial, web.state(".State.StartedAt")

    def denied(proxy: SocketProxy, request: str, **told: Any) -> str:
        targeted(certified, docker, web, containers=["web"], host=proxy.host, **told)
        why: str = certified.rotate("--force", expect=1).row("web")["why"]
        assert f"it answers 403 to {request} (have the socket proxy allow that)" in why
        assert "<html>" not in why
        assert web.serial == before == certified.leaf("web").serial_number
        assert web.state(".State.StartedAt") == started
        return why

    with SocketProxy(docker, denies="kill") as proxy:
        assert "rolled back" not in denied(proxy, "POST /containers/web/kill")
        denied(proxy, "PUT /containers/web/archive", copy_to={"folder": "/srv"}, mode="restart")
    assert len(certified.generations("web")) == 1
    with SocketProxy(docker, denies="restart") as proxy:
        why = denied(proxy, "POST /containers/web/restart", mode="restart")
        assert f"{proxy.host} cannot restart web: " in why
        assert "rolled back to issued" in why
    targeted(certified, docker, web, containers=["web"], mode="restart")
    assert certified.rotate().row("web")["result"] == "done"
    assert web.serial != before
