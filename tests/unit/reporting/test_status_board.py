"""What the board makes of what it hears."""

from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.certs.decision import Deploy, Renew
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import id_of
from certrotd.errors import ConfigProblem, Failure, LockHeld
from certrotd.id import Id
from certrotd.lifecycle.audited import Unaudited
from certrotd.lifecycle.finding import Finding, FindingSeverity, Watched
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.report import Report
from certrotd.reporting.snapshot import BUCKETS, SHOWN
from certrotd.reporting.status_board import SILENCE
from certrotd.rotation.engine import (
    Event,
    Finished,
    Outcome,
    Parked,
    RolledBack,
    Stopped,
    Stuck,
)
from certrotd.scheduling.clock_trust import ClockTrust, Judgement
from tests.unit.daemon.http.stand import DAY, NOW, Stand, generation


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """An empty one."""
    return Stand(tmp_path)


def step(name: str, what: str, item: str = "prove") -> Event:
    """Something that happens to a step."""
    return Event("id", f"certificate/{name}", what, 1, 9, item)


def test_a_certificate_that_was_looked_at_is_known(stand: Stand) -> None:
    """Dates for the alerts, the state for the page, and when the next look is due."""
    stand.fine("web")
    stand.look()
    snapshot = stand.board.snapshot()
    known = snapshot.known[id_of("web")]
    assert known is not None
    assert snapshot.state(id_of("web")) == known.state == "ok"
    assert known.not_after == (NOW + 80 * DAY).timestamp()
    assert known.not_before == (NOW - 10 * DAY).timestamp()
    assert known.next == (NOW + 50 * DAY).timestamp() == snapshot.next_look()
    assert (known.generation, known.act, known.failures) == (3, "wait", 0)
    assert not snapshot.failing(id_of("web"))
    assert snapshot.attempts_left(id_of("web")) is None


def test_every_state_has_a_word_of_its_own(stand: Stand) -> None:
    """The page colours by it; a certificate nobody has looked at is not taken for a good one."""
    stand.fine("ok")
    stand.fine("due", age=70 * DAY)
    stand.fine("old", age=91 * DAY)
    stand.add("missing", "m.example.com")
    stand.add("off", "o.example.com", live=generation("o.example.com"), enabled=False)
    stand.add("unreadable", "u.example.com", live=Failure("the disk is gone"))
    stand.fine("flying")
    stand.look()
    stand.board.began(id_of("flying"), "due")
    snapshot = stand.board.snapshot()
    found = {each.name: snapshot.state(each) for each in snapshot.known}
    assert found == {
        "ok": "ok",
        "due": "due",
        "old": "expired",
        "missing": "missing",
        "off": "disabled",
        "unreadable": "unreadable",
        "flying": "in flight",
    }
    assert {name for name in found if snapshot.failing(id_of(name))} == {"old", "unreadable"}
    assert snapshot.why(id_of("unreadable")) == "the disk is gone"
    assert snapshot.why(id_of("flying")) == "a rotation runs"
    assert snapshot.why(id_of("missing")) == "there is no certificate yet"
    counted = {s: sum(v == s for v in found.values()) for s in SHOWN}
    assert snapshot.count() == {"certificate": counted}


def test_a_certificate_is_unseen_before_the_first_look(stand: Stand) -> None:
    """Between the start and the first look nothing is claimed."""
    stand.board.configured([id_of("web")], [])
    snapshot = stand.board.snapshot()
    assert (snapshot.state(id_of("web")), snapshot.next_look()) == ("unseen", None)
    assert snapshot.why(id_of("web")) == "certrotd has not looked at it yet"
    assert not snapshot.failing(id_of("web"))
    assert snapshot.attempts_left(id_of("web")) is None


def test_a_certificate_expires_without_anybody_looking(stand: Stand) -> None:
    """Time goes on also while the scheduler has no reason to look."""
    stand.fine("web")
    stand.look()
    stand.clock.advance(80 * DAY)
    assert stand.board.snapshot().state(id_of("web")) == "expired"


