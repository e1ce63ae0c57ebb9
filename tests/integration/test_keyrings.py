"""Three processes of one application store and read messages through a whole rotation of its key.

Old and new configurations of the keys stand side by side meanwhile, and nothing may fail to be
decrypted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from demo.key_stage import CERTROTD, NAMES, KeyStage, own_keys
from tests.parts.process import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(params=["tink", "dotenv"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStage]:
    """A ring and an application with two slots."""
    with ExitStack() as stack:
        stage = KeyStage(tmp_path, stack, form=request.param)
        adopted = stage.certrotd("keys", "adopt", "messages", quiet=True)
        assert adopted.returncode == 0, adopted.stdout
        yield stage


def test_no_read_fails_through_a_whole_rotation_under_load(stage: KeyStage) -> None:
    """Every process writes and reads all the time, and each is told at another moment."""
    stage.read_on()
    ran = stage.certrotd("keys", "rotate", "messages", "--reason", "test", quiet=True)
    assert ran.returncode == 0, ran.stdout
    stage.read_on()
    assert stage.versions() == {1: "decrypt-only", 2: "active"}
    assert stage.failures() == []
    assert all(good > 100 for good, _, _ in stage.results().values())


def test_a_key_that_is_activated_before_it_is_distributed_breaks_reads(stage: KeyStage) -> None:
    """The negative control: the same load notices what certrotd never does."""
    stage.read_on()
    if stage.form == "tink":
        told, other = json.loads(stage.keys.read_bytes()), json.loads(own_keys("tink"))
        told |= {"key": told["key"] + other["key"], "primaryKeyId": other["primaryKeyId"]}
        stage.keys.write_text(json.dumps(told))
    else:
        lines = stage.keys.read_text().replace("KEY_VERSION=v1", "KEY_VERSION=v2")
        new = own_keys("dotenv").decode().split("KEY_V1=")[1].split("\n")[0]
        stage.keys.write_text(lines.replace("KEY_V2=", f"KEY_V2={new}"))
    os.kill(stage.processes[0].pid, signal.SIGHUP)
    wait_until(lambda: bool(stage.failures()), within=60, what="a read fails")


def test_a_process_that_hangs_holds_the_rotation_and_it_goes_on_after(stage: KeyStage) -> None:
    """Nothing is activated meanwhile; a daemon goes on by itself once it is woken."""
    deaf = stage.processes[-1]
    deaf.deafen()
    ran = stage.certrotd("keys", "rotate", "messages", "--reason", "test", quiet=True)
    assert "waits for the acknowledgement of web-2" in ran.stdout
    assert stage.versions()[2] == "secondary"
    with daemon(stage):
        deaf.go_on()
        wait_until(lambda: _confirmed(stage), within=60, what="the process has read its keys")
        assert stage.certrotd("wake", "key/messages", quiet=True).returncode == 0
        wait_until(lambda: stage.versions()[2] == "active", within=60, what="the activation")
    stage.read_on()
    assert stage.failures() == []


def _confirmed(stage: KeyStage) -> bool:
    said = {(stage.directory / f"{name}.ack").read_text() for name in NAMES}
    return len(said) == 1


def test_a_rollback_after_the_activation_breaks_no_read(stage: KeyStage) -> None:
    """What was written with the new key meanwhile stays readable for everybody."""
    assert stage.certrotd("keys", "rotate", "messages", "--reason", "x", quiet=True).returncode == 0
    stage.read_on()
    ran = stage.certrotd("keys", "rollback", "messages", quiet=True)
    assert ran.returncode == 0, ran.stdout
    assert stage.versions() == {1: "active", 2: "secondary"}
    stage.read_on()
    assert stage.failures() == []


@contextmanager
def daemon(stage: KeyStage) -> Iterator[None]:
    """``certrotd run`` on the stage's configuration."""
    process = subprocess.Popen(
        [CERTROTD, "-c", str(stage.config), "run"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
