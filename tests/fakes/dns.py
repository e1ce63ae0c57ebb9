"""A solver without DNS, for tests whose subject is something else."""

from certrotd.clock import Deadline
from certrotd.dns.records import TxtRecord


class MemorySolver:
    """Keeps the records in a set, and tells which are there."""

    def __init__(self) -> None:
        self.records: set[TxtRecord] = set()

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        self.records.add(record)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        self.records.discard(record)

    def visible(self, name: str) -> set[str]:
        """The values at a name."""
        return {record.value for record in self.records if record.name == name}
