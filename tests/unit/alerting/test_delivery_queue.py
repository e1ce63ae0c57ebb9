"""Alerts on their way: nobody waits, nothing grows, and what is lost is counted and said once."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.alerting import delivery_queue as module
from certrotd.alerting.delivery_queue import DeliveryPace, DeliveryQueue, digest
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.notify.message import Message, Notifier
from tests.fakes.notifier import MemoryNotifier
from tests.parts.process import wait_until

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NO = Transient("notification ops: no")
QUICK = DeliveryPace(timeout=60.0, pauses=(0.01, 0.01), most=100, room=50)


def message(number: int, **about: str) -> Message:
    """One of many."""
    plain = Message("web1", NOW, "raised", "stuck", "error", "", f"alert {number}", "what", key="k")
    return replace(plain, **about)  # type: ignore[arg-type]


class Bench:
    """A queue, and everything that is heard of it."""

    def __init__(self, notifier: Notifier | Exception, pace: DeliveryPace = QUICK) -> None:
        self.settled: list[tuple[list[str], bool]] = []
        self.said: list[tuple[str, str]] = []
        self._notifier = notifier
        self.queue = DeliveryQueue(
            "ops",
            self._make,
            pace=pace,
            clock=SystemClock(),
            settled=self._settle,
            log=lambda level, words: self.said.append((level, words)),
        )

    def _make(self) -> Notifier:
        if isinstance(self._notifier, Exception):
            raise self._notifier
        return self._notifier

    def _settle(self, messages: Sequence[Message], arrived: bool) -> None:
        self.settled.append(([each.title for each in messages], arrived))

    def rests(self) -> bool:
        """Whether the thread waits, for whatever may come first."""
        with self.queue._changed:
            return bool(self.queue._changed._waiters)  # type: ignore[attr-defined]

    def end(self, seconds: float = 60.0) -> int:
        """Close, and wait."""
        self.queue.close()
        return self.queue.join(Deadline(SystemClock(), seconds))


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Makes queues that are closed at the end."""
    made: list[Bench] = []

    def make(notifier: Notifier | Exception, pace: DeliveryPace = QUICK) -> Bench:
        made.append(Bench(notifier, pace))
        return made[-1]

    yield make
    for each in made:
        each.end()


def titles(notifier: MemoryNotifier) -> list[str]:
    """What arrived."""
    return [each.title for each in notifier.sent]


def test_a_message_is_delivered_and_settled(bench: Callable[..., Bench]) -> None:
    """In a thread that is not there before it is needed."""
    notifier, before = MemoryNotifier(), set(threading.enumerate())
    rig = bench(notifier)
    assert set(threading.enumerate()) <= before
    rig.queue.put(message(1))
    wait_until(lambda: rig.settled == [(["alert 1"], True)])
    assert (titles(notifier), rig.said) == (["alert 1"], [])
    assert rig.end() == 0


def test_putting_does_not_wait_for_a_service_that_hangs(bench: Callable[..., Bench]) -> None:
    """The tick does not know that it hangs."""
    notifier = MemoryNotifier()
    notifier.gate.clear()
    rig = bench(notifier)
    for number in range(200):
        rig.queue.put(message(number))
    assert notifier.sent == []
    notifier.gate.set()
    wait_until(lambda: any(arrived for _, arrived in rig.settled[-1:]))


def test_a_failure_that_may_pass_is_tried_again(bench: Callable[..., Bench]) -> None:
    """Without a word, if it does."""
    notifier = MemoryNotifier(NO, NO)
    rig = bench(notifier)
    rig.queue.put(message(1))
    wait_until(lambda: bool(rig.settled))
    assert (len(notifier.tried), rig.settled, rig.said) == (3, [(["alert 1"], True)], [])


