"""Keyrings with their audit records, as a wing writes both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from certrotd.assessment.facts import (
    BackupFacts,
    ConsumerFacts,
    DatasetFacts,
    DrainFacts,
    KeyringFacts,
    Span,
    VersionFacts,
)
from certrotd.assessment.report import Report, report
from certrotd.assessment.transitions import Asked, happened
from certrotd.audit.record import START, AuditRecord, Happened, chained
from certrotd.audit.verify import Verification, verify
from certrotd.escrow.drill import Drilled, DrillFinding, Found
from certrotd.id import Id
from certrotd.keyring.evidence import Freshness
from certrotd.keyring.keyring import Use
from certrotd.keyring.material import Algorithm
from certrotd.keyring.states import Versions
from tests.unit.keyring.versions import proof

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MADE = BEGAN + 200 * DAY
SPAN = Span(BEGAN, BEGAN + 180 * DAY)
ASKED = Asked(by_hand=True, actor="alice")
FRESH = Freshness()


def day(number: int) -> datetime:
    return BEGAN + number * DAY


def life() -> Versions:
    """Two rotations: version 1 destroyed, version 2 compromised, version 3 active."""
    ring = Versions()
    for number, at in ((1, day(-10)), (2, day(30)), (3, day(100))):
        ring = ring.generate(at=at, why="due").distribute(number, at=at + DAY, why="given")
        ring = ring.activate(number, at=at + 2 * DAY, why="every consumer acknowledged")
    ring = ring.retire(1, at=day(40), why="census 0").disable(1, at=day(50), why="grace is over")
    ring = ring.destroy(1, proof(day(60)), FRESH, at=day(60), why="asked")
    return ring.compromise(2, at=day(110), why="seen in a log")


def drilled(at: datetime, *, failed: str = "", keyring: str = "payments") -> Drilled:
    findings = (DrillFinding(Found.MISSING, failed),) if failed else ()
    return Drilled(keyring, at, 7, at, "ab" * 32, (2, 3), findings)


def facts(versions: Versions | None = None, **changes: object) -> KeyringFacts:
    """A keyring of which everything is said, with the cryptoperiod kept."""
    ring = life() if versions is None else versions
    given: dict[str, object] = {
        "name": "payments",
        "owner": "Payments team",
        "custodians": ("alice", "bob"),
        "classification": "restricted",
        "purpose": "card numbers in users.card",
        "cryptoperiod": 120 * DAY,
        "stored": "/var/lib/certrotd/keyrings/payments",
        "wrapped_by": ("aws-kms alias/certrotd", "file /etc/certrotd/kek"),
        "versions": tuple(
            VersionFacts(
                each,
                Algorithm.AES_256_GCM,
                f"{each.number:016x}",
                f"v{each.number}",
                Use(10, 1000, day(1), day(20)),
            )
            for each in ring.all
        ),
        "outputs": ("/etc/app/keys.json",),
        "consumers": (ConsumerFacts("web", day(101)), ConsumerFacts("batch")),
        "datasets": (DatasetFacts("users.card", 1200, day(60)), DatasetFacts("archive")),
        "drains": (DrainFacts("cookies", day(130)), DrainFacts("CDC topic")),
        "drills": (drilled(day(70)),),
        "backups": (BackupFacts("/mnt/backups", 7, day(55), "2 of 3 shares", (1, 2)),),
        **changes,
    }
    return KeyringFacts(**given)  # type: ignore[arg-type]


def said(*keyrings: KeyringFacts) -> list[tuple[datetime, Happened]]:
    """What the wing writes of every transition, with the time of the append."""
    found = [
        (t.at, happened(Id("keyring", keyring.name), facts.version.number, t, "r1", ASKED))
        for keyring in keyrings
        for facts in keyring.versions
        for t in facts.version.transitions
    ]
    return sorted(found, key=lambda each: each[0])


def log(events: Iterable[tuple[datetime, Happened]]) -> list[AuditRecord]:
    """The chain of these events."""
    records: list[AuditRecord] = []
    for at, event in events:
        head = records[-1].head if records else START
        records.append(chained(head, event, at=at))
    return records


def verified(records: Sequence[AuditRecord]) -> Verification:
    """What certrotd audit verify says of them."""
    anchor = records[-1].head if records else START
    return verify([each.line() for each in records], anchor)


def made(*keyrings: KeyringFacts, records: Sequence[AuditRecord] | None = None) -> Report:
    """The report of them, by default with a log that agrees."""
    told = log(said(*keyrings)) if records is None else records
    return report(keyrings, told, verified(told), SPAN, made=MADE, signer="0123456789abcdef")
