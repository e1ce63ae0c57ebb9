"""Checks of watched certificates: what files and endpoints hold, and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from certrotd.address import Address
from certrotd.certs.findings import FindingKind
from certrotd.certs.managed import Managed
from certrotd.certs.policy import COPIES, id_of
from certrotd.certs.watching import (
    Expected,
    OnDisk,
    judge_endpoint,
    judge_files,
    judge_target,
    of_broken,
    settle,
)
from certrotd.clock import Clock
from certrotd.config.model import Config
from certrotd.config.watch import WatchEntry
from certrotd.errors import Failure, Transient
from certrotd.id import Id
from certrotd.lifecycle.finding import (
    FILES,
    EarlierLooks,
    Finding,
    FindingSeverity,
    Settled,
    Watched,
)
from certrotd.observe.chain import Examiner, Presented
from certrotd.observe.tls import Endpoint
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.generation import Standing
from certrotd.pki.keys import load
from certrotd.pki.path import ChainBroken, doubts, verify_path
from certrotd.pki.verify import KeyMismatch, verify_key
from certrotd.stores.copies import altered

LOOK_TIME = 10.0
DAILY = 86400.0
TIMES = 3

Subject = WatchEntry | Id
"""An endpoint of ``watch:``, or the id of a certificate with all that belongs to it."""


class Examines(Protocol):
    """Looks at the chain an endpoint serves, as observe.chain.Examiner does."""

    def examine(self, endpoint: Endpoint) -> Presented: ...


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look came to, before it is weighed against earlier ones.

    ``moving``: a rotation of the certificate in question was in flight. What may pass is told when
    it was found ``after`` times in a row.
    """

    watched: Watched
    moving: bool
    after: int

    def settle(self, earlier: EarlierLooks, *, most: int | None = None) -> Settled:
        """As CheckResult.settle; told after ``most`` times at the latest."""
        after = self.after if most is None else min(self.after, most)
        return settle(self.watched, earlier, after=after, moving=self.moving)


@dataclass(frozen=True, slots=True)
class WatchCheck:
    """Check, of one of what is watched."""

    watches: Watches
    member: Subject

    @property
    def label(self) -> str:
        member = self.member
        return str(member) if isinstance(member, Id) else f"{member.address} ({member.asked})"

    @property
    def every(self) -> float:
        return self.watches.every(self.member)

    @property
    def about(self) -> Id | None:
        return self.member if isinstance(self.member, Id) else _certificate(self.member)

    @property
    def routine(self) -> bool:
        return isinstance(self.member, Id)

    def watched_keys(self) -> Iterator[str]:
        return self.watches.keys(self.member)

    def look(self) -> list[Looked]:
        return self.watches.look(self.member)

    def failed(self, failure: Failure) -> Watched:
        return self.watches.failed(self.member, failure)


