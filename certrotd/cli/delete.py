"""``certrotd delete``: what certrotd keeps of a certificate that nobody needs any more."""

from __future__ import annotations

from pathlib import Path

from certrotd.cli.confirmation import confirm
from certrotd.cli.live import progress_of
from certrotd.cli.output import print_json, print_table, say
from certrotd.cli.reports import report_json, report_words
from certrotd.cli.revoke import reason_of
from certrotd.cli.rotate import outlive_terminal
from certrotd.cli.warned import logging_in_lines
from certrotd.daemon.stopping import Stopping
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import NeedsOperator, UsageError
from certrotd.lifecycle.subject import Deletable, Revocable, Subject
from certrotd.lifecycle.wing import Leftovers
from certrotd.pki.revocation import RevocationAsked

CESSATION = "cessationOfOperation"


def delete(
    config: Path,
    name: str,
    *,
    revoke: bool,
    reason: str | None,
    confirmed: str | None,
    as_json: bool,
) -> int:
    """Carry out ``certrotd delete``; the exit code."""
    reason, stopping = reason_of(reason or CESSATION), Stopping()
    with open_site(
        config, clock=stopping.clock, command="certrotd delete", listen=say, writes=True
    ) as site:
        subject = _to_delete(site, name)
        assert isinstance(subject, Deletable), "it was asked for"
        seen = subject.foresee_deletion()
        version = seen.version if revoke and not _is_revoked(subject, seen.version) else None
        goes = list(seen.goes)
        if version is not None:
            assert isinstance(subject, Revocable), "what is deleted was signed by a CA"
            now = site.clock.now()
            asks = subject.foresee_revocation(version, reason, at_once=True, now=now).asks
            goes.append(f"revoked: {reason}; {asks}")
        for what, lines in (("goes", goes), ("stays", seen.stays), ("not known", seen.unknown)):
            for line in lines:
                say(f"{what}: {line}")
        confirm(name, f"{name} is to be deleted, with its keys", confirmed, what="certificate")
        site.prepare()
        outlive_terminal()
        stopping.listen()
        with logging_in_lines(), progress_of(1) as live:
            runner = site.runner(live.hear, stopping)
            reports = []
            if version is not None:
                assert isinstance(subject, Revocable), "what is deleted was signed by a CA"
                reports.append(subject.revoke(runner, RevocationAsked(version, reason, "", True)))
                entry = subject.revocations().get(version)
                if entry is None or entry.done is None:
                    say(f"{name} is not revoked, so nothing was deleted")
            if not any(report.failed for report in reports):
                reports.append(subject.delete(runner))
    if as_json:
        print_json([report_json(report) for report in reports])
    else:
        print_table(("NAME", "RESULT", "WHY"), [(name, *report_words(each)) for each in reports])
    return 1 if any(report.failed for report in reports) else 0


def _is_revoked(subject: Subject, version: int | None) -> bool:
    """Whether the CA has done it, as where an earlier command was cut off before it deleted."""
    known = subject.revocations() if isinstance(subject, Revocable) else {}
    entry = known.get(version) if version is not None else None
    return entry is not None and entry.done is not None


def _to_delete(site: Site, name: str) -> Subject:
    """What is to be deleted; UsageError where the configuration asks for it."""
    for subject in site.inventory.subjects:
        if name not in (subject.id.name, str(subject.id)):
            continue
        if not isinstance(subject, Deletable):
            continue
        if subject.enabled:
            raise UsageError(
                f"{name} is in the configuration, so certrotd would make it anew",
                hint="remove its entry, or set enabled: false, have the daemon reload, and run "
                "this again",
            )
        return subject
    for wing in site.inventory.wings:
        if isinstance(wing, Leftovers) and (left := wing.leftover(name)) is not None:
            return left
    raise NeedsOperator(
        f"nothing is kept of a certificate {name!r}",
        hint="of one in a Secret certrotd knows only while its entry is there: set enabled: false",
    )
