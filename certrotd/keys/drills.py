"""Where the last restore drill of a keyring is kept."""

from __future__ import annotations

import json

from certrotd.escrow.drill import Drilled
from certrotd.jsontext import parsed
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument


def drills_in(document: Document) -> TypedDocument[Drilled]:
    """The last restore drill of a keyring."""
    return TypedDocument(
        document,
        lambda data: Drilled.from_json(parsed(data)),
        lambda value: json.dumps(value.to_json()).encode(),
        loss=", and a new drill is needed",
    )
