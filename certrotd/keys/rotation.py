"""The rotation of one keyring: what is due of it, by which steps, and what a person asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from certrotd.audit.record import Happened
from certrotd.errors import NeedsOperator
from certrotd.keys.case import Case
from certrotd.keys.decision import (
    Adopt,
    Compromise,
    Deliver,
    Reencrypt,
    Restore,
    Rewrap,
    Rollback,
    Rotate,
)
from certrotd.keys.delivering import keep_aside
from certrotd.keys.plan import check_rollback, plan_of, rebuild
from certrotd.keys.policy import CUSTODIANS, HELD, SUSPECT
from certrotd.keys.rules import decide, no_slot
from certrotd.keys.steps import ACTOR, BY_HAND, MOVES
from certrotd.keys.subject import Managed
from certrotd.keys.world import World
from certrotd.lifecycle.decision import Action, Asked, Decision, Postpone, Wait
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import RotationOf, Run, Runner
from certrotd.rotation.engine import Outcome, Parked, Stuck
from certrotd.rotation.step import JSON, Plan, Step

Wanted = Callable[[Case], Action]
"""What a person asks for, made of what there is; raises NeedsOperator where it cannot be."""


@dataclass(frozen=True)
class KeyringRotation(RotationOf[Managed, World]):
    """Rotatable, of a keyring; ``wanted`` is what a person asks for, None what is due."""

    wanted: Wanted | None = None

    def world(self, check: Callable[[], None]) -> World:
        return replace(self.managed.world(), fence=check)

    def rebuild(self, kind: str, intent: Mapping[str, JSON]) -> Step[World]:
        return rebuild(kind, intent)

    def sweep(self, world: World) -> None:
        for outlet in world.outlets:
            outlet.sweep()

    def act(self, run: Run[World], recovered: Outcome | None) -> Report:
        """Whatever is due, or what a person wants, and nothing that its outputs could not hold."""
        managed, now = self.managed, run.runner.clock.now()
        standing, attempts = managed.look(thorough=True), managed.attempts()
        case = Case(managed.policy, standing, attempts, now, run.asked)
        decision: Decision
        if self.wanted is not None:
            decision = self.wanted(case)
        else:
            decision = decide(managed.policy, standing, attempts, run.asked, now=now)
        if not isinstance(decision, Action):
            return Report(self.id, decision, None, recovered)
        for problem in managed.problems(decision):
            return Report(self.id, decision, None, recovered, problem)
        return run.once(
            decision, partial(self._plan, case, decision), recovered, **_facts(case, decision)
        )

    def _plan(self, case: Case, action: Action, rotation: str) -> Plan[World]:  # noqa: ARG002
        return plan_of(case, action)


def _facts(case: Case, action: Action) -> dict[str, JSON]:
    """What is carried to the next rotation, what the audit log has already, and who asks.

    Who has access to the active key stays as it was until another is activated.
    """
    attempts, asked = case.attempts, case.asked
    facts: dict[str, JSON] = {
        MOVES: {str(each.number): len(each.transitions) for each in case.versions.all},
        BY_HAND: asked.by_hand,
        ACTOR: asked.actor,
    }
    known = case.policy.custodians if isinstance(action, Adopt) else attempts.custodians
    if known is not None:
        facts[CUSTODIANS] = sorted(known)
    if attempts.held is not None and not isinstance(action, Rotate):
        facts[HELD] = attempts.held.isoformat()
    suspect = action.compromised if isinstance(action, Rotate) else None
    if (suspect := suspect or attempts.suspect) is not None:
        facts[SUSPECT] = suspect
    return facts


def asked_for(
    managed: Managed,
    runner: Runner,
    doing: str,
    wanted: Wanted,
    *,
    joins: bool = False,
    actor: str = "",
) -> Report:
    """The report of what a person asks for; an open rotation is finished, or waited for, first.

    ``joins``: one that waits does what is asked. If not, it is said that it was not done. One that
    something in the way of an output holds up goes on once that is kept aside. ``actor`` is the
    account of that person, for the audit log.
    """

    def act(run: Run[World]) -> Report:
        if wanted is overwrite and managed.journal.peek() is not None:
            _make_way(run)
        recovered, unrecorded = run.recover()
        if unrecorded or isinstance(recovered, Parked | Stuck):
            undone = None if joins else _in_the_way(managed.policy.name, doing, recovered)
            return Report(run.subject.id, recovered=recovered, failure=unrecorded or undone)
        return KeyringRotation(managed, wanted).act(run, recovered)

    asked = Asked(by_hand=True, named=True, actor=actor)
    return runner.alone(KeyringRotation(managed, wanted), doing, asked, act)


def _make_way(run: Run[World]) -> None:
    """Keep aside what the rotation in flight does not overwrite: it may wait for just that."""
    world = run.world()
    if kept := keep_aside(world):
        world.record(
            Happened("keyring.output_kept_aside", str(run.subject.id), "", {"aside": kept})
        )


def _in_the_way(name: str, doing: str, recovered: Outcome | None) -> NeedsOperator:
    why = recovered.why if isinstance(recovered, Parked) else "it cannot be undone"
    return NeedsOperator(
        f"{doing} was not done: a rotation of {name} is in flight, and {why}",
        hint=f"certrotd keys cancel {name}, and then again",
    )


def rollback(managed: Managed, runner: Runner, to: int | None) -> Report:
    """Undo the last step of the newest rotation; one in flight is cancelled instead."""

    def act(run: Run[World]) -> Report:
        if managed.journal.peek() is not None:
            return run.cancel()
        return KeyringRotation(managed, partial(_rollback, to)).act(run, None)

    asked = Asked(by_hand=True, named=True)
    return runner.alone(KeyringRotation(managed), "roll back", asked, act)


def _rollback(to: int | None, case: Case) -> Rollback:
    check_rollback(case)
    active = case.active
    if to is not None and (active is None or active.before != to):
        before = f"version {active.before}" if active and active.before else "none"
        raise NeedsOperator(f"one step back goes to {before}, not to version {to}")
    return Rollback("rolled back by hand", code="asked")


def compromise(number: int, why: str, case: Case) -> Action:
    """What is to be done about a version that others may know: replace it, if it encrypts."""
    version = case.versions.version(number)
    if version.compromised:
        raise NeedsOperator(f"version {number} is known to be compromised")
    if case.active is not None and number == case.active.number:
        words = f"version {number} is compromised: {why}"
        action = Rotate(words, compromised=number, urgent=True, code="compromised")
        if (full := no_slot(case, action)) is not None:
            raise NeedsOperator(
                f"version {number} cannot be replaced: {full.why}",
                hint="it still encrypts: make room and ask again, or stop the application and "
                "replace its key by hand",
            )
        return action
    if case.staged is not None and number == case.staged.number:
        raise NeedsOperator(
            f"version {number} is {version.state}, and encrypts nothing yet",
            hint=f"roll it back first: certrotd keys rollback {case.policy.name}",
        )
    return Compromise(why, version=number, code="asked")


def adopt(path: str | None, form: str | None, case: Case) -> Action:
    """Take over what an application has at its only output, or at that of the path and type."""
    policy, standing = case.policy, case.standing
    if standing.versions is not None:
        raise NeedsOperator(f"the keyring {policy.name} has keys already")
    if case.backed_up:
        raise NeedsOperator(case.backed_up, hint="docs/keys/backup.md: Restore on a new host")
    asked = [each for each in policy.outputs if _is_asked_for(each, path, form)]
    if not asked:
        wanted = " ".join(each for each in (form, path) if each)
        raise NeedsOperator(
            f"the keyring {policy.name} has no output {wanted}".rstrip(),
            hint=f"the configuration gives it {', '.join(policy.outputs) or 'none'}",
        )
    found = [each for each in asked if each in standing.present]
    if not found:
        raise NeedsOperator(
            f"there is nothing to take over at {', '.join(asked)}",
            hint=f"certrotd rotate key/{policy.name} makes the first key",
        )
    if len(found) > 1:
        raise NeedsOperator(
            f"keys can be taken over from {' or '.join(found)}: name one of them",
            hint=f"certrotd keys adopt {policy.name} --from FILE",
        )
    return Adopt(f"taken over from {found[0]}", outlet=found[0], code="asked")


def _is_asked_for(output: str, path: str | None, form: str | None) -> bool:
    its_form, _, its_path = output.partition(" ")
    named = path is None or its_path in (path, str(Path(path).absolute()))
    return named and form in (None, its_form)


def restore(number: int, why: str, case: Case) -> Action:
    """Let a version that was retired or withheld decrypt again."""
    case.versions.restore(number, at=case.now, why=why)  # or it is refused before it is begun
    return Restore(why, version=number, code="asked")


def redeliver(case: Case) -> Action:
    """Write the outputs anew."""
    _deliverable(case)
    return Deliver("asked for by hand", code="asked")


def reencrypt(case: Case) -> Action:
    """Bring everything that certrotd re-encrypts under the active key, whatever was counted."""
    name = case.policy.name
    if not case.policy.reencrypted:
        raise NeedsOperator(f"the keyring {name} has no dataset that certrotd re-encrypts")
    if case.active is None:
        raise NeedsOperator(f"no version of {name} is active: there is nothing to encrypt with")
    datasets = tuple(sorted(case.policy.reencrypted))
    return Reencrypt("asked for by hand", datasets=datasets, code="asked")


def rewrap(case: Case) -> Action:
    """Have everything wrapped by the KEKs of the configuration, as they are now."""
    if case.standing.versions is None:
        raise NeedsOperator(f"there is no key of {case.policy.name} yet")
    return Rewrap("asked for by hand", code="asked")


def overwrite(case: Case) -> Action:
    """As redeliver(), over what something else has written into an output."""
    _deliverable(case)
    return Deliver(
        "asked for by hand, over what something else wrote", overwrite=True, code="asked"
    )


def _deliverable(case: Case) -> None:
    if case.active is None:
        raise NeedsOperator(
            f"no version of {case.policy.name} is active: there is nothing to deliver",
            hint=f"certrotd rotate {case.policy.id} makes one",
        )


def activate(case: Case) -> Action:
    """Go on with the version that is staged."""
    if case.staged is None:
        raise NeedsOperator(
            f"no version of {case.policy.name} is staged",
            hint=f"certrotd keys rotate {case.policy.name} --reason … stages one",
        )
    return Rotate(f"version {case.staged.number} is activated by hand", code="asked")


def rotate_because(why: str, case: Case) -> Action:
    """A rotation for a reason that a person gives, whatever the dates say."""
    action = Rotate(why, code="asked")
    blocked = decide(
        case.policy, case.standing, case.attempts, Asked(True, True, True), now=case.now
    )
    if not isinstance(blocked, Postpone | Wait):  # it may be something else that is due
        blocked = no_slot(case, action) or action
    if isinstance(blocked, Postpone | Wait):  # such as an application's key that is not adopted
        raise NeedsOperator(blocked.why)
    return action
