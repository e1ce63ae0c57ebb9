"""Alerting on a state directory, with notifiers in memory, for tests."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certrotd.alerting.dedup import AlertsDocument, from_json
from certrotd.alerting.delivery_queue import DeliveryPace
from certrotd.alerting.dispatch import Alerting
from certrotd.certs.policy import id_of
from certrotd.clock import ManualClock
from certrotd.config.notifications import Notification, WebhookEntry
from certrotd.lifecycle.alert import Alert
from certrotd.notify.message import Notifier
from certrotd.rotation.engine import RolledBack
from certrotd.state.document import FileDocument
from certrotd.state.typed import TypedDocument
from tests.fakes.notifier import MemoryNotifier
from tests.parts.process import wait_until

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
FAIL = RolledBack("", "order", "the CA says no")
ALERT = Alert(
    *("stuck", "error", "rotation/certificate/web", "certificate/web: stuck", "what", "todo"),
    cause="why",
)


class Now(ManualClock):
    """A wall clock that stands, and a monotonic one that goes."""

    def monotonic(self) -> float:
        return time.monotonic()


def entry(**about: object) -> Notification:
    """A notifier's entry; what is behind it is a matter of the bench."""
    values = {
        "type": "webhook",
        "url": "https://ops.example.test/",
        "secret": {"env": "SECRET"},
        "timeout": "60s",
        **about,
    }
    return WebhookEntry.model_validate(values)


class Counting(FileDocument):
    """Counts how often it was to be written."""

    count = 0

    def write(self, data: bytes, *, expected: str | None = None) -> str:
        try:
            return super().write(data, expected=expected)
        finally:
            self.count += 1


class Bench:
    """An Alerting on a state directory, with notifiers in memory."""

    def __init__(self, state: Path, **entries: Notification) -> None:
        self.state = state
        self.clock = Now(NOW)
        self.said: list[str] = []
        self.notifiers: dict[str, MemoryNotifier] = {}
        self.entries = entries
        self.started: list[Alerting] = []
        self.start()

    def start(self) -> Alerting:
        """A new process."""
        self.file = Counting(self.state, "alerts")
        self.file.count = len(self.arrived())
        self.observer = Alerting(
            TypedDocument(self.file, from_json, AlertsDocument.to_json, report=self.said.append),
            self._make,
            host="web1",
            clock=self.clock,
            log=lambda _level, words: self.said.append(words),
            pace=lambda timeout: DeliveryPace(timeout, pauses=(0.01,), most=100),
        )
        self.started.append(self.observer)
        self.observer.use(self.entries)
        self.observer.configured([id_of("web"), id_of("www")], [])
        return self.observer

    def _make(self, name: str, _entry: Notification) -> Notifier:
        return self.notifiers.setdefault(name, MemoryNotifier())

    def arrived(self, name: str = "ops") -> list[str]:
        """What has arrived by now."""
        notifier = self.notifiers.get(name)
        return [f"{each.state} {each.title}" for each in notifier.sent] if notifier else []


def awaits(rig: Bench, count: int, name: str = "ops") -> list[str]:
    """What has arrived, once it is so many and known to have; a second has passed then."""

    def settled() -> bool:
        everything = sum(len(each.sent) for each in rig.notifiers.values())
        return len(rig.arrived(name)) >= count and rig.file.count >= everything

    wait_until(settled, what=f"{count} messages: {rig.arrived()}")
    rig.clock.advance(SECOND)
    return rig.arrived(name)
