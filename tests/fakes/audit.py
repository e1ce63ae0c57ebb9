"""An audit log in memory that may refuse."""

from __future__ import annotations

from errno import ENOSPC

from certrotd.audit.record import OPENING, SETTLING, Happened
from certrotd.files.disktrouble import DiskTrouble


class MemoryAudit:
    """Keeps what happened; while ``full``, or for an event in ``refuses``, nothing is taken."""

    def __init__(self) -> None:
        self.happened: list[Happened] = []
        self.full = False
        self.refuses: set[str] = set()

    def record(self, *happened: Happened) -> None:
        """As Audit.record."""
        if self.full or any(each.event in self.refuses for each in happened):
            raise DiskTrouble("write the audit log", OSError(ENOSPC, "No space left on device"))
        self.happened += happened

    def unsettled(self, subject: str) -> str | None:
        """As Audit.unsettled."""
        settled: set[str] = set()
        for each in reversed(self.happened):
            if each.event in SETTLING:
                settled.add(each.rotation)
            if each.subject == subject and each.event in OPENING | SETTLING:
                waits = each.event in OPENING and each.rotation not in settled
                return each.rotation if waits else None
        return None

    @property
    def events(self) -> list[str]:
        """What happened, in order."""
        return [each.event for each in self.happened]
