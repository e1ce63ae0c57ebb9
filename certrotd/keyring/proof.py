"""What shows that a key was destroyed by right: counts, times, hashes and methods, as one record.

It is made before the material goes and written into the audit log after; whoever reads it there
can check it again without the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.keyring.evidence import Count, Evidence, Freshness, Scan, missing
from certrotd.keyring.keyring import Keyring, Use
from certrotd.keyring.states import State

EVENT = "keyring.destruction_proven"
"""The event of the audit log."""
_LIMITS = ("census", "drill", "scan", "apart")


@dataclass(frozen=True)
class Proof:
    """That version ``number`` was needed by nobody when it was destroyed ``at`` that time.

    ``files`` are the outputs by then and their SHA-256, of a version that was withheld already;
    ``consumers`` each confirmed that it has the keys of these. ``evidence`` is judged by ``fresh``.
    ``backups`` had the key then, and are removed after; of those that are ``unreadable``, and why,
    nobody can tell; ``copies``, which certrotd does not reach, may have it until then.
    """

    number: int
    at: datetime
    fingerprint: str
    id: str
    algorithm: str
    use: Use
    encrypted_until: datetime | None
    evidence: Evidence
    fresh: Freshness
    consumers: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    backups: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    copies: Mapping[str, datetime] = field(default_factory=dict)

    def wrong(self, keyring: Keyring) -> Iterator[str]:
        """What does not hold of it, in words: by itself, and by what ``keyring`` is now."""
        until = self.encrypted_until
        for each in missing(self.evidence, self.fresh, encrypted_until=until, now=self.at):
            yield f"when it was destroyed, {each.why}"
        found = {each.number: each for each in keyring.versions.all}.get(self.number)
        if found is None:
            yield f"the keyring has no version {self.number}"
            return
        entry = keyring.entries[self.number]
        gone = {each.at for each in found.transitions if each.to is State.DESTROYED}
        if found.state is not State.DESTROYED or entry.secret is not None:
            yield f"the keyring still has version {self.number}: it is {found.state}"
        elif self.at not in gone:
            yield "the keyring says that it was destroyed at another time"
        if (entry.fingerprint, entry.id) != (self.fingerprint, self.id):
            yield "the keyring had another key as that version"

    def to_json(self) -> dict[str, Any]:
        """As it is written; times in ISO 8601, lengths of time in seconds."""
        shown, fresh = self.evidence, self.fresh
        return {
            "version": self.number,
            "at": self.at.isoformat(),
            "key": {"fingerprint": self.fingerprint, "id": self.id, "algorithm": self.algorithm},
            "use": {
                "messages": self.use.messages,
                "bytes": self.use.bytes,
                "first": _text(self.use.first),
                "last": _text(self.use.last),
                "encrypted_until": _text(self.encrypted_until),
            },
            "datasets": sorted(shown.datasets),
            "census": {name: _count(each) for name, each in sorted(shown.census.items())},
            "drains": {what: over.isoformat() for what, over in sorted(shown.drains.items())},
            "drilled": _text(shown.drilled),
            "rehearsed": _text(shown.rehearsed),
            "scanned": {"asked": shown.scans, "at": _text(shown.scan.at if shown.scan else None)},
            "consumers": list(self.consumers),
            "files": dict(sorted(self.files.items())),
            "backups": list(self.backups),
            "unreadable_backups": list(self.unreadable),
            "copies": {what: until.isoformat() for what, until in sorted(self.copies.items())},
            "confirmations": shown.confirmations,
            "confirmed": list(shown.confirmed),
            "asked": {
                "census": fresh.census.total_seconds(),
                "apart": fresh.apart.total_seconds(),
                "drill": fresh.drill.total_seconds(),
                "scan": fresh.scan.total_seconds(),
                "rehearsal": _seconds(fresh.rehearsal),
            },
        }


def proof_of(
    keyring: Keyring,
    number: int,
    evidence: Evidence,
    fresh: Freshness,
    *,
    at: datetime,
    consumers: tuple[str, ...] = (),
    files: Mapping[str, str] | None = None,
) -> Proof:
    """What is shown of a version right before it is destroyed."""
    entry, version = keyring.entries[number], keyring.versions.version(number)
    return Proof(
        number,
        max(at, version.since),
        entry.fingerprint,
        entry.id,
        entry.algorithm.value,
        entry.use,
        version.encrypted_until,
        evidence,
        fresh,
        consumers,
        files if files is not None and version.state is State.DISABLED else {},
    )


def proof_from(told: Mapping[str, Any]) -> Proof:
    """The proof of a record; raises InvalidInput for one that says no such thing."""
    try:
        key, use, asked, scanned = told["key"], told["use"], told["asked"], told["scanned"]
        evidence = Evidence(
            datasets=frozenset(map(str, told["datasets"])),
            census={name: _counted(each) for name, each in told["census"].items()},
            drains={what: _needed(each) for what, each in told["drains"].items()},
            drilled=_moment(told["drilled"]),
            rehearsed=_moment(told["rehearsed"]),
            scans=bool(scanned["asked"]),
            scan=Scan(at) if (at := _moment(scanned["at"])) else None,
            confirmations=int(told["confirmations"]),
            confirmed=tuple(map(str, told["confirmed"])),
        )
        return Proof(
            int(told["version"]),
            _needed(told["at"]),
            str(key["fingerprint"]),
            str(key["id"]),
            str(key["algorithm"]),
            Use(use["messages"], use["bytes"], _moment(use["first"]), _moment(use["last"])),
            _moment(use["encrypted_until"]),
            evidence,
            Freshness(
                **{each: timedelta(seconds=asked[each]) for each in _LIMITS},
                rehearsal=_span(asked["rehearsal"]),
            ),
            tuple(map(str, told["consumers"])),
            {str(path): str(digest) for path, digest in told["files"].items()},
            tuple(map(str, told["backups"])),
            tuple(map(str, told.get("unreadable_backups", ()))),
            {str(what): _needed(until) for what, until in told["copies"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InvalidInput("the record does not say what was shown") from None


def _count(count: Count) -> dict[str, Any]:
    return {
        "left": count.left,
        "unopened": count.unopened,
        "blind_indexes": count.indexes,
        "at": count.at.isoformat(),
        "zero_since": _text(count.zero_since),
        "method": count.method,
    }


def _counted(told: Mapping[str, Any]) -> Count:
    first, method = _moment(told["zero_since"]), str(told["method"])
    left, unopened, indexes = (int(told[each]) for each in ("left", "unopened", "blind_indexes"))
    return Count(left, _needed(told["at"]), unopened, first, method, indexes)


def _seconds(length: timedelta | None) -> float | None:
    return length.total_seconds() if length is not None else None


def _span(seconds: float | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds is not None else None


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _moment(text: str | None) -> datetime | None:
    return _needed(text) if text is not None else None


def _needed(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at
