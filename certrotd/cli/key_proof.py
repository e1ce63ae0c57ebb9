"""``certrotd keys prove``: what was shown when a key was destroyed, and whether it holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from certrotd.assessment.transitions import destructions
from certrotd.audit.record import AuditRecord, parse
from certrotd.audit.verify import Verification, verify
from certrotd.cli.keys import keyring_at
from certrotd.cli.output import print_json, print_table, say, stamp
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.id import Id
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.proof import EVENT, Proof, proof_from
from certrotd.keyring.states import State
from certrotd.keys.destroying import PURGED
from certrotd.keys.keyring_store import NoKeyring
from certrotd.keys.report import backups_of
from certrotd.wording import span


def prove(config: Path, name: str, number: int, *, as_json: bool) -> int:
    """Carry out ``certrotd keys prove``; the exit code is 1 if anything does not hold."""
    with keyring_at(config, name, "prove", dry=True) as (found, site):
        with site.audit.snapshot() as snapshot:
            lines = list(snapshot.lines())
            chain = verify(lines, snapshot.anchor.known)
        kept = found.store.read()
        backups, unreadable = backups_of(found)
    if kept is None:
        raise NoKeyring(name)
    keyring = kept.keyring
    state = keyring.versions.version(number).state
    records = [each for each in map(parse, lines) if each is not None]
    record = _record(records, found.policy.id, number)
    if record is None:
        raise NeedsOperator(
            f"the audit log has no proof of the destruction of version {number}: it is {state}",
            hint="" if state is State.ACTIVE else f"certrotd keys show {name} says what keeps it",
        )
    proof = proof_from(record.details)
    wrong = [*_wrong(proof, keyring, records, chain)]
    held = [each.place for each in backups if number in each.versions]
    purges = [
        each.details
        for each in records
        if (each.event, each.subject) == (PURGED, str(found.policy.id))
        and each.details.get("version") == number
    ]
    told: dict[str, Any] = {
        "name": keyring.name,
        "proven": not wrong,
        "wrong": wrong,
        "record": {"seq": record.seq, "hash": record.hash, "appended": record.at},
        "audit_log": {"records": chain.head.seq, "hash": chain.head.hash},
        "backups": {
            "still_with_the_key": held,
            "unreadable": list(unreadable),
            "removed": purges[-1].get("removed") if purges else {},
        },
        "proof": dict(record.details),
    }
    print_json(told) if as_json else _print(proof, told)
    return 1 if wrong else 0


def _record(records: list[AuditRecord], keyring: Id, number: int) -> AuditRecord | None:
    """The last proof of that version."""
    own = (each for each in reversed(records) if each.event == EVENT)
    mine = (each for each in own if each.subject == str(keyring))
    return next((each for each in mine if each.details.get("version") == number), None)


def _wrong(
    proof: Proof, keyring: Keyring, records: list[AuditRecord], chain: Verification
) -> Iterator[str]:
    if chain.broken is not None:
        yield f"the audit log is broken: {chain.broken}"
    try:
        known = [each for each in destructions(records, keyring.name) if each.at == proof.at]
    except InvalidInput as error:
        yield error.message
    else:
        if proof.number not in {each.version for each in known}:
            yield "the audit log has no destruction of that version at that time"
    yield from proof.wrong(keyring)


def _print(proof: Proof, told: dict[str, Any]) -> None:
    name, shown, use = told["name"], proof.evidence, proof.use
    rows = [
        (each, str(count.left), stamp(count.zero_since or count.at), stamp(count.at), count.method)
        for each, count in sorted(shown.census.items())
    ]
    print_table(("DATASET", "LEFT", "ZERO SINCE", "COUNTED", "HOW"), rows)

    def tell(words: str) -> None:
        say(f"{name}: {words}", sys.stdout)

    tell(f"version {proof.number} was destroyed at {stamp(proof.at)}")
    tell(f"fingerprint {proof.fingerprint}, id {proof.id or 'none'}, {proof.algorithm}")
    until = f"until {stamp(proof.encrypted_until)}" if proof.encrypted_until else "never"
    last = f", last heard of at {stamp(use.last)}" if use.last else ""
    tell(f"it encrypted {until}: {use.messages:,} messages were counted{last}")
    tell(f"each census was zero twice, {span(proof.fresh.apart)} apart or more")
    for what, over in sorted(shown.drains.items()):
        tell(f"{what} had expired by {stamp(over)}")
    if shown.drilled:
        tell(f"the last restore drill succeeded at {stamp(shown.drilled)}")
    if proof.consumers:
        tell(f"confirmed to have the keys without it: {', '.join(proof.consumers)}")
    for path, digest in sorted(proof.files.items()):
        tell(f"{path} was then {digest}")
    if shown.confirmed:
        tell(f"the destruction was confirmed by {' and '.join(shown.confirmed)}")
    for place, digest in sorted(told["backups"]["removed"].items()):
        tell(f"{place}, which had the key, was removed: {digest}")
    for what, end in sorted(proof.copies.items()):
        tell(f"note: {what} may have copies of backups with the key until {stamp(end)}")
    for place in told["backups"]["still_with_the_key"]:
        tell(f"note: {place} still has the key")
    for words in proof.unreadable:
        tell(f"note: nobody could tell then whether it had the key: {words}")
    for words in told["backups"]["unreadable"]:
        tell(f"note: nobody can tell whether it still has the key: {words}")
    for words in told["wrong"]:
        tell(f"not proven: {words}")
    if not told["wrong"]:
        record, log = told["record"], told["audit_log"]
        tell(f"proven by record {record['seq']} of the audit log, {record['hash']}")
        tell(f"the log is intact: {log['records']} records, head {log['hash']}")
