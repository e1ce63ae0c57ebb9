"""Keyrings and SIGKILL, full disks, and others who work on the same one at the same time."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.daemon import reload, running
from tests.integration.keyring_shop import Shop
from tests.integration.test_small_disk import Disk, disk, fill
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.integration
__all__ = ["disk"]  # a fixture
ROTATE = ("keys", "rotate", "orders", "--reason", "test")
STEPS = 16
"""Lines that a rotation of two waves prints."""


@pytest.fixture
def shop(site: Site) -> Shop:
    """A keyring whose first key is in use."""
    shop = Shop(site)
    assert shop.run("rotate", "key/orders").code == 0
    return shop


def settled(shop: Shop) -> None:
    """The next run finishes what a kill left, or undoes it; another rotation works then."""
    ran = shop.run("rotate", "key/orders")
    if "nothing was changed" in ran.stdout:  # what failed was undone, which is said once
        ran = shop.run("rotate", "key/orders")
    assert ran.code == 0, ran
    states = sorted(shop.is_whole().values())
    assert "secondary" not in states, ran
    left = list(shop.folder.rglob("*.certrotd-*"))
    assert left == []


def killed_after(site: Site, lines: int, *arguments: str) -> None:
    """The program, killed once it has said so many lines."""
    site.write()
    argv = site.command_line(*arguments)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        for _ in range(lines):
            process.stderr.readline()
        process.kill()


@pytest.mark.parametrize("part", range(4))
def test_a_kill_after_each_step_leaves_all_of_it_whole(shop: Shop, part: int) -> None:
    """The real program is killed at the line that says a step is done; the next run goes on."""
    for step in range(1 + part, STEPS + 1, 4):
        killed_after(shop.site, step, *ROTATE)
        shop.have_each_others_keys()
        settled(shop)


def test_a_kill_at_any_moment_leaves_all_of_it_whole(shop: Shop) -> None:
    """After delays that grow, from before the first effect to after the last."""
    for tenth in range(3, 21, 3):
        process = shop.site.start(*ROTATE)
        time.sleep(tenth / 10)
        process.signal(signal.SIGKILL)
        process.end()
        shop.have_each_others_keys()
        settled(shop)


def test_a_kill_at_the_first_rotation_and_at_adoption_loses_no_key(site: Site) -> None:
    """A KEK without a keyring, a keyring without an output: the next run uses what is there."""
    shop = Shop(site)
    for step in (1, 2, 3, 5):
        killed_after(shop.site, step, "rotate", "key/orders")
        kek = shop.kek.read_bytes()
        settled(shop)
        assert shop.kek.read_bytes() == kek
        assert shop.versions() == {1: "active"}
        shutil.rmtree(site.state)
        for each in (shop.kek, shop.keys, shop.own("web"), shop.own("worker")):
            each.unlink()


# Disks.


@pytest.mark.parametrize("what", ["state", "output"])
def test_a_disk_that_is_full_at_any_step_loses_nothing(site: Site, disk: Disk, what: str) -> None:
    """Every amount of room between none and enough: it waits or goes back, and then goes on."""
    place = disk(400)
    if what == "state":
        site.state = place / "state"
        site.config["state_dir"] = str(site.state)
    shop = Shop(site)
    if what == "output":
        shop.keys = place / "keys.json"
        for name in ("worker", "web"):
            shop.application(name)
        shop.entry["outputs"][0]["path"] = str(shop.keys)
    assert shop.run("rotate", "key/orders").code == 0
    failures = 0
    for leave in (0, 1, 3, 6):
        filler = fill(place, leave=leave)
        ran = shop.rotate(code=None)
        failures += ran.code != 0
        if ran.code:
            assert "No space left on device" in ran.stdout + ran.stderr, ran
        shop.have_each_others_keys()
        filler.unlink()
        settled(shop)
    assert failures, "the control"


# Others.


def test_two_daemons_and_a_rotation_by_hand_beside_one_do_not_meet(shop: Shop) -> None:
    """The second daemon is refused; a person's rotation has the keyring to itself."""
    with running(shop.site) as daemon:
        second = shop.site.run("run")
        assert second.code != 0
        assert "Traceback" not in second.stderr
        shop.rotate()
        assert shop.is_whole() == {1: "decrypt-only", 2: "active"}
        processes = [shop.site.start(*ROTATE) for _ in range(3)]
        ended = [each.end() for each in processes]
        assert any(each.code == 0 for each in ended), ended
        for each in ended:
            assert "Traceback" not in each.stderr, each
        assert list(shop.is_whole().values()).count("active") == 1
        assert not daemon.is_over


def test_a_kek_that_is_added_wraps_at_the_next_write_and_the_old_one_can_leave(
    shop: Shop,
) -> None:
    """And a keyring whose only KEK leaves before that says which one it needs."""
    new = shop.folder / "kek-2"
    old = shop.site.config["keks"]["local"]
    shop.site.config["keks"] = {"second": {"type": "file", "path": str(new)}}
    ran = shop.rotate(code=1)
    assert "wrapped by local, and none of these KEKs is configured" in ran.stdout + ran.stderr
    shop.site.config["keks"]["local"] = old
    shop.rotate()
    assert new.exists()
    del shop.site.config["keks"]["local"]
    shop.kek.unlink()
    shop.rotate()
    assert list(shop.is_whole().values())[-1] == "active"


# The socket.


@pytest.fixture
def served(shop: Shop) -> Shop:
    """It is given over a socket, too."""
    shop.site.config["key_server"] = {"socket": str(shop.folder / "s" / "keys.sock")}
    shop.entry["readers"] = {"users": ["root"]}
    (shop.folder / "s").mkdir(mode=0o755)
    return shop


def listens(path: Path) -> bool:
    """Whether somebody is at the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(str(path)) == 0


def test_a_reload_with_another_socket_moves_the_keys_there(served: Shop) -> None:
    """And back, and away: nothing of the old one stays."""
    first, second = served.folder / "s" / "keys.sock", served.folder / "s" / "other.sock"
    with running(served.site) as daemon:
        wait_until(lambda: listens(first))
        served.site.config["key_server"]["socket"] = str(second)
        reload(served.site, daemon)
        wait_until(lambda: listens(second) and not first.exists())
        reload(served.site, daemon)
        daemon.wait_for("reloaded")
        wait_until(lambda: listens(second))
        del served.site.config["key_server"]
        reload(served.site, daemon)
        wait_until(lambda: not second.exists())


@pytest.mark.parametrize("way", ["occupied", "missing"])
def test_a_socket_that_cannot_be_had_is_said_and_nothing_else_ends(served: Shop, way: str) -> None:
    """Rotations go on, and a reload takes the socket once it can be had."""
    path = served.folder / "s" / "keys.sock"
    if way == "occupied":
        path.write_text("something")
    else:
        path.parent.rmdir()
    with running(served.site) as daemon:
        daemon.wait_for("cannot listen at unix:")
        served.rotate()
        if way == "occupied":
            assert path.read_text() == "something"
            path.unlink()
        else:
            path.parent.mkdir()
        reload(served.site, daemon)
        wait_until(lambda: listens(path))


def test_a_daemon_that_was_killed_leaves_no_socket_in_the_way(served: Shop) -> None:
    """The next one takes its place."""
    path = served.folder / "s" / "keys.sock"
    daemon = served.site.start("run")
    wait_until(lambda: listens(path))
    daemon.signal(signal.SIGKILL)
    daemon.end()
    assert path.is_socket()
    assert not listens(path), "the control"
    with running(served.site):
        wait_until(lambda: listens(path))
