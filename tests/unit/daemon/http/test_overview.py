"""The list: what it shows of many certificates, and what it says on top."""

import re
from datetime import timedelta
from pathlib import Path

from certrotd.audit.head import Anchor
from certrotd.audit.record import Head
from certrotd.certs.findings import FindingKind
from certrotd.certs.limits.budget import Budget, DocumentBudgetStore
from certrotd.certs.limits.sliding_windows import Limit, Limits
from certrotd.certs.policy import COPIES, id_of
from certrotd.daemon.http.filters import Filters
from certrotd.daemon.http.overview import PAGE
from certrotd.errors import ConfigProblem, Failure
from certrotd.lifecycle.finding import Finding, Watched
from certrotd.pki.generation import Copy, TargetState
from certrotd.scheduling.clock_trust import ClockTrust, Judgement
from certrotd.state.document import FileDocument
from tests.unit.daemon.http.page import names, page, text
from tests.unit.daemon.http.stand import DAY, NOW, PRINT, Stand, generation


def test_a_healthy_site_says_that_all_is_well(stand: Stand) -> None:
    """One glance is enough."""
    stand.fine("web", number=7)
    stand.look()
    read = page(stand)
    assert "All is well with 1 certificate" in read.text
    assert "Notices" not in text(stand)
    assert "80 days left" in read.text
    assert "renewal at two thirds of its lifetime" in read.text
    assert names(read) == ["web"]
    [bar] = [svg for svg in read.all("svg") if "life" in (svg["class"] or "")]
    assert bar["aria-label"] == "11 % of 90 days passed; renewal 2026-07-21 12:00Z"
    assert "good" in (bar["class"] or "")


def test_failing_certificates_come_first_and_in_the_headline(stand: Stand) -> None:
    """Of 10,000 certificates the three that matter are what is seen."""
    stand.fine("aaa")
    stand.fine("zzz", age=70 * DAY)
    stand.past("zzz", "nobody answers at 127.0.0.1:443")
    stand.fine("old", age=91 * DAY)
    stand.look()
    read = page(stand)
    assert "2 of 3 certificates need attention" in read.text
    assert names(read) == ["old", "zzz", "aaa"]
    assert "nobody answers at 127.0.0.1:443" in read.text
    assert "attempts left before it expires" in read.text
    assert "expired 24 hours ago" in read.text
    assert page(stand, state="failing").text.count("nobody answers") == 1
    assert names(page(stand, state="failing")) == ["old", "zzz"]
    assert "(2) certrotd" in read.text


def test_trouble_beyond_certificates_is_reported(stand: Stand) -> None:
    """The page is where an alert leads, so it must have what the alert is about."""
    stand.fine("web")
    stand.look()
    board = stand.board
    board.refused(["config.yaml:3: unknown key"])
    assert "The configuration on disk is not fully in force" in page(stand).text
    assert "config.yaml:3: unknown key" in page(stand).text
    board.configured(
        [id_of("web")], [ConfigProblem(Path("c.yaml"), 7, "certificates[bad]", "no name")]
    )
    assert "c.yaml:7: certificates[bad]: no name" in page(stand).text
    board.watched(
        Watched(
            "files",
            "certificate/web",
            NOW,
            findings=(Finding(FindingKind.KEY_MISMATCH, "not its key"),),
        )
    )
    assert "Other problems need attention" in page(stand).text
    assert "files of certificate/web: not its key" in page(stand).text
    board.trouble("the directories", Failure("/srv is gone"))
    assert "the directories: /srv is gone" in page(stand).text
    assert "Nothing can rotate" in page(stand).text
    board.calmed("the directories")
    board.clock(Judgement(ClockTrust.WRONG, "it is 1970"), None)
    assert "The clock is wrong: nothing is ordered" in page(stand).text
    stand.clock.sleep(31)
    assert "The scheduler hangs" in page(stand).text


