"""``certrotd keys exposure``: what others who know a key could read, and what to do about it."""

from __future__ import annotations

import sys
from pathlib import Path

from certrotd.cli.keys import keyring_at
from certrotd.cli.output import print_json, print_table, say, stamp
from certrotd.keyring.states import State
from certrotd.keys.exposure import Report, exposure_of


def exposure(config: Path, name: str, number: int, *, as_json: bool) -> int:
    """Carry out ``certrotd keys exposure``; the exit code."""
    with keyring_at(config, name, "exposure", dry=True) as (keyring, _):
        found = exposure_of(keyring, number)
    name = keyring.policy.name
    if as_json:
        print_json({"name": name, **_json(found)})
    else:
        _print(name, found)
    return 0


def _json(found: Report) -> dict[str, object]:
    return {
        "version": found.version.number,
        "state": found.version.state.value,
        "encrypted": {"since": found.since, "until": found.until},
        "used": {
            "messages": found.use.messages,
            "bytes": found.use.bytes,
            "first": found.use.first,
            "last": found.use.last,
        },
        "compromised": found.noted.to_json() if found.noted else None,
        "custodians": list(found.custodians),
        "outputs": list(found.outputs),
        "consumers": list(found.consumers),
        "datasets": [
            {
                "name": each.name,
                "place": each.place,
                "at_compromise": found.noted.counts.get(each.name) if found.noted else None,
                "left": each.left,
                "why": each.why or None,
                "contains": list(each.contains),
            }
            for each in found.datasets
        ],
        "drains": [{"what": what, "until": until} for what, until in found.drains],
        "backups": list(found.backups),
        "to_do": list(found.to_do()),
    }


def _print(name: str, found: Report) -> None:
    then = found.noted.counts if found.noted else {}
    rows = [
        (
            each.name,
            each.place,
            _shown(then.get(each.name)) if found.noted else "-",
            _shown(each.left),
            ", ".join(each.contains) or "-",
        )
        for each in found.datasets
    ]
    print_table(("DATASET", "PLACE", "AT COMPROMISE", "NOW", "CONTAINS"), rows)

    def tell(words: str) -> None:
        say(f"{name}: {words}", sys.stdout)

    tell(f"version {found.version.number} is {found.version.state}")
    if found.noted is not None:
        tell(f"what others could read was counted at {stamp(found.noted.at)}")
        for each, why in sorted(found.noted.unknown.items()):
            tell(f"{each} was not counted then: {why}")
    if found.since is None:
        tell("certrotd never saw it encrypt")
    else:
        end = f"until {stamp(found.until)}" if found.until else "and still does"
        tell(f"it encrypted from {stamp(found.since)} {end}")
    use = found.use
    if use.first and use.last:
        told = f"{use.messages:,} messages of {use.bytes:,} bytes"
        tell(f"processes told of {told}, first at {stamp(use.first)}, last at {stamp(use.last)}")
    users = ", ".join((*found.outputs, *found.consumers)) or "nobody named"
    withdrawn = found.version.state in (State.DISABLED, State.DESTROYED)
    tell(f"who had the key: {users}" if withdrawn else f"who has the key: {users}")
    if found.custodians:
        tell(f"its custodians: {', '.join(found.custodians)}")
    for words in found.to_do():
        tell(f"to do: {words}")


def _shown(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