def test_failures_and_the_attempts_left_are_known(stand: Stand) -> None:
    """Three attempts left before expiry is what somebody must hear of."""
    stand.fine("web", age=70 * DAY)
    stand.fine("www")
    stand.past("web", "nobody answers")
    stand.look()
    snapshot = stand.board.snapshot()
    known = snapshot.known[id_of("web")]
    assert known is not None
    assert (known.failures, known.failure) == (1, "nobody answers")
    assert snapshot.failing(id_of("web"))
    assert not snapshot.failing(id_of("www"))
    many = snapshot.attempts_left(id_of("web"))
    assert many is not None
    assert many > 20
    stand.clock.advance(20 * DAY - timedelta(minutes=30))
    few = stand.board.snapshot().attempts_left(id_of("web"))
    assert few is not None
    assert 0 < few < many


def test_a_renewal_that_waits_for_the_budget_says_so(stand: Stand) -> None:
    """Due for days and nothing happens would look like a defect."""
    stand.fine("web", age=70 * DAY)
    stand.look()
    assert stand.board.snapshot().state(id_of("web")) == "due"
    why = "the CA's limit is used up: orders of the account: 300 in 3 hours"
    over = Held(Gate.BUDGET, why, NOW + DAY)
    stand.board.postponed(id_of("web"), over)
    stand.board.postponed(id_of("unknown"), over)
    snapshot = stand.board.snapshot()
    assert snapshot.state(id_of("web")) == "postponed"
    due = "two thirds of its lifetime has passed"
    assert snapshot.why(id_of("web")) == f"{why}; due: {due}"
    assert snapshot.held(id_of("web")) == over
    assert snapshot.next_look() == (NOW + DAY).timestamp()
    assert list(snapshot.known) == [id_of("web")]
    stand.look()
    assert stand.board.snapshot().state(id_of("web")) == "due"


def test_a_trouble_lasts_until_it_is_over(stand: Stand) -> None:
    """What is shown must go when the reason goes, and not before."""
    stand.fine("web")
    stand.look()
    stand.board.trouble("the directories", Failure("/srv is gone"))
    stand.board.trouble(id_of("web"), Failure("no"))
    snapshot = stand.board.snapshot()
    assert snapshot.others() == {"the directories": "/srv is gone"}
    assert (snapshot.blocked, snapshot.failing(id_of("web"))) == ("/srv is gone", True)
    assert snapshot.state(id_of("web")) == "unreadable"
    stand.look()  # a look at the certificate ends its trouble; a reload does not bring /srv back
    snapshot = stand.board.snapshot()
    assert (snapshot.state(id_of("web")), list(snapshot.others())) == ("ok", ["the directories"])
    assert (snapshot.failing(id_of("web")), snapshot.why(id_of("web"))) == (True, "/srv is gone")
    stand.board.calmed("the directories")
    snapshot = stand.board.snapshot()
    assert (snapshot.troubles, snapshot.blocked, snapshot.failing(id_of("web"))) == ({}, "", False)


def test_a_removed_certificate_is_forgotten(stand: Stand) -> None:
    """A removed certificate must not alert for ever; what stays need not be looked at first."""
    stand.fine("web")
    stand.fine("www")
    stand.look()
    stand.board.trouble(id_of("www"), Failure("no"))
    stand.board.configured([id_of("web"), id_of("new")], [])
    snapshot = stand.board.snapshot()
    assert list(snapshot.known) == [id_of("web"), id_of("new")]
    assert snapshot.troubles == {}
    assert (snapshot.state(id_of("web")), snapshot.state(id_of("new"))) == ("ok", "unseen")


