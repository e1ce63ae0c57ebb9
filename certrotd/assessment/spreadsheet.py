"""A report in CSV (RFC 4180): one table, whose rows say in their first column what they are.

A cell that a spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from certrotd.assessment.facts import strength
from certrotd.assessment.report import METHOD, Event, KeyringReport, Report, VersionReport
from certrotd.errors import printable
from certrotd.keyring.states import Code, State

COLUMNS = (
    "row",
    "keyring",
    "version",
    "at",
    "code",
    "text",
    "by",
    "audit_record",
    "owner",
    "custodians",
    "classification",
    "purpose",
    "cryptoperiod_seconds",
    "stored",
    "wrapped_by",
    "state",
    "algorithm",
    "strength_bits",
    "fingerprint",
    "created",
    "activated",
    "retired",
    "destroyed",
    "encrypted_seconds",
    "exceeded_seconds",
    "messages",
    "bytes",
    "first_use",
    "last_use",
)
_FORMULA = "=+-@＝＋－＠"
Row = Mapping[str, object]


def written(report: Report) -> str:
    """The text of the file, its lines ending as RFC 4180 has them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows(report):
        writer.writerow([cell(row.get(column)) for column in COLUMNS])
    return out.getvalue()


def cell(value: object) -> str:
    """A value as the text of a cell: one line, and nothing that is computed."""
    match value:
        case None:
            return ""
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds():.0f}"
        case int():
            return str(value)
    text = printable(str(value))
    return f"'{text}" if text.lstrip()[:1] in tuple(_FORMULA) else text


def rows(report: Report) -> Iterator[Row]:
    """Every row, by column."""
    yield from _of_report(report)
    for exception in report.exceptions:
        yield {
            "row": "exception",
            "keyring": exception.keyring,
            "version": exception.version,
            "at": exception.at,
            "code": exception.kind,
            "text": exception.text,
            "audit_record": exception.seq,
        }
    for keyring in report.keyrings:
        yield _keyring(keyring)
        yield from _details(keyring)
        for version in keyring.versions:
            yield _version(keyring.facts.name, version)
    for kind, events in (
        ("rotation", report.rotations),
        ("destruction", report.destructions),
        ("compromise", report.compromises),
    ):
        for event in events:
            yield _event(kind, event)
    for drill in report.drills:
        yield {
            "row": "drill",
            "keyring": drill.keyring,
            "at": drill.at,
            "code": "succeeded" if drill.succeeded else "failed",
            "text": "; ".join(each.why for each in drill.findings),
        }
    for rehearsal in report.rehearsals:
        yield {
            "row": "rehearsal",
            "keyring": rehearsal.keyring,
            "version": rehearsal.version,
            "at": rehearsal.at,
            "code": "succeeded" if rehearsal.succeeded else "failed",
            "text": str(rehearsal),
        }


def _of_report(report: Report) -> Iterator[Row]:
    span = report.span
    yield {
        "row": "report",
        "at": report.made,
        "text": f"from {span.since.isoformat()} to {span.until.isoformat()}",
        "by": report.signer,
    }
    yield {
        "row": "audit_log",
        "code": "whole" if report.whole else "broken",
        "text": report.head.hash,
        "audit_record": report.head.seq,
    }
    for name, number in report.totals.items():
        yield {"row": "total", "code": name, "text": number}


def _keyring(each: KeyringReport) -> Row:
    facts = each.facts
    return {
        "row": "keyring",
        "keyring": facts.name,
        "owner": facts.owner,
        "custodians": "; ".join(facts.custodians),
        "classification": facts.classification,
        "purpose": facts.purpose,
        "cryptoperiod_seconds": facts.cryptoperiod,
        "stored": facts.stored,
        "wrapped_by": "; ".join(facts.wrapped_by),
    }


def _details(each: KeyringReport) -> Iterator[Row]:
    facts = each.facts
    for output in facts.outputs:
        yield {"row": "output", "keyring": facts.name, "text": output}
    for consumer in facts.consumers:
        yield {
            "row": "consumer",
            "keyring": facts.name,
            "at": consumer.acknowledged,
            "text": consumer.name,
        }
    for dataset in facts.datasets:
        yield {
            "row": "dataset",
            "keyring": facts.name,
            "at": dataset.counted,
            "code": dataset.values,
            "text": dataset.name,
        }
    for drain in facts.drains:
        yield {"row": "drain", "keyring": facts.name, "at": drain.until, "text": drain.what}
    for backup in facts.backups:
        yield {
            "row": "backup",
            "keyring": facts.name,
            "at": backup.made,
            "code": backup.revision,
            "text": f"{backup.place}, for {backup.sealed_to}",
        }


def _version(keyring: str, each: VersionReport) -> Row:
    facts, period = each.facts, each.period
    return {
        "row": "version",
        "keyring": keyring,
        "version": each.number,
        "state": each.state,
        "algorithm": facts.algorithm,
        "strength_bits": strength(facts.algorithm),
        "fingerprint": facts.fingerprint,
        "created": facts.version.transitions[0].at,
        "activated": period.begin if period else None,
        "retired": each.first(State.RETIRED),
        "destroyed": each.first(Code.DESTROYED),
        "encrypted_seconds": period.length if period else None,
        "exceeded_seconds": each.exceeded,
        "messages": facts.use.messages,
        "bytes": facts.use.bytes,
        "first_use": facts.use.first,
        "last_use": facts.use.last,
    }


def _event(kind: str, each: Event) -> Row:
    text = each.transition.why
    if kind == "destruction":
        held = "; ".join(each.held) or "none that is known"
        text = f"{text}; {METHOD}; backups that hold it still: {held}"
    return {
        "row": kind,
        "keyring": each.keyring,
        "version": each.version,
        "at": each.transition.at,
        "code": each.transition.code,
        "text": text,
        "by": each.by,
        "audit_record": each.record.seq if each.record else None,
    }
