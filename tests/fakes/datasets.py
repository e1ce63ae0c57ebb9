"""A dataset in memory, which a test changes while it is re-encrypted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from certrotd.datasets.port import BeginningCounts, Change, Key, PreflightFinding, Row
from certrotd.errors import Failure

Values = tuple[bytes | None, ...]


@dataclass
class MemoryDataset:
    """Dataset; ``before_write`` runs before each batch is compared, ``failing`` is raised then."""

    name: str = "rows"
    fields: Sequence[str] = ("secret",)
    content: dict[Key, Values] = field(default_factory=dict)
    before_write: Callable[[], None] = lambda: None
    failing: list[Failure] = field(default_factory=list)
    found: Sequence[PreflightFinding] = ()
    writes: list[int] = field(default_factory=list)
    reads_while_writing: bool = False
    before_read: Callable[[], None] = lambda: None

    def counts(self, beginnings: Sequence[bytes]) -> BeginningCounts:
        """As Dataset.counts."""
        filled = [each for values in self.content.values() for each in values if each]
        counts = (sum(each.startswith(b) for each in filled) for b in beginnings)
        return BeginningCounts(len(filled), tuple(counts))

    def remaining(self, done: Sequence[bytes]) -> int:
        """As Dataset.remaining."""
        return len(self._open(done))

    def rows(self, after: Key | None, most: int, done: Sequence[bytes]) -> Sequence[Row]:
        """As Dataset.rows."""
        self.before_read()
        opened = self._open(done)
        behind = sorted(key for key in opened if after is None or key > after)
        return [Row(key, opened[key], opened[key]) for key in behind[:most]]

    def again(self, keys: Sequence[Key]) -> Sequence[Row]:
        """As Dataset.again."""
        return [Row(k, self.content[k], self.content[k]) for k in keys if k in self.content]

    def replace(self, changes: Sequence[Change]) -> int:
        """As Dataset.replace."""
        self.before_write()
        if self.failing:
            raise self.failing.pop(0)
        same = [each for each in changes if self.content.get(each.row.key) == each.row.read]
        self.content |= {each.row.key: each.values for each in same}
        self.writes.append(len(same))
        return len(same)

    def findings(self) -> Sequence[PreflightFinding]:
        """As Dataset.findings."""
        return self.found

    def _open(self, done: Sequence[bytes]) -> Mapping[Key, Values]:
        return {
            key: values
            for key, values in self.content.items()
            if any(each and not each.startswith(tuple(done)) for each in values)
        }
