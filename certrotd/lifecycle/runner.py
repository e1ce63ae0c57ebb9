"""One subject brought up to date, whichever kind it is.

Under its lock: go on with what is in flight, sweep what a crash left, look, decide, plan, and have
the engine do it, with an entry in the audit log before and after. The wing says what is due and by
which steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from certrotd.audit.record import Happened
from certrotd.clock import Clock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.id import Id
from certrotd.lifecycle.audited import Audit, Audited
from certrotd.lifecycle.decision import CONFIGURATION, Action, Asked
from certrotd.lifecycle.fencing import guarded, lost_lock
from certrotd.lifecycle.managed import Managed, Recorded
from certrotd.lifecycle.report import Report, beside
from certrotd.rotation.engine import Engine, Event, Outcome, Parked, RolledBack, Stuck
from certrotd.rotation.listening import Heard
from certrotd.rotation.outcome import CANCELLED, Stopped
from certrotd.rotation.step import JSON, Plan, Step
from certrotd.rotation.unexpected import as_failure
from certrotd.state.ports import Fenced, History, Journal, Lease

W = TypeVar("W")
M = TypeVar("M", bound=Managed)
Told = tuple[Outcome, Failure | None]
"""An outcome, and why it could not be recorded."""


class Rotatable(Recorded, Protocol[W]):
    """A subject with what its rotation needs; ``W`` is what its steps act upon."""

    @property
    def id(self) -> Id: ...

    def world(self, check: Callable[[], None]) -> W:
        """What one rotation acts upon; ``check`` raises Fenced and comes before every effect."""
        ...

    def rebuild(self, kind: str, intent: Mapping[str, JSON]) -> Step[W]:
        """A step from what the journal keeps of it; KeyError for an unknown kind."""
        ...

    def recorded(self, line: Mapping[str, Any]) -> Sequence[Happened]:
        """What the audit log keeps of a closed rotation besides its end, by its line of history."""
        ...

    def in_context(self, failure: Failure) -> Failure:
        """The failure of a run, with what is in use in spite of it."""
        ...

    def sweep(self, world: W) -> None:
        """Remove what a crash left; raises Failure and OSError."""
        ...

    def meanwhile(self, run: Run[W], parked: Parked) -> tuple[Outcome, Failure | None]:
        """Do what cannot wait until a parked rotation resumes; the outcome, as begin()."""
        ...

    def act(self, run: Run[W], recovered: Outcome | None) -> Report:
        """Do whatever is due, after what was ``recovered``."""
        ...


@dataclass(frozen=True)
class RotationOf(Rotatable[W], Generic[M, W]):
    """Rotatable, as far as a wing's own ``managed`` says it, and what does for many."""

    managed: M

    @property
    def id(self) -> Id:
        return self.managed.policy.id

    @property
    def journal(self) -> Journal:
        return self.managed.journal

    @property
    def history(self) -> History:
        return self.managed.history

    def lock(self) -> AbstractContextManager[Lease]:
        return self.managed.lock()

    def configuration(self) -> str:
        return self.managed.configuration()

    def recorded(self, line: Mapping[str, Any]) -> Sequence[Happened]:  # noqa: ARG002
        """Nothing: each step has told the audit log by then."""
        return ()

    def in_context(self, failure: Failure) -> Failure:
        return failure

    def sweep(self, world: W) -> None:  # noqa: ARG002
        """A crash leaves nothing."""
        return

    def meanwhile(self, run: Run[W], parked: Parked) -> Told:  # noqa: ARG002
        """Nothing cannot wait."""
        return parked, None


@dataclass(frozen=True)
class Runner:
    """Runs rotations one at a time per call; calls may run in several threads at once.

    ``draw`` gives random numbers in [0, 1), ``new_id`` unique rotation ids. What cannot be written
    into ``audit`` is not begun. ``hands_over`` is as Engine's.
    """

    clock: Clock
    draw: Callable[[], float]
    new_id: Callable[[], str]
    listen: Callable[[Event], None] = lambda _event: None
    stopping: Callable[[], bool] = lambda: False
    hands_over: bool = False
    audit: Audit = field(kw_only=True)

    def rotate(self, subject: Rotatable[W], asked: Asked) -> Report:
        """Bring one up to date; what goes wrong ends in the report, never beyond."""
        return self.alone(subject, "rotate", asked, lambda run: run.rotate())

    def cancel(self, subject: Rotatable[W]) -> Report:
        """Undo the rotation in flight to its last savepoint, as a person asked."""
        return self.alone(subject, "cancel", Asked(by_hand=True), lambda run: run.cancel())

    def alone(
        self,
        subject: Rotatable[W],
        doing: str,
        asked: Asked,
        act: Callable[[Run[W]], Report],
    ) -> Report:
        """Under the subject's lock; the trouble of the listener is reported at the end."""
        heard = Heard(self.listen)
        try:
            with subject.lock() as lease:
                report = act(Run(self, subject, asked, lease, heard))
        except Fenced as fenced_off:
            report = Report(subject.id, failure=lost_lock(subject.id.name, fenced_off))
        except Exception as error:  # noqa: BLE001  # one subject must not stop the others
            failure = as_failure(error, f"{doing} {subject.id.kind} {subject.id.name}")
            report = Report(subject.id, failure=subject.in_context(failure))
        return beside(report, heard.trouble)


