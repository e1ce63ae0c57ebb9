"""A restore drill: whether the newest backup would bring the keyring back, without doing it.

The backup is opened in memory, and nothing of it is written anywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from certrotd.errors import Failure, InvalidInput
from certrotd.escrow.age import Key
from certrotd.escrow.backup import authentic, header_of, opened_backup
from certrotd.escrow.canary import canary, opens
from certrotd.escrow.errors import LibraryMissing, NotOpened
from certrotd.escrow.header import Header
from certrotd.escrow.place import Backups, newest
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.states import State
from certrotd.wording import stamp


class Found(StrEnum):
    """The codes of what a drill finds wrong."""

    NO_BACKUP = "no-backup"
    UNREADABLE = "backup-unreadable"
    FORGED = "backup-forged"
    OLDER = "backup-older"
    MISSING = "version-missing"
    OTHER_KEY = "version-differs"
    CANARY = "canary-failed"
    NEVER = "drill-never"
    OVERDUE = "drill-overdue"
    FAILED = "drill-failed"


@dataclass(frozen=True, slots=True)
class DrillFinding:
    """One thing that is wrong: its code, words for people, and what helps."""

    code: Found
    why: str
    hint: str = ""


SUCCEEDED, UNSUCCESSFUL = "keyring.drilled", "keyring.drill_failed"
"""The events of the audit log."""


@dataclass(frozen=True)
class Drilled:
    """What a drill came to: ``versions`` are those whose keys it proved.

    ``revision``, ``made`` and ``sha256`` are the backup's, None or empty where there was none.
    ``still_held``: destroyed versions whose keys are in the backup nevertheless, for it is older.
    """

    keyring: str
    at: datetime
    revision: int | None
    made: datetime | None
    sha256: str
    versions: tuple[int, ...]
    findings: tuple[DrillFinding, ...]
    still_held: tuple[int, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the keyring could be restored from this backup: what Evidence.drilled needs."""
        return not self.findings

    @property
    def event(self) -> str:
        """What the audit log calls it."""
        return SUCCEEDED if self.succeeded else UNSUCCESSFUL

    def to_json(self) -> dict[str, Any]:
        """As state, the audit log and ``--json`` have it."""
        return {
            "keyring": self.keyring,
            "at": self.at.isoformat(),
            "revision": self.revision,
            "made": self.made.isoformat() if self.made else None,
            "sha256": self.sha256,
            "versions": list(self.versions),
            "findings": [
                {"code": each.code.value, "why": each.why, "hint": each.hint}
                for each in self.findings
            ],
            "still_held": list(self.still_held),
        }

    @classmethod
    def from_json(cls, told: Any) -> Drilled:
        """What to_json() told; raises InvalidInput for anything else."""
        try:
            return cls(
                str(told["keyring"]),
                datetime.fromisoformat(told["at"]),
                told["revision"],
                datetime.fromisoformat(told["made"]) if told["made"] else None,
                str(told["sha256"]),
                tuple(map(int, told["versions"])),
                tuple(
                    DrillFinding(Found(each["code"]), str(each["why"]), str(each["hint"]))
                    for each in told["findings"]
                ),
                tuple(map(int, told["still_held"])),
            )
        except (KeyError, ValueError, TypeError, AttributeError):
            raise InvalidInput("what is kept of the last restore drill cannot be read") from None


def drill(backups: Backups, by: Key, present: Keyring, *, at: datetime) -> Drilled:
    """Try the newest backup against the ``present`` keyring; what fails of it is a finding.

    Raises as tried().
    """
    try:
        kept = newest(backups)
        if kept is None:
            finding = DrillFinding(
                Found.NO_BACKUP, f"there is no backup of {present.name} in {backups.place}"
            )
            return Drilled(present.name, at, None, None, "", (), (finding,))
        data = backups.read(kept)
    except Failure as failure:
        return _unreadable(present.name, failure, b"", None, at)
    return tried(data, by, present, at=at)


