"""Certificates without cryptography, a CA with Let's Encrypt's limits, and a clock to break.

For simulations of many certificates over a long time: what is decided is real, what is done about
it takes microseconds.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn

from certrotd.acme.client import CLOCK_OFF
from certrotd.certs.decision import Adopt, Deploy, Renew, Sweep
from certrotd.certs.limits.budget import Budget
from certrotd.certs.limits.rate_limited_issuer import RateLimitedIssuer
from certrotd.certs.limits.sliding_windows import registered_domain
from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import Policy
from certrotd.certs.rules import decide
from certrotd.clock import Clock, Deadline
from certrotd.errors import Failure, LockHeld, Transient
from certrotd.lifecycle.report import Report
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing
from certrotd.pki.order import Challenge, OrderGone, ValidationFailed
from certrotd.rotation.engine import Finished, Outcome, RolledBack
from certrotd.state.history import with_line
from certrotd.state.lock import NoLease
from certrotd.state.ports import Lease
from tests.fakes.managed import FakeManaged

CA_URL = "https://ca.example.test/directory"
BACKDATED = timedelta(hours=1)
SKEW = timedelta(minutes=5)


class Crash(BaseException):
    """The process is gone."""


class WorldClock:
    """True time, and what this machine makes of it: the wall clock may be off, or have slept."""

    def __init__(self, start: datetime) -> None:
        self.true = start
        self.off = timedelta(0)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self.true + self.off

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))

    def stopping(self) -> bool:
        return False

    def advance(self, by: timedelta) -> None:
        """Time passes."""
        self.true += by
        self._monotonic += by.total_seconds()

    def suspend(self, by: timedelta) -> None:
        """Time passes, and the machine does not notice."""
        self.true += by


class Window:
    """What a CA counts: so many within a span of true time."""

    def __init__(self, count: int, per: timedelta) -> None:
        self.count = count
        self.per = per
        self._events: dict[str, deque[datetime]] = {}

    def add(self, key: str, now: datetime) -> bool:
        """Whether one more is within the limit; counted in any case."""
        events = self._events.setdefault(key, deque())
        while events and events[0] <= now - self.per:
            events.popleft()
        events.append(now)
        return len(events) <= self.count


class CheapCA:
    """An ACME server by its behaviour: dates by true time, counts what Let's Encrypt counts.

    ``down_until`` and ``busy_until`` are when it answers again, and when it takes orders again;
    ``unproven`` names fail validation; ``hang`` is called while a name is being proven. What it
    would have refused is in ``exceeded``; it issues all the same, so that a test sees all of it.
    ``tells`` hears its time with every order, and a clock far off it orders nothing.
    """

    def __init__(self, clock: WorldClock, lifetime: Callable[[Sequence[str]], timedelta]) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.down_until = self.busy_until = clock.true
        self.unproven: set[str] = set()
        self.hang: Callable[[Sequence[str]], None] = lambda _names: None
        self.tells: Callable[[datetime], None] = lambda _time: None
        self.orders: dict[str, CheapOrder] = {}
        self.exceeded: list[str] = []
        self._account = Window(300, timedelta(hours=3))
        self._domains = Window(50, timedelta(days=7))
        self._duplicates = Window(5, timedelta(days=7))
        self._failures = Window(5, timedelta(hours=1))
        self._known: set[frozenset[str]] = set()

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> CheapOrder:
        now = self.answers()
        self.tells(now)
        if abs(self.clock.off) > CLOCK_OFF:
            raise Transient("the clock is days ahead of the CA's: nothing was ordered")
        if now < self.busy_until:
            raise Transient("rateLimited", retry_after=self.busy_until - now)
        self._count(self._account.add("", now), "orders of the account")
        order = CheapOrder(self, f"order/{len(self.orders) + 1}", tuple(names))
        self.orders[order.url] = order
        return order

    def resume(self, url: str, *, deadline: Deadline) -> CheapOrder:
        self.answers()
        if url not in self.orders:
            raise OrderGone(f"no order at {url!r}")
        return self.orders[url]

    def answers(self) -> datetime:
        """The true time, if anybody is there."""
        if self.clock.true < self.down_until:
            raise Transient("the CA does not answer")
        return self.clock.true

    def failed(self, name: str) -> None:
        """A validation in vain."""
        self._count(self._failures.add(name, self.clock.true), f"failed validations of {name}")

    def issue(self, names: Sequence[str]) -> CertificateFacts:
        """A certificate, counted."""
        now, asked = self.clock.true, frozenset(names)
        if asked not in self._known:
            for domain in {registered_domain(name) for name in names}:
                self._count(self._domains.add(domain, now), f"new certificates for {domain}")
        self._known.add(asked)
        self._count(self._duplicates.add(",".join(sorted(asked)), now), f"duplicates of {names}")
        begin = now.replace(microsecond=0) - BACKDATED
        end = begin + self.lifetime(names)
        return CertificateFacts(
            tuple(names), "ecdsa-p256", "", "CA", f"{len(self.orders)}", begin, end, "f", False
        )

    def _count(self, within: bool, what: str) -> None:
        if not within:
            self.exceeded.append(f"{self.clock.true}: {what}")


class CheapOrder:
    """One order; ``came_to`` says what became of it."""

    def __init__(self, ca: CheapCA, url: str, names: tuple[str, ...]) -> None:
        self.url = url
        self.names = names
        self.came_to = ""
        self._ca = ca
        self._facts: CertificateFacts | None = None
        self._valid = False

    def challenges(self) -> tuple[Challenge, ...]:
        if self._valid:
            return ()
        return tuple(Challenge(f"_acme-challenge.{name}", "x") for name in self.names)

    def validate(self) -> None:
        self._ca.hang(self.names)
        self._ca.answers()
        for name in self._ca.unproven.intersection(self.names):
            self._ca.failed(name)
            self.came_to = "a validation that failed"
            raise ValidationFailed(f"no TXT record at {name}")
        self._valid = True

    def finalize(self, csr_der: bytes) -> bytes:
        """The facts of the certificate as JSON; the same again when asked again."""
        self._ca.answers()
        if self._facts is None:
            self._facts = self._ca.issue(self.names)
        return json.dumps(self._facts.to_json()).encode()


@dataclass
class CheapDisk:
    """What outlives a process of one certificate; ``flight`` is the order of an open journal."""

    policy: Policy
    live: Generation | None = None
    newest: Generation | None = None
    history: dict[str, Any] | None = None
    flight: str | None = None
    locked: bool = False
    state: CertificateState = field(default_factory=CertificateState)

    def last(self) -> dict[str, Any] | None:
        """As History.last."""
        return self.history

    def managed(self) -> FakeManaged:
        """What a process has."""
        return FakeManaged(
            policy=self.policy,
            journal=_Journal(self),
            world=_no_world,
            lock=self._lock,
            look=lambda **_: Standing(self.live, self.newest, self.state),
            generation=lambda number: Generation(number, None, None, "not kept"),
        )

    @contextmanager
    def _lock(self) -> Iterator[Lease]:
        if self.locked:
            raise LockHeld(f"certificate {self.policy.name}", holder="another process")
        yield NoLease()


@dataclass
class CheapRotator:
    """Does what Rotator does, in its order, to CheapDisks.

    ``deploys`` says whether a deployment goes well; ``crashes`` whether the process ends when an
    order has been placed; ``heard`` is told of every change of what is live.
    """

    disks: dict[str, CheapDisk]
    ca: CheapCA
    clock: Clock
    draw: Callable[[], float]
    budget: Budget | None = None
    deploys: Callable[[str], bool] = lambda _name: True
    crashes: Callable[[str], bool] = lambda _name: False
    heard: Callable[[str, Generation | None, Generation], None] = lambda _name, _old, _new: None
    _ids: int = field(default=0)

    def rotate(self, managed: Managed) -> Report:
        """As Rotator.rotate."""
        disk = self.disks[managed.policy.name]
        try:
            with managed.lock():
                return self._rotate(managed, disk)
        except Failure as failure:
            return Report(managed.policy.id, failure=failure)

    def _rotate(self, managed: Managed, disk: CheapDisk) -> Report:
        recovered = None
        if disk.flight is not None:
            recovered = self._renew(disk)
            if not isinstance(recovered, Finished):
                return Report(managed.policy.id, recovered=recovered)
        attempts, now = attempts_of(managed), self.clock.now()
        decision = decide(managed.policy, managed.look(), attempts, now=now)
        outcome: Outcome | None = None
        match decision:
            case Renew():
                outcome = self._renew(disk)
            case Deploy():
                outcome = self._deploy(disk)
            case Adopt() | Sweep():
                raise AssertionError(decision)
        return Report(managed.policy.id, decision, outcome, recovered)

    def _renew(self, disk: CheapDisk) -> Outcome:
        names, url = disk.policy.names, disk.flight or ""
        disk.flight = url
        try:
            order = self._order(disk, url)
            url = disk.flight = order.url
            if self.crashes(disk.policy.name):
                raise Crash
            if order.challenges():
                order.validate()
            facts = CertificateFacts.from_json(json.loads(order.finalize(b"")))
        except Failure as failure:
            return self._rolled_back(disk, "", "obtain", failure, url)
        now = self.clock.now()
        if not facts.not_before - SKEW <= now < facts.not_after:
            self.ca.orders[url].came_to = "a certificate that a wrong clock takes for invalid"
            return self._rolled_back(disk, "", "seal", Failure("the dates are not of now"), url)
        number = disk.newest.number + 1 if disk.newest else 1
        policy = disk.policy
        meta = Meta(now, "issued", policy.issuer, policy.authority, self.draw(), url, names)
        disk.newest = Generation(number, meta, facts)
        self.ca.orders[url].came_to = "a generation"
        return self._deploy(disk)

    def _order(self, disk: CheapDisk, url: str) -> Any:
        issuer: Any = self.ca
        if self.budget is not None:
            issuer = RateLimitedIssuer(
                self.ca,
                self.budget,
                names=disk.policy.names,
                authority=disk.policy.authority,
                look=lambda **_: Standing(disk.live, disk.newest),
                clock=self.clock,
            )
        deadline = Deadline(self.clock, 1)
        if url:
            return issuer.resume(url, deadline=deadline)
        return issuer.order(disk.policy.names, deadline=deadline)

    def _deploy(self, disk: CheapDisk) -> Outcome:
        assert disk.newest is not None
        if not self.deploys(disk.policy.name):
            return self._rolled_back(disk, "issued", "prove", Failure("the old one is served"), "")
        old, disk.live = disk.live, disk.newest
        self.heard(disk.policy.name, old, disk.newest)
        self._close(disk, None, None)
        return Finished({})

    def _rolled_back(
        self, disk: CheapDisk, to: str, step: str, failure: Failure, url: str
    ) -> RolledBack:
        wait = failure.retry_after if isinstance(failure, Transient) else None
        seconds = wait.total_seconds() if wait else None
        if url and not self.ca.orders[url].came_to:
            self.ca.orders[url].came_to = "a CA that stopped answering"
        self._close(disk, str(failure), seconds)
        return RolledBack(to, step, str(failure), seconds, {"order": url})

    def _close(self, disk: CheapDisk, failure: str | None, retry_after: float | None) -> None:
        self._ids += 1
        summary: dict[str, Any] = {
            "id": f"{self._ids}-{self.clock.now().isoformat()}",
            "ended": self.clock.now().isoformat(),
            "failure": failure,
            "retry_after": retry_after,
            "facts": {},
        }
        lines = [disk.history] if disk.history else []
        disk.history = with_line(lines, summary)[-1]
        disk.flight = None


@dataclass
class _Journal:
    history: CheapDisk

    def peek(self) -> list[dict[str, Any]] | None:
        """As FileJournal.peek: a rotation in flight is at its first step."""
        if self.history.flight is None:
            return None
        at = "2026-01-01T00:00:00+00:00"
        return [{"t": "begin", "at": at, "plan": [{"kind": "obtain"}]}, {"t": "trying", "i": 0}]


def _no_world() -> NoReturn:
    raise AssertionError("nothing here acts on the world")
