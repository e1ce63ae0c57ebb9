"""What is worth an alert, and what it says."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.alerting import rotation_rules, rules
from certrotd.certs import alerts
from certrotd.certs.alerts import unplanned
from certrotd.certs.decision import Deploy, Renew
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import Attempts, Issuance, Policy, id_of
from certrotd.config.notifications import AlertKind
from certrotd.errors import Failure, LockHeld
from certrotd.keys import alerts as key_alerts
from certrotd.keys import checks as key_checks
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved
from certrotd.lifecycle.audited import Unaudited, Unrecorded
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.lifecycle.finding import Finding, FindingSeverity, Watched
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.view import View
from certrotd.pki.generation import PLACEHOLDER, Generation, Meta, Standing
from certrotd.rotation.engine import Finished, Outcome, Parked, RolledBack, Stopped, Stuck
from certrotd.rotation.outcome import CANCELLED
from certrotd.scheduling.clock_trust import SOUND, ClockTrust, Judgement
from certrotd.state.journal import FileJournal
from tests.builders import DAY, NOW, POLICY, facts, generation
from tests.fakes.managed import FakeManaged
from tests.fakes.subjects import view_of

NONE = Attempts()
WEB = id_of("web")


def the_alert(said: list[AlertEvent]) -> Alert:
    """The only alert there is."""
    [found] = [each for each in said if isinstance(each, Alert)]
    return found


def passed(said: list[AlertEvent]) -> set[str]:
    """The keys of what is over."""
    return {each.key for each in said if isinstance(each, Resolved)}


def report(**about: object) -> list[AlertEvent]:
    """What a report of web says."""
    return rotation_rules.of_report(Report(WEB, **about), "id-1", let_go=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "kind", "severity", "words"),
    [
        (RolledBack("", "order", "the CA says no"), "rotation_failed", "warning", "order failed"),
        (RolledBack("issued", "prove", "old leaf"), "rolled_back", "error", "undid the deployment"),
        (Parked(NOW, "no disk", failed=True), "rotation_failed", "warning", "no disk"),
        (
            Stuck("swap", "old leaf", "no disk"),
            "stuck",
            "error",
            "The undo of the step swap failed",
        ),
    ],
)
def test_a_failed_rotation_is_an_alert_with_what_to_do(
    outcome: Outcome, kind: str, severity: str, words: str
) -> None:
    """Of the rotation that has just ended, with its id and the commands to run."""
    alert = the_alert(report(outcome=outcome))
    assert (alert.kind, alert.severity, alert.subject, alert.rotation) == (
        *(kind, severity, WEB, "id-1"),
    )
    assert words in alert.what
    assert "certrotd rotate certificate/web" in alert.todo
    assert alert.key == "rotation/certificate/web"  # one incident, whatever became of it


def test_a_certificate_that_stays_live_is_not_reported_as_rolled_back() -> None:
    """Without a generation before it, or when it was live already, there is no way back."""
    facts = {"kept": "generation 1 stays live: there is no earlier generation"}
    alert = the_alert(report(outcome=RolledBack("issued", "apply", "no", facts=facts)))
    assert alert.title == "certificate/web: the deployment failed"
    assert "before it" not in alert.what
    undone = the_alert(report(outcome=RolledBack("issued", "apply", "no")))
    assert undone.title == "certificate/web: the new certificate was rolled back"
    facts = {"unproven": "nothing answers at web:443 any more: the container web is gone"}
    unproven = the_alert(report(outcome=RolledBack("issued", "apply", "no", facts=facts)))
    assert unproven.title == undone.title
    assert unproven.what == f"{undone.what} But {facts['unproven']}."


def test_a_failure_before_anything_is_one_too() -> None:
    """A journal that cannot be read, say."""
    alert = the_alert(report(failure=Failure("the journal is broken", hint="look at it")))
    assert alert.kind == "rotation_failed"
    assert "the journal is broken (look at it)" in alert.what


@pytest.mark.parametrize(
    "about",
    [
        {"outcome": Finished({})},
        {"outcome": Parked(NOW, "a grace period")},
        {"outcome": RolledBack("issued", "prove", "told to stop", stopped=True)},
        {"recovered": RolledBack("", "order", CANCELLED)},  # a kill cut the cancel off
        {"failure": LockHeld("certificate web", holder="process 1")},
        {"failure": Stopped("not begun: the process was told to stop")},
        {},
    ],
)
def test_a_normal_end_raises_no_alert(about: dict[str, object]) -> None:
    """A colleague at work, a stop, a wait and what somebody cancelled are no failures."""
    raised = [each for each in report(**about) if isinstance(each, Alert)]
    assert [each.kind for each in raised if each.kind != "recovered_after_crash"] == []


def test_a_success_resolves_the_incidents_of_its_certificate() -> None:
    """And nothing else does."""
    over = passed(report(outcome=Finished({})))
    assert over == {
        "rotation/certificate/web",
        "late/certificate/web",
        "unplanned/certificate/web",
        "audit",
    }
    assert passed(report(outcome=RolledBack("", "order", "no"))) == {"audit"}
    assert passed(report(failure=Failure("no"))) == set()


@pytest.mark.parametrize(
    ("failure", "words"),
    [(Unaudited("no disk"), "No rotation begins"), (Unrecorded("no disk"), "Rotations continue")],
)
def test_a_broken_audit_log_is_one_incident_for_all_certificates(
    failure: Failure, words: str
) -> None:
    """10,000 certificates meet it at once."""
    alert = the_alert(report(failure=failure))
    assert (alert.kind, alert.severity, alert.key, alert.subject) == (
        *("audit_broken", "error", "audit", None),
    )
    assert f"{words}" in alert.what
    assert "certrotd audit verify" in alert.todo


def test_every_damage_of_the_audit_log_is_an_incident() -> None:
    """No success afterwards resolves it, and a second cut is not taken for the first."""
    one = rotation_rules.of_damaged_audit("the log does not end with record 3", NOW)
    two = rotation_rules.of_damaged_audit(
        "the log does not end with record 9", NOW + timedelta(minutes=1)
    )
    assert (one.kind, one.severity, one.lasting) == ("audit_broken", "error", False)
    assert "record 3" in one.what
    assert one.key != two.key
    assert one.key not in passed(report(outcome=Finished({})))


def test_an_outcome_that_could_not_be_recorded_is_alerted_too() -> None:
    """Both are the matter."""
    said = report(outcome=Stuck("swap", "a", "b"), failure=Unrecorded("no disk"))
    assert {each.kind for each in said if isinstance(each, Alert)} == {"audit_broken", "stuck"}


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (Finished({}), "certrotd finished it"),
        (RolledBack("issued", "prove", "old"), "certrotd undid it back to issued"),
        (RolledBack("", "order", "old"), "certrotd undid it"),
        (Parked(NOW, "why"), "it waits"),
        (Stuck("swap", "a", "b"), "its undo failed"),
    ],
)
def test_a_recovery_says_how_it_ended(outcome: Outcome, end: str) -> None:
    """Somebody has to look why the machine went down; one left to wait was not cut off."""
    said = rotation_rules.of_report(Report(id_of("web"), recovered=outcome), "id-1", let_go=False)
    [alert] = [
        each for each in said if each.key == "recovered/certificate/web" and isinstance(each, Alert)
    ]
    assert alert.title == f"certificate/web: a rotation was interrupted, {end}"
    assert not alert.lasting
    let_go = rotation_rules.of_report(Report(id_of("web"), recovered=outcome), "id-1", let_go=True)
    assert not [each for each in let_go if each.key == "recovered/certificate/web"]


def look(
    live: Generation | None,
    attempts: Attempts = NONE,
    *,
    newest: Generation | None = None,
    policy: Policy = POLICY,
) -> View:
    """A look that decides as the daemon does."""

    def nowhere(*_: object) -> None:
        raise AssertionError("nothing is asked")

    journal = FileJournal(Path("/nonexistent"), policy.name)
    managed = FakeManaged(policy, journal, nowhere, nowhere, nowhere, nowhere)  # type: ignore[arg-type]
    standing = Standing(live, newest or live)
    return view_of(managed, standing, attempts, now=NOW)


def alerts_of(view: View) -> list[AlertEvent]:
    """What is told of a look, by the rules of every kind and by those of certificates."""
    return [*rules.of_look(view), *view.found.alerts(view)]


def test_a_renewal_on_schedule_is_no_alert() -> None:
    """Nor is the first certificate, nor a wait."""
    for each in (look(generation(age=61 * DAY)), look(None), look(generation(age=10 * DAY))):
        assert not [found for found in alerts_of(each) if isinstance(found, Alert)]
    assert isinstance(look(generation(age=61 * DAY)).decision, Renew)


@pytest.mark.parametrize(
    ("live", "newest", "words"),
    [
        (generation(age=91 * DAY), None, "it expired at"),
        (generation(age=DAY, names=("b.test",)), None, "the configured names changed"),
        (None, Generation(5, None, None, "broken"), "no generation is live"),
    ],
)
def test_a_renewal_for_another_reason_is_one(
    live: Generation | None, newest: Generation | None, words: str
) -> None:
    """Somebody touched the files, or the configuration, or the clock."""
    alert = the_alert(alerts_of(look(live, newest=newest)))
    assert (alert.kind, alert.lasting) == ("unplanned_rotation", False)
    assert words in alert.what
    assert "certrotd audit show certificate/web" in alert.todo


def test_a_certificate_of_another_ca_is_told_until_the_first_one_issues_again() -> None:
    """With the reason; a renewal for that is not due."""
    live = generation(age=10 * DAY)
    assert live.meta is not None
    other = Issuance("other", "https://other.test")
    stand_in = replace(
        live,
        meta=replace(live.meta, issuer="other", authority=other.authority, instead="ca: away"),
    )
    both = replace(POLICY, others=(other,))
    found = look(stand_in, policy=both)
    alert = the_alert(alerts_of(found))
    assert (alert.kind, alert.severity, alert.lasting) == ("other_issuer", "warning", True)
    assert f"issued by other, not by {POLICY.issuer}: ca: away" in alert.what
    assert isinstance(found.decision, Wait)
    over = [each for each in alerts_of(look(live, policy=both)) if each.key == alert.key]
    assert [type(each) for each in over] == [Resolved]


@pytest.mark.parametrize("failures", [NONE, Attempts(9, NOW - 3 * DAY, "no")])
def test_a_renewal_that_replaces_a_placeholder_is_neither_unplanned_nor_late(
    failures: Attempts,
) -> None:
    """It is the first certificate; that it fails is said of the rotation."""
    meta = Meta(NOW - DAY, PLACEHOLDER, "", "", 0.0)
    placeholder = Generation(1, meta, facts(age=DAY))
    for newest in (None, generation(age=DAY)):
        seen = look(placeholder, failures, newest=newest)
        assert not [found for found in alerts_of(seen) if isinstance(found, Alert)]


DAMAGED = replace(generation(age=DAY), damaged="cert.pem is missing")
BROKEN = Generation(5, None, None, "privkey.pem is missing")


@pytest.mark.parametrize(
    ("live", "newest", "words"),
    [
        (DAMAGED, None, "generation 5 cert.pem is missing. Now: generation 5 is damaged"),
        (BROKEN, None, "generation 5 privkey.pem is missing. Now: the live certificate cannot"),
        (BROKEN, generation(age=DAY), "generation 5 privkey.pem is missing. Now: "),
        (replace(generation(age=DAY), number=4), BROKEN, "generation 4 is live in its place"),
    ],
)
def test_damaged_files_are_one_alert_that_lasts_as_long_as_they_do(
    live: Generation, newest: Generation | None, words: str
) -> None:
    """Or as long as an older generation stands in; somebody should know why."""
    alert = the_alert(alerts_of(look(live, newest=newest)))
    assert (alert.kind, alert.key, alert.lasting) == ("damaged", "damaged/certificate/web", True)
    assert words in alert.what
    assert "damaged/certificate/web" in passed(alerts_of(look(generation(age=DAY))))


def test_only_a_renewal_is_unplanned() -> None:
    """A deployment that is tried again is the one that failed."""
    behind = look(generation(age=DAY), policy=replace(POLICY, waves=(("nginx",),)))
    assert isinstance(behind.decision, Deploy)
    assert unplanned(behind, behind.found) is None  # type: ignore[arg-type]


def test_the_next_calm_look_ends_what_was_unplanned() -> None:
    """So that the next time is told again."""
    assert "unplanned/certificate/web" in passed(alerts_of(look(generation(age=DAY))))
    postponed = look(generation(age=91 * DAY), Attempts(1, NOW, "no"))
    assert isinstance(postponed.decision, Postpone)
    assert "unplanned/certificate/web" not in passed(alerts_of(postponed))


def test_a_calm_look_ends_what_had_failed_and_was_done_by_hand() -> None:
    """The daemon was not there when somebody mended it; one that still fails is not over."""
    assert "rotation/certificate/web" in passed(alerts_of(look(generation(age=DAY))))
    failing = look(
        generation(age=DAY), Attempts(1, NOW, "no"), policy=replace(POLICY, enabled=False)
    )
    assert isinstance(failing.decision, Wait)
    assert "rotation/certificate/web" not in passed(alerts_of(failing))
    assert "rotation/certificate/web" not in passed(alerts_of(look(generation(age=61 * DAY))))


FAILED = Attempts(7, NOW - timedelta(hours=1), "the CA says no")


@pytest.mark.parametrize(
    ("age", "attempts", "words"),
    [
        (61 * DAY, FAILED, None),
        (79 * DAY, FAILED, None),
        (81 * DAY, FAILED, "still not renewed, expires at 2026-06-10 12:00Z"),
        (81 * DAY, Attempts(), None),
        (90 * DAY - timedelta(minutes=2), FAILED, "2 attempts left before it expires"),
        (90 * DAY - timedelta(seconds=50), FAILED, "1 attempt left before it expires"),
        (91 * DAY, FAILED, "expired at 2026-05-31 12:00Z"),
        (61 * DAY, replace(FAILED, retry_after=40 * DAY), None),  # at most a quarter is waited
    ],
)
def test_a_renewal_that_keeps_failing_is_an_alert_while_there_is_time(
    age: timedelta, attempts: Attempts, words: str | None
) -> None:
    """A third of the time from being due to the end; or few attempts."""
    found = [
        each
        for each in alerts_of(look(generation(age=age), attempts))
        if isinstance(each, Alert) and each.kind == "attempts_running_out"
    ]
    assert len(found) == (words is not None)
    for alert in found:
        assert words is not None
        assert words in alert.title
        why = "7 attempts to renew certificate/web failed, the last one because: the CA says no"
        assert why in alert.what


def test_a_new_stage_of_lateness_is_a_change_and_a_new_count_is_not() -> None:
    """Late, few and expired are told each, 61 and 60 attempts once."""
    ages = (81 * DAY, 82 * DAY, 90 * DAY - timedelta(minutes=2), 91 * DAY)
    late, later, few, expired = (
        next(
            each.likeness
            for each in alerts_of(look(generation(age=age), FAILED))
            if isinstance(each, Alert) and each.kind == "attempts_running_out"
        )
        for age in ages
    )
    assert late == later
    assert len({late, few, expired}) == 3


def test_a_new_certificate_that_cannot_be_deployed_is_late_too() -> None:
    """What is served runs out, whether it is the order that fails or the deployment."""
    old, new = generation(age=81 * DAY), replace(generation(age=DAY), number=6)
    pending = look(old, FAILED, newest=new)
    assert isinstance(pending.decision, Postpone)
    assert isinstance(pending.decision.instead, Deploy)
    alert = the_alert(alerts_of(pending))
    assert (alert.kind, alert.key) == ("attempts_running_out", "late/certificate/web")
    assert "still not renewed, expires at 2026-06-10 12:00Z" in alert.title
    # the control: what is live already only has to be brought to a target
    seen = replace(pending.found, decision=Deploy("not yet proven on t", old.number))  # type: ignore[type-var]
    brought = replace(pending, found=seen)
    assert "late/certificate/web" in passed(alerts_of(brought))


def test_a_late_alert_is_over_when_nothing_is_due() -> None:
    """The certificate is there."""
    waiting = look(generation(age=10 * DAY))
    assert isinstance(waiting.decision, Wait)
    assert "late/certificate/web" in passed(alerts_of(waiting))


def test_the_clock_is_an_alert_when_orders_stop() -> None:
    """And it is over when the clock is right."""
    wrong = rules.of_clock(Judgement(ClockTrust.WRONG, "the clock shows 1970"))
    assert isinstance(wrong, Alert)
    assert wrong.what == "The clock shows 1970. Nothing is ordered until it is right."
    assert "timedatectl" in wrong.todo
    assert isinstance(rules.of_clock(SOUND), Resolved)


def test_problems_of_the_configuration_are_listed_within_reason() -> None:
    """A file that is wrong in 1,000 places is one message."""
    few = rules.of_problems(["/etc/c.yaml:3: a"], reload=True)
    assert (few.severity, few.key, few.what) == ("warning", "config", "/etc/c.yaml:3: a")
    many = rules.of_problems([f"/etc/c.yaml:{n}: a" for n in range(1000)], reload=False)
    assert (many.severity, many.key) == ("error", "left-out")
    assert many.what.endswith("\nand 990 more")
    assert "certrotd config check" in many.todo


def test_trouble_with_a_certificate_names_it() -> None:
    """With anything else there is no certificate to plan for."""
    failure = Failure("cannot read the store", hint="mend it")
    of_web = rules.of_trouble(WEB, failure)
    assert (of_web.subject, of_web.todo) == (WEB, "See: certrotd plan certificate/web")
    other = rules.of_trouble("the budget of le", failure)
    assert (other.subject, other.todo) == (None, "See: certrotd status")
    assert other.what == "the budget of le: cannot read the store (mend it)"


def test_a_watched_endpoint_is_an_alert_as_long_as_it_has_findings() -> None:
    """One for each thing that is looked at, the gravest first."""
    findings = (
        Finding(FindingKind.EXPIRING, "expires in 9 days", FindingSeverity.WARNING),
        Finding(FindingKind.SERVED_MISMATCH, "serves another certificate"),
    )
    watched = Watched("endpoint", "a.test:443", NOW, "a.test", id_of("web"), findings=findings)
    alert = rules.of_watched(watched)
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.severity, alert.subject) == ("served_mismatch", "error", WEB)
    assert alert.title == "a.test:443 (a.test): serves another certificate"
    assert "expires in 9 days" in alert.what
    assert "certrotd rotate certificate/web" in alert.todo
    over = rules.of_watched(replace(watched, findings=()))
    assert isinstance(over, Resolved)
    assert over.key == alert.key


def test_an_endpoint_that_only_expires_raises_the_expiring_alert() -> None:
    """Also of an endpoint that is not ours, for which there is nothing to rotate."""
    findings = (Finding(FindingKind.EXPIRING, "expires in 9 days", FindingSeverity.WARNING),)
    alert = rules.of_watched(Watched("endpoint", "[::1]:443", NOW, "a.test", findings=findings))
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.severity, alert.subject) == ("expiring", "warning", None)
    assert alert.todo == "See: certrotd watch."


@given(st.text(max_size=50), st.integers(), st.integers())
def test_changed_times_and_counts_do_not_change_an_alert(
    words: str, first: int, second: int
) -> None:
    """The same failure a minute later is the same failure."""
    plain = rules.of_trouble(WEB, Failure("no"))
    likenesses = {
        replace(plain, cause=f"{words} order/{number}x at 12:0{number % 10}").likeness
        for number in (first, second)
    }
    assert len(likenesses) == 1
    assert replace(plain, cause="something else").likeness not in likenesses


def test_every_kind_of_the_configuration_can_come() -> None:
    """Nobody chooses what is never sent."""
    keys = [Path(str(each.__file__)) for each in (key_alerts, key_checks)]
    folders = Path(rules.__file__).parent.glob("*rules.py"), [Path(alerts.__file__), *keys]
    text = "".join(each.read_text() for folder in folders for each in folder)
    assert [kind for kind in get_args(AlertKind) if f'"{kind}"' not in text] == []
