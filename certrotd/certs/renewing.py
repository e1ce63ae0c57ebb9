"""A renewal at one CA after another: a rotation for each, and each is asked once at most."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from certrotd.certs import plan
from certrotd.certs.case import left
from certrotd.certs.decision import Renew
from certrotd.certs.fallback import Trouble, choose, turn, waits_of
from certrotd.certs.fitness import advised, to_outdo
from certrotd.certs.limits.sliding_windows import renews
from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import (
    AUTHORITY,
    INSTEAD,
    REPLACES,
    TROUBLE,
    WAITS,
    Attempts,
    Policy,
)
from certrotd.certs.world import World
from certrotd.errors import Failure, one_line
from certrotd.lifecycle.runner import Run, Told
from certrotd.pki.generation import Standing
from certrotd.pki.renewal import renewal_id
from certrotd.rotation.outcome import RolledBack
from certrotd.rotation.step import JSON, Plan
from certrotd.state.history import SAME_ATTEMPT

Standings = tuple[Standing, Attempts]


def renew(
    run: Run[World],
    managed: Managed,
    action: Renew,
    found: Standings,
    revoke: Plan[World] = (),
) -> Told:
    """Order from the CA whose turn it is, and from the next one where that is to blame.

    A rotation that failed is rolled back before the next one begins: of the order it may have left
    nothing comes, as its key is gone. The outcome is that of the last one. ``revoke`` is what is to
    be revoked once it is replaced.
    """
    standing, attempts = found
    again, instead, queue = _begin_at(run, managed.policy, action, found)
    first = queue[0]
    while True:
        its, *queue = queue
        outcome, unrecorded = _order(
            run, action, (standing, attempts), its, instead, revoke, same=its is not first
        )
        undone = isinstance(outcome, RolledBack) and not (outcome.to or outcome.stopped)
        if unrecorded or not (undone and queue) or run.runner.stopping():
            return outcome, unrecorded
        assert isinstance(outcome, RolledBack)
        trouble = Trouble.from_json(outcome.facts.get(TROUBLE))
        to_come = turn(
            trouble,
            wait=timedelta(seconds=outcome.retry_after) if outcome.retry_after else None,
            left=left(standing, now=run.runner.clock.now()),
            again=again,
            alone=run.asked.by_hand,
        )
        if to_come.next and not run.asked.by_hand:
            queue = _with_room(run, managed, standing, queue)
            if not queue:
                return outcome, unrecorded
        asked = "is asked instead of" if to_come.next else "is not asked instead of"
        remark = f"{managed.policy.name}: {queue[0].issuer} {asked} {its.issuer}: {to_come.why}"
        run.world().remark(remark)
        if not to_come.next or trouble is None:
            return outcome, unrecorded
        instead = "; ".join(filter(None, (instead, f"{its.issuer}: {trouble.why}")))
        attempts = attempts_of(managed)  # it may have left records


def _begin_at(
    run: Run[World], policy: Policy, action: Renew, found: Standings
) -> tuple[bool, str, list[Policy]]:
    """Whether the attempt before failed at a CA, why the first one is passed over, and whom to ask.

    Those that asked to be left alone are not asked after another one.
    """
    (standing, attempts), now = found, run.runner.clock.now()
    waits, served = waits_of(attempts), left(standing, now=now)
    choice = choose(policy, waits, left=served, now=now, forced=action.forced)
    behind = [*policy.one_by_one()][policy.issuers.index(choice.policy.issuer) + 1 :]
    free = [each for each in behind if action.forced or waits.get(each.authority, now) <= now]
    return attempts.at_ca, choice.why, [choice.policy, *free]


def _with_room(
    run: Run[World], managed: Managed, standing: Standing, queue: list[Policy]
) -> list[Policy]:
    """The CAs yet to be asked, from the first one on whose account has room for an order now."""
    now, name = run.runner.clock.now(), managed.policy.name
    for number, each in enumerate(queue):
        renewal = renews(standing, each.names, each.authority)
        try:
            over = managed.claim(each.issuer, renewal=renewal, now=now)
        except Failure as failure:
            why = str(failure)
        else:
            if over is None:
                return queue[number:]
            why = f"its limit is used up: {over.why}"
        run.world().remark(f"{name}: {each.issuer} is not asked: {why}")
    return []


def _order(
    run: Run[World],
    action: Renew,
    found: Standings,
    its: Policy,
    instead: str,
    revoke: Plan[World],
    *,
    same: bool,
) -> Told:
    """One rotation at the CA of ``its``; ``same``: it belongs to the attempt of the one before."""
    (standing, attempts), now = found, run.runner.clock.now()
    live = standing.live
    facts = carried(attempts)
    facts[AUTHORITY] = its.authority
    if live is not None and live.facts and advised(live, its):
        facts[REPLACES] = renewal_id(live.facts)
    waits = {
        authority: until.isoformat()
        for authority, until in waits_of(attempts).items()
        if until > now and authority != its.authority
    }
    facts |= {WAITS: {**waits}} if waits else {}
    facts |= {INSTEAD: one_line(instead)} if instead else {}
    facts |= {SAME_ATTEMPT: True} if same else {}
    why = one_line(f"{action.why}; {its.issuer} is asked: {instead}") if instead else action.why
    return run.begin(why, action.act, partial(_steps, run, action, found, its, revoke), facts)


def _steps(
    run: Run[World],
    action: Renew,
    found: Standings,
    its: Policy,
    revoke: Plan[World],
    rotation: str,
) -> Plan[World]:
    (standing, attempts), now, draw = found, run.runner.clock.now(), run.runner.draw()
    outdo = None if action.forced else to_outdo(its, standing, now=now)
    return plan.renewal(
        its, standing, attempts, rotation=rotation, draw=draw, outdo=outdo, revoke=revoke
    )


def carried(attempts: Attempts) -> dict[str, JSON]:
    """What a new rotation must not forget of those before: the TXT records they left behind."""
    return {"left": [dict(each) for each in attempts.left]} if attempts.left else {}
