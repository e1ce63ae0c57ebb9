"""Locks in a cluster: Leases that are renewed while they are held, and taken once they ran out.

The time is that of the API server, which all who want a Lease share. Who holds one is in it, and
writes it again and again at the resourceVersion that was read: so nobody takes it in between. Who
cannot write it does not know whether it is still theirs, and waits or stops.

A daemon has a Lease for as long as it is at work. What else it takes is held within that: such a
Lease says so, is not renewed, and lasts as long as the other one. Whoever wants it, and finds that
the other one ran out, takes that away first: a daemon that stood still has lost everything then.
"""

from __future__ import annotations

import contextlib
import json
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certrotd.clock import Deadline
from certrotd.errors import Failure, LockHeld
from certrotd.kube.api import Object
from certrotd.kube.found_lease import (
    DURATION,
    HOLDER,
    SHARERS,
    WITHIN,
    FoundLease,
    found_in,
    micro,
    read_lease,
)
from certrotd.kube.objects import Objects
from certrotd.state.ports import Conflict, Fenced

SHARE = 2
"""It is renewed this often while it lasts, and taken for held that long after it was written."""
_POLL = 0.25
_TRIES = 20
_LOOKS = 5
"""So many looks in the time of one renewal tell which Lease is to be renewed."""

Taken = tuple[str, timedelta | None]
"""Who has a Lease, in words, and how long it lasts if it is not renewed any more."""


@dataclass
class Hold:
    """A Lease that is held: ports.Lease. ``lost`` says why it is not any more.

    ``written`` is as this process wrote it last: most likely nobody else has since. ``again``:
    this process had it before, and nobody had it in between. It lasts as long as the one that it
    is held ``within``, where there is such a one.
    """

    name: str
    holder: str
    shared: bool
    renewed: float
    check_with: Callable[[Hold], None]
    written: FoundLease
    token: int
    again: bool
    within: Hold | None = None
    lost: str = ""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        self.check_with(self)


