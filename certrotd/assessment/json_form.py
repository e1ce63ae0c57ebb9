"""A report in JSON: times in ISO 8601, spans in seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from certrotd.assessment.exceptions import Exceptional
from certrotd.assessment.facts import strength
from certrotd.assessment.report import METHOD, Event, KeyringReport, Report, VersionReport

FORMAT = 1


def written(report: Report) -> str:
    """The text of the file."""
    return json.dumps(told(report), indent=2, default=_plain, allow_nan=False) + "\n"


def told(report: Report) -> dict[str, Any]:
    """The same before its times and spans are text."""
    return {
        "format": FORMAT,
        "made": report.made,
        "from": report.span.since,
        "to": report.span.until,
        "signer": report.signer,
        "audit_log": {
            "whole": report.whole,
            "records": report.head.seq,
            "hash": report.head.hash,
        },
        "totals": dict(report.totals),
        "exceptions": [_exception(each) for each in report.exceptions],
        "keyrings": [_keyring(each) for each in report.keyrings],
        "rotations": [{**_event(each), "before": each.before} for each in report.rotations],
        "destructions": [
            {**_event(each), "method": METHOD, "still_in_backups": list(each.held)}
            for each in report.destructions
        ],
        "compromises": [_event(each) for each in report.compromises],
        "drills": [each.to_json() for each in report.drills],
        "rehearsals": [each.to_json() for each in report.rehearsals],
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"a report holds no {type(value).__name__}")


def _exception(each: Exceptional) -> dict[str, Any]:
    return {
        "kind": each.kind.value,
        "text": each.text,
        "keyring": each.keyring or None,
        "version": each.version,
        "at": each.at,
        "record": each.seq,
    }


def _keyring(each: KeyringReport) -> dict[str, Any]:
    facts = each.facts
    return {
        "name": facts.name,
        "owner": facts.owner,
        "custodians": list(facts.custodians),
        "classification": facts.classification,
        "purpose": facts.purpose,
        "cryptoperiod": facts.cryptoperiod,
        "stored": facts.stored,
        "wrapped_by": list(facts.wrapped_by),
        "outputs": list(facts.outputs),
        "consumers": [asdict(consumer) for consumer in facts.consumers],
        "datasets": [asdict(dataset) for dataset in facts.datasets],
        "drains": [asdict(drain) for drain in facts.drains],
        "backups": [
            {**asdict(backup), "versions": list(backup.versions)} for backup in facts.backups
        ],
        "versions": [_version(version) for version in each.versions],
    }


def _version(each: VersionReport) -> dict[str, Any]:
    facts = each.facts
    return {
        "number": each.number,
        "state": each.state.value,
        "algorithm": facts.algorithm.value,
        "strength_bits": strength(facts.algorithm),
        "fingerprint": facts.fingerprint,
        "id": facts.id,
        "encrypted_from": each.period.begin if each.period else None,
        "encrypted_until": each.period.end if each.period and not each.period.running else None,
        "encrypted_for": each.period.length if each.period else None,
        "exceeded_by": each.exceeded,
        "use": asdict(facts.use),
        "transitions": [
            {"to": t.to.value, "at": t.at, "code": t.code.value, "why": t.why}
            for t in facts.version.transitions
        ],
    }


def _event(each: Event) -> dict[str, Any]:
    record = each.record
    return {
        "keyring": each.keyring,
        "version": each.version,
        "at": each.transition.at,
        "why": each.transition.why,
        "by": each.by,
        "by_hand": record.asked.by_hand if record else None,
        "rotation": record.rotation if record else None,
        "record": record.seq if record else None,
    }
