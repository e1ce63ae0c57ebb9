"""The status page: how it all stands, and every certificate, a few hundred at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrotd.daemon.fleet import Row
from certrotd.daemon.http.components import bar_of, copies_of, state_cell, waiting_of
from certrotd.daemon.http.filters import Filters, filters_of, first, matching
from certrotd.daemon.http.html import NOTHING, Markup, fill, joined
from certrotd.daemon.http.layout import document
from certrotd.daemon.http.sources import Sources, look_around
from certrotd.daemon.http.summary import summary
from certrotd.daemon.http.time_format import shown
from certrotd.daemon.picture import FAILING, SHOWN, Picture, moment
from certrotd.daemon.status import target_words, targets_of

PAGE = 200


def overview(sources: Sources, query: dict[str, str]) -> str:
    """The page for a query."""
    around, filters = look_around(sources), filters_of(query)
    picture, now = around.picture, sources.clock.now()
    names = matching(sources, picture, filters)
    pages = max(1, -(-len(names) // PAGE))
    page = min(max(1, filters.page), pages)
    shown_names = first(picture, names, page * PAGE)[(page - 1) * PAGE :]
    rows = {row.managed.policy.name: row for row in sources.rows(shown_names)}
    lines = joined(_line(picture, name, rows.get(name), now=now) for name in shown_names)
    body = joined(
        (
            summary(around, now=now),
            _form(picture, filters, len(names)),
            _table(lines) if shown_names else _none(picture),
            _pages(filters, page, pages),
        )
    )
    return document(_title(picture), body, now=now)


def _title(picture: Picture) -> str:
    failing = sum(map(picture.failing, picture.known))
    return f"({failing}) certrotd" if failing else "certrotd"


def _form(picture: Picture, filters: Filters, found: int) -> Markup:
    counts = picture.count()
    options = [("", "every state"), (FAILING, FAILING)]
    options += [(state, state) for state in SHOWN if counts[state] or state == filters.state]
    selected = Markup(" selected")
    return fill(
        '<form class="filter" method="get" action="/" role="search">'
        '<label>Name <input type="search" name="name" value="{name}" maxlength="253" '
        'autocomplete="off" spellcheck="false" placeholder="web or example.com"></label>'
        '<label>State <select name="state">{options}</select></label>'
        "<button>Show</button>{reset}"
        '<span class="found" role="status">{found}</span></form>\n',
        name=filters.name,
        options=joined(
            fill(
                '<option value="{value}"{selected}>{words}</option>',
                value=value,
                selected=selected if value == filters.state else NOTHING,
                words=words,
            )
            for value, words in options
        ),
        reset=Markup('<a class="reset" href="/">Show all</a>')
        if filters.state or filters.name
        else NOTHING,
        found=f"{found:,} certificate{'' if found == 1 else 's'}",
    )


def _table(lines: Markup) -> Markup:
    heads = joined(
        fill('<th scope="col" role="columnheader">{head}</th>', head=head)
        for head in ("Certificate", "Lifetime", "State", "Next check", "Targets")
    )
    return fill(
        '<table role="table" class="list overview"><caption class="hidden">Certificates</caption>'
        '<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        '<tbody role="rowgroup">{lines}</tbody></table>\n',
        heads=heads,
        lines=lines,
    )


def _none(picture: Picture) -> Markup:
    words = "No certificate is like that." if picture.known else "There is nothing to show yet."
    return fill('<p class="none">{words}</p>\n', words=words)


def _line(picture: Picture, name: str, row: Row | None, *, now: datetime) -> Markup:
    known = picture.known[name]
    well = row is not None and _is_well(picture, name, row)
    return fill(
        '<tr role="row"{well}>'
        '<th scope="row" role="rowheader"><a href="/certificate/{name}">{name}</a>{names}</th>'
        '<td role="cell" data-label="Lifetime">{life}</td>'
        '<td role="cell" data-label="State">{state}</td>'
        '<td role="cell" data-label="Next check">{next}</td>'
        '<td role="cell" data-label="Targets">{targets}</td></tr>\n',
        well=Markup(' class="well"') if well else NOTHING,
        name=name,
        names=_names(row),
        life=bar_of(row, now=now),
        state=joined((state_cell(picture, name), _waiting(row))),
        next=shown(moment(known.next), now=now) if known and known.next is not None else "–",
        targets=_targets(row),
    )


def _is_well(picture: Picture, name: str, row: Row) -> bool:
    """Whether it says nothing that anybody has to know: a phone shows it in a line."""
    copies = copies_of(row)
    return (
        picture.state(name) == "ok"
        and not picture.failing(name)
        and not waiting_of(row)
        and (copies is None or copies[0] == "good")
        and all(target["current"] or _without_probe(target) for target in targets_of(row))
    )


def _without_probe(target: Mapping[str, Any]) -> bool:
    return target["generation"] is not None and target["serves"] is None


def _waiting(row: Row | None) -> Markup:
    words = waiting_of(row)
    return fill('<span class="sub">{words}</span>', words=words) if words else NOTHING


def _names(row: Row | None) -> Markup:
    if row is None:
        return NOTHING
    live = row.standing.live
    names = live.facts.names if live and live.facts else row.managed.policy.names
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return fill(
        '<span class="sub">{first}{more}</span>', first=names[0] if names else "", more=more
    )


def _targets(row: Row | None) -> Markup:
    lines = [
        (
            "good" if target["current"] else "calm",
            target["name"],
            "serves it" if target["current"] else target_words(target),
        )
        for target in (targets_of(row) if row else [])
    ]
    if row is not None and (copies := copies_of(row)) is not None:
        tone, words = copies
        lines.append((tone, "copies", words))
    if not lines:
        return Markup('<span class="sub">none</span>')
    items = joined(
        fill(
            '<li class="{tone}">{name}<span class="sub">{words}</span></li>',
            tone=tone,
            name=name,
            words=words,
        )
        for tone, name, words in lines
    )
    return fill('<ul class="targets">{items}</ul>', items=items)


def _pages(filters: Filters, page: int, pages: int) -> Markup:
    if pages == 1:
        return NOTHING

    def link(to: int, words: str, rel: str) -> Markup:
        if not 1 <= to <= pages:
            return fill('<span class="off">{words}</span>', words=words)
        where = filters.address(page=to)
        return fill('<a href="{where}" rel="{rel}">{words}</a>', where=where, rel=rel, words=words)

    return fill(
        '<nav class="pages" aria-label="Pages">{before}<span>Page {page} of {pages}</span>{after}'
        "</nav>\n",
        before=link(page - 1, "← Before", "prev"),
        page=page,
        pages=pages,
        after=link(page + 1, "Next →", "next"),
    )