def test_a_message_that_fails_three_times_is_lost_and_logged_once(
    bench: Callable[..., Bench],
) -> None:
    """Until it delivers again, which is said too, with how many were lost."""
    notifier = MemoryNotifier(*[NO] * 6)
    rig = bench(notifier)
    for number in (1, 2, 3):
        rig.queue.put(message(number))
        wait_until(lambda number=number: len(rig.settled) == number)  # type: ignore[misc]
    assert [arrived for _, arrived in rig.settled] == [False, False, True]
    wait_until(lambda: len(rig.said) == 2)
    assert rig.said == [
        ("error", "alert lost (alert 1): notification ops: no; further losses are only counted"),
        ("warning", "notification ops works again; 2 alerts lost"),
    ]
    lost = "certrotd could not deliver 2 earlier alerts. See: certrotd status"
    assert notifier.sent[0].todo == lost
    rig.queue.put(message(4))
    wait_until(lambda: len(notifier.sent) == 2)
    assert notifier.sent[1].todo == ""


def test_a_failure_that_needs_a_person_is_not_retried(bench: Callable[..., Bench]) -> None:
    """A wrong secret stays wrong for the next two minutes."""
    notifier = MemoryNotifier(NeedsOperator("the secret is missing"))
    rig = bench(notifier)
    rig.queue.put(message(1))
    wait_until(lambda: bool(rig.settled))
    assert (len(notifier.tried), rig.settled) == (1, [(["alert 1"], False)])


def test_a_wish_to_wait_is_heard(bench: Callable[..., Bench]) -> None:
    """A service that is asked too often says so."""
    notifier = MemoryNotifier(Transient("429", retry_after=timedelta(seconds=0.4)))
    rig = bench(notifier)
    began = time.monotonic()
    rig.queue.put(message(1))
    wait_until(lambda: bool(rig.settled))
    assert time.monotonic() - began >= 0.4


def test_a_defect_ends_neither_the_lane_nor_the_daemon(bench: Callable[..., Bench]) -> None:
    """It is said as one."""
    notifier = MemoryNotifier(ZeroDivisionError("oops"))
    rig = bench(notifier)
    rig.queue.put(message(1))
    wait_until(lambda: bool(rig.said))
    assert "unexpected ZeroDivisionError: oops" in rig.said[0][1]
    rig.queue.put(message(2))
    wait_until(lambda: titles(notifier) == ["alert 2"])


def test_a_notifier_that_cannot_be_made_is_reported(bench: Callable[..., Bench]) -> None:
    """A library that is not installed, say."""
    rig = bench(NeedsOperator("no such library"))
    rig.queue.put(message(1))
    wait_until(lambda: bool(rig.said))
    assert "no such library" in rig.said[0][1]


def test_many_at_once_are_one_message(bench: Callable[..., Bench]) -> None:
    """A CA that is down fails 10,000 certificates, and nobody reads 10,000 messages."""
    notifier = MemoryNotifier()
    notifier.gate.clear()
    rig = bench(notifier)
    rig.queue.put(message(0))
    wait_until(lambda: bool(notifier.tried))
    for number in range(1, 31):
        rig.queue.put(message(number))
    notifier.gate.set()
    wait_until(lambda: len(rig.settled) == 2)
    assert titles(notifier) == ["alert 0", "30 alerts, the first: alert 1"]
    assert rig.settled[1] == ([f"alert {number}" for number in range(1, 31)], True)


def test_a_few_at_once_are_messages_of_their_own(bench: Callable[..., Bench]) -> None:
    """The control."""
    notifier = MemoryNotifier()
    notifier.gate.clear()
    rig = bench(notifier)
    for number in range(4):
        rig.queue.put(message(number))
        wait_until(lambda: bool(notifier.tried))
    notifier.gate.set()
    wait_until(lambda: len(rig.settled) == 4)
    assert titles(notifier) == [f"alert {number}" for number in range(4)]


def test_messages_without_end_wait_and_become_one(bench: Callable[..., Bench]) -> None:
    """A service that takes everything is no reason to send everything."""
    notifier = MemoryNotifier()
    rig = bench(notifier, replace(QUICK, most=3))
    for number in range(10):
        rig.queue.put(message(number))
        wait_until(lambda number=number: number >= 3 or len(rig.settled) > number)  # type: ignore[misc]
    wait_until(rig.rests)
    assert len(notifier.sent) == 3
    assert rig.end() == 0  # which nothing waits beyond
    assert notifier.sent[3].title == "7 alerts, the first: alert 3"


