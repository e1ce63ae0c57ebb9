"""What the daemon does becomes alerts, each told once to those who want it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from certrotd.alerting import dispatch as module
from certrotd.alerting.dedup import AlertsDocument, from_json
from certrotd.alerting.dispatch import Alerting
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import id_of
from certrotd.errors import ConfigProblem, Failure, LockHeld, Transient
from certrotd.lifecycle.alert import Resolved
from certrotd.lifecycle.audited import Unaudited
from certrotd.lifecycle.decision import Wait
from certrotd.lifecycle.finding import Finding, Watched
from certrotd.lifecycle.report import Report
from certrotd.rotation.engine import Event, Finished, Parked
from certrotd.scheduling.clock_trust import SOUND, ClockTrust, Judgement
from certrotd.state.directory import StateDirectory
from tests.builders import DAY, generation
from tests.fakes.notifier import MemoryNotifier
from tests.parts.process import wait_until
from tests.unit.alerting.alerting_bench import FAIL, HOUR, NOW, Bench, awaits, entry
from tests.unit.alerting.test_rules import FAILED, look


def test_the_same_failure_is_sent_once_and_so_is_its_end(bench: Callable[..., Bench]) -> None:
    """Three attempts are one incident."""
    rig = bench()
    for minute in (0, 1, 11):
        rig.clock.advance(timedelta(minutes=minute))
        rig.observer.ended(Report(id_of("web"), outcome=FAIL))
        awaits(rig, 1)
    rig.observer.ended(Report(id_of("web"), outcome=Finished({})))
    assert awaits(rig, 2) == [
        "raised certificate/web: the rotation failed",
        "resolved certificate/web: a rotation succeeded",
    ]
    rig.observer.ended(Report(id_of("web"), outcome=Finished({})))
    rig.observer.ended(Report(id_of("www"), outcome=FAIL))
    assert (
        awaits(rig, 3)[2] == "raised certificate/www: the rotation failed"
    )  # the second end said nothing
    resolved = rig.notifiers["ops"].sent[1]
    assert (resolved.kind, resolved.subject) == ("rotation_failed", "certificate/web")


def test_a_new_failure_is_sent_at_once_and_the_same_after_a_day(
    bench: Callable[..., Bench],
) -> None:
    """As long as it has not passed."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    awaits(rig, 1)
    rig.observer.ended(Report(id_of("web"), outcome=replace(FAIL, because="the DNS is down")))
    assert awaits(rig, 2)[1] == "changed certificate/web: the rotation failed"
    rig.clock.advance(DAY)
    rig.observer.ended(Report(id_of("web"), outcome=replace(FAIL, because="the DNS is down")))
    assert awaits(rig, 3)[2] == "reminder certificate/web: the rotation failed"


def test_a_restart_does_not_tell_it_again(bench: Callable[..., Bench]) -> None:
    """A daemon in a crash loop; the control is one whose alert did not arrive."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    awaits(rig, 1)
    rig.start()  # without an end: a crash
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    rig.observer.ended(Report(id_of("www"), outcome=FAIL))
    assert awaits(rig, 2)[1] == "raised certificate/www: the rotation failed"
    assert (rig.state / "alerts.json").stat().st_mode & 0o777 == 0o600


def test_an_alert_that_did_not_arrive_is_sent_at_the_next_occasion(
    bench: Callable[..., Bench],
) -> None:
    """A service that was away for an hour."""
    rig = bench()
    notifier = rig.notifiers["ops"] = MemoryNotifier()
    notifier.broken = Transient("away")
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    wait_until(lambda: bool(rig.said))
    notifier.broken = None
    rig.observer.ended(Report(id_of("web"), outcome=FAIL))
    assert awaits(rig, 1) == ["raised certificate/web: the rotation failed"]
    assert rig.said[0].startswith("alert lost (certificate/web: the rotation failed): away")


def test_every_notifier_gets_the_alerts_that_it_selects(bench: Callable[..., Bench]) -> None:
    """By kind and by severity; and reminders at its own pace."""
    rig = bench(
        ops=entry(),
        grave=entry(severity="error"),
        audit=entry(events=["audit_broken"]),
        nag=entry(remind="1h"),
    )
    for _ in range(2):
        rig.observer.ended(Report(id_of("web"), outcome=FAIL))
        rig.observer.ended(Report(id_of("www"), outcome=replace(FAIL, to="issued")))
        awaits(rig, 2)
        awaits(rig, 2, "nag")
        rig.clock.advance(HOUR)
    assert len(awaits(rig, 4, "nag")) == 4
    assert awaits(rig, 1, "grave") == [
        "raised certificate/www: the new certificate was rolled back"
    ]
    assert rig.arrived("audit") == []
    assert len(rig.arrived()) == 2


def test_a_crash_is_alerted_and_a_wait_is_not(bench: Callable[..., Bench]) -> None:
    """What certrotd itself let go of was not cut off, also before a restart."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), outcome=Parked(NOW, "the process was told to stop")))
    rig.observer.close()
    rig.start()
    rig.observer.stepped(Event("id-7", "certificate/web", "done", 1, 2))
    rig.observer.ended(Report(id_of("web"), recovered=Finished({})))
    rig.observer.stepped(Event("id-8", "certificate/www", "done", 1, 2))
    rig.observer.ended(Report(id_of("www"), recovered=Finished({})))
    assert awaits(rig, 1) == [
        "raised certificate/www: a rotation was interrupted, certrotd finished it"
    ]
    assert rig.notifiers["ops"].sent[0].rotation == "id-8"


