"""Told to stop, whoever asks a CA is done within seconds, and asks nothing more."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.clock import Deadline
from certrotd.daemon.stopping import Stopping
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.stopping import GRACE
from tests.parts.process import wait_until
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA

PATIENT = {"timeout": 300.0, "request_timeout": 90.0}
SOON = GRACE + 15.0  # a slow machine's; the CA takes its time for minutes


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is under way is let be for half a second instead of three."""
    monkeypatch.setattr("certrotd.rotation.stopping.GRACE", 0.5)


def within(stopping: Stopping) -> Deadline:
    """Minutes, by the clock that is stopped."""
    return Deadline(stopping.clock, 300)


def stopped(stopping: Stopping, act: Callable[[], object], *, when: Callable[[], bool]) -> float:
    """Seconds from the stop, which comes in the middle of the act, to its end by Stopped."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            act()
            ended.append(None)
        except BaseException as error:  # noqa: BLE001  # judged below
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(when)
    stopping.stop()
    began = time.monotonic()
    thread.join(timeout=120)
    took = time.monotonic() - began
    assert not thread.is_alive()
    assert isinstance(ended[0], Stopped), ended[0]
    return took


@pytest.mark.parametrize("path", ["/directory", "/account", "/orders"])
def test_a_ca_that_drips_does_not_hold_up_the_stop(
    ca: ScriptedCA, tmp_path: Path, path: str
) -> None:
    """SIGTERM took 90 seconds, and then systemd killed it."""
    stopping = Stopping()
    ca.on(path, *[Reply(body=b"x" * 5000, drip=0.1)] * 9)
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    took = stopped(
        stopping,
        lambda: issuer.order([NAME], deadline=within(stopping)),
        when=lambda: ca.asked(path) > 0,
    )
    assert took < SOON
    assert ca.asked(path) == 1


def test_a_ca_that_is_silent_does_not_either(ca: ScriptedCA, tmp_path: Path) -> None:
    """Not a byte of an answer."""
    stopping, never = Stopping(), threading.Event()
    ca.on("/orders", Reply(after=never))
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    try:
        took = stopped(
            stopping,
            lambda: issuer.order([NAME], deadline=within(stopping)),
            when=lambda: ca.asked("/orders") > 0,
        )
    finally:
        never.set()
    assert took < SOON


def test_a_ca_that_never_ends_its_handshake_does_not_either(ca: ScriptedCA, tmp_path: Path) -> None:
    """It takes the connection and says nothing."""
    stopping = Stopping()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/directory"
        issuer = ca.issuer(tmp_path, stopping.clock, directory=url, **PATIENT)
        taken: list[socket.socket] = []
        threading.Thread(target=lambda: taken.append(silent.accept()[0]), daemon=True).start()
        took = stopped(
            stopping,
            lambda: issuer.preflight(deadline=within(stopping)),
            when=lambda: bool(taken),
        )
        taken[0].close()
    assert took < SOON


def test_an_answer_that_comes_at_once_is_still_taken(ca: ScriptedCA, tmp_path: Path) -> None:
    """A new order whose URL nobody hears is one in vain."""
    stopping, go = Stopping(), threading.Event()
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    location = {"Location": f"{ca.base}/order"}
    ca.on("/orders", Reply(201, ca.order_body(), location, after=go))
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.append(issuer.order([NAME], deadline=within(stopping)).url)
    )
    thread.start()
    wait_until(lambda: ca.asked("/orders") > 0)
    stopping.stop()
    go.set()
    thread.join(timeout=60)
    assert found == [f"{ca.base}/order"]


def test_after_the_stop_nothing_more_is_asked(ca: ScriptedCA, tmp_path: Path) -> None:
    """Also by a thread that was woken before, or waits for another one's connection."""
    stopping = Stopping()
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    order = issuer.order([NAME], deadline=within(stopping))
    order.challenges()
    order.validate()
    stopping.stop()
    with pytest.raises(Stopped):
        stopping.clock.sleep(1.0)  # woken, once and for all
    before = len(ca.seen)
    for act in (
        lambda: order.finalize(CSR),
        lambda: issuer.order([NAME], deadline=within(stopping)),
        lambda: issuer.resume(order.url, deadline=within(stopping)),
        lambda: ca.issuer(tmp_path / "new", stopping.clock).preflight(deadline=within(stopping)),
    ):
        for _ in range(2):
            with pytest.raises(Stopped):
                act()
    assert len(ca.seen) == before


def test_many_threads_end_together(ca: ScriptedCA, tmp_path: Path) -> None:
    """Those that wait for the account, and those that are asking."""
    stopping = Stopping()
    ca.on("/account", Reply(body=b"x" * 5000, drip=0.1))
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    ended: list[str] = []

    def run() -> None:
        try:
            issuer.order([NAME], deadline=within(stopping))
        except Stopped:
            ended.append("stopped")

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    wait_until(lambda: ca.asked("/account") > 0)
    stopping.stop()
    began, before = time.monotonic(), len(ca.seen)
    for thread in threads:
        thread.join(timeout=120)
    assert ended == ["stopped"] * 12
    assert time.monotonic() - began < SOON
    assert len(ca.seen) <= before + 1  # one may have been on its way


def test_whoever_waits_for_a_connection_of_others_does_not_wait_on(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who have them may wait for the CA for minutes."""
    monkeypatch.setattr("certrotd.acme.client.MAX_CLIENTS", 1)
    stopping, reached = Stopping(), threading.Event()
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    limit = Deadline(stopping.clock, 60)

    def act() -> None:
        reached.set()
        issuer.order([NAME], deadline=limit)

    with issuer._clients.lend(within(stopping)):
        assert stopped(stopping, act, when=reached.is_set) < SOON


def test_nobody_waits_for_the_account_once_told_to_stop(ca: ScriptedCA, tmp_path: Path) -> None:
    """Also a thread that was woken before, and sleeps as it needs to undo something."""
    stopping = Stopping()
    issuer = ca.issuer(tmp_path, stopping.clock, **PATIENT)
    stopping.stop()
    with pytest.raises(Stopped):
        stopping.clock.sleep(1.0)
    with issuer._folder.locked(within(stopping)), pytest.raises(Stopped):
        issuer._folder.locked(Deadline(stopping.clock, 5)).__enter__()
