"""Which certificates are asked to be seen, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from certrotd.certs.managed import Managed
from certrotd.daemon.http.sources import Sources
from certrotd.daemon.picture import FAILING, SHOWN, Picture

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


def matching(sources: Sources, picture: Picture, filters: Filters) -> list[str]:
    """The certificates that match, in the order of the configuration."""
    certificates = sources.certificates

    def wanted(name: str) -> bool:
        if filters.state == FAILING and not picture.failing(name):
            return False
        if filters.state not in ("", FAILING) and picture.state(name) != filters.state:
            return False
        return not filters.name or _called(name, certificates.get(name), filters.name)

    return list(filter(wanted, picture.known))


def first(picture: Picture, names: Sequence[str], count: int) -> list[str]:
    """So many of them: what fails first, then by state, then what ends first."""

    def order(name: str) -> tuple[bool, int, float, str]:
        known = picture.known[name]
        end = known.not_after if known and known.not_after is not None else 0.0
        return not picture.failing(name), _SERIOUS[picture.state(name)], end, name

    return heapq.nsmallest(count, names, key=order)


def _called(name: str, managed: Managed | None, part: str) -> bool:
    return part in name or (managed is not None and any(part in n for n in managed.policy.names))