class Leases:
    """The locks of one instance; ``words`` says whose they are, in its locks.

    What is held is renewed by a thread of its own; ``duration`` is in whole seconds.
    """

    def __init__(
        self,
        objects: Objects,
        words: Callable[[], str],
        *,
        duration: int = DURATION,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
        draw: Callable[[], float] = random.random,  # spreads load alone
    ) -> None:
        self._objects = objects
        self._words = words
        self._duration = duration
        self._new_id = new_id
        self._draw = draw
        self._held: dict[str, Hold] = {}
        self._released: dict[str, FoundLease] = {}
        self._session: Hold | None = None
        self._changing = threading.Lock()
        self._renewer: threading.Thread | None = None
        self._over = threading.Event()

    @contextlib.contextmanager
    def hold(
        self,
        name: str,
        what: str,
        *,
        wait: Deadline | None = None,
        shared: bool = False,
        session: bool = False,
    ) -> Iterator[Hold]:
        """As State.lock(); raises LockHeld, and DiskTrouble.

        What is taken alone while a ``session`` is held is held within that.
        """
        holder = self._new_id()
        tries = 0
        while True:
            tries += 1
            within = None if shared or session else self._session
            taken = self._take(name, holder, shared=shared, within=within)
            if isinstance(taken, Hold):
                break
            if taken is None and tries < _TRIES:
                self._step_back(tries)
                continue  # somebody else wrote it meanwhile: perhaps no more than to share it
            if wait is None or wait.passed:
                words, left = taken or ("another process", None)
                raise LockHeld(what, holder=words, free_after=left)
            wait.pause(_POLL)
        self._begin(taken, session=session)
        try:
            yield taken
        finally:
            self._end(taken)

    def holder(self, name: str) -> str | None:
        """As State.holder(); raises DiskTrouble."""
        found = read_lease(self._objects, name)
        held = self._alone(found, self._now()) if found else None
        return held[0] if held else None

    def _take(
        self, name: str, holder: str, *, shared: bool, within: Hold | None
    ) -> Hold | Taken | None:
        """The Lease, or who has it; None if somebody else wrote it just then."""
        mine = self._released.pop(name, None)
        found = mine or read_lease(self._objects, name)
        now = self._now()
        if found is not None and (held := self._alone(found, now)) is not None:
            return held
        sharers = found.together(now) if found else {}
        if found is not None and sharers and not shared:
            words, renewed = max(sharers.values(), key=lambda told: told[1])
            return words, found.left(renewed, now)
        clock = self._objects.api.clock
        begun = clock.monotonic()
        words = self._words()
        try:
            if found is not None and found.holder and found.within is not None:
                self._end_session(*found.within)
            if shared:
                written = self._write(name, found, {**sharers, holder: (words, now)})
            else:
                written = self._write(
                    name, found, {}, holder=holder, words=words, now=now, within=within
                )
        except Conflict:
            return None
        token = 0 if shared else int(written.revision)
        again = mine is not None  # written over just what this process has left
        return Hold(name, holder, shared, begun, self._check, written, token, again, within)

    def _alone(self, found: FoundLease, now: datetime) -> Taken | None:
        """Who holds it alone; None if nobody does, or not any more."""
        lasting = found
        if found.holder and found.within is not None:
            name, holder = found.within
            other = read_lease(self._objects, name)
            if other is None or other.holder != holder:
                return None  # whoever it was has ended, or has lost it
            lasting = other
        words = lasting.alone(now)
        return None if words is None else (found.words or words, lasting.left(lasting.renewed, now))

    def _end_session(self, name: str, holder: str) -> None:
        """Take a Lease away that ran out, if it is still theirs; raises Conflict if it did not."""
        found = read_lease(self._objects, name)
        if found is None or found.holder != holder:
            return
        if found.alone(self._now()) is not None:
            raise Conflict(f"the Lease of {name} was renewed")
        self._write(name, found, found.sharers)

    def _check(self, hold: Hold) -> None:
        """Raise Fenced if the Lease is another's, or nobody can tell for too long."""
        clock = self._objects.api.clock
        if (within := hold.within) is not None:
            self._check(within)
        with hold.guard:
            if not hold.lost and self._is_old(hold):
                try:
                    self._renew(hold)
                except Failure as failure:
                    if clock.monotonic() - hold.renewed > self._duration:
                        hold.lost = f"nobody can tell whose it is: {failure.message}"
            if hold.lost:
                raise Fenced(f"the Lease of {hold.name} is not held any more: {hold.lost}")

    def _is_old(self, hold: Hold) -> bool:
        """Whether it is to be renewed."""
        age = self._objects.api.clock.monotonic() - hold.renewed
        return hold.within is None and age >= self._duration / SHARE

    def _renew(self, hold: Hold) -> None:
        """Write it once more, if it is still held; else it is lost. Raises Failure."""
        for tried in range(_TRIES):
            begun = self._objects.api.clock.monotonic()
            found = read_lease(self._objects, hold.name) if tried else hold.written
            now = self._now()
            if found is None:
                hold.lost = "it was removed"
                return
            try:
                if hold.shared:
                    if hold.holder not in found.sharers:
                        hold.lost = "it ran out"
                        return
                    sharers = {**found.sharers, hold.holder: (self._words(), now)}
                    hold.written = self._write(hold.name, found, sharers)
                else:
                    if found.holder != hold.holder:
                        hold.lost = f"{found.words or 'another process'} has it"
                        return
                    hold.written = self._write(
                        hold.name, found, {}, holder=hold.holder, words=found.words, now=now
                    )
            except Conflict:
                self._step_back(tried)
                continue  # somebody wrote it: whether it is theirs now, the next look tells
            hold.renewed = begun
            return

    def _begin(self, hold: Hold, *, session: bool) -> None:
        with self._changing:
            self._held[hold.holder] = hold
            if session:
                self._session = hold
            if hold.within is not None and hold.within is not self._session:
                hold.lost = f"that of {hold.within.name} has ended"
            if self._renewer is None:
                self._over = threading.Event()
                self._renewer = threading.Thread(
                    target=self._keep, args=(self._over,), name="leases", daemon=True
                )
                self._renewer.start()

    def _end(self, hold: Hold) -> None:
        """Let others have it, if that can be done at once; else it runs out by itself."""
        with self._changing:
            del self._held[hold.holder]
            if self._session is hold:
                self._session = None
            left = [each for each in self._held.values() if each.within is hold]
        for each in left:
            self._stand_alone(each)
        with self._changing:
            if not self._held:
                self._over.set()
                self._renewer = None  # it may be about to renew yet: the next hold has its own
        if not hold.guard.acquire(timeout=1.0):
            return  # it is just being renewed, by an API server that does not answer
        try:
            with contextlib.suppress(Failure):
                self._let_go(hold, replace(self._objects, patience=0.0))
        finally:
            hold.guard.release()

    def _stand_alone(self, hold: Hold) -> None:
        """The one that it is held within is about to end: from now on it is renewed itself."""
        with hold.guard:
            hold.within = None
            try:
                self._renew(hold)
            except Failure as failure:
                hold.lost = f"nobody can tell whose it is: {failure.message}"

    def _let_go(self, hold: Hold, objects: Objects) -> None:
        for tried in range(_TRIES):
            found = read_lease(objects, hold.name) if tried else hold.written
            if found is None:
                return
            sharers = {k: v for k, v in found.sharers.items() if k != hold.holder}
            mine = found.holder == hold.holder
            if not mine and len(sharers) == len(found.sharers):
                return
            try:
                self._released[hold.name] = self._write(hold.name, found, sharers, objects=objects)
            except Conflict:
                self._step_back(tried)
                continue
            return

    def _keep(self, over: threading.Event) -> None:
        """Renew what is held, each in its time, until nothing is."""
        while not over.wait(self._duration / SHARE / _LOOKS):
            for hold in list(self._held.values()):
                if hold.lost or not self._is_old(hold):
                    continue
                with hold.guard, contextlib.suppress(Failure):  # check() says so when it matters
                    if not hold.lost and self._is_old(hold):
                        self._renew(hold)

    def _step_back(self, tries: int) -> None:
        """Many that share a Lease write it at once: each waits a while of its own after a clash."""
        self._objects.api.clock.sleep(self._draw() * min(tries + 1, 9) / 100)

    def _now(self) -> datetime:
        return self._objects.api.now()

    def _write(
        self,
        name: str,
        found: FoundLease | None,
        sharers: Mapping[str, tuple[str, datetime]],
        *,
        holder: str = "",
        words: str = "",
        now: datetime | None = None,
        within: Hold | None = None,
        objects: Objects | None = None,
    ) -> FoundLease:
        spec: Object = {"leaseDurationSeconds": self._duration}
        before = found.spec if found else {}
        transitions = int(before.get("leaseTransitions") or 0)
        if now is not None:
            same = before.get("holderIdentity") == holder
            begun = before.get("acquireTime") if same else None
            spec |= {
                "holderIdentity": holder,
                "acquireTime": begun or micro(now),
                "renewTime": micro(now),
            }
            transitions += not same
        spec["leaseTransitions"] = transitions
        told = {each: [of, at.isoformat()] for each, (of, at) in sharers.items()}
        session = {WITHIN: f"{within.holder} {within.name}"} if within is not None else {}
        written = (objects or self._objects).write(
            name,
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec},
            revision=found.revision if found else "",
            uid=found.uid if found else "",
            annotations={HOLDER: words, SHARERS: json.dumps(told), **session},
        )
        return found_in(written)
