"""Notifies the service manager: sd_notify(3) over its datagram socket, without a library."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice

from certrotd.clock import Clock
from certrotd.errors import ConfigProblem, Failure, one_line
from certrotd.id import Id
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.observers import Observer
from certrotd.scheduling.due_heap import DueHeap
from certrotd.scheduling.gates import DIRECTORIES
from certrotd.wording import tally

_USEC = 1_000_000
_SHARE = 3
_NAMED = 3
_LONGEST = 3000


class ServiceManager(Observer):
    """Turns what the daemon does into READY, RELOADING, STOPPING, STATUS and WATCHDOG.

    ``address`` is that of the socket, ``signs`` the seconds between two signs of life (None: none
    are waited for), ``stop_time`` how many seconds a stop may wait for rotations. ``complain``
    hears once of a message that cannot be sent; it goes with the next one. Nothing blocks.
    """

    def __init__(
        self,
        address: bytes,
        *,
        clock: Clock,
        signs: float | None,
        stop_time: float,
        complain: Callable[[str], None],
    ) -> None:
        self._address = address
        self._clock = clock
        self._signs = signs
        self._stop_time = stop_time
        self._complain = complain
        # kept open: a sign of life must be possible when there are no more file descriptors
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._lock = threading.Lock()
        self._unsent: dict[str, str] = {}
        self._mute = self._ready = self._over = False
        self._signed: float | None = None
        self._said = self._refused = self._blocked = ""
        self._subjects: frozenset[Id] = frozenset()
        self._left_out = 0
        self._next: DueHeap[Id] = DueHeap()
        self._rotating: dict[Id, None] = {}
        self._failing: dict[Id, None] = {}

    def configured(self, subjects: Sequence[Id], left_out: Sequence[ConfigProblem]) -> None:
        with self._lock:
            self._subjects, self._left_out = frozenset(subjects), len(left_out)
            self._next = DueHeap()
            self._failing = {each: None for each in self._failing if each in self._subjects}

    def looked(self, view: View) -> None:
        subject = view.id
        with self._lock:
            self._mark(subject, failing=view.failures > 0 or view.failure is not None)
            following = view.next
            if following is not None and following > view.now:
                self._next.put(subject, following)
            else:
                self._next.remove(subject)

    def trouble(self, what: Id | str, failure: Failure) -> None:
        with self._lock:
            if isinstance(what, Id):
                self._mark(what, failing=what in self._subjects)
            elif what == DIRECTORIES:
                self._blocked = f"nothing can rotate: {failure.message}; "

    def calmed(self, what: Id | str) -> None:
        with self._lock:
            if isinstance(what, Id):
                self._mark(what, failing=False)
            elif what == DIRECTORIES:
                self._blocked = ""

    def began(self, subject: Id, why: str) -> None:  # noqa: ARG002
        with self._lock:
            self._rotating[subject] = None

    def ended(self, report: Report) -> None:
        with self._lock:
            self._rotating.pop(report.subject, None)
            if not report.refused:
                self._mark(report.subject, failing=report.failed)

    def ticked(self, now: datetime, looked: int) -> None:  # noqa: ARG002
        """After the first look at everything the daemon is ready; each tick is a sign of life.

        Where nothing can be looked at it is ready to say so: a start that fails would hide why.
        """
        with self._lock:
            if self._over:
                return
            message = self._status()
            if not self._ready and (looked or self._blocked or not self._subjects):
                self._ready = True
                message["READY"] = "1"
            monotonic = self._clock.monotonic()
            if self._signs is not None and (
                self._signed is None or monotonic - self._signed >= self._signs
            ):
                self._signed = monotonic
                message["WATCHDOG"] = "1"
            self._tell(message)

    def reloading(self) -> None:
        with self._lock:
            if self._ready:  # before that it is a start, and stays one
                since = int(self._clock.monotonic() * _USEC)
                self._tell({"RELOADING": "1", "MONOTONIC_USEC": str(since)})

    def reloaded(self, subjects: Sequence[Id]) -> None:  # noqa: ARG002
        with self._lock:
            self._refused = ""
            self._reload_is_over()

    def refused(self, problems: Sequence[str]) -> None:
        """What is wrong stays in the status until a configuration is taken."""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        with self._lock:
            self._refused = f"configuration not reloaded: {problems[0]}{more}; "
            self._reload_is_over()

    def stopping(self, running: Sequence[Id]) -> None:
        with self._lock:
            self._over = True
            message = {"STOPPING": "1", "STATUS": "stopping"}
            if running:
                message["STATUS"] = f"stopping: finishing or undoing {_some(running)}"
                message["EXTEND_TIMEOUT_USEC"] = str(int(self._stop_time * _USEC))
            self._tell(message)

    def stopped(self, running: Sequence[Id]) -> None:
        with self._lock:
            how = f"stopped before {_some(running)} ended: the next start continues"
            self._tell({"STATUS": how if running else "stopped"})
            self._socket.close()

    def _mark(self, subject: Id, *, failing: bool) -> None:
        if failing:
            self._failing[subject] = None
        else:
            self._failing.pop(subject, None)

    def _reload_is_over(self) -> None:
        for name in ("RELOADING", "MONOTONIC_USEC"):
            self._unsent.pop(name, None)
        if self._ready:
            self._tell({"READY": "1", **self._status()})

    def _status(self) -> dict[str, str]:
        """The line for ``systemctl status``, if it is another one than before."""
        parts = [tally(self._subjects)]
        if self._left_out:
            parts.append(f"{self._left_out} skipped")
        if self._failing:
            parts.append(f"{len(self._failing)} failing ({_some(self._failing)})")
        if self._rotating:
            parts.append(f"rotating {_some(self._rotating)}")
        if (when := self._next.next()) is not None:
            parts.append(f"next due {when:%Y-%m-%d %H:%M}Z")
        words = self._blocked + self._refused + ", ".join(parts)
        if words == self._said:
            return {}
        self._said = words
        return {"STATUS": words}

    def _tell(self, message: Mapping[str, str]) -> None:
        """Send ``message`` and what is still unsent, in one datagram."""
        message = {**self._unsent, **message}
        if not message:
            return
        lines = (f"{name}={_cut(one_line(value))}" for name, value in message.items())
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._unsent = message
            if not self._mute:
                self._mute = True
                self._complain(f"cannot notify the service manager: {error.strerror or error}")
        else:
            self._unsent, self._mute = {}, False


def service_manager(
    environment: Mapping[str, str],
    *,
    clock: Clock,
    stop_time: float,
    complain: Callable[[str], None],
) -> ServiceManager | None:
    """The one that ``environment`` names; None if there is none, or none we can speak with."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name:
        return None
    if name[0] not in "/@":
        complain(f"NOTIFY_SOCKET is {name}: neither a path nor @ and a name; it is ignored")
        return None
    address = os.fsencode(name)
    return ServiceManager(
        b"\0" + address[1:] if name[0] == "@" else address,
        clock=clock,
        signs=signs_of_life(environment, os.getpid()),
        stop_time=stop_time,
        complain=complain,
    )


def signs_of_life(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds between signs of life, a third of what is waited (sd_watchdog_enabled(3)).

    None if none are waited for from the process ``pid``.
    """
    waited, of = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if of not in ("", str(pid)) or not re.fullmatch(r"[0-9]{1,19}", waited) or not int(waited):
        return None
    return int(waited) / _USEC / _SHARE


def _cut(value: str) -> str:
    """At most so much of it that the message is one systemd takes, which is below 4 KiB."""
    return value.encode()[:_LONGEST].decode(errors="ignore")


def _some(subjects: Sequence[Id] | Mapping[Id, None]) -> str:
    more = "…" if len(subjects) > _NAMED else ""
    return ", ".join(each.name for each in islice(subjects, _NAMED)) + more