def test_words_that_many_certificates_share_are_kept_once(stand: Stand) -> None:
    """Of 10,000 certificates nearly all wait for the same reason."""
    for name in ("a", "b"):
        stand.fine(name)
    stand.look()
    first, second = stand.board.snapshot().known.values()
    assert first is not None
    assert second is not None
    assert first.why is second.why


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Finished({}), "finished"),
        (Parked(NOW, "a grace period"), "parked"),
        (Parked(NOW, "the disk is full", failed=True), "failed"),
        (RolledBack("issued", "prove", "stop", stopped=True), "stopped"),
        (RolledBack("issued", "prove", "old"), "rolled_back"),
        (Stuck("swap", "why", "why not"), "stuck"),
    ],
)
def test_rotations_are_counted_by_outcome(stand: Stand, outcome: Outcome, word: str) -> None:
    """Alerts ask for the bad ones by name."""
    stand.fine("web")
    stand.look()
    stand.board.began(id_of("web"), "due")
    stand.board.ended(Report(id_of("web"), Renew("due", NOW), outcome))
    stand.board.ended(Report(id_of("web"), recovered=outcome))
    snapshot = stand.board.snapshot()
    assert snapshot.rotations == {(word, "renew"): 1, (word, "resume"): 1}
    assert snapshot.running == frozenset()


@pytest.mark.parametrize(
    ("failure", "word", "unaudited"),
    [
        (Failure("no"), "failed", 0),
        (LockHeld("web", holder="process 1"), "held", 0),
        (Stopped("told to stop"), "stopped", 0),
        (Unaudited("the disk is full"), "failed", 1),
    ],
)
def test_a_rotation_that_did_not_begin_is_no_failed_one_for_every_reason(
    stand: Stand, failure: Failure, word: str, unaudited: int
) -> None:
    """A colleague at work must not look like an outage; a log that takes nothing must."""
    stand.fine("web")
    stand.look()
    stand.board.ended(Report(id_of("web"), failure=failure))
    stand.board.ended(Report(id_of("new"), Deploy("issued", 2), failure=failure))
    snapshot = stand.board.snapshot()
    assert snapshot.rotations == {(word, "wait"): 1, (word, "deploy"): 1}
    assert snapshot.unaudited == 2 * unaudited


def test_steps_are_timed_by_monotonic_time(stand: Stand) -> None:
    """How long proving takes tells a slow service; a clock set back must not."""
    for seconds in (0.05, 4.0, 1000.0):
        stand.board.stepped(step("web", "trying"))
        stand.clock.jump(-DAY)
        stand.clock.sleep(seconds)
        stand.board.stepped(step("web", "done"))
    [(kind, durations)] = stand.board.snapshot().steps.items()
    assert kind == "prove"
    assert durations.counts == (1, 0, 0, 1, 0, 0, 0, 1)
    assert durations.total == pytest.approx(1004.05)
    assert list(durations.cumulated())[-1] == (None, 3)
    assert len(list(durations.cumulated())) == len(BUCKETS) + 1


def test_failed_and_stuck_steps_are_counted(stand: Stand) -> None:
    """The failure of a step counts as one, and its time too; a journal's own trouble has none."""
    stand.board.stepped(step("web", "trying"))
    stand.board.stepped(step("web", "failed"))
    stand.board.stepped(step("web", "stuck", "swap"))
    stand.board.stepped(step("web", "stuck", ""))
    stand.board.stepped(step("web", "done", "never begun"))
    snapshot = stand.board.snapshot()
    assert snapshot.failed_steps == {"prove": 1, "swap": 1}
    assert list(snapshot.steps) == ["prove"]


def test_the_daemon_is_dead_only_when_nothing_moves(stand: Stand) -> None:
    """The answer to it is a restart, which must not come while 10,000 are looked at."""
    stand.fine("web")
    stand.clock.sleep(SILENCE - 1)
    assert stand.board.dead() == ""
    stand.look()
    stand.clock.sleep(SILENCE - 1)
    assert stand.board.dead() == ""
    stand.clock.sleep(1)
    assert stand.board.dead() == stand.board.unready() == "no tick for 30 s"
    stand.board.stopping([])
    assert stand.board.dead() == ""  # a rotation is finished before it ends


def test_a_clock_set_back_does_not_make_it_dead(stand: Stand) -> None:
    """By the wall clock the last tick would be tomorrow, or a year ago."""
    stand.look()
    stand.clock.jump(365 * DAY)
    assert stand.board.dead() == ""


