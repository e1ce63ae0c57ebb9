"""A host that is given by name costs no more than the deadline, whatever the resolver does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from certrotd import dial
from certrotd.clock import Deadline, ManualClock
from certrotd.dial import NotLookedUp, Timeout, connect, look_up
from tests.builders import soon

TCP = socket.SOCK_STREAM


def standing(seconds: float) -> Deadline:
    """So much time for each wait, of which nothing passes in between."""
    return Deadline(ManualClock(datetime(2026, 6, 1, tzinfo=UTC)), seconds)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that does not answer until the event is set, and then that all are on loopback."""
    answered, look = threading.Event(), socket.getaddrinfo

    def hang(_host: str, *args: Any, **options: Any) -> object:
        answered.wait(60)
        return look("127.0.0.1", *args, **options)

    before = set(threading.enumerate())
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield answered
    answered.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)


def test_names_are_looked_up_as_the_system_does() -> None:
    """localhost is in /etc/hosts, where no resolver of ours would look."""
    for host in ("localhost", "127.0.0.1", "::1"):
        here = look_up(host, 443, TCP, deadline=soon())
        assert here == socket.getaddrinfo(host, 443, type=TCP)


def test_an_address_is_not_looked_up_and_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most endpoints are addresses on this host: they cost what they did."""
    monkeypatch.setattr(threading, "Thread", None)
    assert look_up("192.0.2.1", 443, TCP, deadline=soon())[0][4] == ("192.0.2.1", 443)
    assert look_up("2001:db8::1", 443, TCP, deadline=soon())[0][4][0] == "2001:db8::1"


def test_a_resolver_that_hangs_costs_the_deadline(hanging: threading.Event) -> None:
    """Its own patience may be minutes, of which a rotation has none to give."""
    began = time.monotonic()
    with pytest.raises(NotLookedUp, match=r"ns1\.test was not looked up within 0\.3s"):
        look_up("ns1.test", 53, TCP, deadline=standing(0.3))
    assert 0.25 < time.monotonic() - began < 20
    hanging.set()
    assert look_up("ns1.test", 53, TCP, deadline=soon())  # the control: it answers now


@pytest.mark.usefixtures("hanging")
def test_without_time_it_is_late_at_once() -> None:
    """As everything else that has a deadline."""
    with pytest.raises(NotLookedUp):
        look_up("ns1.test", 53, TCP, deadline=soon(0.0))


@pytest.mark.usefixtures("hanging")
def test_look_ups_that_hang_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand endpoints by name, looked at every minute, must not become as many threads."""
    monkeypatch.setattr(dial, "_lookups", threading.BoundedSemaphore(3))
    for _ in range(6):
        with pytest.raises(NotLookedUp):
            look_up("few.test", 53, TCP, deadline=soon(0.02))
    assert [thread.name for thread in threading.enumerate()].count("look up few.test") == 3


def test_a_place_that_was_given_back_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came of the look-up before: else the process would look up nothing some day."""
    monkeypatch.setattr(dial, "_lookups", threading.BoundedSemaphore(1))

    class Never(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", Never)
        with pytest.raises(OSError, match="can't start new thread"):
            look_up("localhost", 443, TCP, deadline=soon())
    for _ in range(2):
        with pytest.raises(UnicodeError):
            look_up("a" * 64 + ".test", 443, TCP, deadline=soon())
        with pytest.raises(socket.gaierror):
            look_up("localhost", 443, socket.SOCK_RDM, deadline=soon())
        assert look_up("localhost", 443, TCP, deadline=soon())


def test_a_connection_waits_no_longer_than_what_is_left() -> None:
    """Of the deadline, whoever it is that lets it wait."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with connect("localhost", port, timeout=Timeout(standing(3.0))) as connection:
            assert connection.getpeername()[1] == port
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, and nobody listens
        with pytest.raises(ConnectionRefusedError):
            connect("127.0.0.1", silent.getsockname()[1], timeout=Timeout(soon()))
    with pytest.raises(TimeoutError):
        connect("127.0.0.1", port, timeout=Timeout(soon(0.0)))
