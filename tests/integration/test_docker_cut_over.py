"""A container that holds one key is cut over by a real engine."""

from __future__ import annotations

import http.client
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.parts import locate
from tests.parts.docker import Docker
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site

IMAGE = "certrotd-test/python"
PROGRAM = Path(__file__).parents[1] / "cluster/one_key_app.py"
ROWS = 30


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """An engine that has an image with Python."""
    locate.require_root()
    root = locate.require_part("systemd-base") / "rootfs.tar"
    with Docker() as engine:
        engine.run("import", root, IMAGE)
        yield engine


def cipher(key: Path) -> Fernet:
    """By the key that the application would read now."""
    [line] = [each for each in key.read_text().splitlines() if "ENCRYPTION_KEY=" in each]
    return Fernet(line.partition("=")[2].strip("'\""))


def serves(port: int) -> bool:
    """Whether the application reads what is stored."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", "/reads")
            return connection.getresponse().read() == b"readable"
    except (OSError, http.client.HTTPException):
        return False


def test_a_container_is_cut_over(site: Site, docker: Docker) -> None:
    """It is stopped, and started with the key that everything is under then."""
    data, port = site.directory / "data", free_port()
    (data / "keys").mkdir(parents=True)
    key, database = data / "keys/env", data / "app.db"
    output = {"type": "dotenv", "path": str(key), "key": "ENCRYPTION_KEY"}
    dataset = {"type": "sql", "url": f"sqlite:///{database}", "table": "secrets"}
    probe = {"http": f"http://127.0.0.1:{port}/reads", "contains": "readable"}
    site.config["keks"] = {"local": {"type": "file", "path": str(site.directory / "kek")}}
    site.config["keyrings"] = {
        "shop": {
            "algorithm": "fernet",
            "outputs": [{**output, "encoding": "base64url"}],
            "datasets": {"secrets": {**dataset, "columns": ["secret"], "codec": "fernet"}},
            "cutover": {"containers": {"names": ["app"], "host": docker.host}, "probe": probe},
        }
    }
    assert site.run("rotate", "key/shop").code == 0
    old = cipher(key)
    with closing(sqlite3.connect(database)) as lite, lite:
        lite.execute("create table secrets (id integer primary key, secret text)")
        tokens = [(n, old.encrypt(b"value %d" % n).decode()) for n in range(ROWS)]
        lite.executemany("insert into secrets values (?, ?)", tokens)
    mounts = ("--volume", f"{data}:{data}", "--volume", f"{PROGRAM}:/app.py:ro")
    named = ("--detach", "--name", "app", "--network", "host", "--user", "0", "--init")
    argv = ("python3", "/app.py", str(port), str(key), str(database))
    docker.run("run", *named, *mounts, IMAGE, *argv)
    wait_until(lambda: serves(port), what="the application serves")
    started = docker.run("inspect", "--format={{.State.StartedAt}}", "app")
    ran = site.run("keys", "rotate", "shop", "--reason", "test")
    assert ran.code == 0, ran
    assert "the application was stopped for" in ran.stdout
    assert serves(port)
    assert docker.run("inspect", "--format={{.State.StartedAt}}", "app") != started
    now = cipher(key)
    with closing(sqlite3.connect(database)) as lite:
        rows = lite.execute("select secret from secrets order by id").fetchall()
    assert [now.decrypt(each.encode()) for (each,) in rows] == [
        b"value %d" % n for n in range(ROWS)
    ]