def test_a_rotation_known_to_be_in_flight_is_not_reported_as_a_crash(
    bench: Callable[..., Bench],
) -> None:
    """A journal that broke is told as that; a colleague at work changes nothing."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), failure=Failure("the journal is broken")))
    awaits(rig, 1)
    rig.observer.ended(Report(id_of("web"), failure=LockHeld("web", holder="process 1")))
    rig.observer.ended(Report(id_of("web"), recovered=Finished({})))
    assert awaits(rig, 2)[1] == "resolved certificate/web: a rotation succeeded"


def test_an_event_that_repeats_after_a_day_is_a_new_alert(bench: Callable[..., Bench]) -> None:
    """A crash is not still going on."""
    rig = bench()
    for _ in range(2):
        rig.observer.ended(Report(id_of("web"), recovered=Finished({})))
        rig.observer.ended(Report(id_of("web"), recovered=Finished({})))
        awaits(rig, 1)
        rig.clock.advance(DAY)
    assert (
        awaits(rig, 2)
        == ["raised certificate/web: a rotation was interrupted, certrotd finished it"] * 2
    )


def test_a_look_raises_and_ends_the_alert_of_a_late_renewal(
    bench: Callable[..., Bench],
) -> None:
    """Once, however often it is looked at."""
    rig = bench()
    for _ in range(3):
        rig.observer.looked(look(generation(age=81 * DAY), FAILED))
    awaits(rig, 1)
    calm = look(generation(age=DAY))
    assert isinstance(calm.decision, Wait)
    rig.observer.looked(calm)
    assert awaits(rig, 2) == [
        "raised certificate/web: still not renewed, expires at 2026-06-10 12:00Z",
        "resolved certificate/web: the renewal is no longer late",
    ]


def test_alerts_of_clock_configuration_and_troubles_are_raised_and_resolved(
    bench: Callable[..., Bench],
) -> None:
    """Everything else the daemon says."""
    rig, problem = bench(), ConfigProblem(Path("/etc/c.yaml"), 3, "certificates[0]", "is wrong")
    watched = Watched(
        "endpoint",
        "a.test:443",
        NOW,
        findings=(Finding(FindingKind.UNREACHABLE, "is unreachable"),),
    )
    steps: list[Callable[[Alerting], None]] = [
        lambda each: each.clock(Judgement(ClockTrust.WRONG, "the clock shows 1970"), None),
        lambda each: each.clock(SOUND, None),
        lambda each: each.refused(["/etc/c.yaml:1: no"]),
        lambda each: each.reloaded([id_of("a"), id_of("b")]),
        lambda each: each.configured([id_of("web"), id_of("www")], [problem]),
        lambda each: each.configured([id_of("web"), id_of("www")], []),
        lambda each: each.trouble(id_of("web"), Failure("cannot be read")),
        lambda each: each.calmed(id_of("web")),
        lambda each: each.watched(watched),
        lambda each: each.watched(replace(watched, findings=())),
        lambda each: each.watched(watched),
        lambda each: each.unwatched(watched.key),
        lambda each: each.watched(watched),
    ]
    count = 0
    for step in steps:
        step(rig.observer)
        count += step is not steps[11]  # what is watched no more ends without a word
        awaits(rig, count)
    assert rig.arrived() == [
        "raised the clock cannot be right: nothing is ordered",
        "resolved The clock is plausible again; certrotd orders again",
        "raised certrotd refuses the new configuration; the old one stays in force",
        "resolved The configuration is in force: 2 certificates",
        "raised entries are skipped: 1 problem in the configuration",
        "resolved Nothing is skipped any more",
        "raised certificate/web: cannot be read",
        "resolved certificate/web: the problem is over",
        "raised a.test:443 (): is unreachable",
        "resolved a.test:443 (): the problem is over",
        "raised a.test:443 (): is unreachable",
        "raised a.test:443 (): is unreachable",
    ]


def test_a_look_that_is_not_certain_resolves_nothing(bench: Callable[..., Bench]) -> None:
    """Each restart would say that all is well, and two minutes later that it is not."""
    rig = bench()
    bad = Watched(
        "endpoint", "a.test:443", NOW, findings=(Finding(FindingKind.UNREACHABLE, "is away"),)
    )
    rig.observer.watched(bad)
    awaits(rig, 1)
    rig.observer.close()
    rig.start()
    rig.observer.watched(replace(bad, findings=(), unsure=True))
    rig.observer.watched(bad)
    rig.observer.watched(replace(bad, findings=()))
    assert awaits(rig, 2) == [
        "raised a.test:443 (): is away",
        "resolved a.test:443 (): the problem is over",
    ]


def test_only_a_rotation_that_was_recorded_proves_the_audit_log(
    bench: Callable[..., Bench],
) -> None:
    """One with nothing to do has written nothing, and would say that all is well."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), failure=Unaudited("the disk is full")))
    awaits(rig, 1)
    rig.observer.ended(Report(id_of("www")))
    rig.observer.ended(Report(id_of("web"), failure=Unaudited("the disk is full")))
    rig.observer.ended(Report(id_of("www"), outcome=Finished({})))
    assert awaits(rig, 2) == [
        "raised the audit log cannot be written",
        "resolved The audit log records rotations again",
    ]


