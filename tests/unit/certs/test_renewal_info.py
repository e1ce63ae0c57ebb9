"""A CA that says when to renew: when it is asked, when it is followed, and when it is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from certrotd.certs.alerts import unplanned
from certrotd.certs.decision import RECHECK, Deploy, Renew
from certrotd.certs.fitness import its_time, settled_at
from certrotd.certs.policy import Attempts, Policy
from certrotd.certs.rules import decide
from certrotd.cli.output import stamp
from certrotd.cli.status import _COLUMNS, _status_row
from certrotd.errors import NeedsOperator, Transient
from certrotd.lifecycle.decision import DAEMON, Asked, Wait
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.view import View
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import CertificateState, Standing
from certrotd.pki.renewal import LONGEST_POLL, POLL, RETRY, RenewalInfo, Suggestion
from certrotd.rotation.engine import Finished
from certrotd.rotation.outcome import Stopped
from certrotd.window import Window
from tests.builders import DAY, META, NOW, POLICY, facts, generation, standing
from tests.fakes.subjects import subject_of, subjects_of
from tests.unit.certs.rotating import Case
from tests.unit.scheduling.bench import HOUR, MINUTE, Bench

ADVISED = replace(POLICY, renewal_info=True, jitter=0.0)
LIVE = replace(generation(), facts=replace(facts(), authority_key="aa"))
BEGIN, END = NOW - 10 * DAY, NOW + 80 * DAY
"""Of LIVE; two thirds of it are over at NOW + 50 days."""


def said(start: datetime, end: datetime, *, number: int = 5, page: str = "") -> CertificateState:
    """What is kept of a CA that suggests this window; the moment is in its middle."""
    info = RenewalInfo(start, end, page)
    return CertificateState(
        suggested=Suggestion(number, NOW + HOUR, info, start + (end - start) / 2)
    )


@pytest.mark.parametrize(
    ("policy", "state", "at"),
    [
        (ADVISED, said(NOW + 30 * DAY, NOW + 32 * DAY), NOW + 31 * DAY),
        (ADVISED, said(NOW + 52 * DAY, NOW + 54 * DAY), NOW + 53 * DAY),
        (ADVISED, said(NOW + 70 * DAY, NOW + 99 * DAY), NOW + 62 * DAY),
        (replace(ADVISED, fraction=0.5), said(NOW + 52 * DAY, NOW + 54 * DAY), NOW + 35 * DAY),
        (replace(ADVISED, before=20 * DAY), said(NOW + DAY, NOW + 3 * DAY), NOW + 2 * DAY),
        (ADVISED, said(NOW, NOW + DAY, number=4), NOW + 50 * DAY),
        (replace(ADVISED, renewal_info=False), said(NOW, NOW + DAY), NOW + 50 * DAY),
        (replace(ADVISED, authority="https://b.test"), said(NOW, NOW + DAY), NOW + 50 * DAY),
        (ADVISED, CertificateState(suggested=Suggestion(5, NOW, why="none")), NOW + 50 * DAY),
    ],
    ids=[
        *("earlier", "a little later", "too late", "configured", "configured, later"),
        *("another generation", "not wanted", "another CA", "no window"),
    ],
)
def test_a_window_is_followed_as_far_as_it_is_safe(
    policy: Policy, state: CertificateState, at: datetime
) -> None:
    """Never later than configured, nor when little time is left for failures."""
    assert its_time(LIVE, state, policy)[0] == at


def test_the_reason_names_the_window_and_its_page() -> None:
    """So that a person finds out what happened at the CA."""
    state = said(NOW - DAY, NOW + DAY, page="https://ca.test/why")
    found = Standing(LIVE, LIVE, state)
    decision = decide(ADVISED, found, Attempts(), now=NOW)
    assert isinstance(decision, Renew)
    assert decision.code == "pulled_forward"
    assert "(https://ca.test/why)" in decision.why
    managed = replace(Case("renewal").world.managed(), policy=ADVISED, look=lambda **_: found)
    look = subject_of(managed).look(now=NOW)
    assert unplanned(View(subject_of(managed), look, NOW), look) == decision.why


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        (NOW - 2 * DAY, NOW - DAY, "pulled_forward"),
        (NOW - DAY, NOW + DAY, "pulled_forward"),
        (NOW - 7 * DAY, NOW + 7 * DAY, "window"),
    ],
    ids=["over", "over before it opens", "opens before"],
)
def test_a_maintenance_window_is_not_waited_for_until_the_ca_revokes(
    start: datetime, end: datetime, code: str
) -> None:
    """What a CA pulls forward it is about to revoke: a reload by day disturbs fewer."""
    sundays = Window(frozenset({6}), time(1), time(5), UTC)  # NOW is a Monday
    found = Standing(LIVE, LIVE, said(start, end))
    policy = replace(ADVISED, window=sundays)
    assert decide(policy, found, Attempts(), now=NOW).code == code


@pytest.mark.parametrize(
    ("known", "asks", "until"),
    [
        (None, True, NOW),
        (Suggestion(5, NOW + HOUR), False, NOW + HOUR),
        (Suggestion(5, NOW - HOUR), True, NOW - HOUR),
        (Suggestion(4, NOW + HOUR), True, NOW),
        (Suggestion(5, NOW + LONGEST_POLL + HOUR), True, NOW),
    ],
    ids=["never", "just now", "long ago", "of another", "by a clock that was ahead"],
)
def test_when_the_ca_is_asked(known: Suggestion | None, asks: bool, until: datetime) -> None:
    """Nothing is due meanwhile; without renewal information nobody asks."""
    found = Standing(LIVE, LIVE, CertificateState(suggested=known))
    decision = decide(ADVISED, found, Attempts(), now=NOW)
    assert isinstance(decision, Wait)
    assert (decision.asks, decision.until) == (asks, until)
    for policy, live in (
        (POLICY, LIVE),
        (ADVISED, generation()),
        (ADVISED, replace(LIVE, meta=replace(META, origin="adopted"))),
    ):
        other = decide(policy, standing(live), Attempts(), now=NOW)
        assert isinstance(other, Wait)
        assert not other.asks


@pytest.mark.parametrize(
    ("lifetime", "settled"),
    [
        (90 * DAY, DAY),
        (timedelta(hours=160), DAY),
        (DAY, DAY / 2),
        (2 * MINUTE, MINUTE),
    ],
    ids=["90 days", "160 hours", "a day", "two minutes"],
)
def test_the_first_window_counts_before_half_of_a_short_life(
    lifetime: timedelta, settled: timedelta
) -> None:
    """A fixed day would put off what the CA suggests for a certificate of a day."""
    new = replace(facts(), not_before=NOW, not_after=NOW + lifetime)
    live = replace(LIVE, facts=new, meta=replace(META, created=NOW))
    assert settled_at(live, ADVISED) == NOW + settled


def test_what_is_planned_is_the_renewal_and_not_the_next_question() -> None:
    """A person reads NEXT beside a reason about the renewal; the daemon looks sooner."""
    found = Standing(LIVE, LIVE, said(NOW + 30 * DAY, NOW + 32 * DAY))
    managed = replace(Case("renewal").world.managed(), policy=ADVISED, look=lambda **_: found)
    view = View(subject_of(managed), subject_of(managed).look(now=NOW), NOW)
    assert (view.planned, view.next) == (NOW + 31 * DAY, NOW + HOUR)
    told = view.to_json()
    assert (told["planned"], told["next_check"]) == (view.planned, view.next)
    row = _status_row(view, "web", (), "")
    assert row[_COLUMNS.index("NEXT")] == stamp(NOW + 31 * DAY)
    off = replace(managed, policy=replace(ADVISED, enabled=False))
    view = View(subject_of(off), subject_of(off).look(now=NOW), NOW)
    assert (view.planned, view.next) == (None, NOW + RECHECK)


class Advice:
    """A CA that answers, or fails."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.asked: list[str] = []
        self.answer: RenewalInfo | Exception = NeedsOperator("unknown")
        case.world.otherwise["renewal_info"] = self
        case.policy(renewal_info=True)

    def __call__(self, _issuer: str, known: CertificateFacts) -> RenewalInfo:
        self.asked.append(known.serial)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def kept(self) -> Suggestion:
        found = self.case.world.managed().look().state.suggested
        assert found is not None
        return found

    def window(self, after: timedelta, length: timedelta = DAY) -> RenewalInfo:
        begin = self.case.clock.now() + after
        return RenewalInfo(begin, begin + length)


