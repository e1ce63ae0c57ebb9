"""Properties of the whole: any order of rotations and messages, and no key where it must not be."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.client import CodecError, Keyring, asking
from certrotd.errors import Failure
from certrotd.keyring.states import State
from certrotd.keyserver.wire import Provided
from tests.unit.client.sealed import AAD, NOW, Sealed, data_key
from tests.unit.keyserver.serving import Daemon, serving

STEPS = ["generate", "activate", "rollback", "count", "put back", "wait", "restart"]


class Rotating:
    """A keyring that is rotated in any order, and an application that uses it meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.sealed = Sealed(directory)
        self.keyring: Keyring = self.sealed.open()
        self.written: list[bytes] = []
        self.highest = self.sealed.keyring.revision

    def step(self, name: str) -> None:
        """One act, if the state of the keyring allows it."""
        sealed, versions = self.sealed, self.sealed.keyring.versions
        match name:
            case "generate" if versions.secondary is None and len(versions.all) < 3:
                sealed.generate()
            case "activate" if versions.secondary is not None:
                sealed.activate(versions.secondary.number)
            case "rollback" if versions.active is not None and versions.active.number > 1:
                if versions.secondary is None:
                    sealed.move(lambda each: each.rollback(at=NOW, why="slow"))
            case "count":
                sealed.count(1, 1)
            case "put back":
                old = sealed.path.read_bytes()
                sealed.count(1, 1)
                self.use()
                sealed.path.write_bytes(old)
                self.wait()
                self.use()
                sealed.write()
            case "wait":
                self.wait()
            case "restart":
                self.keyring.close()
                self.keyring = sealed.open()

    def wait(self) -> None:
        """Until it is time to look again, whatever was wrong."""
        self.sealed.clock.advance(timedelta(seconds=60))

    def use(self) -> None:
        """Everything that was ever written is read, and the revision never falls."""
        self.written.append(self.keyring.encrypt(b"text", associated_data=AAD))
        for each in self.written:
            assert self.keyring.decrypt(each, associated_data=AAD) == b"text"
        assert self.keyring.revision >= self.highest
        self.highest = self.keyring.revision


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_all_that_was_written_is_read_in_any_order_of_rotations(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """And at last the newest key encrypts, whatever came before."""
    rotating = Rotating(tmp_path_factory.mktemp("whole"))
    for name in steps:
        rotating.step(name)
        rotating.use()
    rotating.wait()
    rotating.use()
    assert rotating.keyring.delivery_hash == rotating.sealed.delivery.hash
    active = rotating.sealed.keyring.versions.in_state(State.ACTIVE)[0]
    rotating.wait()
    newest = rotating.keyring.encrypt(b"text", associated_data=AAD)
    assert newest[1:5] == int(data_key(active.number).id).to_bytes(4)
    rotating.keyring.close()


def forms(secret: bytes) -> set[str]:
    """What a key looks like where it is printed."""
    text = base64.b64encode(secret).decode()
    url = base64.urlsafe_b64encode(secret).decode()
    return {
        secret.hex(),
        secret.hex().upper(),
        text.rstrip("="),
        url.rstrip("="),
        repr(secret)[2:-1],
    }


def shown(error: BaseException) -> str:
    """All that a reporter of errors shows, the variables of each call among it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_no_key_is_shown_by_an_error_a_log_or_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Known key bytes are searched for in everything that leaves the library but ciphertext."""
    sealed = Sealed(tmp_path)
    beats = tmp_path / "beats"
    beats.mkdir()
    daemon, path = Daemon(sealed), tmp_path / "s"
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG), serving(path, daemon):
        more: dict[str, Any] = {"client": "shop", "heartbeats": beats}
        with sealed.open(**more) as keyring:
            for ciphertext in (b"", keyring.encrypt(b"x", associated_data=b""), bytes(50)):
                with pytest.raises(CodecError) as refused:
                    keyring.decrypt(ciphertext, associated_data=AAD)
                texts.append(shown(refused.value))
            texts += [each.read_text() for each in beats.iterdir()]
        answer = Provided(sealed.delivery).render()
        answer["keys"].append({"version": "none"})
        monkeypatch.setattr(asking, "receive", lambda *_, **__: answer)
        with pytest.raises(Failure) as wrong:
            Keyring.open(f"unix:{path}", name="orders", client="shop", background=False)
        texts.append(shown(wrong.value))
        assert "answer = {}" in texts[-1]
    texts += [caplog.text, *daemon.reports, *map(str, sealed.troubles)]
    everything = "\n".join(texts)
    secrets = [data_key(1).material.reveal(), sealed.kek.path.read_bytes()]
    for form in {form for each in secrets for form in forms(each)}:
        assert form not in everything
    assert "associated_data = b" in everything  # the variables are there, and so would keys be
    assert any(form in json.dumps(Provided(sealed.delivery).render()) for form in forms(secrets[0]))
