"""A report in Markdown (CommonMark, with GitHub's tables), for people and for printing.

Names and reasons come from configuration, state and log: each is escaped, and stays what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from certrotd.assessment.exceptions import Exceptional
from certrotd.assessment.facts import strength
from certrotd.assessment.report import METHOD, Event, KeyringReport, Report, VersionReport
from certrotd.errors import printable
from certrotd.escrow.drill import Drilled
from certrotd.keyring.states import State
from certrotd.wording import count, span

# what would be code, emphasis, a link, HTML, a cell; and the dot and colon of addresses, which are
# links by themselves
_SPECIAL = re.compile(r"[\\`*_\[\]<>#|~&@$]|(?<=www)\.|(?<=[a-z]):(?=\S)", re.IGNORECASE)


def written(report: Report) -> str:
    """The text of the file."""
    return "\n".join(_lines(report)).rstrip("\n") + "\n"


def escaped(text: object) -> str:
    """``text`` on one line, with nothing in it that Markdown gives a meaning."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", printable(str(text)).strip())


def _lines(report: Report) -> Iterator[str]:
    yield "# Key management report"
    yield ""
    yield f"- Period: {_time(report.span.since)} to {_time(report.span.until)}"
    yield f"- Made: {_time(report.made)}"
    whole = "intact" if report.whole else "**broken**"
    yield (
        f"- Audit log: {whole}, {count(report.head.seq, 'record')} in order, the last of hash "
        f"`{escaped(report.head.hash)}`"
    )
    yield f"- Signed by: {escaped(report.signer) or 'nobody'}"
    yield from _section("Exceptions")
    if report.exceptions:
        rows = [_exception(each) for each in report.exceptions]
        yield from _table(("Kind", "Keyring", "Version", "Since", "Record", "What"), rows)
    else:
        yield "None. Every transition in the period has its record in the audit log."
    yield from _section("Totals")
    yield from _table(("What", "How many"), report.totals.items())
    yield from _section("Rotations")
    rotations = [(*_event(each), each.before or "–") for each in report.rotations]
    yield from _table((*_EVENT, "Took the place of"), rotations)
    yield from _section("Destructions")
    yield f"Method: {METHOD}."
    yield ""
    destructions = [
        (*_event(each), "; ".join(each.held) or "none known") for each in report.destructions
    ]
    yield from _table((*_EVENT, "Backups that still hold it"), destructions)
    yield from _section("Compromises")
    yield from _table(_EVENT, map(_event, report.compromises))
    yield from _section("Restore drills")
    columns = ("Keyring", "When", "Outcome", "Revision", "Versions proven", "Findings")
    yield from _table(columns, map(_drill, report.drills))
    yield from _section("Rehearsals of an emergency")
    rehearsals = [(each.keyring, _time(each.at), each.version, each) for each in report.rehearsals]
    yield from _table(("Keyring", "When", "Version", "Outcome"), rehearsals)
    yield from _section("Inventory")
    for keyring in report.keyrings:
        yield from _keyring(keyring)


_EVENT = ("Keyring", "Version", "When", "Why", "Asked by", "Record")


def _event(each: Event) -> tuple[object, ...]:
    record = each.record.seq if each.record else "none"
    why = each.transition.why
    return each.keyring, each.version, _time(each.transition.at), why, each.by, record


def _drill(each: Drilled) -> tuple[object, ...]:
    return (
        each.keyring,
        _time(each.at),
        "succeeded" if each.succeeded else "failed",
        _or_none(each.revision),
        ", ".join(map(str, each.versions)),
        "; ".join(finding.why for finding in each.findings),
    )


def _exception(each: Exceptional) -> tuple[object, ...]:
    return (
        each.kind,
        each.keyring or "–",
        _or_none(each.version),
        _time(each.at),
        _or_none(each.seq),
        each.text,
    )


def _keyring(each: KeyringReport) -> Iterator[str]:
    facts = each.facts
    yield f"### Keyring {escaped(facts.name)}"
    yield ""
    consumers = [f"{c.name} (acknowledged {_time(c.acknowledged)})" for c in facts.consumers]
    datasets = [
        f"{d.name} ("
        f"{'never counted' if d.values is None else f'{d.values} values under old keys'}, "
        f"{_time(d.counted)})"
        for d in facts.datasets
    ]
    drains = [f"{d.what} (until {_time(d.until)})" for d in facts.drains]
    backups = [
        f"{b.place}: revision {b.revision}, {_time(b.made)}, for {b.sealed_to}"
        for b in facts.backups
    ]
    for label, values in (
        ("Owner", [facts.owner]),
        ("Custodians", facts.custodians),
        ("Classification", [facts.classification]),
        ("Purpose", [facts.purpose]),
        ("Cryptoperiod", [_span(facts.cryptoperiod)]),
        ("Stored", [facts.stored]),
        ("Wrapped by", facts.wrapped_by),
        ("Outputs", facts.outputs),
        ("Consumers", consumers),
        ("Datasets", datasets),
        ("Drains", drains),
        ("Backups", backups),
    ):
        said = "; ".join(escaped(value) for value in values if value)
        yield f"- {label}: {said or 'none named'}"
    yield ""
    yield from _table(_VERSION, map(_version, each.versions))
    yield ""


_VERSION = (
    "Version",
    "State",
    "Algorithm",
    "Bits",
    "Fingerprint",
    "Created",
    "Activated",
    "Encrypted for",
    "Longer than allowed",
    "Retired",
    "Destroyed",
    "Messages",
    "Last use",
)


def _version(each: VersionReport) -> tuple[object, ...]:
    facts, period = each.facts, each.period
    return (
        each.number,
        each.state,
        facts.algorithm,
        strength(facts.algorithm) or "not known",
        facts.fingerprint,
        _time(facts.version.transitions[0].at),
        _time(period.begin if period else None),
        _span(period.length if period else None),
        _span(each.exceeded) if each.exceeded else ("no" if each.exceeded is not None else "–"),
        _time(each.first(State.RETIRED)),
        _time(each.first(State.DESTROYED)),
        facts.use.messages,
        _time(facts.use.last),
    )


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    listed = list(rows)
    if not listed:
        yield "None."
        return
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in listed:
        yield f"| {' | '.join(escaped(each) or '–' for each in row)} |"


def _time(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "–"


def _span(length: timedelta | None) -> str:
    return "–" if length is None else span(length)


def _or_none(value: int | None) -> object:
    return "–" if value is None else value
