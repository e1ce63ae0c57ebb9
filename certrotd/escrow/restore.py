"""The keyring as it goes on from a backup: no key is lost by it, and none comes back to life.

What is known of a version only grows: where the present keyring knows more of it than the backup,
its history stays, and one more transition says that a backup was restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.keyring.keyring import Entry, Keyring
from certrotd.keyring.states import Code, State, Transition, Version, Versions
from certrotd.wording import stamp


class NotRestored(NeedsOperator):
    """Restoring would lose what is there; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Destruction:
    """A version that was destroyed, as the audit log has it."""

    version: int
    at: datetime
    why: str


@dataclass(frozen=True)
class Restored:
    """The keyring to be written, and what an operator is told of it.

    Its revision is the highest that is known: what writes it makes it one higher.
    """

    keyring: Keyring
    notes: tuple[str, ...]


def restored(
    backup: Keyring,
    *,
    present: Keyring | None = None,
    known: int = 0,
    destroyed: Sequence[Destruction] = (),
    anew: bool = False,
    at: datetime,
) -> Restored:
    """The keyring of a backup, to be wrapped by KEKs and written.

    ``present`` is the keyring that can be read now, if any; ``known`` the highest revision that
    was ever written (the mark beside the keyring) or backed up; ``destroyed`` what the audit log
    says of it.
    ``anew`` lets an older backup go over a newer keyring. Raises NotRestored.
    """
    if present is not None:
        _check(backup, present, anew)
    notes: list[str] = []
    versions: list[Version] = []
    entries: dict[int, Entry] = {}
    now = {each.number: each for each in present.versions.all} if present else {}
    then = {each.number: each for each in backup.versions.all}
    for number in sorted(now.keys() | then.keys()):
        version = _version(then.get(number), now.get(number), backup.revision, at)
        source = backup if number in then else present
        assert source is not None, "it is in one of them"
        versions.append(version)
        entries[number] = source.entries[number]
        if number in now and present is not None:  # it counted on since the backup
            entries[number] = replace(entries[number], use=present.entries[number].use)
        if number not in then:
            notes.append(f"version {number} is newer than the backup, and is kept")
    for each in destroyed:
        _destroy(versions, each, at, notes)
    for version in versions:
        entry = entries[version.number]
        if version.state is State.DESTROYED and entry.secret is not None:
            entries[version.number] = replace(entry, secret=None, iv=b"")
            notes.append(
                f"version {version.number} was destroyed after the backup, and stays destroyed"
            )
    revision = max(backup.revision, known, present.revision if present else 0)
    try:
        keyring = Keyring(backup.name, revision, Versions(tuple(versions)), entries, backup.seal)
    except InvalidInput as error:
        raise NotRestored(f"the backup does not fit the keyring: {error.message}") from None
    if keyring.versions.active is None and keyring.versions.all:
        notes.append("no version encrypts: rotate to a new key, or activate the secondary one")
    return Restored(keyring, tuple(notes))


def _check(backup: Keyring, present: Keyring, anew: bool) -> None:
    if backup.name != present.name or backup.seal.material != present.seal.material:
        raise NotRestored(
            f"the backup of {backup.name} is of another keyring than the one that is there",
            hint="a keyring that was made anew has another seal: move the one that is there away "
            "if the backup is the right one",
        )
    for number in backup.entries.keys() & present.entries.keys():
        if backup.entries[number].fingerprint != present.entries[number].fingerprint:
            raise NotRestored(
                f"version {number} of the backup is another key than the one that is there",
                hint="restore it under another name, and decrypt with both",
            )
    if present.revision > backup.revision and not anew:
        raise NotRestored(
            f"the keyring can be read and is of revision {present.revision}, newer than the "
            f"backup's {backup.revision}",
            hint="there is nothing to restore; to go back: certrotd keys restore --older",
        )


def _version(then: Version | None, now: Version | None, revision: int, at: datetime) -> Version:
    """A version as it goes on, of which the backup or the present keyring may know nothing."""
    why = f"a backup of revision {revision} was restored"
    if now is None:
        assert then is not None, "it is in one of them"
        return then
    if then is None:
        encrypts = now.state in (State.ACTIVE, State.SECONDARY)
        return _decrypting(now, at, why) if encrypts else now
    if then.transitions[: len(now.transitions)] == now.transitions:
        return then
    if State.DESTROYED in (now.state, then.state):
        return now if now.state is State.DESTROYED else then
    if then.compromised and not now.compromised:
        return now.moved(Transition(State.COMPROMISED, at, Code.COMPROMISED, why))
    if now.compromised or now.was(State.RETIRED) or now.state is then.state:
        return now
    if (now.state, then.state) in _BACK and not (
        then.state is State.PRE_ACTIVE and now.was(State.ACTIVE)  # ciphertext under it exists
    ):
        return now.moved(Transition(then.state, at, Code.ROLLED_BACK, why))
    if now.state in (State.ACTIVE, State.SECONDARY):
        return _decrypting(now, at, why)
    return now


_BACK = {
    (State.ACTIVE, State.SECONDARY),
    (State.DECRYPT_ONLY, State.ACTIVE),
    (State.SECONDARY, State.ACTIVE),
    (State.SECONDARY, State.PRE_ACTIVE),
}


def _decrypting(version: Version, at: datetime, why: str) -> Version:
    return version.moved(Transition(State.DECRYPT_ONLY, at, Code.ROLLED_BACK, why))


_TO_DESTROYED = {
    State.SECONDARY: State.DECRYPT_ONLY,
    State.ACTIVE: State.DECRYPT_ONLY,
    State.DECRYPT_ONLY: State.RETIRED,
    State.RETIRED: State.DISABLED,
}
_CODES = {
    State.DECRYPT_ONLY: Code.REPLACED,
    State.RETIRED: Code.RETIRED,
    State.DISABLED: Code.DISABLED,
}


def _destroy(versions: list[Version], gone: Destruction, at: datetime, notes: list[str]) -> None:
    """Have a version destroyed of which the audit log says so, by a path that keys may go."""
    for index, version in enumerate(versions):
        if version.number != gone.version:
            continue
        if version.state is State.DESTROYED:
            return
        moved = version
        unknown = "it was destroyed since the backup: when this was, the backup does not tell"
        while to := _TO_DESTROYED.get(moved.state):
            moved = moved.moved(Transition(to, gone.at, _CODES[to], unknown))
        why = f"{gone.why}; recorded again when a backup was restored at {stamp(at)}"
        versions[index] = moved.moved(Transition(State.DESTROYED, gone.at, Code.DESTROYED, why))
        return
    notes.append(f"version {gone.version} was destroyed, and the backup is from before it")
