"""A keyring that comes from certrotd's socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.client import KeyExhausted, Keyring, NotPermitted, SourceUnavailable, asking
from certrotd.client.asking import ask
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import Failure, InvalidInput, NeedsOperator, Transient
from certrotd.keyring.document import Renamed, Replayed
from certrotd.keyserver.wire import Provided
from tests.unit.client.sealed import AAD, Sealed
from tests.unit.keyserver.serving import Daemon, serving


def opened(sealed: Sealed, path: Path, **more: Any) -> Keyring:
    """As an application opens it."""
    arguments: dict[str, Any] = {"name": "orders", "client": "shop", "kek": None}
    place, sealed.path = sealed.path, f"unix:{path}"  # type: ignore[assignment]
    try:
        return sealed.open(**(arguments | more))
    finally:
        sealed.path = place


def test_a_keyring_from_the_socket_encrypts_and_follows(sealed: Sealed, tmp_path: Path) -> None:
    """As one from a file does, and its heartbeats go the same way."""
    daemon, path = Daemon(sealed), tmp_path / "s"
    with serving(path, daemon):
        with opened(sealed, path) as keyring:
            old = keyring.encrypt(b"text", associated_data=AAD)
            assert keyring.revision == sealed.keyring.revision
            sealed.generate()
            sealed.activate(2)
            sealed.clock.advance(timedelta(seconds=5))
            assert keyring.decrypt(old, associated_data=AAD) == b"text"
            assert keyring.needs_reencryption(old)
            keyring.encrypt(b"text", associated_data=AAD)
        told = [each.delivery_hash for each, _ in daemon.heard]
        assert len(told) == 2
        assert told[-1] == sealed.delivery.hash
        [(last, peer)] = daemon.left
        assert last.counts == {1: (1, 4), 2: (1, 4)}
        assert peer.uid == os.geteuid()
    assert sealed.troubles == []


def test_messages_that_the_server_counts_are_counted(sealed: Sealed, tmp_path: Path) -> None:
    """The limit of a key is for all processes together."""
    sealed.count(1, 2**32)
    with (
        serving(tmp_path / "s", Daemon(sealed)),
        opened(sealed, tmp_path / "s") as keyring,
        pytest.raises(KeyExhausted),
    ):
        keyring.encrypt(b"text", associated_data=AAD)


def test_a_server_that_is_away_keeps_the_old_keys(sealed: Sealed, tmp_path: Path) -> None:
    """The application never needs the daemon but to begin."""
    daemon, path = Daemon(sealed), tmp_path / "s"
    with serving(path, daemon):
        keyring = opened(sealed, path)
    with keyring:
        for _ in range(3):
            sealed.clock.advance(timedelta(seconds=60))
            keyring.encrypt(b"text", associated_data=AAD)
        assert {type(each) for each in sealed.troubles} == {SourceUnavailable}
        assert type(keyring.trouble) is SourceUnavailable
        with serving(path, daemon):
            sealed.clock.advance(timedelta(seconds=60))
            keyring.encrypt(b"text", associated_data=AAD)
            assert not keyring._troubles
    with pytest.raises(SourceUnavailable, match="does not answer"):
        opened(sealed, path)


def test_who_may_not_read_is_told_so(sealed: Sealed, tmp_path: Path) -> None:
    """By name of what to change."""
    with (
        serving(tmp_path / "s", Daemon(sealed, readers=set())),
        pytest.raises(NotPermitted, match="may not read it") as refused,
    ):
        opened(sealed, tmp_path / "s")
    assert "configuration" in refused.value.hint


def test_a_server_that_cannot_read_the_keyring_says_so(sealed: Sealed, tmp_path: Path) -> None:
    """Why is in its log."""
    daemon = Daemon(sealed, failure=Transient("the KEK is away"))
    with (
        serving(tmp_path / "s", daemon),
        pytest.raises(SourceUnavailable, match="cannot read the keyring"),
    ):
        opened(sealed, tmp_path / "s")


def test_an_older_revision_is_not_taken_from_a_server(sealed: Sealed, tmp_path: Path) -> None:
    """Whatever it was restored from."""
    with serving(tmp_path / "s", Daemon(sealed)), opened(sealed, tmp_path / "s") as keyring:
        revision = keyring.revision
        old = sealed.keyring
        sealed.generate()
        sealed.clock.advance(timedelta(seconds=5))
        keyring.encrypt(b"text", associated_data=AAD)
        assert keyring.revision > revision
        sealed.keyring = old
        sealed.clock.advance(timedelta(seconds=5))
        keyring.encrypt(b"text", associated_data=AAD)
        assert [type(each) for each in sealed.troubles] == [Replayed]


def test_another_keyring_than_was_asked_for_is_not_taken(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that mixes them up would have data encrypted under a key of others."""
    answer = Provided(sealed.delivery).render() | {"keyring": "invoices"}
    monkeypatch.setattr(asking, "ask", lambda *_: answer)
    with pytest.raises(Renamed, match="another keyring than orders"):
        opened(sealed, tmp_path / "s")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"refused": "malformed", "why": "x"}, NeedsOperator),
        ({"refused": "forbidden", "why": "x"}, NotPermitted),
        ({"refused": "busy", "why": "x"}, SourceUnavailable),
        ({"refused": "anything", "why": ["x"]}, SourceUnavailable),
        ({"unchanged": True}, InvalidInput),
        ({"keys": 1}, InvalidInput),
    ],
)
def test_every_answer_that_is_no_keyring_is_an_error(
    sealed: Sealed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Mapping[str, Any],
    kind: type[Failure],
) -> None:
    """Of its own kind."""
    monkeypatch.setattr("certrotd.keyserver.server.KeyServer._answered", lambda *_: answer)
    with serving(tmp_path / "s", Daemon(sealed)), pytest.raises(kind) as refused:
        opened(sealed, tmp_path / "s")
    assert "\n" not in str(refused.value)


def test_no_keys_are_taken_from_a_stranger(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who could put a socket into a common directory could hand out keys that they know."""
    with serving(tmp_path / "s", Daemon(sealed)):
        pack = asking._CREDENTIALS
        real = os.stat(tmp_path)

        class Stranger:
            size = pack.size

            @staticmethod
            def unpack(_data: bytes) -> tuple[int, int, int]:
                return 1, real.st_uid + 4711, 1

        monkeypatch.setattr(asking, "_CREDENTIALS", Stranger)
        with pytest.raises(NeedsOperator, match="directory belongs to somebody else"):
            opened(sealed, tmp_path / "s")


def test_a_socket_that_this_user_may_not_open_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do about it."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(NotPermitted, match="may not connect") as refused:
        ask(tmp_path / "s", {}, Deadline(SystemClock(), 1))
    assert "group" in refused.value.hint


def test_a_server_that_never_answers_is_not_waited_for(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the deadline the application goes on."""
    import socket

    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen(1)
        with pytest.raises(SourceUnavailable, match=r"not in time|timed out"):
            ask(tmp_path / "s", {}, Deadline(SystemClock(), 0.05))
