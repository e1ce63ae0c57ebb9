"""Decisions, outcomes and reports as words and as JSON."""

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.certs.decision import Adopt, Deploy, Renew, Sweep
from certrotd.certs.policy import id_of
from certrotd.cli.reports import outcome_of, report_json, report_words
from certrotd.errors import NeedsOperator
from certrotd.lifecycle.decision import Decision, Postpone, Wait
from certrotd.lifecycle.report import Report
from certrotd.rotation.outcome import Finished, Outcome, Parked, RolledBack, Stuck

NOW = datetime(2027, 3, 4, 5, 6, tzinfo=UTC)
RENEW = Renew("its time has come", NOW)
UNDONE = RolledBack("issued", "prove", "it serves another")

DECISIONS = [
    (Wait("nothing is due", NOW), "wait"),
    (RENEW, "renew"),
    (Deploy("not yet proven", 2), "deploy"),
    (Adopt("no generation yet"), "adopt"),
    (Sweep("1 record"), "sweep"),
    (Postpone("too early", NOW, RENEW), "postponed"),
]


@pytest.mark.parametrize(("decision", "word"), DECISIONS)
def test_every_decision_has_its_word(decision: Decision, word: str) -> None:
    """Scripts compare with these."""
    assert decision.act == word


@pytest.mark.parametrize(
    ("outcome", "word", "why"),
    [
        (Finished({}), "done", ""),
        (Finished({"left": []}), "done", ""),
        (Finished({"left": [{}, {}]}), "done", "not withdrawn: 2 TXT records"),
        (Finished({"unpruned": "no right"}), "done", "old generations stay: no right"),
        (
            Finished({"left": [{}], "unpruned": "no right"}),
            "done",
            "not withdrawn: 1 TXT record; old generations stay: no right",
        ),
        (Parked(NOW, "told to stop"), "parked", "told to stop; continues after 2027-03-04 05:06Z"),
        (Parked(NOW, "disk full", True), "failed", "disk full; continues after 2027-03-04 05:06Z"),
        (UNDONE, "failed", "prove: it serves another; rolled back to issued"),
        (RolledBack("", "order", "refused"), "failed", "order: refused; nothing was changed"),
        (
            Stuck("apply", "it is down", "it is still down"),
            "stuck",
            "the undo of apply failed: it is still down; after: it is down",
        ),
    ],
)
def test_every_outcome_has_a_word_and_a_sentence(outcome: Outcome, word: str, why: str) -> None:
    """What happened, why, and where that leaves things."""
    assert outcome_of(outcome) == (word, why)


@pytest.mark.parametrize(
    ("report", "words", "failed"),
    [
        (Report(id_of("web")), ("nothing", ""), False),
        (
            Report(id_of("web"), failure=NeedsOperator("no such user", hint="create it")),
            ("failed", "no such user (create it)"),
            True,
        ),
        (Report(id_of("web"), RENEW, Finished({})), ("done", "its time has come"), False),
        (
            Report(id_of("web"), RENEW, UNDONE),
            ("failed", "prove: it serves another; rolled back to issued (its time has come)"),
            True,
        ),
        (
            Report(id_of("web"), Wait("renewal later", NOW)),
            ("wait", "renewal later, at 2027-03-04 05:06Z"),
            False,
        ),
        (Report(id_of("web"), Sweep("1 record"), None), ("sweep", "1 record"), False),
        (
            Report(id_of("web"), recovered=Finished({})),
            ("recovered", "an interrupted rotation was finished"),
            False,
        ),
        (
            Report(id_of("web"), recovered=UNDONE),
            ("failed", "prove: it serves another; rolled back to issued"),
            True,
        ),
        (Report(id_of("web"), recovered=Parked(NOW, "told to stop")), None, False),
        (Report(id_of("web"), recovered=Stuck("swap", "a", "b")), None, True),
    ],
)
def test_every_report_has_words_and_decides_the_exit_code(
    report: Report, words: tuple[str, str] | None, failed: bool
) -> None:
    """A timer's mail goes out if and only if somebody has something to do."""
    assert report.failed is failed
    assert report_json(report)["failed"] is failed
    if words is not None:
        assert report_words(report) == words


def test_a_report_as_json_keeps_what_was_found_and_what_was_decided() -> None:
    """Programs need not parse sentences."""
    waits = Wait("renewal later", NOW + timedelta(days=1))
    assert report_json(Report(id_of("web"), waits, recovered=Finished({}))) == {
        "kind": "certificate",
        "name": "web",
        "result": "recovered",
        "why": "an interrupted rotation was finished",
        "failed": False,
        "decision": "wait",
        "reason": "renewal later",
        "recovered": "done",
    }
