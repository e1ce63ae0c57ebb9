"""The worlds that histories begin in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

from certrotd.certs.policy import COPIES, Policy
from certrotd.clock import Deadline, ManualClock
from certrotd.lifecycle.report import Report
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.generation import CertificateState, Meta, TargetState
from certrotd.pki.keys import KeyType, PrivateKey, generate, signing_request, spki, to_pem
from certrotd.pki.renewal import RenewalInfo, Suggestion
from certrotd.pki.request import holder_of
from certrotd.pki.verify import verify_key
from certrotd.rotation.recovery import Progress, read_progress
from certrotd.state import records
from tests.fakes import issuer as fake_issuer
from tests.fakes.issuer import MemoryIssuer
from tests.fakes.rotator import Rotator
from tests.fakes.store import AtOnceStore, MemoryStore, Pair, Shelf, matching
from tests.fakes.world import MemoryWorld
from tests.model.explore import NEXT_RUN, Scenario
from tests.model.script import ProcessClock

NAME = "site"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = Policy(
    name=NAME,
    names=("example.test", "*.example.test"),
    issuer="ca",
    authority="memory://ca",
    keep=1,
    installs=True,
    waves=(("web",), ("mail-copies",)),
)


@functools.cache
def keys() -> tuple[bytes, ...]:
    """Private keys in PEM: a generation's are at its number, those to be made after them."""
    return tuple(to_pem(key) for key in _pool())


@functools.cache
def _pool() -> tuple[PrivateKey, ...]:
    return tuple(generate(KeyType.ECDSA_P256) for _ in range(16))


@contextmanager
def deterministic() -> Iterator[None]:
    """The CA in memory gives the same certificate for the same request at the same time.

    Certificates and journals are read once: histories meet the same ones over and over.
    """
    real, signed = fake_issuer._sign, {}

    def sign(csr, names, now, lifetime, extensions):  # type: ignore[no-untyped-def]
        # by the key, not by the request: its signature is another every time
        asked = spki(csr.public_key()), tuple(names), now
        if asked not in signed:
            signed[asked] = real(csr, names, now, lifetime, extensions)
        return signed[asked]

    cached = functools.lru_cache(maxsize=None)
    facts, certificates = cached(facts_of), cached(parse_certificates)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(fake_issuer, "_sign", sign))
        for place, instead in {
            "certrotd.state.records.decode_line": cached(records.decode_line),
            "certrotd.rotation.journaled_rotation.read_progress": _remembered(read_progress),
            "certrotd.certs.deploy.holder_of": cached(holder_of),
            "certrotd.certs.deploy.verify_key": cached(verify_key),
            "certrotd.certs.deploy.parse_certificates": certificates,
            "certrotd.certs.deploy.facts_of": facts,
            "certrotd.certs.revoking.parse_certificates": certificates,
            "certrotd.pki.facts.parse_certificates": certificates,
            "certrotd.pki.facts.facts_of": facts,
            "certrotd.pki.verify.facts_of": facts,
            "certrotd.pki.path.facts_of": facts,
        }.items():
            stack.enter_context(mock.patch(place, instead))
        yield


def _remembered(read: Callable[..., Progress]) -> Callable[..., Progress]:
    """As ``read_progress``, but once for the same records: those of a line are the same object."""
    known: dict[tuple[int, ...], tuple[object, Progress]] = {}

    def remembered(records: list[object], size: int, facts: object) -> Progress:
        key = (*map(id, records), id(facts), size)
        if key not in known:  # what is kept along with it keeps its id
            known[key] = (records, facts), read(records, size, facts)
        return known[key][1]

    return remembered


def renewal() -> Scenario:
    """Generation 2 is live, proven everywhere and due."""
    days = {1: -120, 2: -61}
    return _scenario(_world(days, live=2))


def renewal_as_suggested() -> Scenario:
    """Generation 2 is live and not due, but its CA wants it renewed, and is asked of the next."""
    world = _world({1: -60, 2: -10}, live=2, renewal_info=True)
    window = RenewalInfo(NOW - timedelta(days=2), NOW - timedelta(days=1))
    told = Suggestion(2, NOW + timedelta(days=1), window, window.start)
    shelf = world.store.shelf(NAME)
    recorded = replace(shelf.recorded, suggested=told)
    world.store.shelves[NAME] = replace(shelf, recorded=recorded)

    def later(_issuer: str, known: CertificateFacts) -> RenewalInfo:
        return RenewalInfo(known.not_after - timedelta(days=30), known.not_after)

    world.otherwise["renewal_info"] = later
    return _scenario(world)


def renewal_after_expiry() -> Scenario:
    """As renewal, but what is live has expired: there is no way back."""
    return _scenario(_world({1: -160, 2: -91}, live=2))


def renewal_through_an_outage() -> Scenario:
    """As renewal, but after the first process 40 days pass, in which generation 2 expires."""
    return replace(renewal(), outage=timedelta(days=40))


def renewal_in_a_cluster() -> Scenario:
    """As renewal, without copies or programs, and with a store that stages no chain."""
    days = {1: -120, 2: -61}
    waves = (("web",), ("mail",))
    world = _world(days, live=2, installs=False, programs=False, waves=waves, store=AtOnceStore())
    return _scenario(world)


def first_issuance() -> Scenario:
    """Nothing is there yet, and nobody to tell but the copies."""
    return _scenario(_world({}, live=None, waves=()))


def bootstrap() -> Scenario:
    """Nothing is there yet, and a service that needs some pair to start."""
    return _scenario(_world({}, live=None, bootstraps=True, waves=(("web",),)), _rotate_by_hand)


