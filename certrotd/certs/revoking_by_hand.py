"""A generation revoked as a person asks: what that means, and its replacement before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certrotd.audit.record import Happened
from certrotd.certs.decision import Deploy, Renew, Revoke
from certrotd.certs.elsewhere import refuse_to_replace
from certrotd.certs.fitness import stamp
from certrotd.certs.managed import Managed
from certrotd.certs.policy import Policy
from certrotd.certs.recorded import REVOCATION_BEGUN, revoked_events
from certrotd.certs.renewing import Standings
from certrotd.certs.revoking import Noted, RevokeGeneration, SharedKey, shared_key
from certrotd.certs.rotate import ONCE, CertificateRotation
from certrotd.certs.rules import candidate
from certrotd.certs.world import World
from certrotd.errors import NeedsOperator
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report, beside
from certrotd.lifecycle.runner import Run, Runner
from certrotd.lifecycle.subject import RevocationForeseen
from certrotd.pki.generation import Generation, Standing
from certrotd.pki.revocation import COMPROMISED, KeyNotCompared, RevocationAsked
from certrotd.rotation.engine import Finished, Outcome, Parked, RolledBack, Stuck
from certrotd.rotation.step import JSON


@dataclass(frozen=True)
class RevokingRotation(CertificateRotation):
    """The rotation of a certificate of which a person wants a generation revoked."""

    def revoke(self, runner: Runner, asked: RevocationAsked) -> Report:
        """Replace it if it is live, unless ``at_once``, and have it revoked.

        What was committed and could not be revoked is open in the state; see Revocable.
        """
        how = Asked(by_hand=True, forced=asked.at_once)
        return runner.alone(self, "revoke", how, lambda run: self._revoke(run, asked))

    def _revoke(self, run: Run[World], asked: RevocationAsked) -> Report:
        recovered, unrecorded = run.recover()
        if asked.at_once and isinstance(recovered, Parked | Stuck):
            return self._beside(run, asked, recovered)
        if unrecorded or not isinstance(recovered, Finished | None):
            return Report(self.id, recovered=recovered, failure=unrecorded)
        unswept = run.sweep()
        found, now = self._found(run), run.runner.clock.now()
        standing, _ = found
        revocable(self.managed, standing, asked.generation, now=now)
        same = _same(self.managed, standing, asked.generation, asked.reason, now=now)
        numbers = same.numbers
        live = standing.live.number if standing.live else None
        if live in numbers and not asked.at_once:
            report = self._replace(run, asked, found, numbers)
        else:
            report = self._at_once(run, asked, found, numbers, replaces=live in numbers)
        if recovered is not None and report.recovered is None:
            report = Report(
                self.id, report.decision, report.outcome, recovered, report.failure, report.mended
            )
        return beside(beside(report, self._unread(asked, same)), unswept)

    def _unread(self, asked: RevocationAsked, same: SharedKey) -> KeyNotCompared | None:
        if not same.unread:
            return None
        name, numbers = self.id.name, ", ".join(map(str, same.unread))
        return KeyNotCompared(
            "; ".join(same.doubts(name)),
            hint=f"if it has, `certrotd revoke {name} --generation N --reason {asked.reason}` "
            f"revokes it, once it can be read: N is one of {numbers}",
        )

    def _replace(
        self,
        run: Run[World],
        asked: RevocationAsked,
        found: Standings,
        numbers: tuple[int, ...],
    ) -> Report:
        policy, (standing, _), now = self.managed.policy, found, run.runner.clock.now()
        if not policy.enabled:
            raise NeedsOperator(
                f"{policy.name} is disabled in the configuration, so it is not replaced",
                hint="with --now it is revoked all the same",
            )
        live = standing.live
        if asked.reason == COMPROMISED and policy.elsewhere and live and live.facts:
            refuse_to_replace(live.number, run.world())
        why = f"to revoke {_listed(numbers)} ({asked.reason})"
        issued = candidate(policy, standing, now=now)
        action: Renew | Deploy = Renew(why, now, forced=True)
        if issued is not None and issued.number not in numbers:
            action = Deploy(why, issued.number)  # what an earlier attempt was issued
        outcome, unrecorded = self._begin(run, action, found, _steps(asked, numbers, must=False))
        return Report(self.id, action, outcome, None, unrecorded)

    def _at_once(
        self,
        run: Run[World],
        asked: RevocationAsked,
        found: Standings,
        numbers: tuple[int, ...],
        *,
        replaces: bool,
    ) -> Report:
        why = f"revoked by hand: {_listed(numbers)} ({asked.reason})"
        action = Revoke(why, numbers)
        outcome, unrecorded = self._begin(run, action, found, _steps(asked, numbers, must=True))
        first = Report(self.id, action, outcome, None, unrecorded)
        if unrecorded or not replaces or run.runner.stopping():
            return first
        found = self._found(run)
        renewal = self._decide(run, found, ONCE)
        if not isinstance(renewal, Renew | Deploy):
            return first
        second, unrecorded = self._begin(run, renewal, found)
        failed = (
            NeedsOperator(f"revoke: {outcome.because}") if isinstance(outcome, RolledBack) else None
        )
        return Report(self.id, renewal, second, None, unrecorded or failed, why)

    def _beside(self, run: Run[World], asked: RevocationAsked, recovered: Outcome) -> Report:
        """Beside a rotation that waits or is stuck: what is urgent does not wait for it."""
        now, standing = run.runner.clock.now(), self.managed.look(thorough=True)
        revocable(self.managed, standing, asked.generation, now=now)
        same = _same(self.managed, standing, asked.generation, asked.reason, now=now)
        numbers = same.numbers
        noted, world, audit = Noted(), run.world(), run.audited.audit
        begun: dict[str, JSON] = {"generations": [*numbers], "reason": asked.reason}
        audit.record(Happened(REVOCATION_BEGUN, str(self.id), "", begun))
        try:
            for step in _steps(asked, numbers, must=True):
                step.do(world, noted)
        finally:
            audit.record(*revoked_events(str(self.id), "", noted.facts))
        why = f"revoked by hand: {_listed(numbers)} ({asked.reason})"
        return Report(self.id, Revoke(why, numbers), None, recovered, self._unread(asked, same))


def foreseen(
    managed: Managed, generation: int | None, reason: str, *, at_once: bool, now: datetime
) -> RevocationForeseen:
    """What it would mean to revoke a generation, the live one by default.

    Raises NeedsOperator where that is not possible.
    """
    standing, world, policy = managed.look(), managed.world(), managed.policy
    live = standing.live.number if standing.live else None
    number = live if generation is None else generation
    found = revocable(managed, standing, number, now=now)
    assert number is not None
    assert found.facts is not None
    world.revoker(found.meta)  # raises if nobody revokes it
    facts = found.facts
    effects = [
        f"{policy.name}: generation {number}, serial {facts.serial}, for "
        f"{', '.join(facts.names)}, valid until {stamp(facts.not_after)}, is to be revoked: "
        f"{reason}"
    ]
    asks = world.who_revokes(found.meta).words
    effects.append(asks)
    same = _same(managed, standing, number, reason, now=now)
    numbers = same.numbers
    if others := tuple(each for each in numbers if each != number):
        effects.append(f"{_listed(others)} with the same key: revoked as well")
    effects += same.doubts(policy.name)
    if live in numbers:
        it = "it" if number == live else f"generation {live}"
        effects += _of_live(it, policy, world, numbers, at_once=at_once)
    else:
        stays = f"generation {live} is live and stays; " if live else ""
        effects.append(f"{stays}whoever has a copy of {number} fails")
    return RevocationForeseen(number, tuple(effects), asks)


def _of_live(
    it: str, policy: Policy, world: World, numbers: tuple[int, ...], *, at_once: bool
) -> Iterator[str]:
    """What happens to the live one, called ``it``, which is among those that are revoked."""
    hosts = sorted({host for each in numbers for host in world.delivered_to(each)})
    if at_once:
        users = [*policy.targets, *(["its copies"] if policy.installs else [])]
        users += [f"host {each}" for each in hosts]
        who = f": {', '.join(users)}" if users else ""
        yield (
            f"{it} is live, and revoked BEFORE there is another one: until then clients that ask "
            f"for its status refuse what serves it{who}"
        )
        return
    yield (
        f"{it} is live: it is replaced first, with a new key, and revoked once the new one is "
        "proven; if that fails nothing is revoked"
    )
    if hosts:
        yield f"it is revoked once these hosts have the new one: {', '.join(hosts)}"


def revocable(
    managed: Managed, standing: Standing, number: int | None, *, now: datetime
) -> Generation:
    """A generation that can be revoked; NeedsOperator says why it cannot."""
    if number is None:
        raise NeedsOperator("no generation is live", hint="--generation N revokes an earlier one")
    found = managed.generation(number)
    reason: str | None = None
    if not managed.world().store.sealed(managed.policy.name, number):
        reason = "there is none"
    elif found.placeholder:
        reason = "it is a placeholder, which no CA has signed"
    elif found.facts is None:
        reason = found.broken or "it is unreadable"
    elif found.facts.not_after <= now:
        reason = f"it expired at {stamp(found.facts.not_after)}"
    elif (known := standing.state.revoked.get(number)) and known.done is not None:
        reason = f"it is revoked since {stamp(known.done)} ({known.reason})"
    if reason is not None:
        raise NeedsOperator(f"nothing to revoke of generation {number}: {reason}")
    return found


def _same(
    managed: Managed, standing: Standing, generation: int, reason: str, *, now: datetime
) -> SharedKey:
    """The generation, and where its key is known to others every one with the same key."""
    if reason != COMPROMISED:
        return SharedKey((generation,), {})
    newest = max(each.number if each else 0 for each in (standing.live, standing.newest))
    return shared_key(managed.world(), generation, newest, now=now)


def _steps(
    asked: RevocationAsked, numbers: tuple[int, ...], *, must: bool
) -> tuple[RevokeGeneration, ...]:
    """Those that share its key come first: what the CA does not do of them is kept for later."""
    others = [each for each in numbers if each != asked.generation]
    return tuple(
        RevokeGeneration(
            *(each, asked.reason, asked.by),
            must=must and each == asked.generation,
            at_once=asked.at_once,
        )
        for each in (*others, asked.generation)
    )


def _listed(numbers: tuple[int, ...]) -> str:
    what = "generation" if len(numbers) == 1 else "generations"
    return f"{what} {', '.join(map(str, numbers))}"