def test_a_rotation_that_did_not_begin_is_not_remembered_as_in_flight(
    bench: Callable[..., Bench],
) -> None:
    """A crash of the rotation after it is told like any other."""
    rig = bench()
    rig.observer.ended(Report(id_of("web"), failure=Unaudited("the disk is full")))
    rig.observer.ended(Report(id_of("web"), recovered=Finished({})))
    assert "raised certificate/web: a rotation was interrupted, certrotd finished it" in awaits(
        rig, 3
    )


def test_a_trouble_that_a_restart_ended_is_resolved(bench: Callable[..., Bench]) -> None:
    """The new process has not met it, and can say so at its first look."""
    rig = bench()
    rig.observer.trouble(id_of("web"), Failure("cannot be read"))
    awaits(rig, 1)
    rig.observer.close()
    rig.start().looked(look(generation(age=DAY)))
    assert awaits(rig, 2)[1] == "resolved certificate/web: the problem is over"


def test_a_start_resolves_the_reload_that_was_refused(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever corrects the configuration and restarts certrotd has it in force, too."""
    rig = bench()
    rig.observer.refused(["/etc/c.yaml:1: no"])
    awaits(rig, 1)
    rig.observer.close()
    passed: list[Resolved] = []
    monkeypatch.setattr(Alerting, "resolve", lambda _self, each: passed.append(each))
    config = SimpleNamespace(state_dir=rig.state, notifications={}, certificates=[1, 2])
    state = StateDirectory(rig.state, command="certrotd run", now=lambda: NOW)
    module.start(config, state.document("alerts"), lambda *_: None)  # type: ignore[arg-type]
    assert passed == [Resolved("config", "The configuration is in force.")]


def ca_fails(rig: Bench, name: str) -> None:
    """A rotation that ends because its CA does not answer."""
    rig.observer.asked_service(id_of(name), "le", Transient("cannot connect"))
    rig.observer.ended(Report(id_of(name), outcome=FAIL))


def test_an_outage_of_a_ca_is_one_alert_until_it_issues(bench: Callable[..., Bench]) -> None:
    """Across a restart too; the control is a failure that is not the CA's."""
    rig = bench()
    ca_fails(rig, "web")
    awaits(rig, 1)
    ca_fails(rig, "www")
    outage = "raised le fails the rotations of 2 certificates"
    assert awaits(rig, 3)[1:] == [
        outage,
        "resolved certificate/web: le fails several rotations, which is one alert now",
    ]
    for name in ("web", "www"):
        ca_fails(rig, name)
    rig.start()
    for name in ("web", "www"):
        ca_fails(rig, name)
    rig.observer.ended(Report(id_of("www"), outcome=FAIL))
    assert awaits(rig, 4)[3:] == ["raised certificate/www: the rotation failed"]
    rig.observer.asked_service(id_of("web"), "le", None)
    assert awaits(rig, 5)[4:] == ["resolved le answers again"]


def test_a_certificate_near_its_end_has_its_own_alert_during_an_outage(
    bench: Callable[..., Bench],
) -> None:
    """Somebody has to get it from elsewhere."""
    rig = bench()
    ca_fails(rig, "web")
    awaits(rig, 1)
    ca_fails(rig, "www")
    awaits(rig, 3)
    rig.observer.looked(look(generation(age=85 * DAY), FAILED))
    assert "expires at" in awaits(rig, 4)[3]


def test_what_fails_because_of_a_ca_is_read_back_or_refused() -> None:
    """By whoever starts next; a damaged document is refused as a whole, and kept aside."""
    document = AlertsDocument({}, failing={"le": (id_of("web"), id_of("www"))})
    assert from_json(document.to_json()) == document
    damaged = document.to_json().replace(b"certificate/www", b"nonsense")
    assert from_json(damaged) is None
