"""The census: how many ciphertexts are left under each key that no longer encrypts.

Taken by looking at datasets, or by programs of the operator's, beside the scheduler and as often as
the watching room looks; kept as a document, so that decisions go by what was counted and when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.clock import Clock, Deadline
from certrotd.config.datasets import CommandDatasetEntry, DatasetEntry
from certrotd.config.environment import reveal
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.jsontext import parsed
from certrotd.keyring.evidence import Count, Lacking, NotCounted
from certrotd.keyring.states import State, Versions
from certrotd.process import environment, run
from certrotd.rotation.step import JSON
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:  # what only datasets need is loaded for them
    from certrotd.datasets.census import Tally

Counts = Mapping[int, Mapping[str, Count]]
"""The last count of every dataset, by version and name."""
COUNTED = (State.DECRYPT_ONLY, State.RETIRED, State.DISABLED, State.COMPROMISED)
"""The states of versions that are counted: those that no longer encrypt, and have a key."""
MAX_ANSWER = 1000
LARGEST = 10**18


@dataclass(frozen=True)
class Census:
    """The last counts, and the datasets that could not be counted when it was last tried."""

    counts: Counts = field(default_factory=dict)
    failed: Mapping[str, NotCounted] = field(default_factory=dict)


def still_of(counts: Counts, versions: Versions) -> Counts:
    """Those counts that are of the time since each version last stopped encrypting."""
    kept: dict[int, dict[str, Count]] = {}
    for version in versions.in_state(*COUNTED):
        since, kept[version.number] = version.encrypted_until, {}
        for name, count in counts.get(version.number, {}).items():
            if since is None or count.zero_since is None or count.zero_since >= since:
                kept[version.number][name] = count
            elif count.at >= since:
                kept[version.number][name] = replace(count, zero_since=count.at)
    return kept


def census_in(document: Document) -> TypedDocument[Census]:
    """The last counts of a keyring, by version and dataset."""
    return TypedDocument(document, _parse, _render, loss=", and counted anew")


def counted(name: str, entry: CommandDatasetEntry, told: Mapping[str, str], clock: Clock) -> Count:
    """The count of one dataset by its program, which is ``told`` what to count.

    Raises Transient, or NeedsOperator for a program that does not print one number.
    """
    argv, at = entry.census, clock.now()
    ran = run(
        argv,
        what=argv[0],
        deadline=Deadline(clock, entry.timeout.total_seconds()),
        variables=environment({**reveal(entry.environment), **told}),
        errors_too=False,
        most=MAX_ANSWER,
    )
    many = len(ran.output) > MAX_ANSWER  # for which it is killed
    if ran.status != 0 and not many:
        raise Transient(f"the census of {name} was not taken: {argv[0]} {ran.how}")
    text = ran.output.strip()
    if many or not text.isdigit() or int(text) > LARGEST:
        raise NeedsOperator(
            f"the census of {name} was not taken: {argv[0]} did not print a number",
            hint="it prints how many ciphertexts are left, and nothing else",
        )
    # what came while it counted is counted next time
    return Count(int(text), at, method=f"by {argv[0]}")


@dataclass(frozen=True)
class Taken:
    """What one round of counting came to."""

    census: Census
    failures: Sequence[tuple[str, Failure]]


def take(
    datasets: Mapping[str, DatasetEntry],
    versions: Mapping[int, str],
    before: Counts,
    clock: Clock,
    keyring: str,
    tally: Callable[[str], Tally],
) -> Taken:
    """Count every dataset for every version (with its key id); what fails keeps its last count.

    ``tally`` counts those that certrotd itself can read, for all versions at once.
    """
    counts: dict[int, dict[str, Count]] = {each: dict(before.get(each, {})) for each in versions}
    failures: list[tuple[str, Failure]] = []
    failed: dict[str, NotCounted] = {}
    for name, entry in datasets.items():
        at = clock.now()
        try:
            for number, count in _counted(name, entry, versions, clock, keyring, tally):
                counts[number][name] = count.after(counts[number].get(name))
        except Failure as failure:
            failures.append((name, failure))
            failed[name] = not_counted(failure, at)
    return Taken(Census(counts, failed), failures)


def not_counted(failure: Failure, at: datetime) -> NotCounted:
    """Why a dataset was not counted at ``at``."""
    from certrotd.datasets.port import CutShort

    code = Lacking.CUT_SHORT if isinstance(failure, CutShort) else Lacking.UNREACHABLE
    return NotCounted(code, at, failure.message)


def count_of(tally: Tally, version: int, at: datetime) -> Count:
    """What a tally says of one version."""
    indexes, method = tally.indexes.get(version, 0), tally.method
    return Count(tally.left(version), at, tally.unopened, method=method, indexes=indexes)


def _counted(
    name: str,
    entry: DatasetEntry,
    versions: Mapping[int, str],
    clock: Clock,
    keyring: str,
    tally: Callable[[str], Tally],
) -> Iterator[tuple[int, Count]]:
    if isinstance(entry, CommandDatasetEntry):
        for number, key_id in versions.items():
            told = {
                "CERTROTD_KEYRING": keyring,
                "CERTROTD_VERSION": str(number),
                "CERTROTD_KEY_ID": key_id,
            }
            yield number, counted(name, entry, told, clock)
        return
    at, counts = clock.now(), tally(name)
    for number in versions:
        yield number, count_of(counts, number, at)


def _render(census: Census) -> bytes:
    counts = {
        str(number): {name: _count_json(each) for name, each in counts.items()}
        for number, counts in census.counts.items()
    }
    failed = {
        name: [each.code.value, each.at.isoformat(), each.why]
        for name, each in census.failed.items()
    }
    return json.dumps({"counts": counts, "failed": failed}).encode()


def _count_json(count: Count) -> list[JSON]:
    first = count.zero_since.isoformat() if count.zero_since else None
    return [count.left, count.at.isoformat(), count.unopened, first, count.method, count.indexes]


def _parse(data: bytes) -> Census:
    match parsed(data):
        case {"counts": dict() as counts, "failed": dict() as failed}:
            return Census(
                {
                    int(number): {name: _count(each) for name, each in named.items()}
                    for number, named in _mappings(counts)
                },
                {name: _not_counted(each) for name, each in failed.items()},
            )
    raise ValueError("not a census")


def _count(told: object) -> Count:
    match told:
        case [int() as left, str() as at, int() as unopened, first, str() as how, int() as indexes]:
            since = _moment(str(first)) if first is not None else None
            return Count(left, _moment(at), unopened, since, how, indexes)
    raise ValueError("not a count")


def _not_counted(told: object) -> NotCounted:
    match told:
        case [str() as code, str() as at, str() as why]:
            return NotCounted(Lacking(code), _moment(at), why)
    raise ValueError("not a failure")


def _mappings(told: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, counts in told.items():
        if not isinstance(counts, dict):
            raise ValueError("not a census")
        yield number, counts


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at
