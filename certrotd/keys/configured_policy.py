"""What a configuration entry and its outputs ask of one keyring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from certrotd.config.keyrings import PERIODS, KeyringEntry
from certrotd.keyring import ids
from certrotd.keyring.evidence import Freshness
from certrotd.keyring.material import Algorithm
from certrotd.keys.outlet import FileOutlet
from certrotd.keys.outlets import AnyOutlet
from certrotd.keys.policy import MOST_MESSAGES, Policy


def policy_of(name: str, entry: KeyringEntry, every: Sequence[AnyOutlet]) -> Policy:
    """The policy; nothing is read."""
    rotate, outlets = entry.rotate, [each for each in every if isinstance(each, FileOutlet)]
    limits = [each.output.traits.capacity for each in outlets]
    waves: dict[int, list[str]] = {}
    for each, consumer in entry.consumers.items():
        waves.setdefault(consumer.wave, []).append(each)
    return Policy(
        name=name,
        algorithm=Algorithm(entry.algorithm),
        cryptoperiod=rotate.cryptoperiod or PERIODS[entry.classification],
        messages=rotate.messages or MOST_MESSAGES // 2,
        size=rotate.bytes,
        calendar=_calendar(rotate.calendar),
        custodians=frozenset(entry.custodians),
        capacity=min((each for each in limits if each is not None), default=None),
        slots=_slots(outlets),
        stages=all(each.output.traits.secondary for each in outlets),
        by_id=any(each.output.traits.by_id for each in outlets),
        outputs=tuple(f"{each.type} {each.place}" for each in entry.outputs),
        waves=tuple(tuple(waves[number]) for number in sorted(waves)),
        datasets=frozenset(entry.datasets),
        reencrypted=frozenset(n for n, each in entry.datasets.items() if each.type != "command"),
        drains=entry.drains,
        grace=entry.grace,
        watch=entry.watch,
        window=entry.window,
        enabled=entry.enabled,
        escrows=entry.backup is not None,
        cuts_over=entry.cutover is not None,
        fresh=_fresh(entry),
        scans=scans(entry),
        confirmations=2 if entry.confirm == "two" else 0,
    )


def _fresh(entry: KeyringEntry) -> Freshness:
    rehearsal = entry.rehearsal.every if entry.rehearsal and entry.rehearsal.required else None
    usual = Freshness(apart=entry.grace, rehearsal=rehearsal)
    return replace(usual, drill=entry.backup.drill.every) if entry.backup else usual


def scans(entry: KeyringEntry) -> bool:
    """Whether there is anything to look through for undeclared ciphertext."""
    own = any(each.type != "command" for each in entry.datasets.values())
    return entry.residue.enabled and (own or bool(entry.residue.paths))


def _slots(outlets: Sequence[FileOutlet]) -> int | None:
    """How many ids there are for keys; None where they are as good as endless."""
    counts = []
    for each in outlets:
        match each.output.traits.ids:
            case ids.Slots(names):
                counts.append(len(names))
            case ids.Numbers(first, last):
                counts.append(last - first + 1)
    return min(counts, default=None)


def _calendar(expression: str | None) -> Callable[[datetime], datetime | None] | None:
    if expression is None:
        return None
    from certrotd.config.calendar import calendar

    return calendar(expression)
