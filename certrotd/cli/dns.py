"""``certrotd dns``: the TXT records that stay, for whoever sets them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from certrotd.cli.output import print_json, say
from certrotd.clock import Deadline, SystemClock
from certrotd.config.nearest import suggestion
from certrotd.daemon.wiring import open_site
from certrotd.dns.persistent import zone_line
from certrotd.errors import Failure, UsageError
from certrotd.pki.order import DNS_PERSIST_01, Challenge
from certrotd.rotation.unexpected import as_failure

if TYPE_CHECKING:
    from certrotd.certs.wing import Certificates
    from certrotd.certs.wiring.adapters import Adapters
    from certrotd.clock import Clock
    from certrotd.config.model import Certificate

WAIT = 120.0


def persist_record(config: Path, name: str, *, until: str | None, as_json: bool) -> int:
    """Carry out ``certrotd dns persist-record``; the exit code."""
    clock = SystemClock()
    end = "" if until is None else f"; persistUntil={_seconds(until, now=clock.now())}"
    command = "certrotd dns persist-record"
    with open_site(config, clock=clock, command=command, listen=say, writes=True) as site:
        entry = next((each for each in site.config.certificates if each.name == name), None)
        if entry is None:
            known = [each.name for each in site.config.certificates]
            raise UsageError(
                f"there is no certificate {name!r}", hint=suggestion(name, sorted(known))
            )
        cas = [each for each in entry.issuers if site.config.issuers[each].type == "acme"]
        if not cas:
            raise UsageError(f"{name} comes from {entry.issuers[0]}, which needs no record")
        site.prepare()
        adapters = cast("Certificates", site.wing("certificate")).adapters()
        asking = replace(entry, challenge=DNS_PERSIST_01)
        rows = [row for ca in cas for row in _of_ca(ca, asking, adapters, clock, end)]
    _print(rows, as_json=as_json)
    return 0 if all(row["name"] for row in rows) else 1


def _of_ca(
    ca: str, entry: Certificate, adapters: Adapters, clock: Clock, end: str
) -> Iterator[dict[str, Any]]:
    """A row for each record that the CA wants; one without a name if it does not say which."""
    try:
        wanted = adapters.records(entry, ca, entry.names, Deadline(clock, WAIT))
    except (Failure, OSError) as error:
        failure = as_failure(error, "find which records the CA wants")
        nothing = {"name": "", "value": "", "account": "", "issuers": [], "there": False}
        yield {"ca": ca, **nothing, "problem": str(failure)}
        return
    for record in wanted:
        problem = ""
        try:
            adapters.solvers.confirm(record, Deadline(clock, WAIT))
        except Failure as failure:
            problem = failure.message
        yield _row(ca, record, f"{record.value}{end}", problem)


def _row(ca: str, record: Challenge, value: str, problem: str) -> dict[str, Any]:
    assert record.persistent is not None, "it was asked for"
    return {
        "ca": ca,
        "name": record.name,
        "value": value,
        "account": record.persistent.account,
        "issuers": list(record.persistent.issuers),
        "there": not problem,
        "problem": problem,
    }


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if not row["name"]:
            say(f"{row['ca']}: {row['problem']}")
            continue
        say(zone_line(row["name"], row["value"]), sys.stdout)
        say(f"{row['name']} is there and right" if row["there"] else f"to set: {row['problem']}")
        if not row["issuers"]:
            say("write a domain name of the CA for CA-DOMAIN: its directory lists none")


def _seconds(text: str, *, now: datetime) -> int:
    """A date, or a date with a time, in UTC unless it says otherwise; raises UsageError."""
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until must be such as 2027-12-31, got {text!r}") from None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    if until <= now:
        raise UsageError(f"--until {text} has passed")
    return int(until.timestamp())
