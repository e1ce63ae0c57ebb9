"""The journal as one step sees it: the facts so far, and room for its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from certrotd.rotation.step import JSON


@dataclass(frozen=True)
class JournalLedger:
    """The ledger of the step at ``index``; ``read`` gives the facts, ``write`` adds a record."""

    index: int
    read: Callable[[], Mapping[str, JSON]]
    write: Callable[[dict[str, Any]], None]

    @property
    def facts(self) -> Mapping[str, JSON]:
        """As Ledger.facts."""
        return self.read()

    def note(self, **facts: JSON) -> None:
        """As Ledger.note; raises JournalBroken."""
        self.write({"t": "note", "i": self.index, "facts": facts})
