"""nginx in containers of a real engine: told by signal, program or restart, and brought back."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.containers import HOST, IMAGE, Web, folder, targeted
from tests.parts.docker import Docker
from tests.parts.process import wait_until
from tests.parts.site import Run, Site


@pytest.mark.parametrize(
    ("options", "restarted"),
    [
        ({"mode": "signal"}, False),
        ({"mode": "exec", "command": ["nginx", "-s", "reload"], "check": ["nginx", "-t"]}, False),
        ({"mode": "restart"}, True),
    ],
    ids=["signal", "exec", "restart"],
)
def test_a_container_gets_the_new_certificate(
    docker: Docker,
    certified: Site,
    containers: Callable[..., Web],
    options: dict[str, Any],
    restarted: bool,
) -> None:
    """By each way; it runs on, unless it is to be restarted."""
    web = containers("web")
    web.start("--volume", folder(certified))
    before, started = web.serial, web.state(".State.StartedAt")
    targeted(certified, docker, web, containers=["web"], **options)
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial != before
    assert (web.state(".State.StartedAt") != started) is restarted


def test_a_broken_configuration_in_the_container_is_undone(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """The check in it says so before anything is changed; without one, a restart shows it."""
    web = containers("web")
    web.start("--volume", folder(certified))
    before = web.serial
    good = web.config.read_text()
    web.config.write_text(good.replace("return 200", "retrun 200"))
    told = {"mode": "exec", "command": ["nginx", "-s", "reload"], "check": ["nginx", "-t"]}
    targeted(certified, docker, web, containers=["web"], **told)
    refused = certified.run("rotate", "web", "--force")
    assert refused.code == 1
    said = refused.stderr + refused.stdout
    assert "nginx -t in the container web ended with exit code 1: " in said
    assert "[emerg]" in said
    assert 'unknown directive "retrun"' in said
    assert web.serial == before
    targeted(certified, docker, web, containers=["web"], mode="restart")
    broken = certified.run("rotate", "web", "--force")
    assert broken.code == 1
    assert "the container web does not work since it was restarted: it ended with exit code 1" in (
        broken.stderr + broken.stdout
    )
    web.config.write_text(good)
    certified.run("rotate", "web")  # it ends what could not be undone while nginx did not start
    wait_until(web.is_up)
    assert web.serial == before
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial != before


def test_a_restart_that_fails_has_the_former_one_running_again(
    docker: Docker, certified: Site, containers: Callable[..., Web], tmp_path: Path
) -> None:
    """The container refuses new certificates alone: it is started with the former ones."""
    web = containers("web")
    serial = tmp_path / "serial"
    started = 'test "$(sha256sum < /certs/live/fullchain.pem)" = "$(cat /serial)" && exec nginx'
    web.docker.run(
        *("run", "--detach", "--name", "web", "--network", "host", "--user", "0"),
        *("--volume", f"{web.config}:/etc/nginx/nginx.conf", "--volume", folder(certified)),
        *("--volume", f"{_noted(certified, serial)}:/serial", IMAGE, "/bin/sh", "-c", started),
    )
    wait_until(web.is_up)
    before = web.serial
    targeted(certified, docker, web, containers=["web"], mode="restart")
    failed = certified.run("rotate", "web", "--force")
    assert failed.code == 1
    assert "rolled back" in failed.stdout + failed.stderr
    wait_until(web.is_up)
    assert web.serial == before
    assert web.state(".State.Status") == "running"


def test_a_container_that_is_removed_in_the_middle_leaves_no_undo_stuck(
    docker: Docker, certified: Site, containers: Callable[..., Web], tmp_path: Path
) -> None:
    """The former pair is back, nobody serves it, and that is said; the next rotation goes on."""
    web, serial = containers("web"), _noted(certified, tmp_path / "serial")
    picky = 'test "$(sha256sum < /certs/live/fullchain.pem)" = "$(cat /serial)" && exec nginx'
    options = ("--volume", folder(certified), "--label", "certrotd.certificate=web")
    program = ("/bin/sh", "-c", picky)
    web.start("--rm", "--volume", f"{serial}:/serial", *options, program=program)
    before = web.serial
    probe = [{**web.probe, "deadline": "2s"}]
    targeted(certified, docker, labelled=True, mode="restart", probe=probe)
    why = certified.rotate("--force", expect=1).row("web")["why"]
    place = f"nothing answers at 127.0.0.1:{web.port} ({HOST})"
    assert "the container web does not work since it was restarted" in why
    assert f"rolled back to issued; {place} any more: the container web is gone" in why
    assert certified.leaf("web").serial_number == before
    assert f"{place} any more" in certified.run("history", "web").stdout
    again = certified.rotate("--force")
    assert again.row("web")["result"] == "done"
    assert f"{place}: not proven" in again.stderr
    web.start(*options)
    assert web.serial == certified.leaf("web").serial_number != before
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial == certified.leaf("web").serial_number


def test_one_that_ends_again_and_again_holds_up_no_other(
    docker: Docker, certified: Site, containers: Callable[..., Web], tmp_path: Path
) -> None:
    """Its restart policy never gives up; once it runs it has the new certificate."""
    web, loops = containers("web"), containers("loops")
    options = ("--volume", folder(certified), "--label", "certrotd.certificate=web")
    web.start(*options)
    docker.run(
        *("run", "--detach", "--name", "loops", "--network", "host", "--user", "0", *options),
        *("--restart", "always", "--volume", f"{loops.config}:/etc/nginx/nginx.conf"),
        *("--volume", f"{tmp_path}:/there", IMAGE, "/bin/sh", "-c"),
        "sleep 0.3; test -f /there/it-works && exec nginx",
    )
    wait_until(lambda: int(loops.state(".RestartCount")) > 1)
    targeted(certified, docker, web, labelled=True)
    before = web.serial
    rotated = certified.rotate("--force")
    assert rotated.row("web")["result"] == "done"
    assert "the container loops is started again and again" in rotated.stderr
    assert web.serial != before
    (tmp_path / "it-works").touch()
    wait_until(loops.is_up, within=120)
    assert loops.serial == web.serial


def _noted(site: Site, path: Path) -> Path:
    digest = hashlib.sha256(site.files("web")[0].read_bytes()).hexdigest()
    path.write_text(f"{digest}  -\n")
    return path


def test_a_mount_that_keeps_the_old_files_is_refused_or_restarted(
    docker: Docker, certified: Site, containers: Callable[..., Web], tmp_path: Path
) -> None:
    """By what it mounts, and where that tells nothing, by what is in it."""
    live = certified.store / "web" / "live"
    web = containers("web", "/certs")
    web.start(*(o for f in ("fullchain", "privkey") for o in _file(live / f"{f}.pem")))
    before = web.serial
    targeted(certified, docker, web, containers=["web"])
    refused = certified.run("rotate", "web", "--force")
    assert "the container web mounts" in refused.stdout + refused.stderr
    assert "until it is restarted it keeps" in refused.stdout + refused.stderr
    assert web.serial == before
    targeted(certified, docker, web, containers=["web"], mode="restart")
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial != before

    # copies that are replaced by new files
    copies = tmp_path / "copies"
    copies.mkdir()
    paths = {name: str(copies / f"{name}.pem") for name in ("fullchain", "privkey")}
    certified.config["certificates"][0]["install"] = [paths]
    certified.rotate("--force")
    other = containers("other", "/certs")
    other.start(*(o for f in ("fullchain", "privkey") for o in _file(copies / f"{f}.pem")))
    targeted(certified, docker, other, containers=["other"])
    undone = certified.run("rotate", "web", "--force")
    assert undone.code == 1
    assert "a mount of a single file keeps the first one" in undone.stdout + undone.stderr

    # and written in place from the first, with the same inodes
    docker.run("rm", "--force", "other")
    certified.config["certificates"][0]["install"] = [{**paths, "in_place": True}]
    with certified.without_targets():
        certified.rotate("--force")
    other.start(*(o for f in ("fullchain", "privkey") for o in _file(copies / f"{f}.pem")))
    before = other.serial
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert other.serial != before


def _file(path: Path) -> tuple[str, str]:
    return "--volume", f"{path}:/certs/{path.name}:ro"


def test_one_that_is_stopped_is_left_alone(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """It reads the new files when it starts; what runs is told, in turn."""
    web, spare = containers("web"), containers("spare")
    for each in (web, spare):
        each.start("--volume", folder(certified), "--label", "certrotd.certificate=web,other")
    docker.run("stop", "spare")
    targeted(certified, docker, web, labelled=True)
    checked = certified.run("rotate", "web", "--force", "--dry-run")
    assert "the container spare is exited: it is left alone" in checked.stdout + checked.stderr
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert spare.state(".State.Status") == "exited"
    docker.run("start", "spare")
    wait_until(spare.is_up)
    assert spare.serial == web.serial


def test_containers_are_found_by_what_they_mount_and_by_compose(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """And files are written into one that mounts none."""
    web, own = containers("web"), containers("own", "/srv")
    web.start("--volume", folder(certified))
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "own"}
    labelled = [option for each in labels.items() for option in ("--label", "=".join(each))]
    docker.run(
        *("create", "--name", "own", "--network", "host", "--user", "0", *labelled),
        *("--volume", f"{own.config}:/etc/nginx/nginx.conf", IMAGE, "/usr/sbin/nginx"),
    )
    for file in certified.files("web"):
        docker.run("cp", "--follow-link", file, f"own:/srv/{file.name}")
    docker.run("start", "own")
    wait_until(own.is_up)
    targeted(certified, docker, web, mounting=True)
    certified.config["targets"]["copies"] = {
        "type": "docker",
        "host": docker.host,
        "services": ["shop/own"],
        "copy_to": {"folder": "/srv"},
        "probe": [own.probe],
        "wave": 1,
    }
    certified.config["certificates"][0]["targets"] = ["box", "copies"]
    before = web.serial
    assert certified.rotate("--force").row("web")["result"] == "done"
    assert web.serial == own.serial != before


def test_what_cannot_be_told_is_said_before_an_order(
    docker: Docker, certified: Site, containers: Callable[..., Web]
) -> None:
    """A container that is not there, one that is held, and an engine that is away."""
    web = containers("web")
    web.start("--volume", folder(certified))
    targeted(certified, docker, web, containers=["web", "nobody"])
    missing = certified.run("rotate", "web", "--force")
    assert "there is no container nobody at unix://" in missing.stderr
    beginning = web.state(".Id")[:12]  # which the engine itself takes for it
    targeted(certified, docker, web, containers=[beginning])
    missing = certified.run("rotate", "web", "--force")
    assert f"there is no container {beginning} at unix://" in missing.stderr
    for option, place, words in (
        ("--read-only", "/opt", "container rootfs is marked read-only"),
        ("--tmpfs=/opt", "/opt/tls", "/opt/tls in the container odd is in a tmpfs"),
        ("--tmpfs=/srv", "/opt/tls", "Could not find the file /opt/tls"),
    ):
        docker.run("run", "--detach", "--name", "odd", option, IMAGE, "sleep", "600")
        targeted(certified, docker, web, containers=["odd"], copy_to={"folder": place})
        run = certified.run("rotate", "web", "--force")
        docker.run("rm", "--force", "odd")
        assert words in run.stderr
    hangs = {"command": ["true"], "check": ["sleep", "60"], "timeout": "2s"}
    targeted(certified, docker, web, containers=["web"], mode="exec", **hangs)
    late = certified.run("rotate", "web", "--force")
    assert "sleep in the container web does not end in time" in late.stderr
    targeted(certified, docker, web, containers=["web"])
    docker.run("pause", "web")
    held = certified.run("rotate", "web", "--force")
    docker.run("unpause", "web")
    assert "the container web is paused (docker unpause web)" in held.stderr
    targeted(certified, docker, web, containers=["web"], host="unix:///nowhere/docker.sock")
    away = certified.run("rotate", "web", "--force")
    assert "unix:///nowhere/docker.sock cannot" in away.stderr
    assert "does dockerd run there?" in away.stderr
    assert certified.generations("web") == [1]


USER, SOCKET, SHARED, NGINX = 64_998, 64_997, 64_996, 101
"""certrotd's user; the group of the engine's socket, and one that a container shares with it."""


class Unprivileged:
    """certrotd as a user of its own, who is in these groups alone, in a ``folder`` of root's."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self.site = site = Site(folder / "site")
        socket = docker.host.removeprefix("unix://")
        docker.directory.chmod(0o711)
        os.chown(socket, 0, SOCKET)
        folder.chmod(0o755)
        os.chown(site.directory, USER, USER)

    def rotate(self, *arguments: str, groups: Sequence[int] = (SOCKET, SHARED), expect: int) -> Run:
        """Of all; it must end like that."""
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}"]
        user += [f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"]
        run = self.site.start("rotate", "--all", "--json", *arguments, within=user).end()
        assert run.code == expect, f"exit code {run.code}\n{run.stdout}{run.stderr}"
        return run


@pytest.fixture
def unprivileged(docker: Docker) -> Iterator[Unprivileged]:
    """Not below pytest's own folder, which only root may enter."""
    with tempfile.TemporaryDirectory() as folder:
        yield Unprivileged(docker, Path(folder))


def test_neither_certrotd_nor_the_container_is_root(
    docker: Docker, unprivileged: Unprivileged, containers: Callable[..., Web]
) -> None:
    """A key gets to another user by a group that both are in, or by the engine."""
    certrotd, site = unprivileged, unprivileged.site
    site.internal()
    certificate = site.certificate("web", HOST)
    copies = site.directory / "copies"
    copies.mkdir()
    os.chown(copies, USER, USER)
    files = {name: str(copies / f"{name}.pem") for name in ("fullchain", "privkey")}
    certificate["install"] = [{**files, "group": str(SHARED), "mode": "0640"}]
    certrotd.rotate(expect=0)
    web, same, own = containers("web", "/srv"), containers("same"), containers("own", "/srv")
    for each in (web, same, own):
        paths = "".join(
            f"{what}_temp_path /tmp/{what};"
            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = each.config.read_text()
        each.config.write_text(text.replace("access_log off;", f"access_log off; {paths}"))
    web.start(f"--user={NGINX}", f"--group-add={SHARED}", f"--volume={copies}:/srv:ro")
    same.start(f"--user={USER}", f"--volume={folder(site)}")
    waits = "until test -r /srv/privkey.pem; do sleep 0.1; done; exec nginx"
    docker.run(
        *("run", "--detach", "--name=own", "--network=host", f"--user={NGINX}"),
        *("--volume", f"{own.config}:/etc/nginx/nginx.conf", IMAGE, "/bin/sh", "-c", waits),
    )
    checked = {"check": ["nginx", "-t"], "mode": "exec", "command": ["nginx", "-s", "reload"]}
    targeted(site, docker, web, same, containers=["web", "same"], **checked)
    site.config["targets"]["copies"] = {
        "type": "docker",
        "host": docker.host,
        "containers": ["own"],
        "probe": [own.probe],
        "copy_to": {"folder": "/srv", "owner": NGINX},
    }
    certificate["targets"] = ["box", "copies"]
    certrotd.rotate("--force", expect=0)
    serials = [each.serial for each in (web, same, own)]
    assert serials == [site.leaf("web").serial_number] * 3

    certificate["install"][0]["mode"] = "0600"
    unread = certrotd.rotate("--force", expect=1).row("web")["why"]
    assert "nginx -t in the container web ended with exit code 1: " in unread
    assert "Permission denied" in unread
    assert "rolled back" in unread
    denied = certrotd.rotate("--force", groups=[SHARED], expect=1).row("web")["why"]
    assert "the user certrotd runs as may not open its socket" in denied
    strange = certrotd.rotate("--force", groups=[SOCKET], expect=1).row("web")["why"]
    assert f"user {USER} is not in group {SHARED}" in strange
    assert [each.serial for each in (web, same, own)] == serials
    certificate["install"][0]["mode"] = "0640"
    certrotd.rotate(expect=0)
    assert web.serial == same.serial == own.serial != serials[0]
