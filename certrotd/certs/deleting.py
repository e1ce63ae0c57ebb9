"""A certificate that nobody needs any more: what is removed, what stays, and who still uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from certrotd.certs.decision import Delete
from certrotd.certs.managed import Managed
from certrotd.certs.removing import DELETED, Remove
from certrotd.certs.rotate import CertificateRotation
from certrotd.certs.world import World
from certrotd.errors import Failure, NeedsOperator
from certrotd.lifecycle.decision import ACT, Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Run, Runner
from certrotd.lifecycle.subject import DeletionForeseen
from certrotd.observe.tls import Endpoint
from certrotd.pki.generation import Standing


@runtime_checkable
class Reading(Protocol):
    """A target that can tell which files its own configuration names."""

    def reads(self, path: str) -> bool:
        """Whether it names something below that path; raises Failure where nobody can tell."""
        ...


@dataclass(frozen=True)
class User:
    """Somebody who uses a certificate, in words; not ``certain`` where that cannot be told."""

    words: str
    certain: bool = True


@dataclass(frozen=True)
class DeletingRotation(CertificateRotation):
    """The last rotation of a certificate."""

    def delete(self, runner: Runner) -> Report:
        """Remove it; one that a crash cut off is finished."""
        return runner.alone(self, "delete", Asked(by_hand=True), self._delete)

    def _delete(self, run: Run[World]) -> Report:
        in_flight(self.managed)
        recovered, unrecorded = run.recover()
        if unrecorded or recovered is not None:
            return Report(self.id, recovered=recovered, failure=unrecorded)
        return run.once(Delete("deleted by hand"), lambda _rotation: (DELETED, Remove()), None)


def in_flight(managed: Managed) -> None:
    """NeedsOperator if another rotation of it is open than its deletion."""
    begun = managed.journal.records()
    if begun and begun[0]["facts"].get(ACT) != Delete.act:
        name = managed.policy.name
        raise NeedsOperator(
            f"a rotation of {name} is in flight: {begun[0]['why']}",
            hint=f"`certrotd rotate {name}` finishes it, `certrotd cancel {name}` undoes it",
        )


def foreseen(
    managed: Managed,
    *,
    copies: Sequence[str],
    hosts: Sequence[str],
    in_secret: bool,
    users: Callable[[Standing], Iterable[User]],
) -> DeletionForeseen:
    """What deleting it removes and what stays; NeedsOperator where it is still in use."""
    in_flight(managed)
    standing, world, policy = managed.look(), managed.world(), managed.policy
    seen = list(users(standing))
    if found := [each.words for each in seen if each.certain]:
        raise NeedsOperator(
            f"{policy.name} is still in use: {'; '.join(found)}",
            hint="have the service use another certificate and reload it, then run this again",
        )
    newest = max(each.number if each else 0 for each in (standing.live, standing.newest))
    there = [str(n) for n in range(1, newest + 1) if world.store.sealed(policy.name, n)]
    place = world.store.place(policy.name)
    known, now = standing.state.revoked, world.clock.now()
    goes = (
        f"generations {', '.join(there)}, with their keys" if there else "no generation",
        "its state" if in_secret else f"its state, and {place}",
        *(f"the CA is NOT told: {known[n].words(n)}" for n in standing.state.to_revoke(now)),
    )
    stays = [f"the copy {each}" for each in copies]
    stays += [f"the copies on host {each}" for each in hosts]
    stays += [f"{place}, which pods read (kubectl delete secret)"] if in_secret else []
    stays += ["its history, the audit log, the account at the CA"]
    if standing.live is not None and standing.live.facts is not None:
        entry = known.get(standing.live.number)
        until = f"valid until {standing.live.facts.not_after:%F}"
        until = "revoked" if entry is not None and entry.done is not None else until
        stays.append(f"the certificate at the CA, {until}")
    number = standing.live.number if standing.live is not None else None
    unknown = tuple(each.words for each in seen if not each.certain)
    return DeletionForeseen(number, goes, tuple(stays), unknown)


def users_of(
    standing: Standing,
    world: World,
    endpoints: Iterable[Endpoint],
    targets: Iterable[tuple[str, Callable[[], object]]],
) -> Iterator[User]:
    """Who is seen to use a certificate, and of whom nobody can tell."""
    ours = [each for each in (standing.live, standing.newest) if each and each.facts]
    known = {each.facts.fingerprint for each in ours if each.facts}
    key = ours[0].facts.key_type if ours and ours[0].facts else ""
    for endpoint in dict.fromkeys(endpoints):
        try:
            served = world.prober.look(replace(endpoint, key=key)).fingerprint
        except Failure as failure:
            yield User(f"whether {endpoint} serves it: {failure.message}", certain=False)
        else:
            if served in known:
                yield User(f"{endpoint} serves it")
    place = world.store.place(world.name)
    for name, built in targets:
        try:
            target = built()
            reads = isinstance(target, Reading) and target.reads(place)
        except Failure as failure:
            yield User(f"whether target {name} names {place}: {failure.message}", certain=False)
        else:
            if reads:
                yield User(f"the configuration of target {name} names {place}")
