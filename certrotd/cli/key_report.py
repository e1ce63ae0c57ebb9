"""``certrotd keys report``: what assessors ask of data keys, signed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certrotd.assessment.facts import KeyringFacts, Span
from certrotd.assessment.rendering import Format, rendered
from certrotd.assessment.report import report
from certrotd.audit.record import AuditRecord, parse
from certrotd.audit.signing import SigningKey, load, make, write_signed
from certrotd.audit.verify import verify
from certrotd.cli.keys import ids_of
from certrotd.cli.output import say
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import Failure, UsageError
from certrotd.keys.kind import KIND
from certrotd.keys.policy import id_of
from certrotd.keys.report import facts_of
from certrotd.keys.wing import Keyrings

YEAR = timedelta(days=365)
SIGNING_KEY = "report.key"
FIRST_YEAR, LAST_YEAR = 1970, 9998
"""Of --from and --to: what is beyond them is a slip."""


def make_report(
    config: Path,
    names: Sequence[str],
    *,
    since: str | None,
    until: str | None,
    form: str,
    out: Path | None,
) -> int:
    """Carry out ``certrotd keys report``; the exit code is 1 if the audit log is broken."""
    clock, path = SystemClock(), None if out is None else _writable(out)
    with open_site(config, clock=clock, command="certrotd keys report", writes=True) as site:
        now = clock.now()
        end = moment(until, "--to") if until else now
        span = Span(moment(since, "--from") if since else end - YEAR, end)
        if span.since >= span.until:
            raise UsageError("--from is not before --to", hint="nothing is between them")
        site.prepare()
        key = _signing_key(site)
        with site.audit.snapshot() as snapshot:
            lines = list(snapshot.lines())
            chain = verify(lines, snapshot.anchor.known)
        facts, unreadable = _facts(site, names)
        parsed = (each for each in map(parse, lines) if each is not None)
        told = [*(each.name for each in facts), *unreadable]
        records = [each for each in parsed if not names or _concerns(each, told)]
        made = report(facts, records, chain, span, made=now, signer=key.id, unreadable=unreadable)
        data = rendered(made, Format(form))
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        write_signed(path, data, key)
        say(f"{out}: signed by key {key.id}: {out}.sig, {out}.pub")
    return 1 if chain.broken else 0


def _facts(site: Site, names: Sequence[str]) -> tuple[list[KeyringFacts], Mapping[str, str]]:
    """What is known of each, and why nothing is of others."""
    wing = site.wing(KIND)
    assert isinstance(wing, Keyrings), "the wing of that kind"
    chosen = {subject.id for subject in site.inventory.chosen(ids_of(names))} if names else None
    facts: list[KeyringFacts] = []
    unreadable: dict[str, str] = {}
    for each in wing.keyrings:
        if chosen is not None and each.policy.id not in chosen:
            continue
        try:
            found = facts_of(each)
        except Failure as failure:
            unreadable[each.policy.name] = str(failure)
        else:
            facts += [found] if found is not None else []
    return facts, unreadable


def _concerns(record: AuditRecord, names: Sequence[str]) -> bool:
    """Whether it is of these keyrings: others were not asked for, and are no exceptions of them."""
    told = {str(id_of(name)) for name in names}
    return record.subject in told or not record.subject.startswith(f"{KIND}/")


def _signing_key(site: Site) -> SigningKey:
    """That of the state directory, made the first time."""
    path = site.config.state_dir / SIGNING_KEY
    return load(path) if os.path.lexists(path) else make(path)


def moment(text: str, option: str) -> datetime:
    """A date or time of the command line, in UTC unless it says another; raises UsageError."""
    try:
        at = datetime.fromisoformat(text)
        found = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise UsageError(
            f"{option} is no date: {text[:40]!r}", hint="write it as 2026-01-31, or with a time"
        )
    return found


def _writable(out: Path) -> Path:
    """Where the report goes: a new file, or over an earlier report, which has its signature."""
    out = out.absolute()
    signature = out.with_name(f"{out.name}.sig")
    if os.path.lexists(out) and not (
        out.is_file() and not out.is_symlink() and signature.is_file()
    ):
        raise UsageError(
            f"{out} is there, and is no earlier report", hint="name a new file, or remove that one"
        )
    return out
