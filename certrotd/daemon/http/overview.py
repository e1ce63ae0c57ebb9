"""The status page: how it all stands, and every subject, a few hundred at a time."""

from __future__ import annotations

from collections import Counter

from certrotd.daemon.http.filters import filters_of, first, matching
from certrotd.daemon.http.sources import Sources, look_around
from certrotd.daemon.http.subject_view import SubjectView
from certrotd.daemon.http.summary import notices, tiles, verdict
from certrotd.daemon.http.templates import render
from certrotd.reporting.snapshot import FAILING, SHOWN
from certrotd.wording import tally

PAGE = 200


def overview(sources: Sources, query: dict[str, str]) -> str:
    """The page for a query."""
    around, filters = look_around(sources), filters_of(query)
    snapshot, now = around.snapshot, sources.clock.now()
    subjects = matching(sources, snapshot, filters)
    pages = max(1, -(-len(subjects) // PAGE))
    page = min(max(1, filters.page), pages)
    shown = first(snapshot, subjects, page * PAGE)[(page - 1) * PAGE :]
    views = {view.id: view for view in sources.views(shown)}
    counts = Counter(map(snapshot.state, snapshot.known))
    failing = sum(map(snapshot.failing, snapshot.known))
    return render(
        "overview.html.j2",
        title=f"({failing}) certrotd" if failing else "certrotd",
        now=now,
        verdict=verdict(around),
        notices=notices(around),
        tiles=tiles(around, now=now),
        filters=filters,
        states=["", FAILING, *(s for s in SHOWN if counts[s] or s == filters.state)],
        found=tally(subjects),
        configured=len(snapshot.known),
        subjects=[SubjectView(snapshot, each, views.get(each), now) for each in shown],
        kinds=sorted({each.kind for each in snapshot.known}),
        page=page,
        pages=pages,
    )
