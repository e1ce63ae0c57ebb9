"""What others who know a key could read: what it protected, since when, and what is to be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certrotd.config.datasets import CommandDatasetEntry, DatasetEntry, SqlDatasetEntry
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.errors import Failure
from certrotd.keyring.keyring import Use
from certrotd.keyring.states import State, Version
from certrotd.keys.case import Case
from certrotd.keys.exposures import Noted
from certrotd.keys.keyring_store import NoKeyring
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.keys.report import backups_of
from certrotd.lifecycle.decision import DAEMON
from certrotd.rotation.unexpected import as_failure
from certrotd.wording import stamp


@dataclass(frozen=True)
class Protected:
    """A dataset: where it is, how many values are under the key now (None: ``why`` not known)."""

    name: str
    place: str
    left: int | None
    why: str
    contains: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All that is known of what one version protected; ``noted`` when it was compromised."""

    version: Version
    since: datetime | None
    until: datetime | None
    use: Use
    custodians: tuple[str, ...]
    outputs: tuple[str, ...]
    consumers: tuple[str, ...]
    datasets: tuple[Protected, ...]
    drains: tuple[tuple[str, datetime | None], ...]
    backups: tuple[str, ...]
    noted: Noted | None = None

    def to_do(self) -> Iterator[str]:
        """What certrotd does not do, in the order in which it helps."""
        name = self.version.number
        if self.version.state is State.ACTIVE:
            yield f"version {name} still encrypts: certrotd keys compromise replaces it"
        for each in self.datasets:
            for secret in each.contains:
                yield f"change at the other end: {secret} (in {each.name})"
            if not each.contains:
                yield f"nobody declared which secrets {each.name} contains: see for yourself"
        for each in self.datasets:
            if each.left is None:
                yield f"find out what is left in {each.name}: {each.why}"
            elif each.left and self.version.state is not State.ACTIVE:
                yield f"{each.left:,} values of {each.name} are still to be re-encrypted"
        for what, over in self.drains:
            end = f"until {stamp(over)}" if over else "as long as the key encrypts"
            yield f"{what} hold ciphertext of it {end}: end them if that is too long"
        for place in self.backups:
            yield f"{place} has the key: whoever can open it has it, too"
        yield "copies of the data that others took before (dumps, replicas, logs) stay readable"


def exposure_of(keyring: ConfiguredKeyring, number: int) -> Report:
    """The report of one version; every dataset that can be counted is. Raises Failure."""
    case = Case(keyring.policy, keyring.look(), keyring.attempts(), keyring.clock.now(), DAEMON)
    if case.standing.versions is None:
        raise NoKeyring(keyring.policy.name)
    version, entry = case.versions.version(number), keyring.entry
    until = None if version.state is State.ACTIVE else version.encrypted_until
    began = [each.at for each in version.transitions if each.to is State.ACTIVE]
    backups, _ = backups_of(keyring)
    return Report(
        version,
        began[0] if began else None,
        until,
        case.use(number),
        entry.custodians,
        case.policy.outputs,
        tuple(sorted(entry.consumers)),
        tuple(_protected(keyring, case, n, e, number) for n, e in sorted(entry.datasets.items())),
        tuple((what, until + age if until else None) for what, age in sorted(entry.drains.items())),
        tuple(each.place for each in backups if number in each.versions),
        (keyring.exposures.peek() or {}).get(number),
    )


def noted(keyring: ConfiguredKeyring, number: int) -> Noted:
    """Count what is under a version now, and keep that; what cannot be counted holds up nothing.

    Raises DiskTrouble.
    """
    at, known = keyring.clock.now(), dict(keyring.exposures.read() or {})
    try:
        found = exposure_of(keyring, number)
    except (Failure, OSError) as error:
        why = str(as_failure(error, "count what it protects"))
        known[number] = Noted(number, at, unknown=dict.fromkeys(keyring.entry.datasets, why))
    else:
        known[number] = Noted(
            number,
            at,
            {each.name: each.left for each in found.datasets if each.left is not None},
            {each.name: each.why for each in found.datasets if each.left is None},
            {each.name: each.contains for each in found.datasets},
            found.use.first,
            found.use.last,
        )
    keyring.exposures.write(known)
    return known[number]


def _protected(
    keyring: ConfiguredKeyring, case: Case, name: str, entry: DatasetEntry, number: int
) -> Protected:
    if isinstance(entry, CommandDatasetEntry):
        place, count = (
            f"counted by {entry.census[0]}",
            case.standing.census.get(number, {}).get(name),
        )
        why = "" if count else "its program has not counted it for this version"
        return Protected(name, place, count.left if count else None, why, entry.contains)
    if isinstance(entry, SqlDatasetEntry):
        place = f"{entry.table} ({', '.join(entry.columns)})"
    elif isinstance(entry, FilesDatasetEntry):
        place = ", ".join(map(str, entry.roots))
    else:
        place = f"{', '.join(entry.resources)} in {', '.join(entry.namespaces) or 'the cluster'}"
    try:
        left = keyring.stored.tally(name).left(number)
    except Failure as failure:
        return Protected(name, place, None, str(failure), entry.contains)
    return Protected(name, place, left, "", entry.contains)