@pytest.fixture
def advice() -> Advice:
    """About a certificate that has just been renewed."""
    case = Case("renewal")
    found = Advice(case)
    found.answer = found.window(50 * DAY)
    report = case.rotate(by_hand=True)
    assert isinstance(report.outcome, Finished)
    return found


def test_it_is_asked_right_after_issuance_and_then_when_it_said(advice: Advice) -> None:
    """By the daemon, that claims an order first; what it says is what is done next."""
    case = advice.case
    assert len(advice.asked) == 1
    assert advice.kept.generation == case.live
    assert case.rotate(after=HOUR).outcome is None
    assert len(advice.asked) == 1
    advice.answer = advice.window(-DAY, HOUR)
    report = case.rotate(after=POLL)
    assert isinstance(report.decision, Wait)
    assert (report.outcome, len(advice.asked)) == (None, 2)
    renewed = case.rotate()
    assert isinstance(renewed.decision, Renew)
    assert renewed.decision.code == "pulled_forward"
    assert isinstance(renewed.outcome, Finished)
    assert len(set(advice.asked)) == 2, "the new one has its own answer"


def test_what_is_due_by_the_time_the_ca_would_be_asked_is_left_to_whoever_claims_an_order(
    advice: Advice,
) -> None:
    """It may have waited for its turn, and its moment came: the CA's limits hold all the same."""
    case = advice.case
    left = case.rotate(after=60 * DAY, unclaimed=True)
    assert isinstance(left.decision, Renew)
    assert (left.last, left.failure) == (None, None)
    assert isinstance(case.rotate().outcome, Finished)


