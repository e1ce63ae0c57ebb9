"""What processes have encrypted, as their heartbeats say, added to what the keyring counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from certrotd.jsontext import parsed
from certrotd.keyring.heartbeat import Heartbeat, increments
from certrotd.keyring.heartbeat import read as heartbeat_in
from certrotd.keyring.keyring import Keyring
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

Counted = Mapping[str, Heartbeat]
"""The last heartbeat of each instance that is in the keyring's counts."""


def counted_in(document: Document) -> TypedDocument[Counted]:
    """What the keyring has counted already."""
    return TypedDocument(document, _parse, _render, loss=", and instances are counted from now on")


def counting(
    keyring: Keyring, before: Counted, heard: Iterable[Heartbeat]
) -> tuple[Keyring, Counted]:
    """The keyring with what was encrypted since ``before``, and what is counted then.

    The same keyring if nothing was. An instance that was not heard of this time is forgotten.
    """
    after: dict[str, Heartbeat] = {}
    for beat in heard:
        if beat.keyring != keyring.name:
            continue
        who = f"{beat.client}.{beat.instance}"
        for version, (messages, size) in sorted(increments(before.get(who), beat).items()):
            if version in keyring.entries:
                keyring = keyring.counted(version, messages, size, at=beat.at)
        after[who] = beat
    return keyring, after


def failures(heard: Iterable[Heartbeat], keyring: str, *, since: datetime) -> Mapping[str, int]:
    """How many ciphertexts each client could not decrypt, of instances heard of ``since`` then."""
    found: dict[str, int] = {}
    for beat in heard:
        if beat.keyring == keyring and beat.failures and beat.at >= since:
            found[beat.client] = found.get(beat.client, 0) + beat.failures
    return found


def _render(counted: Counted) -> bytes:
    return json.dumps({who: json.loads(beat.render()) for who, beat in counted.items()}).encode()


def _parse(data: bytes) -> Counted:
    told = parsed(data)
    if not isinstance(told, dict):
        raise ValueError("not what was counted")
    return {who: heartbeat_in(each) for who, each in told.items()}