def test_the_headline_says_that_a_watched_endpoint_needs_attention(stand: Stand) -> None:
    """Beside certificates that are all in order, it is not one of them that fails."""
    stand.fine("web")
    stand.fine("www")
    stand.look()
    for host, findings in (
        ("a:1", ()),
        ("b:2", (Finding(FindingKind.UNREACHABLE, "nobody answers"),)),
    ):
        stand.board.watched(Watched("endpoint", host, NOW, findings=findings))
    said = page(stand).text
    assert "1 of 2 endpoints needs attention" in said
    assert "certificates needs attention" not in said
    stand.past("www", "the CA is down")
    stand.look()
    said = page(stand).text
    assert "1 of 2 certificates and 1 of 2 endpoints need attention" in said
    assert re.search(r"In order\s*1\s*of 2", said)


def test_a_failure_is_reported_once_and_with_what_is_left(stand: Stand) -> None:
    """The reason of a postponed one tells it already; one never issued has nothing to expire."""
    stand.fine("web", age=70 * DAY)
    stand.past("web", "nobody answers", ended=NOW.isoformat())
    stand.add("new", "new.example.com")
    stand.past("new", "the CA is down")
    stand.past("new", "the CA is down")
    stand.look()
    read = page(stand)
    assert read.text.count("nobody answers") == 1
    assert "attempts left before it expires" in read.text
    assert "2 failures, the last: the CA is down" in read.text
    assert read.text.count("before it expires") == 1


def test_of_many_notices_the_first_are_shown(stand: Stand) -> None:
    """A thousand broken entries must not hide the certificates."""
    stand.look()
    stand.board.refused([f"problem {number}" for number in range(1000)])
    read = page(stand)
    assert len(read.all("li")) < 40
    assert "problem 19" in read.text
    assert "problem 20" not in read.text
    assert "And more: 980 others, see status.json" in read.text


def test_before_the_first_check_it_claims_nothing(stand: Stand) -> None:
    """Right after the start of a daemon with many certificates."""
    stand.fine("web")
    stand.board.configured([id_of("web")], [])
    read = page(stand)
    assert "Not ready: the first check still runs: 1 certificate to go" in read.text
    assert "unseen" in read.text


def test_without_certificates_there_is_a_page(stand: Stand) -> None:
    """The first thing somebody sees who tries it."""
    stand.look()
    read = page(stand)
    assert "Nothing is configured" in read.text
    assert "There is nothing to show yet." in read.text
    assert not read.all("table")


def test_the_audit_log_and_the_budget_are_shown(stand: Stand) -> None:
    """With what cannot be read told as such."""
    stand.fine("web")
    stand.look()
    assert "no record yet" in page(stand).text
    stand.audit = Anchor(Head(1234, "ef" * 32))
    record = DocumentBudgetStore(FileDocument(stand.state, "budget"), print)
    stand.budgets["ca"] = Budget(Limits(orders=Limit(300, timedelta(hours=3))), record, stand.clock)
    assert "Audit log #1,234 efefefefefef…" in page(stand).text
    assert "Orders left 300 ca" in page(stand).text
    stand.audit = Anchor(state="unreadable")
    assert "Audit log: its head file is damaged" in page(stand).text
    stand.audit = Failure("no permission")
    (stand.state / "budget.json").symlink_to("elsewhere")
    read = page(stand)
    assert "Audit log: no permission" in read.text
    assert "Budget of ca: " in read.text


def test_the_next_expiry_and_open_problems_come_before_other_figures(
    stand: Stand,
) -> None:
    """They are what the page is opened for."""
    stand.fine("web")
    stand.fine("soon", age=50 * DAY)
    stand.look()
    read = page(stand)
    order = ("Needs you", "Expires first", "In order", "Next check", "Clock", "Audit log")
    places = [read.text.index(what) for what in order]
    assert places == sorted(places)
    assert "Needs you 0 nothing to do Expires first in 40 d soon" in read.text
    stand.clock.advance(41 * DAY)
    assert "Expires first expired soon" in page(stand).text


def test_many_attempts_that_are_left_are_not_red(stand: Stand) -> None:
    """Red is for what somebody has to hurry for."""
    for age, red in ((70 * DAY, False), (90 * DAY - timedelta(minutes=1), True)):
        stand.fine("web", age=age)
        stand.past("web", "nobody answers", ended=NOW.isoformat())
        stand.look()
        shown = text(stand)
        [classes] = re.findall(r'<span class="(sub[ a-z]*)">[\d,]+ attempts? left', shown)
        assert ("bad" in classes) is red, shown


