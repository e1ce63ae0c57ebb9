"""Locks in a cluster: Leases that are renewed while they are held, and taken once they ran out.

The time is that of the API server, which all who want a Lease share. Who holds one is in it, and
writes it again and again at the resourceVersion that was read: so nobody takes it in between. Who
cannot write it does not know whether it is still theirs, and waits or stops.
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
from typing import Any

from certrotd.clock import Deadline
from certrotd.errors import Failure, LockHeld
from certrotd.jsontext import parsed
from certrotd.kube.api import Object, revision_of
from certrotd.kube.objects import GROUP, Objects, annotation
from certrotd.state.ports import Conflict, Fenced

HOLDER, SHARERS = f"{GROUP}/holder", f"{GROUP}/sharers"
"""Annotations: who holds it, in words, and who share it: {id: [words, renewed]}."""
DURATION = 15
SLACK = 3.0
"""So many seconds a Lease may be renewed late: clocks of API servers differ a little."""
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
    this process had it before, and nobody had it in between.
    """

    name: str
    holder: str
    shared: bool
    renewed: float
    check_with: Callable[[Hold], None]
    written: _Found
    token: int
    again: bool
    lost: str = ""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        self.check_with(self)


@dataclass(frozen=True)
class _Found:
    """A Lease as it was read."""

    revision: str
    uid: str
    spec: Mapping[str, Any]
    words: str
    sharers: Mapping[str, tuple[str, datetime]]

    def alone(self, now: datetime) -> str | None:
        """Who holds it alone, in words; None if nobody does, or not any more."""
        holder, renewed = self.spec.get("holderIdentity"), _moment(self.spec.get("renewTime"))
        if not holder or renewed is None or self._over(renewed, now):
            return None
        return self.words or "another process"

    def together(self, now: datetime) -> dict[str, tuple[str, datetime]]:
        """Who share it now."""
        return {each: told for each, told in self.sharers.items() if not self._over(told[1], now)}

    def left(self, renewed: datetime | None, now: datetime) -> timedelta | None:
        """How long it lasts still, if it is not renewed any more, and a moment."""
        return None if renewed is None else renewed - now + self._lasts + timedelta(seconds=1)

    @property
    def _lasts(self) -> timedelta:
        """By the duration that its holder has written."""
        told = self.spec.get("leaseDurationSeconds")
        lasts = told if isinstance(told, int) and told > 0 else DURATION
        return timedelta(seconds=lasts + SLACK)

    def _over(self, renewed: datetime, now: datetime) -> bool:
        """Whether it ran out.

        So has one that was renewed in the future: the server's clock was put back, and whoever
        holds it would have renewed it since.
        """
        return abs(now - renewed) > self._lasts


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
        self._released: dict[str, _Found] = {}
        self._changing = threading.Lock()
        self._renewer: threading.Thread | None = None
        self._over = threading.Event()

    @contextlib.contextmanager
    def hold(
        self, name: str, what: str, *, wait: Deadline | None = None, shared: bool = False
    ) -> Iterator[Hold]:
        """As State.lock(); raises LockHeld, and DiskTrouble."""
        holder = self._new_id()
        tries = 0
        while True:
            tries += 1
            taken = self._take(name, holder, shared=shared)
            if isinstance(taken, Hold):
                break
            if taken is None and tries < _TRIES:
                self._step_back(tries)
                continue  # somebody else wrote it meanwhile: perhaps no more than to share it
            if wait is None or wait.passed:
                words, left = taken or ("another process", None)
                raise LockHeld(what, holder=words, free_after=left)
            wait.pause(_POLL)
        self._begin(taken)
        try:
            yield taken
        finally:
            self._end(taken)

    def holder(self, name: str) -> str | None:
        """As State.holder(); raises DiskTrouble."""
        found = _read(self._objects, name)
        return found.alone(self._now()) if found else None

    def _take(self, name: str, holder: str, *, shared: bool) -> Hold | Taken | None:
        """The Lease, or who has it; None if somebody else wrote it just then."""
        mine = self._released.pop(name, None)
        found = mine or _read(self._objects, name)
        now = self._now()
        alone = found.alone(now) if found else None
        if found is not None and alone is not None:
            return alone, found.left(_moment(found.spec.get("renewTime")), now)
        sharers = found.together(now) if found else {}
        if found is not None and sharers and not shared:
            words, renewed = max(sharers.values(), key=lambda told: told[1])
            return words, found.left(renewed, now)
        clock = self._objects.api.clock
        begun = clock.monotonic()
        words = self._words()
        try:
            if shared:
                written = self._write(name, found, {**sharers, holder: (words, now)})
            else:
                written = self._write(name, found, {}, holder=holder, words=words, now=now)
        except Conflict:
            return None
        token = 0 if shared else int(written.revision)
        again = mine is not None  # written over just what this process has left
        return Hold(name, holder, shared, begun, self._check, written, token, again)

    def _check(self, hold: Hold) -> None:
        """Raise Fenced if the Lease is another's, or nobody can tell for too long."""
        clock = self._objects.api.clock
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
        return age >= self._duration / SHARE

    def _renew(self, hold: Hold) -> None:
        """Write it once more, if it is still held; else it is lost. Raises Failure."""
        for tried in range(_TRIES):
            begun = self._objects.api.clock.monotonic()
            found = _read(self._objects, hold.name) if tried else hold.written
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
                    if found.spec.get("holderIdentity") != hold.holder:
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

    def _begin(self, hold: Hold) -> None:
        with self._changing:
            self._held[hold.holder] = hold
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

    def _let_go(self, hold: Hold, objects: Objects) -> None:
        for tried in range(_TRIES):
            found = _read(objects, hold.name) if tried else hold.written
            if found is None:
                return
            sharers = {k: v for k, v in found.sharers.items() if k != hold.holder}
            mine = found.spec.get("holderIdentity") == hold.holder
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
        found: _Found | None,
        sharers: Mapping[str, tuple[str, datetime]],
        *,
        holder: str = "",
        words: str = "",
        now: datetime | None = None,
        objects: Objects | None = None,
    ) -> _Found:
        spec: Object = {"leaseDurationSeconds": self._duration}
        before = found.spec if found else {}
        transitions = int(before.get("leaseTransitions") or 0)
        if now is not None:
            same = before.get("holderIdentity") == holder
            begun = before.get("acquireTime") if same else None
            spec |= {
                "holderIdentity": holder,
                "acquireTime": begun or _micro(now),
                "renewTime": _micro(now),
            }
            transitions += not same
        spec["leaseTransitions"] = transitions
        told = {each: [of, at.isoformat()] for each, (of, at) in sharers.items()}
        written = (objects or self._objects).write(
            name,
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec},
            revision=found.revision if found else "",
            uid=found.uid if found else "",
            annotations={HOLDER: words, SHARERS: json.dumps(told)},
        )
        return _found_in(written)


def _read(objects: Objects, name: str) -> _Found | None:
    found = objects.read(name)
    return None if found is None else _found_in(found)


def _found_in(found: Object) -> _Found:
    return _Found(
        revision_of(found),
        str(found["metadata"].get("uid") or ""),
        found.get("spec") or {},
        annotation(found, HOLDER),
        _sharers(annotation(found, SHARERS)),
    )


def _micro(at: datetime) -> str:
    """As MicroTime of the API has it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _sharers(text: str) -> dict[str, tuple[str, datetime]]:
    """What the annotation says; nothing that anybody else has written there."""
    try:
        told = parsed(text) if text else {}
        found = {str(each): (str(of), _moment(at)) for each, (of, at) in told.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    return {each: (of, at) for each, (of, at) in found.items() if at is not None}
