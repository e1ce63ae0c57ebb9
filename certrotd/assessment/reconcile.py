"""Every transition of the span has its audit record, and the other way; what has not is told."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from certrotd.assessment.exceptions import Exceptional, Kind
from certrotd.assessment.facts import KeyringFacts, Span
from certrotd.assessment.transitions import Recorded, recorded
from certrotd.audit.record import AuditRecord
from certrotd.audit.verify import Verification
from certrotd.errors import InvalidInput
from certrotd.keyring.states import Transition

LATE = timedelta(days=1)
"""A record that follows its transition later than this was not written with it."""

Place = tuple[str, int, Transition]
"""A transition of a version of a keyring."""


@dataclass(frozen=True)
class Reconciled:
    """The record of each transition of the span that has one, and what does not agree."""

    records: Mapping[Place, Recorded]
    exceptions: tuple[Exceptional, ...]


def reconcile(
    keyrings: Sequence[KeyringFacts],
    records: Iterable[AuditRecord],
    chain: Verification,
    span: Span,
) -> Reconciled:
    """Compare what keyrings and audit log say of the span.

    ``records`` are those of the span or more; ``chain`` is what verify() found of the whole log.
    """
    exceptions = []
    if chain.broken is not None:
        exceptions.append(Exceptional(Kind.CHAIN, str(chain.broken), seq=chain.broken.seq))
    told: list[Recorded] = []
    for each in records:
        try:
            found = recorded(each)
        except InvalidInput as error:
            exceptions.append(Exceptional(Kind.MALFORMED, error.message, seq=each.seq))
            continue
        if found is not None and found.transition.at in span:
            told.append(found)
    there = [
        (keyring.name, facts.version.number, transition)
        for keyring in keyrings
        for facts in keyring.versions
        for transition in facts.version.transitions
        if transition.at in span
    ]
    waiting: defaultdict[tuple[object, ...], deque[Recorded]] = defaultdict(deque)
    for one in told:
        waiting[_key((one.keyring, one.number, one.transition))].append(one)
    matched: dict[Place, Recorded] = {}
    for place in there:
        record = waiting[_key(place)].popleft() if waiting[_key(place)] else None
        if record is not None:
            matched.setdefault(place, record)
        exceptions += _of_transition(place, record)
    known = {_key(place) for place in there}
    for key, left in waiting.items():
        exceptions += [_without_transition(each, known=key in known) for each in left]
    return Reconciled(matched, tuple(exceptions))


def _of_transition(place: Place, record: Recorded | None) -> Iterator[Exceptional]:
    name, number, transition = place
    what = f"version {number} became {transition.to} ({transition.code})"
    if record is None:
        text = f"{what}, and the audit log does not say so"
        yield Exceptional(Kind.UNRECORDED, text, name, number, transition.at)
        return
    if record.transition.why != transition.why:
        text = f"{what} because: {transition.why}; in the log because: {record.transition.why}"
        yield Exceptional(Kind.DIFFERS, text, name, number, transition.at, record.seq)
    if not timedelta(0) <= record.appended - transition.at <= LATE:
        text = f"{what}, and that was recorded at {record.appended}"
        yield Exceptional(Kind.LATE, text, name, number, transition.at, record.seq)


def _without_transition(each: Recorded, *, known: bool) -> Exceptional:
    """A record that is left when every transition has had its own."""
    to, code = each.transition.to, each.transition.code
    text = f"the audit log has version {each.number} become {to} ({code})"
    text += " more often than it did" if known else ", and no keyring here does"
    kind = Kind.TWICE if known else Kind.UNKNOWN
    return Exceptional(kind, text, each.keyring, each.number, each.transition.at, each.seq)


def _key(place: Place) -> tuple[object, ...]:
    name, number, transition = place
    return name, number, transition.at, transition.code, transition.to
