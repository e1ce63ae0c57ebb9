"""What is known of a keyring, as the report for assessors takes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from certrotd.assessment.facts import (
    BackupFacts,
    ConsumerFacts,
    DatasetFacts,
    DrainFacts,
    KeyringFacts,
    VersionFacts,
)
from certrotd.errors import Failure
from certrotd.escrow.backup import header_of
from certrotd.keyring.evidence import Count
from certrotd.keyring.states import State
from certrotd.keys.case import Case
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.lifecycle.decision import DAEMON

MOST_BACKUPS = 100


def facts_of(keyring: ConfiguredKeyring) -> KeyringFacts | None:
    """All that is known of a keyring, None if it was never written; raises Failure."""
    found = keyring.store.inspect()
    if found is None:
        return None
    entry, policy, last = keyring.entry, keyring.policy, keyring.drills.peek()
    backups, unreadable = backups_of(keyring)
    case = Case(policy, keyring.look(), keyring.attempts(), keyring.clock.now(), DAEMON)
    return KeyringFacts(
        name=policy.name,
        owner=entry.owner or "",
        custodians=entry.custodians,
        classification=entry.classification,
        purpose=entry.purpose or "",
        cryptoperiod=policy.cryptoperiod,
        stored=keyring.store.place,
        wrapped_by=tuple(keyring.kek_words(name) for name in sorted(found.keks)),
        versions=tuple(
            VersionFacts(
                version,
                (of := found.entries[version.number]).algorithm,
                of.fingerprint,
                of.id,
                of.use,
            )
            for version in found.versions.all
        ),
        outputs=policy.outputs,
        consumers=tuple(_consumers(keyring)),
        datasets=tuple(_datasets(case)),
        drains=tuple(_drains(case)),
        drills=(last,) if last is not None else (),
        backups=backups,
        unreadable_backups=unreadable,
    )


def _consumers(keyring: ConfiguredKeyring) -> Iterator[ConsumerFacts]:
    """Every consumer acknowledged when the last rotation that tells them was finished."""
    lines = reversed(keyring.history.lines())
    told = (each for each in lines if each["outcome"] == "finished" and "told" in each["facts"])
    last = next(told, None)
    at = datetime.fromisoformat(last["ended"]) if last else None
    for name, entry in sorted(keyring.entry.consumers.items()):
        yield ConsumerFacts(name, at if entry.acknowledge is not None else None)


def _datasets(case: Case) -> Iterator[DatasetFacts]:
    """The last census of each, over all versions that were counted."""
    for name in sorted(case.policy.datasets):
        counts: list[Count] = [each[name] for each in case.standing.census.values() if name in each]
        left = sum(each.left for each in counts) if counts else None
        yield DatasetFacts(name, left, max((each.at for each in counts), default=None))


def _drains(case: Case) -> Iterator[DrainFacts]:
    """Until when each holds ciphertext of a key that encrypts no more."""
    old = [each for each in case.versions.all if each.state is not State.ACTIVE]
    ended = [each.encrypted_until for each in old if each.encrypted_until]
    for what, age in sorted(case.policy.drains.items()):
        yield DrainFacts(what, max(ended) + age if ended else None)


def backups_of(keyring: ConfiguredKeyring) -> tuple[tuple[BackupFacts, ...], tuple[str, ...]]:
    """The backups that there are, and what is wrong with those that cannot be read."""
    facts: list[BackupFacts] = []
    wrong: list[str] = []
    backups = keyring.backups
    try:
        kept = backups.list()[:MOST_BACKUPS] if backups else []
    except Failure as failure:
        return (), (str(failure),)
    for each in kept:
        assert backups is not None, "it has listed them"
        place = f"{backups.place}/{each.name}"
        try:
            header = header_of(backups.read(each))
        except Failure as failure:
            wrong.append(f"{place}: {failure}")
            continue
        live = tuple(version.number for version in header.versions if version.live)
        sealed_to = str(header.sealed_to)
        facts.append(BackupFacts(place, header.revision, header.made, sealed_to, live))
    return tuple(facts), tuple(wrong)
