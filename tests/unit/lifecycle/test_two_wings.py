"""An example wing beside the certificates, in one daemon: nothing outside its module knows it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import ManualClock
from tests.parts.process import wait_until
from tests.unit.lifecycle.two_wings import API, WEB, Daemon, Host, Killed, use_both_wings

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A certificate, and a token that is old after a day and protects sixty rows."""
    use_both_wings(monkeypatch)
    return Host(tmp_path, {"api": {"every": 86400, "rows": 60}})


@pytest.fixture
def parked(host: Host) -> Daemon:
    """The daemon, with a token whose consumer has not acknowledged the next one."""
    daemon = host.start()
    daemon.tick()
    daemon.pass_time(DAY + MINUTE, HOUR)
    assert host.journal(), "the rotation is in flight"
    return daemon


def test_both_wings_are_rotated_by_one_daemon(host: Host) -> None:
    """The first certificate and the first token, each by its own steps."""
    daemon = host.start()
    daemon.pass_time(2 * SECOND, SECOND)
    assert (host.place / "api").read_text()
    assert (host.place / "state/certificates/web/live").is_symlink()
    finished = [each.subject for each in host.records() if each.event == "rotation.finished"]
    assert sorted(finished) == ["certificate/web", "token/api"]
    shown = json.loads(daemon.get("/status.json"))
    assert [(each["kind"], each["state"]) for each in shown["subjects"]] == [
        ("certificate", "ok"),
        ("token", "ok"),
    ]
    assert "All is well with 1 certificate and 1 token" in daemon.get("/")
    assert 'certrotd_subjects{kind="token",state="ok"} 1' in daemon.get("/metrics")
    assert 'certrotd_rotations_total{outcome="finished",act="replace"} 1' in daemon.get("/metrics")


def test_a_rotation_parked_for_a_week_leaves_fewer_than_ten_records(
    host: Host, parked: Daemon
) -> None:
    """A look every hour, and none of them is a record: disks fill up with less."""
    journal, audit = len(host.journal()), len(host.records())
    parked.pass_time(7 * DAY, 10 * MINUTE)
    assert len(host.journal()) - journal + len(host.records()) - audit < 10
    assert (host.place / "api.next").exists()


def test_a_parked_rotation_is_seen_everywhere(host: Host, parked: Daemon) -> None:
    """Page, JSON, metrics, log, audit log and alerts: nobody has to ask why it is not new."""
    parked.pass_time(4 * DAY, HOUR)
    parked.pass_time(SECOND, SECOND)  # what came of the last look
    words = "waits for the acknowledgement of its consumer"
    [_, shown] = json.loads(parked.get("/status.json"))["subjects"]
    assert (shown["state"], shown["reason_code"]) == ("in flight", "in_flight")
    assert words in shown["reason"]
    assert shown["in_flight"]["step"] == "await"
    assert shown["held"]["by"] == "parked"
    for page in ("/", "/token/api"):
        assert words in parked.get(page)
    metrics = parked.get("/metrics")
    assert 'certrotd_subject_held{kind="token",name="api",by="parked"} 1' in metrics
    assert 'certrotd_subject_in_flight_since_timestamp_seconds{kind="token",name="api"}' in metrics
    assert any(words in line for line in parked.log)
    assert host.records()[-1].event == "rotation.parked"
    wait_until(lambda: len(parked.sent.sent) > 0)
    told = {each.title for each in parked.sent.sent if each.subject == "token/api"}
    assert told == {"token/api: its consumer does not acknowledge the new token"}


def test_an_acknowledgement_wakes_a_parked_rotation_within_a_second(
    host: Host, parked: Daemon
) -> None:
    """The next look by itself would come in an hour, or within a day."""
    before = (host.place / "api").read_text()
    host.acknowledge()
    host.clock.advance(SECOND)
    parked.tick()
    assert (host.place / "api").read_text() == before, "the control: nobody has said so"
    parked.site.state.wake(str(API))
    host.clock.advance(SECOND)
    parked.tick()
    assert (host.place / "api").read_text() != before
    assert host.records()[-1].event == "rotation.finished"
    assert host.journal() == []


def test_a_request_while_the_subject_is_looked_at_is_not_lost(host: Host, parked: Daemon) -> None:
    """The acknowledgement comes when the step has just looked for it."""
    scheduler, state = parked.scheduler, parked.site.state
    state.wake(str(API))
    scheduler.tick()  # it is being rotated, and finds nothing
    assert API in scheduler.running
    state.wake(str(API))
    scheduler.tick()
    parked.jobs.pop(0)()
    host.acknowledge()
    host.clock.advance(SECOND)
    parked.tick()
    assert host.records()[-1].event == "rotation.finished"


def test_an_hour_of_checkpoints_survives_five_kills(
    host: Host, parked: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process goes on where the one before was killed, and nothing is done twice."""
    host.acknowledge()
    sleep, slept, kills = ManualClock.sleep, [0], 0

    def killing(clock: ManualClock, seconds: float) -> None:
        slept[0] += 1
        if slept[0] in (7, 19, 31, 43, 55):
            raise Killed
        sleep(clock, seconds)

    monkeypatch.setattr(ManualClock, "sleep", killing)
    parked.site.state.wake(str(API))
    daemon, began = parked, host.clock.now()
    while host.journal():
        try:
            daemon.tick()
        except Killed:
            kills += 1
            [shown] = [each for each in _views(daemon) if each["name"] == "api"]
            assert shown["in_flight"]["step"] == "re-encrypt"
            daemon = host.start()
    assert kills == 5
    assert host.clock.now() - began == HOUR
    [finished] = [
        each
        for each in host.records()
        if (each.event, each.subject) == ("rotation.finished", "token/api")
        and each.rotation == host.records()[-1].rotation
    ]
    assert finished.details == {"act": "replace"}


def test_a_kind_that_waits_does_not_keep_the_other_waiting(host: Host) -> None:
    """Hours of re-encryption have slots of their own."""
    daemon = host.start()
    daemon.scheduler.tick()
    assert set(daemon.scheduler.running) == {API, WEB}


def _views(daemon: Daemon) -> list[dict[str, Any]]:
    return [view.to_json() for view in daemon.site.look(list(daemon.site.inventory.subjects))]
