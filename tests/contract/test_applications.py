"""One suite for what is cut over: units of systemd, programs, and the fake of the model."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.config.cutover import CutoverEntry
from certrotd.consumers.application import CommandReading, build
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keys.world import Application
from tests.fakes.one_key import CutOverBench
from tests.parts.systemctl import Systemctl, Unit

pytestmark = pytest.mark.contract
PROBE = {"command": ["/bin/true"]}


@dataclass
class Case:
    """An application that runs; ``runs`` tells by itself, ``refuse`` has it not stop."""

    application: Application
    runs: Callable[[], bool]
    refuse: Callable[[], object]


def _built(**entry: Any) -> Application:
    told = CutoverEntry.model_validate({"probe": PROBE, "timeout": "5s", **entry})
    return build(told, SystemClock())


@pytest.fixture
def units(systemctl: Systemctl) -> Case:
    """Two units."""
    names = ("web.service", "worker.service")
    for name in names:
        unit = systemctl.units[name] = Unit()
        unit.job = partial(_switched, unit)
    every = [systemctl.units[name] for name in names]

    def refuse() -> None:
        every[0].job = lambda _verb: "Job for web.service failed."

    return Case(_built(units=names), lambda: all(each.active == "active" for each in every), refuse)


def _switched(unit: Unit, verb: str) -> str:
    unit.active = {"start": "active", "stop": "inactive"}[verb]
    return ""


@pytest.fixture
def programs(tmp_path: Path) -> Case:
    """Programs, of which one tells that it is stopped."""
    mark = tmp_path / "runs"
    mark.touch()
    scripts = {
        "stop": f"[ ! -e {tmp_path}/refuses ] && rm -f {mark}",
        "start": f"touch {mark}",
        "stopped": f"[ ! -e {mark} ]",
    }
    entry = {}
    for name, body in scripts.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        entry[name] = [str(path)]
    return Case(_built(**entry), mark.exists, (tmp_path / "refuses").touch)


@pytest.fixture
def fake() -> Case:
    """That of the model."""
    app = CutOverBench().begin().app
    return Case(app, lambda: app.running, lambda: app.refuses.add("stop"))


@pytest.fixture(params=["units", "programs", "fake"])
def case(request: pytest.FixtureRequest) -> Case:
    """Each of them."""
    found: Case = request.getfixturevalue(request.param)
    return found


def test_it_is_stopped_and_started_however_often_that_is_asked_for(case: Case) -> None:
    """A second time changes nothing."""
    case.application.check()
    assert case.application.stopped() is False
    for _ in range(2):
        case.application.stop()
        assert not case.runs()
        assert case.application.stopped() is True
    with pytest.raises(NeedsOperator):
        case.application.check()
    for _ in range(2):
        case.application.start()
        assert case.runs()
    assert case.application.reads() is None


def test_one_that_does_not_stop_is_a_failure(case: Case) -> None:
    """In words."""
    case.refuse()
    with pytest.raises(Failure):
        case.application.stop()
    assert case.runs()


def test_units_are_stopped_in_their_order_and_started_in_the_reverse_one(
    units: Case, systemctl: Systemctl
) -> None:
    """The database of an application comes last, and up first."""
    told: list[str] = []

    def job(name: str, verb: str) -> str:
        told.append(f"{verb} {name}")
        return _switched(systemctl.units[name], verb)

    for name, unit in systemctl.units.items():
        unit.job = partial(job, name)
    units.application.stop()
    units.application.start()
    assert told == [
        *("stop web.service", "stop worker.service"),
        *("start worker.service", "start web.service"),
    ]


def test_a_unit_that_is_not_there_or_does_not_stay_up_is_said(systemctl: Systemctl) -> None:
    """Before anything is stopped, and after its start."""
    application = _built(units=["web.service"])
    with pytest.raises(NeedsOperator, match=r"web.service does not exist"):
        application.check()
    systemctl.units["web.service"] = Unit(active="failed", sub="failed")
    with pytest.raises(NeedsOperator, match=r"web.service is failed \(failed\) after its start"):
        application.start()
    systemctl.units["web.service"] = Unit(can={"CanStop"})
    with pytest.raises(NeedsOperator, match="cannot be stopped and started"):
        application.check()


def test_without_a_program_that_tells_nobody_knows_whether_it_is_stopped(tmp_path: Path) -> None:
    """One that hangs is waited for in vain, and is not taken for an answer."""
    programs = {"stop": ["/bin/true"], "start": ["/bin/true"]}
    assert _built(**programs).stopped() is None
    hangs = _built(**programs, stopped=["/bin/sleep", "60"], timeout="1s")
    with pytest.raises(Transient):
        hangs.stopped()
    with pytest.raises(NeedsOperator, match="not an executable file"):
        _built(stop=[str(tmp_path / "none")], start=["/bin/true"]).check()


def test_a_secret_that_cannot_be_read_is_said_before_anything_is_stopped(tmp_path: Path) -> None:
    """Whoever only looks at the keyring needs none."""
    programs = {"stop": ["/bin/true"], "start": ["/bin/true"]}
    application = _built(**programs, environment={"TOKEN": {"file": str(tmp_path / "none")}})
    with pytest.raises(Failure):
        application.check()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, text = (200, b"readable") if self.path == "/good" else (503, b"readable")
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """A server of which one page is good."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_only_a_good_answer_with_the_text_shows_that_it_reads(address: str) -> None:
    """Any other status, another text or no answer does not."""
    programs = {"stop": ["/bin/true"], "start": ["/bin/true"]}

    def reads(**probe: str) -> str | None:
        return _built(**programs, probe=probe).reads()

    assert reads(http=f"{address}/good", contains="readable") is None
    assert "does not contain 'else'" in str(reads(http=f"{address}/good", contains="else"))
    assert "answers with the status 503" in str(reads(http=f"{address}/bad", contains="readable"))
    assert "did not answer" in str(reads(http="http://127.0.0.1:9/good"))


def test_a_program_that_fails_says_why_it_does_not_read() -> None:
    """By what it printed; one that cannot be started is no answer either."""
    argv = (sys.executable, "-c", "import sys; sys.exit('no such key')")
    assert "no such key" in str(CommandReading(argv, 20.0, SystemClock()).reads())
    assert CommandReading(("/nowhere/probe",), 5.0, SystemClock()).reads() is not None
