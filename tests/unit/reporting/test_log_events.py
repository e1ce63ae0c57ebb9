"""What people are told, once, in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import id_of
from certrotd.errors import ConfigProblem, Failure, LockHeld
from certrotd.lifecycle.finding import Finding, FindingSeverity, Watched
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.report import Report
from certrotd.reporting.log_events import EventLog
from certrotd.rotation.engine import Event, Finished, Outcome, Parked, RolledBack, Stuck
from certrotd.scheduling.clock_trust import SOUND, ClockTrust, Judgement

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Kept:
    """The Log port, over lists."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.events: list[tuple[str, str, dict[str, object]]] = []

    def __call__(self, level: str, event: str, words: str, /, **fields: object) -> None:
        if level != "debug":
            self.said.append(words)
        self.events.append((level, event, fields))


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Finished({}), "done"),
        (Parked(NOW, "a grace period"), "waits until 2026-06-01 00:00:00Z: a grace period"),
        (
            Parked(NOW, "the disk is full", failed=True),
            "failed, retries after 2026-06-01 00:00:00Z: the disk is full",
        ),
        (RolledBack("", "order", "no"), "failed: order: no; nothing was changed"),
        (RolledBack("issued", "prove", "old"), "failed: prove: old; rolled back to issued"),
        (
            RolledBack("", "order", "stop", stopped=True),
            "stopped: order: stop; nothing was changed",
        ),
        (Stuck("swap", "why", "why not"), "stuck: the undo of swap failed: why not; after: why"),
    ],
)
def test_every_outcome_has_its_sentence(outcome: Outcome, expected: str) -> None:
    """The log is what is read at night."""
    kept = Kept()
    EventLog(kept).ended(Report(id_of("web"), recovered=outcome))
    assert kept.said == [f"web: {expected}"]


def test_a_failure_is_logged_as_an_error_and_a_lock_is_not() -> None:
    """Who greps for failures must not find a colleague at work."""
    kept = Kept()
    said, lines = kept.said, EventLog(kept)
    lines.ended(Report(id_of("web"), failure=Failure("it broke")))
    lines.ended(Report(id_of("web"), failure=LockHeld("certificate web", holder="process 1")))
    assert said[0] == "web: failed: it broke"
    assert "failed" not in said[1]


def test_the_same_trouble_is_logged_once_until_it_is_over() -> None:
    """A disk that is full all night is one line."""
    kept = Kept()
    said, lines = kept.said, EventLog(kept)
    for _ in range(3):
        lines.trouble(id_of("web"), Failure("the disk is full"))
    assert said == ["web: the disk is full"]
    lines.ended(Report(id_of("web"), outcome=Finished({})))
    lines.trouble(id_of("web"), Failure("the disk is full"))
    assert said[-1] == said[0]
    assert len(said) == 3


def test_a_trouble_that_ended_is_logged_and_one_that_never_was_is_not() -> None:
    """Whoever was called must learn that it is over."""
    kept = Kept()
    told = EventLog(kept)
    told.calmed(id_of("web"))
    for _ in range(2):
        told.trouble(id_of("web"), Failure("the disk is full"))
        told.calmed(id_of("web"))
    assert kept.said == ["web: the disk is full", "web: the problem is over"] * 2


def test_a_wrong_clock_is_logged_once_with_its_consequence() -> None:
    """An operator has to know why nothing is renewed, and what to do."""
    kept = Kept()
    said, lines = kept.said, EventLog(kept)
    for _ in range(2):
        lines.clock(Judgement(ClockTrust.WRONG, "the clock shows 1970"), None)
    lines.clock(SOUND, timedelta(days=-1))
    assert said[0].startswith("the clock shows 1970: nothing is ordered until it is right")
    assert said[1:] == ["the clock jumped by -86400 s: certrotd looks at everything again"]


def test_an_order_that_waits_says_for_what() -> None:
    """A name that is missing for a week needs an explanation."""
    kept = Kept()
    said, lines = kept.said, EventLog(kept)
    lines.postponed(
        id_of("web"),
        Held(Gate.BUDGET, "the CA's limit is used up: orders of the account: 2 in 1 hours", NOW),
    )
    lines.began(id_of("web"), "there is no certificate yet")
    assert said == [
        "web: waits until 2026-06-01 00:00:00Z, the CA's limit is used up: orders of the account: "
        "2 in 1 hours",
        "web: rotation begins: there is no certificate yet",
    ]


def test_an_event_of_every_second_is_not_logged() -> None:
    """A log that nobody can read is none."""
    kept = Kept()
    EventLog(kept).ticked(NOW, 1)
    assert kept.events == []