def deployment() -> Scenario:
    """Generation 3 was issued and could not be deployed."""
    return _scenario(_world({1: -120, 2: -61, 3: -1}, live=2))


def damaged_state() -> Scenario:
    """As deployment, but nobody knows any more what the targets serve."""
    scenario = deployment()
    shelves = scenario.world.store.shelves
    shelves[NAME] = replace(shelves[NAME], damaged=True)
    return scenario


def new_target() -> Scenario:
    """Generation 2 is live, and a target and its copies, new here, still have generation 1."""
    world = _world({1: -20, 2: -10}, live=2)
    old = _pair(1, -20)
    assert old.key is not None
    assert old.chain is not None
    world.installer.files = (("chain", old.chain), ("key", old.key))
    world.targets["mail-copies"].serves = matching(old.key, old.chain).fingerprint
    shelf = world.store.shelf(NAME)
    known = {"web": shelf.recorded.targets["web"]}
    world.store.shelves[NAME] = replace(shelf, recorded=CertificateState(targets=known))
    return _scenario(world)


def lost_copies() -> Scenario:
    """Generation 2 is live and proven, and somebody has removed one of the copies."""
    scenario = _scenario(_world({1: -20, 2: -10}, live=2))
    installer = scenario.world.installer
    installer.files = tuple(each for each in installer.files if each[0] == "key")
    return scenario


def damaged_files() -> Scenario:
    """Generation 2 is live and proven, and one of its files is damaged."""
    scenario = _scenario(_world({1: -20, 2: -10}, live=2))
    shelves = scenario.world.store.shelves
    shelves[NAME] = replace(shelves[NAME], worn=(2,))
    return scenario


def rollback() -> Scenario:
    """Generation 2 is live, and somebody wants generation 1 back."""
    return _scenario(_world({1: -20, 2: -10}, live=2), _roll_back)


def revocation() -> Scenario:
    """Generation 2 is live, and its key is known to somebody: it is replaced, then revoked."""
    return _scenario(_world({1: -20, 2: -10}, live=2, reuse_key=True), _revoke)


def adoption() -> Scenario:
    """Targets serve a pair that somebody else put there."""
    world = _world({}, live=None, adopts=True)
    pair = _pair(1, -10)
    assert pair.key is not None
    assert pair.chain is not None
    world.adoptable = (pair.key, pair.chain)
    for target in world.targets.values():
        target.serves = matching(pair.key, pair.chain).fingerprint
    return _scenario(world)


ALL: Mapping[str, Callable[[], Scenario]] = {
    make.__name__: make
    for make in (
        renewal,
        renewal_as_suggested,
        renewal_after_expiry,
        renewal_through_an_outage,
        renewal_in_a_cluster,
        first_issuance,
        bootstrap,
        deployment,
        damaged_state,
        new_target,
        lost_copies,
        damaged_files,
        rollback,
        revocation,
        adoption,
    )
}


def _scenario(
    world: MemoryWorld, first: Callable[[Rotator, MemoryWorld], Report] | None = None
) -> Scenario:
    bodies = [key.split(b"\n")[1:-2] for key in keys()]
    return Scenario(
        world,
        keys=_pool()[4:],
        secrets=tuple(line for body in bodies for line in body),
        first=first or _rotate,
    )


def _rotate(rotator: Rotator, world: MemoryWorld) -> Report:
    return rotator.rotate(world.managed())


def _rotate_by_hand(rotator: Rotator, world: MemoryWorld) -> Report:
    return rotator.rotate(world.managed(), by_hand=True)


def _roll_back(rotator: Rotator, world: MemoryWorld) -> Report:
    return rotator.rollback(world.managed())


def _revoke(rotator: Rotator, world: MemoryWorld) -> Report:
    return rotator.revoke(world.managed(), 2, "keyCompromise")


def _world(
    days: Mapping[int, int],
    *,
    live: int | None,
    store: MemoryStore | None = None,
    **changes: object,
) -> MemoryWorld:
    """A world with generations issued so many ``days`` before now, the live one in place."""
    world = MemoryWorld(replace(POLICY, **changes), ProcessClock(NOW))  # type: ignore[arg-type]
    world.store = store or world.store
    pairs = {number: _pair(number, ago) for number, ago in days.items()}
    metas = {
        number: Meta(NOW + timedelta(days=ago), "issued", "ca", "memory://ca", 0.5)
        for number, ago in days.items()
    }
    if live is None:
        return world
    pair = pairs[live]
    assert pair.key is not None
    assert pair.chain is not None
    leaf = matching(pair.key, pair.chain).fingerprint
    proven = {name: TargetState(live, leaf, NOW) for name in world.policy.targets}
    copied = {}
    if world.policy.installs:
        world.installer.files = (("chain", pair.chain), ("key", pair.key))
        copied = {COPIES: TargetState(live, "", NOW)}
    copies = world.installer.there()
    state = CertificateState(targets={**copied, **proven}, copies=copies)
    world.store.shelves[NAME] = Shelf(
        generations=tuple((number, pairs[number], metas[number]) for number in days),
        live=live,
        recorded=state,
    )
    for target in world.targets.values():
        target.serves = leaf
    return world


@functools.cache
def _pair(number: int, days: int) -> Pair:
    """A pair issued so many days from now."""
    clock = ManualClock(NOW + timedelta(days=days))
    issuer = MemoryIssuer(clock.now)
    issuer.authorized = set(POLICY.names)
    key = _pool()[number]
    order = issuer.order(POLICY.names, deadline=Deadline(clock, 1.0))
    chain = order.finalize(signing_request(key, POLICY.names))
    return Pair(keys()[number], chain)


__all__ = ["ALL", "NEXT_RUN", "deterministic", "keys", "renewal"]
