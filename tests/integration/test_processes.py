"""Several processes, and processes that are told to stop."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import Bind, Parts, Pebble, Resolver
from tests.parts.process import free_port, wait_until
from tests.parts.site import Gate, Site, exposed_keys, orders, why_failed

HOST = "example.test"
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def gate(site: Site) -> Iterator[Gate]:
    """What holds up the target of a certificate, ``web``."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    gate = site.gate("slow")
    site.config["certificates"][0]["targets"] = ["slow"]
    yield gate
    gate.open()


def test_the_second_of_two_says_who_is_at_work(site: Site, gate: Gate) -> None:
    """Two timers, or a timer and a person: neither may break what the other does."""
    first = site.start("rotate", "web", "--force", "--json")
    gate.wait()
    second = site.run("rotate", "--all", "--wait", "0s")
    other = site.start("rollback", "web")
    assert f"by process {first.pid}" in other.wait_for("; waits up to 10 s")
    other.signal()  # it does not have to wait
    assert (second.code, other.end().code) == (1, 1)
    assert f"is in use by process {first.pid} (certrotd rotate, since " in second.stdout
    assert len(second.stdout.splitlines()) == 2  # the heading, and one line
    assert site.status("web")["state"] == "in flight"
    gate.open()
    ended = first.end()
    assert (ended.code, ended.row("web")["result"]) == (0, "done")
    assert (site.generation("web"), site.generations("web")) == (2, [1, 2])
    assert site.rotate().row("web")["decision"] == "wait"
    assert site.leftovers() == []


def test_other_certificates_are_not_locked(site: Site, gate: Gate) -> None:
    """The control of the test above: the lock is one certificate's."""
    site.certificate("free", "free.example.test")
    first = site.start("rotate", "web", "--force")
    gate.wait()
    assert site.run("rotate", "free").code == 0
    gate.open()
    assert first.end().code == 0


def test_a_lock_dies_with_its_process(site: Site, gate: Gate) -> None:
    """A crash must not need somebody to remove a file."""
    first = site.start("rotate", "web", "--force")
    gate.wait()
    first.signal(signal.SIGKILL)
    assert first.end().code == -signal.SIGKILL
    gate.open()
    run = site.rotate()
    assert (run.row("web")["recovered"], site.generation("web")) == ("done", 2)


@pytest.mark.parametrize("number", SIGNALS)
def test_before_it_is_issued_the_same_order_goes_on_next_time(
    acme_site: Site, zones: tuple[Bind, Resolver], ca: Pebble, number: int
) -> None:
    """A restart of the machine in the middle of an order costs neither an order nor a record."""
    site, (bind, resolver) = acme_site, zones
    site.certificate("web", HOST, f"*.{HOST}")
    spent = orders(ca)
    nowhere = f"127.0.0.1:{free_port('both')}"
    site.dns(resolver, port=bind.port, servers=[nowhere], timeout="60s")
    started = site.start("rotate", "--all", "--json")
    started.wait_for("web: order done")
    wait_until(lambda: len(bind.txt(f"_acme-challenge.{HOST}")) == 2, what="the records are out")

    started.signal(number)
    stopped = started.end()

    assert stopped.code == 0  # nothing failed: it goes on by itself
    assert stopped.row("web")["result"] == "parked"
    assert "told to stop" in stopped.row("web")["why"]
    assert bind.txt(f"_acme-challenge.{HOST}") == set()
    assert site.status("web")["state"] == "in flight"

    site.dns(resolver, port=bind.port)
    run = site.rotate()
    assert run.row("web")["recovered"] == "done"
    assert (orders(ca), site.generations("web")) == (spent + 1, [1])
    assert (site.leftovers(), exposed_keys(site.directory)) == ([], [])


@pytest.mark.parametrize("number", SIGNALS)
def test_during_a_deployment_it_is_undone_before_the_end(
    parts: Parts, site: Site, number: int
) -> None:
    """systemctl stop never leaves files that the services have not been proven to serve."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    nginx = site.pinned(parts, "web", HOST)
    started = site.start("rotate", "web", "--force", "--json")
    started.wait_for("web: apply done")
    assert site.generation("web") == 2

    started.signal(number)
    stopped = started.end()

    assert stopped.code == 1
    assert "told to stop" in why_failed(stopped, "web")
    assert nginx.served(HOST) == site.leaf("web") == site.leaf("web", 1)
    assert site.generations("web") == [1, 2]  # issued, and deployed by a later run
    assert site.leftovers() == []
    assert site.run("plan", "web", "--json").row("web")["decision"] in ("deploy", "postponed")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_it_at_once_and_the_next_run_recovers(
    site: Site, gate: Gate, number: int
) -> None:
    """Who insists is obeyed, and it is no worse than a crash."""
    started = site.start("rotate", "web", "--force")
    gate.wait()
    started.signal(number)
    with pytest.raises(TimeoutError):  # one signal waits for the target
        wait_until(lambda: started.is_over, within=0.5)
    while not started.is_over:
        # CPython may overlook one that comes while it handles the one before
        started.signal(number)
        time.sleep(0.1)
    assert started.end().code == -number
    gate.open()
    run = site.rotate()
    assert run.row("web")["recovered"] == "done"
    assert (site.generation("web"), site.leftovers()) == (2, [])
    assert site.rotate().row("web")["decision"] == "wait"


def test_a_signal_stops_rotations_that_have_not_begun(site: Site, gate: Gate) -> None:
    """Stopping ends at the next safe point, not at the end of the list."""
    site.config["concurrency"] = 1
    site.certificate("later", "later.example.test")
    started = site.start("rotate", "--all", "--force", "--json")
    gate.wait()
    started.signal(signal.SIGTERM)
    gate.open()
    stopped = started.end()
    assert "not begun: the process was told to stop" in stopped.row("later")["why"]
    assert not (site.store / "later").exists()
    site.rotate()
    assert site.generation("later") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes PID namespaces")
def test_processes_that_reloads_leave_behind_are_reaped_in_a_container(site: Site) -> None:
    """certrotd is the first process there; else each reload would leave two in the table."""
    site.internal()
    site.certificate("web", HOST)
    noted = site.directory / "noted"
    site.command("daemon", f"(sleep 0.2 & sleep 0.3 &) & echo told >> {noted}")
    site.config["certificates"][0]["targets"] = ["daemon"]
    unshare = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    started = site.start("run", within=unshare)
    try:
        started.wait_for("started with")
        wait_until(noted.exists)
        [first] = children(started.pid)
        wait_until(lambda: site.generation("web") == 1 and not children(first))
        assert noted.read_text() == "told\n"
    finally:
        os.kill(children(started.pid)[0], signal.SIGTERM)
        assert started.end().code == 0


def children(pid: int) -> list[int]:
    """The children of a process, ended ones that nobody has taken note of among them."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