def test_steps_are_logged_when_they_end() -> None:
    """That one is being tried is for those who debug."""
    kept = Kept()
    told = EventLog(kept)
    told.stepped(Event("id", "certificate/web", "failed", 3, 9, "order", "the CA says no"))
    told.stepped(Event("id", "certificate/web", "trying", 3, 9, "order"))
    assert kept.said == ["web: order failed: the CA says no"]
    fields = {"kind": "certificate", "name": "web", "rotation": "id", "step": "order"}
    assert kept.events[0] == ("error", "step.failed", fields)
    assert kept.events[1][0] == "debug"


def test_the_end_of_a_rotation_carries_its_id_and_the_next_does_not() -> None:
    """Everything of one rotation can be found by its id, and nothing else is."""
    kept = Kept()
    told = EventLog(kept)
    told.stepped(Event("id", "certificate/web", "done", 3, 9, "order"))
    told.ended(Report(id_of("web"), outcome=Finished({})))
    told.ended(Report(id_of("web"), failure=Failure("no journal")))
    assert kept.events[1][2] == {"kind": "certificate", "name": "web", "rotation": "id"}
    assert kept.events[2][2] == {"kind": "certificate", "name": "web"}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Finished({}), ("info", "rotation.finished")),
        (Parked(NOW, "a grace period"), ("info", "rotation.parked")),
        (Parked(NOW, "no disk", failed=True), ("error", "rotation.failed")),
        (RolledBack("", "order", "no"), ("error", "rotation.rolled_back")),
        (RolledBack("", "order", "stop", stopped=True), ("info", "rotation.stopped")),
        (Stuck("swap", "why", "why not"), ("error", "rotation.stuck")),
    ],
)
def test_a_failure_is_of_its_own_level(outcome: Outcome, expected: tuple[str, str]) -> None:
    """Who filters the journal by priority must see what failed, and little else."""
    kept = Kept()
    EventLog(kept).ended(Report(id_of("web"), outcome=outcome))
    assert kept.events[0][:2] == expected


def test_start_reload_and_stop_are_logged() -> None:
    """The life of the process, in the words that operators look for."""
    kept = Kept()
    told = EventLog(kept)
    problem = ConfigProblem(Path("/etc/c.yaml"), 3, "certificates[0].name", "is required")
    told.configured([id_of("web")], [problem])
    told.reloaded([id_of("a"), id_of("b")])
    told.configured([id_of("web"), id_of("www")], [])
    told.refused(["/etc/c.yaml:1: : no"])
    told.remarked("kept aside")
    told.stopping([id_of("web")])
    told.stopped([id_of("web")])
    told.stopped([])
    assert kept.said == [
        f"skipped: {problem}",
        "started with 1 certificate",
        "reloaded: 2 certificates",
        "not reloaded: /etc/c.yaml:1: : no",
        "kept aside",
        "stopping: finishing or undoing web",
        "stopped before web ended: the next start continues",
        "stopped",
    ]


def test_a_finding_is_logged_once_and_its_end_once() -> None:
    """A certificate that expired on Friday evening is one line, not a weekend of them."""
    kept = Kept()
    told = EventLog(kept)
    old = Watched("files", "web", NOW, about=id_of("web"))
    soon = Finding(
        FindingKind.EXPIRING, "it expires at 2026-06-02 00:00:00Z", FindingSeverity.WARNING
    )
    sooner = Finding(FindingKind.EXPIRING, "it expires at 2026-06-02 00:00:00Z")
    other = Finding(FindingKind.COPIES_DIFFER, "the copies differ")
    for findings in ((), (soon,), (soon,), (sooner, other), (other,), (), ()):
        told.watched(replace(old, findings=findings))
    assert kept.said == [
        "files of certificate/web: it expires at 2026-06-02 00:00:00Z",
        "files of certificate/web: it expires at 2026-06-02 00:00:00Z",
        "files of certificate/web: the copies differ",
        "files of certificate/web: no longer expiring",
        "files of certificate/web: no longer copies differ",
    ]
    fields: dict[str, object] = {
        "watch": "files of certificate/web",
        "kind": "certificate",
        "name": "web",
    }
    assert kept.events[0] == ("warning", "watch.expiring", fields)
    assert kept.events[1] == ("error", "watch.expiring", fields)
    assert kept.events[3] == ("info", "watch.passed", {**fields, "finding": FindingKind.EXPIRING})


def test_a_finding_of_an_entry_that_comes_back_is_logged_again() -> None:
    """An entry taken out and put in again starts afresh."""
    kept = Kept()
    told = EventLog(kept)
    gone = Finding(FindingKind.UNREACHABLE, "nobody there")
    watched = Watched("endpoint", "192.0.2.1:443", NOW, sni="a.test", findings=(gone,))
    told.watched(watched)
    told.unwatched(watched.key)
    told.watched(watched)
    assert kept.said == ["192.0.2.1:443 (a.test): nobody there"] * 2
    assert kept.events[0][2] == {"watch": "192.0.2.1:443 (a.test)"}
