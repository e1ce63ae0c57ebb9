"""Workers that a test calls itself, one task after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from certrotd.errors import Failure
from certrotd.keys.shard_work import Answer, Task, answer_of

Work = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass
class FakeWorkforce:
    """Workforce; what a test does to ``work`` happens to every task."""

    work: Work
    count: int = 2
    tasks: list[Task] = field(default_factory=list)
    entered: int = 0
    _waiting: list[Task] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.entered += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting = []

    def begin(self, task: Task) -> None:
        """As Workforce.begin."""
        self.tasks.append(task)
        self._waiting.append(task)

    def ended(self) -> Sequence[tuple[Task, Answer]]:
        """As Workforce.ended: all that were begun."""
        waiting, self._waiting = self._waiting, []
        return [(each, self._answer(each)) for each in waiting]

    def _answer(self, task: Task) -> Answer:
        try:
            return answer_of(self.work(task.to_json()))
        except Failure as failure:
            return Answer.of(failure)
