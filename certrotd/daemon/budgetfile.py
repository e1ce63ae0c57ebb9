"""What was spent at each CA, kept across restarts and shared by processes, and who may spend next.

``STATE/budget/ISSUER.json``: ``{"version": 1, "stamps": {KEY: [SECONDS, …]}}``, written and synced
before an order is placed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from certrotd.daemon.budget import (
    Limits,
    Over,
    Spent,
    charge,
    charge_failure,
    charged,
    over,
    settle,
)
from certrotd.rotation.files import make_directory, read_file, rename, write_file

VERSION = 1
MAX_FILE = 64 * 1024 * 1024


class Record(Protocol):
    """Where what was spent is kept."""

    def exclusive(self) -> AbstractContextManager[None]:
        """While it lasts no other process writes."""
        ...

    def load(self) -> Spent | None:
        """What is kept, or None while it is what this process loaded or saved last."""
        ...

    def save(self, spent: Spent) -> None:
        """Durable when it returns; raises DiskTrouble."""
        ...


class FileRecord:
    """The record in a file; ``lock`` takes the lock of that file.

    A file that cannot be understood is kept aside as ``….unreadable`` and ``said``: forgetting
    what was spent costs a refusal by the CA at worst, refusing to go on costs certificates.
    """

    def __init__(
        self,
        path: Path,
        lock: Callable[[], AbstractContextManager[None]],
        said: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._path = path
        self._lock = lock
        self._said = said
        self._seen: tuple[int, int, int] | None = None

    def exclusive(self) -> AbstractContextManager[None]:
        return self._lock()

    def load(self) -> Spent | None:
        """As Record.load; raises DiskTrouble."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        if stamp == _ABSENT:
            return Spent()
        try:
            return _parse(read_file(self._path, limit=MAX_FILE, follow=False))
        except FileNotFoundError:
            return Spent()
        except (ValueError, KeyError, TypeError, AttributeError):
            aside = self._path.with_name(f"{self._path.name}.unreadable")
            rename(self._path, aside)
            self._said(
                f"{self._path} is not a budget this version of certrotd wrote: kept as {aside}, "
                "and counted anew"
            )
            return Spent()

    def save(self, spent: Spent) -> None:
        make_directory(self._path.parent, mode=0o700)
        kept = {key: [round(each, 3) for each in stamps] for key, stamps in spent.stamps.items()}
        text = json.dumps({"version": VERSION, "stamps": kept}, separators=(",", ":"))
        write_file(self._path, text.encode(), mode=0o600)
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return _ABSENT
        return status.st_ino, status.st_mtime_ns, status.st_size


class Budget:
    """One account's budget: who holds a part of it, who waits for it, what is spent.

    ``name`` is that of a certificate, ``names`` those to be in it. Safe to use from several
    threads; every method that spends raises DiskTrouble rather than spend unrecorded.
    """

    def __init__(self, limits: Limits, record: Record) -> None:
        self.limits = limits
        self._record = record
        self._lock = threading.Lock()
        self._spent = Spent()
        self._seen: datetime | None = None
        self._held: dict[str, tuple[str, ...]] = {}
        self._waiting: dict[str, str] = {}
        self._ahead: Counter[str] = Counter()

    def hold(self, name: str, names: Sequence[str], *, renewal: bool, now: datetime) -> Over | None:
        """Set a part aside for an order that is about to be placed, or say when there is one.

        Whoever had to wait is let in at the moment it was told, before those who came later.
        """
        with self._lock:
            self._refresh(now)
            self._forget(name)
            ahead = Counter(self._ahead)
            if name in self._waiting:
                # its place was reserved when it was told to wait; those behind it do not count
                for key in self._waiting.values():
                    ahead[key] -= 1
                del self._waiting[name]
            found = over(self._spent, self.limits, names, renewal=renewal, now=now, ahead=ahead)
            if found is not None:
                self._wait(name, found.key)
            else:
                self._hold(name, charged(self.limits, names, renewal=renewal))
            return found

    def release(self, name: str) -> None:
        """``name`` neither orders nor waits any more."""
        with self._lock:
            self._forget(name)
            self._unwait(name)

    def spend(self, names: Sequence[str], *, renewal: bool, now: datetime) -> None:
        """Count an order, durably, before it is placed; it is never refused here."""
        with self._lock, self._record.exclusive():
            self._refresh(now)
            charge(self._spent, self.limits, names, renewal=renewal, now=now)
            self._record.save(self._spent)

    def failed(self, names: Sequence[str], *, now: datetime) -> None:
        """Count a validation that failed for these names."""
        with self._lock, self._record.exclusive():
            self._refresh(now)
            charge_failure(self._spent, self.limits, names, now=now)
            self._record.save(self._spent)

    def left(self, now: datetime) -> int | None:
        """How many orders the account has left at ``now``; None without such a limit."""
        if self.limits.orders is None:
            return None
        with self._lock:
            self._refresh(now)
            inside = settle(self._spent, self.limits, now=now).stamps.get("orders", ())
            return max(0, self.limits.orders.count - len(inside))
