"""Who hears what the daemon does: logs, metrics, alerts and the service manager are observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.gate import Held
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.rotation.engine import Event
from certrotd.rotation.unexpected import as_failure

if TYPE_CHECKING:
    from certrotd.scheduling.clock_trust import Judgement


class Log(Protocol):
    """Where events go: ``event`` is its name in the past tense, ``words`` a line for people.

    ``level`` is debug, info, warning or error; ``fields`` are plain values, never secret.
    """

    def __call__(self, level: str, event: str, words: str, /, **fields: object) -> None: ...


class Observer:
    """Hears all events, from several threads, some with the scheduler's lock held.

    So it must be quick and never call the scheduler. Each observer overrides what it wants.
    """

    def configured(self, subjects: Sequence[Id], left_out: Sequence[ConfigProblem]) -> None:
        """These are in force from now on; entries that are wrong are skipped."""

    def ticked(self, now: datetime, looked: int) -> None:
        """A tick is over, in which so many subjects were looked at; the first looks at all."""

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:
        """The clock is trusted otherwise than before, or jumped."""

    def looked(self, view: View) -> None:
        """A subject was looked at and decided about."""

    def postponed(self, subject: Id, held: Held) -> None:
        """What is due waits for an account elsewhere; ``looked`` came before."""

    def began(self, subject: Id, why: str) -> None:
        """A rotation is about to begin, or to resume."""

    def stepped(self, event: Event) -> None:
        """A step of a rotation began, ended, or was undone."""

    def asked_service(self, subject: Id, service: str, failure: Failure | None) -> None:
        """A service (a CA) failed a rotation for the time being, or did what it should (None)."""

    def ended(self, report: Report) -> None:
        """A rotation has ended, or waits."""

    def changed(self, subject: Id) -> None:
        """Another process has rotated it, or is about to; ``looked`` follows."""

    def trouble(self, what: Id | str, failure: Failure) -> None:
        """One thing (its id) could not be looked at, or something else (in words) is wrong."""

    def calmed(self, what: Id | str) -> None:
        """The trouble with ``what`` is over."""

    def audit_damaged(self, why: str) -> None:
        """Somebody changed the audit log; that is recorded there by now."""

    def remarked(self, words: str) -> None:
        """Something is worth knowing and needs no action, such as a file kept aside."""

    def watched(self, watched: Watched) -> None:
        """Something was looked at by the watcher; its findings replace those of the last look."""

    def unwatched(self, key: str) -> None:
        """The thing with this ``Watched.key`` is no longer watched: its findings are void."""

    def reloading(self) -> None:
        """The configuration is about to be read anew."""

    def reloaded(self, subjects: Sequence[Id]) -> None:
        """The configuration was read and is valid; ``configured`` follows when it is in force."""

    def refused(self, problems: Sequence[str]) -> None:
        """The configuration was read and is wrong: the old one stays in force."""

    def stopping(self, running: Sequence[Id]) -> None:
        """The process was told to stop; these rotations are finished or undone first."""

    def stopped(self, running: Sequence[Id]) -> None:
        """The last word; these rotations did not end in time and are left to the next start."""


class Observers(Observer):
    """Passes everything on to several; ``complain`` hears what one of them raises, a defect.

    A defect in what only watches must not stop what it watches.
    """

    def __init__(self, observers: Sequence[Observer], complain: Callable[[str], None]) -> None:
        self._observers = tuple(observers)
        self._complain = complain
        for event in vars(Observer):
            if not event.startswith("_"):
                setattr(self, event, partial(self._tell, event))

    def _tell(self, event: str, *values: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, event)(*values)
            except Exception as error:  # noqa: BLE001  # the daemon goes on, and says so
                self._complain(str(as_failure(error, f"tell {type(observer).__name__}")))
