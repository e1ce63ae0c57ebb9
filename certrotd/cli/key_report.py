"""``certrotd keys report``: what assessors ask of data keys, signed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
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
from certrotd.errors import UsageError
from certrotd.keys.kind import KIND
from certrotd.keys.policy import id_of
from certrotd.keys.report import facts_of
from certrotd.keys.wing import Keyrings

YEAR = timedelta(days=365)
SIGNING_KEY = "report.key"


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
    clock = SystemClock()
    with open_site(config, clock=clock, command="certrotd keys report", writes=True) as site:
        now = clock.now()
        end = _moment(until, "--to") if until else now
        span = Span(_moment(since, "--from") if since else end - YEAR, end)
        site.prepare()
        key = _signing_key(site)
        with site.audit.snapshot() as snapshot:
            lines = list(snapshot.lines())
            chain = verify(lines, snapshot.anchor.known)
        facts = _facts(site, names)
        parsed = (each for each in map(parse, lines) if each is not None)
        records = [each for each in parsed if not names or _concerns(each, facts)]
        made = report(facts, records, chain, span, made=now, signer=key.id)
        data = rendered(made, Format(form))
    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        write_signed(out.absolute(), data, key)
        say(f"{out}: signed by key {key.id}: {out}.sig, {out}.pub")
    return 1 if chain.broken else 0


def _facts(site: Site, names: Sequence[str]) -> list[KeyringFacts]:
    wing = site.wing(KIND)
    assert isinstance(wing, Keyrings), "the wing of that kind"
    chosen = {subject.id for subject in site.inventory.chosen(ids_of(names))} if names else None
    found = [facts_of(each) for each in wing.keyrings if chosen is None or each.policy.id in chosen]
    return [each for each in found if each is not None]


def _concerns(record: AuditRecord, facts: Sequence[KeyringFacts]) -> bool:
    """Whether it is of these keyrings: others were not asked for, and are no exceptions of them."""
    told = {str(id_of(each.name)) for each in facts}
    return record.subject in told or not record.subject.startswith(f"{KIND}/")


def _signing_key(site: Site) -> SigningKey:
    """That of the state directory, made the first time."""
    path = site.config.state_dir / SIGNING_KEY
    return load(path) if os.path.lexists(path) else make(path)


def _moment(text: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} is no date: {text[:40]!r}", hint="write it as 2026-01-31, or with a time"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
