"""Rehearsals of an emergency, by hand and on schedule, and where the last one is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.audit.record import Happened
from certrotd.config.rehearsal import RehearsalEntry
from certrotd.errors import LockHeld
from certrotd.escrow.backup import sealed_backup
from certrotd.escrow.configured import recipients_of
from certrotd.jsontext import parsed
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.rehearsal import Rehearsed, missed
from certrotd.keys.keyring_store import NoKeyring
from certrotd.lifecycle.audited import Audit
from certrotd.lifecycle.finding import Finding
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:
    from certrotd.keys.managed import ConfiguredKeyring

DIRECTORY = "rehearsal"
"""Below the state directory: where copies are made, under the name of each keyring."""


def rehearsals_in(document: Document) -> TypedDocument[Rehearsed]:
    """The last rehearsal of a keyring."""
    return TypedDocument(
        document,
        lambda data: Rehearsed.from_json(parsed(data)),
        lambda value: json.dumps(value.to_json()).encode(),
        loss=", and a new rehearsal is needed",
    )


def places_in(document: Document) -> TypedDocument[tuple[Path, ...]]:
    """Where copies of a keyring were made outside the state directory, and may be still."""

    def parse(data: bytes) -> tuple[Path, ...]:
        told = parsed(data)
        if not isinstance(told, list):
            raise ValueError("not a list of paths")
        return tuple(map(Path, map(str, told)))

    return TypedDocument(document, parse, lambda paths: json.dumps([*map(str, paths)]).encode())


def sweep(keyring: ConfiguredKeyring) -> None:
    """Remove what a rehearsal that was killed left, also where none would be made now.

    Raises Failure.
    """
    if any(each.exists() for each in _places(keyring)):
        with suppress(LockHeld), keyring.rehearsal_lock():  # else somebody works with it
            _remove(keyring)


def _place(directory: Path, name: str) -> Path:
    """Nobody else has such a name: what is there is removed."""
    return directory / f"certrotd-rehearsal-{name}"


def _places(keyring: ConfiguredKeyring) -> Sequence[Path]:
    name = keyring.policy.name
    known = keyring.rehearsal_places.peek() or ()
    kept = (each for each in known if each == _place(each.parent, name))
    return [keyring.state_dir / DIRECTORY / name, *kept]


def _remove(keyring: ConfiguredKeyring) -> None:
    """Remove all copies, under the lock; where a disk is away, that is remembered."""
    from certrotd.state.scratch import remove

    for each in _places(keyring):
        remove(each)
    if known := keyring.rehearsal_places.read():
        left = (each for each in known if each.exists() or not each.parent.is_dir())
        keyring.rehearsal_places.write(tuple(left))


def _directory(keyring: ConfiguredKeyring, entry: RehearsalEntry) -> Path:
    """Where this rehearsal makes its copies, remembered before they are there."""
    if entry.directory is None:
        return keyring.state_dir / DIRECTORY / keyring.policy.name
    place = _place(entry.directory, keyring.policy.name)
    known = keyring.rehearsal_places.read() or ()
    keyring.rehearsal_places.write((*(each for each in known if each != place), place))
    return place


def rehearsed(keyring: ConfiguredKeyring, audit: Audit) -> Rehearsed:
    """Rehearse a compromise of the active key now; what came of it is kept, and in the audit log.

    Raises Failure where there is nothing to rehearse with, and Stopping.
    """
    from certrotd.datasets.scratch import Limits
    from certrotd.keys.managed import CHANCE
    from certrotd.keys.rehearsing import Rehearsal
    from certrotd.state.scratch import scratch_directory

    entry, name = keyring.entry.rehearsal or RehearsalEntry(), keyring.policy.name
    found = keyring.store.read()
    if found is None or found.keyring.versions.active is None:
        raise NoKeyring(name)
    with ExitStack() as stack:
        stack.enter_context(keyring.rehearsal_lock())
        stack.callback(_remove, keyring)
        _remove(keyring)
        place = _directory(keyring, entry)
        directory = stack.enter_context(scratch_directory(place, room=entry.bytes))
        backs_up = _sealing(keyring) if keyring.entry.backup else None
        came_to = Rehearsal(
            policy=keyring.policy,
            world=replace(keyring.world(), escrow=backs_up),
            keyring=found.keyring,
            outlets=keyring.outlets,
            entries=keyring.entry.datasets,
            limits=Limits(entry.rows, entry.bytes),
            directory=directory,
            draw=CHANCE.below,
        ).run()
        audit.record(Happened(came_to.event, str(keyring.policy.id), "", came_to.to_json()))
        keyring.rehearsals.write(came_to)  # only what is recorded counts
    return came_to


def rehearse_when_due(keyring: ConfiguredKeyring, audit: Audit) -> Sequence[Finding]:
    """Rehearse in half of the time; what is wrong with the last one then. Raises Failure."""
    from certrotd.keys.rehearsing import Stopping

    sweep(keyring)
    entry, now = keyring.entry.rehearsal, keyring.clock.now()
    found = keyring.store.inspect()
    if entry is None or found is None or found.versions.active is None:
        return ()
    last = keyring.rehearsals.peek()
    due = last is None or not last.succeeded or not timedelta(0) <= now - last.at <= entry.every / 2
    if due:
        with suppress(Stopping, LockHeld):  # the next look makes it
            last = rehearsed(keyring, audit)
    since = found.versions.all[0].transitions[0].at
    wrong = missed(last, every=entry.every, since=since, now=keyring.clock.now())
    if wrong is None:
        return ()
    code, words = wrong
    todo = "See docs/keys/README.md#rehearsals, and: certrotd keys rehearse " + keyring.policy.name
    return (Finding(code.value.replace("-", "_"), words, alert="trouble", todo=todo),)


def _sealing(keyring: ConfiguredKeyring) -> Callable[[Keyring], str]:
    """A backup that is encrypted, and kept nowhere."""
    entry = keyring.entry.backup
    assert entry is not None, "it is asked for where there is one"

    def back_up(kept: Keyring) -> str:
        data = sealed_backup(kept, recipients_of(entry), at=keyring.clock.now())
        return f"{len(data)} bytes, kept nowhere"

    return back_up
