"""What one wing does wrong, or for hours, is nothing that the other has to wait for."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.certs.subject import CertificateSubject
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from tests.unit.lifecycle.two_wings import API, WEB, Daemon, Host, use_both_wings
from tests.wings.token_files import Token, Tokens

SECOND = timedelta(seconds=1)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A certificate and two tokens; none is there yet."""
    use_both_wings(monkeypatch)
    return Host(tmp_path, {"api": {"every": 86400}, "bot": {"every": 86400}})


def rotated(daemon: Daemon) -> dict[str, Report]:
    """What came of all, as ``certrotd rotate --all`` has it."""
    inventory = daemon.site.inventory
    runner = daemon.site.runner(lambda _event: None, lambda: False)
    tokens_first = sorted(inventory.subjects, key=lambda each: each.id, reverse=True)
    reports = inventory.rotate(tokens_first, runner, Asked(by_hand=True))
    return {str(each.subject): each for each in reports}


@pytest.mark.parametrize("broken", [(Tokens, "prepare"), (Token, "rotate")])
def test_a_defect_of_a_wing_is_reported_by_its_own_subjects_and_stops_no_other(
    host: Host, monkeypatch: pytest.MonkeyPatch, broken: tuple[type, str]
) -> None:
    """In the daemon, where a thread that ends so would keep its slot for ever, and by hand."""

    def defect(*_given: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(*broken, defect)
    daemon = host.start()
    daemon.pass_time(2 * SECOND, SECOND)
    assert daemon.scheduler.running == ()
    assert (host.place / "state/certificates/web/live").is_symlink()
    shown = {each["name"]: each for each in json.loads(daemon.get("/status.json"))["subjects"]}
    assert (shown["web"]["state"], shown["api"]["held"]["by"]) == ("ok", "trouble")
    assert "ZeroDivisionError" in shown["api"]["reason"]
    reports = rotated(daemon)
    assert {name for name, each in reports.items() if each.failed} == {"token/api", "token/bot"}


def test_a_defect_in_the_reserve_of_one_stops_no_other(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left alone for a while, and said."""

    def defect(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("tests.wings.token_files.TokenFound.claim", "a part")
    monkeypatch.setattr(Token, "reserve", defect)
    daemon = host.start()
    daemon.pass_time(2 * SECOND, SECOND)
    assert daemon.scheduler.running == ()
    assert (host.place / "state/certificates/web/live").is_symlink()
    assert "ZeroDivisionError" in daemon.board.snapshot().why(API)


def test_rotate_all_uses_the_slots_of_each_kind(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token at a time, and however long it takes no certificate waits for it."""
    daemon, guard, at_once = host.start(), threading.Semaphore(1), []
    certificate = threading.Event()
    rotate = CertificateSubject.rotate

    def slow(token: Token, _runner: Runner, _asked: Asked) -> Report:
        at_once.append(guard.acquire(blocking=False))
        assert certificate.wait(10)
        guard.release()
        return Report(token.id)

    def seen(subject: CertificateSubject, runner: Runner, asked: Asked) -> Report:
        report = rotate(subject, runner, asked)
        certificate.set()
        return report

    monkeypatch.setattr(Token, "rotate", slow)
    monkeypatch.setattr(CertificateSubject, "rotate", seen)
    assert set(rotated(daemon)) == {"certificate/web", "token/api", "token/bot"}
    assert at_once == [True, True]


@pytest.mark.parametrize(("asked", "broken"), [(WEB, "token"), (API, "certificate")])
def test_a_request_for_one_kind_survives_trouble_with_those_of_another(
    host: Host, monkeypatch: pytest.MonkeyPatch, asked: object, broken: str
) -> None:
    """It is answered at once: a note that was taken is nowhere else any more."""
    daemon = host.start()
    daemon.pass_time(3 * SECOND, SECOND)
    looked: list[object] = []
    monkeypatch.setattr(daemon.board, "looked", lambda view: looked.append(view.id))
    (host.place / "state/wake").mkdir(exist_ok=True)
    (host.place / "state/wake" / broken).touch()
    daemon.site.state.wake(str(asked))
    host.clock.advance(SECOND)
    daemon.tick()
    assert looked == [asked]
    assert "requests to look at once" in daemon.board.snapshot().troubles
