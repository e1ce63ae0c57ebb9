"""``certrotd inspect``: the certificates in a file, or the one an endpoint serves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast, get_args

from certrotd.address import StartTls, parse
from certrotd.cli.output import print_json, print_table, span, stamp
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import InvalidInput, UsageError
from certrotd.files.reading import read_file
from certrotd.observe.tls import HANDSHAKE_TIMEOUT, Endpoint, shown_to_any
from certrotd.observe.trust import TlsContexts
from certrotd.pki.facts import MAX_BYTES, CertificateFacts, facts_of, parse_certificates

_STARTTLS = get_args(StartTls)
_KNOWN = f"one of {', '.join(_STARTTLS)}"


def inspect(what: str, *, sni: str | None, starttls: str | None, as_json: bool) -> int:
    """Carry out ``certrotd inspect``; the exit code."""
    if starttls is not None and starttls not in _STARTTLS:
        raise UsageError(f"{starttls!r} is no STARTTLS protocol", hint=_KNOWN)
    path = Path(what)
    if os.path.exists(what) or "/" in what or ":" not in what:
        found = _of_file(path, what)
    else:
        found = _of_endpoint(what, sni, cast("StartTls | None", starttls))
    now = SystemClock().now()
    if as_json:
        print_json([{**facts.to_json(), "expired": facts.not_after <= now} for facts in found])
        return 0
    rows = [
        row
        for facts in found
        for row in (
            ("subject", facts.subject or "-"),
            ("names", ", ".join(facts.names) or "-"),
            ("issuer", facts.issuer),
            ("key", facts.key_type),
            ("valid", f"{stamp(facts.not_before)} to {stamp(facts.not_after)}"),
            ("left", span(facts.not_after - now)),
            ("serial", facts.serial),
            ("sha256", facts.fingerprint),
        )
    ]
    print_table(("FACT", "VALUE"), rows)
    return 0


def _of_file(path: Path, what: str) -> list[CertificateFacts]:
    try:
        data = read_file(path, limit=MAX_BYTES)
    except FileNotFoundError:
        raise InvalidInput(f"{what}: no such file", hint="a file, or HOST:PORT") from None
    return [facts_of(each) for each in parse_certificates(data, what=what)]


def _of_endpoint(what: str, sni: str | None, starttls: StartTls | None) -> list[CertificateFacts]:
    address = parse(what)
    endpoint = Endpoint(address.host, address.port, sni or address.host, starttls)
    deadline = Deadline(SystemClock(), HANDSHAKE_TIMEOUT)
    leaf = shown_to_any(endpoint, TlsContexts(), deadline)[0]
    return [facts_of(each) for each in parse_certificates(leaf, what=what)]