class Watches:
    """Everything that one configuration has watched.

    ``in_flight`` says whether a certificate's journal is open, ``every`` is how often to look, in
    seconds.
    """

    def __init__(
        self,
        entries: Sequence[WatchEntry],
        certificates: Mapping[Id, Managed],
        *,
        every: float,
        in_flight: Callable[[Id], bool],
        examiner: Examines,
        clock: Clock,
    ) -> None:
        self.entries = tuple(entries)
        self.certificates = certificates
        self._every = every
        self._in_flight = in_flight
        self._examiner = examiner
        self._clock = clock

    def every(self, subject: Subject) -> float:
        """How often to look at it, in seconds."""
        if isinstance(subject, Id):
            return min(self._every, DAILY)  # a disk loses bits whatever is configured
        if subject.every is None:
            return self._every
        return subject.every.total_seconds()

    def checks(self) -> list[WatchCheck]:
        """All of it, each by itself."""
        members: list[Subject] = [*self.entries, *self.certificates]
        return [WatchCheck(self, member) for member in members]

    def keys(self, subject: Subject) -> Iterator[str]:
        """The keys of what ``look`` gives, but for targets that cannot be built."""
        now = self._clock.now()
        if not isinstance(subject, Id):
            yield _of_entry(subject, now).key
            return
        managed = self.certificates[subject]
        yield _of_files(managed, now).key
        for target in managed.policy.targets:
            with contextlib.suppress(Failure):  # then it has no endpoints either
                for endpoint in _endpoints(managed, target):
                    yield _of_target(managed, target, endpoint, now).key

    def look(self, subject: Subject) -> list[Looked]:
        """Look at it and everything that belongs to it, one after the other."""
        if isinstance(subject, Id):
            return list(self._certificate(self.certificates[subject]))
        return [self._endpoint(subject)]

    def failed(self, subject: Subject, failure: Failure) -> Watched:
        """What there is to tell of a look that could not be ended."""
        now = self._clock.now()
        if isinstance(subject, Id):
            watched = _of_files(self.certificates[subject], now)
        else:
            watched = _of_entry(subject, now)
        return replace(watched, findings=(_unreadable(failure),))

    def _managed(self, entry: WatchEntry) -> Managed | None:
        certificate = _certificate(entry)
        return self.certificates.get(certificate) if certificate else None

    def _endpoint(self, entry: WatchEntry) -> Looked:
        managed = self._managed(entry)
        moving = managed is not None and self._moving(managed)[0]
        kept = _read(managed, self._clock.now())[0] if managed is not None else OnDisk()
        wanted = Expected(
            names=entry.names or (entry.asked,),
            certificate=_certificate(entry),
            live=_live(kept),
            chained=len(kept.chain) > 1,
            notice=entry.warn_before,
        )
        endpoint = replace(endpoint_of(entry), key=_key(kept))
        watched = self._examined(_of_entry(entry, self._clock.now()), endpoint, wanted)
        moving = moving or (managed is not None and self._moved(managed, kept))
        return Looked(watched, moving, entry.after)

    def _certificate(self, managed: Managed) -> Iterator[Looked]:
        policy, now = managed.policy, self._clock.now()
        moving, unknown = self._moving(managed)
        kept, standing = _read(managed, now)
        wrong, found = [*unknown, *kept.wrong], []
        for target in policy.targets:
            reached = _reached(standing, target)
            if not (reached or policy.enabled):
                continue
            # the renewer knows of a target that was not told yet, and has it to do
            wanted = Expected(
                certificate=policy.id,
                live=_live(kept) if reached else None,
                chained=len(kept.chain) > 1,
            )
            try:
                found += [
                    self._examined(
                        _of_target(managed, target, endpoint, self._clock.now()),
                        replace(endpoint, key=_key(kept)),
                        replace(wanted, names=(endpoint.sni,)),
                    )
                    for endpoint in _endpoints(managed, target)
                ]
            except Failure as failure:
                wrong.append(Finding(FindingKind.UNREADABLE, f"target {target}: {failure}"))
        facts = kept.live.facts if kept.live else None
        files = replace(
            _of_files(managed, now),
            not_after=facts.not_after if facts else None,
            fingerprint=facts.fingerprint if facts else None,
            findings=judge_files(replace(kept, wrong=tuple(wrong)), policy, now=now),
        )
        moving = moving or self._moved(managed, kept)
        for watched in (files, *found):
            yield Looked(watched, moving, TIMES)

    def _examined(self, watched: Watched, endpoint: Endpoint, wanted: Expected) -> Watched:
        """``watched`` with what a look at the endpoint shows."""
        try:
            presented = self._examiner.examine(endpoint)
        except Failure as failure:
            kind = (
                FindingKind.UNREACHABLE
                if isinstance(failure, Transient)
                else FindingKind.UNREADABLE
            )
            words = str(failure).removeprefix(f"{endpoint}: ")
            return replace(watched, findings=(Finding(kind, words),))
        judge = judge_target if watched.sort == "target" else judge_endpoint
        return replace(
            watched,
            not_after=presented.leaf.not_after if presented.leaf else None,
            fingerprint=presented.fingerprint,
            findings=judge(presented, wanted, now=watched.at),
        )

    def _moving(self, managed: Managed) -> tuple[bool, list[Finding]]:
        """Whether a rotation of it is in flight, or the finding that this is not known."""
        try:
            return self._in_flight(managed.policy.id), []
        except Failure as failure:
            return False, [_unreadable(failure)]

    def _moved(self, managed: Managed, kept: OnDisk) -> bool:
        """Whether what was looked at is no longer what there is."""
        if self._moving(managed)[0]:
            return True
        try:
            live = managed.look().live
        except Failure:
            return False  # it was as unreadable before, or will be the next time: a finding
        return (live and live.number) != (kept.live and kept.live.number)