def test_the_daemon_is_ready_after_the_first_check(stand: Stand) -> None:
    """Not before everything was looked at, and no more when it stops."""
    stand.fine("web")
    stand.board.configured([id_of("web")], [])
    assert stand.board.unready() == ("the first check still runs: 1 certificate to go")
    stand.look()
    assert stand.board.unready() == ""
    stand.board.stopping([id_of("web")])
    assert stand.board.unready() == "it is stopping"


def test_a_refused_configuration_is_shown_and_leaves_the_daemon_ready(stand: Stand) -> None:
    """The old one is in force and works: taking the daemon out of service would help nobody."""
    stand.look()
    stand.board.refused(["config.yaml:3: no"])
    configured = stand.board.snapshot().configured
    assert (configured.valid, configured.refused) == (False, ("config.yaml:3: no",))
    assert stand.board.unready() == ""
    stand.board.reloaded([])
    assert stand.board.snapshot().configured.valid


def test_skipped_certificates_are_shown_until_a_reload_without_them(stand: Stand) -> None:
    """They expire quietly otherwise; a reload that is refused does not mend them."""
    problem = ConfigProblem(Path("config.yaml"), 7, "certificates[web]", "no")
    stand.board.configured([], [problem])
    stand.board.refused(["worse"])
    configured = stand.board.snapshot().configured
    assert configured.left_out == ("config.yaml:7: certificates[web]: no",)
    stand.clock.advance(DAY)
    stand.board.configured([], [])
    configured = stand.board.snapshot().configured
    assert (configured.valid, configured.since) == (True, (NOW + DAY).timestamp())


def test_the_clock_is_judged_on_the_page_too(stand: Stand) -> None:
    """Nothing is ordered while it is wrong, and the page must say why."""
    judgement = Judgement(ClockTrust.WRONG, "it is 1970")
    stand.board.clock(judgement, None)
    assert stand.board.snapshot().judgement is judgement


def test_findings_are_kept_while_they_last(stand: Stand) -> None:
    """Files that are fine are known from the looks: 10,000 of them are not kept twice."""
    wrong = Finding(FindingKind.SERVED_MISMATCH, "it serves another", FindingSeverity.ERROR)
    endpoint = Watched(
        "target", "127.0.0.1:443", NOW, "a", id_of("web"), "nginx", findings=(wrong,)
    )
    files = Watched(
        "files", "web", NOW, findings=(Finding(FindingKind.KEY_MISMATCH, "not its key"),)
    )
    stand.board.watched(endpoint)
    stand.board.watched(files)
    assert sum(stand.board.snapshot().found().values()) == 2
    stand.board.watched(Watched("files", "web", NOW))
    stand.board.watched(Watched("target", "127.0.0.1:443", NOW, "a", id_of("web"), "nginx"))
    snapshot = stand.board.snapshot()
    assert snapshot.found() == {}
    assert [seen.sort for seen in snapshot.watched] == ["target"]
    stand.board.unwatched(endpoint.key)
    assert stand.board.snapshot().watched == ()


def test_a_picture_does_not_change_any_more(stand: Stand) -> None:
    """A page is about one moment, however long it takes to write."""
    stand.fine("web")
    stand.look()
    before = stand.board.snapshot()
    stand.board.began(id_of("web"), "due")
    stand.board.trouble(id_of("web"), Failure("no"))
    stand.board.configured([], [])
    assert before.state(id_of("web")) == "ok"


def test_two_kinds_of_one_name_are_two_lines_of_the_board(stand: Stand) -> None:
    """What is said of the key web is not said of the certificate web."""
    web, key = id_of("web"), Id("key", "web")
    stand.board.configured([web, key], [])
    stand.board.began(web, "due")
    stand.board.trouble(key, Failure("the database is gone"))
    snapshot = stand.board.snapshot()
    assert {str(each): snapshot.state(each) for each in snapshot.known} == {
        "certificate/web": "in flight",
        "key/web": "unreadable",
    }
    stand.board.ended(Report(web))
    stand.board.calmed(key)
    assert stand.board.snapshot().running == frozenset()
    assert stand.board.snapshot().troubles == {}
