"""Outcomes and reports as words and as JSON."""

from __future__ import annotations

from typing import Any

from certrotd.cli.output import stamp
from certrotd.lifecycle.decision import Decision, Postpone, Wait
from certrotd.lifecycle.report import Report
from certrotd.pki.order import Missed
from certrotd.pki.revocation import words_of
from certrotd.rotation.outcome import CANCELLED, Finished, Outcome, Parked, RolledBack, Stuck
from certrotd.wording import count

WORDS = ("unheard", "lapsing", "downtime")
"""The facts of a rotation that went well that are words for people."""


def outcome_of(outcome: Outcome) -> tuple[str, str]:
    """One word for an outcome, and the sentence behind it."""
    match outcome:
        case Finished(facts=facts):
            left, old = facts.get("left"), facts.get("unpruned")
            left = left if isinstance(left, list) else []
            words = [f"not withdrawn: {count(len(left), 'TXT record')}"] if left else []
            words += [f"old generations stay: {old}"] if old else []
            words += words_of(facts)
            missed = Missed.from_json(facts.get("missed"))
            words += [str(missed)] if missed else []
            words += [str(facts[name]) for name in WORDS if name in facts]
            parts = [each for _, each in sorted(facts.items()) if isinstance(each, dict)]
            words += [str(each["told"]) for each in parts if "told" in each]
            return "done", "; ".join(words)
        case Parked(until, why, failed):
            return ("failed" if failed else "parked"), f"{why}; continues after {stamp(until)}"
        case RolledBack(because=because) if because == CANCELLED:
            return "cancelled", outcome.left
        case RolledBack(_, step, because, facts=facts):
            told = f"; {facts['downtime']}" if "downtime" in facts else ""
            return "failed", f"{step}: {because}; {outcome.left}{told}"
        case Stuck(step, because, undo_failed):
            return "stuck", f"the undo of {step} failed: {undo_failed}; after: {because}"


def report_words(report: Report) -> tuple[str, str]:
    """One word for the result of a rotation, and the sentence behind it."""
    if report.failure is not None:
        return "failed", str(report.failure)
    if report.outcome is None and report.recovered is not None:
        word, why = outcome_of(report.recovered)
        finished = isinstance(report.recovered, Finished)
        return ("recovered" if finished else word), why or "an interrupted rotation was finished"
    if report.decision is None:
        return "nothing", ""
    if report.outcome is None:
        return report.decision.act, _next(report.decision)
    word, why = outcome_of(report.outcome)
    why = f"{why} ({report.decision.why})" if why else report.decision.why
    return word, f"{why}; before that: {report.mended}" if report.mended else why


def report_json(report: Report) -> dict[str, Any]:
    """A report as ``--json`` lists it."""
    word, why = report_words(report)
    decision = report.decision
    return {
        "kind": report.subject.kind,
        "name": report.subject.name,
        "result": word,
        "why": why,
        "failed": report.failed,
        "decision": decision.act if decision else None,
        "reason": decision.why if decision else None,
        "recovered": outcome_of(report.recovered)[0] if report.recovered else None,
    }


def _next(decision: Decision) -> str:
    if isinstance(decision, Wait | Postpone):
        return f"{decision.why}, at {stamp(decision.until)}"
    return decision.why