def test_waiting_messages_go_out_after_ten_minutes(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late, and not never."""
    monkeypatch.setattr(module, "SPAN", 0.2)
    notifier = MemoryNotifier()
    rig = bench(notifier, replace(QUICK, most=1))
    began = time.monotonic()
    for number in range(2):
        rig.queue.put(message(number))
    wait_until(lambda: len(rig.settled) == 2)
    assert time.monotonic() - began >= 0.2
    assert titles(notifier) == ["alert 0", "alert 1"]


def test_the_oldest_message_is_dropped_for_a_new_one(bench: Callable[..., Bench]) -> None:
    """Memory is bounded; what was dropped counts as lost."""
    notifier = MemoryNotifier()
    notifier.gate.clear()
    rig = bench(notifier, replace(QUICK, room=5))
    rig.queue.put(message(0))
    wait_until(lambda: bool(notifier.tried))
    for number in range(1, 9):
        rig.queue.put(message(number))
    assert [names for names, _ in rig.settled] == [["alert 1"], ["alert 2"], ["alert 3"]]
    assert len(rig.said) == 1
    assert "more than 5 alerts wait for ops" in rig.said[0][1]
    notifier.gate.set()
    wait_until(lambda: len(rig.settled) == 5)
    assert rig.said[1][1] == "notification ops works again; 3 alerts lost"


def test_closing_waits_no_longer_than_its_limit(bench: Callable[..., Bench]) -> None:
    """systemd kills who does not go; how many were left is known."""
    notifier = MemoryNotifier()
    notifier.gate.clear()
    rig = bench(notifier)
    for number in range(3):
        rig.queue.put(message(number))
    wait_until(lambda: bool(notifier.tried))
    assert rig.end(0.2) == 3
    assert notifier.sent == []
    notifier.gate.set()


def test_the_end_wakes_who_waits_to_try_again(bench: Callable[..., Bench]) -> None:
    """One more try at once, instead of two minutes later."""
    notifier = MemoryNotifier(NO)
    rig = bench(notifier, replace(QUICK, pauses=(60.0, 60.0)))
    rig.queue.put(message(1))
    wait_until(lambda: bool(notifier.tried) and rig.rests())
    assert rig.end() == 0
    assert titles(notifier) == ["alert 1"]


def test_waiting_messages_get_one_attempt_each_at_the_end(bench: Callable[..., Bench]) -> None:
    """Also if the service is away."""
    notifier = MemoryNotifier(*[NO] * 9)
    notifier.gate.clear()
    rig = bench(notifier, replace(QUICK, pauses=(60.0, 60.0), most=1))
    for number in range(3):
        rig.queue.put(message(number))
    rig.queue.close()
    notifier.gate.set()
    assert rig.end() == 0
    assert len(notifier.tried) == 3


def test_an_alert_without_a_thread_waits_for_the_next_occasion(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have none to give."""
    notifier = MemoryNotifier()
    rig = bench(notifier)

    def none(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        rig.queue.put(message(1))
    assert rig.said == [("error", "notification ops waits: cannot start its thread")]
    rig.queue.put(message(2))
    wait_until(lambda: titles(notifier) == ["alert 1", "alert 2"])


def test_a_digest_begins_with_the_gravest_and_ends_somewhere() -> None:
    """And what is resolved comes last; all resolved is good news."""
    batch = [
        message(1, severity="warning"),
        message(2, state="resolved"),
        message(3),
        *(message(number, severity="warning") for number in range(4, 40)),
    ]
    one = digest(batch)
    lines = one.what.splitlines()
    assert (one.kind, one.state, one.severity, one.key) == ("several", "raised", "error", "")
    assert lines[0] == "- alert 3"
    assert (len(lines), lines[-1]) == (21, "- and 19 more")
    assert one.title == "39 alerts, the first: alert 3"
    good = digest([message(number, state="resolved") for number in range(4)])
    assert good.state == "resolved"
    assert good.what.splitlines()[0] == "- resolved: alert 0"
