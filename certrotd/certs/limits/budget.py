"""The budget at a CA, kept across restarts and shared by processes, and who may spend next.

The document ``budget/ISSUER``: ``{"version": 1, "stamps": {KEY: [SECONDS, …]}}``, durable before an
order is placed, and before a certificate is asked for.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from certrotd.certs.limits.sliding_windows import (
    Limits,
    Over,
    Spent,
    charge_certificate,
    charge_failure,
    charge_order,
    charged,
    leapt,
    over,
    settle,
)
from certrotd.clock import Clock, Deadline
from certrotd.jsontext import parsed
from certrotd.state.ports import Conflict, Document
from certrotd.state.typed import TypedDocument

VERSION = 1
WAIT = 30.0
_POLL = 0.02


class BudgetStore(Protocol):
    """Where what was spent is kept."""

    def load(self) -> Spent | None:
        """What is kept, or None while it is what this process loaded or saved last."""
        ...

    def save(self, spent: Spent) -> None:
        """Durable when it returns; raises DiskTrouble, and Conflict if another was quicker."""
        ...


class DocumentBudgetStore:
    """The record in a document; one that is damaged is kept aside, and ``report`` hears of it.

    Forgetting what was spent costs a refusal by the CA at worst, refusing to go on costs
    certificates.
    """

    def __init__(self, document: Document, report: Callable[[str], None]) -> None:
        self._kept = budget_document(document, report)

    def load(self) -> Spent | None:
        """As BudgetStore.load; raises DiskTrouble."""
        return (self._kept.read() or Spent()) if self._kept.changed() else None

    def save(self, spent: Spent) -> None:
        """As BudgetStore.save."""
        self._kept.replace(spent)


def budget_document(
    document: Document, report: Callable[[str], None] = lambda _line: None
) -> TypedDocument[Spent]:
    """What was spent, as it is kept."""
    return TypedDocument(document, parse, render, report=report, loss=", and counted anew")


class Budget:
    """One account's budget: who holds a part of it, who waits for it, what is spent.

    ``name`` is that of a certificate, ``names`` those to be in it. Safe to use from several
    threads. Raises DiskTrouble rather than spend unrecorded, or guess what cannot be read.
    """

    def __init__(self, limits: Limits, record: BudgetStore, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._record = record
        self._lock = threading.Lock()
        self._spent = Spent()
        self._size = 0
        self._seen: datetime | None = None
        self._raw = False
        self._leap = timedelta()
        self._held: dict[str, tuple[str, ...]] = {}
        self._waits: dict[str, str] = {}
        self._holding: Counter[str] = Counter()
        self._queueing: Counter[str] = Counter()

    def hold(self, name: str, names: Sequence[str], *, renewal: bool, now: datetime) -> Over | None:
        """Set a part aside for an order that is about to be placed, or say when there is one.

        Whoever was told to wait is let in at that moment, before those who came later.
        """
        with self._lock:
            self._refresh(now)
            self._let_go(name)
            waited = self._stop_waiting(name)
            keys = charged(self.limits, names, renewal=renewal)
            ahead = {key: self._holding[key] for key in keys}
            if not waited:  # else those that wait came later
                for key in keys:
                    ahead[key] += self._queueing[key]
            found = over(self._spent, self.limits, names, renewal=renewal, now=now, ahead=ahead)
            if found is not None:
                self._waits[name] = found.key
                self._queueing[found.key] += 1
            else:
                self._held[name] = keys
                self._holding.update(keys)
            return found

    def release(self, name: str) -> None:
        """``name`` neither orders nor waits any more."""
        with self._lock:
            self._let_go(name)
            self._stop_waiting(name)

    def order(self, *, now: datetime) -> None:
        """Count an order, durably, before it is placed; it is never refused here."""
        self._spend(now, lambda spent: charge_order(spent, self.limits, now=now))

    def certificate(self, names: Sequence[str], url: str, *, renewal: bool, now: datetime) -> None:
        """Count, durably, the certificate of the order ``url`` before it is asked for."""
        self._spend(
            now,
            lambda spent: charge_certificate(
                spent, self.limits, names, url, renewal=renewal, now=now
            ),
        )

    def failed(self, names: Sequence[str], *, now: datetime) -> None:
        """Count, durably, a validation that the CA was not satisfied with."""
        self._spend(now, lambda spent: charge_failure(spent, self.limits, names, now=now))

    def leapt(self, by: timedelta) -> None:
        """The wall clock went forward, and perhaps no time has passed; known also if it raises."""
        with self._lock:
            if self._seen is not None:  # else nothing was asked by the clock as it was before
                self._leap += by
            self._load()

    def left(self, now: datetime) -> int | None:
        """How many orders the account has left; None without such a limit."""
        if self.limits.orders is None:
            return None
        with self._lock:
            self._refresh(now)
            inside = settle(self._spent, self.limits, now=now).stamps.get("orders", ())
            return max(0, self.limits.orders.count - len(inside))

    def _spend(self, now: datetime, charge: Callable[[Spent], None]) -> None:
        """Read, charge, save, and again while other processes are quicker; raises Conflict then."""
        with self._lock:
            deadline = Deadline(self._clock, WAIT)
            while True:
                self._refresh(now)
                spent = Spent(dict(self._spent.stamps))
                charge(spent)
                try:
                    self._record.save(spent)
                except Conflict:
                    if deadline.passed:
                        raise
                    deadline.pause(_POLL)
                else:
                    self._spent = spent
                    return

    def _refresh(self, now: datetime) -> None:
        """Be up to date; drop what no longer counts when it becomes much."""
        self._load()
        back = self._seen is not None and now < self._seen
        grown = len(self._spent.stamps) > 2 * self._size + 64
        self._seen = now
        if self._raw or back or grown:
            self._spent = settle(self._spent, self.limits, now=now)
            self._size, self._raw = len(self._spent.stamps), False

    def _load(self) -> None:
        """Read what another process wrote, and take in what the clock has leapt since."""
        changed = self._record.load()
        if changed is not None:
            self._spent, self._raw = changed, True
        if self._leap:
            self._spent, self._leap = leapt(self._spent, self.limits, self._leap), timedelta()

    def _let_go(self, name: str) -> None:
        keys = self._held.pop(name, ())
        self._holding.subtract(keys)
        for key in keys:
            if not self._holding[key]:
                del self._holding[key]

    def _stop_waiting(self, name: str) -> bool:
        key = self._waits.pop(name, None)
        if key is None:
            return False
        self._queueing[key] -= 1
        if not self._queueing[key]:
            del self._queueing[key]
        return True


def render(spent: Spent) -> bytes:
    """The document that parse() reads."""
    kept = {key: [round(each, 3) for each in stamps] for key, stamps in spent.stamps.items()}
    return json.dumps({"version": VERSION, "stamps": kept}, separators=(",", ":")).encode()


def parse(data: bytes) -> Spent:
    """What a file of a budget says; ValueError if it is none."""
    try:
        document = parsed(data)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']}")
        stamps = {
            str(key): tuple(sorted(_moment(each) for each in kept))
            for key, kept in document["stamps"].items()
        }
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return Spent(stamps)


def _moment(value: str | float) -> float:
    """In seconds; what never comes would be held against the budget for ever."""
    if not math.isfinite(moment := float(value)):
        raise ValueError(f"{moment} is no time")
    return moment
