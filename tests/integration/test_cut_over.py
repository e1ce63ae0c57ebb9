"""An application that holds one key is cut over to another one, or all of it is undone.

With CERTROTD_DEMAND=all, certrotd is killed at each of the lines that it says.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.one_key_shop import Client, OneKeyShop
from tests.integration.test_keyring_crashes import killed_after
from tests.parts import Parts
from tests.parts.postgresql import PostgreSQL
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.integration
ROTATE = ("keys", "rotate", "shop", "--reason", "test")
LINES = range(1, 10) if os.environ.get("CERTROTD_DEMAND") == "all" else (4, 6, 7, 8)
"""certrotd is killed after so many lines: behind the stop, the swap, the start and so on."""


@pytest.fixture
def lite(site: Site) -> Iterator[OneKeyShop]:
    """The application runs under its first key, over SQLite."""
    shop = OneKeyShop(site)
    try:
        yield shop.begin()
    finally:
        shop.end()


@pytest.fixture
def postgres(site: Site, parts: Parts) -> Iterator[OneKeyShop]:
    """The same over PostgreSQL."""
    shop = OneKeyShop(site, parts.start(PostgreSQL))
    try:
        yield shop.begin()
    finally:
        shop.end()


def is_done_under_load(shop: OneKeyShop) -> None:
    """Requests fail only between the stop and the end, and nothing that was written is lost."""
    old = shop.is_whole()
    with Client(shop).at_work() as client:
        wait_until(lambda: client.done > 5)
        ran = shop.cut_over()
        ended, done = time.time(), client.done
        wait_until(lambda: client.done > done + 5)
    assert "the application was stopped for" in ran.stdout
    assert shop.is_whole() != old
    assert shop.versions() == {1: "decrypt-only", 2: "active"}
    assert client.wrong == []
    assert client.failed, "the control"
    [stopped] = shop.told("stop")
    assert all(stopped <= at <= ended for at in client.failed)
    for row, value in client.written.items():
        assert shop.ask("GET", f"/{row}") == (200, value)


def test_requests_to_an_application_over_sqlite_fail_only_while_it_is_stopped(
    lite: OneKeyShop,
) -> None:
    """Then the census of the running database lets the old key go."""
    is_done_under_load(lite)
    assert lite.run("rotate", "key/shop").code == 0
    assert lite.run("rotate", "key/shop").code == 0
    assert lite.versions() == {1: "retired", 2: "active"}
    ran = lite.run("keys", "rollback", "shop")
    assert ran.code == 1
    assert "a cut-over that is done is not undone" in ran.stdout + ran.stderr
    lite.is_whole()


def test_requests_to_an_application_over_postgresql_fail_only_while_it_is_stopped(
    postgres: OneKeyShop,
) -> None:
    """And then the server is killed while the application is stopped: the cut-over waits for it."""
    is_done_under_load(postgres)
    server, old = postgres.server, postgres.is_whole()
    assert server is not None
    after = postgres.folder / "after-stop"
    after.touch()
    started = postgres.site.start(*ROTATE)
    wait_until(lambda: len(postgres.told("stop")) == 2)
    server.kill()
    after.unlink()
    time.sleep(0.5)  # it meets a server that is away, if it is quick
    server.start()
    ran = started.end()
    assert ran.code == 0, ran
    assert postgres.is_whole() != old


def test_a_kill_of_certrotd_ends_wholly_old_or_wholly_new(lite: OneKeyShop) -> None:
    """Whatever it said last; the next run ends it, and the application serves."""
    keys = {lite.is_whole()}
    for line in LINES:
        killed_after(lite.site, line, *ROTATE)
        assert lite.run("rotate", "key/shop").code == 0
        keys.add(lite.is_whole())
    assert len(keys) > len(LINES) // 2, "the control: some went forward"
    assert list(lite.versions().values()).count("active") == 1


def test_what_is_in_the_way_is_said_before_the_application_is_stopped(lite: OneKeyShop) -> None:
    """A value that does not open, a probe that does not answer, a table that is not there."""
    old = lite.is_whole()
    [(value,)] = lite.execute("select secret from secrets where id = 30")
    lite.execute("update secrets set secret = ? where id = 30", value[:-8] + "AAAAAA==")
    for arguments in (ROTATE, ("keys", "rotate", "shop", "--dry-run")):
        ran = lite.run(*arguments)
        assert ran.code == 1
        assert "secret of row 30" in ran.stdout + ran.stderr
    lite.execute("update secrets set secret = ? where id = 30", value)
    ran = lite.run("keys", "rotate", "shop", "--dry-run")
    assert ran.code == 0, ran
    assert "60 rows would be re-encrypted, and the application stopped for at least" in ran.stdout
    probe = lite.entry["cutover"]["probe"]
    right = dict(probe)
    probe["contains"] = "something else"
    ran = lite.cut_over(code=1)
    assert "does not contain" in ran.stdout
    probe |= right
    dataset = lite.entry["datasets"]["secrets"]
    dataset["table"] = "elsewhere"
    assert "there is no table elsewhere" in lite.cut_over(code=1).stdout
    dataset["table"] = "secrets"
    assert lite.told("stop") == []
    assert lite.is_whole() == old


def _no_stop(shop: OneKeyShop) -> str:
    (shop.folder / "no-stop").touch()
    return "stop.sh exited with 9"


def _no_start(shop: OneKeyShop) -> str:
    (shop.folder / "no-stop").unlink()
    shutil.copy(shop.key, shop.folder / "only")
    return "start.sh exited with 7"


def _wrong_probe(shop: OneKeyShop) -> str:
    was = shop.folder / "only"
    was.rename(shop.folder / "was")
    argv = ["/usr/bin/cmp", str(shop.key), str(shop.folder / "was")]
    shop.entry["cutover"]["probe"] = {"command": argv, "within": "1s"}
    return "the application does not show that it reads"


def test_what_fails_is_undone(lite: OneKeyShop) -> None:
    """The application serves under its old key, and is not stopped again by itself for a day."""
    old = lite.is_whole()
    for fault in (_no_stop, _no_start, _wrong_probe):
        why = fault(lite)
        ran = lite.cut_over(code=1)
        assert why in ran.stdout
        assert "rolled back to proven; the application was stopped for" in ran.stdout
        wait_until(lite.serves)
        assert lite.is_whole() == old
    stops = len(lite.told("stop"))
    assert "held after" in lite.run("rotate", "--all").stdout
    assert len(lite.told("stop")) == stops


def test_a_stop_of_certrotd_undoes_it(lite: OneKeyShop) -> None:
    """SIGTERM: the application is not left stopped until somebody starts certrotd."""
    old = lite.is_whole()
    after = lite.folder / "after-stop"
    after.touch()
    started = lite.site.start(*ROTATE)
    wait_until(lambda: bool(lite.told("stop")))
    started.signal(signal.SIGTERM)
    threading.Timer(0.3, after.unlink).start()
    ran = started.end()
    assert "Traceback" not in ran.stderr
    assert lite.is_whole() == old
