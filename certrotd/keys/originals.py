"""The ciphertext of before a cut-over, where nothing shows that the right key opens it.

A data key of random bytes in AES-CFB opens to random bytes under any key. If an application's key
is another one than its output says, only its probe fails, after everything was re-encrypted. Then
the very bytes come back: ciphertext that is made anew of gibberish would open under no key at all.
They are journaled before anything is written, so there is room for few.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from certrotd.codecs.errors import CodecError
from certrotd.codecs.port import Marking
from certrotd.errors import NeedsOperator

if TYPE_CHECKING:
    from certrotd.datasets.configured import Opened
    from certrotd.datasets.port import Row
    from certrotd.keyring.material import DataKey, KeySet
    from certrotd.rotation.step import JSON, Ledger

MOST_BYTES = 256 * 1024
"""As JSON; some 2,000 data keys of Grafana."""
BATCH = 500


_FACT = "originals of "


def forgotten(ledger: Ledger) -> Mapping[str, JSON]:
    """The facts of which nothing is to be left, once the application reads."""
    return {name: None for name in ledger.facts if name.startswith(_FACT)}


def read(name: str, opened: Opened) -> Mapping[str, JSON] | None:
    """By the keys of their rows; None where what a value opens to shows that the key was right.

    Raises NeedsOperator where they are too many.
    """
    if not opened.form.proves_nothing:
        return None
    from certrotd.datasets.keys import key_to_json

    found: dict[str, JSON] = {}
    size, after = 0, None
    while rows := opened.dataset.rows(after, BATCH, ()):
        for row in rows:
            told = [b64encode(each or b"").decode("ascii") for each in row.values]
            key = json.dumps(key_to_json(row.key))
            size += len(key) + sum(map(len, told))
            found[key] = list(told)
        if size > MOST_BYTES:
            raise NeedsOperator(
                f"{name} has too much whose plaintext is told by its length alone",
                hint="nothing shows that the right key opens it, and so its ciphertext is kept "
                f"until the application reads: at most {MOST_BYTES:,} bytes",
            )
        after = rows[-1].key
    return found


def keep(ledger: Ledger, name: str, opened: Opened) -> None:
    """Have the journal hold them, once."""
    if _FACT + name not in ledger.facts and (told := read(name, opened)) is not None:
        ledger.note(**{_FACT + name: dict(told)})


def put_back(ledger: Ledger, name: str, opened: Opened, keys: KeySet, new: DataKey) -> None:
    """Every value that is still what certrotd made of it under ``new`` as it was; repeatable."""
    from certrotd.datasets.keys import key_from_json
    from certrotd.datasets.port import Change

    told: Any = ledger.facts.get(_FACT + name) or {}
    wanted = {key_from_json(json.loads(key)): each for key, each in told.items()}
    places = list(wanted)
    for at in range(0, len(places), BATCH):
        changes = []
        for row in opened.dataset.again(places[at : at + BATCH]):
            before = [b64decode(each) for each in wanted[row.key]]
            values = tuple(
                _restored(opened, row, n, old, keys, new) for n, old in enumerate(before)
            )
            if values != row.values:
                changes.append(Change(row, values))
        if changes:
            opened.dataset.replace(changes)


def _restored(
    opened: Opened, row: Row, field: int, old: bytes, keys: KeySet, new: DataKey
) -> bytes | None:
    """The value of a field: ``old``, if what is there has been made of it."""
    codec, there = opened.form.codec, row.values[field]
    if not old or not there or not isinstance(codec, Marking) or not codec.marked(there, new):
        return there
    try:
        same = codec.decrypt(there, new) == codec.decrypt(old, keys.keys[keys.held])
    except CodecError:
        return there
    return old if same else there
