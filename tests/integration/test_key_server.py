"""Applications have their keys from the daemon's socket, and their heartbeats acknowledge them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from demo.key_stage import CERTROTD
from tests.parts.process import wait_until

pytestmark = pytest.mark.integration

APP = """
import sys, time
from certrotd.client import Keyring

keyring = Keyring.open("unix:{socket}", name="orders", client="app", refresh=0.2, every=0.2)
box = open({box!r}, "ab", buffering=0)
seen = 0
while True:
    value = keyring.encrypt(b"card", associated_data=b"orders")
    assert keyring.decrypt(value, associated_data=b"orders") == b"card"
    box.write(value.hex().encode() + b"\\n")
    for line in open({box!r}, "rb").read().splitlines()[seen:][-200:]:
        if len(line) > 60:
            value = bytes.fromhex(line.decode())
            assert keyring.decrypt(value, associated_data=b"orders") == b"card"
    time.sleep(0.02)
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two processes of one application, by their heartbeats over the socket."""
    (tmp_path / "run").mkdir(mode=0o700)
    path = tmp_path / "certrotd.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        state_dir: {tmp_path}/state
        keks: {{local: {{type: file, path: {tmp_path}/kek}}}}
        key_server: {{socket: {tmp_path}/run/keys.sock}}
        keyrings:
          orders:
            readers: {{users: [root]}}
            consumers:
              app:
                acknowledge: {{heartbeat: socket, instances: 2, stale: 5s}}
        """)
    )
    return path


def certrotd(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line on that configuration."""
    argv = [CERTROTD, "-c", str(config), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def states(config: Path) -> dict[int, str]:
    [row] = json.loads(certrotd(config, "keys", "list", "--json").stdout)
    return {each["version"]: each["state"] for each in row["versions"]}


@contextmanager
def application(config: Path, box: Path) -> Iterator[subprocess.Popen[str]]:
    """One process that never rests; that it ended is a failure."""
    source = APP.format(socket=config.parent / "run/keys.sock", box=str(box))
    process = subprocess.Popen(
        [sys.executable, "-c", source], stderr=subprocess.PIPE, text=True, cwd="/"
    )
    try:
        yield process
        assert process.poll() is None, process.communicate()[1]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[str]]:
    """``certrotd run``."""
    process = subprocess.Popen(
        [CERTROTD, "-c", str(config), "run"], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_processes_follow_a_rotation_over_the_socket(
    config: Path, tmp_path: Path, as_root: None
) -> None:
    """Both read what the other writes, all the time, and their heartbeats carry the rotation."""
    first = certrotd(config, "rotate", "key/orders")
    assert "waits for the acknowledgement of app" in first.stdout
    socket, box = tmp_path / "run/keys.sock", tmp_path / "box"
    with daemon(config), ExitStack() as stack:
        wait_until(socket.exists, what="the socket is there")
        for _ in range(2):
            stack.enter_context(application(config, box))
        wait_until(lambda: box.exists() and box.stat().st_size > 2000, what="load")
        assert certrotd(config, "wake", "key/orders").returncode == 0
        wait_until(lambda: states(config) == {1: "active"}, within=60, what="version 1 is active")
        wait_until(
            lambda: not json.loads(certrotd(config, "status", "--json").stdout)[0]["in_flight"],
            within=120,
            what="the first rotation ends",
        )
        asked = certrotd(config, "keys", "rotate", "orders", "--reason", "test")
        assert asked.returncode == 0, asked.stdout + asked.stderr
        wait_until(
            lambda: (
                certrotd(config, "wake", "key/orders").returncode == 0
                and states(config) == {1: "decrypt-only", 2: "active"}
            ),
            within=120,
            what="version 2 is active",
        )
        size = box.stat().st_size
        wait_until(lambda: box.stat().st_size > size + 5000, what="they go on")


def test_a_user_who_is_not_a_reader_is_given_nothing(
    config: Path, tmp_path: Path, as_root: None
) -> None:
    """Whatever the mode of the socket lets in."""
    text = config.read_text().replace("users: [root]", "users: [nobody]")
    config.write_text(text)
    certrotd(config, "rotate", "key/orders")
    socket = tmp_path / "run/keys.sock"
    with daemon(config):
        wait_until(socket.exists, what="the socket is there")
        source = (
            "from certrotd.client import Keyring, NotPermitted\n"
            f"try:\n    Keyring.open('unix:{socket}', name='orders', client='app')\n"
            "except NotPermitted as error:\n    print('refused', error)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, check=False
        )
    assert ran.stdout.startswith("refused"), ran.stderr
