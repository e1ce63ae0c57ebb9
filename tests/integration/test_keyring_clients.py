"""Processes that share data under one keyring, through a whole rotation and over the socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import certrotd.client.asking  # noqa: F401  # another user may not read where modules are
from certrotd.client import Keyring, NotPermitted
from certrotd.clock import SystemClock
from certrotd.keyring import heartbeat
from certrotd.keyring.heartbeat import Heartbeat, Merged, merged
from certrotd.keyserver.server import Peer
from tests.parts.process import wait_until
from tests.unit.client.sealed import AAD, Sealed
from tests.unit.client.test_forks import forked
from tests.unit.keyserver.serving import Daemon, serving

PROGRAM = """
import os, sys, time
from pathlib import Path
from certrotd.client import Keyring
keyring_path, kek, beats, box, name = sys.argv[1:]
box = Path(box)
failures = reads = number = 0
with Keyring.open(keyring_path, kek=kek, client=name, heartbeats=beats, refresh=0.05) as keyring:
    while not (box / "stop").exists():
        number += 1
        new = box / f".{name}"
        new.write_bytes(keyring.encrypt(name.encode(), associated_data=b"box"))
        os.rename(new, box / f"{name}.{number % 20}")
        for each in box.glob("[a-z]*.*"):
            try:
                if keyring.decrypt(each.read_bytes(), associated_data=b"box"):
                    reads += 1
            except Exception as error:
                failures += 1
        time.sleep(0.002)
print(failures, reads)
"""


@contextlib.contextmanager
def running(sealed: Sealed, names: dict[str, Path]) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each name, with the keyring at that path; all of them write and read."""
    beats, box = sealed.directory / "beats", sealed.directory / "box"
    beats.mkdir()
    box.mkdir()
    command = [sys.executable, "-c", PROGRAM]
    common = [str(sealed.kek.path), str(beats), str(box)]
    processes = [
        subprocess.Popen([*command, str(path), *common, name], stdout=subprocess.PIPE, text=True)
        for name, path in names.items()
    ]
    try:
        wait_until(lambda: len(list(box.glob("*.1"))) == len(names))
        yield processes
    finally:
        (box / "stop").touch()
        for each in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.wait(60)
            each.kill()
            each.wait()


def together(sealed: Sealed) -> Merged:
    """What the processes say of the delivery that is in the document now."""
    beats: list[Heartbeat] = []
    for each in (sealed.directory / "beats").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            beats.append(heartbeat.parse(each.read_bytes()))
    return merged(
        beats,
        keyring="orders",
        expected=sealed.delivery.hash,
        now=SystemClock().now(),
        stale=timedelta(minutes=3),
    )


def acknowledged(sealed: Sealed, clients: int) -> None:
    """Wait until all of them have what is in the document."""

    def all_have_it() -> bool:
        found = together(sealed)
        return not found.lacking and len(found.having) == clients

    wait_until(all_have_it)


def told(processes: list[subprocess.Popen[str]], sealed: Sealed) -> list[tuple[int, int]]:
    """Failed and good decryptions of each process, which end now."""
    (sealed.directory / "box" / "stop").touch()
    lines = [each.communicate(timeout=60)[0].split() for each in processes]
    return [(int(failures), int(reads)) for failures, reads in lines]


def test_no_read_fails_through_a_whole_rotation(tmp_path: Path) -> None:
    """Three processes write and read each other's data while the key changes twice."""
    sealed = Sealed(tmp_path)
    names = dict.fromkeys(("one", "two", "three"), sealed.path)
    with running(sealed, names) as processes:
        acknowledged(sealed, 3)
        for number in (2, 3):
            sealed.generate()
            acknowledged(sealed, 3)
            sealed.activate(number)
            acknowledged(sealed, 3)
            prefix = (b"\x01\xff\xff\xff\xff", b"\x01\x30\x30\x30\x30")[number - 2]
            box = tmp_path / "box"
            wait_until(lambda: all(e.read_bytes()[:5] == prefix for e in box.glob("[a-z]*.*")))  # noqa: B023
            sealed.destroy(number - 1)
            acknowledged(sealed, 3)
        counts = told(processes, sealed)
    assert all(failures == 0 for failures, _ in counts), counts
    assert all(reads > 100 for _, reads in counts)
    assert list((tmp_path / "beats").iterdir()) == []


