"""What carrying out a decision would do, and what it would fail for."""

from __future__ import annotations

from collections.abc import Iterator

from certrotd.certs import plan
from certrotd.certs.case import left
from certrotd.certs.decision import Adopt, Bootstrap, CatchUp, Deploy, Renew, Revoke, Sweep
from certrotd.certs.fallback import choose, waits_of
from certrotd.certs.policy import Policy
from certrotd.certs.preflight import Foresight
from certrotd.certs.subject import CertificateFound
from certrotd.certs.world import World
from certrotd.errors import Failure
from certrotd.lifecycle.decision import Decision, Postpone, Wait
from certrotd.rotation.engine import titles
from certrotd.rotation.flight import Flight
from certrotd.rotation.step import Plan


def steps_of(found: CertificateFound, decision: Decision | None) -> list[str]:
    """The titles of the steps that a decision would be carried out by."""
    return list(titles(plan_of(found, decision)))


def problems_of(
    found: CertificateFound, decision: Decision, flight: Flight | None
) -> Iterator[Failure]:
    """Everything that carrying out a decision would fail for, as far as it can be told.

    Of a certificate that is not due: what the next renewal will, as far as a look at files and
    programs tells, and what its targets refuse while a rotation is in ``flight``. Raises Failure
    and OSError.
    """
    policy, world = found.managed.policy, found.managed.world()
    if isinstance(decision, Wait | Postpone):
        yield from _ahead(policy, world)
        if flight is not None:  # its targets will reload, forth or back
            yield from plan.preflight_of_targets(policy).problems(world)
        return
    if isinstance(decision, Bootstrap):  # and the first order follows at once
        yield from plan.preflight(policy).problems(world)
    for step in plan_of(found, decision):
        if isinstance(step, Foresight):
            yield from step.problems(world)


def _whose_turn(found: CertificateFound) -> Policy:
    """As if the CA that would be asked were the only one."""
    policy = found.managed.policy
    if not policy.others:
        return policy
    now = found.managed.world().clock.now()
    waits, served = waits_of(found.attempts), left(found.standing, now=now)
    return choose(policy, waits, left=served, now=now).policy


def _ahead(policy: Policy, world: World) -> Iterator[Failure]:
    """What the next renewal will fail for, at whichever CA; each problem once."""
    told: set[str] = set()
    for each in policy.one_by_one():
        for problem in plan.preflight(each).problems(world, due=False):
            if str(problem) not in told:
                yield problem
            told.add(str(problem))


def plan_of(found: CertificateFound, decision: Decision | None) -> Plan[World]:
    """The plan that a decision would be carried out by."""
    policy, standing = found.managed.policy, found.standing
    match decision:
        case Renew():
            its = _whose_turn(found)
            return plan.renewal(its, standing, found.attempts, rotation="", draw=0.0)
        case Deploy(generation=generation):
            return plan.deployment(policy, standing, generation, rotation="")
        case Adopt():
            return plan.adoption(policy, draw=0.0)
        case Bootstrap(generation=generation):
            return plan.bootstrap(policy, generation, rotation="")
        case CatchUp(names=names) if standing.live is not None:
            return plan.catching_up(names, standing.live.number)
        case Revoke(generations=generations):
            return plan.revocation(standing, generations)
        case Sweep():
            return plan.sweeping(found.attempts)
        case _:
            return ()
