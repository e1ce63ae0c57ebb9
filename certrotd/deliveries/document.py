"""Where it is kept what was delivered, so that a look needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from certrotd.deliveries.policy import Delivered
from certrotd.jsontext import parsed
from certrotd.pki.certificate import moment
from certrotd.ssh.files import Stamp
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

FOLDER = "deliveries"
_MOMENTS = ("not_before", "not_after", "at", "seen")


def delivered_in(document: Document) -> TypedDocument[Delivered]:
    """What one delivery has brought to its host."""
    return TypedDocument(document, _parse, _render, loss=", and it is delivered again")


def to_json(known: Delivered) -> dict[str, Any]:
    """A JSON object that from_json() reads back to an equal value."""
    return {
        "generation": known.generation,
        "folder": known.folder,
        "fingerprint": known.fingerprint,
        "key_type": known.key_type,
        "asked": known.asked,
        "drift": known.drift,
        "unpruned": known.unpruned,
        "stamps": stamps_to_json(known.stamps),
        **{name: getattr(known, name).isoformat() for name in _MOMENTS},
    }


def from_json(data: Mapping[str, Any]) -> Delivered:
    """Read what to_json() wrote; KeyError, TypeError or ValueError for anything else."""
    return Delivered(
        generation=int(data["generation"]),
        folder=str(data["folder"]),
        fingerprint=str(data["fingerprint"]),
        key_type=str(data["key_type"]),
        not_before=moment(data["not_before"]),
        not_after=moment(data["not_after"]),
        asked=str(data["asked"]),
        stamps=stamps_from_json(data["stamps"]),
        at=moment(data["at"]),
        seen=moment(data["seen"]),
        drift=str(data["drift"]),
        unpruned=str(data["unpruned"]),
    )


def stamps_to_json(stamps: Mapping[str, Stamp]) -> dict[str, Any]:
    """As to_json(), of the files alone."""
    return {name: [each.sha256, each.mode, each.uid, each.gid] for name, each in stamps.items()}


def stamps_from_json(data: Mapping[str, Any]) -> dict[str, Stamp]:
    """As from_json(), of the files alone."""
    return {
        name: Stamp(str(sha256), int(mode), int(uid), int(gid))
        for name, (sha256, mode, uid, gid) in data.items()
    }


def _parse(data: bytes) -> Delivered | None:
    try:
        return from_json(parsed(data))
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def _render(known: Delivered) -> bytes:
    return json.dumps(to_json(known)).encode()
