"""An audit log as the tests write and read it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certrotd.audit.log import AuditLog
from certrotd.audit.record import AuditRecord, Happened, parse
from certrotd.clock import ManualClock

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ISSUED = Happened("certificate.issued", "web", "r1", {"fingerprint": "ab"})
FINISHED = Happened("rotation.finished", "web", "r1")


def began(rotation: str, subject: str = "web") -> Happened:
    """The beginning of a rotation."""
    return Happened("rotation.began", subject, rotation, {"why": "due"})


class Ticking(ManualClock):
    """Every look is a second later, so that no two appends share a time."""

    def now(self) -> datetime:
        self.advance(timedelta(seconds=1))
        return super().now()


def opened(folder: Path, **options: Any) -> AuditLog:
    """The log as a new process has it."""
    return AuditLog(folder, clock=Ticking(NOW), command="test", **options)


def records(log: AuditLog) -> list[AuditRecord]:
    """All of them; every line must be one."""
    with log.snapshot() as snapshot:
        found = [parse(line) for line in snapshot.lines()]
    assert None not in found
    return [record for record in found if record is not None]


def events(log: AuditLog) -> list[str]:
    return [record.event for record in records(log)]


def whole(log: AuditLog) -> None:
    """Nothing is wrong with the log."""
    assert log.verify().broken is None
