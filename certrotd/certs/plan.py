"""From a decision to the plan of its rotation: which steps, in which order, with which savepoints.

::

    preflight, key, order, authorize, obtain, verify and seal
    ─ issued ─     the certificate is durable; from here on a failure costs no new order
    baseline, swap, install, for each wave: apply…, prove…, record
    ─ committed ─  nothing is taken back any more
    revoke what it replaces, where that was asked for; prune
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrotd.certs.adopt import AdoptPair
from certrotd.certs.authorize import Authorize, SweepRecords
from certrotd.certs.bootstrap import InstallPlaceholder, MakePlaceholder
from certrotd.certs.catching_up import BringUp
from certrotd.certs.deploy import Apply, Baseline, Install, Prove, RecordTargets, Swap
from certrotd.certs.issue import (
    Obtain,
    PlaceOrder,
    Seal,
    StageKey,
)
from certrotd.certs.policy import Attempts, Policy
from certrotd.certs.preflight import PreflightStep
from certrotd.certs.pruning import Prune
from certrotd.certs.removing import Remove
from certrotd.certs.revoking import RevokeGeneration
from certrotd.certs.world import World
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Standing
from certrotd.rotation.step import JSON, Plan, PlanItem, Savepoint, Step

ISSUED = Savepoint("issued", stop_undoes=True)
COMMITTED = Savepoint("committed", forward_only=True)

_KINDS: dict[str, Any] = {
    step.kind: step
    for step in (
        AdoptPair,
        Apply,
        Authorize,
        Baseline,
        BringUp,
        Install,
        InstallPlaceholder,
        MakePlaceholder,
        Obtain,
        PlaceOrder,
        PreflightStep,
        Prove,
        Prune,
        RecordTargets,
        Remove,
        RevokeGeneration,
        Seal,
        StageKey,
        Swap,
        SweepRecords,
    )
}


def rebuild(kind: str, intent: Mapping[str, JSON]) -> Step[World]:
    """A step of this wing from what the journal keeps of it; KeyError for an unknown kind."""
    step: Step[World] = _KINDS[kind].rebuild(intent)
    return step


def preflight(policy: Policy) -> PreflightStep:
    """The look before a renewal."""
    return PreflightStep(
        policy.issuer, policy.names, policy.solver, policy.targets, policy.programs
    )


def preflight_of_targets(policy: Policy) -> PreflightStep:
    """The look before what is on disk is deployed: without an order."""
    return PreflightStep(None, (), None, policy.targets, policy.programs)


def renewal(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    *,
    rotation: str,
    draw: float,
    outdo: CertificateFacts | None = None,
    revoke: Plan[World] = (),
) -> Plan[World]:
    """Obtain the next generation, no worse than ``outdo``, and deploy it; then ``revoke``.

    Then it has a key of its own, whatever the configuration says.
    """
    newest = standing.newest.number if standing.newest else 0
    number = max(newest, standing.live.number if standing.live else 0) + 1
    reuse = _reusable_key(policy, standing) if policy.reuse_key and not revoke else None
    kept_key = reuse is not None or policy.elsewhere
    return (
        preflight(policy),
        *((SweepRecords(must=False),) if attempts.left else ()),
        StageKey(number, policy.key_type, reuse, policy.elsewhere),
        PlaceOrder(policy.issuer, policy.names),
        Authorize(policy.issuer, policy.names, policy.solver),
        Obtain(policy.issuer, policy.names, number, _end(standing), kept_key),
        Seal(
            number,
            policy.names,
            policy.issuer,
            policy.authority,
            draw,
            policy.terms,
            (outdo.not_before.isoformat(), outdo.not_after.isoformat()) if outdo else None,
            kept_key,
        ),
        ISSUED,
        *_deployment(
            policy, standing, number, rotation=rotation, revoke=revoke, new_key=not kept_key
        ),
    )


def deployment(
    policy: Policy,
    standing: Standing,
    generation: int,
    *,
    rotation: str,
    revoke: Plan[World] = (),
) -> Plan[World]:
    """Deploy a generation that is on disk; then ``revoke``."""
    return (
        preflight_of_targets(policy),
        ISSUED,
        *_deployment(policy, standing, generation, rotation=rotation, revoke=revoke),
    )


def rollback(
    policy: Policy, standing: Standing, generation: int, *, rotation: str, held: datetime
) -> Plan[World]:
    """Go back to ``generation`` by hand, and stay there until ``held``."""
    live = standing.live.number if standing.live else None
    withdraw = tuple(
        n.number
        for n in {standing.live, standing.newest}
        if n is not None and n.number > generation
    )
    return (
        preflight_of_targets(policy),
        ISSUED,
        *_switch(policy, Swap(generation, live), rotation),
        RecordTargets(
            generation,
            policy.places,
            standing.state.to_json(),
            tuple(sorted(withdraw)),
            held.isoformat(),
        ),
        COMMITTED,
        _prune(policy, (generation,), rotation),
    )


def adoption(policy: Policy, *, draw: float) -> Plan[World]:
    """Take the existing pair over as generation 1; the services already have it."""
    return (
        AdoptPair(1, policy.names, draw),
        ISSUED,
        Swap(1, None),
        COMMITTED,
    )


def bootstrap(policy: Policy, generation: int, *, rotation: str) -> Plan[World]:
    """A placeholder as ``generation``, and as copies; no target reloads."""
    make = MakePlaceholder(generation, policy.names, policy.key_type)
    copies = (InstallPlaceholder(generation, rotation),) if policy.installs else ()
    return (make, Swap(generation, None), *copies, COMMITTED, _prune(policy, (), rotation))


def catching_up(names: Mapping[str, tuple[str, ...]], generation: int) -> Plan[World]:
    """Bring those of each target up to date that have an older copy than the live generation."""
    return tuple(
        step
        for target, its in names.items()
        for step in (BringUp(target, its), Prove(target, generation))
    )


def sweeping(attempts: Attempts) -> Plan[World]:
    """Withdraw what an earlier rotation could not."""
    return (SweepRecords(must=True),) if attempts.left else ()


def revocation(standing: Standing, generations: tuple[int, ...]) -> Plan[World]:
    """Have revoked what could not be before; one that fails again keeps no other away."""
    known, last = standing.state.revoked, generations[-1]
    return tuple(
        RevokeGeneration(number, known[number].reason, known[number].by, must=number == last)
        for number in generations
    )


def _deployment(
    policy: Policy,
    standing: Standing,
    generation: int,
    *,
    rotation: str,
    revoke: Plan[World] = (),
    new_key: bool = False,
) -> list[PlanItem[World]]:
    previous = standing.live.number if standing.live else None
    swap = Swap(generation, previous, policy.elsewhere, new_key)
    items = _switch(policy, swap, rotation)
    state = standing.state
    if policy.places or state.held or generation in state.withdrawn:
        # whoever rolled back by hand wants to stay there, wherever else that is brought now
        held = state.held.isoformat() if state.held and generation == previous else None
        items.append(RecordTargets(generation, policy.places, state.to_json(), held=held))
    spare = (previous,) if previous is not None else ()
    return [*items, COMMITTED, *revoke, _prune(policy, spare, rotation)]


def _prune(policy: Policy, spare: tuple[int, ...], rotation: str) -> Prune:
    return Prune(policy.keep, spare, rotation if policy.installs else "")


def _switch(policy: Policy, swap: Swap, rotation: str) -> list[PlanItem[World]]:
    generation, previous = swap.generation, swap.previous
    items: list[PlanItem[World]] = []
    if policy.targets:
        items.append(Baseline(policy.targets, generation if generation != previous else None))
    items.append(swap)
    if policy.installs:
        items.append(Install(generation, previous, rotation))
    for wave in policy.waves:
        items += [Apply(name) for name in wave]
        items += [Prove(name, generation) for name in wave]
    return items


def _end(standing: Standing) -> str | None:
    facts = standing.live.facts if standing.live and not standing.live.placeholder else None
    return facts.not_after.isoformat() if facts else None


def _reusable_key(policy: Policy, standing: Standing) -> int | None:
    """The live generation, if its key is here, can be read and is of the type asked for."""
    live = standing.live
    if live is None or live.placeholder or live.facts is None:
        return None
    if live.number in standing.state.revoked or (live.meta is not None and live.meta.request):
        return None
    if live.facts.key_type != policy.key_type:
        return None
    return live.number
