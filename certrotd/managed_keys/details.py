"""What is shown of one managed key: its versions, its period, and the facts on its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from certrotd.kek.managed.port import ManagedState
from certrotd.lifecycle.details import Cell, Details, Table
from certrotd.managed_keys.rules import days
from certrotd.managed_keys.subject import ManagedKeyFound


def json_of(found: ManagedKeyFound) -> dict[str, Any]:
    """For listings; moments stay moments."""
    policy, seen = found.policy, found.seen
    state = seen.state if seen else None
    return {
        "purpose": policy.purpose,
        "owner": policy.owner,
        "classification": policy.classification,
        "service": policy.service,
        "key": state.place if state else None,
        "rotated_by": "service" if policy.by_service else "certrotd",
        "cryptoperiod_seconds": int(policy.cryptoperiod.total_seconds()),
        "seen": seen.at if seen else None,
        "present": state.present.id if state else None,
        "period_seconds": int(state.period.total_seconds()) if state and state.period else None,
        "rotations_left": state.rotations_left if state else None,
        "last_rotation": state.last_rotation if state else None,
        "last_use": state.last_use if state else None,
        "min_decryption_version": state.min_decryption_version if state else None,
        "min_available_version": state.min_available_version if state else None,
        "versions": [
            {"id": each.id, "created": each.created, "decrypts": each.decrypts}
            for each in (state.versions if state else ())
        ],
    }


def details_of(found: ManagedKeyFound) -> Details:
    """The facts and tables of its page."""
    return Details(tuple(_facts(found)), (_versions(found),))


def _facts(found: ManagedKeyFound) -> Iterator[tuple[str, Cell]]:
    policy, seen = found.policy, found.seen
    for label, text in (("Purpose", policy.purpose), ("Owner", policy.owner)):
        if text:
            yield label, Cell(text)
    yield "Classification", Cell(policy.classification)
    yield "Rotated by", Cell(policy.service if policy.by_service else "certrotd")
    yield "Cryptoperiod", Cell(days(policy.cryptoperiod))
    if seen is None:
        yield "Service", Cell(policy.place, code=True, note="never asked")
        return
    state = seen.state
    yield "Service", Cell(state.place, code=True)
    yield "Last seen", Cell(moment=seen.at)
    yield "Period of the service", Cell(days(state.period) if state.period else "none")
    if state.rotations_left is not None:
        yield "Rotations on demand left", Cell(str(state.rotations_left))
    yield from _decryption(found, state)
    if state.last_use is not None:
        yield "Last use", Cell(moment=state.last_use)
    if (renewal := found.renewal) is not None:
        yield "Next rotation", Cell(moment=renewal[0], note=renewal[1])
    yield "Encrypts since", Cell(moment=seen.since)
    yield "Cryptoperiod ends", Cell(moment=seen.since + policy.cryptoperiod)


def _decryption(found: ManagedKeyFound, state: ManagedState) -> Iterator[tuple[str, Cell]]:
    """From which version on it decrypts, and when that changes."""
    limits = ("min_decryption_version", "min_available_version")
    for label in limits:
        if (number := getattr(state, label)) is not None:
            yield label, Cell(str(number))
    if (retention := found.policy.retention) is not None:
        words = f"newest {retention.keep}, and any for {days(retention.after)} after the next"
        yield "Versions kept", Cell(words)
        if (at := retention.due(state)) is not None:
            oldest = state.oldest_decrypting.id
            yield "Next retirement", Cell(moment=at, note=f"of version {oldest[:16]}")


def _versions(found: ManagedKeyFound) -> Table:
    versions = found.seen.state.versions if found.seen else ()
    rows = [
        (
            Cell(each.id, code=True, cut=16),
            Cell("present" if each is versions[-1] else "older", chip=True),
            Cell(moment=each.created),
            Cell("yes" if each.decrypts else "no"),
        )
        for each in reversed(versions)
    ]
    columns = ("Version", "State", "Made", "Decrypts")
    return Table("Versions", columns, rows, "The service was never asked.")
