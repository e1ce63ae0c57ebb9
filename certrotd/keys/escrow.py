"""Backups of a keyring by hand and on schedule: make one, try one, go on from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from certrotd.audit.record import Happened
from certrotd.errors import Failure, NeedsOperator
from certrotd.escrow.age import Key
from certrotd.escrow.backup import header_of, opened_backup
from certrotd.escrow.configured import drill_key_of
from certrotd.escrow.drill import Drilled, DrillFinding, drill, missed, tried
from certrotd.escrow.drill import Found as Wrong
from certrotd.escrow.errors import BackupUnreadable, NotOpened
from certrotd.escrow.place import Backups, newest
from certrotd.escrow.restore import Destruction, restored
from certrotd.keyring.document import Unreadable
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.states import State
from certrotd.keys.keyring_store import Found
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.lifecycle.audited import Audit
from certrotd.lifecycle.finding import Finding


def back_up(keyring: ConfiguredKeyring, audit: Audit) -> str:
    """Make a backup now, and where it is; raises Failure."""
    if keyring.entry.backup is None:
        raise no_backup(keyring)
    with keyring.lock() as lease:
        world = keyring.world()
        kept = world.keyring()
        lease.check()
        place = keyring.back_up(kept)
        audit.record(Happened("keyring.backed_up", str(keyring.policy.id), "", {"backup": place}))
    return place


def drilled(
    keyring: ConfiguredKeyring, audit: Audit, by: Key, data: bytes | None = None
) -> Drilled:
    """Try the newest backup, or this one; what came of it is kept, and in the audit log.

    Where the keyring is gone or cannot be read, as on a second machine, nothing is kept: such a
    drill does not show that the newest keys would come back. Of ``data`` that is older than the
    newest backup, nothing is kept or recorded: it says nothing of the newest one. Raises Failure,
    as where ``by`` is of no use; then, too, the last drill stays what it was.
    """
    backups, present, now = keyring.backups, _present(keyring), keyring.clock.now()
    if data is None:
        if backups is None:
            raise no_backup(keyring)
        data = None if present else _newest(backups)
    if data is None:
        assert backups is not None and present is not None, "else there is data"  # noqa: PT018
        found = drill(backups, by, present.keyring, at=now)
    else:
        _check_name(data, keyring)
        found = tried(data, by, present.keyring if present else None, at=now)
        if present is not None and (older := _older(keyring, found)) is not None:
            return replace(found, findings=(older, *found.findings))
    audit.record(Happened(found.event, str(keyring.policy.id), "", found.to_json()))
    if present is not None:  # only what is recorded counts
        keyring.drills.write(found)
    return found


def _check_name(data: bytes, keyring: ConfiguredKeyring) -> None:
    with suppress(BackupUnreadable):  # which is what the drill finds
        if (told := header_of(data).keyring) != keyring.policy.name:
            raise _of_another(told, keyring)


def _older(keyring: ConfiguredKeyring, found: Drilled) -> DrillFinding | None:
    """That there is a newer backup than the one that was tried, if there is one."""
    kept, last = newest(keyring.backups) if keyring.backups else None, keyring.drills.peek()
    known = max(kept.revision if kept else 0, last.revision or 0 if last and last.succeeded else 0)
    if found.revision is None or found.revision >= known:
        return None
    return DrillFinding(
        Wrong.OLDER,
        f"the backup is of revision {found.revision}, and one of revision {known} was made: this "
        "drill does not count",
        "drill the newest one",
    )


def drill_when_due(keyring: ConfiguredKeyring, audit: Audit) -> Sequence[Finding]:
    """Drill where certrotd can open its backups, in half of the time; what is wrong then.

    What a person has to drill is a finding once it is late. Raises Failure.
    """
    entry, now = keyring.entry.backup, keyring.clock.now()
    found = keyring.store.inspect()
    if entry is None or found is None or not found.versions.all:
        return ()
    every, last = entry.drill.every, keyring.drills.peek()
    due = last is None or not last.succeeded or not timedelta(0) <= now - last.at <= every / 2
    if due and (key := drill_key_of(entry)) is not None:
        try:
            last = drilled(keyring, audit, key)
        except NotOpened as failure:
            return (_wrong("drill_failed", f"no restore drill can be made: {failure}", keyring),)
    since = found.versions.all[0].transitions[0].at
    wrong = missed(last, every=every, since=since, now=now)
    if wrong is None:
        return ()
    return (_wrong(wrong.code.value.replace("-", "_"), wrong.why, keyring),)


def _wrong(code: str, why: str, keyring: ConfiguredKeyring) -> Finding:
    todo = f"See docs/keys/backup.md, and: certrotd keys drill {keyring.policy.name}"
    return Finding(code, why, alert="trouble", todo=todo)


def _newest(backups: Backups) -> bytes:
    kept = newest(backups)
    if kept is None:
        raise NeedsOperator(
            f"there is no backup in {backups.place}", hint="copy one to this machine, and name it"
        )
    return backups.read(kept)


@dataclass(frozen=True)
class Back:
    """A keyring that goes on from a backup: its revision now, and what its operator is told."""

    revision: int
    notes: tuple[str, ...]


def restore(
    keyring: ConfiguredKeyring,
    audit: Audit,
    data: bytes,
    by: Key,
    *,
    anew: bool,
    destroyed: Callable[[], tuple[Destruction, ...]] = tuple,
) -> Back:
    """Go on from a backup, under the keyring's lock; raises Failure, and then nothing changed.

    What is there and cannot be read is kept aside. ``destroyed`` is what the audit log says. The
    revision is then above that of every backup that is kept.
    """
    name = keyring.policy.name
    if (told := header_of(data).keyring) != name:
        raise _of_another(told, keyring)
    backup = opened_backup(data, by)
    with keyring.lock() as lease:
        if keyring.journal.peek() is not None:
            raise NeedsOperator(
                f"a rotation of {name} is in flight",
                hint=f"finish it, or cancel it: certrotd keys cancel {name}",
            )
        present, (kept_up_to, unseen) = _present(keyring), _highest(keyring)
        after = restored(
            backup,
            present=present.keyring if present else None,
            known=max(keyring.store.highest(), kept_up_to),
            destroyed=destroyed(),
            anew=anew,
            at=keyring.clock.now(),
        )
        lease.check()
        kept = keyring.store.restore(after.keyring, present)
        details = {"revision": kept.keyring.revision, "backup": backup.revision}
        audit.record(Happened("keyring.restored", str(keyring.policy.id), "", details))
    return Back(kept.keyring.revision, (*after.notes, *_staged(kept.keyring), *unseen))


def _highest(keyring: ConfiguredKeyring) -> tuple[int, tuple[str, ...]]:
    """The highest revision of a backup that is kept, and what is told where nobody can look.

    One that is damaged counts, too: the next backup is to be newer than each that is there.
    """
    try:
        kept = newest(keyring.backups) if keyring.backups else None
    except Failure as failure:  # a disk that is broken does not keep the keys away
        return 0, (f"the next backup may not be the newest one that is kept: {failure}",)
    return (kept.revision if kept else 0), ()


def _staged(keyring: Keyring) -> Iterator[str]:
    """A backup is made before its newest key is used: that may have encrypted since."""
    waiting = keyring.versions.in_state(State.PRE_ACTIVE, State.SECONDARY)
    for version in waiting if keyring.versions.active is not None else ():
        yield (
            f"version {version.number} is {version.state}, and may have encrypted since the "
            f"backup: give it to everybody with certrotd keys activate {keyring.name}"
        )


def _present(keyring: ConfiguredKeyring) -> Found | None:
    """The keyring as it is, None if it is gone or cannot be read."""
    try:
        return keyring.store.read()
    except Unreadable:
        return None


def _of_another(told: str, keyring: ConfiguredKeyring) -> NeedsOperator:
    return NeedsOperator(f"the backup is of the keyring {told}, not of {keyring.policy.name}")


def no_backup(keyring: ConfiguredKeyring) -> NeedsOperator:
    """What to do where none is configured."""
    name = keyring.policy.name
    return NeedsOperator(
        f"the configuration does not say where {name} is backed up",
        hint=f"add backup: to keyrings.{name}",
    )