def watches_of(
    config: Config,
    certificates: Mapping[Id, Managed],
    *,
    in_flight: Callable[[Id], bool],
    clock: Clock,
) -> Watches:
    """What a configuration has watched, over real sockets."""
    return Watches(
        config.watch,
        certificates,
        every=config.watch_every.total_seconds(),
        in_flight=in_flight,
        examiner=Examiner(clock),
        clock=clock,
    )


def endpoint_of(entry: WatchEntry) -> Endpoint:
    """Where an entry of ``watch:`` has certrotd look."""
    roots = entry.roots or ("system" if entry.certificate is None else "none")
    return Endpoint(
        host=entry.address.host,
        port=entry.address.port,
        sni=entry.asked,
        starttls=entry.starttls,
        proxy_protocol=entry.proxy_protocol,
        deadline=entry.timeout.total_seconds(),
        roots=None if roots == "none" else str(roots),
    )


def _read(managed: Managed, now: datetime) -> tuple[OnDisk, Standing]:
    """The files of a certificate, read and put to the test; a failure is a finding."""
    try:
        standing = managed.look(thorough=True)
    except Failure as failure:
        return OnDisk(wrong=(_unreadable(failure),)), Standing()
    live = standing.live
    if live is None:
        return OnDisk(), standing
    try:
        world = managed.world()
        key, pem = world.store.read(managed.policy.name, live.number)
        chain = parse_certificates(pem, what="fullchain.pem")
        exposed = world.store.exposed(managed.policy.name, live.number)
        kept = OnDisk(live, tuple(facts_of(each) for each in chain), exposed=exposed)
    except Failure as failure:
        if live.facts is None:
            return OnDisk(live, wrong=(of_broken(live, managed.policy),)), standing
        return OnDisk(live, wrong=(_unreadable(failure),)), standing
    try:
        verify_key(load(key, what="privkey.pem"), chain[0])
        verify_path(chain)
        if doubt := doubts(chain, now=now):
            finding = Finding(FindingKind.BROKEN_CHAIN, doubt, FindingSeverity.WARNING)
            kept = replace(kept, wrong=(finding,))
        if managed.policy.installs and _reached(standing, COPIES):
            different = world.installer.different(key, pem)
            there = altered(standing.state.copies, world.installer.copies())
            kept = replace(kept, copies=different is None, displaced=different or there)
    except KeyMismatch as mismatch:
        kept = replace(kept, wrong=(Finding(FindingKind.KEY_MISMATCH, str(mismatch)),))
    except ChainBroken as broken:
        kept = replace(kept, wrong=(Finding(FindingKind.BROKEN_CHAIN, str(broken)),))
    except Failure as failure:
        kept = replace(kept, wrong=(_unreadable(failure),))
    return kept, standing


def _unreadable(failure: Failure) -> Finding:
    return Finding(FindingKind.UNREADABLE, str(failure))


def _live(kept: OnDisk) -> str | None:
    return kept.chain[0].fingerprint if kept.chain else None


def _key(kept: OnDisk) -> str:
    """The type of the live key, empty where none can be read."""
    return kept.chain[0].key_type if kept.chain else ""


def _reached(standing: Standing, place: str) -> bool:
    """Whether the live generation is what was brought there last."""
    state = standing.state.targets.get(place)
    return (
        state is not None and standing.live is not None and state.generation == standing.live.number
    )


def _endpoints(managed: Managed, target: str) -> list[Endpoint]:
    bound = managed.world().target(target)
    if bound is None:
        return []
    return [replace(each, deadline=LOOK_TIME) for each in bound.endpoints]


def _certificate(entry: WatchEntry) -> Id | None:
    return id_of(entry.certificate) if entry.certificate is not None else None


def _of_files(managed: Managed, now: datetime) -> Watched:
    policy = managed.policy
    return Watched(FILES, policy.name, now, about=policy.id)


def _of_entry(entry: WatchEntry, now: datetime) -> Watched:
    return Watched("endpoint", str(entry.address), now, sni=entry.asked, about=_certificate(entry))


def _of_target(managed: Managed, target: str, endpoint: Endpoint, now: datetime) -> Watched:
    return Watched(
        "target",
        str(Address(endpoint.host, endpoint.port)),
        now,
        sni=endpoint.sni,
        about=managed.policy.id,
        target=target,
    )