def test_what_was_finished_before_the_ca_is_asked_is_reported() -> None:
    """A rotation that a crash cut off, by the daemon that goes on with it."""
    case = Case("renewal")
    advice = Advice(case)
    advice.answer = advice.window(50 * DAY)

    def die() -> None:
        raise KeyboardInterrupt

    case.trouble.then["store: switch"] = die
    with pytest.raises(KeyboardInterrupt):
        case.rotate()
    report = case.rotate()
    assert isinstance(report.recovered, Finished)
    assert len(advice.asked) == 1


def test_whoever_names_it_has_the_ca_asked_at_once(advice: Advice) -> None:
    """And has it renewed in the same run."""
    advice.answer = advice.window(-DAY, HOUR)
    report = advice.case.rotate(by_hand=True, named=True)
    assert isinstance(report.decision, Renew)
    assert isinstance(report.outcome, Finished)
    again = advice.case.rotate(by_hand=True, named=True)
    assert isinstance(again.decision, Wait), "a CA that wants each one renewed is not followed"
    assert advice.kept.at == advice.case.clock.now() + DAY


@pytest.mark.parametrize(
    ("failure", "wait"),
    [
        (Transient("away"), RETRY),
        (Transient("busy", retry_after=3 * HOUR), 3 * HOUR),
        (NeedsOperator("it does not know it"), LONGEST_POLL),
    ],
    ids=["away", "busy", "unknown"],
)
def test_a_ca_that_does_not_answer_changes_nothing(
    advice: Advice, failure: Exception, wait: timedelta
) -> None:
    """The window that is known stays, nothing fails, and it is asked again later."""
    case, known = advice.case, advice.kept
    advice.answer = failure
    report = case.rotate(after=POLL)
    assert (report.failure, report.outcome) == (None, None)
    now = case.clock.now()
    assert advice.kept == replace(known, ask_after=now + wait, why=str(failure))