def test_a_key_that_encrypts_before_it_is_distributed_fails_reads(tmp_path: Path) -> None:
    """The control: a process that was left out says so, and by that an activation is held."""
    sealed = Sealed(tmp_path)
    copy = tmp_path / "copy.keyring"
    shutil.copy(sealed.path, copy)
    with running(sealed, {"one": sealed.path, "two": copy}) as processes:
        acknowledged(sealed, 2)
        sealed.generate()
        wait_until(lambda: [each.client for each in together(sealed).lacking] == ["two"])
        assert together(sealed).lacking
        sealed.activate(2)
        wait_until(lambda: [each.client for each in together(sealed).having] == ["one"])
        box = tmp_path / "box"
        wait_until(lambda: any(e.read_bytes()[:2] == b"\x01\xff" for e in box.glob("one.*")))
        wait_until(lambda: _more(box))
        [(first, _), (second, _)] = told(processes, sealed)
    assert first == 0
    assert second > 0


def _more(box: Path) -> bool:
    """Whether the second process has written since the first one has the new key."""
    newest = max(each.stat().st_mtime for each in box.glob("two.*"))
    return newest > min(
        each.stat().st_mtime for each in box.glob("one.*") if each.read_bytes()[:2] == b"\x01\xff"
    )


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="certrotd-test-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


def as_user(uid: int, act: Callable[[], Any]) -> Any:
    """What ``act`` returns in a process of another user."""

    def child() -> Any:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return act()

    return forked(child)


@pytest.mark.usefixtures("as_root")
def test_another_user_is_given_the_keyring_that_it_may_read(tmp_path: Path, public: Path) -> None:
    """And a third one is not; the kernel says who asks, whatever the process says."""
    sealed, path = Sealed(tmp_path), public / "s"
    daemon = Daemon(sealed, readers={4711})

    def use() -> Any:
        more: dict[str, Any] = {"name": "orders", "client": "shop", "background": False}
        try:
            with Keyring.open(f"unix:{path}", **more) as keyring:
                return keyring.encrypt(b"text", associated_data=AAD).hex()
        except NotPermitted as refused:
            return str(refused)

    with serving(path, daemon, mode=0o666):
        ciphertext = bytes.fromhex(as_user(4711, use))
        refusal = as_user(4712, use)
    assert "may not read it" in refusal
    assert {peer.uid for peer in daemon.asked} == {4711, 4712}
    assert [(peer.uid, peer.gid) for _, peer in daemon.heard] == [(4711, 4711)]
    [(last, _)] = daemon.left
    assert last.counts == {1: (1, 4)}
    with sealed.open() as keyring:
        assert keyring.decrypt(ciphertext, associated_data=AAD) == b"text"


@pytest.mark.usefixtures("as_root")
def test_the_mode_of_the_socket_keeps_others_out(tmp_path: Path, public: Path) -> None:
    """Before the server is asked anything."""
    daemon = Daemon(Sealed(tmp_path), readers={4711})

    def use() -> Any:
        try:
            Keyring.open(f"unix:{public}/s", name="orders", client="shop")
        except NotPermitted as refused:
            return str(refused)
        return "opened"

    with serving(public / "s", daemon, mode=0o600):
        assert "may not connect" in as_user(4711, use)
    assert daemon.asked == []


@pytest.mark.usefixtures("as_root")
def test_one_user_that_is_hostile_harms_no_other(tmp_path: Path, public: Path) -> None:
    """It holds all the connections that it can have, and others are answered."""
    import socket

    sealed, path = Sealed(tmp_path), public / "s"
    daemon = Daemon(sealed)

    def hoard() -> Any:
        clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        for each in clients:
            each.settimeout(10)
            each.connect(str(path))
        Path("/proc/self/comm").read_text()
        return [len(clients), _used(path)]

    def _used(path: Path) -> bool:
        try:
            Keyring.open(f"unix:{path}", name="orders", client="shop", background=False)
        except Exception as error:  # noqa: BLE001  # whichever it is
            return "too many connections" in str(error)
        return False

    with serving(path, daemon, mode=0o666):
        assert as_user(4711, hoard) == [40, True]
        more: dict[str, Any] = {"name": "orders", "client": "shop", "background": False}
        with Keyring.open(f"unix:{path}", **more) as keyring:
            assert keyring.encrypt(b"text", associated_data=AAD)
    assert Peer(os.getpid(), 0, 0) in daemon.asked
