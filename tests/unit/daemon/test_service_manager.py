"""What systemd is told, read from a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.decision import Deploy
from certrotd.certs.policy import Attempts, id_of
from certrotd.certs.subject import CertificateFound
from certrotd.clock import ManualClock
from certrotd.daemon.service_manager import ServiceManager, service_manager, signs_of_life
from certrotd.errors import ConfigProblem, Failure, LockHeld
from certrotd.lifecycle.decision import Decision, Postpone, Wait, by_decision
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.pki.generation import Standing
from certrotd.process import environment
from certrotd.rotation.engine import Finished, RolledBack, Stopped
from certrotd.scheduling.gates import DIRECTORIES
from tests.fakes.subjects import subject_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = datetime(2026, 7, 1, 4, 30, tzinfo=UTC)
FAILED = Report(id_of("web"), outcome=RolledBack("", "order", "no"))


class Manager:
    """The socket that systemd would read."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """The messages that came since the last look."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def only(self) -> dict[str, str]:
        """The one message that came since."""
        [message] = self.heard()
        return message


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes when told to."""
    return ManualClock(NOW)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A socket at a path."""
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def complaints() -> list[str]:
    """What was complained of."""
    return []


@pytest.fixture
def told(
    tmp_path: Path, manager: Manager, clock: ManualClock, complaints: list[str]
) -> Iterator[ServiceManager]:
    """What speaks with that manager, which waits 30 s for signs of life."""
    told = service_manager(
        {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"},
        clock=clock,
        stop_time=100.0,
        complain=complaints.append,
    )
    assert told is not None
    yield told
    told.stopped([])


def look(name: str, decision: Decision, *, failures: int = 0) -> Any:
    """As much of a Look as is looked at."""
    managed: Any = SimpleNamespace(policy=SimpleNamespace(id=id_of(name)))
    found = CertificateFound(managed, Standing(), Attempts(failures=failures), decision)
    return View(subject_of(managed), found, NOW, held=by_decision(decision))


def started(told: ServiceManager, manager: Manager, *names: str) -> dict[str, str]:
    """Certificates are configured and looked at for the first time."""
    told.configured([id_of(name) for name in names], [])
    for name in names:
        told.looked(look(name, Wait("fresh", LATER)))
    told.ticked(NOW, len(names))
    return manager.only()


def test_the_service_is_ready_after_the_first_look_at_everything(
    told: ServiceManager, manager: Manager
) -> None:
    """What is ordered after certrotd starts on certificates that somebody has looked at."""
    told.configured([id_of("web"), id_of("www")], [])
    assert manager.heard() == []
    told.ticked(NOW, 0)  # the directories were not there: nothing has been looked at
    assert "READY" not in manager.only()
    told.looked(look("web", Wait("fresh", LATER)))
    told.looked(look("www", Wait("fresh", LATER + timedelta(days=1))))
    told.ticked(NOW, 2)
    message = manager.only()
    assert message["READY"] == "1"
    assert message["STATUS"] == "2 certificates, next due 2026-07-01 04:30Z"
    told.ticked(NOW, 0)
    assert manager.heard() == []


def test_a_daemon_without_certificates_is_ready_at_once(
    told: ServiceManager, manager: Manager
) -> None:
    """An empty configuration is one too; the reload that fills it needs a running daemon."""
    assert started(told, manager)["READY"] == "1"


def test_a_reload_begins_at_a_time_and_ends(
    told: ServiceManager, manager: Manager, clock: ManualClock
) -> None:
    """systemd takes the end of a reload from READY, and its beginning from the monotonic clock."""
    started(told, manager, "web")
    clock.advance(timedelta(seconds=1.5))
    told.reloading()
    assert manager.only() == {"RELOADING": "1", "MONOTONIC_USEC": "1500000"}
    told.reloaded([])
    assert manager.only() == {"READY": "1"}


def test_a_reload_before_it_is_ready_does_not_make_it_so(
    told: ServiceManager, manager: Manager
) -> None:
    """A signal during the start must not end the start."""
    told.configured([id_of("web")], [])
    told.reloading()
    told.refused(["config.yaml:1: no"])
    told.reloading()
    told.reloaded([])
    assert manager.heard() == []


def test_a_refused_configuration_stays_visible_until_a_reload_succeeds(
    told: ServiceManager, manager: Manager
) -> None:
    """The operator who comes a day later finds the line that is wrong."""
    started(told, manager, "web")
    told.reloading()
    told.refused(["/etc/c.yaml:3: key: unknown", "/etc/c.yaml:9: and this"])
    refused = "configuration not reloaded: /etc/c.yaml:3: key: unknown (and 1 more); "
    assert manager.heard()[-1] == {
        "READY": "1",
        "STATUS": f"{refused}1 certificate, next due 2026-07-01 04:30Z",
    }
    told.looked(look("web", Postpone("later", LATER, Deploy("it", 1)), failures=1))
    told.ticked(NOW, 1)
    assert manager.only()["STATUS"].startswith(f"{refused}1 certificate, 1 failing (web)")
    told.refused(["/etc/c.yaml:9: and this"])
    assert manager.only()["STATUS"].startswith("configuration not reloaded: /etc/c.yaml:9: and")
    told.reloaded([])
    assert manager.only()["STATUS"].startswith("1 certificate, 1 failing")


def test_no_message_is_longer_than_systemd_takes(told: ServiceManager, manager: Manager) -> None:
    """It drops one above 4,096 octets whole: the reload would never end, nor the start."""
    started(told, manager, "web")
    told.reloading()
    told.refused([f"/etc/{'証' * 1990}:3: key: unknown"])
    manager.socket.recv(8192)
    message = manager.socket.recv(8192)
    assert b"READY=1" in message.split(b"\n")
    assert len(message) < 4096
    message.decode()  # no letter is cut in two


def test_the_status_says_what_fails_and_what_is_done(
    told: ServiceManager, manager: Manager
) -> None:
    """systemctl status answers the first questions of a bad night."""
    told.configured(
        [id_of("a"), id_of("b"), id_of("c"), id_of("d")],
        [ConfigProblem(Path("c.yaml"), 1, "", "no")],
    )
    for name in "abcd":
        told.looked(look(name, Wait("fresh", LATER), failures=1))
    told.began(id_of("a"), "due")
    told.trouble(id_of("a"), Failure("no"))
    told.trouble("the time of the last run", Failure("no"))
    told.ticked(NOW, 4)
    assert manager.only()["STATUS"] == (
        "4 certificates, 1 skipped, 4 failing (a, b, c…), rotating a, next due 2026-07-01 04:30Z"
    )
    told.configured([id_of("a"), id_of("b")], [])
    told.looked(look("a", Deploy("due", 1)))
    told.looked(look("b", Wait("fresh", LATER)))
    told.ended(Report(id_of("a"), outcome=Finished({})))
    told.ticked(NOW, 2)
    assert manager.only()["STATUS"] == "2 certificates, next due 2026-07-01 04:30Z"


@pytest.mark.parametrize(
    ("report", "failing"),
    [
        (FAILED, True),
        (Report(id_of("web"), failure=Failure("no")), True),
        (Report(id_of("web"), failure=LockHeld("web", holder="process 1")), False),
        (Report(id_of("web"), failure=Stopped("told to stop")), False),
        (Report(id_of("web"), outcome=Finished({})), False),
    ],
)
def test_a_rotation_that_fails_counts(
    told: ServiceManager, manager: Manager, report: Report, *, failing: bool
) -> None:
    """A colleague who holds the lock, or a stop, is no failure."""
    started(told, manager, "web")
    told.ended(report)
    told.ticked(NOW, 0)
    statuses = [message.get("STATUS", "") for message in manager.heard()]
    assert any("failing (web)" in status for status in statuses) is failing
    told.calmed(id_of("web"))
    told.ticked(NOW, 0)
    assert len(manager.heard()) == failing


def test_directories_that_are_gone_are_reported_while_they_are(
    told: ServiceManager, manager: Manager
) -> None:
    """Nothing is looked at then, so the status is all there is."""
    started(told, manager, "web")
    told.trouble(DIRECTORIES, Failure("/var/lib/certrotd is read-only"))
    told.ticked(NOW, 0)
    assert manager.only()["STATUS"].startswith("nothing can rotate: /var/lib/certrotd is read-on")
    told.calmed(DIRECTORIES)
    told.ticked(NOW, 0)
    assert manager.only()["STATUS"].startswith("1 certificate")


def test_a_start_without_a_usable_state_is_ready_to_say_so(
    told: ServiceManager, manager: Manager
) -> None:
    """A start that times out again and again would hide what is wrong behind restarts."""
    told.configured([id_of("web")], [])
    told.trouble(DIRECTORIES, Failure("/var/lib/certrotd/audit/head.json belongs to root"))
    told.ticked(NOW, 0)
    said = manager.only()
    assert said["READY"] == "1"
    assert said["STATUS"].startswith("nothing can rotate: /var/lib/certrotd/audit/head.json bel")


def test_signs_of_life_come_from_ticks_and_not_too_often(
    told: ServiceManager, manager: Manager, clock: ManualClock
) -> None:
    """A tick that hangs is what the watchdog is for; nothing else may feed it."""
    assert started(told, manager, "web")["WATCHDOG"] == "1"
    clock.advance(timedelta(seconds=9))
    told.ticked(NOW, 0)
    assert manager.heard() == []
    clock.advance(timedelta(seconds=1))
    told.began(id_of("web"), "due")
    told.ended(Report(id_of("web"), outcome=Finished({})))
    told.looked(look("web", Wait("fresh", LATER)))
    told.reloaded([])
    assert all("WATCHDOG" not in message for message in manager.heard())
    told.ticked(NOW, 0)
    assert manager.only() == {"WATCHDOG": "1"}


def test_a_stop_that_waits_asks_for_the_time(told: ServiceManager, manager: Manager) -> None:
    """systemd must not kill a rotation that certrotd is undoing."""
    started(told, manager, "web")
    told.stopping([id_of("web")])
    assert manager.only() == {
        "STOPPING": "1",
        "STATUS": "stopping: finishing or undoing web",
        "EXTEND_TIMEOUT_USEC": "100000000",
    }
    told.ticked(NOW, 1)
    assert manager.heard() == []
    told.stopped([id_of("web")])
    assert manager.only() == {
        "STATUS": "stopped before web ended: the next start continues",
    }


def test_a_stop_with_nothing_running_asks_for_none(told: ServiceManager, manager: Manager) -> None:
    """The unit's own limit is enough."""
    told.stopping([])
    assert manager.only() == {"STOPPING": "1", "STATUS": "stopping"}


def test_a_name_cannot_add_a_line_to_the_status(told: ServiceManager, manager: Manager) -> None:
    """A status comes from files and servers; a newline in it would be a message of theirs."""
    started(told, manager, "web")
    told.refused(["config.yaml:1: got 'a\nMAINPID=1\x1b'"])
    assert set(manager.only()) == {"READY", "STATUS"}


def test_a_missing_service_manager_is_reported_once_and_notified_later(
    tmp_path: Path,
    told: ServiceManager,
    manager: Manager,
    clock: ManualClock,
    complaints: list[str],
) -> None:
    """While systemd starts itself anew nothing is lost, and certrotd goes on."""
    (tmp_path / "notify").rename(tmp_path / "elsewhere")
    told.configured([id_of("web")], [])
    told.looked(look("web", Wait("fresh", LATER)))
    for _ in range(3):
        clock.advance(timedelta(seconds=20))
        told.ticked(NOW, 1)
    told.reloading()
    assert complaints == ["cannot notify the service manager: No such file or directory"]
    (tmp_path / "elsewhere").rename(tmp_path / "notify")
    told.reloaded([])
    message = manager.only()
    assert (message["READY"], message["WATCHDOG"]) == ("1", "1")
    assert message["STATUS"] == "1 certificate, next due 2026-07-01 04:30Z"
    assert "RELOADING" not in message
    (tmp_path / "notify").unlink()
    told.reloading()
    assert len(complaints) == 2


def test_a_manager_that_does_not_read_blocks_nobody(
    told: ServiceManager, manager: Manager, clock: ManualClock, complaints: list[str]
) -> None:
    """A full queue must not hold up a tick, nor lose the last word."""
    started(told, manager, "web")
    for _ in range(2000):
        clock.advance(timedelta(seconds=20))
        told.ticked(NOW, 0)
    [complaint] = complaints
    assert "Resource temporarily unavailable" in complaint
    assert len(manager.heard()) < 2000
    told.refused(["config.yaml:1: no"])
    assert "config.yaml" in manager.only()["STATUS"]


def test_an_abstract_address_is_reached_too(clock: ManualClock) -> None:
    """Containers and user managers have such ones."""
    name = f"certrotd-test-{os.getpid()}-notify"
    manager = Manager(f"\0{name}")
    told = service_manager(
        {"NOTIFY_SOCKET": f"@{name}"}, clock=clock, stop_time=1.0, complain=pytest.fail
    )
    assert told is not None
    assert started(told, manager, "web")["READY"] == "1"
    told.stopped([])
    manager.socket.close()


def test_no_service_manager_is_notified_without_systemd(
    clock: ManualClock, complaints: list[str]
) -> None:
    """A shell, a container: no socket, and nothing to say about it; another kind is said."""
    options: Any = {"clock": clock, "stop_time": 1.0, "complain": complaints.append}
    assert service_manager({}, **options) is None
    assert service_manager({"NOTIFY_SOCKET": ""}, **options) is None
    assert complaints == []
    assert service_manager({"NOTIFY_SOCKET": "vsock:2:1"}, **options) is None
    [complaint] = complaints
    assert "vsock:2:1" in complaint


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "60000000"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_PID": "7"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_are_for_whoever_is_waited_for(
    variables: dict[str, str], expected: float | None
) -> None:
    """The variables may have been meant for a parent."""
    assert signs_of_life(variables, 7) == expected


@given(st.text(max_size=30), st.text(max_size=10))
def test_whatever_the_environment_says_there_is_an_answer(waited: str, of: str) -> None:
    """It is read before anything else works."""
    signs = signs_of_life({"WATCHDOG_USEC": waited, "WATCHDOG_PID": of}, 7)
    assert signs is None or signs > 0


def test_programs_of_a_rotation_cannot_speak_to_systemd() -> None:
    """A hook that could would be ready, or alive, in the daemon's name."""
    ours = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "1", "PATH": "/bin"}
    assert environment({}, inherited=ours).keys() == {"PATH"}
