"""One certificate brought up to date: lock, go on with what is in flight, decide, plan, advance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from certrotd.certs import plan
from certrotd.certs.decision import Adopt, Bootstrap, Deploy, Renew, Sweep
from certrotd.certs.fencing import fenced, guarded, lost_lock
from certrotd.certs.fitness import to_outdo
from certrotd.certs.goingback import way_back
from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import AUTHORITY, CONFIGURATION, HOLD_AFTER_ROLLBACK, Attempts, Policy
from certrotd.certs.recorded import recorded_of
from certrotd.certs.rules import decide
from certrotd.certs.world import World
from certrotd.clock import Clock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.lifecycle.audited import ACT, Audit, Audited
from certrotd.lifecycle.decision import Action, Decision, Postpone, Wait
from certrotd.lifecycle.report import Report, beside
from certrotd.pki.generation import PLACEHOLDER, Standing
from certrotd.rotation.engine import (
    Engine,
    Event,
    Finished,
    Outcome,
    Parked,
    RolledBack,
    Stopped,
    Stuck,
)
from certrotd.rotation.listening import Heard
from certrotd.rotation.outcome import CANCELLED
from certrotd.rotation.step import JSON, Plan
from certrotd.rotation.unexpected import as_failure
from certrotd.state.lock import NoLease
from certrotd.state.ports import Fenced, Lease

Found = tuple[Standing, Attempts]


@dataclass(frozen=True)
class Rotator:
    """Rotates certificates one at a time per call; calls may run in several threads at once.

    ``draw`` gives random numbers in [0, 1), ``new_id`` unique rotation ids. What cannot be written
    into ``audit`` is not begun.
    """

    clock: Clock
    draw: Callable[[], float]
    new_id: Callable[[], str]
    listen: Callable[[Event], None] = lambda _event: None
    stopping: Callable[[], bool] = lambda: False
    audit: Audit = field(kw_only=True)
    _lease: Lease = field(default_factory=NoLease, kw_only=True)
    _by_hand: bool = field(default=False, kw_only=True)
    _named: bool = field(default=False, kw_only=True)
    _forced: bool = field(default=False, kw_only=True)

    def rotate(
        self,
        managed: Managed,
        *,
        forced: bool = False,
        by_hand: bool = False,
        named: bool = False,
    ) -> Report:
        """Bring one certificate up to date; what goes wrong ends in the report, never beyond."""
        return replace(self, _forced=forced, _by_hand=by_hand, _named=named)._alone(
            managed,
            "rotate",
            lambda rotator: rotator._rotate(managed, forced=forced, by_hand=by_hand),
        )

    def bootstrap(self, managed: Managed) -> Report | None:
        """Put a placeholder in place where one is asked for and nothing is; None where not.

        One that a crash cut off is finished; any other rotation in flight is not for this.
        """
        name = managed.policy.name
        try:
            if self.stopping() or not self._wants_placeholder(managed):
                return None
            with managed.lock() as lease:
                return replace(self, _lease=lease)._bootstrap(managed)
        except Fenced as fenced_off:
            return Report(managed.policy.id, failure=lost_lock(name, fenced_off))
        except Exception as error:  # noqa: BLE001  # as above
            return Report(
                managed.policy.id,
                failure=as_failure(error, f"put a placeholder in place for {name}"),
            )

    def _bootstrap(self, managed: Managed) -> Report:
        name = managed.policy.id
        recovered, unrecorded = self._recover(managed)
        found = self._found(managed)
        decision = self._decide(managed.policy, found, forced=False, by_hand=True)
        if unrecorded or recovered or not isinstance(decision, Bootstrap):
            return Report(name, recovered=recovered, failure=unrecorded)
        outcome, unrecorded = self._begin(managed, decision, found)
        return Report(name, decision, outcome, None, unrecorded)

    def _wants_placeholder(self, managed: Managed) -> bool:
        if not managed.policy.bootstraps:
            return False
        begun = managed.journal.records()
        if begun:
            return bool(begun[0]["facts"].get(ACT) == PLACEHOLDER)
        found = managed.look(), attempts_of(managed)
        decision = self._decide(managed.policy, found, forced=False, by_hand=True)
        return isinstance(decision, Bootstrap)

    def rollback(self, managed: Managed, *, to: int | None = None) -> Report:
        """Go back to an earlier generation by hand; refuses one that is expired or mismatched."""
        asked = replace(self, _by_hand=True)
        return asked._alone(managed, "roll back", lambda rotator: rotator._rollback(managed, to))

    def cancel(self, managed: Managed) -> Report:
        """Undo the rotation in flight to its last savepoint, as a person asked."""
        asked = replace(self, _by_hand=True)
        return asked._alone(managed, "cancel", lambda rotator: rotator._cancel(managed))

    def _cancel(self, managed: Managed) -> Report:
        subject, engine = managed.policy.id, self._engine(managed, self._world(managed))
        open_, begun = managed.journal.peek() is not None, engine.in_flight()
        if begun is None and open_:  # its first record was torn: nothing was done
            self._forget(managed)
            return Report(subject, recovered=RolledBack("", "", CANCELLED))
        if begun is None:
            raise NeedsOperator(
                f"no rotation of {subject} is in flight",
                hint="certrotd status shows those that are",
            )
        outcome, unrecorded = self._audited(managed).cancel(engine, begun)
        return Report(subject, recovered=outcome, failure=unrecorded)

    def _alone(self, managed: Managed, doing: str, act: Callable[[Rotator], Report]) -> Report:
        """Under the certificate's lock, with a listener whose trouble is told when all is done."""
        name, heard = managed.policy.name, Heard(self.listen)
        try:
            with managed.lock() as lease:
                report = act(replace(self, listen=heard, _lease=lease))
        except Fenced as fenced_off:
            report = Report(managed.policy.id, failure=lost_lock(name, fenced_off))
        except Exception as error:  # noqa: BLE001  # one certificate must not stop the others
            failure = as_failure(error, f"{doing} certificate {name}")
            report = Report(managed.policy.id, failure=with_live(failure, managed))
        return beside(report, heard.trouble)

    def _rollback(self, managed: Managed, to: int | None) -> Report:
        recovered, unrecorded = self._recover(managed)
        if unrecorded or not isinstance(recovered, Finished | None):
            return Report(managed.policy.id, recovered=recovered, failure=unrecorded)
        unswept = self._sweep(managed)
        now = self.clock.now()
        world = self._world(managed)
        standing, attempts = self._found(managed)
        generation = way_back(managed, standing, to, now=now)
        rotation = self.new_id()
        steps = plan.rollback(
            managed.policy,
            standing,
            generation,
            rotation=rotation,
            held=now + HOLD_AFTER_ROLLBACK,
        )
        why = f"rolled back by hand to generation {generation}"
        engine, facts = self._engine(managed, world), _carried(attempts)
        outcome, unrecorded = self._audited(managed).begin(
            engine, rotation, why, steps, act="rollback", facts=facts, to=generation, by_hand=True
        )
        report = Report(managed.policy.id, Deploy(why, generation), outcome, recovered, unrecorded)
        return beside(report, unswept)

    def _rotate(self, managed: Managed, *, forced: bool, by_hand: bool) -> Report:
        if self.stopping():
            raise Stopped("not begun: the process was told to stop")
        recovered, unrecorded = self._recover(managed)
        if isinstance(recovered, Parked) and not unrecorded and not self.stopping():
            recovered, unrecorded = self._mend_meanwhile(managed, recovered)
        elif unrecorded is None and isinstance(recovered, RolledBack):
            return Report(managed.policy.id, recovered=recovered)
        if unrecorded or isinstance(recovered, Parked | Stuck):
            return Report(managed.policy.id, recovered=recovered, failure=unrecorded)
        unswept = self._sweep(managed)
        report = self._renew(managed, recovered, forced=forced, by_hand=by_hand)
        return beside(report, unswept)

    def _renew(
        self, managed: Managed, recovered: Outcome | None, *, forced: bool, by_hand: bool
    ) -> Report:
        """Whatever is due, after what was ``recovered``."""
        policy = managed.policy
        found = self._found(managed)
        decision = self._decide(policy, found, forced=forced, by_hand=by_hand)
        if isinstance(decision, Bootstrap) and by_hand:
            first, unrecorded = self._begin(managed, decision, found)
            if unrecorded or not isinstance(first, Finished):
                return Report(managed.policy.id, decision, first, recovered, unrecorded)
            found = self._found(managed)
            decision = self._decide(policy, found, forced=forced, by_hand=True)
        if isinstance(decision, Adopt):
            adopt = decision
            adopted, unrecorded = self._begin(managed, decision, found)
            if unrecorded or isinstance(adopted, Parked | Stuck):  # the latter are in flight still
                return Report(policy.id, adopt, adopted, recovered, unrecorded)
            # whatever came of it, the next question is whether anything else is due: without
            # the pair to adopt, that is a certificate of our own
            policy, found = replace(policy, adopts=False), self._found(managed)
            decision = self._decide(policy, found, forced=forced, by_hand=True)
            if isinstance(decision, Wait | Postpone):
                return Report(policy.id, adopt, adopted, recovered)
        outcome, unrecorded = None, None
        if isinstance(decision, Renew | Deploy | Bootstrap | Sweep):
            outcome, unrecorded = self._begin(managed, decision, found)
        report = Report(managed.policy.id, decision, outcome, recovered, unrecorded)
        if by_hand and isinstance(decision, Deploy) and decision.mends:
            return self._after_mending(managed, policy, report, forced=forced)
        return report

    def _after_mending(
        self, managed: Managed, policy: Policy, mended: Report, *, forced: bool
    ) -> Report:
        """A renewal that is due as well; whoever asks once is not told to ask again."""
        open_still = isinstance(mended.outcome, Parked | Stuck)
        if mended.failure or open_still or mended.decision is None or self.stopping():
            return mended
        found = self._found(managed)
        decision = self._decide(policy, found, forced=forced, by_hand=True)
        if not isinstance(decision, Renew):
            return mended
        outcome, unrecorded = self._begin(managed, decision, found)
        why = mended.decision.why
        return Report(mended.subject, decision, outcome, mended.recovered, unrecorded, why)

    def _recover(self, managed: Managed) -> tuple[Outcome | None, Failure | None]:
        """Finish or undo what a crash, a wait or a stop left.

        The outcome, and why it could not be recorded.
        """
        world = self._world(managed)
        engine = self._engine(managed, world)
        begun = engine.in_flight()
        if begun:
            configured = {CONFIGURATION: managed.configuration()}
            if engine.known().get(CONFIGURATION) not in (None, *configured.values()):
                engine.note(configured)
                engine.patient = False  # what it waits for may be what was changed
            outcome, unrecorded = self._audited(managed).resume(engine, begun)
            return outcome, unrecorded
        self._forget(managed)
        return None, None

    def _forget(self, managed: Managed) -> None:
        """A rotation of which a crash left no whole record had not begun: close its journal."""
        self._lease.check()
        managed.journal.clear()
        self._audited(managed).settle()

    def _mend_meanwhile(
        self, managed: Managed, parked: Parked
    ) -> tuple[Outcome | None, Failure | None]:
        """See to a live generation that is damaged while a rotation waits, for days perhaps.

        What can be put back is, beside it. Where another generation has to take its place, a
        rotation that waits for the CA is given up: an order costs less than to serve nothing.
        """
        found = managed.look(thorough=True), Attempts()
        decision = self._decide(managed.policy, found, forced=False, by_hand=True)
        live, world, name = found[0].live, self._world(managed), managed.policy.name
        if not isinstance(decision, Deploy) or not decision.mends or live is None:
            return parked, None
        if decision.generation == live.number:
            if live.meta is not None and live.meta.origin != "adopted":  # nobody else's pair
                world.store.rebuild(name, live.number)
                world.remark(f"{name}: {decision.why}: restored")
            return parked, None
        why = f"given up because {decision.why}; it waited: {parked.why}"
        outcome, unrecorded = self._audited(managed).give_up(
            self._engine(managed, world), Transient(why)
        )
        return outcome or parked, unrecorded

    def _sweep(self, managed: Managed) -> Failure | None:
        """Remove what a crash left; why that could not be, which is no reason not to renew."""
        world = self._world(managed)
        try:
            try:
                world.store.sweep(managed.policy.name)
            finally:
                world.installer.sweep()
        except (Failure, OSError) as error:
            trouble = as_failure(error, "remove it")
            why = f"done, but files of a crash remain: {trouble.message}"
            return Transient(why, hint=trouble.hint)
        return None

    def _found(self, managed: Managed) -> Found:
        """What there is; a state that is damaged is put aside first, and begun anew."""
        standing = managed.look(thorough=True)
        if standing.damaged is not None:
            world, name = self._world(managed), managed.policy.name
            aside = world.store.mend(name, standing.state, now=self.clock.now())
            said = f"{standing.damaged}: kept as {aside} and replaced"
            world.remark(f"{name}: {said}")
            standing = replace(standing, damaged=said)  # so the history and the audit log say it
        return standing, attempts_of(managed)

    def _decide(self, policy: Policy, found: Found, *, forced: bool, by_hand: bool) -> Decision:
        now = self.clock.now()
        standing, attempts = found
        how = {"forced": forced, "by_hand": by_hand, "named": self._named}
        return decide(policy, standing, attempts, now=now, **how)

    def _begin(
        self, managed: Managed, action: Action, found: Found
    ) -> tuple[Outcome, Failure | None]:
        """The outcome, and why it could not be recorded; raises Unaudited."""
        rotation, world = self.new_id(), self._world(managed)
        standing, attempts = found
        steps = self._plan(managed.policy, standing, attempts, action, rotation)
        engine, facts = self._engine(managed, world), _carried(attempts)
        facts[CONFIGURATION] = managed.configuration()
        if isinstance(action, Renew):
            facts[AUTHORITY] = managed.policy.authority
        return self._audited(managed).begin(
            *(engine, rotation, action.why, steps),
            act=action.act,
            facts=facts,
            by_hand=self._by_hand,
        )

    def _audited(self, managed: Managed) -> Audited:
        return Audited(
            guarded(self.audit, self._lease.check),
            managed.policy.id,
            managed.history,
            lambda line: recorded_of(managed.policy, line, managed.look()),
        )

    def _plan(
        self,
        policy: Policy,
        standing: Standing,
        attempts: Attempts,
        action: Decision,
        rotation: str,
    ) -> Plan[World]:
        match action:
            case Renew(forced=forced):
                now, draw = self.clock.now(), self.draw()
                outdo = None if forced else to_outdo(policy, standing, now=now)
                return plan.renewal(
                    policy, standing, attempts, rotation=rotation, draw=draw, outdo=outdo
                )
            case Deploy(generation=generation):
                return plan.deployment(policy, standing, generation, rotation=rotation)
            case Adopt():
                return plan.adoption(policy, draw=self.draw())
            case Bootstrap(generation=generation):
                return plan.bootstrap(policy, generation, rotation=rotation)
            case Sweep():
                return plan.sweeping(attempts)
            case _:
                raise AssertionError(f"{action} is nothing to plan for")

    def _engine(self, managed: Managed, world: World) -> Engine[World]:
        return Engine(
            managed.journal,
            world,
            plan.rebuild,
            self.clock.now,
            listen=self.listen,
            stopping=self.stopping,
            patient=not self._forced,
            fence=self._lease.check,
        )

    def _world(self, managed: Managed) -> World:
        return fenced(managed.world(), self._lease.check)


def with_live(failure: Failure, managed: Managed) -> Failure:
    """A trouble with the disk, which may have come before the swap or long after it."""
    if not isinstance(failure, DiskTrouble):
        return failure
    try:
        live = managed.look().live
    except Failure:
        return failure  # the disk says no more
    what = f"generation {live.number} is live" if live else "no generation is live"
    return Transient(f"{failure.message}; {what}", hint=failure.hint)


def _carried(attempts: Attempts) -> dict[str, JSON]:
    """What a new rotation must not forget of those before: the TXT records they left behind."""
    return {"left": [dict(each) for each in attempts.left]} if attempts.left else {}
