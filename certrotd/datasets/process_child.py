"""The program that re-encrypts rows for certrotd: run by file, for as long as its input is open.

Pickles come from standard input and go to standard output, both of them pipes to the process that
started it: first how values are encrypted, and the keys; then an act and its rows, as often as
somebody asks.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from typing import Any

from certrotd.datasets.port import Row
from certrotd.datasets.row_values import Quarantined, RowValues, Seen, SeenIndex
from certrotd.datasets.values import Form
from certrotd.keyring.material import DataKey, KeySet, Material

Told = tuple[Form, int, int, Sequence[tuple[int, Any, bytes, str, bytes]]]
"""How values are encrypted, the active version, the application's, and what makes each key."""


def told(form: Form, keys: KeySet) -> Told:
    """What the program is told first."""
    each = ((k.version, k.algorithm, k.material.reveal(), k.id, k.iv) for k in keys)
    return form, keys.active, keys.held, list(each)


def values_of(told: Told) -> RowValues:
    """What looks at rows, of what the program is told."""
    form, active, held, parts = told
    keys = (DataKey(v, kind, Material(m), key_id, iv) for v, kind, m, key_id, iv in parts)
    return form.values(KeySet.of(keys, active=active, held=held))


def looked_at(values: RowValues, rows: Sequence[Row]) -> Sequence[Seen | SeenIndex | Quarantined]:
    """What each value is, without its plaintext."""
    seen = (each for row in rows for each in values.looked_at(row))
    return [Seen(each.version) if isinstance(each, Seen) else each for each in seen]


def main() -> None:
    """Answer until standard input ends."""
    answers, asked = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # what a library prints is no answer
    values = values_of(pickle.load(asked))  # noqa: S301  # by the process that started this one
    while True:
        try:
            act, rows = pickle.load(asked)  # noqa: S301
        except EOFError:
            return
        pickle.dump(_answer(values, act, rows), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(values: RowValues, act: str, rows: Sequence[tuple[Any, ...]]) -> Any:
    """What became of each row, by its number; a text if that went wrong."""
    try:
        every = [
            Row(key, each, number, trouble) for number, (key, each, trouble) in enumerate(rows)
        ]
        if act == "look":
            return looked_at(values, every)
        batch = values.reencrypted(every)
        changes = tuple((c.row.read, c.values) for c in batch.changes)
        return changes, batch.quarantined, batch.messages, batch.size
    except Exception as error:  # noqa: BLE001  # the process that asks reports it
        return type(error).__name__


if __name__ == "__main__":
    main()
