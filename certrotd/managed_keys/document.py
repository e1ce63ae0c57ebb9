"""Where it is kept what a service showed of its key, so that a look needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from certrotd.jsontext import parsed
from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.managed_keys.policy import Seen
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

FOLDER = "managed-keys"


def seen_in(document: Document) -> TypedDocument[Seen]:
    """What was seen of one key last."""
    return TypedDocument(document, _parse, _render, loss=", and its service is asked again")


def _parse(data: bytes) -> Seen | None:
    """As TypedDocument; None for whatever _render() did not write."""
    try:
        found: Mapping[str, Any] = parsed(data)
        state = found["state"]
        versions = tuple(
            KeyVersion(_text(each["id"]), _moment(each["created"]), each["decrypts"] is True)
            for each in state["versions"]
        )
        at, since = _moment(found["at"]), _moment(found["since"])
        if not versions or at is None or since is None:
            return None
        seconds = state["period"]
        return Seen(
            ManagedState(
                _text(state["type"]),
                _text(state["place"]),
                versions,
                period=None if seconds is None else timedelta(seconds=seconds),
                rotating=state["rotating"] is True,
                rotations_left=_number(state["rotations_left"]),
                last_use=_moment(state["last_use"]),
                min_decryption_version=_number(state["min_decryption_version"]),
                min_available_version=_number(state["min_available_version"]),
            ),
            at,
            since,
            _text(found["key"]),
            _text(found["retired_before"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _render(seen: Seen) -> bytes:
    state = seen.state
    versions = [
        {"id": each.id, "created": _written(each.created), "decrypts": each.decrypts}
        for each in state.versions
    ]
    shown = {
        "type": state.type,
        "place": state.place,
        "versions": versions,
        "period": None if state.period is None else state.period.total_seconds(),
        "rotating": state.rotating,
        "rotations_left": state.rotations_left,
        "last_use": _written(state.last_use),
        "min_decryption_version": state.min_decryption_version,
        "min_available_version": state.min_available_version,
    }
    moments = {"at": _written(seen.at), "since": _written(seen.since)}
    about = {"key": seen.key, "retired_before": seen.retired_before}
    return json.dumps({**moments, **about, "state": shown}).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    at = datetime.fromisoformat(_text(value))
    if at.tzinfo is None:
        raise ValueError("a moment without its zone")
    return at


def _written(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
