"""The plans: by which steps a keyring gets from where it is to where a decision wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certrotd.errors import NeedsOperator
from certrotd.keyring.states import State
from certrotd.keys.adopting import AdoptKeys
from certrotd.keys.case import Case
from certrotd.keys.cutting_over import (
    AwaitWindow,
    ProbeReading,
    Prove,
    ReencryptAll,
    Start,
    Stop,
    SwapKey,
)
from certrotd.keys.decision import (
    Adopt,
    Compromise,
    Deliver,
    Destroy,
    Disable,
    Reencrypt,
    Restore,
    Retire,
    Rewrap,
    Rollback,
    Rotate,
)
from certrotd.keys.destroying import Destroy as DestroyStep
from certrotd.keys.destroying import PurgeBackups
from certrotd.keys.exposing import NoteExposure
from certrotd.keys.keyring_store import NoKeyring
from certrotd.keys.policy import Policy
from certrotd.keys.reencrypting import Reencrypt as ReencryptStep
from certrotd.keys.steps import (
    Activate,
    Apply,
    Await,
    DeliverBack,
    Distribute,
    Escrow,
    Generate,
    GoBack,
    KeepAside,
    Move,
)
from certrotd.keys.steps import Deliver as DeliverStep
from certrotd.keys.steps import Rewrap as RewrapStep
from certrotd.keys.world import World
from certrotd.lifecycle.decision import Action
from certrotd.rotation.step import Plan, Savepoint, Step

DISTRIBUTED = Savepoint("distributed")
PROVEN = Savepoint("proven", stop_undoes=True)
FORWARD = Savepoint("committed", forward_only=True)
STEPS: Mapping[str, Any] = {
    each.kind: each
    for each in (
        *(
            AdoptKeys,
            Generate,
            Escrow,
            DeliverBack,
            Distribute,
            Activate,
            Move,
            GoBack,
            KeepAside,
            RewrapStep,
        ),
        *(DeliverStep, Apply, Await, ReencryptStep, DestroyStep, PurgeBackups, NoteExposure),
        *(Prove, AwaitWindow, Stop, ReencryptAll, SwapKey, Start, ProbeReading),
    )
}


def rebuild(kind: str, intent: Mapping[str, Any]) -> Step[World]:
    """A step from what the journal keeps of it; KeyError for an unknown kind."""
    step: Step[World] = STEPS[kind].rebuild(intent)
    return step


def plan_of(case: Case, action: Action) -> Plan[World]:
    """The steps of an action; raises NeedsOperator where it cannot be."""
    policy, why = case.policy, action.why
    match action:
        case Rotate() if policy.cuts_over and case.active is not None:
            return _cut_over(case, action)
        case Rotate(compromised=compromised):
            return _rotation(case, why, compromised)
        case Adopt(outlet=outlet):
            escrow = (FORWARD, Escrow()) if policy.escrows else ()
            return (AdoptKeys(outlet, why), *escrow)
        case Deliver(overwrite=overwrite):
            kept = (KeepAside(),) if overwrite else ()
            return (*kept, FORWARD, *_told(policy, "as it is"))
        case Rewrap():
            return (RewrapStep(),)
        case Reencrypt(datasets=datasets):
            return tuple(map(ReencryptStep, datasets))
        case Rollback():
            return (FORWARD, GoBack(case.versions.moves, why), *_told(policy, "back"))
        case Compromise(version=version):
            return (Move("compromise", version, why), NoteExposure(version))
        case Retire(version=version):
            return (Move("retire", version, why),)
        case Restore(version=version):
            withheld = case.versions.version(version).state is State.DISABLED
            told = _told(policy, "restored") if withheld else ()
            return (FORWARD, Move("restore", version, why), *told)
        case Disable(version=version):
            return (DeliverBack(), Move("disable", version, why), *_told(policy, "withheld"))
        case Destroy(version=version):
            given = case.versions.version(version).state is State.COMPROMISED
            told = _told(policy, "without it") if given else ()
            purge = (PurgeBackups(version),) if policy.escrows else ()
            return (DestroyStep(version, why), FORWARD, *purge, *told)
    raise AssertionError(f"{action} is nothing to plan for")


def _rotation(case: Case, why: str, compromised: int | None) -> Plan[World]:
    """A key is generated, staged, activated, and everybody told at each stage.

    The first key of all is nobody's before it is active: there is nothing to stage it beside.
    """
    policy, staged = case.policy, case.staged
    version = staged.number if staged else case.versions.next_number
    activate = Activate(version, why, tuple(sorted(policy.custodians)))
    at_once = compromised is not None
    made: list[Plan[World]] = []
    if staged is None:
        made.append((Generate(version, why),))
    if policy.escrows:
        made.append((Escrow(),))
    if case.active is None:
        made.append((DeliverBack(), Distribute(version, why), activate))
    else:
        if staged is None or staged.state is State.PRE_ACTIVE:
            made.append((DeliverBack(), Distribute(version, why)))
        made.append(_told(policy, "secondary", at_once=at_once))
        made.append((DISTRIBUTED, DeliverBack(), activate))
    made.append(_told(policy, "active", at_once=at_once))
    if compromised is not None:
        made.append((FORWARD, Move("compromise", compromised, why), NoteExposure(compromised)))
    return tuple(item for part in made for item in part)


def _cut_over(case: Case, action: Rotate) -> Plan[World]:
    """Everything that takes long comes before the application is stopped.

    Who names the keyring does not wait for its window.
    """
    policy, staged, asked, why = case.policy, case.staged, case.asked, action.why
    version = staged.number if staged else case.versions.next_number
    datasets = tuple(sorted(policy.reencrypted))
    at_once = asked.named or asked.forced or action.urgent
    generate = (Generate(version, why),) if staged is None else ()
    escrow = (Escrow(),) if policy.escrows else ()
    window = (AwaitWindow(),) if policy.window is not None and not at_once else ()
    marked = action.compromised
    compromise = (Move("compromise", marked, why),) if marked is not None else ()
    exposure = (NoteExposure(marked),) if marked is not None else ()
    return (
        *(*generate, *escrow, *exposure, Prove(datasets, version), *window, PROVEN, Stop()),
        *(ReencryptAll(name, version) for name in datasets),
        SwapKey(version, why, tuple(sorted(policy.custodians))),
        *(Start(), ProbeReading(version), FORWARD, *compromise),
    )


def _told(policy: Policy, stage: str, *, at_once: bool = False) -> Plan[World]:
    """The outputs written, and each wave of consumers told and waited for.

    Those of the waves before are asked again: while a later one was waited for, one of them may
    have begun anew with old keys. ``at_once``: nobody waits for an earlier wave.
    """
    waves: list[Step[World]] = []
    told: tuple[str, ...] = ()
    every = tuple(name for wave in policy.waves for name in wave)
    for wave in (every,) if at_once and every else policy.waves:
        told += wave
        waves += [*(Apply(name) for name in wave), Await(told, stage)]
    written = (DeliverStep(stage),) if policy.outputs else ()
    return (*written, *waves)


def check_rollback(case: Case) -> None:
    """Raise NeedsOperator where there is nothing to go back to."""
    if case.standing.versions is None:
        raise NoKeyring(case.policy.name)
    if case.policy.cuts_over and case.versions.secondary is None:
        raise NeedsOperator(
            "a cut-over that is done is not undone: what is stored is under the new key alone",
            hint=f"certrotd keys rotate {case.policy.name} --reason … cuts over to another one",
        )
    case.versions.rollback(at=case.now, why="looked at")
