"""The delivery queue of one notifier: bounded, with a thread, so that nobody waits for it.

What fails is tried again a few times over some minutes; then it is lost, which is logged once until
the notifier delivers again. When many come at once, one digest of them goes out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from certrotd.clock import Clock, Deadline
from certrotd.errors import Failure, Transient, one_line
from certrotd.notify.message import Message, Notifier
from certrotd.rotation.unexpected import as_failure
from certrotd.wording import count

MANY = 3
LISTED = 20
SPAN = 600.0


@dataclass(frozen=True)
class DeliveryPace:
    """How patient a queue is, in seconds.

    ``pauses`` come between the tries of one message; of ``most`` messages in ten minutes the next
    waits, and with it what comes meanwhile; ``room`` is how many alerts may wait.
    """

    timeout: float
    pauses: tuple[float, ...] = (15.0, 120.0)
    most: int = 6
    room: int = 500


class DeliveryQueue:
    """Delivers in a thread of its own, which begins with the first message.

    ``make`` gives the notifier when it is first needed; ``settled`` hears of the keys of messages
    that were delivered (True) or lost; ``log`` takes a level and words.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Notifier],
        *,
        pace: DeliveryPace,
        clock: Clock,
        settled: Callable[[Sequence[Message], bool], None],
        log: Callable[[str, str], None],
    ) -> None:
        self._name = name
        self._make = make
        self._pace = pace
        self._clock = clock
        self._settled = settled
        self._log = log
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._flying: list[Message] = []
        self._sent: deque[float] = deque(maxlen=pace.most)
        self._thread: threading.Thread | None = None
        self._notifier: Notifier | None = None
        self._closing = False
        self._lost = 0

    def put(self, message: Message) -> None:
        """Have a message delivered some time; never waits. The oldest gives way to a new one."""
        dropped = None
        with self._changed:
            if len(self._waiting) >= self._pace.room:
                dropped = self._waiting.popleft()
            self._waiting.append(message)
            self._changed.notify_all()
            begun = self._thread is not None or self._begin()
        if dropped is not None:
            self._lose([dropped], f"more than {self._pace.room} alerts wait for {self._name}")
        if not begun:
            self._log("error", f"notification {self._name} waits: cannot start its thread")

    def _begin(self) -> bool:
        # a daemon thread: a service that hangs must not keep the process
        thread = threading.Thread(target=self._run, name=f"notify-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the next message tries again
            return False
        self._thread = thread
        return True

    def close(self) -> None:
        """Deliver what waits without any pause, a try each, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, deadline: Deadline) -> int:
        """Wait for the end until the deadline; how many alerts are left undelivered."""
        if self._thread is not None:
            self._thread.join(deadline.remaining)
        with self._changed:
            return len(self._waiting) + len(self._flying)

    def _run(self) -> None:
        while batch := self._take():
            message = batch[0] if len(batch) == 1 else digest(batch)
            failure = self._deliver(with_lost(message, self._lost))
            with self._changed:
                self._flying = []
            if failure is None:
                self._delivered(batch)
            else:
                self._lose(batch, str(failure))

    def _take(self) -> list[Message]:
        """What to send next; nothing is the end."""
        with self._changed:
            while not (self._waiting or self._closing):
                self._changed.wait()
            if len(self._sent) == self._pace.most:
                self._rest(self._sent[0] + SPAN - self._clock.monotonic())
            count = len(self._waiting)
            self._flying = [
                self._waiting.popleft() for _ in range(count if count > MANY else min(count, 1))
            ]
            return self._flying

    def _rest(self, seconds: float) -> None:
        """Wait, unless it is the end; the lock is held."""
        self._changed.wait_for(lambda: self._closing, max(0.0, seconds))

    def _deliver(self, message: Message) -> Failure | None:
        for pause in (*self._pace.pauses, None):
            self._sent.append(self._clock.monotonic())
            failure = self._send(message)
            if not isinstance(failure, Transient) or pause is None or self._closing:
                return failure
            asked = failure.retry_after.total_seconds() if failure.retry_after else 0.0
            with self._changed:
                self._rest(max(pause, asked))
        raise AssertionError("the last try returns")

    def _send(self, message: Message) -> Failure | None:
        try:
            if self._notifier is None:
                self._notifier = self._make()
            self._notifier.send(message, deadline=Deadline(self._clock, self._pace.timeout))
        except Exception as error:  # noqa: BLE001  # a defect there must not end the queue
            return as_failure(error, f"send an alert through notification {self._name}")
        return None

    def _delivered(self, batch: Sequence[Message]) -> None:
        self._settled(batch, True)
        if self._lost:
            words = f"notification {self._name} works again; {count(self._lost, 'alert')} lost"
            self._lost = 0
            self._log("warning", words)

    def _lose(self, batch: Sequence[Message], why: str) -> None:
        with self._changed:
            first, self._lost = not self._lost, self._lost + len(batch)
        self._settled(batch, False)
        if first:
            words = (
                f"alert lost ({one_line(batch[0].title)}): {why}; further losses are only counted"
            )
            self._log("error", words)


def with_lost(message: Message, count: int) -> Message:
    """The message, saying that there were others which people have never seen."""
    if not count:
        return message
    lost = f"certrotd could not deliver {count} earlier alert{'s' if count > 1 else ''}."
    return replace(message, todo=f"{message.todo} {lost} See: certrotd status".strip())


def digest(batch: Sequence[Message]) -> Message:
    """Many alerts as one message: the gravest first, by their titles."""
    order = sorted(batch, key=lambda each: (each.state == "resolved", each.severity != "error"))
    lines = [f"- {each.heading.partition(': ')[2]}" for each in order[:LISTED]]
    if len(order) > LISTED:
        lines.append(f"- and {len(order) - LISTED} more")
    return replace(
        order[0],
        state="resolved" if all(each.state == "resolved" for each in batch) else "raised",
        kind="several",
        subject="",
        title=f"{len(batch)} alerts, the first: {order[0].title}",
        what="\n".join(lines),
        todo="See: certrotd status, and certrotd history",
        rotation="",
        key="",
        at=batch[-1].at,
    )
