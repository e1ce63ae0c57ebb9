"""``certrotd revoke``: a certificate that is not to be trusted any more, and its replacement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from certrotd.cli.confirmation import confirm
from certrotd.cli.live import progress_of
from certrotd.cli.output import print_json, print_table, say
from certrotd.cli.reports import report_json, report_words
from certrotd.cli.rotate import outlive_terminal
from certrotd.cli.warned import logging_in_lines
from certrotd.daemon.stopping import Stopping
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import InvalidInput, NeedsOperator, UsageError
from certrotd.files.reading import read_file
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Revocable
from certrotd.lifecycle.wing import Revokes
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.keys import MAX_KEY_BYTES
from certrotd.pki.revocation import SIGNERS, KeyNotCompared, RevocationAsked, reason_named
from certrotd.rotation.outcome import Parked

COMMAND = "certrotd revoke"
MAX_FILE = 1024 * 1024
_AGAIN = "; `certrotd run` or the next `certrotd rotate` tries again"
SUPERSEDED, UNSPECIFIED = "superseded", "unspecified"


def revoke(
    config: Path,
    name: str,
    *,
    generation: int | None,
    reason: str | None,
    by: str | None,
    now: bool,
    confirmed: str | None,
    as_json: bool,
) -> int:
    """Carry out ``certrotd revoke NAME``; the exit code."""
    reason, by = reason_of(reason or SUPERSEDED), _signer(by)
    stopping = Stopping()
    with open_site(config, clock=stopping.clock, command=COMMAND, listen=say, writes=True) as site:
        [subject] = site.inventory.chosen([name])
        if not isinstance(subject, Revocable):
            raise UsageError(f"a {subject.id.kind} is signed by nobody who could revoke it")
        seen = subject.foresee_revocation(generation, reason, at_once=now, now=site.clock.now())
        for line in seen.effects:
            say(line)
        what = f"generation {seen.version} of {subject.id.name} is to be revoked"
        confirm(subject.id.name, what, confirmed, what="certificate")
        site.prepare()
        outlive_terminal()
        stopping.listen()
        asked = RevocationAsked(seen.version, reason, by, at_once=now)
        with logging_in_lines(), progress_of(1) as live:
            runner = site.runner(live.hear, stopping)
            reports = [subject.revoke(runner, asked)]
            in_place = not reports[0].failed or isinstance(reports[0].failure, KeyNotCompared)
            if in_place and not stopping():
                following = site.inventory.with_followers([subject])[1:]
                reports += site.inventory.rotate(following, runner, Asked(by_hand=True))
            if _is_open(subject, site, seen.version) and not stopping():
                reports.append(subject.revoke(runner, asked))
        return _show(reports, subject, seen.version, as_json=as_json, now=site.clock.now())


def revoke_file(
    config: Path,
    file: Path,
    *,
    key: Path | None,
    issuer: str | None,
    reason: str | None,
    by: str | None,
    confirmed: str | None,
) -> int:
    """Carry out ``certrotd revoke --file``; the exit code."""
    reason, by = reason_of(reason or UNSPECIFIED), _signer(by)
    if by == SIGNERS[1] and key is None:
        raise UsageError("--by certificate-key needs its --key")
    certificate = _content(file, MAX_FILE)
    signer = _content(key, MAX_KEY_BYTES) if key is not None else None
    facts = facts_of(parse_certificates(certificate, what=str(file))[0])
    with open_site(
        config, clock=Stopping().clock, command=COMMAND, listen=say, writes=True
    ) as site:
        wing = _wing(site)
        if known := wing.known_as(certificate):
            raise UsageError(
                f"{file} is generation {known[1]} of {known[0]}",
                hint=f"certrotd revoke {known[0]} --generation {known[1]}",
            )
        called = facts.names[0] if facts.names else facts.serial
        what = f"serial {facts.serial}, for {', '.join(facts.names)}, of {facts.issuer}"
        words = f"{file}: {what}, is to be revoked ({reason}); "
        words += "whoever serves it fails, nothing replaces it"
        confirm(called, words, confirmed, what="first name of the certificate")
        site.prepare()
        came = wing.revoke_file(certificate, signer, issuer=issuer, reason=reason, by=by)
    say(f"{file}: {came}")
    return 0


def _show(
    reports: Sequence[Report], subject: Revocable, version: int, *, as_json: bool, now: datetime
) -> int:
    """What came of it; whatever the reports say, it failed unless it is revoked.

    So it did while another generation, of the same key it may be, is still to be revoked.
    """
    known = subject.revocations()
    entry = known.get(version)
    if as_json:
        listed = [report_json(report) for report in reports]
        listed[0]["revocation"] = entry.to_json() if entry else None
        print_json(listed)
    else:
        rows = [(report.subject.name, *report_words(report)) for report in reports]
        print_table(("NAME", "RESULT", "WHY"), rows)
    if entry is None:
        waits = isinstance(reports[0].outcome, Parked)
        later = "it is revoked once the new one is in place"
        then = later if waits else "nothing does that later, so run this again"
        say(f"generation {version} is NOT revoked: {then}; --now revokes it at once")
    others = {n: e for n, e in known.items() if n != version and not e.done and e.not_after > now}
    for number, each in {**({version: entry} if entry else {}), **others}.items():
        again = _AGAIN if each.is_open(now) else ""
        say(f"{reports[0].subject.name}: {each.words(number)}{again}")
    done = entry is not None and entry.done is not None
    open_ = any(each.is_open(now) for each in others.values())
    unread = any(isinstance(report.failure, KeyNotCompared) for report in reports)
    failed = unread or any(report.failed for report in reports[-1:])
    return 0 if done and not open_ and not failed else 1


def _is_open(subject: Revocable, site: Site, version: int) -> bool:
    entry = subject.revocations().get(version)
    return entry is not None and entry.is_open(site.clock.now())


def reason_of(text: str) -> str:
    """The reason of that name; UsageError for what is none."""
    try:
        return reason_named(text)
    except InvalidInput as error:
        raise UsageError(f"--reason: {error.message}", hint=error.hint) from None


def _signer(by: str | None) -> str:
    if by is not None and by not in SIGNERS:
        raise UsageError(f"--by: no signer {by!r}", hint=f"one of {', '.join(SIGNERS)}")
    return by or ""


def _content(path: Path, limit: int) -> bytes:
    try:
        return read_file(path, limit=limit)
    except FileNotFoundError:
        raise UsageError(f"there is no {path}") from None


def _wing(site: Site) -> Revokes:
    for wing in site.inventory.wings:
        if isinstance(wing, Revokes):
            return wing
    raise NeedsOperator("nothing of the configuration is signed by anybody who revokes")
