"""Which subjects are asked to be seen, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from certrotd.daemon.http.sources import Sources
from certrotd.id import Id
from certrotd.lifecycle.subject import Subject
from certrotd.reporting.snapshot import FAILING, SHOWN, Snapshot

_SERIOUS = {state: number for number, state in enumerate(SHOWN)}


@dataclass(frozen=True)
class Filters:
    """What is asked to be seen: a state (or FAILING), a part of a name, and a page from 1."""

    state: str = ""
    name: str = ""
    page: int = 1

    def address(self, *, page: int) -> str:
        """The same filters on another page."""
        asked = {"state": self.state, "name": self.name, "page": str(page) if page > 1 else ""}
        query = urlencode({key: value for key, value in asked.items() if value})
        return f"/?{query}" if query else "/"


def filters_of(query: dict[str, str]) -> Filters:
    """What a query asks for; what makes no sense in it is passed over."""
    state, page = query.get("state", ""), query.get("page", "")
    return Filters(
        state=state if state in (*SHOWN, FAILING) else "",
        name=query.get("name", "").strip().lower()[:253],
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )


def matching(sources: Sources, snapshot: Snapshot, filters: Filters) -> list[Id]:
    """The subjects that match, in the order of the configuration."""
    there = sources.work().subjects

    def wanted(subject: Id) -> bool:
        if filters.state == FAILING and not snapshot.failing(subject):
            return False
        if filters.state not in ("", FAILING) and snapshot.state(subject) != filters.state:
            return False
        return not filters.name or _called(subject, there.get(subject), filters.name)

    return list(filter(wanted, snapshot.known))


def first(snapshot: Snapshot, subjects: Sequence[Id], count: int) -> list[Id]:
    """So many of them: what fails first, then by state, then what ends first."""

    def order(subject: Id) -> tuple[bool, int, float, Id]:
        known = snapshot.known[subject]
        end = known.not_after if known and known.not_after is not None else 0.0
        return not snapshot.failing(subject), _SERIOUS[snapshot.state(subject)], end, subject

    return heapq.nsmallest(count, subjects, key=order)


def _called(subject: Id, found: Subject | None, part: str) -> bool:
    names = found.names if found is not None else ()
    return part in subject.name or any(part in name for name in names)
