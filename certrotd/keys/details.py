"""What is shown of one keyring: its versions, its consumers, and the facts on its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from certrotd.consumers.port import Expected
from certrotd.errors import Failure
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.states import Version
from certrotd.keys.census import COUNTED
from certrotd.keys.subject import KeyringFound
from certrotd.keys.world import Consumer as Asked
from certrotd.lifecycle.details import Cell, Consumer, Details, Table


def consumers_of(found: KeyringFound, *, ask: bool = False) -> list[Consumer]:
    """Who uses it; with ``ask`` each is asked what it has right now."""
    names = [name for wave in found.managed.policy.waves for name in wave]
    if found.decision is None:
        return [Consumer(name, "not known now", True, unproven=True) for name in names]
    if found.case.active is None:
        return [Consumer(name, "has no keys yet", False) for name in names]
    if not ask:
        return [Consumer(name, "not asked now", True, unproven=True) for name in names]
    world = found.managed.world()
    delivery = Delivery.of(world.keyring())
    files = {path: digest for each in world.outlets for path, digest in each.digests().items()}
    expected = Expected(world.name, delivery.hash, files)
    return [_asked(world.consumers[name], expected) for name in names]


def _asked(consumer: Asked, expected: Expected) -> Consumer:
    if consumer.acknowledgement is None:
        return Consumer(consumer.name, "cannot be asked", True, unproven=True)
    try:
        answer = consumer.acknowledgement.ask(expected)
    except Failure as failure:
        return Consumer(consumer.name, f"cannot be asked: {failure}", False)
    words = "has the present keys" if answer.acknowledged else answer.words
    return Consumer(consumer.name, words, answer.acknowledged)


def json_of(found: KeyringFound, *, ask: bool = False) -> dict[str, Any]:
    """For listings; no key is in it."""
    policy, standing = found.managed.policy, found.standing
    return {
        "names": list(found.names),
        "algorithm": policy.algorithm.value,
        "revision": standing.revision or None,
        "keks": list(standing.keks),
        "cryptoperiod_seconds": int(policy.cryptoperiod.total_seconds()),
        "versions": [_version_json(found, each) for each in found.case.versions.all],
        "outputs": list(policy.outputs),
        "consumers": [
            {"name": each.name, "current": each.current, "words": each.words}
            for each in consumers_of(found, ask=ask)
        ],
        "strange": list(standing.strange),
        "rehearsed": standing.rehearsed.to_json() if standing.rehearsed else None,
    }


def _version_json(found: KeyringFound, version: Version) -> dict[str, Any]:
    use, hold = found.case.use(version.number), found.standing.holds.get(version.number)
    return {
        "version": version.number,
        "state": version.state.value,
        "since": version.since,
        "compromised": version.compromised,
        "messages": use.messages,
        "bytes": use.bytes,
        "last_used": use.last,
        "held": str(hold) if hold and hold.holds(found.now) else None,
        "lacking": [
            {"code": each.code.value, "why": each.why}
            for each in (found.case.lacking(version) if version.state in COUNTED else ())
        ],
        "transitions": [
            {"to": each.to.value, "at": each.at, "code": each.code.value, "why": each.why}
            for each in version.transitions
        ],
    }


def details_of(found: KeyringFound) -> Details:
    """The facts and tables of its page."""
    return Details(tuple(_facts(found)), tuple(_tables(found)))


def _facts(found: KeyringFound) -> Iterator[tuple[str, Cell]]:
    policy = found.managed.policy
    yield "Algorithm", Cell(policy.algorithm.value)
    if found.standing.keks:
        yield "Wrapped by", Cell(", ".join(found.standing.keks))
    for output in policy.outputs:
        yield "Output", Cell(output, code=True)
    if (renewal := found.renewal) is not None:
        yield "Next rotation", Cell(moment=renewal[0], note=renewal[1])
    if (validity := found.validity) is not None:
        yield "Encrypts since", Cell(moment=validity.not_before)
        yield "Cryptoperiod ends", Cell(moment=validity.not_after)
    if (last := found.standing.rehearsed) is not None:
        yield "Emergency rehearsed", Cell(moment=last.at, note=str(last))


def _tables(found: KeyringFound) -> Iterator[Table]:
    rows = [_row(found, each) for each in found.case.versions.all]
    columns = ("Version", "State", "Since", "Why", "Messages")
    yield Table("Versions", columns, rows, "There is no key yet.")
    users = [(Cell(each.name), Cell(each.words)) for each in consumers_of(found)]
    yield Table("Consumers", ("Consumer", "State"), users, "Nobody is told of a new key.")


def _row(found: KeyringFound, version: Version) -> Sequence[Cell]:
    hold = found.standing.holds.get(version.number)
    hold = hold if hold and hold.holds(found.now) else None
    return (
        Cell(str(version.number)),
        Cell(version.state.value, chip=True),
        Cell(moment=version.since),
        Cell(f"{version.transitions[-1].why} ({hold})" if hold else version.transitions[-1].why),
        Cell(f"{found.case.use(version.number).messages:,}"),
    )
