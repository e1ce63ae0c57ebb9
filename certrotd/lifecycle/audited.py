"""What a rotation writes into the audit log, and what if it cannot.

Outcomes of closed rotations are taken from the history, so that one that could not be recorded is
recorded by the next run in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from certrotd.audit.record import Happened
from certrotd.errors import Failure, Transient
from certrotd.id import Id
from certrotd.lifecycle.decision import ACT
from certrotd.rotation.engine import Engine, Finished, Outcome, Parked, RolledBack, Stuck
from certrotd.rotation.step import JSON, Plan
from certrotd.state.ports import History


class Unaudited(Transient):
    """The rotation did not begin, because that could not be written into the audit log."""


class Unrecorded(Transient):
    """Something was done and is not in the audit log; the next run records it."""


class Audit(Protocol):
    """Where it is written down for good what was done; no secrets go there."""

    def record(self, *happened: Happened) -> None:
        """Add these events, in this order and together; durable on return, else raises Failure."""
        ...

    def unsettled(self, subject: str) -> str | None:
        """The id of the rotation of ``subject`` that began and whose outcome is not recorded."""
        ...


@dataclass(frozen=True)
class Audited:
    """Runs rotations of one subject with an entry in the log before and after.

    ``detail`` gives what else is recorded of a closed rotation, by its line of history.
    """

    audit: Audit
    subject: Id
    history: History
    detail: Callable[[Mapping[str, Any]], Sequence[Happened]]

    def begin(
        self,
        engine: Engine[Any],
        rotation: str,
        why: str,
        steps: Plan[Any],
        *,
        act: str,
        facts: Mapping[str, JSON],
        to: int | None = None,
        by_hand: bool = False,
    ) -> tuple[Outcome, Failure | None]:
        """Begin a rotation; its outcome, and why that could not be recorded.

        ``to`` is the generation of a rollback by hand; ``by_hand`` that a person asked. Raises
        Unaudited before anything is done.
        """
        name = str(self.subject)
        details: dict[str, JSON] = {"act": act, "why": why}
        happened = [Happened("rotation.began", name, rotation, details)]
        if to is not None:
            happened.append(Happened("rollback.by_hand", name, rotation, {"generation": to}))
        self._record("does not begin", *happened)
        facts = {**facts, ACT: act}
        outcome = engine.begin(rotation, name, why, steps, facts=facts, by_hand=by_hand)
        return outcome, self._came_to(rotation, outcome, ())

    def resume(
        self, engine: Engine[Any], begun: Mapping[str, Any]
    ) -> tuple[Outcome, Failure | None]:
        """Go on with the rotation in flight, whose begin record is given; else as begin().

        What is half done is finished or undone whether or not it can be recorded.
        """
        parked = engine.waits()
        if parked is not None:  # for as long as it takes, without a record of each look
            return parked, None
        rotation = str(begun["id"])
        resumed = Happened(
            "rotation.resumed", str(self.subject), rotation, {"why": str(begun["why"])}
        )
        late: tuple[Happened, ...] = ()
        try:
            self.audit.record(resumed)
        except Failure:
            late = (resumed,)  # it is written with the outcome, or that failure is reported
        outcome = engine.resume()
        return outcome, self._came_to(rotation, outcome, late)

    def cancel(
        self, engine: Engine[Any], begun: Mapping[str, Any]
    ) -> tuple[Outcome, Failure | None]:
        """As Engine.cancel; its outcome, and why that could not be recorded. Raises Unaudited."""
        engine.check_cancel()
        rotation, subject = str(begun["id"]), str(self.subject)
        cancelled = Happened("rotation.cancelled", subject, rotation, {"why": str(begun["why"])})
        self._record("is not cancelled", cancelled)
        outcome = engine.cancel()
        return outcome, self._came_to(rotation, outcome, ())

    def _record(self, refused: str, *happened: Happened) -> None:
        try:
            self.audit.record(*happened)
        except Failure as failure:
            raise Unaudited(
                f"a rotation that cannot be recorded in the audit log {refused}: {failure.message}",
                hint=failure.hint,
            ) from failure

    def give_up(
        self, engine: Engine[Any], failure: Failure
    ) -> tuple[Outcome | None, Failure | None]:
        """As Engine.give_up; its outcome, and why that could not be recorded."""
        begun, outcome = engine.in_flight(), engine.give_up(failure)
        if begun is None or outcome is None:
            return outcome, None
        return outcome, self._came_to(str(begun["id"]), outcome, ())

    def settle(self) -> None:
        """Record the outcome of the rotation that the log waits for, if any; none may be in flight.

        Raises Unrecorded.
        """
        try:
            # what an older certrotd began it recorded by the name alone
            rotation = self.audit.unsettled(str(self.subject))
            rotation = rotation or self.audit.unsettled(self.subject.name)
            if rotation is not None:
                self._settle(rotation, ())
        except Failure as failure:
            raise Unrecorded(
                f"the outcome of an earlier rotation is not in the audit log: {failure.message}",
                hint=failure.hint,
            ) from failure

    def _settle(self, rotation: str, late: tuple[Happened, ...]) -> None:
        line = self.history.last()
        if line is not None and line["id"] == rotation:
            self.audit.record(*late, *self.detail(line), _closed(str(self.subject), line))
            return
        why = "it ended before its first step, or its journal was removed"
        details: dict[str, JSON] = {"why": why}
        self.audit.record(
            *late, Happened("rotation.interrupted", str(self.subject), rotation, details)
        )

    def _came_to(
        self, rotation: str, outcome: Outcome, late: tuple[Happened, ...]
    ) -> Unrecorded | None:
        name = str(self.subject)
        try:
            match outcome:
                case Finished() | RolledBack():
                    self._settle(rotation, late)
                case Parked(until, why, failed):
                    details: dict[str, JSON] = {"until": until.isoformat(), "why": why}
                    details["failed"] = failed
                    self.audit.record(*late, Happened("rotation.parked", name, rotation, details))
                case Stuck(step, because, undo_failed):
                    details = {"step": step, "because": because, "undo_failed": undo_failed}
                    self.audit.record(*late, Happened("rotation.stuck", name, rotation, details))
        except Failure as failure:
            return Unrecorded(
                f"{_words(outcome)}; but that is not in the audit log: {failure.message}",
                hint=failure.hint,
            )
        return None


def _closed(subject: str, line: Mapping[str, Any]) -> Happened:
    """What is recorded of every closed rotation, by its line of history."""
    rotation, facts = str(line["id"]), line["facts"]
    if line["outcome"] == "finished":
        return Happened("rotation.finished", subject, rotation, {"act": facts.get(ACT)})
    details = {key: line[key] for key in ("to", "failed_step", "failure")}
    details |= {key: facts[key] for key in ("kept", "unproven") if key in facts}
    return Happened("rotation.rolled_back", subject, rotation, details)


def _words(outcome: Outcome) -> str:
    match outcome:
        case Finished():
            return "the rotation is done"
        case RolledBack(_, step, because):
            return f"{step}: {because}; {outcome.left}"
        case Parked(_, why, _):
            return f"the rotation is parked ({why})"
        case Stuck(step, _, undo_failed):
            return f"the undo of {step} failed: {undo_failed}"
