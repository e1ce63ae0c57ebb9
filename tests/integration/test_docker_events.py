"""Containers that start with an old copy are heard of by a real engine, and brought up to date."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.containers import HOST, IMAGE, Web, folder, targeted
from tests.integration.daemon import running
from tests.parts.docker import Docker
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.parts.socket_proxy import SocketProxy

LABEL = ("--label", "certrotd.certificate=web")


def with_copy(web: Web, site: Site, image: str) -> None:
    """An image of that name from which a container has the files of now in /srv."""
    web.docker.run("create", "--name", f"{web.name}-template", IMAGE, "/bin/true")
    for file in site.files("web"):
        web.docker.run("cp", "--follow-link", file, f"{web.name}-template:/srv/{file.name}")
    web.docker.run("commit", f"{web.name}-template", image)
    web.docker.run("rm", f"{web.name}-template")


def test_a_container_with_an_old_copy_is_brought_up_to_date_when_it_starts(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """One made from an old image, and one that was stopped; the engine is reached over TLS."""
    web, spare = containers("web", "/srv"), containers("spare", "/srv")
    with_copy(web, certified, "certrotd-test/old")
    for each in (web, spare):
        each.start(*LABEL, image="certrotd-test/old")
    old = web.serial
    docker.run("stop", "spare")
    targeted(
        *(certified, docker, web),
        host=docker.remote,
        tls=docker.tls,
        labelled=True,
        copy_to={"folder": "/srv"},
    )
    certified.rotate()
    with running(certified) as daemon:
        assert certified.rotate("--force").row("web")["result"] == "done"
        new = web.serial
        assert new != old
        assert spare.state(".State.Status") == "exited"

        started = web.state(".State.StartedAt")
        docker.run("start", "spare")
        wait_until(lambda: spare.is_up() and spare.serial == new, within=120)
        daemon.wait_for("has an older /srv/fullchain.pem")

        late = containers("late", "/srv")
        late.start(*LABEL, image="certrotd-test/old")
        wait_until(lambda: late.serial == new, within=120)
        assert web.state(".State.StartedAt") == started, "the others are left alone"
    assert {line["facts"].get("act") for line in certified.history("web")} >= {"catch_up"}


def test_one_shot_runs_look_for_old_copies_too(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """As a timer has them, without a daemon that hears anything."""
    web = containers("web", "/srv")
    with_copy(web, certified, "certrotd-test/old")
    web.start(*LABEL, image="certrotd-test/old")
    old = web.serial
    targeted(certified, docker, web, labelled=True, copy_to={"folder": "/srv"})
    assert certified.rotate("--force").row("web")["result"] == "done"
    new = web.serial
    docker.run("rm", "--force", "web")
    web.start(*LABEL, image="certrotd-test/old")
    assert web.serial == old
    seen = certified.run("watch")
    assert "web has an older /srv/fullchain.pem" in seen.stdout
    assert certified.rotate().row("web")["result"] == "done"
    assert web.serial == new
    assert certified.rotate().row("web")["result"] == "wait"
    assert "older" not in certified.run("watch").stdout


def test_an_engine_that_is_away_is_said_once_and_heard_again(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """What started meanwhile is brought up to date as well; all of it by the socket proxy."""
    proxy = SocketProxy(docker, more=True)
    web, late = containers("web", "/srv"), containers("late", "/srv")
    with_copy(web, certified, "certrotd-test/old")
    web.start(*LABEL, image="certrotd-test/old")
    reached = {"host": proxy.host, "labelled": True, "copy_to": {"folder": "/srv"}}
    targeted(certified, docker, web, **reached)
    proxy.start()
    certified.rotate("--force")
    new = web.serial
    with running(certified) as daemon:
        proxy.stop()
        daemon.wait_for("certrotd asks again until it answers")
        late.start(*LABEL, image="certrotd-test/old")
        assert late.serial != new
        proxy.start()
        said = daemon.wait_for("tells again what starts")
        assert proxy.host in said
        wait_until(lambda: late.serial == new, within=120)
    proxy.stop()


def test_containers_are_told_in_waves_and_the_first_failure_undoes_them(
    docker: Docker, certified: Site, containers: Callable[..., Web], tmp_path: Path
) -> None:
    """The canary serves files of its own, which no restart replaces: the second is not touched."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in certified.files("web"):
        shutil.copy(file, copies / file.name)
    canary, web = containers("a-canary", "/srv"), containers("web")

    def options(web: Web, volume: str) -> tuple[str, ...]:
        return ("--volume", volume, *LABEL, "--label", f"certrotd.port={web.port}")

    canary.start(*options(canary, f"{copies}:/srv"))
    web.start(*options(web, folder(certified)))
    before, started = web.serial, [each.state(".State.StartedAt") for each in (canary, web)]
    probe = {"port": 443, "sni": HOST, "deadline": "3s"}
    told: dict[str, Any] = {"labelled": True, "mode": "restart", "container_probe": [probe]}
    targeted(certified, docker, **told)
    failed = certified.run("rotate", "web", "--force")
    assert failed.code == 1
    assert f"127.0.0.1:{canary.port}" in failed.stdout + failed.stderr
    assert "rolled back" in failed.stdout + failed.stderr
    assert (canary.serial, web.serial) == (before, before)
    restarted = [each.state(".State.StartedAt") for each in (canary, web)]
    assert restarted[0] != started[0]
    assert restarted[1] == started[1]

    docker.run("rm", "--force", canary.name)
    canary.config.write_text(canary.config.read_text().replace("/srv/", "/certs/live/"))
    canary.start(*options(canary, folder(certified)))
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert canary.serial == web.serial != before
    assert web.state(".State.StartedAt") != started[1]


