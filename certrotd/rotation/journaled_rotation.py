"""One rotation as its journal has it: read from there, and every change written there first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.flight import progress_words
from certrotd.rotation.ledger import JournalLedger
from certrotd.rotation.outcome import Event, Finished, RolledBack
from certrotd.rotation.recovery import (
    Close,
    Progress,
    apply,
    compacted,
    perhaps_tried,
    read_progress,
)
from certrotd.rotation.step import (
    JSON,
    Done,
    NotYet,
    Plan,
    Rebuild,
    Savepoint,
    Step,
    plan_from_json,
    plan_to_json,
    title,
)
from certrotd.state.ports import Journal

W = TypeVar("W")
COMPACT_AFTER = 100


@dataclass
class JournaledRotation(Generic[W]):
    """The plan of one rotation and its ``progress``; arguments as the Engine's.

    ``resumed``: it was read from the journal, so another process may have begun it. Items of the
    plan go by their index. Whatever writes raises JournalBroken or Fenced.
    """

    journal: Journal
    rebuild: Rebuild[W]
    now: Callable[[], datetime]
    listen: Callable[[Event], None]
    fence: Callable[[], None]
    plan: Plan[W] = ()
    progress: Progress = field(default_factory=lambda: Progress(items=()))
    resumed: bool = False
    _begin: Mapping[str, Any] = field(default_factory=dict)
    _ended: Mapping[str, Any] = field(default_factory=dict)
    _checkpoints: int = 0

    def begin(
        self,
        rotation: str,
        subject: str,
        why: str,
        plan: Plan[W],
        facts: Mapping[str, JSON],
        *,
        by_hand: bool,
    ) -> None:
        """Write the begin record; arguments as Engine.begin()."""
        record: dict[str, Any] = {
            "t": "begin",
            "id": rotation,
            "subject": subject,
            "why": why,
            "plan": plan_to_json(plan),
            "facts": dict(facts),
            "at": self.stamp(),
        }
        if by_hand:
            record["by_hand"] = True
        self.fence()
        self.journal.append(record, sync=False)
        self._understand([record])

    def read(self) -> bool:
        """Whether the journal knows of a rotation at all, and where it stands.

        Raises NeedsOperator for a journal that this version does not understand.
        """
        records = self.journal.records()
        if records:
            self._understand(records)
            self.progress = perhaps_tried(self.progress, self.unannounced, self.savepoints)
            self.resumed = True
        return bool(records)

    def _understand(self, journaled: Sequence[Mapping[str, Any]]) -> None:
        self._begin, *records = journaled
        try:
            self.plan = plan_from_json(self._begin["plan"], self.rebuild)
            self.progress = read_progress(records, len(self.plan), self._begin["facts"])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise NeedsOperator(
                f"the rotation in flight cannot be understood: {type(error).__name__}: {error}",
                hint="finish it with the version of certrotd that began it, or move its journal "
                "away: the generations themselves show what is deployed",
            ) from error
        self._ended = records[-1] if self.progress.outcome else {}

    def write(self, record: dict[str, Any], *, sync: bool) -> None:
        """Add a record to the journal and to the progress."""
        progress = apply(self.progress, record)  # what could not be read back is not written
        self.fence()
        self.journal.append(record, sync=sync)
        self.progress = progress

    def answered(self, index: int, answer: Done | NotYet) -> None:
        """Write down what a step answered; one whose answer cannot be kept has failed."""
        if isinstance(answer, Done):
            # not synced: if it is lost, the next start looks and finds the act done
            record = {"t": "done", "i": index, "facts": dict(answer.facts), "at": self.stamp()}
            self.write(record, sync=False)
            return
        record = {"t": "wait", "i": index, "until": answer.until.isoformat(), "why": answer.why}
        self.write({**record, "at": self.stamp()}, sync=True)

    def end(self, move: Close) -> None:
        """Write down how the rotation ended."""
        back = f"rolled back to {move.to}" if move.to else "nothing was changed"
        back = "left in place" if "kept" in self.progress.facts else back
        outcome = "finished" if move.finished else back
        end = {"t": "end", "outcome": outcome, "to": move.to, "at": self.stamp()}
        # not synced: without it the next start comes to the same end
        self.write({**end, "why": move.because}, sync=False)
        self._ended = end

    def close(self) -> Finished | RolledBack:
        """Shrink the journal of a rotation that has ended to its line of history."""
        begin, end, failed = self._begin, self._ended, self.progress.failed
        self.fence()
        self.journal.close(
            {
                "id": begin["id"],
                "subject": begin["subject"],
                "why": begin["why"],
                "began": begin["at"],
                "ended": end["at"],
                "outcome": end["outcome"],
                "to": end["to"],
                "failed_step": self.title(failed.at) if failed else None,
                "failure": failed.why if failed else None,
                "retry_after": failed.retry_after if failed else None,
                "stopped": failed is not None and failed.stopped,
                "by_hand": bool(begin.get("by_hand")),
                "facts": dict(self.progress.facts),
            }
        )
        self.tell("closed", detail=str(end["outcome"]))
        if failed is None:
            return Finished(self.progress.facts)
        step, facts = self.title(failed.at), self.progress.facts
        return RolledBack(end["to"], step, failed.why, failed.retry_after, facts, failed.stopped)

    @property
    def why(self) -> str:
        """Why it began."""
        return str(self._begin["why"])

    @property
    def savepoints(self) -> dict[int, Savepoint]:
        """The savepoints of the plan."""
        return {i: item for i, item in enumerate(self.plan) if isinstance(item, Savepoint)}

    @property
    def harmless(self) -> set[int]:
        """The steps that cannot be what ended the process."""
        steps = enumerate(self.plan)
        return {i for i, item in steps if not isinstance(item, Savepoint) and not item.can_kill}

    @property
    def unannounced(self) -> set[int]:
        """The steps that may have been tried without a durable record of it."""
        steps = enumerate(self.plan)
        return {i for i, item in steps if not isinstance(item, Savepoint) and not item.announced}

    @property
    def saved(self) -> Savepoint | None:
        """The last savepoint it has reached."""
        return self.savepoints.get(self.progress.saved)

    def step(self, index: int) -> Step[W]:
        """The step at ``index``, where there is one and no savepoint."""
        item = self.plan[index]
        assert not isinstance(item, Savepoint)
        return item

    def title(self, index: int) -> str:
        """What the item at ``index`` is called."""
        return title(self.plan[index])

    def ledger(self, index: int) -> JournalLedger:
        """The journal as the step at ``index`` sees it."""
        return JournalLedger(
            self._begin["id"],
            index,
            lambda: self.progress.facts,
            lambda: self.progress.checkpoint,
            self._note,
            self.now,
        )

    def _note(self, record: dict[str, Any]) -> None:
        self.write(record, sync=True)
        if record["t"] != "checkpoint":
            return
        if (checkpoint := self.progress.checkpoint) is not None:
            self.tell("progress", int(record["i"]), detail=progress_words(checkpoint))
        self._checkpoints += 1
        if self._checkpoints == COMPACT_AFTER:
            self._checkpoints = 0
            # without the room for a copy, records are added to the journal as it is
            with contextlib.suppress(DiskTrouble):
                self.journal.replace(compacted(self.journal.records()))

    def stamp(self) -> str:
        """The moment, as records have it."""
        return self.now().isoformat()

    def tell(self, what: str, index: int = -1, *, detail: str = "") -> None:
        """Let the listener hear what happened to an item, or to the rotation as a whole."""
        begin = self._begin
        self.listen(
            Event(
                rotation=begin["id"],
                subject=begin["subject"],
                what=what,
                index=index,
                size=len(self.plan),
                item=self.title(index) if index >= 0 else "",
                detail=detail,
            )
        )
