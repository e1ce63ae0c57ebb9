"""The rotation of one certificate: what is due of it, by which steps, and what follows at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from certrotd.audit.record import Happened
from certrotd.certs import plan
from certrotd.certs.catching_up import survey
from certrotd.certs.decision import Adopt, Bootstrap, CatchUp, Deploy, Renew, Revoke, Sweep
from certrotd.certs.fitness import advised, settled_at
from certrotd.certs.goingback import way_back
from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import HOLD_AFTER_ROLLBACK, Attempts, Policy
from certrotd.certs.recorded import recorded_of
from certrotd.certs.renewing import Standings, carried, renew
from certrotd.certs.rules import decide
from certrotd.certs.target_ports import Fenceable
from certrotd.certs.world import Bound, World
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.lifecycle.decision import ACT, DAEMON, Action, Asked, Decision, Postpone, Wait
from certrotd.lifecycle.fencing import guarded
from certrotd.lifecycle.report import Report, beside
from certrotd.lifecycle.runner import RotationOf, Run, Runner, Told
from certrotd.pki.generation import PLACEHOLDER
from certrotd.pki.renewal import LONGEST_POLL, suggested, unanswered
from certrotd.rotation.engine import Finished, Outcome, Parked, RolledBack, Stuck
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.step import JSON, Plan, Step
from certrotd.rotation.unexpected import as_failure


@dataclass(frozen=True)
class CertificateRotation(RotationOf[Managed, World]):
    """Rotatable, of a certificate."""

    def world(self, check: Callable[[], None]) -> World:
        return fenced(self.managed.world(), check)

    def rebuild(self, kind: str, intent: Mapping[str, JSON]) -> Step[World]:
        return plan.rebuild(kind, intent)

    def recorded(self, line: Mapping[str, Any]) -> Sequence[Happened]:
        return recorded_of(self.managed.policy, line, self.managed.look())

    def in_context(self, failure: Failure) -> Failure:
        """A trouble with the disk may have come before the swap or long after it."""
        if not isinstance(failure, DiskTrouble):
            return failure
        try:
            live = self.managed.look().live
        except Failure:
            return failure  # the disk says no more
        what = f"generation {live.number} is live" if live else "no generation is live"
        return Transient(f"{failure.message}; {what}", hint=failure.hint)

    def sweep(self, world: World) -> None:
        try:
            world.store.sweep(self.managed.policy.name)
        finally:
            world.installer.sweep()

    def meanwhile(self, run: Run[World], parked: Parked) -> tuple[Outcome, Failure | None]:
        """See to a live generation that is damaged while a rotation waits, for days perhaps.

        What can be put back is, beside it. Where another generation has to take its place, a
        rotation that waits for the CA is given up: an order costs less than to serve nothing.
        """
        standing, world, name = self.managed.look(thorough=True), run.world(), self.id.name
        live, decision = standing.live, self._decide(run, (standing, Attempts()), ONCE)
        if not isinstance(decision, Deploy) or not decision.mends or live is None:
            return parked, None
        if decision.generation == live.number:
            if live.meta is not None and live.meta.origin != "adopted":  # nobody else's pair
                world.store.rebuild(name, live.number)
                world.remark(f"{name}: {decision.why}: restored")
            return parked, None
        why = f"given up because {decision.why}; it waited: {parked.why}"
        outcome, unrecorded = run.give_up(Transient(why))
        return outcome or parked, unrecorded

    def act(self, run: Run[World], recovered: Outcome | None) -> Report:
        """Whatever is due; whoever asks once is not told to ask again for what follows from it."""
        policy, asked, found = self.managed.policy, run.asked, self._found(run)
        decision = self._decide(run, found, asked)
        if isinstance(decision, Wait) and (decision.asks or asked.named):
            found = self._asked_ca(run, found)
            if not asked.by_hand:  # what follows from it has to claim its order
                return Report(self.id, decision, None, recovered)
            decision = self._decide(run, found, asked)
        if isinstance(decision, Bootstrap) and asked.by_hand:
            first, unrecorded = self._begin(run, decision, found)
            if unrecorded or not isinstance(first, Finished):
                return Report(self.id, decision, first, recovered, unrecorded)
            found = self._found(run)
            decision = self._decide(run, found, asked)
        if isinstance(decision, Adopt):
            adopt = decision
            adopted, unrecorded = self._begin(run, decision, found)
            if unrecorded or isinstance(adopted, Parked | Stuck):  # the latter are in flight still
                return Report(self.id, adopt, adopted, recovered, unrecorded)
            # whatever came of it, the next question is whether anything else is due: without
            # the pair to adopt, that is a certificate of our own
            policy, found = replace(policy, adopts=False), self._found(run)
            decision = self._decide(run, found, replace(asked, by_hand=True), policy)
            if isinstance(decision, Wait | Postpone):
                return Report(self.id, adopt, adopted, recovered)
        left = isinstance(decision, Renew) and asked.unclaimed  # it became due meanwhile
        if left or not isinstance(decision, Action):
            return Report(self.id, decision, None, recovered)
        outcome, unrecorded = self._begin(run, decision, found)
        if isinstance(decision, CatchUp):
            survey(self.managed)  # who was behind may be so no more
        advises = any(each.renewal_info for each in policy.one_by_one())
        if advises and isinstance(decision, Renew) and isinstance(outcome, Finished):
            with suppress(Failure, OSError):  # else at the next look, which tells of it
                self._asked_ca(run, self._found(run))
        report = Report(self.id, decision, outcome, recovered, unrecorded)
        return self._and_then(run, policy, report) if asked.by_hand else report

    def _asked_ca(self, run: Run[World], found: Standings) -> Standings:
        """What there is, with what the CA says of when to renew it.

        No answer is one as well: the certificate is renewed by our own rule then.
        """
        (standing, attempts), now = found, run.runner.clock.now()
        live, world, known = standing.live, run.world(), standing.state.suggested
        if live is None or live.facts is None or live.meta is None:
            return found
        if not advised(live, self.managed.policy):
            return found
        try:
            info = world.renewal_info(live.meta.issuer, live.facts)
        except Stopped:
            return found  # whoever starts next asks: the CA has not refused anything
        except Failure as failure:
            wait = failure.retry_after if isinstance(failure, Transient) else LONGEST_POLL
            answer = unanswered(known, live.number, str(failure), retry_after=wait, now=now)
        else:
            settled, draw = settled_at(live, self.managed.policy), run.runner.draw()
            answer = suggested(known, live.number, info, settled=settled, draw=draw, now=now)
        state = replace(standing.state, suggested=answer)
        world.store.record(self.id.name, state)
        return replace(standing, state=state), attempts

    def _and_then(self, run: Run[World], policy: Policy, first: Report) -> Report:
        """What is due as well, after damage was mended or a revocation tried before it."""
        decision, done = first.decision, first.outcome
        revoked = isinstance(decision, Revoke)
        if not revoked and not (isinstance(decision, Deploy) and decision.mends):
            return first
        if first.failure or isinstance(done, Parked | Stuck) or run.runner.stopping():
            return first
        found = self._found(run)
        due = self._decide(run, found, run.asked, policy)
        if not isinstance(due, Renew | Deploy if revoked else Renew):
            return first
        outcome, unrecorded = self._begin(run, due, found)
        if revoked and isinstance(done, RolledBack):
            unrecorded = unrecorded or NeedsOperator(f"revoke: {done.because}")
        why = decision.why if decision else ""
        return Report(self.id, due, outcome, first.recovered, unrecorded, why)

    def _found(self, run: Run[World]) -> Standings:
        """What there is; a state that is damaged is put aside first, and begun anew."""
        standing = self.managed.look(thorough=True)
        if standing.damaged is not None:
            world, name = run.world(), self.id.name
            aside = world.store.mend(name, standing.state, now=run.runner.clock.now())
            said = f"{standing.damaged}: kept as {aside} and replaced"
            world.remark(f"{name}: {said}")
            standing = replace(standing, damaged=said)  # so the history and the audit log say it
        found = survey(self.managed)
        for target, failure in found.failures.items():
            run.world().remark(f"{self.id.name}: target {target}: {failure}")
        standing = replace(standing, behind=found.behind)
        return standing, attempts_of(self.managed)

    def _decide(
        self, run: Run[World], found: Standings, asked: Asked, policy: Policy | None = None
    ) -> Decision:
        now = run.runner.clock.now()
        standing, attempts = found
        return decide(policy or self.managed.policy, standing, attempts, asked, now=now)

    def _begin(
        self, run: Run[World], action: Action, found: Standings, revoke: Plan[World] = ()
    ) -> Told:
        if isinstance(action, Renew):
            return renew(run, self.managed, action, found, revoke)
        steps = partial(self._plan, run, action, found, revoke)
        return run.begin(action.why, action.act, steps, carried(found[1]))

    def _plan(
        self,
        run: Run[World],
        action: Action,
        found: Standings,
        revoke: Plan[World],
        rotation: str,
    ) -> Plan[World]:
        policy, (standing, attempts) = self.managed.policy, found
        match action:
            case Deploy(generation=generation):
                return plan.deployment(
                    policy, standing, generation, rotation=rotation, revoke=revoke
                )
            case Adopt():
                return plan.adoption(policy, draw=run.runner.draw())
            case Bootstrap(generation=generation):
                return plan.bootstrap(policy, generation, rotation=rotation)
            case CatchUp(names=names):
                assert standing.live is not None, "others are behind it"
                return plan.catching_up(names, standing.live.number)
            case Revoke(generations=generations):
                return revoke or plan.revocation(standing, generations)
            case Sweep():
                return plan.sweeping(attempts)
            case _:
                raise AssertionError(f"{action} is nothing to plan for")

    def bootstrap(self, runner: Runner) -> Report | None:
        """Put a placeholder in place where one is asked for and nothing is; None where not.

        One that a crash cut off is finished; any other rotation in flight is not for this.
        """
        doing = "put a placeholder in place for"
        try:
            if runner.stopping() or not self._wants_placeholder(runner):
                return None
        except Exception as error:  # noqa: BLE001  # one certificate must not stop the others
            return Report(self.id, failure=as_failure(error, f"{doing} {self.id.name}"))
        return runner.alone(self, doing, DAEMON, self._bootstrap)

    def _bootstrap(self, run: Run[World]) -> Report:
        recovered, unrecorded = run.recover()
        found = self._found(run)
        decision = self._decide(run, found, ONCE)
        if unrecorded or recovered or not isinstance(decision, Bootstrap):
            return Report(self.id, recovered=recovered, failure=unrecorded)
        outcome, unrecorded = self._begin(run, decision, found)
        return Report(self.id, decision, outcome, None, unrecorded)

    def _wants_placeholder(self, runner: Runner) -> bool:
        if not self.managed.policy.bootstraps:
            return False
        begun = self.journal.records()
        if begun:
            return bool(begun[0]["facts"].get(ACT) == PLACEHOLDER)
        standing, attempts = self.managed.look(), attempts_of(self.managed)
        now = runner.clock.now()
        decision = decide(self.managed.policy, standing, attempts, ONCE, now=now)
        return isinstance(decision, Bootstrap)

    def rollback(self, runner: Runner, to: int | None) -> Report:
        """Go back to an earlier generation by hand; refuses one that is expired or mismatched."""
        asked = Asked(by_hand=True)
        return runner.alone(self, "roll back", asked, lambda run: self._rollback(run, to))

    def _rollback(self, run: Run[World], to: int | None) -> Report:
        recovered, unrecorded = run.recover()
        if unrecorded or not isinstance(recovered, Finished | None):
            return Report(self.id, recovered=recovered, failure=unrecorded)
        unswept = run.sweep()
        policy, now = self.managed.policy, run.runner.clock.now()
        standing, attempts = self._found(run)
        generation = way_back(self.managed, standing, to, now=now)
        why = f"rolled back by hand to generation {generation}"
        held = now + HOLD_AFTER_ROLLBACK

        def steps(rotation: str) -> Plan[World]:
            return plan.rollback(policy, standing, generation, rotation=rotation, held=held)

        outcome, unrecorded = run.begin(why, ROLLBACK, steps, carried(attempts), to=generation)
        report = Report(self.id, Deploy(why, generation), outcome, recovered, unrecorded)
        return beside(report, unswept)


ONCE = Asked(by_hand=True)
ROLLBACK = "rollback"
"""What a rollback by hand is for, as Action.act."""


def fenced(world: World, check: Callable[[], None]) -> World:
    """``world`` with ``check``, which raises Fenced, before every use of its store and copies.

    Targets that are Fenceable have it before each of their acts. For other adapters it is
    ``World.fence``. What one call of those has begun it ends: no lock can keep a process from that.
    """

    def target(name: str) -> Bound | None:
        bound = world.target(name)
        if bound is None or not isinstance(bound.target, Fenceable):
            return bound
        return replace(bound, target=bound.target.fenced(check))

    return replace(
        world,
        store=guarded(world.store, check),
        installer=guarded(world.installer, check),
        target=target,
        fence=check,
    )
