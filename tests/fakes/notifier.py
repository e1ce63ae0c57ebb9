"""A notifier in memory: it keeps what it is given, and fails as often as it is told to."""

import threading

from certrotd.clock import Deadline
from certrotd.errors import Failure
from certrotd.notify.message import Message


class MemoryNotifier:
    """The Notifier port over a list; ``failures`` are raised first, ``gate`` is waited for."""

    def __init__(self, *failures: Exception) -> None:
        self.sent: list[Message] = []
        self.tried: list[Message] = []
        self.failures: list[Exception] = list(failures)
        self.broken: Failure | None = None
        self.gate = threading.Event()
        self.gate.set()

    def send(self, message: Message, *, deadline: Deadline) -> None:
        """As Notifier.send."""
        self.tried.append(message)
        self.gate.wait(deadline.remaining)
        if self.failures:
            raise self.failures.pop(0)
        if self.broken is not None:
            raise self.broken
        if message.id not in {each.id for each in self.sent}:
            self.sent.append(message)
