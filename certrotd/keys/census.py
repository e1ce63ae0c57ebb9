"""The census: how many ciphertexts are left under each key that no longer encrypts.

Taken by looking at datasets, or by programs of the operator's, beside the scheduler and as often as
the watching room looks; kept as a document, so that decisions go by what was counted and when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.clock import Clock, Deadline
from certrotd.config.datasets import CommandDatasetEntry, DatasetEntry
from certrotd.config.environment import reveal
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.jsontext import parsed
from certrotd.keyring.evidence import Count
from certrotd.keyring.states import State
from certrotd.process import environment, run
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:  # what only datasets need is loaded for them
    from certrotd.datasets.census import Tally

Census = Mapping[int, Mapping[str, Count]]
COUNTED = (State.DECRYPT_ONLY, State.RETIRED, State.DISABLED, State.COMPROMISED)
"""The states of versions that are counted: those that no longer encrypt, and have a key."""
MAX_ANSWER = 1000
LARGEST = 10**18


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
    return Count(int(text), at)  # what came while it counted is counted next time


@dataclass(frozen=True)
class Taken:
    """What one round of counting came to."""

    census: Census
    failures: Sequence[tuple[str, Failure]]


def take(
    datasets: Mapping[str, DatasetEntry],
    versions: Mapping[int, str],
    before: Census,
    clock: Clock,
    keyring: str,
    tally: Callable[[str], Tally],
) -> Taken:
    """Count every dataset for every version (with its key id); what fails keeps its last count.

    ``tally`` counts those that certrotd itself can read, for all versions at once.
    """
    census: dict[int, dict[str, Count]] = {each: dict(before.get(each, {})) for each in versions}
    failures: list[tuple[str, Failure]] = []
    for name, entry in datasets.items():
        if not isinstance(entry, CommandDatasetEntry):
            try:
                at, counts = clock.now(), tally(name)
            except Failure as failure:
                failures.append((name, failure))
                continue
            for number in versions:
                census[number][name] = Count(counts.left(number), at)
            continue
        for number, key_id in versions.items():
            told = {
                "CERTROTD_KEYRING": keyring,
                "CERTROTD_VERSION": str(number),
                "CERTROTD_KEY_ID": key_id,
            }
            try:
                census[number][name] = counted(name, entry, told, clock)
            except Failure as failure:
                failures.append((name, failure))
    return Taken(census, failures)


def _render(census: Census) -> bytes:
    return json.dumps(
        {
            str(number): {name: [each.left, each.at.isoformat()] for name, each in counts.items()}
            for number, counts in census.items()
        }
    ).encode()


def _parse(data: bytes) -> Census:
    told = parsed(data)
    if not isinstance(told, dict):
        raise ValueError("not a census")
    return {
        int(number): {name: Count(int(left), _moment(at)) for name, (left, at) in counts.items()}
        for number, counts in _mappings(told)
    }


def _mappings(told: Mapping[str, object]) -> Sequence[tuple[str, Mapping[str, tuple[int, str]]]]:
    found = []
    for number, counts in told.items():
        if not isinstance(counts, dict) or not all(map(_is_count, counts.values())):
            raise ValueError("not a census")
        found.append((number, counts))
    return found


def _is_count(told: object) -> bool:
    match told:
        case [int(), str()]:
            return True
    return False


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at