@pytest.fixture
def bridge(docker: Docker) -> Iterator[str]:
    """A network of its own, between whose containers and this machine there is nothing else."""
    name = "certrotd-test"
    docker.run("network", "create", name)
    yield name
    docker.run("network", "rm", name)


def test_a_container_on_a_bridge_is_proven_at_its_own_address(
    bridge: str, docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """Nothing of it is published; what does not read the new files is undone."""
    web = containers("web")
    web.config.write_text(web.config.read_text().replace("listen 127.0.0.1:", "listen "))
    web.start("--volume", folder(certified), network=bridge)
    assert not web.host.startswith("127.")
    probe = {"port": web.port, "deadline": "20s"}
    told: dict[str, Any] = {"containers": ["web"], "container_probe": [probe]}
    targeted(certified, docker, **told)
    before = web.serial
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial == certified.leaf("web").serial_number != before
    probe["deadline"] = "1s"
    targeted(certified, docker, **told, mode="exec", command=["true"])
    before = web.serial
    assert "does not serve" in certified.rotate("--force", expect=1).row("web")["why"]
    assert web.serial == certified.leaf("web").serial_number == before


def test_a_container_that_has_to_be_made_anew_is_said_until_it_is(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """It has its certificate from its environment: certrotd says what to run, and runs nothing."""
    web = containers("web", "/srv")

    def make() -> None:
        chain, key = (file.read_text() for file in certified.files("web"))
        unpack = 'for n in fullchain privkey; do printenv $n > /srv/$n.pem; done; exec "$@"'
        program = ("/bin/sh", "-c", unpack, "-", "/usr/sbin/nginx")
        made_with = ("--env", f"fullchain={chain}", "--env", f"privkey={key}")
        web.start(*made_with, program=program)

    make()
    before, started = web.serial, web.state(".State.StartedAt")
    targeted(certified, docker, containers=["web"], mode="recreate")
    rotated = certified.rotate("--force")
    assert rotated.row("web")["result"] == "done"
    what = "the container web has a certificate in its variable fullchain: make it anew afterwards"
    assert what in rotated.stderr
    seen = certified.run("watch")
    assert "web was made before the present certificate web" in " ".join(seen.stdout.split())
    assert (web.serial, web.state(".State.StartedAt")) == (before, started)
    docker.run("rm", "--force", "web")
    make()
    assert web.serial != before
    assert "was made before" not in certified.run("watch").stdout
