"""The report of key management: inventory, and what happened in a span of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from certrotd import wording
from certrotd.assessment.drills import drills
from certrotd.assessment.exceptions import ORDER, Exceptional, Kind
from certrotd.assessment.facts import KeyringFacts, Span, VersionFacts
from certrotd.assessment.periods import Period, period
from certrotd.assessment.reconcile import Place, reconcile
from certrotd.assessment.rehearsals import rehearsals
from certrotd.assessment.transitions import Recorded
from certrotd.audit.record import AuditRecord, Head
from certrotd.audit.verify import Verification
from certrotd.errors import InvalidInput
from certrotd.escrow.drill import Drilled
from certrotd.keyring.material import Algorithm
from certrotd.keyring.rehearsal import Rehearsed
from certrotd.keyring.states import Code, State, Transition

GCM_MESSAGES = 2**32
"""Messages that one key may encrypt under random nonces of 96 bits (NIST SP 800-38D, 8.3)."""
_RANDOM_NONCES = frozenset(
    {Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM}
    | {Algorithm.CHACHA20_POLY1305}
)
METHOD = "the wrapped key was removed from the keyring, whose history of it stays"


@dataclass(frozen=True)
class VersionReport:
    """One version: its facts, how long it encrypted, and by how much that was too long."""

    facts: VersionFacts
    period: Period | None
    exceeded: timedelta | None

    @property
    def number(self) -> int:
        return self.facts.version.number

    @property
    def state(self) -> State:
        return self.facts.version.state

    def first(self, code: Code | State) -> datetime | None:
        """When it first came into that state, or by that code; None if it never did."""
        for each in self.facts.version.transitions:
            if code in (each.code, each.to):
                return each.at
        return None


@dataclass(frozen=True)
class KeyringReport:
    """One keyring of the inventory, with all its versions."""

    facts: KeyringFacts
    versions: tuple[VersionReport, ...]


@dataclass(frozen=True)
class Event:
    """A transition of the span, and its audit record if it has one.

    ``held`` are backups, in words, that still hold a key that was destroyed.
    """

    keyring: str
    version: int
    transition: Transition
    record: Recorded | None
    before: int | None = None
    held: tuple[str, ...] = ()

    @property
    def by(self) -> str:
        """Who asked for it, in words."""
        return str(self.record.asked) if self.record else "not recorded"


@dataclass(frozen=True)
class Report:
    """All of it: the inventory as of ``made``, the rest within the span.

    ``head`` is the last record of the audit log that is in order; ``signer`` names the key that
    signs the report, or is empty.
    """

    made: datetime
    span: Span
    head: Head
    whole: bool
    signer: str
    exceptions: tuple[Exceptional, ...]
    keyrings: tuple[KeyringReport, ...]
    rotations: tuple[Event, ...]
    destructions: tuple[Event, ...]
    compromises: tuple[Event, ...]
    drills: tuple[Drilled, ...]
    rehearsals: tuple[Rehearsed, ...] = ()

    @property
    def totals(self) -> Mapping[str, int]:
        """How many there are of everything, by name."""
        states = Counter(each.state for keyring in self.keyrings for each in keyring.versions)
        return {
            "keyrings": len(self.keyrings),
            "versions": sum(states.values()),
            **{f"versions {state}": states[state] for state in State},
            "rotations": len(self.rotations),
            "destructions": len(self.destructions),
            "compromises": len(self.compromises),
            "drills": len(self.drills),
            "drills failed": sum(not each.succeeded for each in self.drills),
            "rehearsals": len(self.rehearsals),
            "rehearsals failed": sum(not each.succeeded for each in self.rehearsals),
            "exceptions": len(self.exceptions),
        }


def report(
    keyrings: Sequence[KeyringFacts],
    records: Iterable[AuditRecord],
    chain: Verification,
    span: Span,
    *,
    made: datetime,
    signer: str = "",
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """The report of these keyrings, made at ``made``; raises InvalidInput for one named twice.

    ``records`` and ``chain`` as reconcile() takes them; ``unreadable`` says of other keyrings why
    nothing is known of them.
    """
    records = list(records)
    drilled, rehearsed = drills(records), rehearsals(records)
    ordered = sorted(drilled.added(keyrings), key=lambda each: each.name)
    _check(ordered, span)
    found = reconcile(ordered, records, chain, span)
    inventory = tuple(_keyring(each, made) for each in ordered)
    rehearsals_made = tuple(each for each in rehearsed.told if each.at in span)
    exceptions = [
        *(Exceptional(Kind.UNREADABLE, why, name) for name, why in unreadable.items()),
        *(each for each in found.exceptions if each.keyring not in unreadable),
        *drilled.exceptions,
        *rehearsed.exceptions,
        *(
            Exceptional(Kind.REHEARSAL_FAILED, each.problems[0], each.keyring, at=each.at)
            for each in rehearsals_made
            if not each.succeeded
        ),
    ]
    for each in inventory:
        exceptions += _exceptions(each, span)
    drills_made = [*drilled.others(keyrings), *(each for k in ordered for each in k.drills)]
    by_code: dict[Code, list[Event]] = {}
    for event in _events(ordered, found.records, span):
        by_code.setdefault(event.transition.code, []).append(event)
    return Report(
        made,
        span,
        chain.head,
        chain.broken is None,
        signer,
        tuple(sorted(exceptions, key=_rank)),
        inventory,
        tuple(by_code.get(Code.ACTIVATED, ())),
        tuple(by_code.get(Code.DESTROYED, ())),
        tuple(by_code.get(Code.COMPROMISED, ())),
        tuple(sorted((each for each in drills_made if each.at in span), key=_moment)),
        rehearsals_made,
    )


def _check(keyrings: Sequence[KeyringFacts], span: Span) -> None:
    for name, number in Counter(each.name for each in keyrings).items():
        if number > 1:
            raise InvalidInput(f"the keyring {name} is there {number} times")
    if span.since >= span.until:
        raise InvalidInput(
            f"nothing is between {span.since} and {span.until}", hint="--from comes before --to"
        )


def _moment(drill: Drilled) -> tuple[datetime, str]:
    return drill.at, drill.keyring


def _rank(each: Exceptional) -> tuple[int, str, int, int]:
    return ORDER[each.kind], each.keyring, each.version or 0, each.seq or 0


def _keyring(facts: KeyringFacts, now: datetime) -> KeyringReport:
    versions = []
    for each in sorted(facts.versions, key=lambda each: each.version.number):
        spent = period(each.version, now=now)
        exceeded = spent.exceeded(facts.cryptoperiod) if spent else None
        versions.append(VersionReport(each, spent, exceeded))
    return KeyringReport(facts, tuple(versions))


def _events(
    keyrings: Sequence[KeyringFacts], records: Mapping[Place, Recorded], span: Span
) -> Iterator[Event]:
    """The transitions of the span, oldest first."""
    found = []
    for keyring in keyrings:
        for facts in keyring.versions:
            version = facts.version
            held = tuple(
                f"{each.place}: revision {each.revision} of {each.made}"
                for each in keyring.backups
                if version.number in each.versions
            )
            for transition in version.transitions:
                if transition.at in span:
                    record = records.get((keyring.name, version.number, transition))
                    gone = transition.code is Code.DESTROYED
                    before = version.before if transition.code is Code.ACTIVATED else None
                    found.append(
                        Event(
                            keyring.name,
                            version.number,
                            transition,
                            record,
                            before,
                            held if gone else (),
                        )
                    )
    return iter(sorted(found, key=lambda each: (each.transition.at, each.keyring, each.version)))


def _exceptions(keyring: KeyringReport, span: Span) -> Iterator[Exceptional]:
    facts = keyring.facts
    name = facts.name
    for each in keyring.versions:
        yield from _of_version(each, facts, span)
    if facts.cryptoperiod is None:
        yield Exceptional(Kind.NO_CRYPTOPERIOD, "no cryptoperiod is set", name)
    if not facts.wrapped_by:
        yield Exceptional(Kind.NOT_WRAPPED, "no KEK is named that wraps it", name)
    if not facts.owner:
        yield Exceptional(Kind.NOBODY, "no owner is named", name)
    if not facts.custodians:
        yield Exceptional(Kind.NOBODY, "no custodian is named", name)
    if not facts.purpose:
        yield Exceptional(Kind.UNSAID, "its purpose is not said", name)
    if not facts.backups:
        yield Exceptional(Kind.NO_BACKUP, "no backup is known", name)
    for why in facts.unreadable_backups:
        yield Exceptional(Kind.BACKUP_UNREADABLE, why, name)
    tried = [each for each in facts.drills if each.at in span]
    for drill in tried:
        if not drill.succeeded:
            text = f"a restore drill failed: {drill.findings[0].why}"
            yield Exceptional(Kind.DRILL_FAILED, text, name, at=drill.at)
    if not any(each.succeeded for each in tried):
        yield Exceptional(Kind.NO_DRILL, "no restore drill succeeded in this time", name)


def _of_version(each: VersionReport, facts: KeyringFacts, span: Span) -> Iterator[Exceptional]:
    if each.period and each.exceeded and facts.cryptoperiod:
        over = each.period.begin + facts.cryptoperiod
        if span.meets(over, each.period.end):
            until = "and still encrypts" if each.period.running else f"until {each.period.end}"
            allowed = wording.span(facts.cryptoperiod)
            text = f"version {each.number} encrypted {wording.span(each.exceeded)} longer than the "
            text += f"{allowed} allowed, {until}"
            yield Exceptional(Kind.CRYPTOPERIOD, text, facts.name, each.number, over)
    messages = each.facts.use.messages
    if each.facts.algorithm in _RANDOM_NONCES and messages > GCM_MESSAGES:
        text = f"version {each.number} encrypted {messages} messages, and {GCM_MESSAGES} are safe"
        yield Exceptional(Kind.LIMIT, text, facts.name, each.number)