def test_copies_are_shown_where_there_are_no_targets(stand: Stand) -> None:
    """They are how its service gets it."""
    there = {COPIES: TargetState(3, "", NOW)}
    copies = {"/etc/web.key": Copy("privkey None:None 600", (1, 2))}
    live = generation("a.example.com")
    stand.add("web", "a.example.com", live=live, targets=there, copies=copies)
    stand.look()
    assert "copies up to date" in page(stand).text
    assert " none" not in page(stand).text.rpartition("Targets")[2]
    assert "/etc/web.key privkey" in page(stand, "/certificate/web").text
    assert (
        "a new one replaces its copies, and no service reloads"
        in page(stand, "/certificate/web").text
    )
    for state, displaced, words in (
        (there, "/etc/web.key is gone", "/etc/web.key is gone"),
        ({COPIES: TargetState(2, "", NOW)}, None, "of generation 2"),
        ({}, None, "not installed yet"),
    ):
        stand.add(
            "web", "a.example.com", live=live, targets=state, copies=copies, displaced=displaced
        )
        assert f"copies {words}" in page(stand).text
        assert 'class="well"' not in text(stand)


def test_a_generation_that_waits_is_shown(stand: Stand) -> None:
    """It is paid for, and nobody is served by it yet."""
    names = ("a.example.com",)
    stand.add("web", *names, live=generation(*names), newest=generation(*names, number=4))
    stand.look()
    words = "generation 4 is issued and not deployed yet"
    assert words in page(stand).text
    assert words in page(stand, "/certificate/web").text


def test_a_certificate_that_is_well_is_marked_so_that_a_phone_can_be_brief(stand: Stand) -> None:
    """And no other one is."""
    stand.fine("web")
    stand.fine("late", age=70 * DAY)
    untold: dict[str, TargetState | None] = {"nginx": None}
    stand.add("untold", "b.example.com", live=generation("b.example.com"), targets=untold)
    stand.look()
    found = re.findall(r'<tr role="row"( class="well")?>.*?href="/certificate/(\w+)"', text(stand))
    assert {name: bool(well) for well, name in found} == {
        "web": True,
        "late": False,
        "untold": False,
    }


def test_targets_are_shown_with_what_they_serve(stand: Stand) -> None:
    """Issued is not served."""
    targets = {"nginx": TargetState(3, PRINT, NOW), "mail": TargetState(3, "", NOW), "x": None}
    stand.add("web", "a.example.com", live=generation("a.example.com"), targets=targets)
    stand.look()
    read = page(stand)
    assert "nginx ok" in read.text
    assert "mail generation 3, no probe" in read.text
    assert "x not deployed yet" in read.text


def test_ten_thousand_are_shown_in_pages(stand: Stand) -> None:
    """And found by name and by state, with the form alone."""
    for number in range(PAGE + 50):
        stand.fine(f"c{number:04d}")
    stand.fine("needle")
    stand.look()
    first = page(stand)
    assert len(names(first)) == PAGE
    assert "Page 1 of 2" in first.text
    assert {"/?page=2"} == {a["href"] for a in first.all("a") if a.get("rel") == "next"}
    second = page(stand, page="2")
    assert len(names(second)) == 51
    assert set(names(first)).isdisjoint(names(second))
    assert names(page(stand, page="99")) == names(second)
    for found in (page(stand, name="NEEDLE"), page(stand, name="needle.example.com")):
        assert names(found) == ["needle"]
        assert "Page" not in found.text
    assert names(page(stand, state="due")) == []
    assert "Nothing is like that." in page(stand, state="due").text
    assert len(names(page(stand, state="nonsense", page="-1"))) == PAGE
    assert 'value="needle"' in text(stand, name="needle")
    assert '<option value="ok" selected>' in text(stand, state="ok")


def test_a_choice_keeps_its_filter_on_the_next_page() -> None:
    """And escapes it."""
    assert Filters("ok", "a&b", 1).address(page=3) == "/?state=ok&name=a%26b&page=3"
    assert Filters().address(page=1) == "/"