def test_a_stop_in_the_middle_of_a_question_is_no_answer(advice: Advice) -> None:
    """Whoever starts next asks at once, and not after a day."""
    case, known = advice.case, advice.kept
    advice.answer = Stopped("the process was told to stop")
    report = case.rotate(after=POLL)
    assert (report.failure, report.outcome) == (None, None)
    assert advice.kept == known


def test_a_deployment_forgets_nothing_of_what_the_ca_said(advice: Advice) -> None:
    """Else the moment would be drawn anew, and a window pulled forward count from tomorrow on."""
    case, known = advice.case, advice.kept
    case.world.installer.files = ()
    report = case.rotate(after=HOUR)
    assert isinstance(report.decision, Deploy)
    assert isinstance(report.outcome, Finished)
    assert (advice.kept, len(advice.asked)) == (known, 1)
    advice.answer = advice.window(-2 * HOUR, HOUR)
    case.rotate(after=POLL)
    renewed = case.rotate().decision
    assert isinstance(renewed, Renew), "on the day it was issued"
    assert renewed.code == "pulled_forward"


def test_an_order_says_which_certificate_it_replaces(advice: Advice) -> None:
    """As the rotation began it, also after a crash."""
    case = advice.case
    case.rotate(by_hand=True, forced=True)
    live = case.world.managed().look().live
    assert live is not None
    assert case.world.issuer.replaced[-1].count(".") == 1


def test_the_scheduler_has_it_asked_and_nobody_hears_of_it() -> None:
    """Not more often than the CA said, and unless something comes of it."""
    bench = Bench()
    bench.process.tick()
    disk, asked = bench.disks["web"], list[datetime]()
    disk.policy = replace(disk.policy, renewal_info=True)
    assert disk.live is not None
    assert disk.live.facts is not None
    disk.live = disk.newest = replace(disk.live, facts=replace(disk.live.facts, authority_key="aa"))

    def rotate(managed: object) -> Report:
        now = bench.clock.now()
        asked.append(now)
        disk.state = CertificateState(suggested=Suggestion(1, now + 6 * HOUR))
        return Report(disk.policy.id, decide(disk.policy, look(), Attempts(), DAEMON, now=now))

    def look() -> Standing:
        return Standing(disk.live, disk.newest, disk.state)

    bench.start()
    bench.rotator.rotate = rotate  # type: ignore[method-assign]
    bench.pass_time(25 * HOUR, MINUTE)
    assert len(asked) == 5
    assert (bench.process.heard.reports, bench.process.heard.begun) == ([], [])


def test_what_became_due_while_it_waited_to_be_asked_is_claimed_and_then_ordered() -> None:
    """At the next look, at once; it looks as closely as whoever left it."""
    bench = Bench()
    bench.process.tick()
    disk, unclaimed = bench.disks["web"], list[bool]()
    disk.policy = replace(disk.policy, renewal_info=True)
    assert disk.live is not None
    assert disk.live.facts is not None
    disk.live = disk.newest = replace(disk.live, facts=replace(disk.live.facts, authority_key="aa"))

    def rotate(subject: Subject, asked: Asked) -> Report:
        now = bench.clock.now()
        unclaimed.append(asked.unclaimed)
        if asked.unclaimed:  # another process had the CA asked
            disk.state = CertificateState(suggested=suggestion(now))
            return Report(subject.id, subject.look(now=now).decision)
        disk.state = CertificateState(suggested=Suggestion(1, now + 6 * HOUR))
        return Report(subject.id, outcome=Finished({}))

    def suggestion(now: datetime) -> Suggestion:
        return Suggestion(1, now + HOUR, RenewalInfo(now - DAY, now + DAY), now)

    managed, thoroughly = disk.managed(), list[bool]()
    see = managed.look

    def look(*, thorough: bool = False) -> Standing:
        thoroughly.append(thorough)
        return see()

    bench.start()
    object.__setattr__(managed, "look", look)
    work = replace(bench.process.workload(bench.disks), subjects=subjects_of([managed]))
    bench.process.scheduler.replace(replace(work, rotate=rotate))
    bench.process.tick()
    bench.pass_time(2 * MINUTE, MINUTE)
    assert unclaimed == [True, False]
    assert True in thoroughly
