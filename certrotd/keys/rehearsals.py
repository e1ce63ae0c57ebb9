"""Rehearsals of an emergency, by hand and on schedule, and where the last one is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
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
    place = keyring.state_dir / DIRECTORY / name
    if entry.directory is not None:  # what is there is removed: nobody else has such a name
        place = entry.directory / f"certrotd-rehearsal-{name}"
    with keyring.rehearsal_lock(), scratch_directory(place, room=entry.bytes) as directory:
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
