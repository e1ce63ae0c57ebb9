"""Dispatches alerts: from events to rules, deduplication and the queue of each notifier."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.alerting import rotation_rules, rules
from certrotd.alerting.dedup import OF_SUBJECTS, AlertsDocument, Deduplicator, alerts_in
from certrotd.alerting.delivery_queue import DeliveryPace, DeliveryQueue
from certrotd.alerting.outage_rules import Outages
from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved
from certrotd.lifecycle.audited import Unaudited
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.notify.message import Message, Notifier, Occasion
from certrotd.observers import Log, Observer
from certrotd.rotation.engine import Event, Finished, RolledBack
from certrotd.scheduling.clock_trust import Judgement
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument
from certrotd.wording import count, tally

if TYPE_CHECKING:
    from certrotd.config.model import Config
    from certrotd.config.notifications import Notification

CLOSE = 5.0
Make = Callable[[str, "Notification"], Notifier]
Write = Callable[[str, str], None]


def make(name: str, entry: Notification, *, state_dir: Path, clock: Clock) -> Notifier:
    """The notifier of a configuration entry: ``build`` of the module named after its type."""
    module = importlib.import_module(f"certrotd.notify.{entry.type}")
    notifier: Notifier = module.build(entry, Context(name, state_dir, clock))
    return notifier


@dataclass(frozen=True)
class _Channel:
    """One notifier: which alerts it wants, which it was sent, and the queue to it."""

    entry: Notification
    ledger: Deduplicator
    queue: DeliveryQueue

    def wants(self, alert: Alert) -> bool:
        entry = self.entry
        grave = entry.severity == "warning" or alert.severity == "error"
        return grave and (not entry.events or alert.kind in entry.events)


class Alerting(Observer):
    """Hears what the daemon does and sends alerts of it; also of what others raise and resolve.

    ``make`` gives the notifier of an entry, ``host`` is this machine's name, ``log`` takes a level
    and words. ``pace`` says how patient a queue is, by the timeout of the entry.
    """

    def __init__(
        self,
        file: TypedDocument[AlertsDocument],
        make: Make,
        *,
        host: str,
        clock: Clock,
        log: Write,
        pace: Callable[[float], DeliveryPace] = DeliveryPace,
    ) -> None:
        self._file = file
        self._make = make
        self._host = host
        self._clock = clock
        self._log = log
        self._pace = pace
        self._lock = threading.RLock()  # a queue that is full settles at once
        self._saving = threading.Lock()
        self._said_of_file = ""
        self._channels: dict[str, _Channel] = {}
        self._called: frozenset[str] = frozenset()
        self._rotations: dict[Id, str] = {}
        kept = self._read()
        self._ledgers, self._waiting = dict(kept.ledgers), set(kept.waiting)
        self._outages = Outages(kept.failing)
        self._failed_by: dict[Id, str] = {}

    def use(self, entries: Mapping[str, Notification]) -> None:
        """Alert these from now on; what waits for one that stays the same still goes out."""
        with self._lock:
            before, self._channels = self._channels, {}
            for name, entry in entries.items():
                old = before.get(name)
                if old is not None and old.entry == entry:
                    self._channels[name] = before.pop(name)
                    continue
                ledger = self._ledgers.setdefault(name, Deduplicator())
                self._channels[name] = _Channel(entry, ledger, self._queue(name, entry, ledger))
            self._ledgers = {name: each.ledger for name, each in self._channels.items()}
        for channel in before.values():
            channel.queue.close()

    def raise_alert(self, alert: Alert) -> None:
        """Send it to everybody who wants it and does not have it yet; quick, from any thread."""
        now = self._clock.now()
        with self._lock:
            for channel in self._channels.values():
                if not channel.wants(alert):
                    continue
                remind = channel.entry.remind
                state = channel.ledger.met(alert.key, alert.likeness, now=now, remind=remind)
                if state is not None:
                    again = state == "reminder" and not alert.lasting
                    channel.queue.put(self._message(alert, "raised" if again else state))

    def resolve(self, resolved: Resolved) -> None:
        """Send the end of it to those who got the alert, and nobody else."""
        with self._lock:
            for channel in self._channels.values():
                told = channel.ledger.over(resolved.key)
                if told is not None and resolved.words:
                    channel.queue.put(self._all_clear(resolved, told.partition(" ")[0]))

    def close(self, seconds: float = CLOSE) -> None:
        """Deliver what waits, for so long at most; the next start sends the rest."""
        with self._lock:
            queues = [channel.queue for channel in self._channels.values()]
        for queue in queues:
            queue.close()
        deadline = Deadline(self._clock, seconds)
        left = sum(queue.join(deadline) for queue in queues)
        if left:
            self._log("warning", f"stopped with {count(left, 'alert')} undelivered")
        if queues:
            self._save()

    # What the daemon does.

    def configured(self, subjects: Sequence[Id], left_out: Sequence[ConfigProblem]) -> None:
        self._called = frozenset(map(str, subjects))
        with self._lock:
            for channel in self._channels.values():
                channel.ledger.keep(self._is_there)
            self._waiting.intersection_update(subjects)
            self._say(self._outages.keep(frozenset(subjects)))
        if left_out:
            problems = [str(problem) for problem in left_out]
            self.raise_alert(rules.of_problems(problems, reload=False))
        else:
            self.resolve(Resolved(rules.LEFT_OUT, "Nothing is skipped any more."))

    def clock(self, judgement: Judgement, jump: timedelta | None) -> None:  # noqa: ARG002
        self._say([rules.of_clock(judgement)])

    def looked(self, view: View) -> None:
        if self._channels:
            said = [*rules.of_look(view), *view.found.alerts(view)]
            with self._lock:
                self._say(self._outages.fold(view.id, None, said))

    def stepped(self, event: Event) -> None:
        self._rotations[Id.parse(event.subject)] = event.rotation

    def ended(self, report: Report) -> None:
        subject = report.subject
        rotation, let_go = self._rotations.pop(subject, ""), subject in self._waiting
        last = report.last
        with self._lock:
            if isinstance(last, Finished | RolledBack) or isinstance(report.failure, Unaudited):
                self._waiting.discard(subject)
            elif not report.refused:
                self._waiting.add(subject)  # it may be in flight, and we know why
            service = self._failed_by.pop(subject, None)
            said = rotation_rules.of_report(report, rotation, let_go=let_go)
            self._say(self._outages.fold(subject, service, said))

    def asked_service(self, subject: Id, service: str, failure: Failure | None) -> None:
        with self._lock:
            if failure is not None:
                self._failed_by[subject] = service  # ``ended`` follows
            else:
                self._say(self._outages.answered(service))

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self.raise_alert(rules.of_trouble(what, failure))

    def calmed(self, what: Id | str) -> None:
        self.resolve(Resolved(f"trouble/{what}", f"{what}: the problem is over."))

    def audit_damaged(self, why: str) -> None:
        self.raise_alert(rotation_rules.of_damaged_audit(why, self._clock.now()))

    def watched(self, watched: Watched) -> None:
        said = rules.of_watched(watched)
        if not (isinstance(said, Resolved) and watched.unsure):  # after a restart nothing is, yet
            self._say([said])

    def unwatched(self, key: str) -> None:
        self.resolve(Resolved(f"watch/{key}", ""))

    def reloaded(self, subjects: Sequence[Id]) -> None:
        words = f"The configuration is in force: {tally(subjects)}."
        self.resolve(Resolved(rules.CONFIG, words))

    def refused(self, problems: Sequence[str]) -> None:
        self.raise_alert(rules.of_problems(problems, reload=True))

    def _say(self, said: Sequence[AlertEvent]) -> None:
        for each in said:
            if isinstance(each, Alert):
                self.raise_alert(each)
            else:
                self.resolve(each)

    def _is_there(self, key: str) -> bool:
        topic, _, subject = key.partition("/")
        return topic not in OF_SUBJECTS or subject in self._called

    def _message(self, alert: Alert, state: Occasion) -> Message:
        return Message(
            host=self._host,
            at=self._clock.now(),
            state=state,
            kind=alert.kind,
            severity=alert.severity,
            subject=str(alert.subject or ""),
            title=alert.title,
            what=alert.what,
            todo=alert.todo,
            rotation=alert.rotation,
            key=alert.key,
            mark=alert.likeness,
        )

    def _all_clear(self, resolved: Resolved, kind: str) -> Message:
        return Message(
            host=self._host,
            at=self._clock.now(),
            state="resolved",
            kind=kind,
            severity="warning",
            subject=str(resolved.subject or ""),
            title=resolved.words.removesuffix("."),
            what=resolved.words,
            key=resolved.key,
        )

    def _queue(self, name: str, entry: Notification, ledger: Deduplicator) -> DeliveryQueue:
        return DeliveryQueue(
            name,
            partial(self._make, name, entry),
            pace=self._pace(entry.timeout.total_seconds()),
            clock=self._clock,
            settled=partial(self._settled, ledger),
            log=self._log,
        )

    def _settled(self, ledger: Deduplicator, messages: Sequence[Message], arrived: bool) -> None:
        """From the thread of a queue."""
        with self._lock:
            for message in messages:
                if message.state == "resolved":
                    continue
                if arrived:
                    ledger.delivered(message.key, message.mark, at=message.at)
                else:
                    ledger.lost(message.key, message.mark)
        if arrived:
            self._save()

    def _read(self) -> AlertsDocument:
        try:
            return self._file.read() or AlertsDocument({})
        except Failure as failure:
            self._log("error", f"cannot read the alerts sent so far: {failure}")
            return AlertsDocument({})

    def _save(self) -> None:
        with self._saving:
            with self._lock:
                kept = AlertsDocument(
                    self._ledgers, frozenset(self._waiting), self._outages.failing
                )
            try:
                self._file.write(kept)
                said = ""
            except Failure as failure:
                said = f"cannot record the alerts sent, a restart will repeat them: {failure}"
            if said and said != self._said_of_file:
                self._log("error", said)
            self._said_of_file = said


def start(config: Config, document: Document, log: Log) -> Alerting:
    """The observer of a daemon with this configuration; ``document`` keeps what was sent."""
    clock, state_dir = SystemClock(), config.state_dir

    def say(level: str, words: str) -> None:
        log(level, "alert.delivery", words)

    file = alerts_in(document, partial(say, "warning"))
    making = partial(make, state_dir=state_dir, clock=clock)
    alerting = Alerting(file, making, host=socket.gethostname(), clock=clock, log=say)
    alerting.use(config.notifications)
    alerting.resolve(
        Resolved(rules.CONFIG, "The configuration is in force.")
    )  # an earlier process may have refused it
    return alerting
