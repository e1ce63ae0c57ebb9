"""Keyrings over the socket of the daemon: who is given which, and what processes say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from certrotd.client import Keyring, NotPermitted, SourceUnavailable
from certrotd.codecs.errors import UnknownKey
from certrotd.config.keyrings import KeyServerEntry
from certrotd.errors import Failure, InvalidInput
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keys import serving
from certrotd.keys.rotation import restore
from certrotd.keys.serving import GONE, KeyringService
from certrotd.keyserver.heartbeat_files import find
from certrotd.keyserver.server import Peer
from tests.unit.keys.rings import DAY, FORCED, Rings

AAD = b"orders"


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """Two keyrings, of which this user may read one."""
    rings = Rings(
        tmp_path,
        {
            "orders": {
                "readers": {"users": [os.geteuid()]},
                "consumers": {"app": {"acknowledge": {"heartbeat": "socket"}}},
                "drains": {"cookies": "1d"},
                "grace": "0d",
            },
            "users": {"readers": {"users": [65533]}},
        },
    )
    rings.config["key_server"] = {"socket": str(tmp_path / "keys.sock")}
    return rings


@contextmanager
def served(rings: Rings) -> Iterator[list[str]]:
    """While the daemon runs; what it reports."""
    lines: list[str] = []
    with rings.site() as site:
        service = site.wing("key").serve(lines.append)
        assert isinstance(service, KeyringService)
        assert service.name
        service.start()
        try:
            yield lines
        finally:
            service.close()
    assert not (rings.place / "keys.sock").exists()


def opened(rings: Rings, name: str = "orders", *, client: str = "app") -> Keyring:
    source = f"unix:{rings.place}/keys.sock"
    return Keyring.open(source, name=name, client=client, background=False, clock=rings.clock)


def first_key(rings: Rings, name: str = "orders") -> None:
    """Without anybody who has to confirm it."""
    consumers = rings.config["keyrings"][name].pop("consumers", None)
    rings.done(name=name)
    if consumers:
        rings.config["keyrings"][name]["consumers"] = consumers


def test_a_reader_is_given_the_keys_and_follows_a_rotation(rings: Rings) -> None:
    """Another keyring than the one it may read is refused."""
    first_key(rings)
    first_key(rings, "users")
    with served(rings) as lines:
        with opened(rings) as keyring:
            value = keyring.encrypt(b"card", associated_data=AAD)
            hash_ = keyring.delivery_hash
            rings.orders.pop("consumers")
            rings.done(FORCED)
            rings.clock.advance(timedelta(seconds=6))
            assert keyring.decrypt(value, associated_data=AAD) == b"card"
            assert keyring.needs_reencryption(value)
            assert keyring.delivery_hash != hash_
        with pytest.raises(NotPermitted):
            opened(rings, "users")
        with pytest.raises(NotPermitted):
            opened(rings, "nothing")
    assert lines == []


def test_there_is_nothing_to_give_before_the_first_key(rings: Rings) -> None:
    """A failure that passes, and no key is made for whoever asks."""
    with served(rings) as lines, pytest.raises(SourceUnavailable):
        opened(rings)
    assert any("there is no key of orders yet" in line for line in lines)
    assert rings.states() == {}


def test_a_withheld_key_is_not_given(rings: Rings) -> None:
    """Once it is enabled again, it is."""
    rings.orders.pop("consumers")
    rings.done()
    with served(rings), opened(rings) as keyring:
        value = keyring.encrypt(b"card", associated_data=AAD)
    rings.done(FORCED)
    rings.clock.advance(2 * DAY)
    rings.done()
    rings.done()
    with served(rings), opened(rings) as keyring, pytest.raises(UnknownKey):
        keyring.decrypt(value, associated_data=AAD)
    assert not rings.ask(partial(restore, 1, "an old cookie")).failed
    with served(rings), opened(rings) as keyring:
        assert keyring.decrypt(value, associated_data=AAD) == b"card"


def test_no_kek_is_asked_while_the_revision_is_the_same(rings: Rings) -> None:
    """A KEK that is away for an hour takes no key from anybody who starts meanwhile."""
    first_key(rings)
    with served(rings):
        opened(rings).close()
        (rings.place / "kek").rename(rings.place / "away")
        opened(rings).close()
    with served(rings), pytest.raises(SourceUnavailable):
        opened(rings)


def test_a_heartbeat_confirms_a_delivery_and_is_dated_by_the_daemon(rings: Rings) -> None:
    """A rotation waits for the process, and goes on once it has said what it has."""
    first_key(rings)
    with rings.keyring() as keyring:
        own = keyring.own_heartbeats
    assert not own.exists()
    with served(rings), opened(rings) as client:
        [left] = find(own).heartbeats
        assert left.heartbeat.at == rings.clock.now()
        assert (own.stat().st_mode & 0o777, (own / "x").parent) == (0o700, own)
        assert not rings.rotate(FORCED).failed
        assert rings.view().state == "in flight"
        client.encrypt(b"x", associated_data=AAD)
        for _ in range(3):
            rings.clock.advance(timedelta(minutes=2))
            client.encrypt(b"x", associated_data=AAD)
            rings.rotate()
        assert rings.view().state == "ok"
    [left] = find(own).heartbeats
    assert left.heartbeat.at == GONE
    assert sum(messages for messages, _ in left.heartbeat.counts.values()) == 4


def test_whoever_makes_up_processes_fills_no_disk(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than are kept is refused, and the others stay."""
    monkeypatch.setattr(serving, "MOST", 2)
    first_key(rings)
    with served(rings) as lines:
        kept = [opened(rings) for _ in range(3)]
        with rings.keyring() as keyring:
            own = keyring.own_heartbeats
        assert len(find(own).heartbeats) == 2
        assert kept[0].trouble is None
        assert "cannot keep the heartbeat" in str(kept[2].trouble)
        assert any("has more than 2 processes" in line for line in lines)
        for each in kept:
            each.close()


def test_a_socket_that_cannot_be_made_is_a_failure(rings: Rings) -> None:
    """Its directory may be written by others: nothing is served there."""
    (rings.place / "open").mkdir()
    (rings.place / "open").chmod(0o777)
    rings.config["key_server"] = {"socket": str(rings.place / "open/keys.sock")}
    with rings.site() as site:
        service = site.wing("key").serve(lambda _line: None)
        assert service is not None
        with pytest.raises(Failure):
            service.start()
        service.close()


def test_an_instance_of_another_user_is_nobody_elses(rings: Rings) -> None:
    """A reader of the keyring cannot confirm for a process of somebody else, nor end it."""
    first_key(rings)
    with rings.keyring() as keyring:
        by_name = {"orders": keyring}
        entry = KeyServerEntry(socket=rings.place / "keys.sock")
        service = KeyringService(entry, by_name, keyring.clock, lambda _line: None)
        told = Heartbeat("orders", "shop", "0" * 16, keyring.clock.now(), "ab" * 32)
        service._heard(told, Peer(1, 1000, 1000))
        for act in (service._heard, service._left):
            with pytest.raises(InvalidInput, match="another user's"):
                act(told, Peer(2, 1001, 1001))
        service._left(told, Peer(1, 1000, 1000))
        [kept] = find(keyring.own_heartbeats).heartbeats
    assert kept.heartbeat.at == GONE
