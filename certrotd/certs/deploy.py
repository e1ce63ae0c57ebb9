"""The steps from a sealed generation to one that every target is proven to serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from certrotd.certs.compromised import refuse_compromised
from certrotd.certs.elsewhere import refuse_superseded
from certrotd.certs.policy import COPIES
from certrotd.certs.ports import Store
from certrotd.certs.target_ports import Revertible
from certrotd.certs.world import Bound, World
from certrotd.errors import Failure, InvalidInput, NeedsOperator, ProofFailed
from certrotd.observe.tls import Endpoint
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.generation import CertificateState, Copy, TargetState
from certrotd.pki.request import holder_of, is_request
from certrotd.pki.verify import verify_dates, verify_key
from certrotd.rotation.engine import Stopped
from certrotd.rotation.step import Done, Journaled, Ledger, Observed

SETTLE = 1.0


@dataclass(frozen=True)
class Baseline(Journaled):
    """What every target serves before the swap, and, as its undo, that they serve it again.

    It comes before the swap because undoing goes backwards: the old files are back when the
    targets are told to read them. Targets that look at places of their own have told at the
    preflight what is served there. A ``generation`` that no proof could trust goes no further:
    with it in place every client would be refused. None: it is in place already.
    """

    targets: tuple[str, ...]
    generation: int | None = None
    kind = "baseline"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        served: dict[str, Any] = {}
        if self.generation is not None:
            _vouched(world, self.targets, self.generation)
        key = _live_key(world)
        for name in self.targets:
            bound = world.target(name)
            if bound is not None:
                served[name] = [_look(world, replace(each, key=key)) for each in bound.endpoints]
        return Done({"baseline": served})

    def undo(self, world: World, ledger: Ledger) -> None:
        baseline, told = ledger.facts.get("baseline"), ledger.facts.get("told")
        if not isinstance(baseline, dict) or not isinstance(told, list) or "kept" in ledger.facts:
            return
        live = world.store.live(world.name)
        if live is None:
            return  # somebody removed the link; there is nothing to have them read
        if reason := _unusable(world, live):
            ledger.note(kept=f"the targets keep what they serve: {reason}")
            return
        leaf = _leaf(world.store, world.name, live)
        first: Failure | None = None
        unproven: list[str] = []
        for name in told:
            bound = world.target(name)
            if bound is None:
                continue  # nothing of ours to put right
            try:
                before = [each == leaf.fingerprint for each in baseline.get(name, ())]
                unproven += _reinstate(world, bound, before, leaf, _shown(ledger, name))
            except Stopped:
                raise
            except Failure as failure:
                first = first or failure  # the others are not left with the new one for that
        if first is not None:
            raise first
        if unproven:
            ledger.note(unproven="; ".join(unproven))


@dataclass(frozen=True)
class Swap(Journaled):
    """``live`` points at the generation: the one point where the new pair replaces the old.

    ``requested``: only while the configuration's request is the one it was issued for.
    ``new_key``: this rotation has made its key, which nobody can know yet.
    """

    generation: int
    previous: int | None
    requested: bool = False
    new_key: bool = False
    kind = "swap"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        _deployable(world, self.generation)
        key, _ = world.store.read(world.name, self.generation)
        if self.generation != self.previous and not self.new_key:
            refuse_compromised(key, world)
        if self.requested:
            so = f"generation {self.generation} is not put in place"
            refuse_superseded(key, world, so)
        with world.still():
            world.store.switch(world.name, self.generation)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        if world.store.live(world.name) != self.generation:
            self._put_back(world)
            return
        reason = _no_way_back(world, self.generation, self.previous)
        if reason is not None:
            ledger.note(kept=_stays(world, self.generation, self.previous, reason))
            return
        assert self.previous is not None
        with world.still():
            world.store.switch(world.name, self.previous)

    def _put_back(self, world: World) -> None:
        """Somebody took away what was swapped: the previous one counts as live, and may be gone."""
        live = world.store.look(world.name).live
        if live is None or live.number != self.previous or live.damaged is None:
            return
        if _unusable(world, live.number) is None:
            with world.still():
                world.store.rebuild(world.name, live.number)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        live = world.store.look(world.name).live
        if live is None or live.number != self.generation:
            return Observed.NOT_DONE
        whole = live.facts is not None and live.damaged is None
        return Observed.DONE if whole else Observed.NOT_DONE


@dataclass(frozen=True)
class Install(Journaled):
    """Copies for applications that read their own paths; ``backup`` names what they replaced.

    Undone before the swap is, so whether there is a way back has to be known here already.
    """

    generation: int
    previous: int | None
    backup: str
    kind = "install"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        key, chain = world.store.read(world.name, self.generation)
        with world.still():
            world.installer.install(key, chain, self.backup)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        reason = None
        if world.store.live(world.name) == self.generation:
            reason = _no_way_back(world, self.generation, self.previous)
        if reason is not None:
            ledger.note(kept=_stays(world, self.generation, self.previous, reason))
        # where there is no way back, copies half replaced are worse than whole old ones
        if reason is None or self.observe(world, ledger) is not Observed.DONE:
            with world.still():
                world.installer.restore(self.backup)
        world.installer.forget(self.backup)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        key, chain = world.store.read(world.name, self.generation)
        if world.installer.installed(key, chain):
            return Observed.DONE
        return Observed.NOT_DONE


@dataclass(frozen=True)
class Apply(Journaled):
    """One target told to read its files again."""

    target: str
    kind = "apply"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:
        bound = bound_of(world, self.target)
        # also if it is noted already: it is durable by that that it is tried
        ledger.note(told=list(dict.fromkeys([*_names(ledger, "told"), self.target])))
        world.fence()
        bound.target.apply()
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # the baseline tells the target again when the old files are back


@dataclass(frozen=True)
class Prove(Journaled):
    """Every endpoint of one target seen to serve the generation's leaf.

    Where nobody ran before, and nothing answers, there is nothing to prove: whoever starts later
    reads what is live.
    """

    target: str
    generation: int
    kind = "prove"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:
        bound = bound_of(world, self.target)
        leaf = _leaf(world.store, world.name, self.generation)
        for endpoint in (replace(each, key=leaf.key_type) for each in bound.endpoints):
            if self.target in _names(ledger, "nobody") and _look(world, endpoint) is None:
                world.remark(f"target {self.target}: nothing answers at {endpoint}: not proven")
                ledger.note(unseen=[*_names(ledger, "unseen"), self.target])
            else:
                world.prober.prove(endpoint, leaf.fingerprint)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only looked


@dataclass(frozen=True)
class RecordTargets(Journaled):
    """Which generation each target is proven to serve, and which are withdrawn or held."""

    generation: int
    targets: tuple[str, ...]
    before: Mapping[str, Any]
    withdraw: tuple[int, ...] = ()
    held: str | None = None
    kind = "record"
    announced = False

    def do(self, world: World, ledger: Ledger) -> Done:
        leaf = _leaf(world.store, world.name, self.generation)
        now, unseen = world.clock.now(), _names(ledger, "unseen")
        proven = {}
        for name in self.targets:
            bound = world.target(name)
            proof = bound and (bound.endpoints or bound.own) and name not in unseen
            seen = leaf.fingerprint if proof else ""
            proven[name] = TargetState(self.generation, seen, now)
        after, copies = self._after(), self._copies(world)
        targets = {**after.targets, **proven}
        self._record(replace(after, targets=targets, copies=copies), world)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        self._record(CertificateState.from_json(self.before), world)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        state, after = world.store.look(world.name).state, self._after()
        told = {name for name, at in state.targets.items() if at.generation == self.generation}
        known = (state.withdrawn, state.held, state.copies)
        same = known == (after.withdrawn, after.held, self._copies(world))
        return Observed.DONE if same and told.issuperset(self.targets) else Observed.NOT_DONE

    def _record(self, state: CertificateState, world: World) -> None:
        """With what was revoked since the rotation began, which nothing takes back."""
        revoked = {**state.revoked, **world.store.look(world.name).state.revoked}
        world.store.record(world.name, replace(state, revoked=revoked))

    def _copies(self, world: World) -> Mapping[str, Copy]:
        return world.installer.copies() if COPIES in self.targets else {}

    def _after(self) -> CertificateState:
        """The state to come, but for the targets and copies."""
        before = CertificateState.from_json(self.before)
        kept = set(before.withdrawn) - {self.generation}
        return CertificateState(
            targets=before.targets,
            withdrawn=tuple(sorted(kept | set(self.withdraw))),
            held=CertificateState.from_json({**self.before, "held": self.held}).held,
            suggested=before.suggested,
            revoked=before.revoked,
        )


def _vouched(world: World, targets: Sequence[str], generation: int) -> None:
    bounds = [bound for name in targets if (bound := world.target(name)) is not None]
    every = [each for bound in bounds for each in (*bound.endpoints, *bound.own)]
    endpoints = [each for each in every if each.roots is not None]
    if endpoints:
        key, chain = world.store.read(world.name, generation)
        if is_request(key):
            return  # no handshake without the key; the proof after the swap tells
        for endpoint in endpoints:
            world.prober.vouch(endpoint, key, chain)


def _live_key(world: World) -> str:
    """The type of the live key, empty where there is none to be read."""
    with suppress(Failure, OSError):
        live = world.store.live(world.name)
        if live is not None:
            return _leaf(world.store, world.name, live).key_type
    return ""


def _look(world: World, endpoint: Endpoint) -> str | None:
    try:
        return world.prober.look(endpoint).fingerprint
    except Failure:
        return None  # serving nothing is a fact too: nothing has to be proven on the way back


def _names(ledger: Ledger, fact: str) -> list[str]:
    """The targets that a fact names."""
    found = ledger.facts.get(fact)
    return [str(each) for each in found] if isinstance(found, list) else []


def _shown(ledger: Ledger, target: str) -> Mapping[str, Any]:
    """What a target showed at the preflight; nothing where it was not asked then."""
    known = ledger.facts.get("shown")
    found = known.get(target) if isinstance(known, dict) else None
    return found if isinstance(found, dict) else {}


def _reinstate(
    world: World,
    bound: Bound,
    served: list[bool],
    leaf: CertificateFacts,
    shown: Mapping[str, Any],
) -> Iterator[str]:
    """Tell a target to read the old files, and prove the endpoints that ``served`` them before.

    A target that cannot be told — its own configuration is what broke — is in order as long as
    it is seen to serve the old leaf still; one of several processes is not: others may be broken.
    Where something of it is gone, and nothing answers any more, nothing can be proven: that is
    given in words.
    """
    gone: Sequence[str] = ()
    endpoints = [e for e, did in zip(bound.endpoints, served, strict=False) if did]
    world.fence()
    target = bound.target
    try:
        if isinstance(target, Revertible):
            gone = target.revert(shown)
        else:
            target.apply()
    except Stopped:
        raise
    except Failure:
        if not endpoints or bound.several:
            raise
        world.clock.sleep(SETTLE)  # a reload that was under way shows itself
    for endpoint in (replace(each, key=leaf.key_type) for each in endpoints):
        try:
            world.prober.prove(endpoint, leaf.fingerprint)
        except ProofFailed:
            if not gone or _look(world, endpoint) is not None:
                raise
            yield f"nothing answers at {endpoint} any more: {' and '.join(gone)}"


def bound_of(world: World, name: str) -> Bound:
    """A target of the configuration; NeedsOperator if it has none of that name."""
    bound = world.target(name)
    if bound is None:
        raise NeedsOperator(f"the configuration no longer has the target {name!r}")
    return bound


def _leaf(store: Store, name: str, generation: int) -> CertificateFacts:
    _, chain = store.read(name, generation)
    return facts_of(parse_certificates(chain)[0])


def _deployable(world: World, generation: int) -> None:
    """The last look before the swap: a pair that belongs together and is valid now."""
    key, chain = world.store.read(world.name, generation)
    certificates = parse_certificates(chain, what=f"generation {generation}")
    verify_key(holder_of(key), certificates[0])
    verify_dates(certificates, now=world.clock.now())


def _no_way_back(world: World, generation: int, previous: int | None) -> str | None:
    """Why ``generation`` must stay and the previous one not come back, or None if it may."""
    if previous is None:
        return "there is no earlier generation"
    if previous == generation:
        return "it was live before this rotation"
    if _keyless(world, previous) and not _keyless(world, generation):
        return f"generation {previous} has no key, which a service may read now"
    return _unusable(world, previous)


def _keyless(world: World, generation: int) -> bool:
    meta = world.store.generation(world.name, generation).meta
    return meta is not None and bool(meta.request)


def _stays(world: World, generation: int, previous: int | None, reason: str) -> str:
    """That a generation stays, and what to do, for people."""
    name, path = world.name, world.store.place(world.name)
    if previous not in (None, generation):
        return f"generation {generation} stays in place at {path}: {reason}"
    proves = f"once that is fixed, `certrotd rotate {name}` proves it"
    return f"generation {generation} is in place at {path}; {proves}"


def _unusable(world: World, generation: int) -> str | None:
    """Why nobody should be told to read a generation, or None if it may be read."""
    revoked = world.store.look(world.name).state.revoked.get(generation)
    if revoked is not None:
        return revoked.words(generation)
    try:
        _deployable(world, generation)
    except (InvalidInput, NeedsOperator) as failure:
        return f"generation {generation} cannot be used: {failure.message}"
    return None