def tried(data: bytes, by: Key, present: Keyring | None, *, at: datetime) -> Drilled:
    """Try this backup, as drill() does: for one that is fetched from elsewhere.

    Without a ``present`` keyring, as on a machine that has none, it is shown that the backup opens,
    is whole and decrypts its own canaries, and not that it is of the newest keys. Raises NotOpened,
    LibraryMissing or InvalidInput where ``by`` is of no use: that tells nothing of the backup.
    """
    header: Header | None = None
    name = present.name if present else ""
    try:
        header = header_of(data)
        name = name or header.keyring
        if present and (header.keyring != name or not authentic(data, present)):
            return _done(present, header, data, at, (), (_forged(header, name),))
        restored = opened_backup(data, by)
    except (NotOpened, LibraryMissing, InvalidInput):
        raise
    except Failure as failure:
        return _unreadable(name, failure, data, header, at)
    present = present or restored
    findings: list[DrillFinding] = []
    proven: list[int] = []
    for version in present.versions.all:
        if version.state is not State.DESTROYED:
            wrong = _wrong(version.number, present, restored, header)
            if wrong is None:
                proven.append(version.number)
            else:
                findings.append(wrong)
    return _done(present, header, data, at, tuple(proven), tuple(findings))


def missed(
    last: Drilled | None, *, every: timedelta, since: datetime, now: datetime
) -> DrillFinding | None:
    """What is wrong with the last drill of a keyring that has backups ``since`` then; else None."""
    if last is None:
        if now - since <= every:
            return None
        return DrillFinding(
            Found.NEVER, "no restore drill was ever made", "run certrotd keys drill"
        )
    if not last.succeeded:
        first = last.findings[0]
        return DrillFinding(
            Found.FAILED, f"the restore drill of {stamp(last.at)} failed: {first.why}", first.hint
        )
    if not timedelta(0) <= now - last.at <= every:
        why = f"the last restore drill is of {stamp(last.at)}"
        return DrillFinding(Found.OVERDUE, why, "run certrotd keys drill")
    return None


def _wrong(number: int, present: Keyring, restored: Keyring, header: Header) -> DrillFinding | None:
    """The first thing that is wrong with a version in the backup."""
    entry = restored.entries.get(number)
    if entry is None or entry.secret is None:
        why = f"version {number} is not in the backup"
        return DrillFinding(Found.MISSING, why, "make a backup now")
    if entry.fingerprint != present.entries[number].fingerprint:
        why = f"version {number} of the backup is another key"
        return DrillFinding(Found.OTHER_KEY, why, "make a backup now; keep the old ones")
    old, now = restored.key(number), present.key(number)
    made = (header.canaries.get(number, b""), canary(present.name, now))
    if not all(opens(present.name, old, each) for each in made):
        why = f"version {number} of the backup does not decrypt what the present key encrypted"
        return DrillFinding(Found.CANARY, why, "make a backup now; keep the old ones")
    return None


def _forged(header: Header, name: str) -> DrillFinding:
    why = "the backup is damaged, or not made by this keyring's certrotd"
    if header.keyring != name:
        why = f"the backup is of {header.keyring}, not of {name}"
    hint = "do not restore it; make one now, and find out what changed or wrote it"
    return DrillFinding(Found.FORGED, why, hint)


def _unreadable(
    name: str, failure: Failure, data: bytes, header: Header | None, at: datetime
) -> Drilled:
    finding = DrillFinding(Found.UNREADABLE, failure.message, failure.hint)
    revision, made = (header.revision, header.made) if header else (None, None)
    return Drilled(name, at, revision, made, _sha256(data), (), (finding,))


def _done(
    present: Keyring,
    header: Header,
    data: bytes,
    at: datetime,
    proven: tuple[int, ...],
    findings: tuple[DrillFinding, ...],
) -> Drilled:
    gone = {each.number for each in present.versions.in_state(State.DESTROYED)}
    held = tuple(sorted(gone & header.live.keys()))
    return Drilled(
        present.name, at, header.revision, header.made, _sha256(data), proven, findings, held
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if data else ""
