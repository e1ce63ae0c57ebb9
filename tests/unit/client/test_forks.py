"""A forked process has its own instance, counts and locks: nothing shared could hang it."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certrotd.client import KeyringClosed, forking
from certrotd.client.background import Background
from tests.parts.process import wait_until
from tests.unit.client.sealed import AAD, Sealed
from tests.unit.client.test_following import heard


def forked(act: Callable[[], Any]) -> Any:
    """What ``act`` returns in a forked child, as JSON has it; its failure is this process's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = {"is": act()}
        except BaseException:  # noqa: BLE001  # the parent shows it
            told = {"failed": traceback.format_exc()}
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        told = json.loads(file.read())
    os.waitpid(child, 0)
    assert "is" in told, told
    return told["is"]


@pytest.mark.parametrize("thread", [True, False])
def test_a_child_encrypts_as_an_instance_of_its_own(sealed: Sealed, thread: bool) -> None:
    """Its counts begin with nothing, and its heartbeat is another file."""
    beats = sealed.directory / "beats"
    beats.mkdir()
    with sealed.open(background=thread, client="shop", heartbeats=beats, every=1e6) as keyring:
        mine = [keyring.encrypt(b"text", associated_data=AAD) for _ in range(3)]

        def child() -> Any:
            before = keyring._openers
            theirs = [keyring.encrypt(b"text", associated_data=AAD).hex() for _ in range(2)]
            plaintext = keyring.decrypt(mine[0], associated_data=AAD).decode()
            instances = [each.instance for each in heard(beats)]
            counts = keyring._usages[1].messages, keyring._usages[1].before
            instance, alive = keyring._instance, keyring._background is not None
            keyring.close()
            return dict(before), theirs, plaintext, instances, counts, instance, alive

        before, theirs, plaintext, instances, counts, instance, alive = forked(child)
        assert before == {}
        assert plaintext == "text"
        assert alive is thread
        assert instance != keyring._instance
        assert sorted(instances) == sorted([instance, keyring._instance])
        assert counts == [2, 3]
        assert keyring._usages[1].messages == 3
        nonces = {each[5:17] for each in mine} | {bytes.fromhex(each)[5:17] for each in theirs}
        assert len(nonces) == 5
        assert [each.instance for each in heard(beats)] == [keyring._instance]


def test_a_child_looks_for_new_keys_before_it_uses_old_ones(sealed: Sealed) -> None:
    """It may have slept through a whole rotation."""
    with sealed.open(background=True) as keyring:

        def child() -> Any:
            sealed.generate()
            sealed.activate(2)
            return keyring.encrypt(b"text", associated_data=AAD).hex()

        assert bytes.fromhex(forked(child))[:5] == b"\x01\xff\xff\xff\xff"


def test_a_child_goes_on_with_the_keys_it_has_where_there_are_no_others(sealed: Sealed) -> None:
    """As its parent would."""
    with sealed.open(background=True) as keyring:
        ciphertext = keyring.encrypt(b"text", associated_data=AAD)
        sealed.path.unlink()

        def child() -> Any:
            plaintext = keyring.decrypt(ciphertext, associated_data=AAD).decode()
            return plaintext, len(sealed.troubles)

        assert forked(child) == ["text", 1]


def test_a_grandchild_counts_what_its_ancestors_have_encrypted(sealed: Sealed) -> None:
    """The limit of a key is for all of them; none of them knows better."""
    with sealed.open(background=True) as keyring:
        keyring.encrypt(b"text", associated_data=AAD)

        def child() -> Any:
            keyring.encrypt(b"text", associated_data=AAD)

            def grandchild() -> Any:
                keyring.encrypt(b"text", associated_data=AAD)
                return keyring._usages[1].before, keyring._usages[1].messages

            return forked(grandchild)

        assert forked(child) == [2, 1]


def test_a_lock_that_is_held_during_a_fork_hangs_no_child(sealed: Sealed) -> None:
    """The thread that held it is not there to let it go."""
    with sealed.open(background=True) as keyring:
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with keyring._lock:
                held.set()
                release.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(60)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of threads and forks, from Python 3.12 on
                size = forked(lambda: len(keyring.encrypt(b"text", associated_data=AAD)))
            assert size == 37
        finally:
            release.set()
            thread.join()


def test_the_thread_of_the_parent_goes_on_after_a_fork(sealed: Sealed) -> None:
    """It is not running while the process is copied, and is again when that is done."""
    with sealed.open(background=True, clock=None, refresh=0.02) as keyring:
        forked(lambda: None)
        sealed.generate()
        wait_until(lambda: keyring.delivery_hash == sealed.delivery.hash)


def test_a_parent_that_has_no_thread_left_looks_when_it_is_used(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not stay with old keys for ever."""

    def none(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    with sealed.open(background=True) as keyring:
        old = keyring.encrypt(b"text", associated_data=AAD)
        with monkeypatch.context() as short:
            short.setattr(Background, "resume", none)
            forked(lambda: None)
            assert keyring._openers == {}
            sealed.generate()
            sealed.activate(2)
            assert keyring.needs_reencryption(old)


def test_a_keyring_that_is_closed_stays_closed_in_a_child(sealed: Sealed) -> None:
    """Nothing of it comes to life again."""
    keyring = sealed.open(background=True)
    forking.register(keyring)
    keyring.close()
    forking.register(keyring)

    def child() -> Any:
        with pytest.raises(KeyringClosed):
            keyring.encrypt(b"text", associated_data=AAD)
        return "closed"

    assert forked(child) == "closed"
    forking.unregister(keyring)


def test_a_process_that_ends_takes_leave(sealed: Sealed, tmp_path: Path) -> None:
    """Its heartbeat does not stay to hold the next rotation up, though it closed nothing."""
    import subprocess

    beats = tmp_path / "beats"
    beats.mkdir()
    program = (
        "import os, sys\n"
        "from certrotd.client import Keyring\n"
        f"keyring = Keyring.open({str(sealed.path)!r}, kek={str(sealed.kek.path)!r},\n"
        f"    client='shop', heartbeats={str(beats)!r})\n"
        f"print(len(os.listdir({str(beats)!r})))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "1\n"
    assert list(beats.iterdir()) == []
