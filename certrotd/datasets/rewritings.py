"""What is known of the objects of a cluster by rewriting them: pure, and kept as a document.

Before a pass begins, every API server has confirmed that it writes with the active key. So an
object is under that key if it was written after the pass began, or if an API server has
acknowledged that pass's rewriting of it. Once a pass has come to its end, that is every object but
those that failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from certrotd.jsontext import parsed

MOST_FAILED = 1000
"""With more, a pass is not counted as one."""


class Listed(NamedTuple):
    """An object as a census sees it."""

    place: str
    revision: int


@dataclass(frozen=True)
class Rewriting:
    """The last pass by one key version over one collection.

    ``begun`` is a revision before its first write, ``ended`` one at its end (else 0). ``failed``
    has the objects that were not rewritten, and the revision at which they were not.
    """

    begun: int
    ended: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)

    def proves(self, seen: Listed) -> bool:
        """Whether an object is under the version of the pass, or a later one."""
        if seen.revision > self.begun:
            return True
        return bool(self.ended) and self.failed.get(seen.place) != seen.revision


Known = Mapping[str, Mapping[int, Rewriting]]
"""By the name of a collection and key version."""


@dataclass(frozen=True)
class Counted:
    """How many objects may be under each version at most, and of how many nothing is known."""

    by_version: Mapping[int, int]
    unknown: int


def counted(
    seen: Iterable[Listed],
    known: Mapping[int, Rewriting],
    versions: Iterable[int],
    active: int,
    newest: int,
) -> Counted:
    """The census of one collection, at the revision ``newest``.

    An object counts for the latest version that is proven to have been written since; before the
    first proof it counts for the only other version there is, and for none if there are several.
    A pass that ended at a later revision than ``newest`` proves nothing: etcd was restored.
    """
    order = sorted((n for n in known if n <= active and known[n].ended <= newest), reverse=True)
    others = [each for each in versions if each != active]
    first = {0: active, 1: others[0] if others else active}.get(len(others))
    found: dict[int, int] = {}
    unknown = 0
    for each in seen:
        under = next((n for n in order if known[n].proves(each)), first)
        if under is None:
            unknown += 1
        else:
            found[under] = found.get(under, 0) + 1
    return Counted(found, unknown)


def begun(known: Known, name: str, version: int, revision: int) -> Known:
    """A pass begins over a collection; one that goes on, or comes again, takes nothing away."""
    before = known.get(name, {}).get(version)
    if before is not None and max(before.begun, before.ended) <= revision:
        return known
    return {**known, name: {**known.get(name, {}), version: Rewriting(revision)}}


def tried(known: Known, name: str, version: int, failed: Mapping[str, int | None]) -> Known:
    """Some objects were to be rewritten: of those that were not, a revision is told."""
    passed = known[name][version]
    now = {place: each for place, each in passed.failed.items() if place not in failed}
    now |= {place: each for place, each in failed.items() if each is not None}
    if now == passed.failed:
        return known
    return {**known, name: {**known[name], version: replace(passed, failed=now)}}


def ended(known: Known, name: str, version: int, revision: int) -> Known:
    """A pass is at its end; of what other versions have proven, only one is needed."""
    passed = replace(known[name][version], ended=revision)
    kept = {n: each for n, each in known[name].items() if n != version}
    earlier = dict(sorted(kept.items())[-3:])
    return {**known, name: {**earlier, version: passed}}


def render(known: Known) -> bytes:
    """As it is kept."""
    told = {
        name: {str(n): [e.begun, e.ended, dict(e.failed)] for n, e in versions.items()}
        for name, versions in known.items()
    }
    return json.dumps(told).encode()


def parse(data: bytes) -> Known:
    """What was kept; raises ValueError."""
    told = parsed(data)
    if not isinstance(told, dict) or not all(isinstance(e, dict) for e in told.values()):
        raise ValueError("it is not what certrotd wrote")
    return {name: {int(n): _rewriting(e) for n, e in each.items()} for name, each in told.items()}


def _rewriting(told: object) -> Rewriting:
    match told:
        case [int() as begun, int() as ended, dict() as failed] if all(
            isinstance(each, int) for each in failed.values()
        ):
            return Rewriting(begun, ended, failed)
    raise ValueError("it is not what certrotd wrote")
