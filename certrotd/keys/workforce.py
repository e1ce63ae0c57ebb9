"""Processes, here or elsewhere, that work on shards."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from certrotd.keys.shard_work import Answer, Task


class Workforce(Protocol):
    """What performs tasks, several at a time; its methods raise Failure."""

    def __enter__(self) -> Self:
        """Start or find the workers."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def count(self) -> int:
        """How many workers there are now, or are to be."""
        ...

    def begin(self, task: Task) -> None:
        """Have a worker perform it, again by another if that one is lost."""
        ...

    def ended(self) -> Sequence[tuple[Task, Answer]]:
        """What has ended since this was asked last."""
        ...
