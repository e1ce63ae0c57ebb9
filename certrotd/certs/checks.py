"""Checks of watched certificates: what files and endpoints hold, and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from certrotd.address import Address
from certrotd.certs.catching_up import survey
from certrotd.certs.compromised import compromised
from certrotd.certs.findings import FindingKind
from certrotd.certs.managed import Managed
from certrotd.certs.policy import COPIES, id_of
from certrotd.certs.watching import (
    Expected,
    OnDisk,
    judge_endpoint,
    judge_files,
    judge_target,
    of_behind,
    of_broken,
    settle,
)
from certrotd.clock import Clock
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
from certrotd.lifecycle.wing import Check
from certrotd.observe.chain import Presented
from certrotd.observe.tls import Endpoint
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.generation import Standing
from certrotd.pki.path import ChainBroken, doubts, verify_path
from certrotd.pki.request import holder_of
from certrotd.pki.verify import KeyMismatch, verify_key
from certrotd.stores.copies import altered

LOOK_TIME = 10.0
DAILY = 86400.0
TIMES = 3

TARGET = "target"
"""The sort of an endpoint of a target."""


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
class Means:
    """What checks look with; ``every`` so many seconds, where an entry says nothing else.

    ``in_flight`` says whether a certificate's journal is open, ``wake`` has one decided about.
    """

    every: float
    in_flight: Callable[[Id], bool]
    examiner: Examines
    clock: Clock
    wake: Callable[[Id], None] = lambda _subject: None

    def examined(self, watched: Watched, endpoint: Endpoint, wanted: Expected) -> Watched:
        """``watched`` with what a look at the endpoint shows."""
        try:
            presented = self.examiner.examine(endpoint)
        except Failure as failure:
            kind = (
                FindingKind.UNREACHABLE
                if isinstance(failure, Transient)
                else FindingKind.UNREADABLE
            )
            words = str(failure).removeprefix(f"{endpoint}: ")
            return replace(watched, findings=(Finding(kind, words),))
        judge = judge_target if watched.sort == TARGET else judge_endpoint
        return replace(
            watched,
            not_after=presented.leaf.not_after if presented.leaf else None,
            fingerprint=presented.fingerprint,
            findings=judge(presented, wanted, now=watched.at),
        )

    def moving(self, managed: Managed) -> tuple[bool, list[Finding]]:
        """Whether a rotation of it is in flight, or the finding that this is not known."""
        try:
            return self.in_flight(managed.policy.id), []
        except Failure as failure:
            return False, [_unreadable(failure)]

    def moved(self, managed: Managed, kept: OnDisk) -> bool:
        """Whether what was looked at is no longer what there is."""
        if self.moving(managed)[0]:
            return True
        try:
            live = managed.look().live
        except Failure:
            return False  # it was as unreadable before, or will be the next time: a finding
        return (live and live.number) != (kept.live and kept.live.number)


@dataclass(frozen=True, slots=True)
class EndpointCheck:
    """Check, of an entry of ``watch:``; ``managed`` is the certificate of ours that it names."""

    entry: WatchEntry
    managed: Managed | None
    means: Means

    @property
    def label(self) -> str:
        return f"{self.entry.address} ({self.entry.asked})"

    @property
    def every(self) -> float:
        every = self.entry.every
        return self.means.every if every is None else every.total_seconds()

    @property
    def about(self) -> Id | None:
        certificate = self.entry.certificate
        return id_of(certificate) if certificate is not None else None

    @property
    def routine(self) -> bool:
        return False

    def watched_keys(self) -> list[str]:
        return [self._watched().key]

    def look(self) -> list[Looked]:
        entry, managed, means = self.entry, self.managed, self.means
        moving = managed is not None and means.moving(managed)[0]
        kept = _read(managed, means.clock.now())[0] if managed is not None else OnDisk()
        wanted = Expected(
            names=entry.names or (entry.asked,),
            certificate=self.about,
            live=_live(kept),
            chained=len(kept.chain) > 1,
            notice=entry.warn_before,
        )
        endpoint = replace(endpoint_of(entry), key=_key(kept))
        watched = means.examined(self._watched(), endpoint, wanted)
        moving = moving or (managed is not None and means.moved(managed, kept))
        return [Looked(watched, moving, entry.after)]

    def failed(self, failure: Failure) -> Watched:
        return replace(self._watched(), findings=(_unreadable(failure),))

    def _watched(self) -> Watched:
        entry, now = self.entry, self.means.clock.now()
        return Watched("endpoint", str(entry.address), now, sni=entry.asked, about=self.about)


@dataclass(frozen=True, slots=True)
class CertificateCheck:
    """Check, of a certificate: its files, its copies, and the endpoints of its targets."""

    managed: Managed
    means: Means

    @property
    def label(self) -> str:
        return str(self.about)

    @property
    def every(self) -> float:
        return min(self.means.every, DAILY)  # a disk loses bits whatever is configured

    @property
    def about(self) -> Id:
        return self.managed.policy.id

    @property
    def routine(self) -> bool:
        return True

    def watched_keys(self) -> Iterator[str]:
        """But for targets that cannot be built."""
        yield self._files().key
        for target in self.managed.policy.targets:
            with contextlib.suppress(Failure):  # then it has no endpoints either
                for endpoint in self._endpoints(target):
                    yield self._served(target, endpoint).key

    def look(self) -> list[Looked]:
        managed, means, policy = self.managed, self.means, self.managed.policy
        files = self._files()
        moving, unknown = means.moving(managed)
        kept, standing = _read(managed, files.at)
        wrong, found = [*unknown, *kept.wrong, *self._behind(moving)], []
        for target in policy.targets:
            reached = standing.reached(target)
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
                    means.examined(
                        self._served(target, endpoint),
                        replace(endpoint, key=_key(kept)),
                        replace(wanted, names=(endpoint.sni,)),
                    )
                    for endpoint in self._endpoints(target)
                ]
            except Failure as failure:
                wrong.append(Finding(FindingKind.UNREADABLE, f"target {target}: {failure}"))
        facts = kept.live.facts if kept.live else None
        files = replace(
            files,
            not_after=facts.not_after if facts else None,
            fingerprint=facts.fingerprint if facts else None,
            findings=judge_files(replace(kept, wrong=tuple(wrong)), policy, now=files.at),
        )
        looks = (files, *found)
        if any(each.findings for each in looks):
            moving = moving or means.moved(managed, kept)
        else:
            moving = moving or means.moving(managed)[0]  # nothing that a rotation could explain
        return [Looked(watched, moving, TIMES) for watched in looks]

    def _behind(self, moving: bool) -> Iterator[Finding]:
        """Who has an older copy; whom a rotation can bring up to date, one does at once."""
        policy = self.managed.policy
        if moving or not policy.enabled:
            return
        try:
            found = survey(self.managed)
        except Failure as failure:
            yield _unreadable(failure)
            return
        if found.some:
            with contextlib.suppress(Failure):  # whoever keeps the state reports that
                self.means.wake(policy.id)
        for target, behind in found.behind.items():
            if finding := of_behind(target, behind):
                yield finding
        for target, away in found.failures.items():
            yield Finding(FindingKind.UNREADABLE, f"target {target}: {away}")

    def failed(self, failure: Failure) -> Watched:
        return replace(self._files(), findings=(_unreadable(failure),))

    def _files(self) -> Watched:
        return Watched(FILES, self.about.name, self.means.clock.now(), about=self.about)

    def _served(self, target: str, endpoint: Endpoint) -> Watched:
        address, now = str(Address(endpoint.host, endpoint.port)), self.means.clock.now()
        return Watched(TARGET, address, now, sni=endpoint.sni, about=self.about, target=target)

    def _endpoints(self, target: str) -> list[Endpoint]:
        bound = self.managed.world().target(target)
        if bound is None:
            return []
        return [replace(each, deadline=LOOK_TIME) for each in bound.endpoints]


def checks_of(
    entries: Sequence[WatchEntry], certificates: Mapping[Id, Managed], means: Means
) -> list[Check]:
    """What is watched: the entries, then the certificates."""
    return [
        *(EndpointCheck(each, _named(each, certificates), means) for each in entries),
        *(CertificateCheck(each, means) for each in certificates.values()),
    ]


def _named(entry: WatchEntry, certificates: Mapping[Id, Managed]) -> Managed | None:
    """The certificate that the entry names, if the configuration has it."""
    return certificates.get(id_of(entry.certificate)) if entry.certificate is not None else None


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
        kept = OnDisk(
            live,
            tuple(facts_of(each) for each in chain),
            exposed=exposed,
            foreign=standing.foreign,
        )
    except Failure as failure:
        if live.facts is None:
            return OnDisk(live, wrong=(of_broken(live, managed.policy),)), standing
        return OnDisk(live, wrong=(_unreadable(failure),)), standing
    try:
        verify_key(holder_of(key, what="privkey.pem"), chain[0])
        verify_path(chain)
        kept = replace(kept, compromised=compromised(key, world) or "")
        if doubt := doubts(chain, now=now):
            finding = Finding(FindingKind.BROKEN_CHAIN, doubt, FindingSeverity.WARNING)
            kept = replace(kept, wrong=(finding,))
        if managed.policy.installs and standing.reached(COPIES):
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