@dataclass(frozen=True)
class Run(Generic[W]):
    """One run on a subject, whose lock is held by ``lease``."""

    runner: Runner
    subject: Rotatable[W]
    asked: Asked
    lease: Lease
    listen: Callable[[Event], None]

    def rotate(self) -> Report:
        """Whatever is in flight, then whatever is due."""
        subject, stopping = self.subject, self.runner.stopping
        if stopping():
            raise Stopped("not begun: the process was told to stop")
        recovered, unrecorded = self.recover()
        if isinstance(recovered, Parked) and not unrecorded and not stopping():
            recovered, unrecorded = subject.meanwhile(self, recovered)
        elif unrecorded is None and isinstance(recovered, RolledBack):
            return Report(subject.id, recovered=recovered)
        if unrecorded or isinstance(recovered, Parked | Stuck):
            return Report(subject.id, recovered=recovered, failure=unrecorded)
        unswept = self.sweep()
        return beside(subject.act(self, recovered), unswept)

    def cancel(self) -> Report:
        """Undo what is in flight; raises NeedsOperator where nothing is, or it cannot be."""
        subject, engine = self.subject.id, self.engine()
        open_, begun = self.subject.journal.peek() is not None, engine.in_flight()
        if begun is None and open_:  # its first record was torn: nothing was done
            self.forget()
            return Report(subject, recovered=RolledBack("", "", CANCELLED))
        if begun is None:
            raise NeedsOperator(
                f"no rotation of {subject} is in flight",
                hint="certrotd status shows those that are",
            )
        outcome, unrecorded = self.audited.cancel(engine, begun)
        return Report(subject, recovered=outcome, failure=unrecorded)

    def recover(self) -> tuple[Outcome | None, Failure | None]:
        """Finish or undo what a crash, a wait or a stop left; as Told, None where nothing was."""
        engine = self.engine()
        begun = engine.in_flight()
        if not begun:
            self.forget()
            return None, None
        configured = {CONFIGURATION: self.subject.configuration()}
        if engine.known().get(CONFIGURATION) not in (None, *configured.values()):
            engine.note(configured)
            engine.patient = False  # what it waits for may be what was changed
        return self.audited.resume(engine, begun)

    def forget(self) -> None:
        """A rotation of which a crash left no whole record had not begun: close its journal."""
        self.lease.check()
        self.subject.journal.clear()
        self.audited.settle()

    def sweep(self) -> Failure | None:
        """Remove what a crash left; why that could not be, which is no reason not to act."""
        try:
            self.subject.sweep(self.world())
        except (Failure, OSError) as error:
            trouble = as_failure(error, "remove it")
            why = f"done, but files of a crash remain: {trouble.message}"
            return Transient(why, hint=trouble.hint)
        return None

    def begin(
        self,
        why: str,
        act: str,
        plan: Callable[[str], Plan[W]],
        facts: Mapping[str, JSON],
        *,
        to: int | None = None,
    ) -> Told:
        """Carry out the plan for a new rotation's id; raises Unaudited.

        ``to`` is the version that a rollback by hand goes to.
        """
        rotation = self.runner.new_id()
        return self.audited.begin(
            *(self.engine(), rotation, why, plan(rotation)),
            act=act,
            facts={**facts, CONFIGURATION: self.subject.configuration()},
            to=to,
            by_hand=self.asked.by_hand,
        )

    def once(
        self,
        action: Action,
        plan: Callable[[str], Plan[W]],
        recovered: Outcome | None,
        **facts: JSON,
    ) -> Report:
        """The report of one action that is carried out, for wings where no other follows it."""
        outcome, unrecorded = self.begin(action.why, action.act, plan, facts)
        return Report(self.subject.id, action, outcome, recovered, unrecorded)

    def give_up(self, failure: Failure) -> tuple[Outcome | None, Failure | None]:
        """As Engine.give_up, recorded."""
        return self.audited.give_up(self.engine(), failure)

    def world(self) -> W:
        """What a rotation acts upon, while the lock is ours."""
        return self.subject.world(self.lease.check)

    def engine(self) -> Engine[W]:
        """The engine over the subject's journal."""
        return Engine(
            self.subject.journal,
            self.world(),
            self.subject.rebuild,
            self.runner.clock.now,
            listen=self.listen,
            stopping=self.runner.stopping,
            patient=not self.asked.forced,
            hands_over=self.runner.hands_over,
            fence=self.lease.check,
        )

    @property
    def audited(self) -> Audited:
        """The audit log, for this subject and while the lock is ours."""
        audit = guarded(self.runner.audit, self.lease.check)
        return Audited(audit, self.subject.id, self.subject.history, self.subject.recorded)
