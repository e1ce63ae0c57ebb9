"""The journal as one step sees it: the facts so far, and room for its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certrotd.rotation.step import JSON, Checkpoint
from certrotd.state.records import Unrecordable, encode

MAX_CHECKPOINT = 16 * 1024


@dataclass
class JournalLedger:
    """The ledger of the step at ``index`` of ``rotation``, made when it is tried.

    ``read`` gives the facts, ``last`` the checkpoint before, ``write`` adds a record.
    """

    rotation: str
    index: int
    read: Callable[[], Mapping[str, JSON]]
    last: Callable[[], Checkpoint | None]
    write: Callable[[dict[str, Any]], None]
    now: Callable[[], datetime]
    _first: tuple[int, datetime] = field(init=False)

    def __post_init__(self) -> None:
        last = self.last()
        self._first = last.done if last else 0, self.now()

    @property
    def facts(self) -> Mapping[str, JSON]:
        """As Ledger.facts."""
        return self.read()

    def note(self, **facts: JSON) -> None:
        """As Ledger.note; raises JournalBroken."""
        self.write({"t": "note", "i": self.index, "facts": facts})

    @property
    def kept(self) -> Mapping[str, JSON]:
        """As Ledger.kept."""
        last = self.last()
        return last.kept if last else {}

    def checkpoint(self, kept: Mapping[str, JSON], *, done: int, total: int | None) -> None:
        """As Ledger.checkpoint; raises JournalBroken."""
        if len(encode(kept)) > MAX_CHECKPOINT:
            raise Unrecordable(
                f"a checkpoint is larger than {MAX_CHECKPOINT} bytes",
                hint="this is a defect of certrotd; please report it",
            )
        first, began = self._first
        record = {"t": "checkpoint", "i": self.index, "kept": dict(kept), "first": first}
        record |= {"done": done, "total": total}
        self.write({**record, "began": began.isoformat(), "at": self.now().isoformat()})
